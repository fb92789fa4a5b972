"""A repository outlives kill -9 at every step of a snapshot and of a prune: whatever snapshot is left is whole.

`repository_driver` tells how, and what must hold after each death.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

DRIVER = Path(__file__).with_name("repository_driver.py")


@pytest.mark.crash
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("act", ["first", "second", "prune"])
def test_killed_at_every_step_every_snapshot_that_is_left_is_whole(act: str, when: str, memory: Path) -> None:
    done = subprocess.run(
        [sys.executable, DRIVER, act, when, memory],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 4, "there are fewer steps than there must be"
