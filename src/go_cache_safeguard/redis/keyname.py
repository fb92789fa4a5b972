r"""Names of keys as text: reversible, and safe to print.

Knows:     that a key may be any bytes, and how plans, receipts and screens write it: `12/user:7`, `0/a\x0ab`.
Called by: `flows` makes and reads plans with it; the command line prints it.
Never:     lets a control character, or a byte that is not ASCII, through.
"""

import re
from collections.abc import Iterable

_ODD = re.compile(rb"[^ -\[\]-~]")
_ESCAPE = re.compile(r"\\x([0-9a-f]{2})", re.ASCII)
_PLAIN = re.compile(r"(?:[ -\[\]-~]|\\x[0-9a-f]{2})*", re.ASCII)
_PLACE = re.compile(r"(0|[1-9][0-9]{0,8})/(.*)", re.ASCII | re.DOTALL)


def text_of(key: bytes) -> str:
    r"""Printable ASCII stays; every other byte, and the backslash, becomes `\xHH`."""
    return _ODD.sub(lambda odd: b"\\x%02x" % odd[0][0], key).decode("ascii")


def key_of(text: str) -> bytes:
    """The bytes again.

    Raises:
        ValueError: `text_of` would not have written this.
    """
    if _PLAIN.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not the name of a key as we write it")
    if "\\" not in text:
        return text.encode("ascii")
    key = _ESCAPE.sub(lambda hexed: chr(int(hexed[1], 16)), text).encode("latin-1")
    if text_of(key) != text:
        raise ValueError(f"{text!r} is not the name of a key as we write it")
    return key


def place_name(db: int, key: bytes) -> str:
    """A key of a server: its database and its name."""
    return f"{db}/{text_of(key)}"


def parse_place(name: str) -> tuple[int, bytes]:
    """Database and key.

    Raises:
        ValueError: `place_name` would not have written this.
    """
    found = _PLACE.fullmatch(name)
    if found is None:
        raise ValueError(f"{name!r} is not a key of a database")
    return int(found[1]), key_of(found[2])


def prefix_of(key: bytes, separator: bytes = b":") -> str:
    """What stands before the first separator, with it; `(none)` without one."""
    head, found, _ = key.partition(separator)
    return text_of(head + found) if found else "(none)"


def counted_prefixes(keys: Iterable[bytes], most: int = 10) -> list[tuple[str, int]]:
    """How many keys begin with what: the most frequent prefixes, then all others as `(others)`."""
    counts: dict[str, int] = {}
    for key in keys:
        prefix = prefix_of(key)
        counts[prefix] = counts.get(prefix, 0) + 1
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    rest = sum(count for _, count in ordered[most:])
    return ordered[:most] + ([("(others)", rest)] if rest else [])
