"""`gotool.processes` against real processes: a copy of `sleep` under the name of go or of its tools. Real go: tests/real."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from go_cache_safeguard.gotool import processes as module
from go_cache_safeguard.gotool.processes import GoProcess, ProcessScan, Why, scan_go_processes, still_alive, wait_for

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    root = tmp_path / "home/.cache/go-build"
    (root / "ab").mkdir(parents=True)
    return root


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a sleeping process whose program has this name; all are ended after the test."""
    with ExitStack() as stack:

        def run(
            name: str, environ: Mapping[str, str], *args: str, stdin: int | None = None
        ) -> "subprocess.Popen[bytes]":
            program = tmp_path / name
            program.parent.mkdir(parents=True, exist_ok=True)
            if not program.exists():
                shutil.copy("/bin/sleep", program)
            child = subprocess.Popen((program, *(args or ("1000",))), env=environ, cwd=tmp_path, stdin=stdin)
            stack.callback(child.wait)
            stack.callback(child.kill)
            return child

        yield run


def whys(scan: ProcessScan) -> dict[int, Why]:
    return {process.pid: process.why for process in scan.found}


def test_a_go_command_with_this_cache_in_its_environment_counts(cache: Path, start: Start) -> None:
    child = start("bin/go", {"GOCACHE": str(cache)})
    scan = scan_go_processes(cache)
    assert whys(scan) == {child.pid: Why.ENVIRONMENT}
    process = scan.found[0]
    assert (process.name, process.cwd) == ("go", str(cache.parents[2]))
    assert process.command.endswith("bin/go 1000")
    assert process.age_s < 60


def test_a_go_command_with_another_cache_does_not_count(cache: Path, tmp_path: Path, start: Start) -> None:
    start("bin/go", {"GOCACHE": str(tmp_path / "other"), "HOME": str(tmp_path / "home")})
    start("bin/go", {"GOCACHE": "off", "HOME": str(tmp_path / "home")})
    start("bin/go", {"HOME": "/nowhere"})
    start("bin/go", {"UNRELATED": "1"})
    assert scan_go_processes(cache).found == ()


def test_the_default_place_is_found_as_go_finds_it(cache: Path, tmp_path: Path, start: Start) -> None:
    (tmp_path / "env").write_text(f"GOCACHE={cache}\n")
    by_home = start("bin/go", {"HOME": str(tmp_path / "home")})
    by_xdg = start("bin/go", {"XDG_CACHE_HOME": str(tmp_path / "home/.cache")})
    by_file = start("bin/go", {"HOME": "/nowhere", "GOENV": str(tmp_path / "env")})
    assert whys(scan_go_processes(cache)) == dict.fromkeys(
        sorted((by_home.pid, by_xdg.pid, by_file.pid)), Why.DEFAULT_CACHE
    )


def test_the_cache_is_recognised_under_another_name(cache: Path, tmp_path: Path, start: Start) -> None:
    (tmp_path / "link").symlink_to(cache)
    child = start("bin/go", {"GOCACHE": f"{tmp_path}/link/."})
    assert whys(scan_go_processes(cache)) == {child.pid: Why.ENVIRONMENT}


def test_a_cache_that_does_not_exist_yet_is_compared_by_name(tmp_path: Path, start: Start) -> None:
    child = start("bin/go", {"GOCACHE": f"{tmp_path}/later/"})
    assert whys(scan_go_processes(tmp_path / "later")) == {child.pid: Why.ENVIRONMENT}


@pytest.mark.parametrize(
    "name",
    ["go/pkg/tool/linux_amd64/compile", "go/pkg/tool/linux_amd64/link", "x/a.test", "tmp/go-build123/b001/exe/app"],
)
def test_a_tool_a_test_and_a_program_of_go_run_count_with_this_cache_only(
    cache: Path, start: Start, name: str, tmp_path: Path
) -> None:
    child = start(name, {"GOCACHE": str(cache)})
    start(name, {"GOCACHE": str(tmp_path / "other")})
    start(name, {"HOME": str(tmp_path / "home")})
    assert whys(scan_go_processes(cache)) == {child.pid: Why.ENVIRONMENT}


