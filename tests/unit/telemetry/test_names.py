"""The table of what we tell holds together, and nothing that is not in it gets out."""

import re

import pytest

from go_cache_safeguard.approval.figures import KINDS as KINDS_OF_JOURNAL
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.flows import site
from go_cache_safeguard.telemetry.buffer import (
    AFTER_SHUTDOWN,
    EXPORT_FAILED,
    MUST_KEEP_OVERFLOW,
    QUEUE_FULL,
    SAMPLED,
)
from go_cache_safeguard.telemetry.names import (
    ALONE,
    ATTRIBUTES,
    KINDS,
    METRICS,
    OP_ID,
    OTHER,
    OUTCOMES,
    REASONS,
    ROOTS,
    SPANS,
    MetricName,
    SpanName,
    attributes_of,
    full_name,
    ids_of,
    labels_of,
)


def test_every_span_and_metric_is_described_and_says_only_what_is_in_the_table() -> None:
    assert set(SPANS) == set(SpanName)
    assert set(METRICS) == set(MetricName)
    for about in (*SPANS.values(), *METRICS.values()):
        assert set(about.words) <= set(ATTRIBUTES)
        assert about.what.endswith(".")
    assert set(SPANS) >= ROOTS | ALONE


def test_every_label_has_few_values_and_every_metric_a_unit() -> None:
    for about in METRICS.values():
        assert all(1 < len(ATTRIBUTES[word].values) <= 16 for word in about.words)
        assert re.fullmatch(r"s|1|\{[a-z]+\}", about.unit)
    assert OTHER in KINDS
    assert OTHER in OUTCOMES


def test_every_kind_of_plan_has_its_own_label() -> None:
    of_plans = {site.MODULES, site.FUZZ, *site.SERVERS, *site.FINAL}
    assert of_plans | set(KINDS_OF_JOURNAL) == set(KINDS)


def test_every_reason_for_which_spans_are_dropped_has_a_label() -> None:
    assert {SAMPLED, QUEUE_FULL, MUST_KEEP_OVERFLOW, EXPORT_FAILED, AFTER_SHUTDOWN, OTHER} == set(REASONS)


def test_how_an_operation_ends_well_has_a_label() -> None:
    ends = {State.DONE, State.WAITING, State.PURGED, State.PASSED, State.ROLLED_BACK}
    assert {state.value.lower() for state in ends} <= set(OUTCOMES)


def test_what_a_span_may_not_carry_is_left_out() -> None:
    said = attributes_of({"op": "op_1", "kind": "redis", "keys": 3, "check": None, "secret": "x"}, ("keys", "check"))
    assert said == {OP_ID: "op_1", "guard.keys": 3}
    assert attributes_of({"target": site.SERVER, "verdict": State.DONE}, ("verdict",)) == {"guard.verdict": "DONE"}


def test_a_label_that_is_not_in_the_table_is_other() -> None:
    labels = {"kind": "user:17", "outcome": "done", "target": "/home/alice"}
    assert labels_of(MetricName.DURATION, labels) == {"cache.kind": OTHER, "guard.outcome": "done"}


def test_a_check_has_a_span_of_its_own() -> None:
    assert full_name(SpanName.CHECK, "integrity") == "guard.check.integrity"
    assert full_name(SpanName.OPERATION, "") == "guard.operation"


@pytest.mark.parametrize("op", ["op_1m82yz66ps456zg5", "op_1m82yz66ps456zg6"])
def test_the_ids_of_an_operation_are_always_the_same_and_never_zero(op: str) -> None:
    ids = ids_of(op)
    assert ids == ids_of(op)
    assert (len(ids.trace), len(ids.root)) == (16, 8)
    assert any(ids.trace)
    assert any(ids.root)


def test_another_operation_has_another_trace() -> None:
    assert ids_of("op_1").trace != ids_of("op_2").trace
