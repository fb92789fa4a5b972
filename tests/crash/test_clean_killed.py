"""Whole stories are killed at every system call that changes something: nothing is lost, and `recover` brings everything to an end.

Clean, undo, purge, and `recover` after each of them was cut short. `story_driver` tells how, and what must hold after each death:
each planned entry in exactly one place, a whole journal, every operation at an end after one `recover`, nothing left to do for a
second one, no lock, and every byte back after an undo.
"""

from pathlib import Path

import pytest

from killing import PRIVATE, run_killed

DRIVER = Path(__file__).with_name("story_driver.py")

JOURNAL = ["pwrite64", "renameat", "unlink"]
"""SQLite and the head file. A kill before an fsync leaves what a kill before the next change does: two stories show that."""
CALLS = {
    "clean": [
        *JOURNAL,
        "mkdir",
        "mkdirat",
        "write",
        "ftruncate",
        "fsync",
        "fdatasync",
        "flock",
        "fchmod",
        "fchown",
        "openat2",
    ],
    "clean_disproved": [*JOURNAL, "mkdirat", "renameat2", "unlinkat"],
    "undo": [*JOURNAL, "mkdirat", "renameat2", "unlinkat", "utimensat", "ftruncate", "fsync"],
    "undo_merge": ["pwrite64", "renameat", "mkdirat", "renameat2", "utimensat"],
    "purge": [*JOURNAL, "unlinkat"],
    "recover_removing": [*JOURNAL, "renameat2", "unlinkat"],
    "recover_waiting": ["pwrite64", "renameat", "mkdirat"],
    "recover_proving": ["pwrite64", "renameat"],
    "recover_undoing": ["pwrite64", "renameat", "renameat2", "unlinkat"],
    "recover_purging": [*JOURNAL, "unlinkat"],
}


@pytest.mark.crash
@pytest.mark.root
@pytest.mark.parametrize(("act", "call"), [(act, call) for act, calls in CALLS.items() for call in calls])
def test_killed_at_every_call_the_story_still_comes_to_a_good_end(act: str, call: str, memory: Path) -> None:
    run_killed(DRIVER, act, call, memory, within=PRIVATE)
