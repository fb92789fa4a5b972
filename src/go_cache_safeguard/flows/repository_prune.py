"""Remove from a repository what no kept snapshot needs: plan, show, execute once, account for it.

Knows:     in which order things are removed, and what must be known before anything may be.
Called by: the command line's `snapshot prune`; `flows.disposers` for what was approved or killed.
Never:     removes an object that the plan does not list, that a snapshot needs by now, or while a snapshot is being written; never
           removes anything foreign, or anything at all where one record or manifest cannot be read: it may need everything.
"""

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.errors import ExitCode, Failure, PlanVoid
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.plan import Item, Plan, parse_plan
from go_cache_safeguard.core.receipt import Receipt
from go_cache_safeguard.flows.clean import How
from go_cache_safeguard.flows.deletion import Account, begun, finish, time_has_come
from go_cache_safeguard.flows.disposal import dispose as dispose_of
from go_cache_safeguard.flows.interrupt import stoppable
from go_cache_safeguard.flows.repository import opened
from go_cache_safeguard.flows.session import Session, now_text
from go_cache_safeguard.snapshot.depot import Depot
from go_cache_safeguard.snapshot.keep import Kept, Rules, choose, lost_groups
from go_cache_safeguard.snapshot.record import SHOWN, Record, RecordBad
from go_cache_safeguard.snapshot.repository import (
    FORGOTTEN,
    KIND,
    AppendOnly,
    Part,
    Stored,
    id_of,
    part_of,
    plan_prune,
    removal_order,
    signature_name,
)
from go_cache_safeguard.snapshot.store import StoreFailed
from go_cache_safeguard.snapshot.turns import Turn, pruning

if TYPE_CHECKING:
    from go_cache_safeguard.journal.store import Journal

_WAIT_S = 30
_AT_ONCE = 500
"""objects that are removed between two looks at whether we may go on."""


class NothingKept(Failure):
    """The rules would keep nothing of something."""

    id = "nothing-kept"
    exit_code = ExitCode.REFUSED
    meaning = "the rules of a prune would forget every snapshot of a cache"


class PruneStopped(Failure):
    """A prune ended before its end."""

    id = "prune-stopped"
    exit_code = ExitCode.PARTLY_REMOVED
    meaning = "a prune of a snapshot repository ended early; every snapshot that is left is whole"


