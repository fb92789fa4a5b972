"""Telemetry that nobody wants is not loaded, and code says only what the table of names allows."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from architecture.house import MODULES, Module, calls
from go_cache_safeguard.telemetry.names import METRICS, SPANS, MetricName, SpanName
from gocaches import GoCache
from safeguard import Safeguard

PLAIN = ("clean", "--all", "--proof", "none", "--checks", "permissions")
ON = {"GO_CACHE_SAFEGUARD_TELEMETRY_ENDPOINT": "http://127.0.0.1:9"}


def loaded(guard: Safeguard, *arguments: str) -> set[str]:
    """Modules that a command loads."""
    command = [sys.executable, "-X", "importtime", "-m", "go_cache_safeguard", *arguments]
    done = subprocess.run(
        command, env=guard.environ, cwd=guard.cache.module, capture_output=True, text=True, check=True, timeout=120
    )
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}


def of_telemetry(modules: set[str]) -> set[str]:
    return {name for name in modules if name.startswith("opentelemetry") or name.endswith("telemetry.otel")}


def test_what_nobody_wants_is_not_loaded_and_what_only_looks_never_loads_it(
    newest_cache: GoCache, tmp_path: Path
) -> None:
    held = {"GO_CACHE_SAFEGUARD_POLICY_HOLD_SHARE": "100%"}
    off, on = (Safeguard(newest_cache, tmp_path / "state", {**held, **more}) for more in ({}, ON))
    assert of_telemetry(loaded(off, "--help")) == set()
    assert of_telemetry(loaded(on, "status")) == set()
    assert of_telemetry(loaded(off, *PLAIN)) == set()
    (plan,) = (tmp_path / "state" / "plans").iterdir()
    assert of_telemetry(loaded(on, "undo", plan.stem, "--proof", "none"))  # so this test would see it


def said(module: Module) -> Iterator[tuple[str, str, set[str]]]:
    """Every span and metric of a file, with the words it is told at once."""
    for node, name, _ in calls(module):
        match node.args:
            case [ast.Attribute(value=ast.Name(id="SpanName" | "MetricName"), attr=attr), *_]:
                if name in {"span", "measure"}:
                    yield name, attr, {word.arg for word in node.keywords if word.arg}


@pytest.mark.parametrize("module", [it for it in MODULES if any(said(it))], ids=lambda module: module.name)
def test_a_span_is_told_only_what_it_may_carry(module: Module) -> None:
    for kind, name, words in said(module):
        allowed = SPANS[SpanName[name]].words if kind == "span" else METRICS[MetricName[name]].words
        assert words <= {*allowed, "op"}, (name, words)


def test_every_name_in_the_table_is_used() -> None:
    used = {(kind, name) for module in MODULES for kind, name, _ in said(module)}
    # These are measured where spans are recorded.
    used |= {("measure", name) for name in ("DURATION", "SPANS_KEPT", "SPANS_DROPPED", "COMPLETENESS")}
    assert used == {("span", name.name) for name in SpanName} | {("measure", name.name) for name in MetricName}
