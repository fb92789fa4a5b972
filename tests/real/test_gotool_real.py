"""`gotool` with real go commands of each toolchain."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from go_cache_safeguard.gotool.actiongraph import NoGraph, parse_action_graph, tools_run
from go_cache_safeguard.gotool.complaint import GocacheOff, GocacheRelative, GoFailed, GoTimedOut
from go_cache_safeguard.gotool.processes import ProcessScan, Why, scan_go_processes, still_alive, wait_for
from go_cache_safeguard.gotool.run import Go
from gocaches import GoCache, Toolchain

pytestmark = pytest.mark.real

SLEEPER = """package main

import (
	"os"
	"time"
)

func main() {
	os.WriteFile(os.Args[1], []byte("running"), 0o644)
	time.Sleep(time.Hour)
}
"""
PATIENCE_S = (0.5, 2, 10, 60)
"""seconds until go is ended: the first that are enough for what hangs to have begun"""


def until(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not what():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


@contextmanager
def group(cache: GoCache, *args: str, cwd: Path, drop: str = "", **more: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A go command in a process group of its own, all of which is ended afterwards."""
    environ = {name: value for name, value in {**cache.environ, **more}.items() if name != drop}
    child = subprocess.Popen((cache.toolchain.go, *args), cwd=cwd, env=environ, process_group=0)
    try:
        yield child
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def sleeper(folder: Path) -> Path:
    folder.mkdir()
    (folder / "sleep.go").write_text(SLEEPER)
    return folder


def wrapper(folder: Path) -> Path:
    """For -toolexec: lets go ask for versions, then sleeps in the place of the first tool."""
    path = folder / "slow-tool"
    path.write_text(f'#!/bin/sh\ncase "$*" in *-V=full*) exec "$@";; esac\ntouch {folder}/running\nsleep 1000\n')
    path.chmod(0o755)
    return path


def whys(scan: ProcessScan) -> list[Why]:
    return [process.why for process in scan.found]


