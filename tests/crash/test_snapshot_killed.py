"""`snapshot create` is killed at every system call that changes something: the archive is complete, or absent and can be made again.

`snapshot_driver` tells how, and what must hold after each death.
"""

from pathlib import Path

import pytest

from killing import run_killed

DRIVER = Path(__file__).with_name("snapshot_driver.py")

CALLS = {
    "create": ["write", "pwrite64", "ftruncate", "fsync", "fchmod", "renameat2"],
    "take_over": ["ftruncate", "write", "pwrite64", "fsync", "fchmod", "renameat2"],
}


@pytest.mark.crash
@pytest.mark.root
@pytest.mark.parametrize(("act", "call"), [(act, call) for act, calls in CALLS.items() for call in calls])
def test_killed_at_every_call_the_archive_is_complete_or_absent(act: str, call: str, memory: Path) -> None:
    run_killed(DRIVER, act, call, memory)
