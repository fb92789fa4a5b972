"""Put captured values back on a server, and look after the trash that holds them.

Knows:     what may be put back, what stands in the way, and when captured values may be thrown away.
Called by: the command line's `redis undo` and `redis trash`; `flows.recover`.
Never:     replaces a key that is there, unless a person said so; sends a command again whose reply was lost.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.errors import Failure, IllegalTransition
from go_cache_safeguard.core.lifecycle import State, may_follow
from go_cache_safeguard.core.operation import Operation
from go_cache_safeguard.flows.interrupt import stoppable
from go_cache_safeguard.flows.redis_removal import same_end
from go_cache_safeguard.flows.redis_server import connect, identity_of
from go_cache_safeguard.flows.redis_trash import all_places, new_place, open_bin, opened, place_of, throw_away
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.site import SERVER
from go_cache_safeguard.flows.undo import RestoreFailed
from go_cache_safeguard.journal.store import NoSuchOperation
from go_cache_safeguard.redis.address import parse_address
from go_cache_safeguard.redis.client import Link, Pieces
from go_cache_safeguard.redis.keyname import place_name
from go_cache_safeguard.redis.trash import Captured
from go_cache_safeguard.redis.trashlog import Kept, TrashLog, TrashUnusable
from go_cache_safeguard.telemetry.names import SpanName
from go_cache_safeguard.telemetry.span import span

if TYPE_CHECKING:
    from go_cache_safeguard.journal.store import Journal

_BATCH_KEYS = 500
_BATCH_BYTES = 16 << 20
_SHOWN = 20
_NEEDED = frozenset(
    {State.HELD, State.APPROVED, State.ALLOWED, State.SNAPSHOTTING, State.REMOVING, State.WAITING, State.PROVING}
)
_NEEDED |= {State.UNKNOWN, State.UNDOING}


@dataclass(slots=True)
class PutBack:
    """What an undo did.

    Attributes:
        op: The operation that was undone.
        restored: Keys that are back.
        size: Bytes of their values, as DUMP gave them.
        there: Keys that were there with the same value and end already.
        newer: Keys that are there with another value; they stay as they are.
        ended: Keys whose time is over by now.
        no_copy: Keys that went without a copy.
        made: Keys that were not there before; they stay.
        failed: The first keys that could not be put back, with the reason.
        took_ms: Milliseconds.
    """

    op: str
    restored: int = 0
    size: int = 0
    there: int = 0
    newer: int = 0
    ended: int = 0
    no_copy: int = 0
    made: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    took_ms: int = 0

    @property
    def seen(self) -> int:
        """Keys of which the trash tells."""
        return self.restored + self.there + self.newer + self.ended + self.no_copy + len(self.failed)

    def as_value(self) -> dict[str, Value]:
        """For the journal and for `--json`."""
        return {
            "op": self.op,
            "restored": self.restored,
            "bytes": self.size,
            "there": self.there,
            "newer": self.newer,
            "ended": self.ended,
            "no_copy": self.no_copy,
            "made": self.made,
            "failed": [list(pair) for pair in self.failed[:_SHOWN]],
            "took_ms": self.took_ms,
        }


@dataclass(frozen=True, slots=True)
class Stored:
    """One file of captured values.

    Attributes:
        op: Its operation.
        state: Where that stands; None if the journal does not know it.
        target: The server.
        size: Bytes where they lie.
        place: Where; empty for the folder in the state directory.
        due_s: When its retention ends, in seconds since 1970-01-01 UTC; None while the values are still needed.
        digest: Of the plan.
    """

    op: str
    state: State | None
    target: str
    size: int
    due_s: int | None
    digest: str
    place: str = ""

    def as_value(self) -> dict[str, Value]:
        """For `--json`."""
        state = None if self.state is None else str(self.state)
        value: dict[str, Value] = {"op": self.op, "state": state, "target": self.target, "bytes": self.size}
        return {**value, "due_s": self.due_s, "place": self.place}


@dataclass(frozen=True, slots=True)
class Shown:
    """One captured key, without its value.

    Attributes:
        name: Database, `/` and key.
        size: Bytes of its value, as DUMP gave it; 0 without a copy.
        expires_ms: When it ends, milliseconds since 1970-01-01 UTC; -1 for never.
    """

    name: str
    size: int
    expires_ms: int


def undo(session: Session, op: str, *, replace: bool = False) -> PutBack:
    """Put back every value that an operation took, or may have taken.

    Args:
        session: Who works.
        op: The operation.
        replace: Overwrite keys that are there with another value.

    Raises:
        IllegalTransition: There is nothing to undo (any more), or it is about no server.
        RestoreFailed: Something could not be put back; running it again goes on.
        TrashUnusable: The captured values are not there, or damaged.
    """
    with span(SpanName.UNDO, op=op, actor=session.actor) as here, session.journal() as journal:
        operation = _of_server(journal, op)
        if not may_follow(operation.state, State.UNDOING):
            raise IllegalTransition(
                f"{op} is {operation.state}: there is nothing to put back",
                not_done="nothing was put back",
                hint="`go-cache-safeguard recover` goes on with what was interrupted",
            )
        address = parse_address(str(operation.data["target"]))
        with connect(session, address) as server, opened(session, op, place=_place(operation)) as trash:
            if identity_of(server.infos()) != operation.data["identity"]:
                session.progress.say(f"{address.target} was started again, or is another server, since the keys went")
            journal.advance(op, State.UNDOING, {"replace": replace})
            back = _undo(session, journal, op, server, trash, replace=replace)
        here.set(keys=back.restored, size=back.size)
        return back


def recover(session: Session, journal: "Journal", op: str) -> None:
    """Go on with an undo or a purge that was killed."""
    operation = journal.operation(op)
    if operation.state is State.PURGING:
        size = throw_away(session, op, _place(operation))
        journal.advance(op, State.PURGED, {"purge": {"bytes": size}, "purged_s": int(time.time())})
        return
    address = parse_address(str(operation.data["target"]))
    with connect(session, address) as server, opened(session, op, place=_place(operation)) as trash:
        if journal.operation(op).state is State.UNDOING:
            _undo(session, journal, op, server, trash, replace=bool(operation.data.get("replace")))


def stored(session: Session, journal: "Journal") -> list[Stored]:
    """What every operation keeps, wherever it lies, as the journal tells of it. Places that cannot be reached are named and left out.

    Raises:
        TrashUnusable: The place for new values cannot be reached.
    """
    retention_s = session.config.seconds("redis.trash_retention")
    found = []
    for place, one in _everywhere(session, journal):
        try:
            operation = journal.operation(one.op)
        except NoSuchOperation:
            found.append(Stored(one.op, None, "", one.size, None, "", place))
            continue
        data = operation.data
        due_s = None if operation.state in _NEEDED else int(data.get("done_s", 0)) + retention_s
        target, digest = str(data["target"]), str(data["digest"])
        found.append(Stored(one.op, operation.state, target, one.size, due_s, digest, place))
    return found


def show(session: Session, op: str) -> list[Shown]:
    """The captured keys of an operation, in the order in which they went; values are not shown."""
    with session.journal(read_only=True) as journal:
        place = _place(journal.operation(op))
    with opened(session, op, place=place) as trash:
        return [Shown(place_name(one.db, one.key), one.length, one.expires_ms) for one in trash.values()]


def purge(session: Session, journal: "Journal", one: Stored, *, by: str = "") -> int:
    """Throw captured values away for good, those of an UNKNOWN operation too. Returns their bytes.

    Args:
        session: Who works, with which settings.
        journal: Open for writing.
        one: From `stored`.
        by: The operation that was decided about; empty for none.

    Raises:
        IllegalTransition: They are still needed.
        TrashLocked: Somebody works on the operation.
    """
    operation = journal.operation(one.op)
    if operation.state in _NEEDED - {State.UNKNOWN}:
        raise IllegalTransition(
            f"{one.op} is {operation.state}: its values are still needed", not_done="nothing was deleted"
        )
    with span(SpanName.PURGE, op=one.op, size=one.size):
        if operation.state is State.DONE:
            journal.advance(one.op, State.PURGING, {"purged_by": by} if by else {})
            size = throw_away(session, one.op, one.place)
            journal.advance(one.op, State.PURGED, {"purge": {"bytes": size}, "purged_s": int(time.time())})
            return size
        size = throw_away(session, one.op, one.place)
        journal.note("leftovers-purged", {"purge": {"bytes": size}}, op=one.op)
        return size


def _place(operation: Operation) -> str:
    """Where the values of an operation lie that has some."""
    return place_of(operation) or ""


def _everywhere(session: Session, journal: "Journal") -> Iterator[tuple[str, Kept]]:
    """What is kept at every place that is or was in use."""
    for place in all_places(session, journal.operations()):
        try:
            with open_bin(session, place) as home:
                found = home.kept()
        except TrashUnusable as error:
            if place == new_place(session):
                raise
            session.progress.say(f"{error.what}: what is kept there is not counted")
            continue
        yield from ((place, one) for one in found)


def _of_server(journal: "Journal", op: str) -> Operation:
    operation = journal.operation(op)
    if operation.data.get("kind") != SERVER:
        raise IllegalTransition(
            f"{op} is about {operation.data.get('target', 'something else')}, which is no Redis server",
            not_done="nothing was put back",
            hint=f"go-cache-safeguard undo {op}",
        )
    return operation


def _undo(session: Session, journal: "Journal", op: str, server: Link, trash: TrashLog, *, replace: bool) -> PutBack:
    began = time.monotonic_ns()
    data = journal.operation(op).data
    back, after = PutBack(op, made=len(data.get("made", ()))), dict(data.get("after", {}))
    stopped, problem = False, ""
    session.progress.phase("putting keys back")
    try:
        with stoppable(session.progress.say) as stop:
            for batch in by_batches(trash.values()):
                if stopped := stop():
                    break
                restore(server, batch, back, after, replace=replace, pieces=trash.pieces)
                session.progress.update(back.restored, back.size)
    except (Failure, OSError) as error:
        problem = str(error)
    session.progress.phase("")
    back.took_ms = (time.monotonic_ns() - began) // 10**6
    problem = problem or ("stopped on request" if stopped else _missing(data, back))
    if problem or back.failed:
        first = problem or "{}: {}".format(*back.failed[0])
        journal.advance(op, State.UNKNOWN, {"undo": back.as_value(), "evidence": first})
        raise RestoreFailed(
            f"not everything of {op} is back: {first}",
            not_done=f"{back.restored} keys were put back; the captured values are still there",
            hint=f"remove the cause, then `go-cache-safeguard redis undo {op}` goes on",
        )
    journal.advance(op, State.UNDONE, {"undo": back.as_value(), "done_s": int(time.time())})
    return back


def _missing(data: Mapping[str, Any], back: PutBack) -> str:
    """What the journal says went, and the trash does not hold."""
    went = int(data.get("receipt", {}).get("moved", 0)) - back.made
    return f"{went - back.seen} values that went are not in the trash any more" if went > back.seen else ""


def by_batches(values: Iterator[Captured]) -> Iterator[list[Captured]]:
    """Of one database each, few and small enough. Damage is raised after what stands before it."""
    batch: list[Captured] = []
    size, damage = 0, None
    while True:
        try:
            one = next(values, None)
        except TrashUnusable as error:
            one, damage = None, error
        full = len(batch) >= _BATCH_KEYS or size > _BATCH_BYTES
        if batch and (one is None or full or one.db != batch[0].db):
            yield batch
            batch, size = [], 0
        if one is None:
            break
        batch.append(one)
        size += one.size
    if damage is not None:
        raise damage


def restore(
    server: Link,
    batch: Sequence[Captured],
    back: PutBack,
    after: Mapping[str, Sequence[Any]],
    *,
    replace: bool,
    pieces: Pieces,
) -> list[Captured]:
    """Put values back, and count them. Returns those that are there again, with their own value."""
    now_ms = server.now_ms()
    back.no_copy += sum(not one.length for one in batch)
    kept_values = [one for one in batch if one.length]
    live = [one for one in kept_values if one.expires_ms < 0 or one.expires_ms > now_ms]
    back.ended += len(kept_values) - len(live)
    answers = server.restore(live, replace=replace, pieces=pieces)
    busy: list[Captured] = []
    here: list[Captured] = []
    for one, answer in zip(live, answers, strict=True):
        if not isinstance(answer, ResponseError):
            back.restored += 1
            back.size += one.length
            here.append(one)
        elif str(answer).startswith("BUSYKEY") or "key name already exists" in str(answer):
            busy.append(one)
        else:
            back.failed.append((place_name(one.db, one.key), str(answer)))
    return here + _tell_busy(server, busy, back, after)


def _tell_busy(
    server: Link, busy: Sequence[Captured], back: PutBack, after: Mapping[str, Sequence[Any]]
) -> list[Captured]:
    """What stands in the way: what the undone call left there itself, the very same value, or a newer one."""
    here: list[Captured] = []
    for one, now in zip(busy, server.look([one.key for one in busy]), strict=True):
        if _left_by_call(server, one, after) and server.overwrite(one) == b"OK":
            back.restored += 1
            back.size += one.length
            here.append(one)
        elif now.digest == one.digest:
            back.there += 1
            here.append(one)
        else:
            back.newer += 1
    return here


def _left_by_call(server: Link, one: Captured, after: Mapping[str, Sequence[Any]]) -> bool:
    """Whether a key is watched now and still what the undone call made of it: then nothing newer is lost."""
    left = after.get(place_name(one.db, one.key))
    if left is None:
        return False
    digest, end = left
    now = server.watch([one.key])[0]
    if now.digest == digest and now.expires_ms is not None and end is not None and same_end(now.expires_ms, end):
        return True
    server.forget()
    return False
