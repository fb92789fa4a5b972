"""A restore is killed at every system call that changes something: only whole files have names, and the same command goes on.

Between two such calls nothing on the disk moves, so to be killed there is to be killed at the next one. An open with O_TMPFILE makes a
file that nobody can see; the kill at the first `write` after it is the kill with that file open. `openat2` enters
directories, ours and the quarantine's; it is killed besides.
"""

from pathlib import Path

import pytest

from killing import run_killed

DRIVER = Path(__file__).with_name("restore_driver.py")
CALLS = ["linkat", "openat2", "utimensat", "write", "mkdirat", "syncfs", "fsync", "pwrite64", "ftruncate"]


@pytest.mark.crash
@pytest.mark.root
@pytest.mark.parametrize(
    ("act", "call"), [("empty", call) for call in CALLS] + [("merge", call) for call in ("linkat", "utimensat")]
)
def test_killed_at_every_call_a_restore_leaves_whole_files_and_goes_on(act: str, call: str, memory: Path) -> None:
    run_killed(DRIVER, act, call, memory)
