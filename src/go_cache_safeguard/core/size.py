"""Amounts of bytes, as people write and read them.

Knows:     binary and decimal units, percentages, and how to print a size in few characters.
Called by: the command line, config, renderers.
Never:     asks a disk how large it is: a percentage stays a `Share` until somebody knows of what.
Source:    units after IEC 80000-13; the forms accepted are BuildKit's (`20GiB`, `20GB`, `10%`).
"""

import re
from dataclasses import dataclass

_UNITS = {"": 1, "B": 1, "K": 1 << 10, "KIB": 1 << 10, "KB": 10**3, "M": 1 << 20, "MIB": 1 << 20, "MB": 10**6}
_UNITS |= {"G": 1 << 30, "GIB": 1 << 30, "GB": 10**9, "T": 1 << 40, "TIB": 1 << 40, "TB": 10**12}
_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[A-Za-z]*|%)", re.ASCII)
ALLOWED = "a size such as 20GiB, 500MB, 1073741824, or a share such as 10%"


@dataclass(frozen=True, slots=True)
class Share:
    """A part of something whose size is not known yet.

    Attributes:
        per_million: 0 to 1,000,000, so that it is an integer and has a canonical form.
    """

    per_million: int

    def of(self, whole: int) -> int:
        """This share of `whole`, in bytes, rounded down."""
        return whole * self.per_million // 1_000_000


def parse_size(text: str) -> int | Share:
    """Read a size in bytes, or a share.

    Raises:
        ValueError: The text is neither; the message says what is allowed.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not {ALLOWED}")
    number, unit = match["number"], match["unit"]
    if unit == "%":
        per_million = round(float(number) * 10_000)
        if per_million > 1_000_000:
            raise ValueError(f"{text!r} is more than 100%")
        return Share(per_million)
    factor = _UNITS.get(unit.upper())
    if factor is None:
        raise ValueError(f"{text!r} is not {ALLOWED}")
    return round(float(number) * factor) if "." in number else int(number) * factor


def format_size(size: int) -> str:
    """At most six characters of number and a binary unit: `0 B`, `175 B`, `1.4 MiB`, `20 GiB`."""
    if abs(size) < 1 << 10:
        return f"{size} B"
    value = float(size)
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        value /= 1024
        if abs(value) < 1024 or unit == "TiB":
            return f"{value:.1f} {unit}" if abs(value) < 100 else f"{value:.0f} {unit}"
    raise AssertionError("unreachable")
