"""A checkpoint is killed at every system call that changes something: no history is broken, and the next one is signed.

Full disks: the operation ends well, what is left of a line is taken back, and it is signed when there is room again.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from killing import run_killed

DRIVER = Path(__file__).with_name("checkpoint_driver.py")

CALLS = {
    "first": ["write", "fsync", "renameat", "ftruncate", "pwrite64"],
    "next": ["write", "fsync", "flock"],
    "rotate": ["write", "fsync", "renameat", "pwrite64"],
}


@pytest.mark.crash
@pytest.mark.root
@pytest.mark.parametrize(("act", "call"), [(act, call) for act, calls in CALLS.items() for call in calls])
def test_killed_at_every_call_the_next_checkpoint_is_signed(act: str, call: str, memory: Path) -> None:
    run_killed(DRIVER, act, call, memory)


FULL = """
import sys
from dataclasses import replace
from pathlib import Path
from auditing import audited, session_at, write_operation
from crash.test_full_disk import fill, tmpfs
from flows.test_checkpoint import Listening

base = Path(sys.argv[1])
session = replace(session_at(base), progress=Listening())
write_operation(session, 1)
disk = session.state_dir / "checkpoints"
files = {path.name: path.read_bytes() for path in disk.iterdir()}
tmpfs(disk, "size=1m")
for name, data in files.items():
    (disk / name).write_bytes(data)
    (disk / name).chmod(0o600)
seals = next(disk.glob("*.jsonl"))
ballast = fill(disk)
before, told = seals.read_bytes(), 0
for number in range(2, 14):
    write_operation(session, number)
    if session.progress.said[told:]:
        break
    before = seals.read_bytes()
else:
    raise SystemExit("the disk was never full")
assert "No space left" in session.progress.said[-1], session.progress.said
assert seals.read_bytes() == before, "something is left of a line"
assert audited(session).breaks == ()
ballast.unlink()
write_operation(session, 99)
found = audited(session)
assert (found.breaks, found.doubts, found.signed) == ((), (), found.records), found
"""


@pytest.mark.crash
@pytest.mark.root
def test_a_full_disk_costs_a_checkpoint_and_nothing_else(tmp_path: Path) -> None:
    done = subprocess.run(
        ["unshare", "--mount", sys.executable, "-c", FULL, tmp_path],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
