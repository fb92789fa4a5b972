"""What tail sampling inside of a process costs, beside recording alone, head sampling and sending everything.

Run: `python benchmarks/sampler.py [--rounds N] [--traces N] [--dry]`. Contenders are processes of their own, by turns, each with the real
SDK and OTLP encoding of what it exports: traces of 8 spans with 4 attributes, 1 % with an error. CPU time of the whole process is
counted, from the first span to the end of the last export; every ordinary trace is offered to the same rules, 5 to 15 %.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from resource import RUSAGE_SELF, getrusage
from threading import Thread
from time import process_time

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, TraceIdRatioBased
from opentelemetry.trace import StatusCode, Tracer

from go_cache_safeguard.telemetry.tail import TailSampler
from page import machine, median, write_section

SPANS = 8
RECORD, HEAD, ALL, SAMPLER, TAIL = (
    "recording alone",
    "head sampling 10 % + batches",
    "everything + batches",
    "tail sampling, nothing encoded",
    "tail sampling",
)


class Encoder(SpanExporter):
    """Encodes, and counts."""

    def __init__(self, *, encodes: bool) -> None:
        self.encodes = encodes
        self.spans = self.size = self.errors = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See `SpanExporter`."""
        self.spans += len(spans)
        self.errors += sum(span.status.status_code is StatusCode.ERROR for span in spans)
        if self.encodes:
            self.size += len(encode_spans(spans).SerializeToString())
        return SpanExportResult.SUCCESS


@dataclass(frozen=True, slots=True)
class Found:
    """What one process measured."""

    cpu_us: float
    share: float
    size: int
    errors: int
    failed: int
    peak_mb: float


def main() -> None:
    """Measure, print, and write the section of docs/benchmarks.md."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--traces", type=int, default=20_000)
    parser.add_argument("--dry", action="store_true", help="print only")
    parser.add_argument("--one", help="a contender, in this process")
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(run(asked.one, asked.traces, asked.threads)))
        return
    text = section(asked.rounds, asked.traces)
    if asked.dry:
        print(text)
    else:
        write_section("sampler", text)


def section(rounds: int, traces: int) -> str:
    """Let the contenders run by turns, and tell."""
    contenders = [(name, 1) for name in (RECORD, HEAD, ALL, SAMPLER, TAIL)] + [(ALL, 4), (TAIL, 4)]
    runs: dict[tuple[str, int], list[Found]] = {contender: [] for contender in contenders}
    for _ in range(rounds):
        for name, threads in contenders:
            command = [sys.executable, __file__, "--one", name, "--traces", str(traces), "--threads", str(threads)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            runs[name, threads].append(Found(**json.loads(done.stdout)))
    base = median([found.cpu_us for found in runs[RECORD, 1]])
    whole = median([float(found.size / max(found.share, 1e-9)) for found in runs[ALL, 1]])
    lines = [
        f"{traces:,} traces of {SPANS} spans, {rounds} rounds by turns, medians. {machine()}",
        "",
        "| how | threads | CPU us/span | over recording | spans/s of a core | spans exported | bytes less | error spans exported | peak MB |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for (name, threads), found in runs.items():
        cpu = median([one.cpu_us for one in found])
        size = median([float(one.size) for one in found])
        kept = f"{sum(one.errors for one in found)} of {sum(one.failed for one in found)}" if name != RECORD else "-"
        lines.append(
            f"| {name} | {threads} | {cpu:.1f} | {cpu - base:.1f} | {1e6 / cpu:,.0f} | {median([one.share for one in found]):.1%} "
            f"| {f'{1 - size / whole:.1%}' if size else '-'} | {kept} | {median([one.peak_mb for one in found]):.0f} |"
        )
    return "\n".join(lines)


def run(name: str, traces: int, threads: int) -> dict[str, float]:
    """One contender, in this process."""
    sampler = TraceIdRatioBased(0.10) if name == HEAD else ALWAYS_ON
    provider = TracerProvider(sampler=sampler, resource=Resource({"service.name": "bench"}), shutdown_on_exit=False)
    exporter = Encoder(encodes=name != SAMPLER)
    if name in {HEAD, ALL}:
        provider.add_span_processor(BatchSpanProcessor(exporter))
    elif name in {SAMPLER, TAIL}:
        provider.add_span_processor(TailSampler(exporter))
    tracer = provider.get_tracer("bench")
    failed = [0] * threads
    begun = process_time()
    workers = [Thread(target=work, args=(tracer, traces // threads, at, failed)) for at in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    provider.force_flush()
    cpu_us = (process_time() - begun) / traces / SPANS * 1e6
    peak_mb = getrusage(RUSAGE_SELF).ru_maxrss / 1024
    provider.shutdown()
    share = exporter.spans / traces / SPANS
    counts = {"size": exporter.size, "errors": exporter.errors, "failed": sum(failed)}
    return {"cpu_us": cpu_us, "share": share, "peak_mb": peak_mb, **counts}


def work(tracer: Tracer, traces: int, seed: int, failed: list[int]) -> None:
    """What a service does."""
    random = Random(seed)  # noqa: S311 - the same errors in every run
    for at in range(traces):
        route: dict[str, str | int] = {
            "http.route": "/pay/{id}",
            "http.request.method": "GET",
            "order": at,
            "zone": "a",
        }
        with tracer.start_as_current_span("GET /pay", attributes=route) as root:
            for step in range(SPANS - 1):
                call: dict[str, str | int] = {
                    "db.system.name": "redis",
                    "db.operation.name": "GET",
                    "step": step,
                    "server.address": "cache-1",
                }
                with tracer.start_as_current_span("redis GET", attributes=call):
                    pass
            if random.random() < 0.01:
                root.set_status(StatusCode.ERROR)
                failed[seed] += 1


if __name__ == "__main__":
    main()
