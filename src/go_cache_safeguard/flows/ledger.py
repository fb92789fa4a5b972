"""What many threads write into the journal, in few transactions.

Knows:     that a record must be durable before anybody acts on it, and that a disk syncs ten records as fast as one.
Called by: `flows.redis_gate`, for every call that it lets through or carries out.
Never:     says that a record is written before it is durable; loses one silently: whoever wrote it gets the failure.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Protocol

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.errors import ExitCode, Failure, IllegalTransition
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.operation import Operation
from go_cache_safeguard.journal.record import Entry

if TYPE_CHECKING:
    from go_cache_safeguard.journal.store import Journal

_TOGETHER = 500
_BEHIND_S = 0.2
"""How long the head of the journal may stay behind its last record: writing it takes longer than the record."""


class LedgerClosed(Failure):
    """Nothing more is written."""

    id = "ledger-closed"
    exit_code = ExitCode.JOURNAL
    meaning = "something was to be written into the journal after its writer was closed"


class Moves(Protocol):
    """What moves operations: the journal itself, or a ledger."""

    def advance(self, op: str, to: State, data: Mapping[str, Value]) -> Operation:
        """See `Journal.advance`."""

    def operation(self, op: str) -> Operation:
        """See `Journal.operation`."""


class _Wish:
    """One record on its way; or, without one, a look at an operation."""

    def __init__(self, entry: "Entry | None", op: str = "") -> None:
        self.entry = entry
        self.op = op
        self.done = threading.Event()
        self.found: Operation | None = None
        self.error: BaseException | None = None


class Ledger:
    """Writes on a thread of its own, which begins with the first record.

    Every call is safe from any thread.
    """

    def __init__(self, journal: "Callable[[], Journal]") -> None:
        """Make a ledger; nothing is opened yet.

        Args:
            journal: Opens the journal for writing.
        """
        self._journal = journal
        self._queue: SimpleQueue[_Wish | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False

    def note(self, step: str, data: Mapping[str, Value], *, op: str | None = None) -> None:
        """Write a note. It is durable when this returns.

        Args:
            step: Small words joined by dashes.
            data: What there is to say.
            op: The operation that it is about; None for none.

        Raises:
            Failure: It is not.
        """
        self._have(_Wish(Entry(step, data, op)))

    def advance(self, op: str, to: State, data: Mapping[str, Value]) -> Operation:
        """As `Journal.advance`."""
        return _there(self._have(_Wish(Entry(str(to), data, op))))

    def operation(self, op: str) -> Operation:
        """As `Journal.operation`."""
        return _there(self._have(_Wish(None, op)))

    def _have(self, wish: _Wish) -> Operation | None:
        with self._lock:
            if self._closed:
                raise LedgerClosed("nothing more is written here", not_done="nothing was let through")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
                self._thread.start()
            self._queue.put(wish)
        wish.done.wait()
        if wish.error is not None:
            raise wish.error
        return wish.found

    def close(self) -> None:
        """Write what is waiting, and let go of the journal."""
        with self._lock:
            self._closed = True
            thread = self._thread
        if thread is not None:
            self._queue.put(None)
            thread.join()

    def _run(self) -> None:
        with ExitStack() as stack:
            journal: Journal | None = None
            head_at = 0.0  # until when the head may stay behind; 0 if it is not
            while (wishes := self._next(head_at)) is not None:
                try:
                    if journal is None:
                        journal = stack.enter_context(self._journal())
                    _fulfil(journal, wishes)
                except BaseException as error:  # noqa: BLE001 - every writer gets it, and none waits for ever
                    for wish in wishes:
                        wish.error = error
                    journal = None
                    stack.close()
                for wish in wishes:
                    wish.done.set()
                head_at = _catch_up(journal, head_at, more=any(wish.entry for wish in wishes))
            _catch_up(journal, head_at, more=False)

    def _next(self, until: float) -> list[_Wish] | None:
        """All that wait; none if the head's time has come first, None at the end."""
        try:
            first = self._queue.get(timeout=max(0.0, until - time.monotonic()) if until else None)
        except Empty:
            return []
        if first is None:
            return None
        wishes = [first]
        while len(wishes) < _TOGETHER:
            try:
                wish = self._queue.get_nowait()
            except Empty:
                break
            if wish is None:
                self._queue.put(None)  # the end comes after these
                break
            wishes.append(wish)
        return wishes


def _fulfil(journal: "Journal", wishes: Sequence[_Wish]) -> None:
    """Write all records at once, then look."""
    entries = [(wish, wish.entry) for wish in wishes if wish.entry is not None]
    answers = journal.write_all([entry for _, entry in entries]) if entries else []
    for (wish, _), answer in zip(entries, answers, strict=True):
        if isinstance(answer, IllegalTransition):
            wish.error = answer
        else:
            wish.found = answer
    for wish in wishes:
        if wish.entry is None:
            try:
                wish.found = journal.operation(wish.op)
            except Failure as failure:
                wish.error = failure


def _there(found: Operation | None) -> Operation:
    assert found is not None  # noqa: S101 - only a note moves no operation
    return found


def _catch_up(journal: "Journal | None", head_at: float, *, more: bool) -> float:
    """Bring the head up to the last record when its time has come. Returns until when it may stay behind, 0 if it is not."""
    if journal is None:
        return 0.0
    if more and not head_at:
        return time.monotonic() + _BEHIND_S
    if more and time.monotonic() < head_at:
        return head_at
    if head_at:
        with suppress(Failure):  # the next record says what is wrong
            journal.catch_up()
    return 0.0
