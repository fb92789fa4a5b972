"""Really delete what has been in quarantine long enough.

Knows:     how long quarantine is kept, and which operations may be purged.
Called by: the command line's `purge`.
Never:     deletes anything that is not listed in the plan of an operation and lies in its quarantine.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.errors import IllegalTransition, PlanVoid
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.operation import Operation
from go_cache_safeguard.core.plan import parse_plan
from go_cache_safeguard.flows.interrupt import stoppable
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.site import SERVERS, Site, site_of
from go_cache_safeguard.snapshot.quarantine import NoOperation

if TYPE_CHECKING:
    from go_cache_safeguard.journal.store import Journal

_PURGEABLE = frozenset({State.DONE, State.PURGING, State.UNDONE, State.ROLLED_BACK})


@dataclass(frozen=True, slots=True)
class Due:
    """One operation whose quarantine may go.

    Attributes:
        op: Its id.
        state: Where it stands.
        target: The cache it came from.
        files: What lies in quarantine.
        size: Bytes of that.
        due_s: When its retention ends, in seconds since 1970-01-01 UTC.
        digest: Of its plan.
    """

    op: str
    state: State
    target: str
    files: int
    size: int
    due_s: int
    digest: str

    def as_value(self) -> dict[str, Value]:
        """For `--json`."""
        return {
            "op": self.op,
            "state": str(self.state),
            "target": self.target,
            "files": self.files,
            "bytes": self.size,
            "due_s": self.due_s,
            "digest": self.digest,
        }


@dataclass(frozen=True, slots=True)
class Purged:
    """What a purge did to one operation.

    Attributes:
        op: Its id.
        removed: Files that are gone for good.
        size: Bytes of those.
        left: Files that stay.
        failed: The first of those that could not be deleted, with the reason.
        stopped: Whether somebody asked to stop; running it again goes on.
    """

    op: str
    removed: int
    size: int
    left: int
    failed: tuple[tuple[str, str], ...]
    stopped: bool

    def as_value(self) -> dict[str, Value]:
        """For the journal and for `--json`."""
        return {
            "op": self.op,
            "removed": self.removed,
            "bytes": self.size,
            "left": self.left,
            "failed": [list(pair) for pair in self.failed],
            "stopped": self.stopped,
        }


def stored(session: Session, operations: Sequence[Operation]) -> list[Due]:
    """Everything that should lie in quarantine, as the journal tells it, with the end of its retention.

    Counts are those of the receipts: listing must not wait for the lock of a running clean.
    """
    retention_s = session.config.seconds("quarantine.retention")
    due: list[Due] = []
    for operation in operations:
        data = operation.data
        files, size = _left(operation)
        if data.get("kind") not in SERVERS and operation.state in _PURGEABLE and files and "purge" not in data:
            due_s = int(data.get("done_s", 0)) + retention_s
            target, digest = str(data["target"]), str(data["digest"])
            due.append(Due(operation.id, operation.state, target, files, size, due_s, digest))
    return due


def _left(operation: Operation) -> tuple[int, int]:
    data = operation.data
    if operation.state is State.UNDONE:
        return int(data["undo"]["newer"]), 0
    if operation.state is State.ROLLED_BACK:
        return int(data.get("newer", 0)), 0
    receipt = data.get("receipt", {})
    return int(receipt.get("moved", 0)), int(receipt.get("bytes", 0))


def purge(session: Session, journal: "Journal", due: Due, *, per_second: int) -> Purged:
    """Delete the quarantine of one operation for good.

    Args:
        session: Who works, with which settings.
        journal: Open for writing.
        due: From `stored`.
        per_second: At most so many files each second; 0 for no limit.

    Raises:
        IllegalTransition: The operation is in a state that still needs its quarantine.
    """
    operation = journal.operation(due.op)
    if operation.state not in _PURGEABLE:
        raise IllegalTransition(
            f"{due.op} is {operation.state}: its quarantine is still needed", not_done="nothing was deleted"
        )
    with site_of(session, journal, operation) as site, stoppable(session.progress.say) as stop:
        leftovers = operation.state in {State.UNDONE, State.ROLLED_BACK}
        if operation.state is State.DONE:
            journal.advance(due.op, State.PURGING, {})
        names = _planned(site, due)
        session.progress.phase(f"deleting the quarantine of {due.op}", due.files)
        done = site.quarantine.purge(
            due.op, only=names, per_second=per_second or None, progress=session.progress.update, stop=stop
        )
        purged = Purged(due.op, done.removed, done.bytes, done.left, done.failed[:20], done.stopped)
        session.progress.phase("")
        if leftovers:
            journal.note("leftovers-purged", {"purge": purged.as_value()}, op=due.op)
        elif not purged.stopped and not purged.left:
            journal.advance(due.op, State.PURGED, {"purge": purged.as_value(), "purged_s": int(time.time())})
        return purged


def _planned(site: Site, due: Due) -> Sequence[str]:
    """What may be deleted. The plan is the last to go: where there is none, a purge was killed after everything else."""
    try:
        plan = parse_plan(site.quarantine.plan_data(due.op))
    except NoOperation:
        return ()
    if plan.digest != due.digest:
        raise PlanVoid(
            f"the plan in the quarantine of {due.op} is not the one in the journal", not_done="nothing was deleted"
        )
    return [item.name for item in plan.items]
