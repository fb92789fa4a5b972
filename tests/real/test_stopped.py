"""Work in a scratch place that is told to end, as a CI system ends a job: nothing of it is left, no file and no process."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from gocaches import PINNED, at, find_toolchain
from safeguard import COMMAND, Safeguard

pytestmark = pytest.mark.real
FILES = {
    "go.mod": "module example.com/m\n\ngo 1.21\n",
    "lib/lib.go": "package lib\n\nfunc Number() int { return 1 }\n",
    "main.go": 'package main\n\nimport (\n\t"fmt"\n\n\t"example.com/m/lib"\n)\n\nfunc main() { fmt.Println(lib.Number()) }\n',
}
LONGEST_S = 60


@pytest.fixture
def guard(tmp_path: Path) -> Safeguard:
    cache = at(tmp_path, find_toolchain(PINNED[-1]))
    for name, text in FILES.items():
        (cache.module / name).parent.mkdir(parents=True, exist_ok=True)
        (cache.module / name).write_text(text)
    for folder in ("home", "scratch"):
        (tmp_path / folder).mkdir()
    return Safeguard(cache, tmp_path / "state", {"TMPDIR": str(tmp_path / "scratch")})


def started_below(scratch: Path) -> list[str]:
    """Command lines of processes that were started with a directory below in their environment, us apart."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environ, line = (process / "environ").read_bytes(), (process / "cmdline").read_bytes()
        except OSError:
            continue  # it ended meanwhile
        if f"{scratch}/go-cache-safeguard-".encode() in environ:
            found.append(line.replace(b"\0", b" ").decode())
    return found


@pytest.mark.parametrize(
    "words", [("matrix", "--dimension", "body", "--no-cgo"), ("pollution", "--rounds", "1"), ("graph", "--measure")]
)
def test_work_that_is_ended_leaves_no_process_and_no_scratch(guard: Safeguard, words: tuple[str, ...]) -> None:
    scratch = Path(guard.settings["TMPDIR"])
    go = guard.cache.toolchain.go
    named = ("--go", str(go)) if words[0] != "graph" else ()
    child = subprocess.Popen(
        [*COMMAND, *words, *named, "-q"],
        cwd=guard.cache.module,
        env=guard.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + LONGEST_S
    while not any("/compile " in line for line in started_below(scratch)):
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGTERM)
    assert child.wait(LONGEST_S) == 130
    assert list(scratch.iterdir()) == []
    while left := started_below(scratch):  # killed, and perhaps not gone yet
        assert time.monotonic() < deadline + LONGEST_S, left
        time.sleep(0.02)
