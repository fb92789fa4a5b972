"""Follows the journal while it grows, one operation or all of them.

Knows:     when an operation has ended, and what its end is worth as an exit code.
Called by: the command line's `ops watch`.
Never:     decides; misses a record: it goes on from the last number that it saw.
"""

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from go_cache_safeguard.core.errors import ExitCode
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.operation import Operation

if TYPE_CHECKING:
    from go_cache_safeguard.journal.record import Record
    from go_cache_safeguard.journal.records import Records

ENDS = {
    State.DONE: ExitCode.DONE,
    State.PASSED: ExitCode.DONE,
    State.UNDONE: ExitCode.DONE,
    State.PURGED: ExitCode.DONE,
    State.REFUSED: ExitCode.REFUSED,
    State.REJECTED: ExitCode.REFUSED,
    State.EXPIRED: ExitCode.REFUSED,
    State.CANCELLED: ExitCode.REFUSED,
    State.ROLLED_BACK: ExitCode.PROOF_FAILED,
    State.UNKNOWN: ExitCode.RESTORE_FAILED,
}
"""States in which nobody is at work any more, and what they are worth."""

_POLL_S = 0.25


def worth(operation: Operation) -> ExitCode:
    """What the state of an operation is worth now."""
    if operation.state is State.HELD:
        return ExitCode.HELD
    return ENDS.get(operation.state, ExitCode.COULD_NOT_TELL)


def follow(
    book: "Records",
    op: str | None,
    *,
    seconds: float | None = None,
    beat: Callable[[], object] = lambda: None,
    pause: Callable[[float], object] = time.sleep,
) -> "Iterator[Record]":
    """Give the records of an operation, then those to come, until it has ended; or, without one, all that come.

    Args:
        book: The journal, open for reading.
        op: An operation; None for all.
        seconds: End after so long; None for never.
        beat: Called before each look.
        pause: Waits.

    Raises:
        NoSuchOperation: There is none of this name.
        JournalUnusable: The journal cannot be read (any more).
    """
    ended = op is not None and book.operation(op).state in ENDS
    seen = 0 if op is not None else book.last_seq
    until = None if seconds is None else time.monotonic() + seconds
    while True:
        beat()
        for record in book.records(seen, op=op):
            seen = record.seq
            ended = ended or (op is not None and record.state in ENDS)
            yield record
        if ended or (until is not None and time.monotonic() >= until):
            return
        pause(_POLL_S)
