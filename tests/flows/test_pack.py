"""Evidence packs and pages of a journal, from journals and plans on a disk."""

from pathlib import Path
from typing import Any

import pytest

from auditing import session_at
from go_cache_safeguard.approval.evidence import Pack, read_pack
from go_cache_safeguard.core.canonical import canonical, digest
from go_cache_safeguard.core.operation import operation_id
from go_cache_safeguard.core.plan import Item, Plan
from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.flows.clean import ask
from go_cache_safeguard.flows.desk import desk_of
from go_cache_safeguard.flows.leafing import leaf_of
from go_cache_safeguard.flows.pack import FILED, JournalRecords, pack_of, sortings_of
from go_cache_safeguard.flows.session import Session

MADE = "2026-01-02T03:04:05Z"
MADE_NS = 1_767_323_045 * 10**9
DAY_NS = 86_400 * 10**9


def plan(kind: str, *items: Item) -> Plan:
    return Plan(kind, "/cache", "1:2", ("--all",), "uid:0(root)", MADE, 10_000, tuple(sorted(items)))


BUILD = plan(
    "go-build-cache",
    Item(
        f"aa/{'a' * 64}-a",
        175,
        MADE_NS - DAY_NS,
        "kind archive, package net/..., dead toolchain go1.20.3, unused for 5d",
    ),
    Item(f"bb/{'b' * 64}-d", 4000, MADE_NS - 40 * DAY_NS, "unused for 5d"),
)


def held(session: Session, asked: Plan) -> str:
    verdicts = [Verdict("permissions", Outcome.PASS, "fine")]
    with session.journal() as journal:
        return ask(session, journal, asked, lambda: verdicts, person="a person decides").op


def counted(asked: Plan) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for sorting in sortings_of(asked):
        for item in asked.items:
            groups = found.setdefault(sorting.by, {})
            groups[sorting.of(item)] = groups.get(sorting.of(item), 0) + 1
    return found


def test_a_build_cache_is_counted_by_what_the_selectors_said_and_the_rest_is_unknown() -> None:
    found = counted(BUILD)
    assert found["part of the cache"] == {"index entries": 1, "outputs": 1}
    assert found["package"] == {"net/...": 1, "UNKNOWN": 1}
    assert found["kind"] == {"archive": 1, "UNKNOWN": 1}
    assert found["toolchain"] == {"go1.20.3": 1, "UNKNOWN": 1}
    assert found["last used, before the plan was made"] == {"less than 30 days": 1, "30 days or more": 1}


def test_a_module_cache_is_counted_by_module_and_keys_by_prefix_and_time_to_live() -> None:
    modules = plan("go-module-cache", Item("cache/download/example.com/!a/@v/v1.0.0.zip", 9, 0, "damaged"))
    assert counted(modules)["module"] == {"example.com/A@v1.0.0": 1}
    keys = plan("redis", Item("0/user:1", 9, -1, "named"), Item("3/plain", 9, -1, "named"), Item("odd", 1, -2, "named"))
    assert counted(keys)["prefix"] == {"0/user:": 1, "3/(none)": 1, "UNKNOWN": 1}
    assert counted(keys)["time to live"] == {"never ends": 2, "not there": 1}
    assert counted(plan("redis-access", Item("app", 0, 0, "+@read")))["user"] == {"app": 1}


def test_a_desk_and_a_journal_give_the_same_pack_before_and_after_the_decision(tmp_path: Path) -> None:
    session = session_at(tmp_path)
    first, op = held(session, BUILD), held(session, BUILD)
    plans = session.state_dir / "plans"
    with session.journal() as journal:
        one = pack_of(JournalRecords(journal), op, plans)
        journal.advance(op, journal_state("REJECTED"), {"why": "no"})
        journal.advance(first, journal_state("REJECTED"), {"why": "no"})
    assert pack_of(desk_of(session), op, plans) == one
    assert [past["op"] for past in one.value["history"]] == [first]
    assert one.value["history"][0]["state"] == "HELD"
    assert one.value["undo"]["state"] == "READY"


def journal_state(name: str) -> Any:
    from go_cache_safeguard.core.lifecycle import State

    return State(name)


@pytest.mark.parametrize("damage", ["gone", "other", "broken"])
def test_a_plan_that_is_not_there_or_not_the_one_is_said_to_be(tmp_path: Path, damage: str) -> None:
    session = session_at(tmp_path)
    op = held(session, BUILD)
    kept = session.state_dir / "plans" / f"{op}.json"
    match damage:
        case "gone":
            kept.unlink()
        case "other":
            kept.write_bytes(plan("go-build-cache", Item("aa/x-a", 1, 0, "all")).data)
        case _:
            kept.write_bytes(b"{}")
    value = pack_of(desk_of(session), op, kept.parent).value
    assert (value["plan"]["read"], value["plan"]["digest"]) == (False, BUILD.digest)
    assert value["plan"]["why"]
    assert value["counts"] == []


def test_a_pack_that_a_host_filed_is_shown_if_it_is_about_this_very_plan(tmp_path: Path) -> None:
    session = session_at(tmp_path)
    op, other = held(session, BUILD), held(session, BUILD)
    plans = session.state_dir / "plans"
    theirs = pack_of(desk_of(session), op, plans)
    nowhere = tmp_path / "nowhere"
    assert pack_of(desk_of(session), op, nowhere) != theirs
    with session.journal() as journal:
        journal.note(FILED, {"evidence": theirs.as_value()}, op=op)
        journal.note(FILED, {"evidence": theirs.as_value()}, op=other)
        journal.note(FILED, {"evidence": {**theirs.as_value(), "target": "/elsewhere"}}, op=other)
        less = {**theirs.value, "op": other, "plan": {**theirs.value["plan"], "items": 1}}
        journal.note(FILED, {"evidence": {**less, "digest": digest(canonical(less))}}, op=other)
    assert pack_of(desk_of(session), op, nowhere) == theirs
    assert pack_of(desk_of(session), other, nowhere).value["plan"]["items"] == 2
    assert isinstance(read_pack(theirs.as_value()), Pack)


def test_a_journal_is_leafed_through_from_its_end(tmp_path: Path) -> None:
    session = session_at(tmp_path)
    op = held(session, BUILD)
    with session.journal() as journal:
        for number in range(30):
            journal.note("progress" if number % 10 else "rare", {"n": number})
        whole = [record.seq for record in journal.records()][::-1]
        seen, before = [], 0
        while True:
            leaf = leaf_of(journal, before=before, limit=7)
            seen += [record.seq for record in leaf.records]
            before = leaf.older
            if not before:
                break
        assert seen == whole
        assert [record.step for record in leaf_of(journal, step="rare").records] == ["rare"] * 3
        assert leaf_of(journal, step="rare", limit=2).older > 0
        of_one = leaf_of(journal, op=op, limit=2)
        assert [record.step for record in of_one.records] == ["HELD", "CHECKED"]
        rest = leaf_of(journal, op=op, limit=2, before=of_one.older)
        assert [record.step for record in rest.records] == ["REQUESTED"]
        assert rest.older == 0
        for nothing in ("op_", operation_id(9, 9)):
            assert leaf_of(journal, op=nothing).records == ()
