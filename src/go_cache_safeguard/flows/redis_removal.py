"""Remove the keys of a plan from a server, so that no write is lost and everything can be put back.

Knows:     the order for each batch: WATCH and DUMP, copy on disk, MULTI, UNLINK, EXEC; what counts as changed since the approval; and
           what a lost reply means.
Called by: the command line's `redis del`, `redis unlink`, `redis flush` and `redis resume`, through `flows.clean`; `flows.recover`.
Never:     removes a key whose value or end is not the approved one; sends an EXEC twice; removes before the copy is durable, unless
           the site allows it for want of room.

A key that is written to between DUMP and EXEC makes EXEC do nothing, so its batch is looked at again. What was written stays.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.errors import ExitCode, Failure, PlanVoid
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.operation import Operation
from go_cache_safeguard.core.plan import Item, Plan
from go_cache_safeguard.core.receipt import Receipt, parse_receipt
from go_cache_safeguard.flows.clean import kept_plan, words_of
from go_cache_safeguard.flows.clean import resume as resume_approved
from go_cache_safeguard.flows.interrupt import stoppable
from go_cache_safeguard.flows.recheck import is_strict, void
from go_cache_safeguard.flows.redis_server import identity_of, reach
from go_cache_safeguard.flows.redis_trash import noted, opened, place_of, room
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.site import SERVER
from go_cache_safeguard.redis.bigvalue import Keep
from go_cache_safeguard.redis.client import GONE, SLACK, Link, Looked, ReplyLost, ServerRefuses
from go_cache_safeguard.redis.keyname import parse_place, place_name
from go_cache_safeguard.redis.trash import PIECE_COST, Captured, Frame, Header, Told
from go_cache_safeguard.redis.trashlog import TrashLog, TrashUnusable
from go_cache_safeguard.telemetry.names import MetricName, SpanName
from go_cache_safeguard.telemetry.span import measure, span

if TYPE_CHECKING:
    from go_cache_safeguard.journal.store import Journal

BATCH_KEYS = 1_000
BATCH_BYTES = 16 << 20
_ATTEMPTS = 3
_CLOCK_MS = 5
"""How far two answers about one key's end may be apart on servers that tell only what is left of it."""
_SHOWN = 20
_TICK_S = 0.05


class OutcomeUnknown(Failure):
    """The reply to a removal was lost."""

    id = "outcome-unknown"
    exit_code = ExitCode.PARTLY_REMOVED
    meaning = "the reply to a removal was lost, so nobody knows whether it was done; it was not sent again"


class RemovalPaused(Failure):
    """Somebody asked to stop, or the time was over."""

    id = "removal-paused"
    exit_code = ExitCode.INTERRUPTED
    meaning = "a removal of keys stopped between two batches; what went can be put back, and the rest can be resumed"


@dataclass(slots=True)
class Account:
    """What was counted so far."""

    calls: int = 0
    moved: int = 0
    size: int = 0
    changed: int = 0
    missing: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    paused: str = ""

    def add(self, other: "Account") -> None:
        """Take in what somebody else counted."""
        self.calls += other.calls
        self.moved += other.moved
        self.size += other.size
        self.changed += other.changed
        self.missing += other.missing
        self.failed += other.failed


@dataclass(slots=True)
class Together:
    """What those share who remove from several nodes at a time.

    Attributes:
        lock: Held from the first byte of a batch in the trash to what became of it: batches stand there one after the other.
        lost: A reply was lost: nothing may be written behind that batch, whose fate nobody knows.
    """

    lock: "threading.RLock" = field(default_factory=threading.RLock)
    lost: bool = False


