"""One intended destructive act, as the journal tells it.

Knows:     how an operation is named, who asked, and how its records add up to where it stands now.
Called by: `journal.store` folds records with it; `flows` and the command line read it.
Never:     keeps state of its own: the journal is the only truth.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from go_cache_safeguard.core.lifecycle import State

_ID = re.compile(r"op_[0-9a-z]{16}", re.ASCII)
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def operation_id(now_ms: int, chance: int) -> str:
    """Name an operation: 45 bits of time, 35 bits of chance, so that names sort by time.

    Args:
        now_ms: Milliseconds since 1970-01-01 UTC.
        chance: A random number; its lowest 35 bits are used.
    """
    number = (now_ms & (1 << 45) - 1) << 35 | chance & (1 << 35) - 1
    return "op_" + "".join(_ALPHABET[number >> shift & 31] for shift in range(75, -1, -5))


def is_operation_id(text: str) -> bool:
    """Whether this could be a name that `operation_id` gave; nothing else may become part of a path."""
    return _ID.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Operation:
    """What all the records of one operation say together.

    Attributes:
        id: See `operation_id`.
        state: Where it stands.
        requester: Who asked for it.
        at: When the first record was written, RFC 3339 UTC.
        last_at: When the newest one was.
        data: The `data` of all records, later ones over earlier ones.
        states: The way it took.
    """

    id: str
    state: State
    requester: str
    at: str
    last_at: str
    data: Mapping[str, Any] = field(default_factory=dict)
    states: tuple[State, ...] = ()


_WAITING = frozenset({State.HELD, State.APPROVED})
_NO = frozenset({State.REJECTED, State.EXPIRED, State.CANCELLED, State.REFUSED})


def waits(operation: Operation) -> bool:
    """Whether it waits, for a person or for being carried out, and not for ever."""
    expires_s = operation.data.get("expires_s")
    return operation.state in _WAITING and type(expires_s) is int and expires_s != 0


def is_over(operation: Operation, now_s: float) -> bool:
    """Whether it has waited too long.

    Args:
        operation: Its `expires_s` says from when on it waits no more, in seconds since 1970-01-01 UTC; without one it waits for ever.
        now_s: The time, the same.
    """
    return waits(operation) and now_s >= int(operation.data["expires_s"])


def is_too_late(operation: Operation, to: State, now_s: float) -> bool:
    """Whether it cannot enter a state any more because its time is over: what says no always can."""
    return to not in _NO and is_over(operation, now_s)


def follow(
    before: Operation | None, *, op: str, state: State, actor: str, at: str, data: Mapping[str, Any]
) -> Operation:
    """Add one record to an operation.

    Args:
        before: What it was, or None for its first record.
        op: Its id.
        state: The state that the record enters.
        actor: Who did it; of the first record, the requester.
        at: RFC 3339 UTC.
        data: What the record says.
    """
    if before is None:
        return Operation(op, state, actor, at, at, dict(data), (state,))
    merged = {**before.data, **data}
    return Operation(op, state, before.requester, before.at, at, merged, (*before.states, state))