def test_go_tells_about_itself_and_makes_no_directory_for_it(toolchain: Toolchain, tmp_path: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GOENV": "off"}
    found = Go(toolchain.go, environ=environ).env()
    assert (found.version, found.cache, found.toolchain) == (toolchain.version, f"{tmp_path}/.cache/go-build", "local")
    assert (found.os, found.cacheprog) == ("linux", "")
    assert found.env_file in {"off", ""}
    assert not (tmp_path / ".cache").exists()


@pytest.mark.parametrize(
    ("gocache", "failure", "words"),
    [("off", GocacheOff, "required as of Go 1.12"), ("some/where", GocacheRelative, "not an absolute path")],
)
def test_a_cache_that_go_refuses_is_a_failure_that_quotes_go(
    toolchain: Toolchain, tmp_path: Path, gocache: str, failure: type[GocacheOff | GocacheRelative], words: str
) -> None:
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GOCACHE": gocache, "GOENV": "off"}
    with pytest.raises(failure, match=words):
        Go(toolchain.go, environ=environ).env()


def test_go_without_a_home_has_no_cache(toolchain: Toolchain) -> None:
    with pytest.raises(GocacheOff, match="HOME"):
        Go(toolchain.go, environ={"PATH": os.environ["PATH"], "GOENV": "off", "GOPATH": "/nonexistent"}).env()


def test_what_go_says_is_in_the_failure(toolchain: Toolchain, tmp_path: Path) -> None:
    go = Go(toolchain.go, environ={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GOENV": "off"})
    with pytest.raises(GoFailed, match="not defined: -nonsense"):
        go.run(("list", "-nonsense"), cwd=tmp_path).or_fail()


def test_the_graph_tells_a_hit_from_a_compilation(fresh_cache: GoCache, tmp_path: Path) -> None:
    go = Go(fresh_cache.toolchain.go, environ=fresh_cache.environ)
    ran = {}
    for name, flags in (("warm", ()), ("cold", ("-gcflags=-l",))):
        graph = tmp_path / f"{name}.json"
        args = ("build", *flags, f"-debug-actiongraph={graph}", "-o", str(tmp_path / name), ".")
        go.run(args, cwd=fresh_cache.module).or_fail()
        actions = parse_action_graph(graph.read_bytes())
        assert not isinstance(actions, NoGraph)
        assert any(action.mode == "link" and action.cmd and action.cpu_ns for action in actions)
        ran[name] = tools_run(actions)
    assert ran["warm"] == ()
    assert [(action.mode, action.package) for action in ran["cold"]] == [("build", "example.com/m")]
    assert ran["cold"][0].cpu_ns > 0
    entry = next(fresh_cache.root.glob("??/*-a"))
    assert len(ran["cold"][0].action_id) == 20, entry


def test_a_go_run_that_hangs_is_ended_with_its_program_and_leaves_nothing(fresh_cache: GoCache, tmp_path: Path) -> None:
    folder, work = sleeper(tmp_path / "sleeper"), tmp_path / "work"
    work.mkdir()
    go = Go(fresh_cache.toolchain.go, environ={**fresh_cache.environ, "GOTMPDIR": str(work)})
    go.run(("build", "-o", str(tmp_path / "warm"), "sleep.go"), cwd=folder).or_fail()
    marker = tmp_path / "marker"
    for timeout_s in PATIENCE_S:
        with pytest.raises(GoTimedOut):
            go.run(("run", "sleep.go", str(marker)), cwd=folder, timeout_s=timeout_s)
        if marker.exists():
            break
    assert marker.exists()
    assert scan_go_processes(fresh_cache.root).found == ()
    assert list(work.iterdir()) == []


def test_a_go_build_that_hangs_is_ended_with_its_tools(fresh_cache: GoCache, tmp_path: Path) -> None:
    go = Go(fresh_cache.toolchain.go, environ=fresh_cache.environ)
    for timeout_s in PATIENCE_S:
        with pytest.raises(GoTimedOut):
            go.run(("build", "-a", f"-toolexec={wrapper(tmp_path)}", "."), cwd=fresh_cache.module, timeout_s=timeout_s)
        if (tmp_path / "running").exists():
            break
    assert (tmp_path / "running").exists()
    assert scan_go_processes(fresh_cache.root).found == ()


def test_a_running_go_build_and_its_children_are_found_by_the_environment(fresh_cache: GoCache, tmp_path: Path) -> None:
    args = ("build", "-a", f"-toolexec={wrapper(tmp_path)}", ".")
    with group(fresh_cache, *args, cwd=fresh_cache.module) as child:
        until((tmp_path / "running").exists)
        until(lambda: Why.CHILD in whys(scan_go_processes(fresh_cache.root)))
        found = scan_go_processes(fresh_cache.root).found
        assert {process.pid: process.why for process in found}[child.pid] is Why.ENVIRONMENT
        assert scan_go_processes(tmp_path / "other").found == ()
        assert still_alive(found)
    assert wait_for(found, timeout_s=60, tick=lambda _: None) == ()


def test_a_running_go_build_is_found_by_its_default_cache(fresh_cache: GoCache, tmp_path: Path) -> None:
    default = tmp_path / "home/.cache/go-build"
    default.parent.mkdir()
    fresh_cache.root.rename(default)
    args = ("build", "-a", f"-toolexec={wrapper(tmp_path)}", ".")
    with group(fresh_cache, *args, cwd=fresh_cache.module, drop="GOCACHE") as child:
        until((tmp_path / "running").exists)
        found = {process.pid: process.why for process in scan_go_processes(default).found}
        assert found[child.pid] is Why.DEFAULT_CACHE
        assert Why.CHILD in found.values() or Why.ENVIRONMENT in found.values()


def test_a_running_go_run_and_its_program_are_found(fresh_cache: GoCache, tmp_path: Path) -> None:
    folder, marker = sleeper(tmp_path / "sleeper"), tmp_path / "marker"
    with group(fresh_cache, "run", "sleep.go", str(marker), cwd=folder) as child:
        until(marker.exists)
        found = scan_go_processes(fresh_cache.root).found
        assert child.pid in {process.pid for process in found}
        assert len(found) == 2
        assert all(process.age_s < 300 for process in found)


def test_a_tool_whose_go_was_killed_still_counts(fresh_cache: GoCache, tmp_path: Path) -> None:
    """cmd/go gives its children GOCACHE; a compiler that outlives it still writes what the next build will not expect."""
    folder = sleeper(tmp_path / "sleeper")
    marker = tmp_path / "marker"
    with group(fresh_cache, "run", "sleep.go", str(marker), cwd=folder) as child:
        until(marker.exists)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        assert [process.why for process in scan_go_processes(fresh_cache.root).found] in (
            [Why.ENVIRONMENT],
            [Why.PROGRAM],
        )
