"""Code says of spans and metrics only what the table of names allows."""

import ast
from collections.abc import Iterator

import pytest

from architecture.house import MODULES, Module, calls
from go_cache_safeguard.telemetry.names import METRICS, SPANS, MetricName, SpanName


def said(module: Module) -> Iterator[tuple[str, str, set[str]]]:
    """Every span and metric of a file, with the words it is told at once."""
    for node, name, _ in calls(module):
        match node.args:
            case [ast.Attribute(value=ast.Name(id="SpanName" | "MetricName"), attr=attr), *_]:
                if name in {"span", "measure"}:
                    yield name, attr, {word.arg for word in node.keywords if word.arg}


@pytest.mark.parametrize(
    "module", [it for it in MODULES if "Name." in it.text and any(said(it))], ids=lambda module: module.name
)
def test_a_span_is_told_only_what_it_may_carry(module: Module) -> None:
    for kind, name, words in said(module):
        allowed = SPANS[SpanName[name]].words if kind == "span" else METRICS[MetricName[name]].words
        assert words <= {*allowed, "op"}, (name, words)


def test_every_name_in_the_table_is_used() -> None:
    used = {(kind, name) for module in MODULES for kind, name, _ in said(module)}
    # These are measured where spans are recorded.
    used |= {("measure", name) for name in ("DURATION", "SPANS_KEPT", "SPANS_DROPPED", "COMPLETENESS")}
    assert used == {("span", name.name) for name in SpanName} | {("measure", name.name) for name in MetricName}