@dataclass(frozen=True, slots=True)
class PrunePlan:
    """A prune that was decided on and not done.

    Attributes:
        plan: What goes, with its digest.
        kept: Snapshots that stay, with the reasons.
        forgotten: Snapshots that go.
        young: Objects that no snapshot needs, but that are too young to go.
    """

    plan: Plan
    kept: tuple[tuple[Record, tuple[str, ...]], ...]
    forgotten: tuple[Record, ...]
    young: int

    def as_value(self) -> dict[str, object]:
        """For `--json`."""
        return {
            "repository": self.plan.target,
            "rules": list(self.plan.selectors),
            "digest": self.plan.digest,
            "kept": [{"id": record.id, "reasons": list(reasons)} for record, reasons in self.kept],
            "forgotten": [record.id for record in self.forgotten],
            "objects": len(self.plan.items),
            "bytes": self.plan.total,
            "whole": self.plan.whole,
            "young": self.young,
        }


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a prune did.

    Attributes:
        repository: Where.
        digest: Of the plan.
        planned: Objects that the plan lists.
        removed: Objects that are gone.
        size: Bytes of these.
        snapshots: How many snapshots of these objects were records.
        needed: Objects that stay because a snapshot needs them by now.
        changed: Objects that stay because they are not what the plan saw.
        missing: Objects that were gone already.
        took_ms: Milliseconds.
    """

    repository: str
    digest: str
    planned: int
    removed: int
    size: int
    snapshots: int
    needed: int
    changed: int
    missing: int
    took_ms: int

    def as_value(self) -> dict[str, Value]:
        """For the journal and for `--json`."""
        return {
            "repository": self.repository,
            "digest": self.digest,
            "planned": self.planned,
            "removed": self.removed,
            "bytes": self.size,
            "snapshots": self.snapshots,
            "needed": self.needed,
            "changed": self.changed,
            "missing": self.missing,
            "took_ms": self.took_ms,
        }


def plan(session: Session, rules: Rules, place: str | None = None, *, grace_s: int) -> PrunePlan:
    """Plan a prune. Touches nothing.

    Args:
        session: Who asks.
        rules: What to keep; without any, all snapshots stay and only what none of them needs goes.
        place: The repository; None for the setting.
        grace_s: Objects that are younger stay, seconds.

    Raises:
        AppendOnly: Nothing is removed from this repository.
        NothingKept: The rules keep nothing of a cache.
        RecordBad: A snapshot cannot be read, so nobody knows what it needs.
        Failure: The repository cannot be read.
    """
    depot = opened(session, place)
    _refuse_append_only(depot)
    session.progress.phase("reading snapshots")
    # Listed before the records are read: what is stored meanwhile is not in the list.
    listed = depot.store.list()
    records = _records(depot)
    chosen: dict[str, tuple[str, ...]] = {record.id: ("no rule was given",) for record in records}
    if not rules.empty:
        kept = [Kept(record.id, record.made_ns, record.group, record.tags) for record in records]
        chosen = choose(kept, rules)
        _refuse_loss(lost_groups(kept, chosen))
    stay = [record for record in records if chosen[record.id]]
    before_ns = time.time_ns() - grace_s * 10**9
    needed = _needed(depot, stay)
    made = plan_prune(
        place=depot.store.url,
        config=depot.config,
        listed=listed,
        needed=needed,
        forgotten=[record.id for record in records if not chosen[record.id]],
        before_ns=before_ns,
        rules=rules.words or ("unneeded",),
        requester=session.actor,
        made_at=now_text(),
    )
    session.progress.phase("")
    going = {item.name for item in made.items}
    left = sum(part_of(found.name) in _CONTENT and found.name not in needed | going for found in listed)
    return PrunePlan(
        made,
        tuple((record, chosen[record.id]) for record in stay),
        tuple(record for record in records if not chosen[record.id]),
        left,
    )


_CONTENT = {Part.DATA, Part.PACK, Part.MANIFEST, Part.PLACES, Part.STAGED}


def execute(
    session: Session, made: Plan, place: str | None = None, *, wait_s: float = _WAIT_S, how: How | None = None
) -> Pruned:
    """Bring a plan before policy and people, and execute it, once.

    Args:
        session: Who works.
        made: From `plan`.
        place: The repository; None for the setting.
        wait_s: How long to wait for snapshots that are being written, seconds.
        how: How it is asked for.

    Raises:
        Held: People decide first; `purge OP` carries it out then.
        Refused: Policy refuses it, or a person.
        PlanVoid: It was made for another repository, or was executed already.
        AppendOnly: Nothing is removed from this repository.
        RepositoryLocked: A snapshot is being written, or another prune is under way.
        PruneStopped: Somebody asked to stop, or the store failed; running a new plan goes on.
    """
    done: list[Pruned] = []

    def manner(session: Session, journal: "Journal", op: str, plan: Plan) -> Receipt:
        receipt, pruned = _dispose(session, journal, op, plan, place, wait_s=wait_s)
        done.append(pruned)
        return receipt

    _refuse_append_only(_depot_of(session, made, place))
    verdict = time_has_come("objects that no snapshot needs", (), len(made.items))
    dispose_of(session, made, verdict, manner, how or How())
    return done[0]


def dispose(session: Session, journal: "Journal", op: str, plan: Plan) -> Receipt:
    """Execute a plan that was approved, or go on with one that was killed; raises as `execute` does."""
    return _dispose(session, journal, op, plan, plan.target, wait_s=_WAIT_S)[0]


def _dispose(
    session: Session, journal: "Journal", op: str, made: Plan, place: str | None, *, wait_s: float
) -> tuple[Receipt, Pruned]:
    depot = _depot_of(session, made, place)
    _refuse_append_only(depot)
    again = journal.operation(op).state is State.PURGING
    with pruning(depot.store, secrets.token_hex(16), wait_s=wait_s, say=session.progress.say) as turn:
        items, pruned = _still(depot, made)
        if made.items and pruned.missing == len(made.items) and not again:
            why = "the plan was executed already: nothing of it is left"
            journal.advance(op, State.CANCELLED, {"why": why})
            raise PlanVoid(why, not_done="nothing was removed")
        with begun(session, journal, op, {"repository": depot.store.url, "objects": len(items)}) as began:
            gone, problem = _remove(session, depot, turn, items)
            session.progress.phase("")
            left = len(items) - len(gone)
            done = replace(
                pruned,
                removed=len(gone),
                size=sum(item.size for item in gone),
                snapshots=sum(part_of(item.name) is Part.RECORD for item in gone),
                took_ms=(time.monotonic_ns() - began) // 10**6,
            )
            account = Account(done.removed, done.size, done.changed + done.needed, done.missing)
            account.value = {**done.as_value(), "left": left, "why": problem}
            receipt = finish(journal, op, made, account, began)
    if left:
        raise PruneStopped(
            f"the prune ended early: {problem}"
            if problem
            else f"stopped after {len(gone):,} of {len(items):,} objects",
            not_done="what is left is left; every snapshot that is left is whole",
            hint="run `snapshot prune` again",
        )
    return receipt, done


def _depot_of(session: Session, made: Plan, place: str | None) -> Depot:
    """The repository that a plan is about.

    Raises:
        PlanVoid: This is another one.
    """
    depot = opened(session, place)
    if (made.kind, made.identity) != (KIND, depot.config.id):
        raise PlanVoid("the plan was made for another repository", not_done="nothing was removed")
    return depot


def write_plan(made: Plan, path: Path) -> None:
    """Keep a plan in a new file.

    Raises:
        FileExistsError: There is something of that name.
    """
    with path.open("xb") as file:
        file.write(made.data + b"\n")


def read_plan(data: bytes) -> Plan:
    """Read a plan that `write_plan` kept.

    Raises:
        PlanVoid: It is none.
    """
    made = parse_plan(data)
    if made.kind != KIND or any(part_of(item.name) in {None, Part.CONFIG, Part.LOCK} for item in made.items):
        raise PlanVoid("this is not a plan of a prune", not_done="nothing was removed")
    return made


def _still(depot: Depot, made: Plan) -> tuple[list[Item], Pruned]:
    """What of a plan may still go, now that nobody else writes."""
    going = {id_of(item.name) for item in made.items if item.reason == FORGOTTEN and part_of(item.name) is Part.RECORD}
    needed = _needed(depot, [record for record in _records(depot) if record.id not in going])
    listed = {found.name: found for found in depot.store.list()}
    there = [item for item in made.items if item.name in listed]
    unneeded = [item for item in there if item.name not in needed]
    same = [item for item in unneeded if _is_same(item, listed[item.name])]
    counts = Pruned(
        repository=depot.store.url,
        digest=made.digest,
        planned=len(made.items),
        removed=0,
        size=0,
        snapshots=0,
        needed=len(there) - len(unneeded),
        changed=len(unneeded) - len(same),
        missing=len(made.items) - len(there),
        took_ms=0,
    )
    wanted = {item.name for item in same}
    return [item for item in removal_order(made) if item.name in wanted], counts


def _remove(session: Session, depot: Depot, turn: Turn, items: Sequence[Item]) -> tuple[list[Item], str]:
    """Remove in order, as long as nobody asks to stop. Returns what is gone, and what kept the rest; that may be gone, too."""
    session.progress.phase("removing", len(items))
    done = 0
    with stoppable(session.progress.say) as stop:
        # Not together: when the first object goes, all records that go are gone.
        for part in _parts(items):
            if stop():
                break
            turn.check()
            try:
                depot.store.delete([item.name for item in part])
            except StoreFailed as failure:
                return list(items[:done]), failure.what
            done += len(part)
            session.progress.update(done, sum(item.size for item in items[:done]))
    return list(items[:done]), ""


def _parts(items: Sequence[Item]) -> list[Sequence[Item]]:
    records = sum(part_of(item.name) is Part.RECORD for item in items)
    whole = [items[:records], items[records:]]
    return [group[at : at + _AT_ONCE] for group in whole for at in range(0, len(group), _AT_ONCE)]


def _is_same(item: Item, found: Stored) -> bool:
    return (item.size, item.stamp) == (found.size, found.changed_ns)


def _needed(depot: Depot, records: Sequence[Record]) -> set[str]:
    """Everything that these snapshots need."""
    needed: set[str] = set()
    for record in records:
        with _unreadable(record):
            needed.update(depot.snapshot(record).needs())
        needed.add(signature_name(record.id))
    return needed


def _records(depot: Depot) -> list[Record]:
    records, bad = depot.records()
    if bad:
        raise _refusal(bad[0][1].what)
    return records


class _unreadable:  # noqa: N801 - reads as a sentence: with _unreadable(...)
    """Turns what is wrong with a snapshot into a refusal to prune."""

    def __init__(self, record: Record) -> None:
        self._record = record

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Failure) and not isinstance(error, StoreFailed):
            raise _refusal(f"the snapshot {self._record.id[:SHOWN]} cannot be read: {error.what}") from error


def _refusal(why: str) -> RecordBad:
    return RecordBad(
        why,
        not_done="nothing was removed: nobody knows what that snapshot needs",
        hint="`go-cache-safeguard snapshot verify --all` tells more",
    )


def _refuse_append_only(depot: Depot) -> None:
    if depot.config.append_only:
        raise AppendOnly(
            f"{depot.store.url} is append-only",
            not_done="nothing was removed",
            hint="it was made so; who may change that can do it where the repository lies, not with this program",
        )


def _refuse_loss(groups: Sequence[tuple[str, ...]]) -> None:
    if groups:
        host, _, target, _ = groups[0]
        raise NothingKept(
            f"the rules keep no snapshot of {target} on {host}",
            not_done="nothing was removed",
            hint="add --keep-last 1",
        )
