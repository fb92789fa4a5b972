"""A plan file: what is written is read, and anything else is refused."""

import json
from dataclasses import replace

import pytest

from go_cache_safeguard.core.errors import ExitCode, PlanVoid
from go_cache_safeguard.core.plan import Item, Plan, parse_plan

PLAN = Plan(
    kind="go-build-cache",
    target="/home/someone/.cache/go-build",
    identity="2049:77",
    selectors=("--unused-for", "5d"),
    requester="someone (uid 1000)",
    made_at="2026-01-02T03:04:05Z",
    whole=1000,
    items=(Item("00/a-a", 175, 1, "unused"), Item("00/b-d", 300, 2, "unused"), Item("ff/c-d", 5, 3, "dead")),
)


def test_the_total_is_the_sum_of_the_items() -> None:
    assert PLAN.total == 480


def test_what_was_written_is_read_with_or_without_a_last_newline() -> None:
    assert parse_plan(PLAN.data) == PLAN
    assert parse_plan(PLAN.data + b"\n").digest == PLAN.digest


def test_the_digest_changes_with_every_field_of_the_plan() -> None:
    value = json.loads(PLAN.data)
    changed = {"kind": "x", "target": "/x", "identity": "1:1", "selectors": [], "requester": "x", "made_at": "x"}
    for key, other in {**changed, "whole": 1}.items():
        data = json.dumps({**value, key: other}, sort_keys=True, separators=(",", ":")).encode()
        assert parse_plan(data).digest != PLAN.digest


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"format":2}',
        b"\xff",
        b'{"format":1}',
        b"[" * 200_000,
        PLAN.data[:-1],
        b" " + PLAN.data,
    ],
    ids=range(10),
)
def test_what_is_no_plan_is_void(data: bytes) -> None:
    with pytest.raises(PlanVoid) as caught:
        parse_plan(data)
    assert caught.value.not_done == "nothing was removed"
    assert caught.value.exit_code is ExitCode.REFUSED


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("total", 481),
        ("target", 5),
        ("selectors", 5),
        ("items", [["00/a-a", 175, 1, 9]]),
        ("items", [["00/a-a", 175, 1]]),
        ("items", [["00/b", 1, 1, 0], ["00/a", 1, 1, 0]]),
        ("items", [["00/a", 1, 1, 0], ["00/a", 1, 1, 0]]),
        ("reasons", ["dead", "other", "unused"]),
        ("whole", 1.5),
        ("extra", 1),
    ],
)
def test_a_plan_that_somebody_edited_is_void(key: str, value: object) -> None:
    edited = {**json.loads(PLAN.data), key: value}
    with pytest.raises(PlanVoid):
        parse_plan(json.dumps(edited, sort_keys=True, separators=(",", ":")).encode())


def test_items_out_of_order_are_void_even_when_everything_else_fits() -> None:
    unsorted = Plan(**{**{name: getattr(PLAN, name) for name in PLAN.__dataclass_fields__}, "items": PLAN.items[::-1]})
    with pytest.raises(PlanVoid, match="not in the form that we write"):
        parse_plan(unsorted.data)


def test_a_plan_about_one_call_is_bound_to_it_and_others_look_as_before() -> None:
    bound = replace(PLAN, call="a" * 64)
    assert parse_plan(bound.data) == bound
    assert bound.digest != PLAN.digest != replace(PLAN, call="b" * 64).digest
    assert b"call" not in PLAN.data
    with pytest.raises(PlanVoid):
        parse_plan(bound.data.replace(b'"call":"' + b"a" * 64 + b'"', b'"call":1'))
