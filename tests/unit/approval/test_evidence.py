"""Evidence packs: what is in them, what is said to be unknown, and that they stay what they were."""

import json
from typing import Any

import jsonschema
import pytest

from go_cache_safeguard.approval.evidence import (
    CONTENTS,
    SCHEMA,
    UNKNOWN,
    Pack,
    Sorting,
    age_class,
    counted,
    evidence_pack,
    left_class,
    made_s,
    read_pack,
    schema_of_pack,
    unknowns,
)
from go_cache_safeguard.core.canonical import canonical, digest
from go_cache_safeguard.core.operation import operation_id
from go_cache_safeguard.core.plan import Item, Plan
from go_cache_safeguard.journal.record import NO_PREV, Record

OP, OLDER = operation_id(2, 2), operation_id(1, 1)
TARGET = "redis://127.0.0.1:6379"
MADE = "2026-01-02T03:04:05Z"
ITEMS = tuple(Item(f"0/{name}:{n}", 100 * n, -1, "named") for name in ("cart", "user") for n in range(1, 4))
PLAN = Plan("redis", TARGET, "run", ("del", "--match=*"), "uid:1(a)", MADE, 5000, ITEMS)
ABOUT: dict[str, Any] = {
    "kind": "redis",
    "target": TARGET,
    "digest": PLAN.digest,
    "items": len(ITEMS),
    "bytes": PLAN.total,
    "whole": 5000,
    "selectors": ["del", "--match=*"],
}
BY_PREFIX = Sorting("prefix", lambda item: item.name.split(":", maxsplit=1)[0])
Told = tuple[str, dict[str, Any]]


def verdict(check: str, outcome: str, **more: Any) -> dict[str, Any]:
    return {"check": check, "outcome": outcome, "summary": f"{check} says so", "evidence": [], "remedy": [], **more}


VERDICTS = [verdict("redis-blast-radius", "WARN", evidence=["6 of 6"]), verdict("redis-undo", "PASS")]
HELD: tuple[Told, ...] = (
    ("REQUESTED", ABOUT),
    ("CHECKED", {"verdicts": VERDICTS}),
    ("HELD", {"reasons": ["a person decides"], "expires_s": 9}),
)


def told(*steps: Told, op: str = OP, first: int = 10) -> list[Record]:
    """Records of one operation."""
    return [
        Record(
            "ab" * 16, seq, NO_PREV, f"2026-01-02T03:04:05.{seq:06}Z", seq, "b", "uid:1(a)", "h", "0.1", op, step, data
        )
        for seq, (step, data) in enumerate(steps, first)
    ]


def packed(*steps: Told, plan: Plan | str = PLAN, **more: Any) -> Pack:
    return evidence_pack(told(*(steps or HELD)), plan, sortings=(BY_PREFIX,), **more)


def held_with(**more: Any) -> Pack:
    return packed(("REQUESTED", {**ABOUT, **more}), *HELD[1:])


def test_a_pack_tells_what_would_go_and_what_the_checks_said() -> None:
    value = packed().value
    assert value["plan"] == {
        "digest": PLAN.digest,
        "selectors": ["del", "--match=*"],
        "items": 6,
        "bytes": 1200,
        "whole_bytes": 5000,
        "read": True,
        "why": "",
        "made_at": MADE,
    }
    groups = [{"name": name, "items": 3, "bytes": 600} for name in ("0/cart", "0/user")]
    assert value["counts"] == [
        {"by": "prefix", "groups": groups, "others": {"groups": 0, "items": 0, "bytes": 0}},
    ]
    assert [one["check"] for one in value["verdicts"]] == ["redis-blast-radius", "redis-undo"]
    assert value["reasons"] == ["a person decides"]
    assert value["blast_radius"] == {"state": "KNOWN", "text": "redis-blast-radius says so", "lines": ["6 of 6"]}
    assert value["undo"]["state"] == "READY"


def test_what_nobody_has_told_is_unknown_with_the_reason() -> None:
    pack = packed()
    assert {name for name, _ in unknowns(pack)} == {
        "dependents",
        "rebuild_cost",
        "failing_traces",
        "prediction",
        "snapshot",
    }
    assert all(why for _, why in unknowns(pack))


def test_dependents_that_were_told_are_shown() -> None:
    part = held_with(dependents=["shop: 2 errors in 30 minutes"]).value["dependents"]
    assert (part["state"], part["lines"]) == ("KNOWN", ["shop: 2 errors in 30 minutes"])


PRICE: dict[str, Any] = {
    "outputs": 10,
    "measured": 4,
    "unknown": 0,
    "ms": 61_500,
    "measured_ms": 40_000,
    "low_ms": 55_000,
    "high_ms": 70_000,
    "rate": "0.32 CPU s for each MiB",
}


