"""A real Prometheus and a real Alertmanager for tests: each in a directory of its own, on a free loopback port, stopped by its pid."""

import json
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import quote

from guardproxy import free_port, wait_until

ROOT = Path(__file__).parents[1]
RULES = ROOT / "deploy" / "prometheus" / "go-cache-safeguard.rules.yml"
OPERATIONS = RULES.with_name("go-cache-safeguard-operations.rules.yml")


def program(name: str) -> str:
    """Where a program lies."""
    found = shutil.which(name)
    assert found is not None, f"{name} is missing: run `make setup`"
    return found


def fetched(where: str, path: str) -> Any:
    """A JSON document."""
    with urllib.request.urlopen(f"http://{where}{path}", timeout=10) as answer:
        return json.load(answer)


@contextmanager
def _serving(name: str, folder: Path, where: str, *options: str) -> Iterator[None]:
    with (folder / f"{name}.log").open("ab") as log:
        child = subprocess.Popen(
            [program(name), *options], cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        wait_until(f"{name} is ready: {folder}/{name}.log", lambda: _answers(where), 60)
        assert child.poll() is None
        yield
    finally:
        child.terminate()
        try:
            child.wait(timeout=20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait(timeout=20)


def _answers(where: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{where}/-/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


NOBODY: dict[str, Any] = {"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]}


@contextmanager
def alertmanager(folder: Path, how: dict[str, Any] = NOBODY) -> Iterator[str]:
    """Start one; its address. By default it keeps what it is sent to itself."""
    where = f"127.0.0.1:{free_port()}"
    config = folder / "alertmanager.yml"
    config.write_text(json.dumps(how))
    options = (
        f"--config.file={config}",
        f"--storage.path={folder / 'alerts'}",
        f"--web.listen-address={where}",
        "--cluster.listen-address=",
    )
    with _serving("prometheus-alertmanager", folder, where, *options):
        yield where


@contextmanager
def prometheus(
    folder: Path,
    target: str,
    alerts_to: str,
    *,
    job: str = "go-cache-safeguard-redis",
    rules: Sequence[Path] = (RULES, OPERATIONS),
) -> Iterator[str]:
    """Start one that asks a target every second, by all our rules or others, and keeps exemplars; its address."""
    where = f"127.0.0.1:{free_port()}"
    config = folder / "prometheus.yml"
    config.write_text(
        json.dumps(
            {
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                "rule_files": [str(one) for one in rules],
                "scrape_configs": [{"job_name": job, "static_configs": [{"targets": [target]}]}],
                "alerting": {"alertmanagers": [{"api_version": "v2", "static_configs": [{"targets": [alerts_to]}]}]},
            }
        )
    )
    options = (
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address={where}",
        "--log.level=warn",
        "--enable-feature=exemplar-storage",
    )
    with _serving("prometheus", folder, where, *options):
        yield where


def asked(where: str, query: str) -> list[Any]:
    """What a Prometheus answers to a query."""
    found = fetched(where, f"/api/v1/query?query={quote(query)}")
    assert found["status"] == "success", found
    return list(found["data"]["result"])


def alerts(where: str) -> dict[str, Any]:
    """What an Alertmanager has been told and is not over, by name."""
    return {one["labels"]["alertname"]: one for one in fetched(where, "/api/v2/alerts?active=true")}
