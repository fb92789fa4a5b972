"""Brings held calls of clients to the approval server of the fleet, and decisions home.

Knows:     that a guard's clients and its other processes wait on the journal, so that a decision only has to be written there.
Called by: `flows.redis_gate`.
Never:     makes a client wait; decides; keeps anything but what may be lost: all of it stands in the journal or at the server.
"""

import threading
import time
from collections.abc import Callable, Container, Sequence

from go_cache_safeguard.core.errors import Failure
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.operation import Operation
from go_cache_safeguard.flows.fleet import Book, Trouble, bring_home, evidence_of, file, owed, tell_outcomes
from go_cache_safeguard.flows.fleet_link import Link
from go_cache_safeguard.flows.session import Session

_SOON_S, _OFTEN_S, _LATER_S = 1.0, 5.0, 10.0
"""How long between two rounds: while something new is held, while anything is, and when nothing is or the server does not help."""
_NEW_S = 60.0
_AT_ONCE = 10
"""So many are asked about in one round, whoever waits longest first: a server has many hosts."""
_LAST_S = 2.0


class Rounds:
    """Goes round on a thread of its own, which begins with the first call that is held. Safe from any thread."""

    def __init__(
        self,
        session: Session,
        link: Link,
        book: Book,
        held: Callable[[], Sequence[Operation]],
        say: Callable[[str], object],
    ) -> None:
        """Make one; nothing is asked yet.

        Args:
            session: Who guards.
            link: The server.
            book: Writes into the journal; safe from any thread.
            held: All calls that wait for a person, as the journal tells it now.
            say: Told when the server does not help, once for each reason.
        """
        self._session, self._link, self._book, self._held, self._say = session, link, book, held, say
        self._lock = threading.Lock()
        self._wake, self._stop = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._filed: set[str] = set()
        self._owed: set[str] | None = None
        self._asked_at: dict[str, float] = {}
        self._said: dict[str, str] = {}
        self._new_at = time.monotonic()

    def begin(self) -> None:
        """Go on where an earlier run has ended, until `close`."""
        with self._lock:
            if self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(target=self._run, name="fleet", daemon=True)
                self._thread.start()

    def tell(self) -> None:
        """Something is held: go round soon. Never waits, and never fails."""
        self._wake.set()
        self.begin()

    def close(self) -> None:
        """Stop; what is on its way is awaited for a moment. The next start goes on where this one ends."""
        with self._lock:
            self._stop.set()
            self._wake.set()
            thread = self._thread
        if thread is not None:
            thread.join(_LAST_S)

    def _run(self) -> None:
        pause = 0.0
        while not self._stop.is_set():
            self._wake.wait(pause)
            self._wake.clear()
            try:
                pause = self._round()
            except Exception as error:  # noqa: BLE001 - whatever one round does, the next one is made
                self._complain("", f"the approval server was not asked: {type(error).__name__}: {error}")
                pause = _LATER_S

    def _round(self) -> float:
        """Ask about everything that is held. Returns how long to wait for the next round, in seconds."""
        held = {one.id: one for one in self._held() if one.state is State.HELD}
        self._filed &= held.keys()
        self._asked_at = {op: at for op, at in self._asked_at.items() if op in held}
        is_new = len(self._asked_at) < len(held)
        self._new_at = time.monotonic() if is_new else self._new_at
        troubled = False
        for op in sorted(held, key=lambda op: self._asked_at.get(op, 0.0))[:_AT_ONCE]:
            if self._stop.is_set():
                break
            self._asked_at[op] = time.monotonic()
            troubled |= not self._one(held[op])
        troubled |= self._report(held)
        if troubled or not (held or self._owed):
            return _LATER_S
        return _SOON_S if time.monotonic() - self._new_at < _NEW_S else _OFTEN_S

    def _one(self, operation: Operation) -> bool:
        """File it if need be, and bring home what was decided. Returns whether the server helped."""
        op = operation.id
        try:
            with self._session.journal(read_only=True) as journal:
                if op not in self._filed:
                    file(self._link, self._book, operation, evidence_of(self._session, journal, op))
                    self._filed.add(op)
                    self._owed = None if self._owed is None else self._owed | {op}
                bring_home(self._link, self._book, journal, op)
        except Trouble as trouble:
            self._filed.discard(op)
            self._complain(op, trouble.what)
            return False
        except Failure as failure:
            self._complain(op, f"{op} is held, and was not brought to the approval server: {failure}")
            return False
        self._said.pop(op, None)
        return True

    def _report(self, held: Container[str]) -> bool:
        """Tell what came of what is held no more. Returns whether something could not be told."""
        with self._session.journal(read_only=True) as journal:
            if self._owed is None:
                self._owed = set(owed(journal))
            over = [op for op in self._owed if op not in held]
            heard, troubles = tell_outcomes(self._link, self._book, journal, over)
        self._owed -= heard
        for text in troubles:
            self._complain("outcomes", text)
        return bool(troubles)

    def _complain(self, about: str, text: str) -> None:
        """The same trouble may last for hours."""
        if self._said.get(about) != text and not self._stop.is_set():
            self._said[about] = text
            self._say(text)
