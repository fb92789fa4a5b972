"""The life of an operation, as one table.

Knows:     every state and every arrow. Whoever adds an arrow adds it here.
Called by: `journal.store`, which lets no other step in; `flows.recover`; the docs.
Never:     knows what a state means for a particular cache.

Each arrow is a journal record. States that end in -ING are intents: the record is durable *before* the act, and the next
record is its outcome. After a crash an operation stands in one of them, and `recover` finishes or undoes it.
"""

from enum import StrEnum


class State(StrEnum):
    """Where an operation stands."""

    REQUESTED = "REQUESTED"
    CHECKED = "CHECKED"
    ALLOWED = "ALLOWED"
    HELD = "HELD"
    REFUSED = "REFUSED"
    APPROVED = "APPROVED"
    SNAPSHOTTING = "SNAPSHOTTING"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"
    CANCELLED = "CANCELLED"
    REMOVING = "REMOVING"
    WAITING = "WAITING"
    PROVING = "PROVING"
    DONE = "DONE"
    ROLLING_BACK = "ROLLING_BACK"
    ROLLED_BACK = "ROLLED_BACK"
    UNKNOWN = "UNKNOWN"
    UNDOING = "UNDOING"
    UNDONE = "UNDONE"
    PURGING = "PURGING"
    PURGED = "PURGED"
    PASSED = "PASSED"


S = State
TRANSITIONS: dict[State | None, frozenset[State]] = {
    None: frozenset({S.REQUESTED}),
    S.REQUESTED: frozenset({S.CHECKED, S.CANCELLED}),
    S.CHECKED: frozenset({S.ALLOWED, S.HELD, S.REFUSED, S.CANCELLED}),
    # PURGING: what is deleted for good is an operation of its own, about what earlier ones have kept.
    S.ALLOWED: frozenset({S.SNAPSHOTTING, S.REMOVING, S.CANCELLED, S.REFUSED, S.PASSED, S.PURGING}),
    S.HELD: frozenset({S.APPROVED, S.REJECTED, S.EXPIRED, S.CANCELLED}),
    # PASSED: whoever asked does it on a connection of its own, once; what came of it is not seen.
    S.APPROVED: frozenset({S.SNAPSHOTTING, S.REMOVING, S.EXPIRED, S.CANCELLED, S.REFUSED, S.PASSED, S.PURGING}),
    # A copy of what will go is made. When that fails, nothing goes, and an approval is used up all the same.
    S.SNAPSHOTTING: frozenset({S.REMOVING, S.CANCELLED}),
    # Index entries are away and outputs wait for running builds; or everything is away; or we go back.
    S.REMOVING: frozenset({S.WAITING, S.PROVING, S.ROLLING_BACK}),
    S.WAITING: frozenset({S.REMOVING, S.PROVING, S.ROLLING_BACK, S.UNDOING}),
    S.PROVING: frozenset({S.DONE, S.ROLLING_BACK, S.UNKNOWN}),
    S.ROLLING_BACK: frozenset({S.ROLLED_BACK, S.UNKNOWN}),
    S.UNKNOWN: frozenset({S.ROLLING_BACK, S.UNDOING}),
    S.DONE: frozenset({S.UNDOING, S.PURGING}),
    S.UNDOING: frozenset({S.UNDONE, S.UNKNOWN, S.DONE}),
    S.PURGING: frozenset({S.PURGED}),
    S.REFUSED: frozenset(),
    S.REJECTED: frozenset(),
    S.EXPIRED: frozenset(),
    S.CANCELLED: frozenset(),
    S.ROLLED_BACK: frozenset(),
    S.UNDONE: frozenset(),
    S.PURGED: frozenset(),
    S.PASSED: frozenset(),
}
"""From a state to those that may follow it. `None` stands before the first record."""

UNFINISHED = frozenset({S.REMOVING, S.WAITING, S.PROVING, S.ROLLING_BACK, S.UNDOING, S.PURGING})
"""States in which something may be half done: `recover` looks at these."""

PENDING = frozenset({S.REQUESTED, S.CHECKED, S.ALLOWED, S.HELD, S.APPROVED, S.SNAPSHOTTING})
"""States in which nothing was touched yet."""


def may_follow(before: State | None, after: State) -> bool:
    """Whether the table has this arrow."""
    return after in TRANSITIONS[before]
