"""How checks write names and numbers.

Knows:     that a key may be any bytes, of any length.
Called by: the checks beside it.
Never:     prints a control character, or a name as long as a screen.
"""

_LONGEST = 80
_SHOWN = 5


def name_of(key: bytes | str) -> str:
    """A name in quotes, with every odd byte escaped, cut when it is long."""
    data = key.encode("utf-8", "surrogateescape") if isinstance(key, str) else key
    shown = repr(data[:_LONGEST])[1:]
    return shown if len(data) <= _LONGEST else f"{shown} and {len(data) - _LONGEST} bytes more"


def names_of(keys: "list[bytes]") -> str:
    """Some names, and how many there are beside."""
    shown = ", ".join(map(name_of, keys[:_SHOWN]))
    return shown if len(keys) <= _SHOWN else f"{shown} and {len(keys) - _SHOWN} more"


def counted(number: int, word: str) -> str:
    """`1 key`, `2 keys`."""
    return f"{number} {word}{'' if number == 1 else 's'}"
