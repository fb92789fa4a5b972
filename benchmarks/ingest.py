"""How many spans a second one core takes in: from OTLP bytes to rows that are on disk, redacted and counted.

Run: `python benchmarks/ingest.py [--rounds N] [--spans N]`. Requests of 512 spans go through what the receiver does with each:
decode, redact with the package's own rules, count, write, commit. Beside it, by turns in one process: the same bytes as JSON text
into SQLite without any of that (what a few lines of Python would do), and all of the receiver with HTTP around it, where the CPU
time of the client is taken off. CPU seconds, for walls depend on the disk.
"""

import argparse
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
from google.protobuf.json_format import MessageToJson
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from go_cache_safeguard.signals import otlp
from go_cache_safeguard.signals.cover import coverer
from go_cache_safeguard.signals.spanstore import SpanStore
from go_cache_safeguard.telemetry.redact import Redactor
from go_cache_safeguard.telemetry.rules import default_rules
from page import machine, median, verdict, write_section
from telemetry_spans import traces

GOAL = 25_000
REQUEST = 512


def main() -> None:
    """Measure, print, and write the section of docs/benchmarks.md."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--spans", type=int, default=100_000)
    parser.add_argument("--dry", action="store_true", help="print only")
    asked = parser.parse_args()
    text = section(asked.rounds, asked.spans)
    if asked.dry:
        print(text)
    else:
        write_section("ingest", text)


def section(rounds: int, count: int) -> str:
    """Let the contenders run by turns, and tell."""
    spans = [span for trace in traces(count // 8) for span in trace]
    pieces = [sorted(spans[at : at + REQUEST], key=lambda span: span.service) for at in range(0, len(spans), REQUEST)]
    bodies = [otlp.encode(piece) for piece in pieces]
    contenders: dict[str, Callable[[Sequence[bytes], Path], float]] = {
        "decode, redact, count, write, commit": pipeline,
        "the same over HTTP, the whole receiver": over_http,
        "JSON text into SQLite, nothing else": naive,
    }
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            with tempfile.TemporaryDirectory(prefix="ingest-") as folder:
                found[name].append(run(bodies, Path(folder)) / len(spans))
    per_second = {name: 1 / median(values) for name, values in found.items()}
    ours = per_second["the same over HTTP, the whole receiver"]
    lines = [
        f"{len(spans):,} spans in requests of {REQUEST}; {rounds} rounds by turns, medians. {machine()}",
        "",
        "| how | CPU µs a span | spans a second and core |",
        "| --- | ---: | ---: |",
        *(f"| {name} | {1e6 / rate:.1f} | {rate:,.0f} |" for name, rate in per_second.items()),
        "",
        f"Goal, spans a second and core: {verdict(round(ours), GOAL)}.",
    ]
    return "\n".join(lines)


def pipeline(bodies: Sequence[bytes], folder: Path) -> float:
    """What the receiver's thread does; CPU seconds."""
    cover = coverer(Redactor(default_rules().redaction))
    with SpanStore(folder / "spans.sqlite") as store:
        began = time.process_time()
        for body in bodies:
            store.put(cover(otlp.take(body).spans), observe=True)
        return time.process_time() - began


def over_http(bodies: Sequence[bytes], folder: Path) -> float:
    """The whole receiver as a process; its CPU seconds without its start."""
    environ = {**os.environ, "GO_CACHE_SAFEGUARD_STATE_DIR": str(folder), "GO_CACHE_SAFEGUARD_SIGNALS_KEEP": "9999d"}
    environ["GO_CACHE_SAFEGUARD_SIGNALS_NEW"] = "9999d"
    command = [sys.executable, "-m", "go_cache_safeguard", "traces", "receive", "--http", "0", "--grpc", "0"]
    with subprocess.Popen(
        command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        lines = process.stdout or ()
        url = next(iter(lines)).split()[-1]
        before = cpu_s(process.pid)
        with httpx.Client(trust_env=False, timeout=60) as client:
            for body in bodies:
                client.post(url, content=body, headers={"content-type": "application/x-protobuf"}).raise_for_status()
        used = cpu_s(process.pid) - before
        process.terminate()
    return used


def cpu_s(pid: int) -> float:
    """CPU seconds of a process, all of its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def naive(bodies: Sequence[bytes], folder: Path) -> float:
    """Each span as JSON text in a table with the same four columns to look it up by; CPU seconds."""
    db = sqlite3.connect(folder / "naive.sqlite", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE spans (trace TEXT, service TEXT, end_ns INTEGER, duration_ns INTEGER, span TEXT)")
    for columns in ("trace", "service, end_ns", "service, duration_ns"):
        db.execute(f"CREATE INDEX {columns.replace(', ', '_')}_index ON spans ({columns})")
    began = time.process_time()
    for body in bodies:
        request = ExportTraceServiceRequest()
        request.ParseFromString(body)
        rows = [
            (span.trace_id.hex(), group.resource.attributes[0].value.string_value, span.end_time_unix_nano,
             span.end_time_unix_nano - span.start_time_unix_nano, MessageToJson(span, indent=None))
            for group in request.resource_spans
            for scope in group.scope_spans
            for span in scope.spans
        ]  # fmt: skip
        db.execute("BEGIN")
        db.executemany("INSERT INTO spans VALUES (?, ?, ?, ?, ?)", rows)
        db.execute("COMMIT")
    used = time.process_time() - began
    db.close()
    return used


if __name__ == "__main__":
    main()