def test_the_price_of_making_it_again_tells_measured_estimated_and_unknown_apart() -> None:
    part = held_with(rebuild=PRICE).value["rebuild_cost"]
    assert (part["state"], part["text"]) == ("KNOWN", "about 61.5 CPU s of compilers, if all of it is needed again")
    assert part["lines"] == [
        "measured while builds ran: 4 outputs, 40.0 CPU s",
        "estimated: 6 outputs, 15.0 CPU s to 30.0 CPU s; 0.32 CPU s for each MiB",
    ]
    measured = held_with(rebuild={**PRICE, "outputs": 4, "ms": 40_000}).value["rebuild_cost"]
    assert measured["text"].startswith("40.0 CPU s")
    some = held_with(rebuild={**PRICE, "unknown": 3}).value["rebuild_cost"]
    assert some["text"].startswith("at least 61.5 CPU s")
    assert some["lines"][-1].startswith("unknown: 3 entries")


@pytest.mark.parametrize("told", [None, {}, 5, {**PRICE, "outputs": 0}, {**PRICE, "ms": "1"}, {**PRICE, "more": 1}])
def test_a_price_that_nobody_has_told_is_unknown(told: Any) -> None:
    assert held_with(rebuild=told).value["rebuild_cost"]["state"] == UNKNOWN


def test_what_happens_after_the_decision_of_policy_changes_nothing() -> None:
    later: tuple[Told, ...] = (
        ("agreed", {"approver": "user:bob"}),
        ("APPROVED", {"approver": "user:carol", "items": 1}),
    )
    assert packed(*HELD, *later) == packed()
    assert packed(*HELD).value["frozen_at"] == "2026-01-02T03:04:05.000012Z"


def test_an_operation_that_policy_has_not_decided_about_is_not_frozen() -> None:
    assert packed(*HELD[:2]).value["frozen_at"] == ""


def test_what_has_no_beginning_has_no_pack() -> None:
    for steps in ((), HELD[1:], (("progress", {}),)):
        with pytest.raises(ValueError, match="requested"):
            evidence_pack(told(*steps), PLAN)


def test_a_plan_that_cannot_be_read_is_said_to_be() -> None:
    pack = packed(plan="it is gone")
    assert pack.value["counts"] == []
    assert (pack.value["plan"]["read"], pack.value["plan"]["items"]) == (False, 6)
    assert ("plan", "it is gone") in unknowns(pack)


@pytest.mark.parametrize(
    ("more", "verdicts", "state"),
    [
        ({"final": "a script may do anything"}, VERDICTS, "NONE"),
        ({}, [verdict("redis-undo", "BLOCK")], "UNKNOWN"),
        ({}, [], "UNKNOWN"),
        ({"kind": "go-build-cache"}, [verdict("permissions", "WARN")], "READY"),
        ({"kind": "go-module-cache"}, [verdict("mod-integrity", "UNKNOWN")], "UNKNOWN"),
        ({"kind": "redis-access"}, [], "UNKNOWN"),
    ],
)
def test_a_way_back_is_ready_only_if_a_check_says_so(more: Any, verdicts: Any, state: str) -> None:
    pack = packed(("REQUESTED", {**ABOUT, **more}), ("CHECKED", {"verdicts": verdicts}), HELD[2])
    assert pack.value["undo"]["state"] == state


def test_the_reach_without_a_check_is_the_part_of_the_bytes_and_never_looks_like_nothing() -> None:
    def reach(**more: Any) -> dict[str, str]:
        about = ("REQUESTED", {**ABOUT, "kind": "go-build-cache", **more})
        part: dict[str, str] = packed(about, ("CHECKED", {"verdicts": []}), HELD[2]).value["blast_radius"]
        return part

    assert reach(bytes=1, whole=10**9)["text"].startswith("0.1 %")
    assert reach(bytes=500, whole=1000)["text"].startswith("50.0 %")
    assert reach(whole=0)["state"] == "UNKNOWN"


def test_a_snapshot_is_ready_only_if_restoring_it_was_tried() -> None:
    assert held_with(snapshot="snap_1").value["snapshot"]["state"] == "KNOWN"
    assert held_with(snapshot="snap_1", restore_test="PASS").value["snapshot"]["state"] == "READY"


def test_history_is_what_was_known_then_about_the_same_target_the_newest_first() -> None:
    before = told(*HELD, op=OLDER, first=1)
    since = told(("REJECTED", {"why": "no"}), op=OLDER, first=40)
    other = told(("REQUESTED", {**ABOUT, "target": "elsewhere"}), op=operation_id(1, 5), first=5)
    younger = told(*HELD, op=operation_id(9, 9), first=30)
    pack = packed(prior=[younger, [*before, *since], other, told(*HELD)])
    assert [(one["op"], one["state"]) for one in pack.value["history"]] == [(OLDER, "HELD")]


