"""Numbers and conditions, from records alone."""

import pytest

from go_cache_safeguard.approval import figures as f
from go_cache_safeguard.approval.figures import Figures
from journals import NOON, Told, op_of

OP = op_of(1)


def figures_of(told: Told) -> Figures:
    found = Figures()
    for record in told.records:
        found.add(record)
    return found


def number(told: Told, figure: f.Figure, *labels: str) -> float:
    return figures_of(told).shown()[figure].get(labels, -1.0)


def test_a_journal_without_records_shows_zeros_and_no_times() -> None:
    shown = Figures().shown()
    assert set(shown) == set(f.FIGURES)
    assert shown[f.OLDEST] == shown[f.REVIEW_BY] == {}
    assert {value for numbers in shown.values() for value in numbers.values()} == {0.0}


def test_what_is_held_is_counted_by_kind_and_the_oldest_is_known() -> None:
    told = Told()
    told.held(op_of(1), NOON)
    told.held(op_of(2), NOON + 5, kind="redis")
    told.held(op_of(3), NOON + 6, kind="something new")
    assert [number(told, f.HELD, kind) for kind in ("go-build-cache", "redis", "other")] == [1, 1, 1]
    assert number(told, f.OLDEST) == NOON
    told(op_of(1), "REJECTED", NOON + 7)
    assert number(told, f.HELD, "go-build-cache") == 0
    assert number(told, f.HELD_TOTAL, "go-build-cache") == 1
    assert number(told, f.OLDEST) == NOON + 5


@pytest.mark.parametrize("state", ["APPROVED", "REJECTED", "EXPIRED", "CANCELLED"])
def test_how_it_was_decided_is_counted(state: str) -> None:
    told = Told()
    told.held(OP)
    told(OP, state, NOON + 1)
    assert number(told, f.DECIDED, state.lower()) == 1
    assert number(told, f.APPROVED) == (state == "APPROVED")
    assert figures_of(told).over["held", OP].until_s == NOON + 1


def test_an_emergency_waits_for_its_review() -> None:
    told = Told()
    told.held(OP)
    told(
        OP,
        "APPROVED",
        NOON + 1,
        {"emergency": True, "review_by_s": NOON + 100, "approver": "uid:2(b)", "reason": "fire"},
    )
    for step in ("REMOVING", "PROVING", "DONE"):
        told(OP, step, NOON + 2)
    assert [number(told, one) for one in (f.EMERGENCIES, f.REVIEWS, f.REVIEW_BY)] == [1, 1, NOON + 100]
    assert figures_of(told).reviews[OP].why == "uid:2(b): fire"
    told(OP, "reviewed", NOON + 3, {"finding": "justified"})
    assert [number(told, one) for one in (f.EMERGENCIES, f.REVIEWS)] == [1, 0]
    assert ("reviews", OP) in figures_of(told).over


def test_a_proof_that_failed_a_refusal_and_what_nobody_knows_are_counted() -> None:
    told = Told()
    for step in ("REQUESTED", "CHECKED", "ALLOWED", "REMOVING", "PROVING", "ROLLING_BACK", "ROLLED_BACK"):
        told(op_of(1), step, NOON, {"kind": "redis"})
    for step in ("REQUESTED", "CHECKED", "REFUSED"):
        told(op_of(2), step, NOON)
    for step in ("REQUESTED", "CHECKED", "ALLOWED", "REMOVING", "ROLLING_BACK", "UNKNOWN"):
        told(op_of(3), step, NOON)
    assert [number(told, one) for one in (f.PROOFS, f.REFUSED, f.UNKNOWN)] == [1, 1, 1]
    told(op_of(3), "UNDOING", NOON + 1)
    assert number(told, f.UNKNOWN) == 0


def test_messages_are_counted_by_channel_and_what_was_given_up_is_so_until_the_operation_is_decided() -> None:
    told = Told()
    told.held(OP)
    for step in ("hook-failed", "hook-failed", "hook-given-up"):
        told(OP, step, NOON + 1, {"channel": "slack", "message": f"{OP}_held"})
    told(OP, "hook-sent", NOON + 1, {"message": f"{OP}_held"})
    assert [number(told, f.MESSAGES, "slack", one) for one in ("failed", "given_up")] == [2, 1]
    assert number(told, f.MESSAGES, "hook", "sent") == 1
    assert number(told, f.GIVEN_UP_NOW) == 1
    told(OP, "APPROVED", NOON + 2)
    assert number(told, f.GIVEN_UP_NOW) == 0


def test_refusals_are_a_condition_for_an_hour_and_then_forgotten() -> None:
    told = Told()
    for step in ("REQUESTED", "CHECKED", "REFUSED"):
        told(OP, step, NOON)
    found = figures_of(told)
    found.forget(NOON + 3600)
    assert OP in found.refused
    found.forget(NOON + 3601)
    assert OP not in found.refused
    found.forget(NOON + 9000)
    assert found.over == {}
    assert found.shown()[f.REFUSED] == {(): 1.0}


def test_every_metric_is_named_once_and_has_a_sentence() -> None:
    everything = (*f.FIGURES, *f.OF_JOURNAL)
    assert len({one.full_name for one in everything}) == len(everything)
    assert all(one.what.endswith(".") for one in everything)
