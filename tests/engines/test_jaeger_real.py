"""A real Jaeger: it serves the strategies that were compiled for it, and answers what `traces query --jaeger` asks."""

import json
import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from collectors import Engine, placed, started
from go_cache_safeguard.flows.traces import ask_jaeger, trace_of_jaeger
from go_cache_safeguard.signals.collector import Places, collector
from go_cache_safeguard.signals.query import parse_query
from go_cache_safeguard.signals.span import Event, Kind, Span, Status
from go_cache_safeguard.signals.strategies import strategies
from go_cache_safeguard.telemetry.rules import parse_rules
from guardproxy import wait_until
from safeguard import COMMAND

RULES = parse_rules(
    {
        "sampling": [
            {"name": "errors", "when": {"status": "error"}, "keep": "always"},
            {"name": "pay", "when": {"service": "pay", "name": "GET /pay"}, "keep": {"adaptive": {"least": "50%", "most": "80%"}}},
            {"name": "front", "when": {"service": "front*"}, "keep": {"adaptive": {"least": "20%", "most": "40%"}}},
            {"name": "probes", "when": {"name": "GET /healthz"}, "keep": "never"},
            {"name": "rest", "keep": {"adaptive": {"least": "5%", "most": "15%"}}},
        ]
    }
)  # fmt: skip


def jaeger(strategies_file: Path) -> Mapping[str, Any]:
    """A Jaeger that keeps traces in memory."""
    return {
        "extensions": {
            "jaeger_storage": {"backends": {"here": {"memory": {"max_traces": 10_000}}}},
            "jaeger_query": {
                "storage": {"traces": "here"},
                "http": {"endpoint": "127.0.0.1:{query}"},
                "grpc": {"endpoint": "127.0.0.1:{query_grpc}"},
            },
            "remote_sampling": {
                "file": {"path": str(strategies_file), "default_sampling_probability": 1, "reload_interval": "1s"},
                "http": {"endpoint": "127.0.0.1:{sampling}"},
                "grpc": {"endpoint": "127.0.0.1:{sampling_grpc}"},
            },
            "healthcheckv2": {"use_v2": True, "http": {"endpoint": "127.0.0.1:{health}"}},
        },
        "receivers": {
            "otlp": {
                "protocols": {
                    "grpc": {"endpoint": "127.0.0.1:{grpc}"},
                    "http": {"endpoint": "127.0.0.1:{http}"},
                }
            }
        },
        "exporters": {"jaeger_storage_exporter": {"trace_storage": "here"}},
        "service": {
            "extensions": ["jaeger_storage", "jaeger_query", "remote_sampling", "healthcheckv2"],
            "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "warn"}},
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["jaeger_storage_exporter"]}},
        },
    }


PORTS = ("query", "query_grpc", "sampling", "sampling_grpc")


def told(running: Engine, service: str) -> Mapping[str, Any]:
    """What a service is told of sampling."""
    answer = httpx.get(f"{running.url('sampling')}/api/sampling", params={"service": service}, trust_env=False)
    assert answer.status_code == 200, answer.text
    found: Mapping[str, Any] = answer.json()
    return found


def chances(found: Mapping[str, Any]) -> tuple[float, dict[str, float]]:
    """The probability of a service, and of its operations."""
    operations = found.get("operationSampling")
    if operations is None:
        return found["probabilisticSampling"]["samplingRate"], {}
    return operations["defaultSamplingProbability"], {
        one["operation"]: one["probabilisticSampling"]["samplingRate"] for one in operations["perOperationStrategies"]
    }


def test_jaeger_serves_the_rules_as_strategies_and_reads_them_again(tmp_path: Path) -> None:
    file = tmp_path / "strategies.json"
    file.write_text(json.dumps(strategies(RULES, 1.0, ["front-1"])))
    with started("jaeger", jaeger(file), tmp_path, *PORTS) as running:
        assert chances(told(running, "pay")) == (0.15, {"GET /pay": 0.8, "GET /healthz": 0.0})
        assert chances(told(running, "front-1")) == (0.4, {"GET /pay": 0.4, "GET /healthz": 0.4})
        assert chances(told(running, "other")) == (0.15, {"GET /pay": 0.15, "GET /healthz": 0.0})
        file.write_text(json.dumps(strategies(RULES, 0.0, ["front-1"])))
        wait_until("the file is not read again", lambda: chances(told(running, "other"))[0] == 0.05)
        assert chances(told(running, "pay"))[1]["GET /pay"] == 0.5


