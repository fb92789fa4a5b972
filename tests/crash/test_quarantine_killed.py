"""The door is killed at every system call that changes something, in every act: nothing is lost, nothing is stuck.

One run per kind of act and kind of call; within it the act is killed at its first such call, its second, and so on until it comes to
its end. `quarantine_driver` tells how, and what must hold after each death.
"""

from pathlib import Path

import pytest

from killing import run_killed

DRIVER = Path(__file__).with_name("quarantine_driver.py")

CALLS = {
    "take": ["mkdirat", "openat2", "pwrite64", "ftruncate", "fsync", "renameat", "fchmod"],
    "take_most": ["openat2", "renameat"],
    "put_back": ["openat2", "utimensat", "renameat", "pwrite64", "ftruncate", "fsync"],
    "merge": ["openat2", "utimensat", "renameat2", "pwrite64", "fsync"],
    "purge": ["openat2", "unlinkat", "fsync"],
}


@pytest.mark.crash
@pytest.mark.root
@pytest.mark.parametrize(("act", "call"), [(act, call) for act, calls in CALLS.items() for call in calls])
def test_killed_at_every_call_nothing_is_lost(act: str, call: str, memory: Path) -> None:
    run_killed(DRIVER, act, call, memory)
