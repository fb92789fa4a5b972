"""`ci lint` on a repository."""

import json
import os
import subprocess
from pathlib import Path

from safeguard import COMMAND

REPOSITORY = Path(__file__).resolve().parents[2]
BAD = """on: push
jobs:
  a:
    steps:
      - uses: actions/cache@v4
        with: {path: ~/.cache/go-build, key: go}
      - run: go clean -cache
"""


def _lint(where: Path, *args: str) -> "subprocess.CompletedProcess[str]":
    environ = {**os.environ, "GO_CACHE_SAFEGUARD_STATE_DIR": str(where / "state")}
    return subprocess.run(
        [*COMMAND, "ci", "lint", *args], cwd=where, env=environ, capture_output=True, text=True, check=False, timeout=60
    )


def test_a_repository_is_linted_as_text_json_sarif_and_annotations(tmp_path: Path) -> None:
    assert _lint(tmp_path).returncode == 2
    folder = tmp_path / ".github" / "workflows"
    folder.mkdir(parents=True)
    (folder / "ci.yml").write_text(BAD)
    told = _lint(tmp_path)
    assert told.returncode == 10, told.stderr
    assert ".github/workflows/ci.yml:5: warning: frozen-key [a]" in told.stdout
    assert "go-cache-safeguard clean --all" in told.stdout
    document = json.loads(_lint(tmp_path, "--json").stdout)
    assert {"frozen-key", "no-go-in-key", "cleans-past-guard"} == {
        row["rule"] for row in document["files"][0]["findings"]
    }
    sarif = json.loads(_lint(tmp_path, "--sarif").stdout)
    (run,) = sarif["runs"]
    assert {one["ruleId"] for one in run["results"]} <= {one["id"] for one in run["tool"]["driver"]["rules"]}
    assert run["results"][0]["locations"][0]["physicalLocation"]["region"]["startLine"] == 5
    assert "::warning file=.github/workflows/ci.yml,line=5,title=frozen-key::" in _lint(tmp_path, "--github").stdout


def test_what_cannot_be_read_is_unknown_and_never_fine(tmp_path: Path) -> None:
    (tmp_path / ".gitlab-ci.yml").write_text("a: [")
    told = _lint(tmp_path)
    assert told.returncode == 13
    assert "UNKNOWN" in told.stdout
