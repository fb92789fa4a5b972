"""Everyday calls with an expiry or a condition, that need no judging although their words decide.

Knows:     a few forms such as `SET key value EX 60`, and where in them time and conditions stand.
Called by: `redis_py.guard`, which asks `redis.intent` about each form before it believes in it.
Never:     takes a time that it cannot read for a late one; knows whether a key is protected.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FORMS = (
    "SET k v EX t",
    "SET k v PX t",
    "SET k v NX",
    "SET k v XX",
    "SET k v EX t NX",
    "SET k v PX t NX",
    "SET k v EX t XX",
    "SET k v PX t XX",
    "SETEX k t v",
    "PSETEX k t v",
    "EXPIRE k t",
    "PEXPIRE k t",
    "GETEX k EX t",
    "GETEX k PX t",
)
"""As redis-py sends them; `k` is the key, `v` the value, `t` how long from now."""
_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Timely:
    """The forms that a site lets through unless their key is protected.

    Attributes:
        places: By name and number of words: where the time is (0 for none), and where the options are.
        units: Milliseconds of a unit of time, by name, number of words and options; 0 without a time.
        soon_ms: An expiry that is no farther away counts as a removal.
    """

    places: Mapping[tuple[Any, int], tuple[int, tuple[int, ...]]]
    units: Mapping[tuple[Any, ...], int]
    soon_ms: int

    def knows(self, args: Sequence[Any]) -> bool:
        """Whether a call, of text and numbers or of bytes, is one of the forms with a time that is far enough away."""
        place = self.places.get((args[0], len(args)))
        if place is None:
            return False
        time_at, options = place
        try:
            unit = self.units.get((args[0], len(args), *[args[at] for at in options]))
        except TypeError:  # a bytearray, of which nobody makes an option
            return False
        if unit is None or not time_at:
            return unit is not None
        left = args[time_at]
        if type(left) is bytes and left.isdigit() and left[:1] != b"0" and len(left) <= _DIGITS:
            left = int(left)
        return type(left) is int and self.soon_ms < left * unit < 10**_DIGITS * 1000


def timely(is_ordinary: Callable[[tuple[bytes, ...]], bool], soon_ms: int) -> Timely:
    """Find the forms that a site lets through.

    Args:
        is_ordinary: Whether a call passes unless its second word is a protected key.
        soon_ms: See `Timely`.
    """
    places: dict[tuple[Any, int], tuple[int, tuple[int, ...]]] = {}
    units: dict[tuple[Any, ...], int] = {}
    for form in FORMS:
        words = form.split()
        late = str(soon_ms * 1000 + 10**6)
        if not is_ordinary(tuple(late.encode() if word == "t" else word.encode() for word in words)):
            continue
        time_at = words.index("t") if "t" in words else 0
        options = tuple(at for at, word in enumerate(words) if at and word.isupper())
        unit = _unit(words) if time_at else 0
        for named in (words, [word.encode() for word in words]):
            places[named[0], len(words)] = time_at, options
            units[named[0], len(named), *[named[at] for at in options]] = unit
    return Timely(places, units, soon_ms)


def _unit(words: Sequence[str]) -> int:
    return 1 if "PX" in words or words[0].startswith("P") else 1000
