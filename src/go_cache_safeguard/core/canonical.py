"""One byte form for one value, so that a digest means something.

Knows:     how a record or a plan becomes bytes, and which values may.
Called by: `core.plan` and `journal.record`.
Never:     accepts a float (two writers print it differently) or a key that is not text.
Source:    RFC 8785 (JSON Canonicalization Scheme), restricted to integers, text, booleans, null, lists and objects, and
           written in ASCII with escapes, so that a path that is not UTF-8 (surrogate escapes, PEP 383) keeps one form.
"""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import TypeAlias

Value: TypeAlias = "int | str | bool | Sequence[Value] | Mapping[str, Value] | None"


def canonical(value: Value, *, known: bool = False) -> bytes:
    """Write a value in its one form: keys sorted, no spaces, ASCII.

    Args:
        value: What to write.
        known: The caller knows that it holds no float; looking for one in a plan of 100,000 items takes longer than writing it.

    Raises:
        TypeError: The value holds a float, bytes, or a key that is not text.
    """
    if not known:
        _refuse_floats(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def digest(data: bytes | memoryview) -> str:
    """SHA-256 of the bytes, as 64 lower-case hexadecimal digits."""
    return sha256(data).hexdigest()


def _refuse_floats(value: object) -> None:
    if isinstance(value, float | bytes):
        raise TypeError(f"{type(value).__name__} has no canonical form")
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise TypeError("a key must be text")
            _refuse_floats(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            if not isinstance(inner, str | int):
                _refuse_floats(inner)
