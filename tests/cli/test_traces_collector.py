"""The rule file, compiled on the command line; tests/engines asks the engines what they make of it."""

import json
import os
import subprocess
from pathlib import Path

import yaml

from safeguard import COMMAND

RULES = Path("docs/signals/rules.yaml").resolve()


def run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "GO_CACHE_SAFEGUARD_STATE_DIR": str(folder / "state")}
    return subprocess.run(
        [*COMMAND, "traces", *arguments],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_configuration_is_written_once_and_never_over_another(tmp_path: Path) -> None:
    asked = ("collector-config", str(RULES), "--tenant", "acme", "-o", "config.yaml")
    assert run(tmp_path, *asked).returncode == 0
    text = (tmp_path / "config.yaml").read_text()
    assert yaml.safe_load(text)["exporters"]["otlphttp/acme"]["headers"] == {"x-tenant-id": "acme"}
    again = run(tmp_path, *asked)
    assert (again.returncode, (tmp_path / "config.yaml").read_text()) == (2, text), again.stderr


def test_what_cannot_be_meant_is_refused(tmp_path: Path) -> None:
    assert "--next" in run(tmp_path, "collector-config", str(RULES), "--tier", "one").stderr
    (tmp_path / "bad.yaml").write_text("sampling:\n  - name: x\n")
    refused = run(tmp_path, "sampling", "bad.yaml")
    assert "bad.yaml:2" in refused.stderr
    made = run(tmp_path, "sampling", str(RULES), "--level", "0", "--json")
    assert json.loads(json.loads(made.stdout)["text"])["default_strategy"]["param"] == 0.05
