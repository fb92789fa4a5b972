"""A service in a process of its own whose sampler drops every trace, and remembers them: its flight recorder can be pulled.

It prints the port of its recorder and the ids of its traces, and ends when its standard input does.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from go_cache_safeguard.telemetry.recorder import listening
from go_cache_safeguard.telemetry.rules import parse_rules
from go_cache_safeguard.telemetry.tail import install

NAME = "dropping"
_NEVER = {"sampling": [{"name": "none", "keep": "never"}]}


def _main(endpoint: str, traces: int) -> None:
    provider = TracerProvider(resource=Resource({"service.name": NAME}))
    sampler = install(parse_rules(_NEVER), exporter=OTLPSpanExporter(endpoint), provider=provider)
    tracer = provider.get_tracer("test")
    ids = []
    for number in range(traces):
        with tracer.start_as_current_span(f"request {number}") as span:
            ids.append(f"{span.get_span_context().trace_id:032x}")
    sampler.force_flush()
    with listening(sampler) as port:
        sys.stdout.write(json.dumps([port, ids]) + "\n")
        sys.stdout.flush()
        sys.stdin.read()
    provider.shutdown()


@dataclass(frozen=True, slots=True)
class Dropping:
    """The service.

    Attributes:
        url: Of its flight recorder.
        traces: What it has dropped.
    """

    url: str
    traces: frozenset[str]


@contextmanager
def dropping(receiver: int, traces: int) -> Iterator[Dropping]:
    """Start one; it has sent what it was asked for when this ends.

    Args:
        receiver: The port of an OTLP receiver on the loopback address.
        traces: How many it drops.
    """
    endpoint = f"http://127.0.0.1:{receiver}/v1/traces"
    with subprocess.Popen(
        [sys.executable, __file__, endpoint, str(traces)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        try:
            port, ids = json.loads(child.stdout.readline())
            yield Dropping(f"http://127.0.0.1:{port}", frozenset(ids))
            child.stdin.close()
            assert child.wait(20) == 0
        except BaseException:
            child.kill()
            raise


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]))
