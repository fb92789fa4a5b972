"""Do one client's call that a person has approved, so that its keys can be put back.

Knows:     the order: WATCH and DUMP, compare with what was approved, copy on disk, MULTI, the very call, EXEC; and which way each
           approved operation of a server is done.
Called by: `flows.redis_gate`; `flows.recover`; the command line's `redis resume`.
Never:     does a call whose keys are not what was approved; sends it twice; sends it before the copy is durable, unless the site
           allows it for want of room.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.errors import Failure, IllegalTransition, PlanVoid
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.operation import Operation
from go_cache_safeguard.core.plan import Item, Plan
from go_cache_safeguard.core.receipt import Receipt, parse_receipt
from go_cache_safeguard.flows import purge_waves, redis_removal
from go_cache_safeguard.flows.clean import kept_plan
from go_cache_safeguard.flows.clean import resume as resume_approved
from go_cache_safeguard.flows.ledger import Moves
from go_cache_safeguard.flows.redis_plan import Manner, Wish, databases_of
from go_cache_safeguard.flows.redis_removal import OutcomeUnknown, header_of, is_same, room_in, see_same_server
from go_cache_safeguard.flows.redis_server import connect_node
from go_cache_safeguard.flows.redis_trash import opened, place_of
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.redis.address import parse_address
from go_cache_safeguard.redis.call import Call
from go_cache_safeguard.redis.client import GONE, SLACK, Carried, Link, Looked, Server, ServerRefuses
from go_cache_safeguard.redis.keyname import key_of, parse_place, place_name
from go_cache_safeguard.redis.resp import RequestReader, encode
from go_cache_safeguard.redis.trash import Captured, Frame
from go_cache_safeguard.redis.trashlog import TrashLog, TrashUnusable
from go_cache_safeguard.telemetry.names import SpanName
from go_cache_safeguard.telemetry.span import span

if TYPE_CHECKING:
    from go_cache_safeguard.journal.store import Journal

_ATTEMPTS = 3
_AT_ONCE = 500
_ERROR_CHARS = 100


def keep_call(session: Session, op: str, plan: Plan, call: Call) -> None:
    """Remember a call that may be done later; durable when this returns.

    Raises:
        TrashUnusable: There is no room.
    """
    with opened(session, op, new=True) as trash:
        trash.begin(header_of(op, plan))
        trash.remember(encode(call.commands[0]))


def user_of(operation: Operation) -> str:
    """Who the client said it was, as it said it; the journal has it in printable form."""
    return key_of(str(operation.data["user"])).decode("utf-8", "surrogateescape")


def manner_of(operation: Operation) -> Manner:
    """How an operation of a server is done; those of the command line remove keys."""
    return Manner(operation.data.get("manner", Manner.KEYS))


def resume(session: Session, op: str, *, account: Path | None = None) -> Receipt:
    """Do an operation of a server that is approved, or go on with one that stopped between two batches.

    Raises:
        IllegalTransition: It cannot be done (any more), or only by the client.
        Held: It is still held.
        PlanVoid: What was approved is not what is there now.
        OutcomeUnknown: The reply was lost.
    """
    with session.journal() as journal:
        operation = journal.operation(op)
    manner = manner_of(operation)
    if manner is Manner.RETRY:
        raise IllegalTransition(
            f"{op} is done by the client that asked for it",
            not_done="nothing was done",
            hint=f"the client sends the same command again, or `GUARD RETRY {op}` before it",
        )
    if manner is Manner.KEYS:
        return redis_removal.resume(session, op, purge_waves.executor_of(operation), account=account)
    return resume_approved(session, op, execute, account=account)


def execute(session: Session, journal: "Journal", op: str, plan: Plan) -> Receipt:
    """As `carry_out`, for whoever does not want the reply."""
    return carry_out(session, journal, op, plan)[0]


def carry_out(session: Session, journal: Moves, op: str, plan: Plan, *, resp: int = 2) -> tuple[Receipt, bytes]:
    """Do the call of an operation that is ALLOWED or APPROVED.

    Args:
        session: Who works, with which settings.
        journal: Open for writing.
        op: The operation.
        plan: Its plan.
        resp: In which version of the protocol the reply is wanted, 2 or 3.

    Returns:
        The receipt, also in the journal, and the server's reply.

    Raises:
        PlanVoid: What was approved is not what is there now; nothing was done, and the approval is used up.
        ReplyLost: The connection ended before the call was sent; the approval still counts.
        OutcomeUnknown: The reply was lost.
    """
    place = place_of(journal.operation(op))
    with (
        connect_node(session, parse_address(plan.target)) as server,
        opened(session, op, place=place, infos=server.infos()) as trash,
    ):
        operation = journal.operation(op)
        if operation.state not in {State.ALLOWED, State.APPROVED}:
            raise IllegalTransition(f"{op} is {operation.state}: it cannot be done", not_done="nothing was done")
        work = _Work(session, journal, op, int(operation.data["db"]), plan, server, trash, resp)
        return work.go(_remembered(trash, operation, plan))


def see_unchanged(server: Link, plan: Plan, wanted: Wish) -> None:
    """See that all keys of a plan are what they were, without doing anything.

    Args:
        server: Where.
        plan: What was approved.
        wanted: The call; if everything goes, no other key may be there.

    Raises:
        PlanVoid: Something is different.
    """
    see_same_server(server, plan)
    items = {parse_place(item.name): item for item in plan.items}
    for db in sorted({db for db, _ in items}):
        server.select(db)
        keys = [key for at, key in items if at == db]
        for begin in range(0, len(keys), _AT_ONCE):
            for one in server.look(keys[begin : begin + _AT_ONCE]):
                if not _as_approved(items[db, one.key], one):
                    raise _changed(place_name(db, one.key))
    for db in databases_of(server, wanted, server.infos()) if wanted.flushes else ():
        server.select(db)
        for found in server.scan():
            new = next((key for key in found if (db, key) not in items), None)
            if new is not None:
                raise _changed(place_name(db, new))


def recover(session: Session, journal: "Journal", op: str) -> None:
    """Find out where a killed call stands. Does nothing to the server.

    Raises:
        TrashLocked: Somebody still works on it.
    """
    with opened(session, op, place=place_of(journal.operation(op))) as trash:
        operation = journal.operation(op)
        if operation.state is State.SNAPSHOTTING:
            journal.advance(op, State.CANCELLED, {"why": "stopped before anything was done"})
            return
        plan = kept_plan(session, operation)
        try:
            kinds = [kind for kind, _ in trash.frames()]
        except TrashUnusable:
            kinds = []
        if operation.state is State.REMOVING:
            receipt = _receipt(op, plan)
            journal.advance(op, State.PROVING, {"receipt": receipt.as_value()})
            if Frame.REMOVED not in kinds:
                journal.advance(
                    op, State.UNKNOWN, {"evidence": "killed while it was done: nobody knows what came of it"}
                )
                return
            proof = "it was done; what the server answered, and which keys changed, was not written down before we were killed"
        elif operation.state is State.ROLLING_BACK:
            journal.advance(op, State.ROLLED_BACK, {})
            return
        elif operation.state is State.PROVING:
            receipt = parse_receipt(operation.data["receipt"])
            proof = "; ".join(receipt.proof)
        else:
            return
        _done(journal, replace(receipt, proof=(proof,)))


@dataclass(slots=True)
class _Work:
    """One call on its way.

    Attributes:
        db: The database that was selected when it came.
        resp: In which version of the protocol the reply is wanted.
        begun: Whether the journal says that it is being done.
    """

    session: Session
    journal: Moves
    op: str
    db: int
    plan: Plan
    server: Server
    trash: TrashLog
    resp: int
    begun: bool = False

    def go(self, words: tuple[bytes, ...]) -> tuple[Receipt, bytes]:
        """Until it is done, or somebody writes to its keys all the time."""
        began = time.monotonic_ns()
        try:
            see_same_server(self.server, self.plan)
            for _ in range(_ATTEMPTS):
                with span(SpanName.SNAPSHOT, keys=len(self.plan.items)):
                    self._keep(self._watched())
                with span(SpanName.WAVE, phase="call"):
                    carried = self._send(words)
                if carried is not None:
                    return self._tell(carried, (time.monotonic_ns() - began) // 10**6)
        except PlanVoid as void:
            self._end(void.what)
            raise
        except Failure as failure:
            if self.begun and self.journal.operation(self.op).state is State.REMOVING:
                self._roll_back(failure.what)
            raise
        why = f"{self.op}: its keys are written to all the time"
        self._end(why)
        raise PlanVoid(why, not_done="nothing was done", hint="ask again")

    def _watched(self) -> list[tuple[int, Looked]]:
        """All keys, watched and as they were approved."""
        items = {parse_place(item.name): item for item in self.plan.items}
        size = sum(item.size for item in self.plan.items)
        bearable = self.server.bearable() if size > SLACK else None
        if bearable is not None and size > bearable:
            raise PlanVoid(
                f"the server has too little memory left to answer with the values of {self.op}",
                not_done="nothing was done",
            )
        found: list[tuple[int, Looked]] = []
        for db in sorted({db for db, _ in items}):
            self.server.select(db)
            keys = [key for at, key in items if at == db]
            for one in self.server.watch(keys):
                if not _as_approved(items[db, one.key], one):
                    self.server.forget()
                    raise _changed(place_name(db, one.key))
                found.append((db, one))
        return found

    def _keep(self, looked: Sequence[tuple[int, Looked]]) -> None:
        """A copy of every key, durable; then the intent."""
        batch = [
            Captured(db, one.key, -1 if one.expires_ms is None else one.expires_ms, one.dump)
            for db, one in looked
            if one.dump is not None
        ]
        if not self.begun:
            self.journal.advance(self.op, State.SNAPSHOTTING, {})
        try:
            if sum(one.size for one in batch) > room_in(self.session, self.trash):
                if self.session.config.choice("redis.trash_beyond") != "remove":
                    raise TrashUnusable(f"the trash has no room for the keys of {self.op}", not_done="nothing was done")
                batch = [replace(one, dump=b"") for one in batch]
            if batch:
                self.trash.keep(batch)
        except (Failure, OSError) as error:
            if not self.begun:
                self.journal.advance(self.op, State.CANCELLED, {"why": f"no values can be captured: {error}"})
            raise
        if not self.begun:
            self.journal.advance(self.op, State.REMOVING, {"trash": self.trash.place})
            self.begun = True

    def _send(self, words: tuple[bytes, ...]) -> Carried | None:
        self.server.select(self.db)
        try:
            carried = self.server.carry_out(words, self._here, resp=self.resp)
        except ServerRefuses:
            self.trash.tell(Frame.STAYED)
            raise
        except BaseException as error:
            raise self._unknown(error) from error
        done = carried is not None and carried.done
        try:
            self.trash.tell(Frame.REMOVED if done else Frame.STAYED)
            self.trash.sync()
        except Failure as error:
            # It was done, and nobody who reads the trash later could know.
            raise (self._unknown(error) if done else error) from error
        return carried

    @property
    def _here(self) -> list[bytes]:
        """Keys in the database of the call."""
        return [key for db, key in (parse_place(item.name) for item in self.plan.items) if db == self.db]

    def _tell(self, carried: Carried, took_ms: int) -> tuple[Receipt, bytes]:
        if not carried.done:
            self._roll_back(f"the server refuses it: {_error_of(carried.reply)}")
            return replace(_receipt(self.op, self.plan), state=State.ROLLED_BACK), carried.reply
        after = {place_name(self.db, one.key): one for one in carried.after}
        before = {item.name: item for item in self.plan.items}
        other = [name for name, one in after.items() if not _as_approved(before[name], one)]
        made: list[Value] = [name for name in other if before[name].stamp == GONE]
        proof = [f"the server did it; {len(other)} of {len(before)} keys are another now"]
        if carried.reply.startswith(b"-"):
            proof.append(f"it answered with an error: {_error_of(carried.reply)}")
        receipt = replace(
            _receipt(self.op, self.plan),
            moved=len(other),
            size=sum(before[name].size for name in other),
            proof=tuple(proof),
            took_ms=took_ms,
        )
        left: dict[str, Value] = {name: [after[name].digest, after[name].expires_ms] for name in other}
        told: dict[str, Value] = {"receipt": receipt.as_value(), "after": left, "made": made}
        self.journal.advance(self.op, State.PROVING, told)
        return _done(self.journal, receipt), carried.reply

    def _end(self, why: str) -> None:
        """What was approved is not there any more: the approval is used up."""
        if self.begun:
            self._roll_back(why)
        else:
            self.journal.advance(self.op, State.REFUSED, {"why": why})

    def _roll_back(self, why: str) -> None:
        """Nothing was done, and will not be."""
        self.journal.advance(self.op, State.ROLLING_BACK, {"why": why})
        self.journal.advance(self.op, State.ROLLED_BACK, {})

    def _unknown(self, error: BaseException) -> OutcomeUnknown:
        evidence = f"the reply was lost: {error}"
        self.journal.advance(self.op, State.PROVING, {"receipt": _receipt(self.op, self.plan).as_value()})
        self.journal.advance(self.op, State.UNKNOWN, {"evidence": evidence})
        return OutcomeUnknown(
            f"{self.op}: {evidence}",
            not_done="it was not sent again",
            hint=f"all values are kept: `go-cache-safeguard redis undo {self.op}` puts back what is gone",
        )


def _as_approved(item: Item, one: Looked) -> bool:
    """Whether a key is what it was, or still not there."""
    if item.stamp == GONE:
        return one.expires_ms == GONE
    return is_same(item, one)


def _changed(name: str) -> PlanVoid:
    return PlanVoid(
        f"{name} is not what it was when this was asked for",
        not_done="nothing was done",
        hint="ask again: what was approved is not what is there now",
    )


def _remembered(trash: TrashLog, operation: Operation, plan: Plan) -> tuple[bytes, ...]:
    """The words of the call.

    Raises:
        PlanVoid: They are not those that were approved.
    """
    found = RequestReader().feed(trash.call())
    words = found[0].args if len(found) == 1 else ()
    call = Call((words,), db=int(operation.data["db"]), user=user_of(operation))
    if not words or call.digest != plan.call or trash.header() != header_of(operation.id, plan):
        raise PlanVoid(f"{trash.place} does not hold the call that was approved", not_done="nothing was done")
    return words


def _receipt(op: str, plan: Plan) -> Receipt:
    return Receipt(op=op, state=State.PROVING, digest=plan.digest, planned=len(plan.items), before=plan.whole)


def _done(journal: Moves, receipt: Receipt) -> Receipt:
    done = replace(receipt, state=State.DONE)
    journal.advance(done.op, State.DONE, {"receipt": done.as_value(), "done_s": int(time.time())})
    return done


def _error_of(reply: bytes) -> str:
    return reply[1:-2].decode("utf-8", "replace")[:_ERROR_CHARS]
