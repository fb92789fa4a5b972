"""What may happen now.

Knows:     the three decisions; each carries its reasons.
Called by: `core.policy` makes them, `flows` obeys them.
Never:     is a bool: "no" and "not yet" are different things.
"""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Allow:
    """Go on."""

    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hold:
    """Wait for a person."""

    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refuse:
    """Never, whoever asks."""

    reasons: tuple[str, ...]


Decision: TypeAlias = Allow | Hold | Refuse