def _spans(now: int) -> list[Span]:
    """A trace in which a slow payment waits for a connection, and a quick one."""
    slow, quick = b"\x11" * 16, b"\x22" * 16
    return [
        Span(
            slow, b"\x01" * 8, b"", "GET /pay", Kind.SERVER, "payment-gateway", "", now - 4 * 10**9, now,
            Status.ERROR, "no connection", {"http.status_code": 503, "tenant": "acme"}, {"host.name": "a"},
            (Event("exception", now - 10**9, {"exception.type": "PoolTimeout"}),),
        ),
        Span(slow, b"\x02" * 8, b"\x01" * 8, "JedisPool.getResource", Kind.CLIENT, "payment-gateway", "", now - 4 * 10**9, now - 10**8),
        Span(quick, b"\x03" * 8, b"", "GET /pay", Kind.SERVER, "payment-gateway", "", now - 10**7, now, attributes={"http.status_code": 200}),
        Span(quick, b"\x04" * 8, b"\x03" * 8, "GET user", Kind.CLIENT, "users", "", now - 10**7, now - 10**6),
    ]  # fmt: skip


def test_spans_go_through_a_collector_into_jaeger_and_are_found_there(tmp_path: Path) -> None:
    file = tmp_path / "strategies.json"
    file.write_text(json.dumps(strategies(RULES, 1.0)))
    everything = parse_rules({"sampling": [{"name": "all", "keep": "always"}]})
    with started("jaeger", jaeger(file), tmp_path, *PORTS) as there:
        document = placed(collector(everything, 1.0, Places(jaeger=there.url())))
        with started("collector", document, tmp_path, "prometheus") as running:
            now = time.time_ns() // 1000 * 1000
            running.send(_spans(now))
            asked = parse_query("service=payment-gateway AND duration>3000ms")
            wait_until("Jaeger has no trace", lambda: len(ask_jaeger(there.url("query"), asked, limit=10)) == 2)
        found = ask_jaeger(there.url("query"), asked, limit=10)
        assert [one.name for one in found] == ["GET /pay", "JedisPool.getResource"]
        whole = trace_of_jaeger(there.url("query"), b"\x11" * 16)
        root = next(one for one in whole if not one.parent_id)
        assert (root.status, root.message, root.kind) == (Status.ERROR, "no connection", Kind.SERVER)
        assert (root.end_ns - root.start_ns, root.attributes["http.status_code"]) == (4 * 10**9, 503)
        assert [one.name for one in root.events] == ["exception"]
        answer = subprocess.run(
            [*COMMAND, "traces", "query", "service=payment-gateway AND status=error", "--jaeger", there.url("query"), "--json"],
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GO_CACHE_SAFEGUARD_STATE_DIR": str(tmp_path)},
            capture_output=True, check=True, timeout=60,
        )  # fmt: skip
        assert [one["trace"] for one in json.loads(answer.stdout)["spans"]] == ["11" * 16]


@pytest.mark.parametrize("question", ["service=nobody", "service=users AND duration>3000ms"])
def test_jaeger_finds_nothing_where_there_is_nothing(tmp_path: Path, question: str) -> None:
    file = tmp_path / "strategies.json"
    file.write_text(json.dumps(strategies(RULES, 1.0)))
    with started("jaeger", jaeger(file), tmp_path, *PORTS) as there:
        there.send(_spans(time.time_ns()))
        wait_until(
            "Jaeger has no trace", lambda: ask_jaeger(there.url("query"), parse_query("service=users"), limit=10)
        )
        assert ask_jaeger(there.url("query"), parse_query(question), limit=10) == ()
