"""What an act of the door really did.

Knows:     the fields of each answer, and their form on the way through a pipe.
Called by: `snapshot.quarantine` makes them; flows put them into the journal, the command line shows them.
Never:     claims more than was done: what was skipped, left or failed is in it by name.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeAlias, TypeVar

from go_cache_safeguard.core.canonical import Value

PlanData: TypeAlias = bytes


@dataclass(frozen=True, slots=True)
class Taken:
    """What `take` did.

    Attributes:
        moved: Entries that now are in quarantine.
        bytes: Their sizes, together.
        changed: Names whose size or time is no longer what the plan says; left in the cache.
        missing: Names that were not in the cache.
        failed: Names with the reason why they were left where they were.
        durable: Whether everything moved survives a power cut; False when an fsync failed.
        stopped: Whether somebody asked to stop; then the rest of the plan was not looked at.
    """

    moved: int = 0
    bytes: int = 0
    changed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    failed: tuple[tuple[str, str], ...] = ()
    durable: bool = True
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class PutBack:
    """What `put_back` did.

    Attributes:
        restored: Entries that are in the cache again.
        bytes: Their sizes, together.
        newer: Entries that stay in quarantine because the cache has one of that name again.
        failed: Names with the reason why they stay in quarantine.
        notes: Other things that a person may want to know.
        durable: Whether everything restored survives a power cut; False when an fsync failed.
        stopped: Whether somebody asked to stop.
    """

    restored: int = 0
    bytes: int = 0
    newer: int = 0
    failed: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    durable: bool = True
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class Purged:
    """What `purge` did.

    Attributes:
        removed: Entries that no longer exist.
        bytes: Their sizes, together.
        left: Entries of the operation that still are in quarantine.
        failed: Names with the reason why they were left.
        stopped: Whether somebody asked to stop.
    """

    removed: int = 0
    bytes: int = 0
    left: int = 0
    failed: tuple[tuple[str, str], ...] = ()
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class Stored:
    """One operation in quarantine.

    Attributes:
        op: Its id.
        files: Entries that are there.
        bytes: Their sizes, together.
        plan_data: Its plan as written, or None when there is none that can be read.
    """

    op: str
    files: int
    bytes: int
    plan_data: PlanData | None


Receipt = TypeVar("Receipt", Taken, PutBack, Purged)


def to_value(receipt: Taken | PutBack | Purged) -> Value:
    """The form that goes through a pipe and into the journal."""
    return asdict(receipt)


def from_value(kind: type[Receipt], value: Mapping[str, Any]) -> Receipt:
    """Read that form again: lists become tuples."""
    return kind(**{field.name: _frozen(value[field.name]) for field in fields(kind)})


def _frozen(value: Any) -> Any:
    return tuple(_frozen(inner) for inner in value) if isinstance(value, list | tuple) else value