def test_a_linter_that_reads_export_files_counts_and_an_editors_server_does_not(
    cache: Path, tmp_path: Path, start: Start
) -> None:
    home = {"HOME": str(tmp_path / "home")}
    linters = [start("bin/golangci-lint", home).pid, start("bin/staticcheck", home).pid]
    start("bin/gopls", {**home, "GOCACHE": str(cache)})
    assert sorted(whys(scan_go_processes(cache))) == sorted(linters)


def test_a_shell_that_only_has_the_variable_does_not_count(cache: Path, start: Start) -> None:
    start("bin/bash", {"GOCACHE": str(cache)})
    assert scan_go_processes(cache).found == ()


def test_children_of_a_counted_go_command_count_whatever_their_name(cache: Path, tmp_path: Path, start: Start) -> None:
    shutil.copy("/bin/sh", tmp_path / "go")
    parent = start("go", {"GOCACHE": str(cache), "PATH": "/usr/bin:/bin"}, "-c", "sleep 1000 & wait")
    deadline = time.monotonic() + 30
    # Until it has become `sleep`, the child is another `go` with the same environment.
    while Why.CHILD not in (found := whys(scan_go_processes(cache))).values() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert found.pop(parent.pid) is Why.ENVIRONMENT
    assert list(found.values()) == [Why.CHILD]
    os.kill(next(iter(found)), signal.SIGKILL)


def test_whoever_has_a_file_of_the_cache_open_counts(cache: Path, start: Start) -> None:
    entry = cache / "ab/file"
    entry.write_bytes(b"x")
    with entry.open() as file:
        child = start("reader", {}, stdin=file.fileno())
    assert whys(scan_go_processes(cache)) == {child.pid: Why.OPEN_FILE}


def test_whoever_has_a_file_of_the_cache_mapped_counts(cache: Path, tmp_path: Path) -> None:
    entry, ready = cache / "ab/file", tmp_path / "ready"
    entry.write_bytes(b"x" * 5000)
    code = (
        "import ctypes, os, time; libc = ctypes.CDLL(None); libc.mmap.restype = ctypes.c_void_p;"
        f"fd = os.open({str(entry)!r}, os.O_RDONLY); libc.mmap(None, 5000, 1, 2, fd, 0); os.close(fd);"
        f"open({str(ready)!r}, 'w'); time.sleep(1000)"
    )
    child = subprocess.Popen((sys.executable, "-c", code))
    try:
        while not ready.exists():
            time.sleep(0.01)
        assert whys(scan_go_processes(cache)) == {child.pid: Why.MAPPED_FILE}
    finally:
        child.kill()
        child.wait()


def test_a_program_that_lies_in_the_cache_counts(cache: Path, start: Start) -> None:
    child = start(f"home/.cache/go-build/ab/ab{'0' * 62}-d/tool", {})
    assert whys(scan_go_processes(cache))[child.pid] is Why.PROGRAM


