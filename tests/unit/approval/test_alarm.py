"""Alerts, from figures alone."""

import json

from go_cache_safeguard.approval.alarm import (
    ALERTS,
    BATCH_BYTES,
    MANY,
    MOST,
    OVERDUE,
    TROUBLE,
    Alert,
    Source,
    alerts_of,
    batches,
    trouble_of,
)
from go_cache_safeguard.approval.figures import Figures
from journals import NOON, Told, op_of

HERE = Source("build-7", "https://safeguard.example")
OP = op_of(1)


def alerts(told: Told, now_s: int) -> dict[str, Alert]:
    figures = Figures()
    for record in told.records:
        figures.add(record)
    return {dict(alert.labels)["alertname"]: alert for alert in alerts_of(figures, HERE, now_s=now_s)}


def test_what_is_held_is_an_alert_until_it_expires_with_a_link() -> None:
    told = Told()
    told.held(OP)
    (alert,) = alerts(told, NOON + 5).values()
    assert dict(alert.labels) == {
        "alertname": "GoCacheSafeguardOperationHeld",
        "severity": "warning",
        "host": "build-7",
        "job": "go-cache-safeguard",
        "op": OP,
        "kind": "go-build-cache",
    }
    assert (alert.since_s, alert.until_s) == (NOON, NOON + 86_400)
    assert alert.link == f"https://safeguard.example/op/{OP}"
    assert "uid:1000(a)" in alert.description
    assert alert.as_value() == {
        "labels": dict(alert.labels),
        "annotations": {"summary": alert.summary, "description": alert.description},
        "startsAt": "2026-01-02T12:00:00Z",
        "endsAt": "2026-01-03T12:00:00Z",
        "generatorURL": alert.link,
    }


def test_when_it_was_decided_the_same_alert_is_over() -> None:
    told = Told()
    told.held(OP)
    before = alerts(told, NOON + 1)["GoCacheSafeguardOperationHeld"]
    told(OP, "APPROVED", NOON + 2)
    after = alerts(told, NOON + 3)["GoCacheSafeguardOperationHeld"]
    assert (after.labels, after.since_s) == (before.labels, before.since_s)
    assert after.until_s == NOON + 2


def test_an_emergency_is_critical_until_it_was_reviewed_and_a_late_review_is_told_too() -> None:
    told = Told()
    told.held(OP)
    told(
        OP,
        "APPROVED",
        NOON + 1,
        {"emergency": True, "review_by_s": NOON + 100, "approver": "uid:2(b)", "reason": "fire"},
    )
    told(OP, "DONE", NOON + 2)
    early, late = alerts(told, NOON + 50), alerts(told, NOON + 101)
    assert OVERDUE not in early
    assert dict(late["GoCacheSafeguardBreakGlass"].labels)["severity"] == "critical"
    assert late[OVERDUE].until_s > NOON + 101
    told(OP, "reviewed", NOON + 102, {"finding": "justified"})
    over = {name: alert.until_s for name, alert in alerts(told, NOON + 103).items()}
    assert over == {
        "GoCacheSafeguardOperationHeld": NOON + 1,
        "GoCacheSafeguardBreakGlass": NOON + 102,
        OVERDUE: NOON + 102,
    }


def test_many_are_a_few_hundred_and_one_that_counts_the_rest() -> None:
    told = Told()
    for number in range(MOST + 50):
        told.held(op_of(number), NOON + number)
    figures = Figures()
    for record in told.records:
        figures.add(record)
    found = alerts_of(figures, HERE, now_s=NOON + 1000)
    assert len(found) == MOST + 1
    assert dict(found[0].labels)["alertname"] == MANY
    assert "50 more" in found[0].summary
    bodies = list(batches(found))
    assert len(bodies) > 1
    assert max(map(len, bodies)) < BATCH_BYTES + 4096
    assert sum(len(json.loads(body)) for body in bodies) == MOST + 1


def test_trouble_of_the_journal_ends_by_itself() -> None:
    alert = trouble_of(HERE, "it is full", now_s=NOON)
    assert dict(alert.labels)["alertname"] == TROUBLE
    assert "it is full" in alert.description
    assert alert.until_s > NOON


def test_no_alerts_make_no_request() -> None:
    assert list(batches([])) == []


def test_odd_characters_and_long_texts_do_not_get_through() -> None:
    told = Told()
    told.held(OP, target="/cache\n\x1b[31m" + "x" * 10_000)
    (alert,) = alerts(told, NOON).values()
    assert "\n" not in alert.description
    assert "\x1b" not in alert.description
    assert len(alert.description) < 500


def test_every_name_is_listed_once() -> None:
    assert len(set(ALERTS)) == len(ALERTS) == 9
