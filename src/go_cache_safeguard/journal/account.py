"""The account of one operation that an auditor keeps: a pure function of its records.

Knows:     what an auditor asks of an operation, where each answer stands in the records, and how two accounts differ.
Called by: `flows.account` writes one after a clean, and makes it again from the journal to check one.
Never:     says anything that no record says: so the same records give the same bytes, on any machine and any day.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from go_cache_safeguard.core.canonical import Value, canonical
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.journal.record import Record, leaf_hash, record_bytes

FORMAT = "go-cache-safeguard/receipt/1"

_PLAN = ("kind", "target", "identity", "selectors", "digest", "items", "bytes", "whole")
_DECISIONS = frozenset({State.ALLOWED, State.HELD, State.REFUSED})


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where an account is not what the journal says.

    Attributes:
        where: Keys joined by dots, for example `plan.digest`.
        told: What the account says, as JSON.
        journal: What the journal says, as JSON.
    """

    where: str
    told: str
    journal: str


def account(records: Sequence[Record]) -> dict[str, Value]:
    """Tell one operation.

    Args:
        records: All its records up to some point, in order; at least the first.

    Returns:
        A value with a canonical form: who asked for what on which cache, what the checks said, what was decided by whom, which
        snapshot was made, what was removed and proved, when each step was taken, and the record that ends it with its hash.
    """
    steps = [record for record in records if record.state is not None]
    data: dict[str, Any] = {key: value for record in steps for key, value in record.data.items()}
    first, last = steps[0], steps[-1]
    return {
        "format": FORMAT,
        "op": first.op,
        "state": last.step,
        "requester": first.actor,
        "host": first.host,
        "version": last.version,
        "plan": {key: data[key] for key in _PLAN if key in data},
        "verdicts": data.get("verdicts", []),
        "decision": _decision(steps),
        "approval": _approval(steps),
        "snapshot": data.get("snapshot"),
        "result": data.get("receipt"),
        "evidence": data.get("evidence"),
        "why": data.get("why"),
        "times": [[record.step, record.at] for record in steps],
        "journal": {"log": first.log, "seq": last.seq, "hash": leaf_hash(record_bytes(last)).hex()},
    }


def account_bytes(records: Sequence[Record]) -> bytes:
    """The account as it is written to a file: canonical JSON and a line break."""
    return canonical(account(records)) + b"\n"


def differences(told: Mapping[str, Any], truth: Mapping[str, Any]) -> list[Difference]:
    """Where an account differs from the one that the journal gives; empty if nowhere."""
    return list(_differ("", told, truth))


def _decision(steps: Sequence[Record]) -> Value:
    for record in steps:
        if record.state in _DECISIONS:
            return {"state": record.step, "reasons": record.data.get("reasons", [])}
    return None


def _approval(steps: Sequence[Record]) -> Value:
    for record in steps:
        if record.state is State.APPROVED:
            return {"at": record.at, "by": record.actor, **record.data}
    return None


def _differ(where: str, told: Any, truth: Any) -> Iterator[Difference]:
    if isinstance(told, dict) and isinstance(truth, dict):
        for key in sorted({*told, *truth}):
            inner = f"{where}.{key}" if where else key
            if key not in told or key not in truth:
                yield Difference(inner, _shown(told.get(key), key in told), _shown(truth.get(key), key in truth))
            else:
                yield from _differ(inner, told[key], truth[key])
    elif type(told) is not type(truth) or told != truth:
        yield Difference(where, _shown(told, there=True), _shown(truth, there=True))


def _shown(value: Any, there: bool) -> str:  # noqa: FBT001 - the value and whether there is one belong together
    if not there:
        return "nothing"
    text = canonical(value).decode("ascii")
    return text if len(text) <= 200 else f"{text[:200]}..."
