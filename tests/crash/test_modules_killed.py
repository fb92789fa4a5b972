"""The door is killed at every system call that changes a module cache: nothing is lost, no tree stays writable, nothing is stuck.

One run per kind of act and kind of call, see `test_quarantine_killed`. `modules_driver` tells what must hold after each death.
"""

from pathlib import Path

import pytest

from killing import run_killed

DRIVER = Path(__file__).with_name("modules_driver.py")

CALLS = {
    "take": ["mkdirat", "fchmod", "renameat2", "fsync"],
    "put_back": ["fchmod", "renameat2", "fsync"],
    "merge": ["renameat2"],
    "purge": ["fchmod", "unlinkat"],
    "repair": ["renameat2", "fchmod", "pwrite64"],
    "undo": ["renameat2", "pwrite64"],
}


@pytest.mark.crash
@pytest.mark.root
@pytest.mark.parametrize(("act", "call"), [(act, call) for act, calls in CALLS.items() for call in calls])
def test_killed_at_every_call_nothing_is_lost(act: str, call: str, memory: Path) -> None:
    run_killed(DRIVER, act, call, memory)
