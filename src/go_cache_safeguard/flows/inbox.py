"""What waits in a journal, remembered as far as it was read, so that a page of ten thousand takes no longer than a page of ten.

Knows:     which operations have not ended, which broken glasses wait for a review, and what was asked for on each target.
Called by: `flows.desk`.
Never:     is the truth: the journal is, and each look reads first what was written since the last one; decides anything.
"""

import threading
from bisect import bisect_right, insort
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from go_cache_safeguard.approval.ballot import Ballot, tally
from go_cache_safeguard.core.lifecycle import PENDING, State
from go_cache_safeguard.core.operation import Operation, follow, is_over
from go_cache_safeguard.journal.law import AGREED, REVIEWED
from go_cache_safeguard.journal.record import Entry, Record

WAITING = frozenset({State.HELD, State.APPROVED})
"""What waits for people, or for being carried out."""

MOST = 500
"""The most operations of one page."""

_VOTES = frozenset({AGREED, REVIEWED})
_SEARCHED = ("target", "kind", "user", "client", "command", "host", "why")
_SEARCHED_LISTS = ("selectors", "reasons", "words")


class Books(Protocol):
    """What is needed of an open journal; see `journal.records.Records`."""

    @property
    def last_seq(self) -> int:
        """Number of the newest record."""

    @property
    def log(self) -> str:
        """Its id."""

    def operations(self) -> list[Operation]:
        """All, by their first record."""

    def operation(self, op: str) -> Operation:
        """One."""

    def records(self, since: int = 0, *, op: str | None = None) -> Iterator[Record]:
        """Records in order, notes as well."""

    def filed(self, since: int = 0) -> Iterator[Record]:
        """Records about operations, moves and notes, in order."""

    def decide(self, op: str, judge: Callable[[Operation, Sequence[Record], int], Sequence[Entry]]) -> Operation:
        """Look, judge and write in one transaction."""

    def begin(self, op: str, entries: Sequence[Entry]) -> Operation:
        """Write the first records of an operation, unless there is one of this name."""


Opens = Callable[..., AbstractContextManager[Books]]
"""Opens the journal: `open(read_only=bool)`, as `Session.journal`."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the operations that were asked for.

    Attributes:
        operations: The oldest first.
        total: How many there are on all pages.
        next: What `after` is for the next page; empty on the last one.
        ballots: How far each is, by its id.
    """

    operations: tuple[Operation, ...]
    total: int
    next: str
    ballots: Mapping[str, Ballot]


class Inbox:
    """The memory. Safe from any thread: one looks at a time."""

    def __init__(self, open_journal: Opens) -> None:
        """Make one that has seen nothing yet.

        Args:
            open_journal: Opens the journal, once for each look.
        """
        self._open_journal = open_journal
        self._lock = threading.Lock()
        self._log = ""
        self._begin()

    def _begin(self) -> None:
        self._until = 0
        self._kept: dict[str, Operation] = {}  # what has not ended, or waits for its review
        self._votes: dict[str, list[Record]] = {}
        self._texts: dict[str, str] = {}
        self._states: dict[str, State] = {}  # of every operation there is
        self._order: list[str] = []  # of those that are kept, sorted
        self._targets: dict[str, list[str]] = {}

    def page(self, states: Collection[State], *, after: str, limit: int, text: str) -> Page:
        """Operations in some states, the oldest first; see `Desk.inbox`."""
        wanted, sought = frozenset(states), text.casefold()
        with self._looking() as journal:
            if wanted <= PENDING:
                found = [op for op in self._order if self._kept[op].state in wanted and sought in self._texts[op]]
                return self._page(journal, found, after, limit)
            if sought:
                found = sorted(it.id for it in journal.operations() if it.state in wanted and sought in searched(it))
            else:
                found = sorted(op for op, state in self._states.items() if state in wanted)
            return self._page(journal, found, after, limit)

    def reviews(self) -> Page:
        """Broken glasses that nobody has reviewed, the oldest first."""
        with self._looking() as journal:
            found = [op for op in self._order if self._is_glass(op) and self._ballot(op).review_due]
            return self._page(journal, found, "", MOST)

    def due(self, now_s: float) -> list[str]:
        """What waits and is over."""
        with self._looking():
            return [op for op in self._order if is_over(self._kept[op], now_s)]

    def history(self, target: str, limit: int) -> list[Operation]:
        """What was asked for on one target, the newest first."""
        with self._looking() as journal:
            found = self._targets.get(target, [])[-limit:] if limit > 0 else []
            return [self._kept.get(op) or journal.operation(op) for op in reversed(found)]

    @contextmanager
    def _looking(self) -> Iterator[Books]:
        with self._lock, self._open_journal(read_only=True) as journal:
            last, log = journal.last_seq, journal.log
            if last < self._until or log != self._log:  # another journal lies there now
                self._begin()
                self._log = log
            if last > self._until:
                for record in journal.filed(self._until):
                    self._remember(record)
                    self._until = record.seq
                self._until = max(self._until, last)
            yield journal

    def _page(self, journal: Books, found: Sequence[str], after: str, limit: int) -> Page:
        begin = bisect_right(found, after)
        ids = found[begin : begin + max(1, min(limit, MOST))]
        shown = [self._kept.get(op) or journal.operation(op) for op in ids]
        ballots = {
            it.id: self._ballot(it.id) if it.id in self._kept else tally(it, list(journal.records(op=it.id)))
            for it in shown
        }
        more = begin + len(ids) < len(found)
        return Page(tuple(shown), len(found), ids[-1] if more else "", ballots)

    def _ballot(self, op: str) -> Ballot:
        return tally(self._kept[op], self._votes.get(op, ()))

    def _remember(self, record: Record) -> None:
        op = record.op
        if op is None:
            return
        if record.state is not None:
            self._move(op, record, record.state)
        elif record.step in _VOTES and op in self._kept:
            self._votes.setdefault(op, []).append(record)
        if op in self._kept and not self._is_open(op):
            self._forget(op)

    def _move(self, op: str, record: Record, state: State) -> None:
        before = self._kept.get(op)
        self._states[op] = state
        if before is None and state is not State.REQUESTED:
            return  # it had ended before
        now = follow(before, op=op, state=state, actor=record.actor, at=record.at, data=record.data)
        if before is None:
            insort(self._order, op)
            self._targets.setdefault(str(record.data.get("target", "")), []).append(op)
        self._kept[op] = now
        self._texts[op] = searched(now)

    def _is_open(self, op: str) -> bool:
        return self._kept[op].state in PENDING or (self._is_glass(op) and self._ballot(op).review_due)

    def _is_glass(self, op: str) -> bool:
        return self._kept[op].data.get("emergency") is True

    def _forget(self, op: str) -> None:
        del self._kept[op], self._texts[op], self._order[bisect_right(self._order, op) - 1]
        self._votes.pop(op, None)


def searched(operation: Operation) -> str:
    """The text of an operation in which one searches, in lower case."""
    data = operation.data
    words = [operation.id, operation.requester, *(str(data.get(key, "")) for key in _SEARCHED)]
    for key in _SEARCHED_LISTS:
        words += [str(word) for word in data.get(key, ())]
    return "\n".join(words).casefold()
