"""After a crash: finish or undo whatever was under way.

Knows:     for each state in which something may be half done, the way out.
Called by: the command line's `recover`.
Never:     guesses: an operation that another live safeguard holds is left to it. May itself be killed and run again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.errors import Failure
from go_cache_safeguard.core.lifecycle import UNFINISHED, State
from go_cache_safeguard.core.operation import Operation
from go_cache_safeguard.core.plan import Plan, parse_plan
from go_cache_safeguard.core.receipt import parse_receipt
from go_cache_safeguard.flows import disposers
from go_cache_safeguard.flows.approve import expire
from go_cache_safeguard.flows.prove import Prover
from go_cache_safeguard.flows.purge import purge, stored
from go_cache_safeguard.flows.remove import finish_waiting, merge_back, prove, put_back, tidy
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.site import ACCESS, FINAL, SERVER, Site, site_of
from go_cache_safeguard.flows.undo import Undone
from go_cache_safeguard.telemetry.names import SpanName
from go_cache_safeguard.telemetry.span import span

if TYPE_CHECKING:
    from go_cache_safeguard.journal.store import Journal


Proving = Callable[[Plan], Prover | None]
"""From a plan to the proof that it is due."""
ABANDONED = timedelta(hours=24)
"""After this a request that no process has carried on is over; checks of the largest cache take minutes."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """What became of one operation.

    Attributes:
        op: Its id.
        found: The state it was found in.
        now: The state it is in.
        problem: Why it could not be brought to an end; empty when it was.
    """

    op: str
    found: State
    now: State
    problem: str = ""

    def as_value(self) -> dict[str, Value]:
        """For `--json`."""
        return {"op": self.op, "found": str(self.found), "now": str(self.now), "problem": self.problem}


def recover(session: Session, proving: Proving | None, *, wait_s: int) -> list[Recovered]:
    """Bring every unfinished operation to an end.

    Args:
        session: Who works.
        proving: Gives the proof that a plan is due, for operations that were interrupted before it; None for none.
        wait_s: How long outputs may wait for running go commands, in seconds.
    """
    with session.journal() as journal:
        operations = journal.operations()
        ended = [found for operation in operations if (found := _give_up(journal, operation)) is not None]
        begun = UNFINISHED | {State.SNAPSHOTTING}
        unfinished = [operation for operation in operations if operation.state in begun]
        return ended + [_recover(session, journal, operation, proving, wait_s) for operation in unfinished]


def _give_up(journal: "Journal", operation: Operation) -> Recovered | None:
    """End what nobody works on any more and nothing was touched for: expired holds, and requests whose process is gone."""
    now = datetime.now(UTC)
    after = expire(journal, operation, int(now.timestamp()))
    quiet = now - datetime.fromisoformat(operation.last_at) > ABANDONED
    if operation.state in {State.REQUESTED, State.CHECKED, State.ALLOWED} and quiet:
        after = journal.advance(operation.id, State.CANCELLED, {"why": "abandoned"})
    return None if after is operation else Recovered(operation.id, operation.state, after.state)


def _recover(
    session: Session, journal: "Journal", operation: Operation, proving: Proving | None, wait_s: int
) -> Recovered:
    problem = ""
    with span(SpanName.RECOVER, op=operation.id, found=operation.state) as here:
        try:
            _bring_to_an_end(session, journal, operation, proving, wait_s)
        except (Failure, OSError) as error:
            problem = str(error)
            here.failed(error)
        now = journal.operation(operation.id).state
        here.set(state=now)
    return Recovered(operation.id, operation.state, now, problem)


def _bring_to_an_end(
    session: Session, journal: "Journal", operation: Operation, proving: Proving | None, wait_s: int
) -> None:
    if operation.data.get("kind") in FINAL:
        disposers.recover(session, journal, operation)
    elif operation.data.get("kind") == SERVER:
        _on_server(session, journal, operation)
    elif operation.data.get("kind") == ACCESS:
        from go_cache_safeguard.flows import redis_harden  # noqa: PLC0415 - brings redis-py: only for its operations

        redis_harden.recover(session, journal, operation.id)
    elif operation.state is State.PURGING:
        _purge(session, journal, operation)
    else:
        with site_of(session, journal, operation) as site:
            _in_cache(site, operation, proving, wait_s)


def _on_server(session: Session, journal: "Journal", operation: Operation) -> None:
    # Loaded where used: it brings the client of servers.
    from go_cache_safeguard.flows import redis_call, redis_plan, redis_removal, redis_undo  # noqa: PLC0415 - brings redis-py: only for its operations

    of_call = redis_call.manner_of(operation) is redis_plan.Manner.CALL
    match operation.state:
        case State.SNAPSHOTTING | State.REMOVING | State.PROVING | State.ROLLING_BACK if of_call:
            redis_call.recover(session, journal, operation.id)
        case State.SNAPSHOTTING | State.REMOVING | State.PROVING:
            redis_removal.recover(session, journal, operation.id)
        case State.UNDOING | State.PURGING:
            redis_undo.recover(session, journal, operation.id)
        case _:
            # It waits for a person: `redis resume` or `redis undo`.
            return


def _purge(session: Session, journal: "Journal", operation: Operation) -> None:
    for due in stored(session, [operation]):
        purge(session, journal, due, per_second=session.config.count("quarantine.purge_rate"))


def _in_cache(site: Site, operation: Operation, proving: Proving | None, wait_s: int) -> None:
    # Under the lock now: whoever had the operation is gone, or has ended it. Look again.
    operation = site.journal.operation(operation.id)
    match operation.state:
        case State.SNAPSHOTTING:
            # Whoever copied held the lock: it is gone. What it copied is whole or absent, and nothing was touched.
            site.journal.advance(operation.id, State.CANCELLED, {"why": "stopped while a snapshot was made"})
        case State.REMOVING | State.ROLLING_BACK:
            put_back(site, operation.id, why="recovered after a crash")
        case State.WAITING:
            plan = parse_plan(site.quarantine.plan_data(operation.id))
            prover = None if proving is None else proving(plan)
            finish_waiting(site, plan, parse_receipt(operation.data["receipt"]), prover, wait_s)
        case State.PROVING:
            prover = None if proving is None else proving(parse_plan(site.quarantine.plan_data(operation.id)))
            prove(site, parse_receipt(operation.data["receipt"]), prover)
        case State.UNDOING:
            _finish_undo(site, operation)
        case _:
            # It was brought to an end while we waited for the lock.
            return


def _finish_undo(site: Site, operation: Operation) -> None:
    back = merge_back(site, operation.id)
    state = State.UNKNOWN if back.failed or back.stopped else State.UNDONE
    undone = Undone(operation.id, back.restored, back.bytes, back.newer, (), 0)
    site.journal.advance(operation.id, state, {"undo": undone.as_value(), "recovered": True})
    if state is State.UNDONE:
        tidy(site, operation.id, back)
