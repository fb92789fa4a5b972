"""The door is killed at every system call that changes something, in every act: nothing is lost, nothing is stuck.

One run per kind of act and kind of call; within it the act is killed at its first such call, its second, and so on until it comes to
its end. `quarantine_driver` tells how, and what must hold after each death.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

DRIVER = Path(__file__).with_name("quarantine_driver.py")
LIMIT = 300

CALLS = {
    "take": ["mkdirat", "openat2", "pwrite64", "ftruncate", "fsync", "renameat", "fchmod"],
    "take_most": ["openat2", "renameat"],
    "put_back": ["openat2", "utimensat", "renameat", "pwrite64", "ftruncate", "fsync"],
    "merge": ["openat2", "utimensat", "renameat2", "pwrite64", "fsync"],
    "purge": ["openat2", "unlinkat", "fsync"],
}


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory on tmpfs: every test here makes hundreds of caches, and neither links nor kills ask what a disk does."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        yield Path(directory)


@pytest.mark.crash
@pytest.mark.root
@pytest.mark.parametrize(("act", "call"), [(act, call) for act, calls in CALLS.items() for call in calls])
def test_killed_at_every_call_nothing_is_lost(act: str, call: str, memory: Path) -> None:
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [
            *("strace", "-f", "-qq", "-o", "/dev/null"),
            *("-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={LIMIT}"),
            *(sys.executable, f"{DRIVER}", act, call, f"{memory}"),
        ],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 1, "this act makes no such call: the table is wrong"
