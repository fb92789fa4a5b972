"""Real Collectors and a real Jaeger for tests: each with a configuration of its own on free ports, stopped by its pid."""

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from go_cache_safeguard.signals.otlp import encode
from go_cache_safeguard.signals.span import Span
from guardproxy import free_port, wait_until

ENGINES = Path(__file__).parents[1] / ".toolchains/engines"
KEY = "0123456789abcdef"
"""Of hashed attributes."""


def engine(name: str) -> Path:
    """What `make engines` built."""
    found = ENGINES / name
    assert found.exists(), f"{found} is missing: make engines"
    return found


@dataclass(frozen=True, slots=True)
class Engine:
    """A process that listens.

    Attributes:
        process: It.
        ports: By name.
        log: What it says.
    """

    process: "subprocess.Popen[bytes]"
    ports: Mapping[str, int]
    log: Path

    def url(self, name: str = "http") -> str:
        """Of a port."""
        return f"http://127.0.0.1:{self.ports[name]}"

    def send(self, spans: Sequence[Span], at_once: int = 1_000) -> None:
        """By OTLP over HTTP, so many spans in a request."""
        for first in range(0, len(spans), at_once):
            self.post(encode(spans[first : first + at_once]))

    def post(self, body: bytes) -> None:
        """One request."""
        headers = {"content-type": "application/x-protobuf"}
        answer = httpx.post(f"{self.url()}/v1/traces", content=body, headers=headers, timeout=60, trust_env=False)
        assert answer.status_code == 200, answer.text


@contextmanager
def started(name: str, document: Mapping[str, Any], folder: Path, *ports: str, **more: str) -> Iterator[Engine]:
    """Start an engine, and wait until every port of it answers.

    Args:
        name: `collector` or `jaeger`.
        document: Its configuration; each text `{port}` of it is a free port.
        folder: Where its files go.
        ports: Names of ports besides http, grpc and health.
        more: Environment variables.
    """
    names = ("http", "grpc", "health", *ports)
    running = next(one for one in (_launched(name, document, folder, names, more) for _ in range(5)) if one is not None)
    try:
        yield running
    finally:
        running.process.kill()  # it holds nothing that outlives the test, and Jaeger takes ten seconds to say goodbye
        running.process.wait(30)


def _launched(
    name: str, document: Mapping[str, Any], folder: Path, names: Sequence[str], more: Mapping[str, str]
) -> Engine | None:
    """An engine whose every port answers; None if somebody else took one of them meanwhile."""
    given = {port: free_port() for port in names}
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=1_000_000)
    for port, number in given.items():
        text = text.replace(f"{{{port}}}", str(number))
    file, log = folder / f"{name}-{given['http']}.yaml", folder / f"{name}-{given['http']}.log"
    file.write_text(text)
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "GOMAXPROCS": "2", **more}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [engine(name), f"--config=file:{file}"], stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environ
        )
    running = Engine(process, given, log)
    try:
        wait_until(f"{name} does not start", lambda: _ready(running), 60)
    except BaseException:
        process.kill()
        process.wait(30)
        if "address already in use" in log.read_text():
            return None
        raise
    return running


def _ready(running: Engine) -> bool:
    assert running.process.poll() is None, running.log.read_text()[-4000:]
    try:
        return httpx.get(f"{running.url('health')}/status", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def placed(document: Mapping[str, Any], **sampling: Any) -> dict[str, Any]:
    """A compiled configuration for a test: on free ports, without metrics of its own, deciding soon.

    Args:
        document: What `signals.collector` made.
        sampling: Other settings of the sampler.
    """
    found: dict[str, Any] = yaml.safe_load(yaml.safe_dump(document))
    for name, one in found["receivers"]["otlp"]["protocols"].items():
        one["endpoint"] = f"127.0.0.1:{{{name}}}"
    found["extensions"]["health_check"]["endpoint"] = "127.0.0.1:{health}"
    found["service"]["telemetry"] = {"metrics": {"level": "none"}, "logs": {"level": "warn"}}
    if "prometheus" in found["exporters"]:
        found["exporters"]["prometheus"]["endpoint"] = "127.0.0.1:{prometheus}"
        found["connectors"]["spanmetrics"]["metrics_flush_interval"] = "500ms"
    for name, one in found["exporters"].items():
        if name.startswith("otlphttp/"):
            one["compression"] = "none"
    if "tail_sampling" in found["processors"]:
        found["processors"]["tail_sampling"].update({"decision_wait": "1s", **sampling})
    if "batch" in found["processors"]:
        found["processors"]["batch"]["timeout"] = "100ms"
    return found
