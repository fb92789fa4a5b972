"""Really delete what has been in quarantine long enough: planned, decided about and accounted for as any removal.

Knows:     how long quarantine is kept, which operations may be purged, and how many of them are one plan.
Called by: the command line's `purge`, `flows.disposers` for what was approved or killed.
Never:     deletes anything that is not listed in the plan of an operation and lies in its quarantine.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.errors import Failure, IllegalTransition, PlanVoid
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.operation import Operation
from go_cache_safeguard.core.plan import Item, Plan, parse_plan
from go_cache_safeguard.core.receipt import Receipt
from go_cache_safeguard.core.verdict import Verdict
from go_cache_safeguard.flows.deletion import Account, begun, finish, time_has_come
from go_cache_safeguard.flows.interrupt import stoppable
from go_cache_safeguard.flows.session import Session, now_text
from go_cache_safeguard.flows.site import FINAL, QUARANTINE, SERVERS, Site, site_of
from go_cache_safeguard.journal.records import JournalTampered, JournalUnusable
from go_cache_safeguard.snapshot.quarantine import NoOperation
from go_cache_safeguard.telemetry.names import SpanName
from go_cache_safeguard.telemetry.span import span

if TYPE_CHECKING:
    from go_cache_safeguard.journal.store import Journal

_PURGEABLE = frozenset({State.DONE, State.PURGING, State.UNDONE, State.ROLLED_BACK})
_LEFT_OVER = frozenset({State.UNDONE, State.ROLLED_BACK})
_LEFTOVERS = "leftovers-purged"
_WHY = "in quarantine"


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
        if data.get("kind") not in SERVERS | FINAL and operation.state in _PURGEABLE and files and "purge" not in data:
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


def not_purged(journal: "Journal", known: Sequence[Due]) -> list[Due]:
    """Without leftovers that were purged: an operation that was undone says so in a note, and stays UNDONE."""
    return [
        one
        for one in known
        if one.state not in _LEFT_OVER or all(record.step != _LEFTOVERS for record in journal.records(op=one.op))
    ]


def plan_of(session: Session, due: Sequence[Due], *, whole: int) -> Plan:
    """All that is to go for good now, as one plan.

    Args:
        session: Who asks.
        due: Of which operations.
        whole: Bytes that lie in quarantine altogether.
    """
    return Plan(
        kind=QUARANTINE,
        target=", ".join(sorted({one.target for one in due})),
        identity="",
        selectors=("purge",),
        requester=session.actor,
        made_at=now_text(),
        whole=whole,
        items=tuple(Item(one.op, one.size, one.due_s, _WHY, one.digest) for one in sorted(due, key=lambda it: it.op)),
    )


def verdict_of(due: Sequence[Due], now_s: float) -> Verdict:
    """Whether the retention of all has ended."""
    return time_has_come("operations in quarantine", [one.op for one in due if one.due_s > now_s], len(due))


def dispose(session: Session, journal: "Journal", op: str, plan: Plan) -> Receipt:
    """Carry out a plan of `plan_of`: delete the quarantine of each operation that is still as the plan saw it.

    Args:
        session: Who works, with which settings.
        journal: Open for writing.
        op: The operation, ALLOWED or APPROVED for this plan; or PURGING, to go on.
        plan: The plan.

    Raises:
        Failure: The first that kept one of them from going; the others are gone, and the account is written.
    """
    account, rows, trouble = Account(), list[Value](), list[Failure]()
    with begun(session, journal, op) as began:
        for item in plan.items:
            try:
                purged = _purge_item(session, journal, item, op, account)
            except (JournalUnusable, JournalTampered):
                raise
            except Failure as failure:
                account.failed.append((item.name, failure.what))
                trouble.append(failure)
                continue
            if purged is not None:
                rows.append(purged.as_value())
                account.gone += not purged.left and not purged.stopped
                account.size += purged.size
                if purged.stopped:
                    break
        account.value = {"operations": rows}
        receipt = finish(journal, op, plan, account, began)
    if trouble:
        raise trouble[0]
    return receipt


def _purge_item(session: Session, journal: "Journal", item: Item, by: str, account: Account) -> Purged | None:
    """One operation of a plan. None if there is nothing to do about it, which is counted."""
    operation = journal.operation(item.name)
    if operation.state is State.PURGED and operation.data.get("purged_by") == by:
        return _read(operation)  # we were killed after it
    found = not_purged(journal, stored(session, [operation]))
    if not found:
        account.missing += 1
        return None
    if (found[0].digest, found[0].size) != (item.digest, item.size):
        account.changed += 1
        return None
    return purge(session, journal, found[0], per_second=session.config.count("quarantine.purge_rate"), by=by)


def _read(operation: Operation) -> Purged:
    told = operation.data["purge"]
    return Purged(operation.id, int(told["removed"]), int(told["bytes"]), int(told["left"]), (), bool(told["stopped"]))


def purge(session: Session, journal: "Journal", due: Due, *, per_second: int, by: str = "") -> Purged:
    """Delete the quarantine of one operation for good.

    Args:
        session: Who works, with which settings.
        journal: Open for writing.
        due: From `stored`.
        per_second: At most so many files each second; 0 for no limit.
        by: The operation that was decided about; empty to go on with a purge that was killed.

    Raises:
        IllegalTransition: The operation is in a state that still needs its quarantine.
    """
    operation = journal.operation(due.op)
    if operation.state not in _PURGEABLE:
        raise IllegalTransition(
            f"{due.op} is {operation.state}: its quarantine is still needed", not_done="nothing was deleted"
        )
    with (
        span(SpanName.PURGE, op=due.op) as here,
        site_of(session, journal, operation) as site,
        stoppable(session.progress.say) as stop,
    ):
        leftovers = operation.state in _LEFT_OVER
        if operation.state is State.DONE:
            journal.advance(due.op, State.PURGING, {"purged_by": by} if by else {})
        names = _planned(site, due)
        session.progress.phase(f"deleting the quarantine of {due.op}", due.files)
        done = site.quarantine.purge(
            due.op, only=names, per_second=per_second or None, progress=session.progress.update, stop=stop
        )
        purged = Purged(due.op, done.removed, done.bytes, done.left, done.failed[:20], done.stopped)
        session.progress.phase("")
        here.set(keys=done.removed, size=done.bytes)
        if leftovers:
            journal.note(_LEFTOVERS, {"purge": purged.as_value()}, op=due.op)
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
