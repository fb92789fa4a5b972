"""The workflows to copy are what `ci lint` asks for."""

import os
import shutil
import subprocess
from pathlib import Path

from safeguard import COMMAND

DEPLOY = Path(__file__).resolve().parents[2] / "deploy" / "ci"


def test_our_own_workflows_have_nothing_that_the_rules_find(tmp_path: Path) -> None:
    (tmp_path / ".github" / "workflows").mkdir(parents=True)
    shutil.copy(DEPLOY / "github.yml", tmp_path / ".github" / "workflows" / "test.yml")
    shutil.copy(DEPLOY / "gitlab.yml", tmp_path / ".gitlab-ci.yml")
    environ = {**os.environ, "GO_CACHE_SAFEGUARD_STATE_DIR": f"{tmp_path}/state"}
    told = subprocess.run(
        [*COMMAND, "ci", "lint"], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stdout
    assert "2 files, 2 places that keep a Go cache, 0 findings" in told.stdout
