"""Driver programs, killed at each of their system calls of a kind."""

import os
import subprocess
import sys
from pathlib import Path

PRIVATE = ("unshare", "--fork", "--pid", "--mount-proc")
"""Sees no process but its own: a scan for running builds then finds none of other tests."""


def run_killed(driver: Path, act: str, call: str, where: Path, *, within: tuple[str, ...] = ()) -> None:
    """Have a driver do an act again and again, killed at its first, second, third... such call, until it ends unkilled.

    Args:
        driver: The program; it looks at what is left after each kill, and prints how many times it was killed.
        act: What it does.
        call: A system call.
        where: A directory of its own.
        within: A command to run it under.
    """
    done = subprocess.run(
        [*within, sys.executable, driver, act, call, where],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 1, "there is no such call: the table is wrong"
