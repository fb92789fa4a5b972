"""Traces as numbers."""

from dataclasses import replace

from faulty_traces import FAULTS, made
from go_cache_safeguard.signals.features import Measure, What, measure, usual
from labelled_faults import traces_of

_HEALTHY = [measure(trace) for trace in traces_of(made("shop", 150, 3_001))]


def test_a_trace_is_measured_by_its_form_its_times_and_its_errors() -> None:
    trace = traces_of(made("shop", 1, 5))[0]
    values = measure(trace).values
    assert values[Measure(What.COUNT, "cart", "SELECT items")] == 1.584962500721156  # of two, and one: their logarithm
    assert Measure(What.ERRORS) not in values
    assert measure(trace).path["cart"] == {"edge", "cart"}
    orphan = [replace(span, parent_id=b"\1" * 8) if span.service == "cart" else span for span in trace]
    assert measure(orphan).values[Measure(What.MISSING)] > 0


def test_healthy_traces_are_all_alike_and_a_fault_stands_out_by_what_it_is() -> None:
    known = usual(_HEALTHY[:100], _HEALTHY[100:])
    rows = [known.row(trace) for trace in _HEALTHY[100:]]
    assert sum(any(row) for row in rows) <= 25
    slow = measure(traces_of(made("shop", 1, 6, FAULTS["shop"][0]))[0])
    row = known.row(slow)
    strongest = sorted(zip(row, known.measures, strict=True), reverse=True)[:2]
    assert {one.service for _, one in strongest} == {"payment-gateway"}


def test_a_measure_that_nobody_has_is_no_measure_and_order_does_not_matter() -> None:
    assert usual(_HEALTHY, ()) == usual(_HEALTHY[::-1], ())
    assert usual((), ()).row(_HEALTHY[0]) == ()
