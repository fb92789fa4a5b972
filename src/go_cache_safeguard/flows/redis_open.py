"""Clients' calls that wait for a person, or for somebody to do them: as the journal tells it, of all processes.

Knows:     which call has an operation already, how many each client has, and which are approved.
Called by: `flows.redis_gate`.
Never:     is the truth: the journal is; this only remembers what it read, and where it stopped.
"""

import re
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from go_cache_safeguard.core.lifecycle import PENDING, State
from go_cache_safeguard.core.operation import Operation, follow
from go_cache_safeguard.flows.approve import expire

if TYPE_CHECKING:
    from go_cache_safeguard.journal.store import Journal

_PORT = re.compile(r":[0-9]{1,5}\Z", re.ASCII)
_WAITING = frozenset({State.HELD, State.APPROVED})


def counted_as(client: str) -> str:
    """Whom a call counts for: every connection from one address is the same client."""
    return _PORT.sub("", client)


class OpenCalls:
    """Operations about calls at one server that have not ended. Safe from any thread."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._open: dict[str, Operation] = {}
        self._of_call: dict[str, str] = {}
        self._seen = 0

    def refresh(self, journal: "Journal") -> None:
        """Read what was written since the last time; let those expire whose time is over."""
        with self._lock:
            last = journal.last_seq
            for record in journal.moves(self._seen) if last != self._seen else ():
                if record.op is not None and record.state is not None:
                    before = self._open.get(record.op)
                    if before is None and not self._is_ours(record.data, record.state):
                        continue
                    self._lay(
                        follow(
                            before, op=record.op, state=record.state, actor=record.actor, at=record.at, data=record.data
                        )
                    )
            self._seen = last
            now_s = int(datetime.now(UTC).timestamp())
            for operation in list(self._open.values()):
                after = expire(journal, operation, now_s)
                if after is not operation:
                    self._lay(after)

    def of_call(self, digest: str) -> Operation | None:
        """The operation that waits about this very call."""
        with self._lock:
            found = self._open.get(self._of_call.get(digest, ""))
            return found if found is not None and found.state in _WAITING else None

    def of_client(self, client: str) -> int:
        """How many of a client, as `counted_as` names it, wait."""
        with self._lock:
            waiting = [one for one in self._open.values() if one.state in _WAITING]
        return sum(counted_as(str(one.data.get("client", ""))) == client for one in waiting)

    def approved(self) -> list[Operation]:
        """Those that a person has approved, oldest first."""
        with self._lock:
            return [one for one in self._open.values() if one.state is State.APPROVED]

    def held(self) -> list[Operation]:
        """Those that nobody has decided about, oldest first."""
        with self._lock:
            return [one for one in self._open.values() if one.state is State.HELD]

    def _is_ours(self, data: object, state: State) -> bool:
        ours = isinstance(data, dict) and data.get("target") == self._target and bool(data.get("call"))
        return ours and state is State.REQUESTED

    def _lay(self, operation: Operation) -> None:
        if operation.state in PENDING:
            self._open[operation.id] = operation
            self._of_call[str(operation.data["call"])] = operation.id
            return
        self._open.pop(operation.id, None)
        if self._of_call.get(str(operation.data["call"])) == operation.id:
            del self._of_call[str(operation.data["call"])]