@dataclass(slots=True)
class Removal:
    """One plan on its way.

    Attributes:
        room: Bytes that may still be kept.
        removes: Whether keys without room for a copy go all the same.
        told: What went before, and now.
        in_flight: Keys whose removal was sent, and neither answered nor written down.
        pieces: Where values begin in the trash that came in pieces.
        together: With those who work on the same plan.
    """

    session: Session
    server: Link
    trash: TrashLog
    stop: Callable[[], bool]
    deadline: float
    room: int
    removes: bool
    told: Told
    account: Account = field(default_factory=Account)
    in_flight: int = 0
    pieces: dict[bytes, int] = field(default_factory=dict)
    together: Together = field(default_factory=Together)

    def go(self, items: Sequence[Item]) -> None:
        """Every batch, until somebody asks to stop."""
        rate = self.session.config.count("redis.rate")
        began, done = time.monotonic(), 0
        self.session.progress.phase("removing keys", len(items))
        for number, (db, batch) in enumerate(self.cut(items, rate or BATCH_KEYS), 1):
            self.account.paused = self.why_stop()
            if self.account.paused:
                break
            with span(SpanName.WAVE, phase="keys", wave=number) as here:
                before = self.account.moved, self.account.size
                self.take(db, batch)
                gone = self.account.moved - before[0]
                here.set(keys=gone, size=self.account.size - before[1])
                measure(MetricName.WAVE_KEYS, gone, kind=SERVER)
            done += len(batch)
            self.session.progress.update(done, self.account.size)
            if rate:
                rest(began + done / rate, self.stop)
        self.session.progress.phase("")

    def cut(self, items: Iterable[Item], most: int) -> Iterator[tuple[int, dict[bytes, Item]]]:
        """Batches that this server can answer with, and their databases."""
        bearable = self.server.bearable()
        size = BATCH_BYTES if bearable is None else min(BATCH_BYTES, bearable)
        return batches(items, most, self.server.slot_of, size)

    def take(self, db: int, batch: dict[bytes, Item]) -> None:
        """One batch goes, as far as it is what was approved."""
        self.server.select(db)
        self._batch(db, batch)

    def why_stop(self) -> str:
        """Why it is to stop between two batches; empty if it is not."""
        if self.stop():
            return "stopped on request"
        return "the time that a removal may take is over" if time.monotonic() > self.deadline else ""

    def _batch(self, db: int, items: dict[bytes, Item]) -> None:
        """All keys of a batch that are still what was approved, at once; in halves while somebody writes to some of them."""
        if not self._bears(items):
            return
        left = dict(items)
        for _ in range(_ATTEMPTS if len(items) == 1 else 1):
            left = self._attempt(db, left)
            if not left:
                return
            if self.pieces:
                break  # not another copy of a large value
        if len(items) == 1:
            self.account.changed += 1
            return
        keys = list(left)
        for half in (keys[: len(keys) // 2], keys[len(keys) // 2 :]):
            if half:
                self._batch(db, {key: left[key] for key in half})

    def _attempt(self, db: int, items: dict[bytes, Item]) -> dict[bytes, Item]:
        """Take all of a batch that may go. Returns what could have gone, and was written to meanwhile."""
        self.pieces.clear()
        with ExitStack() as turn:
            looked = self.server.watch(list(items), lambda key, size: self._sink(turn, key, size))
            if not self.pieces:
                turn.enter_context(self.together.lock)
            if self.together.lost:
                self.server.forget()
                return {}
            taken = self._keep([self._captured(db, one) for one in self._same(items, looked)])
            going = {one.key: items[one.key] for one in taken}
            if not taken:
                self.server.forget()
            elif self._remove(taken):
                self.account.size += sum(item.size for item in going.values())
            else:
                return going
        return {}

    def _bears(self, items: dict[bytes, Item]) -> bool:
        """Whether the server can answer with these values and not evict others for it."""
        size = sum(item.size for item in items.values())
        bearable = self.server.bearable(next(iter(items))) if size > SLACK else None
        if bearable is None or size <= bearable or len(items) > 1:
            return True
        for item in items.values():
            self._stays(item.name, "the server has too little memory left to answer with its value")
        return False

    def _sink(self, turn: ExitStack, key: bytes, size: int) -> Keep | None:
        """Where the pieces of a large value go; nowhere if the trash has no room for them."""
        need = size + size // SLACK * PIECE_COST + SLACK
        if need > self.room:
            return None
        self.room -= need
        if not self.pieces:
            turn.enter_context(self.together.lock)  # pieces of others must not stand between
        self.pieces[key] = self.trash.size
        return self.trash.add_piece

    def _captured(self, db: int, one: Looked) -> Captured:
        big = None if one.big is None else replace(one.big, at=self.pieces.get(one.key, -1))
        return Captured(db, one.key, _end_of(one), one.dump or b"", big)

    def _same(self, items: dict[bytes, Item], looked: Sequence[Looked]) -> list[Looked]:
        """Those that are what was approved; the others are counted and stay."""
        same = []
        for one in looked:
            if one.expires_ms == GONE:
                self.account.missing += 1
            elif one.length is None or one.expires_ms is None:
                self._stays(items[one.key].name, "its value cannot be captured")
            elif is_same(items[one.key], one):
                same.append(one)
            else:
                self.account.changed += 1
        return same

    def _keep(self, batch: Sequence[Captured]) -> list[Captured]:
        """Make copies durable. Returns those that may go."""
        fitting: list[Captured] = []
        over: list[Captured] = []
        for one in batch:
            fits = one.size <= self.room and (one.big is None or one.big.at >= 0)
            (fitting if fits else over).append(one)
            self.room -= one.size if fits else 0
        if self.removes:
            fitting += [Captured(one.db, one.key, one.expires_ms, b"") for one in over]
        else:
            for one in over:
                self._stays(place_name(one.db, one.key), "the trash has no room for its value")
        if fitting:
            self.trash.keep(fitting)
        return fitting

    def _remove(self, taken: Sequence[Captured]) -> bool:
        self.in_flight, self.together.lost = len(taken), True
        try:
            gone = self.server.remove([one.key for one in taken])
        except ServerRefuses:
            self.in_flight, self.together.lost = 0, False
            raise
        # Until it is written down too, nobody who reads the trash later could know.
        self.trash.tell(Frame.STAYED if gone is None else Frame.REMOVED)
        self.in_flight, self.together.lost = 0, False
        if gone is None:
            return False
        self.account.calls += 1
        self.account.moved += gone
        self.told.removed.update(((one.db, one.key), one.length > 0) for one in taken)
        return True

    def _stays(self, name: str, why: str) -> None:
        self.account.failed.append((name, why))


Run = Callable[[Removal, Sequence[Item]], None]
"""Has the batches of a plan taken, in its own order and time."""


def execute(session: Session, journal: "Journal", op: str, plan: Plan, run: Run = Removal.go) -> Receipt:
    """Remove what the plan lists, as far as it is still what was approved.

    Args:
        session: Who works, with which settings.
        journal: Open for writing.
        op: An operation that is ALLOWED or APPROVED for exactly this plan, or WAITING.
        plan: The plan.
        run: All at once, unless it is to go in waves.

    Returns:
        The receipt, also in the journal.

    Raises:
        PlanVoid: The server is not the one that was looked at, or was started again since; nothing was removed.
        RemovalPaused: Stopped between two batches.
        OutcomeUnknown: The reply to a removal was lost.
    """
    place = place_of(journal.operation(op))
    with (
        _reached(session, plan) as server,
        opened(session, op, place=place, new=True, infos=server.infos()) as trash,
    ):
        operation = journal.operation(op)
        if operation.state is not State.WAITING:
            about: Mapping[str, Value] = {} if place is not None else noted(session)
            _recheck(session, journal, operation, plan, server)
            _prepare(journal, op, plan, server, trash, about=about)
        else:
            see_same_server(server, plan)
            trash.begin(header_of(op, plan))
            trash.tell(Frame.STAYED)  # whatever was kept and not sent
        journal.advance(op, State.REMOVING, {"trash": trash.place})
        with stoppable(session.progress.say) as stop:
            return _go(session, journal, plan, server, trash, operation=operation, stop=stop, run=run)


Executor = Callable[[Session, "Journal", str, Plan], Receipt]
"""`execute`, or what has it go in waves."""


def resume(session: Session, op: str, manner: Executor = execute, *, account: Path | None = None) -> Receipt:
    """Execute an operation that was held and is approved now, or go on with one that stopped between two batches.

    Raises:
        Held: It is still held.
        IllegalTransition: It cannot be executed (any more).
        PlanVoid: As `execute`; and so for its other failures.
    """
    with session.journal() as journal:
        operation = journal.operation(op)
        if operation.state is State.WAITING and operation.data.get("kind") == SERVER:
            plan = kept_plan(session, operation)
            with span(SpanName.EXECUTE, op=op, **words_of(plan)) as here:
                receipt = manner(session, journal, op, plan)
                here.set(outcome=receipt.state.value.lower())
            return receipt
    return resume_approved(session, op, manner, account=account)


def recover(session: Session, journal: "Journal", op: str) -> None:
    """Find out where a killed removal stands. Removes nothing.

    Raises:
        TrashLocked: Somebody still works on it.
    """
    # Without its file a removal that had begun cannot be understood; before, there may be none.
    operation = journal.operation(op)
    new = operation.state is State.SNAPSHOTTING
    with opened(session, op, place=place_of(operation) or "", new=new) as trash:
        operation = journal.operation(op)
        if operation.state is State.SNAPSHOTTING:
            journal.advance(op, State.CANCELLED, {"why": "stopped before anything was removed"})
            return
        plan = kept_plan(session, operation)
        try:
            told, damage = trash.told(), ""
        except TrashUnusable as error:
            told, damage = Told(), error.what
        receipt = _told_receipt(operation, plan, told)
        if operation.state is State.PROVING:
            receipt = parse_receipt(operation.data["receipt"])
            with _reached(session, plan) as server:
                _prove(journal, plan, server, told, receipt)
        elif told.open or damage:
            evidence = damage or f"killed while {len(told.open)} keys went: nobody knows whether they are gone"
            journal.advance(op, State.PROVING, {"receipt": receipt.as_value()})
            journal.advance(op, State.UNKNOWN, {"evidence": evidence})
        else:
            journal.advance(op, State.WAITING, {"receipt": receipt.as_value(), "why": "killed between two batches"})


def batches(
    items: Iterable[Item], most: int, slot_of: Callable[[bytes], int], largest: int = BATCH_BYTES
) -> Iterator[tuple[int, dict[bytes, Item]]]:
    """Items by database and slot, as many at once as are few enough and small enough; each by its key."""
    places = [(*parse_place(item.name), item) for item in items]
    slots = {(db, key): slot_of(key) for db, key, _ in places}
    batch, size, at = dict[bytes, Item](), 0, (0, 0)
    for db, key, item in sorted(places, key=lambda place: (place[0], slots[place[0], place[1]])):
        full = len(batch) >= min(most, BATCH_KEYS) or size + item.size > largest
        if batch and (at != (db, slots[db, key]) or full):
            yield at[0], batch
            batch, size = {}, 0
        at, size = (db, slots[db, key]), size + item.size
        batch[key] = item
    if batch:
        yield at[0], batch


def rest(until: float, stop: Callable[[], bool]) -> None:
    """Wait for a time of the monotonic clock, or until somebody asks to stop."""
    while (left := until - time.monotonic()) > 0 and not stop():
        time.sleep(min(left, _TICK_S))


def is_same(item: Item, one: Looked) -> bool:
    """Whether a key is what was approved: its value, byte for byte, and its end."""
    if one.length is None or one.expires_ms is None or not item.digest:
        return False
    return same_end(item.stamp, one.expires_ms) and one.digest == item.digest


def same_end(one: int, other: int) -> bool:
    """Whether two answers about a key's end mean the same moment, or never."""
    return one == other or (min(one, other) >= 0 and abs(one - other) <= _CLOCK_MS)


def _reached(session: Session, plan: Plan) -> Link:
    return reach(session, plan.target, plan.identity)


def header_of(op: str, plan: Plan) -> Header:
    """What the file of an operation's captured values is about."""
    return Header(op, plan.target, plan.identity, plan.digest)


def room_in(session: Session, trash: TrashLog) -> int:
    """Bytes that may still be kept."""
    used, limit, free = room(session, trash.home)
    return min(free, limit - used) if limit else free


def see_same_server(server: Link, plan: Plan) -> None:
    """Ask for the run id.

    Raises:
        PlanVoid: It is another one.
    """
    run_id = identity_of(server.infos())
    if run_id != plan.identity:
        raise PlanVoid(
            f"{plan.target} was started again, or is another server, since the plan was made",
            not_done="nothing was removed",
            hint="make a new plan: what was approved is not what is there now",
        )


def _recheck(session: Session, journal: "Journal", operation: Operation, plan: Plan, server: Link) -> None:
    """See that no key changed since people looked at the plan; those that have gone change nothing.

    Raises:
        PlanVoid: One did; the approval is used up, and nothing was removed.
    """
    if operation.state is not State.APPROVED or not is_strict(session) or identity_of(server.infos()) != plan.identity:
        return
    session.progress.phase("looking at the keys again", len(plan.items))
    parts = batches(plan.items, BATCH_KEYS, server.slot_of)
    changed = [name for db, batch in parts for name in _changed_in(server, db, batch)]
    session.progress.phase("")
    if changed:
        why = f"{len(changed):,} of {len(plan.items):,} keys changed since it was asked for, the first is {changed[0]}"
        raise void(session, journal, operation, why)


def _changed_in(server: Link, db: int, items: Mapping[bytes, Item]) -> list[str]:
    """Keys that are there and are not what they were; what could not be captured then is not judged by this."""
    server.select(db)
    there = [one for one in server.look(list(items)) if one.expires_ms != GONE and items[one.key].digest]
    return [items[one.key].name for one in there if not is_same(items[one.key], one)]


def _prepare(
    journal: "Journal", op: str, plan: Plan, server: Link, trash: TrashLog, *, about: Mapping[str, Value]
) -> None:
    """Everything that must be right before the first key goes."""
    try:
        see_same_server(server, plan)
    except PlanVoid as void:
        journal.advance(op, State.REFUSED, {"why": void.what})
        raise
    journal.advance(op, State.SNAPSHOTTING, about)
    try:
        trash.begin(header_of(op, plan))
    except (Failure, OSError) as error:
        journal.advance(op, State.CANCELLED, {"why": f"no values can be captured: {error}"})
        raise


def _go(
    session: Session,
    journal: "Journal",
    plan: Plan,
    server: Link,
    trash: TrashLog,
    *,
    operation: Operation,
    stop: Callable[[], bool],
    run: Run,
) -> Receipt:
    op, config = operation.id, session.config
    told = trash.told()
    removal = Removal(
        session,
        server,
        trash,
        stop,
        deadline=time.monotonic() + config.seconds("redis.trash_max_time"),
        room=room_in(session, trash),
        removes=config.choice("redis.trash_beyond") == "remove",
        told=told,
    )
    before = _receipt_so_far(operation, plan)
    began = time.monotonic_ns()
    lost: Failure | None = None
    try:
        run(removal, [item for item in plan.items if parse_place(item.name) not in told.removed])
    except (Failure, OSError) as error:
        lost = error if isinstance(error, Failure) else ReplyLost(str(error))
    receipt = _added(before, removal.account, (time.monotonic_ns() - began) // 10**6)
    calls: dict[str, Value] = {"unlink": int(operation.data.get("calls", {}).get("unlink", 0)) + removal.account.calls}
    if removal.in_flight:
        raise _unknown(journal, op, receipt, removal.in_flight, lost) from lost
    if lost is not None or removal.account.paused:
        why = removal.account.paused or str(lost)
        told_now: dict[str, Value] = {"receipt": _in(receipt, State.WAITING).as_value(), "why": why, "calls": calls}
        journal.advance(op, State.WAITING, told_now)
        raise lost or RemovalPaused(
            f"{op}: {why}; {receipt.moved} of {receipt.planned} keys are gone",
            not_done="the other keys stay",
            hint=f"`go-cache-safeguard redis resume {op}` goes on, `go-cache-safeguard redis undo {op}` puts back what went",
        )
    journal.advance(op, State.PROVING, {"receipt": receipt.as_value(), "calls": calls})
    return _prove(journal, plan, server, told, receipt)


def _unknown(journal: "Journal", op: str, receipt: Receipt, keys: int, lost: Failure | None) -> OutcomeUnknown:
    evidence = f"the reply to the removal of {keys} keys was lost: {lost}"
    journal.advance(op, State.PROVING, {"receipt": receipt.as_value()})
    journal.advance(op, State.UNKNOWN, {"evidence": evidence})
    return OutcomeUnknown(
        f"{op}: {evidence}",
        not_done="it was not sent again, and nothing more was removed",
        hint=f"all values are kept: `go-cache-safeguard redis undo {op}` puts back what is gone",
    )


def _prove(journal: "Journal", plan: Plan, server: Link, told: Told, receipt: Receipt) -> Receipt:
    """See that the keys are gone, on the same server."""
    try:
        with span(SpanName.VERIFY, op=receipt.op):
            evidence = _evidence(server, plan, told)
    except ReplyLost as lost:
        journal.advance(receipt.op, State.UNKNOWN, {"evidence": str(lost)})
        raise
    if evidence is None:
        journal.advance(receipt.op, State.UNKNOWN, {"evidence": "the server was started again since"})
        raise OutcomeUnknown(
            f"{receipt.op}: the server was started again since; it may have read old values from its disk",
            not_done="nothing was sent again",
            hint=f"all values are kept: `go-cache-safeguard redis undo {receipt.op}` puts back what is gone",
        )
    done = _in(receipt, State.DONE, evidence)
    journal.advance(receipt.op, State.DONE, {"receipt": done.as_value(), "done_s": int(time.time())})
    return done


def _evidence(server: Link, plan: Plan, told: Told) -> tuple[str, ...] | None:
    if identity_of(server.infos()) != plan.identity:
        return None
    again = 0
    by_db: dict[int, list[bytes]] = {}
    for db, key in told.removed:
        by_db.setdefault(db, []).append(key)
    for db, keys in by_db.items():
        server.select(db)
        again += sum(server.there(keys))
    gone = len(told.removed) - again
    lines = [f"{gone:,} of {len(told.removed):,} removed keys are gone"]
    lines += [f"{again:,} were made again by somebody since"] if again else []
    no_copy = sum(not copied for copied in told.removed.values())
    lines += [f"{no_copy:,} went without a copy and CANNOT BE PUT BACK"] if no_copy else []
    return tuple(lines)


def _receipt_so_far(operation: Operation, plan: Plan) -> Receipt:
    """Of an operation that goes on: what went before. What stayed is looked at again."""
    moved, size, took = 0, 0, 0
    if operation.state is State.WAITING:
        before = parse_receipt(operation.data["receipt"])
        moved, size, took = before.moved, before.size, before.took_ms
    return Receipt(
        op=operation.id,
        state=State.PROVING,
        digest=plan.digest,
        planned=len(plan.items),
        moved=moved,
        size=size,
        before=plan.whole,
        took_ms=took,
    )


def _added(before: Receipt, account: Account, took_ms: int) -> Receipt:
    return Receipt(
        op=before.op,
        state=before.state,
        digest=before.digest,
        planned=before.planned,
        moved=before.moved + account.moved,
        size=before.size + account.size,
        changed=account.changed,
        missing=account.missing,
        failed=tuple(account.failed[:_SHOWN]),
        before=before.before,
        took_ms=before.took_ms + took_ms,
    )


def _in(receipt: Receipt, state: State, proof: tuple[str, ...] = ()) -> Receipt:
    return replace(receipt, state=state, proof=proof)


def _told_receipt(operation: Operation, plan: Plan, told: Told) -> Receipt:
    """The receipt of a killed removal, out of what it wrote down before."""
    size = sum(item.size for item in plan.items if parse_place(item.name) in told.removed)
    return Receipt(
        op=operation.id,
        state=State.WAITING,
        digest=plan.digest,
        planned=len(plan.items),
        moved=len(told.removed),
        size=size,
        before=plan.whole,
    )


def _end_of(one: Looked) -> int:
    return -1 if one.expires_ms is None else one.expires_ms
