"""What a person looks at before they decide: everything that is known of a held operation, frozen, with one digest.

Knows:     which parts an evidence pack has, where in the journal each comes from, and that what is not known is said to be.
Called by: `flows.pack`, for the page, the API and `ops show`.
Never:     guesses: a part that nobody has told is UNKNOWN, with the reason. Never looks at what came after the decision of
           policy, so the pack of an operation stays the same, byte for byte, for as long as its journal and plan do.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from go_cache_safeguard.core.canonical import Value, canonical, digest
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.operation import Operation, follow
from go_cache_safeguard.core.plan import Item, Plan
from go_cache_safeguard.journal.record import Record

SCHEMA = "go-cache-safeguard/evidence-pack/1"
UNKNOWN = "UNKNOWN"
CONTENTS = "contents"
"""Where the record HELD keeps tables of what would go that its plan does not tell, each as `counted` makes it."""
REBUILD = "rebuild"
"""Where the record HELD keeps what it costs to make again what would go, in CPU milliseconds; see `_PRICE`."""
PRIOR = 10
"""How many earlier operations on the same target a pack tells of."""

_GROUPS = 10
_LINES, _CHARS = 50, 500
"""How many lines of one kind a pack holds, and how long each may be: names of keys and reasons can be of any length."""
_DECIDED = frozenset({State.ALLOWED, State.HELD, State.REFUSED})
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400
_LENGTHS = (
    (_MINUTE_S, "less than a minute"),
    (_HOUR_S, "less than an hour"),
    (_DAY_S, "less than a day"),
    (30 * _DAY_S, "less than 30 days"),
)
_LONGEST = "30 days or more"
_FOREVER, _ABSENT = -1, -2


class Standing(StrEnum):
    """What is known of one part."""

    KNOWN = "KNOWN"
    READY = "READY"
    """It can be relied on, as far as it was looked at."""
    NONE = "NONE"
    """It is known that there is none."""
    UNKNOWN = UNKNOWN


@dataclass(frozen=True, slots=True)
class Sorting:
    """One way of putting the items of a plan into groups.

    Attributes:
        by: What the groups differ in, for example `prefix`.
        of: Names the group of an item; `UNKNOWN` if nobody can say.
    """

    by: str
    of: Callable[[Item], str]


@dataclass(frozen=True, slots=True)
class Pack:
    """An evidence pack.

    Attributes:
        value: Its parts, as `SCHEMA_OF_PACK` tells.
        digest: SHA-256 of their canonical form, 64 hexadecimal digits.
    """

    value: Mapping[str, Any]
    digest: str

    def as_value(self) -> dict[str, Value]:
        """For `--json`, the API and the server of a fleet."""
        return {**self.value, "digest": self.digest}


def evidence_pack(
    records: Sequence[Record],
    plan: Plan | str,
    *,
    prior: Sequence[Sequence[Record]] = (),
    sortings: Sequence[Sorting] = (),
) -> Pack:
    """Put together what is known of an operation.

    Args:
        records: All of its records, in order. What follows the first decision of policy does not count.
        plan: What would go; or why it cannot be read, as one clause.
        prior: The records of other operations on the same target, in any order.
        sortings: In which ways the items are counted, where the records do not hold such a table already.

    Raises:
        ValueError: The records are not those of an operation from its beginning.
    """
    frozen, seq = _frozen(records)
    operation = _folded(frozen)
    if operation is None:
        raise ValueError("an evidence pack is about an operation that was requested")
    data = operation.data
    verdicts = [_plain_verdict(verdict) for verdict in data.get("verdicts", ())]
    value: dict[str, Value] = {
        "schema": SCHEMA,
        "op": operation.id,
        "kind": str(data.get("kind", "")),
        "target": str(data.get("target", "")),
        "requester": operation.requester,
        "host": frozen[0].host,
        "requested_at": operation.at,
        "frozen_at": operation.last_at if operation.state in _DECIDED else "",
        "state": str(operation.state),
        "asked": {name: _cut(data[name]) for name in ("command", "client", "user", "db") if name in data},
        "plan": _plan_part(data, plan),
        "counts": _counts(data, plan, sortings),
        "verdicts": verdicts,
        "reasons": _lines(data.get("reasons", ())),
        "blast_radius": _blast_radius(data, verdicts),
        "dependents": _dependents(data),
        "rebuild_cost": _rebuild_cost(data.get(REBUILD)),
        "failing_traces": _part(Standing.UNKNOWN, "no traces of the services that use it are collected"),
        "prediction": _part(Standing.UNKNOWN, "the removal was not simulated"),
        "undo": _undo(data, verdicts),
        "snapshot": _snapshot(data),
        "history": _history(prior, operation, seq),
    }
    return Pack(value, digest(canonical(value)))


def read_pack(value: object) -> Pack | str:
    """Read a pack that came from elsewhere, for example from a host of a fleet.

    Args:
        value: What JSON gave.

    Returns:
        The pack; or why it is none that we would have made, as one clause. Its words are those of whoever sent it.
    """
    if not isinstance(value, Mapping) or value.get("schema") != SCHEMA:
        return "it is not an evidence pack of a form that we know"
    parts = {str(name): part for name, part in value.items() if name != "digest"}
    missing = [name for name in _PARTS if not isinstance(parts.get(name), _PARTS[name])]
    if missing or parts.keys() != _PARTS.keys():
        return f"it has not the parts of an evidence pack: {', '.join(missing) or 'others as well'}"
    if not _is_shaped(parts):
        return "a part of it has another form"
    try:
        found = digest(canonical(parts))
    except (TypeError, ValueError, RecursionError):
        return "it has no canonical form"
    return Pack(parts, found) if found == value.get("digest") else "its digest is of something else"


def unknowns(pack: Pack) -> list[tuple[str, str]]:
    """What the pack does not tell: the name of each such part, and why."""
    found = [(name, str(pack.value[name]["text"])) for name in _ANSWERS if pack.value[name]["state"] == UNKNOWN]
    if not pack.value["plan"]["read"]:
        found.append(("plan", str(pack.value["plan"]["why"])))
    return found


def left_class(item: Item, made_ms: int) -> str:
    """How long a server's key would still live when the plan was made.

    Args:
        item: Its `stamp` in milliseconds, as `core.plan.Item` tells.
        made_ms: When the plan was made, milliseconds since 1970-01-01 UTC.
    """
    if item.stamp in {_FOREVER, _ABSENT}:
        return "never ends" if item.stamp == _FOREVER else "not there"
    return _length((item.stamp - made_ms) // 1000)


def age_class(item: Item, made_ns: int) -> str:
    """How long a file was not used when the plan was made.

    Args:
        item: Its `stamp` in nanoseconds.
        made_ns: When the plan was made, nanoseconds since 1970-01-01 UTC.
    """
    return _length((made_ns - item.stamp) // 10**9)


def made_s(plan: Plan) -> int:
    """When a plan was made, seconds since 1970-01-01 UTC.

    Raises:
        ValueError: It does not say so.
    """
    return int(datetime.fromisoformat(plan.made_at).timestamp())


def _length(seconds: int) -> str:
    return next((name for most, name in _LENGTHS if seconds < most), _LONGEST)


def _frozen(records: Sequence[Record]) -> tuple[Sequence[Record], int]:
    """The records up to the first decision of policy, and the number of the last one."""
    at = next((at for at, record in enumerate(records, 1) if record.state in _DECIDED), len(records))
    return records[:at], records[at - 1].seq if at else 0


def _folded(records: Iterable[Record]) -> Operation | None:
    """The operation that some records tell of; None without its beginning."""
    found: Operation | None = None
    for record in records:
        state = record.state
        if record.op is None or state is None or (found is None) != (state is State.REQUESTED):
            continue
        found = follow(found, op=record.op, state=state, actor=record.actor, at=record.at, data=record.data)
    return found


def _plan_part(data: Mapping[str, Any], plan: Plan | str) -> dict[str, Value]:
    return {
        "digest": str(data.get("digest", "")),
        "selectors": _lines(data.get("selectors", ())),
        "items": _number(data.get("items")),
        "bytes": _number(data.get("bytes")),
        "whole_bytes": _number(data.get("whole")),
        "read": not isinstance(plan, str),
        "why": plan if isinstance(plan, str) else "",
        "made_at": "" if isinstance(plan, str) else plan.made_at,
    }


def counted(items: Iterable[Item], sorting: Sorting, *, most: int = _GROUPS) -> dict[str, Value]:
    """A table: the largest groups, by bytes and then by items, and all others as one sum; what is unknown is named always.

    Args:
        items: Of a plan.
        sorting: By what.
        most: So many groups are named.
    """
    sums: dict[str, tuple[int, int]] = {}
    for item in items:
        name = _cut(sorting.of(item))
        count, size = sums.get(name, (0, 0))
        sums[name] = count + 1, size + item.size
    ordered = sorted(sums.items(), key=lambda group: (-group[1][1], -group[1][0], group[0]))
    named = [group for at, group in enumerate(ordered) if at < most or group[0] == UNKNOWN]
    rest = [amount for name, amount in ordered[most:] if name != UNKNOWN]
    return {
        "by": sorting.by,
        "groups": [{"name": name, "items": count, "bytes": size} for name, (count, size) in named],
        "others": {"groups": len(rest), "items": sum(one[0] for one in rest), "bytes": sum(one[1] for one in rest)},
    }


def _counts(data: Mapping[str, Any], plan: Plan | str, sortings: Sequence[Sorting]) -> list[Any]:
    """The tables that were noted when the operation was held, and those that the plan itself tells."""
    tables = data.get(CONTENTS)
    noted = {table["by"]: table for table in tables} if _fits(tables, [_COUNTED]) and tables else {}
    if isinstance(plan, str):
        return list(noted.values())
    return [noted.get(sorting.by) or counted(plan.items, sorting) for sorting in sortings]


def _part(standing: Standing, text: object, lines: Sequence[object] = ()) -> dict[str, Value]:
    return {"state": str(standing), "text": _cut(text), "lines": _lines(lines)}


def _cut(text: object) -> str:
    whole = str(text)
    return whole if len(whole) <= _CHARS else f"{whole[:_CHARS]}... ({len(whole):,} characters)"


def _lines(lines: object) -> list[str]:
    """Text as a list, not longer than a person can read."""
    found = list(lines) if isinstance(lines, list | tuple) else []
    more = [f"... and {len(found) - _LINES:,} more"] if len(found) > _LINES else []
    return [*map(_cut, found[:_LINES]), *more]


def _plain_verdict(verdict: Mapping[str, Any]) -> dict[str, Value]:
    return {
        "check": str(verdict.get("check", "")),
        "outcome": str(verdict.get("outcome", UNKNOWN)),
        "summary": _cut(verdict.get("summary", "")),
        "evidence": _lines(verdict.get("evidence")),
        "remedy": _lines(verdict.get("remedy")),
    }


def _said(verdicts: Sequence[Mapping[str, Value]], check: str) -> Mapping[str, Any] | None:
    return next((verdict for verdict in verdicts if verdict["check"] == check), None)


def _blast_radius(data: Mapping[str, Any], verdicts: Sequence[Mapping[str, Value]]) -> dict[str, Value]:
    """What a check has said of it; else the part of the target that would go."""
    verdict = _said(verdicts, "redis-blast-radius")
    if verdict is not None:
        standing = Standing.UNKNOWN if verdict["outcome"] == UNKNOWN else Standing.KNOWN
        return _part(standing, verdict["summary"], verdict["evidence"])
    size, whole = _number(data.get("bytes")), _number(data.get("whole"))
    if size is None or not whole:
        return _part(Standing.UNKNOWN, "how large a part of the target would go is not known")
    return _part(Standing.KNOWN, f"{_percent(size, whole)} of the bytes in the target would go")


def _percent(part: int, whole: int) -> str:
    tenths = -(-part * 1000 // whole)  # rounded up: "0.0 %" would look like nothing
    return f"{tenths // 10}.{tenths % 10} %"


def _dependents(data: Mapping[str, Any]) -> dict[str, Value]:
    """Which services use the target, and their signals, if whoever asked has told."""
    told = _lines(data.get("dependents"))
    if told:
        return _part(Standing.KNOWN, f"{len(told)} told by whoever asked", told)
    return _part(Standing.UNKNOWN, "nobody has told which services use the target, so there are no signals of theirs")


def _undo(data: Mapping[str, Any], verdicts: Sequence[Mapping[str, Value]]) -> dict[str, Value]:
    """Whether there is a way back, as far as it was looked at before."""
    if data.get("final"):
        return _part(Standing.NONE, f"no way back: {data['final']}")
    kind = data.get("kind")
    if kind == "redis":
        return _undo_of(_said(verdicts, "redis-undo"), "a copy of each value is kept first", "room for copies")
    if kind in {"go-build-cache", "go-module-cache"}:
        check = _said(verdicts, "permissions") or _said(verdicts, "mod-integrity")
        return _undo_of(check, "files are renamed into quarantine, and renamed back to undo it", "the cache")
    return _part(Standing.UNKNOWN, "no check has looked at whether there is a way back")


def _undo_of(verdict: Mapping[str, Any] | None, how: str, what: str) -> dict[str, Value]:
    if verdict is None:
        return _part(Standing.UNKNOWN, f"{how}; no check has looked at {what}")
    lines = [f"{verdict['check']} {verdict['outcome']}: {verdict['summary']}"]
    if verdict["outcome"] in {"PASS", "WARN"}:
        return _part(Standing.READY, how, lines)
    return _part(Standing.UNKNOWN, f"{how}; whether that will work is not certain", lines)


def _rebuild_cost(told: Any) -> dict[str, Value]:
    """What making it again costs, as it was known when the operation was held."""
    if not _fits(told, _PRICE) or not told["outputs"]:
        return _part(Standing.UNKNOWN, "nobody has measured what making it again costs")
    guessed, unknown = told["outputs"] - told["measured"], told["unknown"]
    lines = [f"measured while builds ran: {told['measured']:,} outputs, {_seconds(told['measured_ms'])}"]
    if guessed:
        low, high = (_seconds(told[name] - told["measured_ms"]) for name in ("low_ms", "high_ms"))
        lines.append(f"estimated: {guessed:,} outputs, {low} to {high}; {told['rate']}")
    if unknown:
        lines.append(f"unknown: {unknown:,} entries that no look has seen, or whose size is not known")
    about = "at least " if unknown else "about " if guessed else ""
    return _part(Standing.KNOWN, f"{about}{_seconds(told['ms'])} of compilers, if all of it is needed again", lines)


def _seconds(ms: int) -> str:
    return f"{ms / 1000:,.1f} CPU s"


def _snapshot(data: Mapping[str, Any]) -> dict[str, Value]:
    """A copy that was there before the decision; one that is made while carrying it out comes later."""
    if not data.get("snapshot"):
        return _part(Standing.UNKNOWN, "no snapshot is named; whoever carries it out may still make one first")
    tested = data.get("restore_test")
    lines = [f"restore test: {tested}" if tested else "restore test: UNKNOWN, none was noted"]
    return _part(Standing.READY if tested else Standing.KNOWN, data["snapshot"], lines)


def _history(prior: Sequence[Sequence[Record]], about: Operation, seq: int) -> list[Value]:
    """What became of earlier operations on the same target, as of the decision; the newest first."""
    found: list[tuple[int, Operation]] = []
    for records in prior:
        known = [record for record in records if record.seq < seq]
        operation = _folded(known)
        if operation is None or operation.id == about.id or operation.data.get("target") != about.data.get("target"):
            continue
        found.append((known[0].seq, operation))
    found.sort(key=lambda pair: -pair[0])
    return [_past(operation) for _, operation in found[:PRIOR]]


def _past(operation: Operation) -> dict[str, Value]:
    data = operation.data
    return {
        "op": operation.id,
        "at": operation.at,
        "requester": operation.requester,
        "state": str(operation.state),
        "selectors": _lines(data.get("selectors", ())),
        "items": _number(data.get("items")),
        "bytes": _number(data.get("bytes")),
    }


def _number(value: object) -> int | None:
    return value if type(value) is int else None


_ANSWERS = (
    "blast_radius",
    "dependents",
    "rebuild_cost",
    "failing_traces",
    "prediction",
    "undo",
    "snapshot",
)
_TEXTS = ("schema", "op", "kind", "target", "requester", "host", "requested_at", "frozen_at", "state")
_LISTS = ("counts", "verdicts", "reasons", "history")
_PARTS: dict[str, type] = {
    **dict.fromkeys(_TEXTS, str),
    **dict.fromkeys(_LISTS, list),
    **dict.fromkeys((*_ANSWERS, "plan", "asked"), dict),
}
_GROUP = {"name": str, "items": int, "bytes": int}
_OTHERS = {"groups": int, "items": int, "bytes": int}
_COUNTED = {"by": str, "groups": [_GROUP], "others": _OTHERS}
_VERDICT = {"check": str, "outcome": str, "summary": str, "evidence": [str], "remedy": [str]}
_ANSWER = {"state": str, "text": str, "lines": [str]}
_PRICE = {
    **dict.fromkeys(("outputs", "measured", "unknown", "ms", "measured_ms", "low_ms", "high_ms"), int),
    "rate": str,
}
_MAYBE = (int, type(None))
_PLAN = {
    "digest": str,
    "selectors": [str],
    "items": _MAYBE,
    "bytes": _MAYBE,
    "whole_bytes": _MAYBE,
    "read": bool,
    "why": str,
    "made_at": str,
}
_PAST = {
    "op": str,
    "at": str,
    "requester": str,
    "state": str,
    "selectors": [str],
    "items": _MAYBE,
    "bytes": _MAYBE,
}
_SHAPE: dict[str, Any] = {
    **dict.fromkeys(_TEXTS, str),
    "plan": _PLAN,
    "counts": [_COUNTED],
    "verdicts": [_VERDICT],
    "reasons": [str],
    "history": [_PAST],
    **dict.fromkeys(_ANSWERS, _ANSWER),
}
"""The form of each part: a type, some types, a list of one form, or an object of exactly these fields."""


def _is_shaped(parts: Mapping[str, Any]) -> bool:
    told = parts["asked"]
    return all(isinstance(one, str) for one in told.values()) and all(
        _fits(parts[name], _SHAPE[name]) for name in _SHAPE
    )


def _fits(value: object, shape: Any) -> bool:
    if isinstance(shape, dict):
        return (
            isinstance(value, dict)
            and value.keys() == shape.keys()
            and all(_fits(value[name], shape[name]) for name in shape)
        )
    if isinstance(shape, list):
        return isinstance(value, list) and all(_fits(one, shape[0]) for one in value)
    return isinstance(value, shape) and not (isinstance(value, bool) and shape is not bool)


def schema_of_pack() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a pack, for `docs/evidence.md`."""
    asked = {"type": "object", "additionalProperties": {"type": "string"}}
    names = sorted([*_SHAPE, "asked", "digest"])
    fields = {**{name: _schema(_SHAPE[name]) for name in _SHAPE}, "asked": asked, "digest": _HEX}
    fields["schema"] = {"const": SCHEMA}
    for name in _ANSWERS:
        fields[name]["properties"]["state"] = {"enum": [str(standing) for standing in Standing]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Evidence pack",
        "type": "object",
        "additionalProperties": False,
        "required": names,
        "properties": {name: fields[name] for name in names},
    }


_HEX = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_WORDS: dict[type, str] = {str: "string", int: "integer", bool: "boolean", type(None): "null"}


def _schema(shape: Any) -> dict[str, Any]:
    if isinstance(shape, dict):
        return {
            "type": "object",
            "additionalProperties": False,
            "required": sorted(shape),
            "properties": {name: _schema(shape[name]) for name in sorted(shape)},
        }
    if isinstance(shape, list):
        return {"type": "array", "items": _schema(shape[0])}
    if isinstance(shape, tuple):
        return {"type": [_WORDS[one] for one in shape]}
    return {"type": _WORDS[shape]}
