"""Lengths of time, as people write and read them.

Knows:     `90s`, `30m`, `12h`, `5d`, `2w` and their sums (`1h30m`).
Called by: the command line, config, renderers, `telemetry.rules`.
Never:     asks what time it is.
"""

import re

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_PART = re.compile(r"(\d+)([smhdw])", re.ASCII)
ALLOWED = "a length of time such as 90s, 30m, 12h, 5d, 2w or 1h30m"


def parse_duration(text: str) -> int:
    """Read a length of time, in seconds.

    Raises:
        ValueError: The text is not one; the message says what is allowed.
    """
    parts = _PART.findall(text.strip())
    if not parts or "".join(number + unit for number, unit in parts) != text.strip():
        raise ValueError(f"{text!r} is not {ALLOWED}")
    return sum(int(number) * _SECONDS[unit] for number, unit in parts)


def parse_milliseconds(text: str) -> int:
    """Read a length of time in milliseconds: `250ms`, or what `parse_duration` reads.

    Raises:
        ValueError: The text is not one; the message says what is allowed.
    """
    number = text.strip().removesuffix("ms")
    if number != text.strip() and number.isascii() and number.isdigit():
        return int(number)
    return parse_duration(text) * 1_000


def format_duration(seconds: float) -> str:
    """Two units at most: `0s`, `42s`, `3m 5s`, `2h 10m`, `5d 1h`."""
    left = max(0, round(seconds))
    if left < 60:
        return f"{left}s"
    words = []
    for unit in "dhms":
        amount, left = divmod(left, _SECONDS[unit])
        if amount:
            words.append(f"{amount}{unit}")
        if len(words) == 2 or (words and not left):
            break
    return " ".join(words)
