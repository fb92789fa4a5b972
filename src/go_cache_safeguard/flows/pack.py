"""The evidence pack of an operation, from its journal and its kept plan.

Knows:     where records and plans lie, and by what the items of each kind of plan are counted.
Called by: the page, the API and `ops show --evidence`.
Never:     fails because a plan cannot be read: then the pack says so.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from go_cache_safeguard.approval.evidence import (
    UNKNOWN,
    Pack,
    Sorting,
    age_class,
    evidence_pack,
    left_class,
    made_s,
    read_pack,
)
from go_cache_safeguard.core.errors import PlanVoid
from go_cache_safeguard.core.operation import Operation, is_operation_id
from go_cache_safeguard.core.plan import Item, Plan, parse_plan
from go_cache_safeguard.flows.site import FINAL, FUZZ, MODULES, SERVER, SERVERS
from go_cache_safeguard.gomod.layout import version_of
from go_cache_safeguard.journal.record import Record
from go_cache_safeguard.redis.keyname import parse_place, prefix_of

FILED = "evidence-filed"
"""The note that holds, as `evidence`, the pack which a host of a fleet has filed."""

_LOOKED_AT = 50
_KIND = re.compile(r"kind ([^,]+)")
_PACKAGE = re.compile(r"package ([^,]+)")
_TOOLCHAIN = re.compile(r"dead toolchain ([^,]+)")


class Records(Protocol):
    """What a pack is made from; a desk, or whatever reads a journal."""

    def operation(self, op: str) -> Operation:
        """See `Journal.operation`."""

    def records(self, op: str) -> list[Record]:
        """All records of one operation, in order."""

    def history(self, target: str, limit: int) -> list[Operation]:
        """The newest operations on a target."""


class JournalRecords:
    """Reads straight from a journal, for the command line."""

    def __init__(self, journal: "ReadJournal") -> None:
        self._journal = journal

    def operation(self, op: str) -> Operation:
        """See `Journal.operation`."""
        return self._journal.operation(op)

    def records(self, op: str) -> list[Record]:
        """All records of one operation, in order."""
        return list(self._journal.records(op=op))

    def history(self, target: str, limit: int) -> list[Operation]:
        """The newest operations on a target."""
        found = [one for one in self._journal.operations() if one.data.get("target") == target]
        return found[-limit:]


class ReadJournal(Protocol):
    """The part of a journal that is read here."""

    def operation(self, op: str) -> Operation:
        """See `Journal.operation`."""

    def operations(self) -> list[Operation]:
        """See `Journal.operations`."""

    def records(self, since: int = 0, *, op: str | None = None) -> Iterator[Record]:
        """See `Journal.records`."""


def pack_of(found: Records, op: str, plans: Path) -> Pack:
    """The evidence pack of an operation.

    Args:
        found: Where records come from.
        op: The operation.
        plans: The folder of kept plans.

    Raises:
        NoSuchOperation: There is none of this name.
    """
    operation, records = found.operation(op), found.records(op)
    for record in records:
        filed = read_pack(record.data.get("evidence")) if record.step == FILED else ""
        if isinstance(filed, Pack) and _is_about(filed, operation):
            return filed
    plan = _plan(plans, operation)
    earlier = [one for one in found.history(str(operation.data.get("target", "")), _LOOKED_AT) if one.id != op]
    prior = [found.records(one.id) for one in earlier]
    sortings = () if isinstance(plan, str) else sortings_of(plan)
    return evidence_pack(records, plan, prior=prior, sortings=sortings)


def sortings_of(plan: Plan) -> tuple[Sorting, ...]:
    """By what the items of a plan are counted."""
    why = Sorting("why", lambda item: item.reason)
    made = made_s(plan)
    if plan.kind == SERVER:
        return (
            Sorting("prefix", _prefix),
            Sorting("time to live", lambda item: left_class(item, made * 10**3)),
            why,
        )
    if plan.kind in SERVERS:
        return (Sorting("user", lambda item: item.name), why)
    if plan.kind in FINAL:
        return (why,)
    unused = Sorting("last used, before the plan was made", lambda item: age_class(item, made * 10**9))
    if plan.kind == FUZZ:
        return (Sorting("fuzz test", lambda item: item.name.rpartition("/")[0].removeprefix("fuzz/")), unused, why)
    if plan.kind == MODULES:
        return (Sorting("module", lambda item: str(version_of(item.name) or UNKNOWN)), unused, why)
    return (
        Sorting("part of the cache", _part),
        Sorting("package", lambda item: _named(_PACKAGE, item)),
        Sorting("kind", lambda item: _named(_KIND, item)),
        Sorting("toolchain", lambda item: _named(_TOOLCHAIN, item)),
        unused,
        why,
    )


def _is_about(pack: Pack, operation: Operation) -> bool:
    """Whether a pack of somebody else tells of this very plan, with the numbers that are decided about here."""
    told, data = pack.value["plan"], operation.data
    same = all(told[name] == data.get(name) for name in ("digest", "items", "bytes"))
    return same and bool(pack.value["op"] == operation.id)


def _plan(plans: Path, operation: Operation) -> Plan | str:
    """The kept plan; or why there is none."""
    if not is_operation_id(operation.id):
        return "the operation has no name that we would give"
    try:
        plan = parse_plan((plans / f"{operation.id}.json").read_bytes())
        made_s(plan)
    except OSError as error:
        return f"the kept plan cannot be read here: {error.strerror}"
    except PlanVoid as problem:
        return problem.what
    except ValueError:
        return "the kept plan does not say when it was made"
    return plan if plan.digest == operation.data.get("digest") else "the kept plan is not the one that was asked for"


def _prefix(item: Item) -> str:
    try:
        db, key = parse_place(item.name)
    except ValueError:
        return UNKNOWN
    return f"{db}/{prefix_of(key)}"


def _part(item: Item) -> str:
    return {"-a": "index entries", "-d": "outputs"}.get(item.name[-2:], "others")


def _named(pattern: re.Pattern[str], item: Item) -> str:
    """What the selector of an item says; what looks have seen is in the record HELD, see `flows.contents`."""
    found = pattern.search(item.reason)
    return found[1] if found else UNKNOWN