def test_only_the_largest_groups_are_named_and_the_others_summed() -> None:
    items = tuple(Item(f"0/k{n:02}:x", n, -1, "named") for n in range(25))
    plan = Plan("redis", TARGET, "run", (), "uid:1(a)", MADE, 0, items)
    (table,) = packed(plan=plan).value["counts"]
    assert [group["bytes"] for group in table["groups"]] == list(range(24, 14, -1))
    assert table["others"] == {"groups": 15, "items": 15, "bytes": sum(range(15))}


def test_what_is_unknown_is_named_however_little_it_is() -> None:
    items = tuple(Item(f"0/k{n:02}", n, -1, "named") for n in range(25))
    table = counted(items, Sorting("x", lambda item: UNKNOWN if item.size == 1 else item.name), most=3)
    assert table["groups"] == [
        *({"name": f"0/k{n}", "items": 1, "bytes": n} for n in (24, 23, 22)),
        {"name": UNKNOWN, "items": 1, "bytes": 1},
    ]
    assert table["others"] == {"groups": 21, "items": 21, "bytes": sum(range(25)) - 24 - 23 - 22 - 1}


def test_tables_that_were_noted_when_it_was_held_come_before_those_of_the_plan() -> None:
    others = {"groups": 0, "items": 0, "bytes": 0}
    prefixes: dict[str, Any] = {"by": "prefix", "groups": [], "others": others}
    more = {**prefixes, "by": "more"}

    def counts(tables: Any, plan: Plan | str = PLAN) -> Any:
        return packed(*HELD[:2], ("HELD", {**HELD[2][1], CONTENTS: tables}), plan=plan).value["counts"]

    assert counts([more, prefixes]) == [prefixes]
    assert counts([more, prefixes], "it is gone") == [more, prefixes]
    for nothing in (None, [], 7, ["prefix"], [{**prefixes, "groups": [{"name": 1}]}]):
        assert counts(nothing) == packed().value["counts"]


def test_names_and_lines_of_any_length_stay_readable() -> None:
    lines = [f"{n}" * 2000 for n in range(200)]
    pack = packed(HELD[0], ("CHECKED", {"verdicts": [verdict("x", "PASS", evidence=lines)]}), HELD[2])
    shown = pack.value["verdicts"][0]["evidence"]
    assert len(shown) == 51
    assert shown[-1] == "... and 150 more"
    assert max(map(len, shown)) < 540


MINUTE, HOUR, DAY = 60, 3600, 86_400


@pytest.mark.parametrize(
    ("stamp", "name"),
    [
        (-1, "never ends"),
        (-2, "not there"),
        (1_000_000 + 59_999, "less than a minute"),
        (1_000_000 + MINUTE * 1000, "less than an hour"),
        (1_000_000 + HOUR * 1000, "less than a day"),
        (1_000_000 + 29 * DAY * 1000, "less than 30 days"),
        (1_000_000 + 30 * DAY * 1000, "30 days or more"),
        (5, "less than a minute"),
    ],
)
def test_how_long_keys_would_live_is_told_in_classes(stamp: int, name: str) -> None:
    assert left_class(Item("0/a", 1, stamp, "named"), 1_000_000) == name


def test_how_long_a_file_was_not_used_is_told_in_the_same_classes() -> None:
    made_ns = made_s(PLAN) * 10**9
    assert age_class(Item("a", 1, made_ns - 2 * DAY * 10**9, "all"), made_ns) == "less than 30 days"


def test_a_pack_comes_back_as_it_was_sent() -> None:
    pack = packed(prior=[told(*HELD, op=OLDER, first=1)])
    assert read_pack(json.loads(json.dumps(pack.as_value()))) == pack
    assert pack.digest == digest(canonical(pack.value))


def _broken(**parts: Any) -> dict[str, Any]:
    value: dict[str, Any] = {**packed().value, **parts}
    return {**value, "digest": digest(canonical(value))}


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {"schema": SCHEMA},
        {**packed().as_value(), "digest": "0" * 64},
        {**packed().as_value(), "op": "op_other"},
        _broken(more=1),
        _broken(verdicts=["PASS"]),
        _broken(verdicts=[{"check": "x"}]),
        _broken(history=[{"op": 1}]),
        _broken(plan={"read": True}),
        _broken(counts=[{"by": "x", "groups": [{"name": "x", "items": True, "bytes": 1}], "others": {}}]),
        _broken(undo={"state": "READY", "text": "x"}),
        _broken(asked={"db": 0}),
        {**packed().as_value(), "reasons": [0.5]},
    ],
)
def test_nothing_else_is_a_pack(value: object) -> None:
    assert isinstance(read_pack(value), str)


def test_packs_are_what_the_published_schema_says() -> None:
    schema = schema_of_pack()
    jsonschema.Draft202012Validator.check_schema(schema)
    judge = jsonschema.Draft202012Validator(schema)
    for pack in (packed(), packed(plan="gone"), packed(prior=[told(*HELD, op=OLDER, first=1)]), held_with(items=None)):
        judge.validate(pack.as_value())
    assert not judge.is_valid({**packed().as_value(), "more": 1})
