"""The account of an operation says what its records say, and nothing else."""

import json
from dataclasses import replace
from typing import Any

import pytest

from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.journal.account import FORMAT, account, account_bytes, differences
from go_cache_safeguard.journal.record import NO_PREV, Record, leaf_hash, record_bytes

_OP = "op_" + "0" * 16
_VERDICT = {"check": "integrity", "outcome": "WARN", "summary": "s", "evidence": [], "remedy": []}


def _record(seq: int, step: str, data: dict[str, Any], actor: str = "uid:1(ann)") -> Record:
    at = f"2026-01-02T03:04:0{seq}.000006Z"
    return Record("0" * 32, seq, NO_PREV, at, seq, "boot", actor, "host", "1.2.3", _OP, step, data)


RECORDS = (
    _record(
        1, "REQUESTED", {"kind": "go-build-cache", "target": "/c", "digest": "d", "items": 2, "bytes": 9, "whole": 20}
    ),
    _record(2, "CHECKED", {"verdicts": [_VERDICT]}),
    _record(3, "HELD", {"reasons": ["large"], "expires_s": 7}),
    _record(4, "token-minted", {"approver": "uid:9(eve)", "sha256": "x"}),
    _record(5, "APPROVED", {"approver": "uid:2(bob)", "channel": "terminal"}, "uid:2(bob)"),
    _record(6, "SNAPSHOTTING", {}),
    _record(7, "REMOVING", {"quarantine": "/q", "snapshot": {"id": "s", "root": "r"}}),
    _record(8, "PROVING", {"receipt": {"moved": 2, "state": "PROVING"}}),
    _record(9, "DONE", {"receipt": {"moved": 2, "state": "DONE", "proof": ["canary: fine"]}}),
)


def test_it_tells_who_what_when_and_how_it_ended() -> None:
    told: Any = account(RECORDS)
    assert told["format"] == FORMAT
    assert (told["op"], told["state"], told["requester"]) == (_OP, "DONE", "uid:1(ann)")
    assert told["plan"] == {
        "kind": "go-build-cache",
        "target": "/c",
        "digest": "d",
        "items": 2,
        "bytes": 9,
        "whole": 20,
    }
    assert told["verdicts"] == [_VERDICT]
    assert told["decision"] == {"state": "HELD", "reasons": ["large"]}
    assert told["approval"]["approver"] == "uid:2(bob)"
    assert told["snapshot"] == {"id": "s", "root": "r"}
    assert told["result"]["state"] == "DONE"
    assert [step for step, _ in told["times"]] == [record.step for record in RECORDS if record.state is not None]


def test_it_names_the_record_that_ends_it_by_its_hash() -> None:
    told: Any = account(RECORDS)
    assert told["journal"] == {"log": "0" * 32, "seq": 9, "hash": leaf_hash(record_bytes(RECORDS[-1])).hex()}


def test_notes_change_nothing() -> None:
    assert account([record for record in RECORDS if record.state is not None]) == account(RECORDS)


@pytest.mark.parametrize("count", range(1, len(RECORDS) + 1))
def test_an_operation_can_be_told_at_any_point_of_its_way(count: int) -> None:
    told = json.loads(account_bytes(RECORDS[:count]))
    assert told["state"] in State.__members__
    assert not differences(told, account(RECORDS[:count]))


@pytest.mark.parametrize("at", [0, 1, 2, 4, 6, 8])
def test_a_changed_record_makes_a_difference_that_is_named(at: int) -> None:
    changed = list(RECORDS)
    changed[at] = replace(
        RECORDS[at], actor="uid:6(mallory)", data={**RECORDS[at].data, "reasons": ["x"], "digest": "e"}
    )
    assert differences(account(RECORDS), account(changed))


def test_differences_are_named_by_their_place() -> None:
    told: Any = json.loads(account_bytes(RECORDS))
    told["plan"]["digest"] = "other"
    told["more"] = 1
    del told["why"]
    found = {one.where: (one.told, one.journal) for one in differences(told, account(RECORDS))}
    assert found == {"plan.digest": ('"other"', '"d"'), "more": ("1", "nothing"), "why": ("nothing", "null")}


def test_true_is_not_one() -> None:
    assert differences({"a": True}, {"a": 1})
