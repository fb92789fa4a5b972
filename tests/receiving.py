"""The receiver of spans as a process of its own, for tests."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safeguard import COMMAND

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


@dataclass(frozen=True, slots=True)
class Receiving:
    """A receiver that listens.

    Attributes:
        process: It.
        http: Its URL for OTLP over HTTP.
        grpc: Its address for OTLP over gRPC.
        state: Its state directory.
        environ: What commands beside it are started with.
    """

    process: "subprocess.Popen[str]"
    http: str
    grpc: str
    state: Path
    environ: dict[str, str]

    @property
    def store(self) -> Path:
        """Its file of spans."""
        return self.state / "signals" / "spans.sqlite"

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send it a signal; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(30)


def run(environ: dict[str, str], *arguments: str, code: int = 0) -> str:
    """Run the command; what it printed."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done.stdout if code == 0 else done.stderr


def document(environ: dict[str, str], *arguments: str) -> dict[str, Any]:
    """Run the command with `--json`; the document."""
    found: dict[str, Any] = json.loads(run(environ, *arguments, "--json"))
    return found


def environ_of(state: Path, **settings: str) -> dict[str, str]:
    """What commands are started with."""
    return {
        **os.environ,
        "GO_CACHE_SAFEGUARD_STATE_DIR": str(state),
        "PYTHONPATH": str(Path(__file__).resolve().parents[1] / "src"),
        # Spans of tests are of a fixed day.
        "GO_CACHE_SAFEGUARD_SIGNALS_NEW": "9999d",
        "GO_CACHE_SAFEGUARD_SIGNALS_KEEP": "9999d",
        **settings,
    }


@contextmanager
def receiver(state: Path, **settings: str) -> Iterator[Receiving]:
    """Start a receiver; stop it at the end if it still runs."""
    environ = environ_of(state, **settings)
    command = [*COMMAND, "traces", "receive", "--http", "0", "--grpc", "0", "--json"]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            told = json.loads(process.stdout.readline())
            yield Receiving(process, told["http"], told["grpc"], state, environ)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(30)