def test_neither_we_nor_our_ancestors_count_and_a_go_that_started_us_is_noted(cache: Path, tmp_path: Path) -> None:
    shutil.copy("/bin/sh", tmp_path / "go")
    code = (
        "from pathlib import Path; from go_cache_safeguard.gotool.processes import scan_go_processes; "
        f"scan = scan_go_processes(Path({str(cache)!r})); print(len(scan.found), *scan.notes)"
    )
    environ = {**os.environ, "GOCACHE": str(cache), "OURS": sys.executable, "CODE": code}
    done = subprocess.run(
        (tmp_path / "go", "-c", '"$OURS" -c "$CODE"; true'), env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("0 ")
    assert "started by a go command" in done.stdout


def test_what_has_ended_and_a_number_that_was_given_again_are_not_alive(cache: Path, start: Start) -> None:
    child = start("bin/go", {"GOCACHE": str(cache)})
    found = scan_go_processes(cache).found
    assert still_alive(found) == found
    same_number = GoProcess(**{name: getattr(found[0], name) for name in GoProcess.__slots__} | {"start_ticks": 1})
    assert still_alive((same_number,)) == ()
    child.kill()
    child.wait()
    assert still_alive(found) == ()


def test_an_ended_process_that_nobody_reaped_is_not_alive(cache: Path, start: Start) -> None:
    child = start("bin/go", {"GOCACHE": str(cache)})
    found = scan_go_processes(cache).found
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert still_alive(found) == ()
    assert scan_go_processes(cache).found == ()


def test_waiting_ends_when_all_have_ended_and_tells_who_is_left(cache: Path, start: Start) -> None:
    children = [start("bin/go", {"GOCACHE": str(cache)}) for _ in range(2)]
    told: list[int] = []

    def tick(left: tuple[GoProcess, ...]) -> None:
        told.append(len(left))
        if children:
            children.pop().kill()

    assert wait_for(scan_go_processes(cache).found, timeout_s=60, tick=tick) == ()
    assert told[0] == 2
    assert told[-1] == 1


def test_waiting_is_bounded(cache: Path, start: Start) -> None:
    start("bin/go", {"GOCACHE": str(cache)})
    found = scan_go_processes(cache).found
    assert wait_for(found, timeout_s=0.1, tick=lambda _: None) == found
    assert wait_for((), timeout_s=60, tick=lambda _: None) == ()


def test_waiting_works_without_pidfd(cache: Path, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    child = start("bin/go", {"GOCACHE": str(cache)})
    slept: list[float] = []

    def no_pidfd(_pid: int) -> int:
        raise OSError

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

    monkeypatch.setattr(os, "pidfd_open", no_pidfd)
    assert wait_for(scan_go_processes(cache).found, timeout_s=60, tick=lambda _: None, sleep=sleep) == ()
    assert slept == [0.05]


def fake(proc: Path, pid: int, *, name: str = "go", parent: int = 1, flags: int = 0, state: str = "S") -> Path:
    """A process as /proc shows it; nothing of it can be read but what everybody may read."""
    folder = proc / str(pid)
    folder.mkdir(parents=True)
    fields = [state, str(parent), *["0"] * 4, str(flags), *["0"] * 10, "1", "0", "4711", *["0"] * 30]
    (folder / "environ").mkdir()
    (folder / "stat").write_text(f"{pid} ({name}) {' '.join(fields)}")
    (folder / "cmdline").write_bytes(f"{name}\0build\x1b[2J\0".encode())
    return folder


def test_a_go_command_that_cannot_be_read_counts_and_other_blind_ones_are_numbered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proc = tmp_path / "proc"
    for pid, name in ((1, "init"), (7, "go"), (8, "daemon"), (9, "link")):
        fake(proc, pid, name=name)
    (proc / "9/cmdline").write_bytes(b"/usr/lib/go/pkg/tool/linux_amd64/link\0")

    def refused(_folder: str) -> Iterator[str]:
        raise PermissionError

    monkeypatch.setattr(module, "_links", refused)
    scan = scan_go_processes(tmp_path / "cache", proc=proc)
    assert whys(scan) == {7: Why.UNREADABLE, 9: Why.UNREADABLE}
    assert scan.blind == 2
    assert scan.found[0].command == "go build�[2J"
    assert any("container" in note for note in scan.notes)


def test_a_go_command_that_ended_while_we_looked_does_not_count(tmp_path: Path) -> None:
    (fake(tmp_path / "proc", 7) / "environ").rmdir()
    assert scan_go_processes(tmp_path / "cache", proc=tmp_path / "proc").found == ()


def test_a_go_command_that_shows_no_environment_at_all_counts(cache: Path, start: Start) -> None:
    child = start("bin/go", {})
    assert whys(scan_go_processes(cache)) == {child.pid: Why.UNREADABLE}


def test_threads_of_the_kernel_and_ended_processes_are_no_processes(tmp_path: Path) -> None:
    proc = tmp_path / "proc"
    fake(proc, 2, flags=0x00200000)
    fake(proc, 3, state="Z")
    (proc / "4").mkdir()
    scan = scan_go_processes(tmp_path / "cache", proc=proc)
    assert (scan.found, scan.blind) == ((), 0)
    assert any("hidepid" in note for note in scan.notes)
