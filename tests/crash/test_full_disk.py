"""Disks that are full, at every page, or cannot be written: a typed failure, a hint, and every entry in exactly one place.

Each test runs in a process of its own with an own mount namespace, so that no mount is seen elsewhere or survives.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gocaches import PINNED, at, find_toolchain
from safeguard import Safeguard
from smallcaches import SmallCache, entries, small_cache

QUICK = ("--proof", "none", "--checks", "permissions")
FREE = {"GO_CACHE_SAFEGUARD_POLICY_HOLD_SHARE": "100%"}
PAGE = 4096


def mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *arguments], check=True)


def tmpfs(directory: Path, options: str) -> Path:
    """Mount an empty file system of this size."""
    directory.mkdir(exist_ok=True)
    mount("-t", "tmpfs", "-o", f"mode=700,{options}", "tmpfs", directory)
    return directory


def fill(directory: Path, *, leave: int = 0) -> Path:
    """Take all room but so many pages."""
    ballast = directory / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(PAGE)):
                pass
        except OSError:
            file.truncate(max(0, file.tell() // PAGE - leave) * PAGE)
    return ballast


def guard_of(base: Path, cache: SmallCache) -> Safeguard:
    paths = at(base, find_toolchain(PINNED[-1]))
    for folder in (paths.module, base / "home"):
        folder.mkdir(exist_ok=True)
    paths.environ["GOCACHE"] = f"{cache.root}"
    return Safeguard(paths, base / "state", dict(FREE))


def refused(guard: Safeguard, cache: SmallCache, *codes: int) -> str:
    """Clean; it must fail in one of these ways, speak well, and leave every entry in the cache. Gives what it said."""
    done = guard.run("clean", "--all", *QUICK)
    assert done.returncode in codes, (done.returncode, done.stderr)
    assert "Traceback" not in done.stderr
    assert "hint: " in done.stderr
    assert entries(cache.root) == cache.contents
    return done.stderr


def a_full_state_directory_moves_nothing(base: Path) -> None:
    cache = small_cache(base / "cache")
    fill(tmpfs(base / "state", "size=64k"))
    refused(guard_of(base, cache), cache, 33)
    assert not list(cache.place.glob("op_*"))


def a_state_directory_that_fills_up_at_any_page_loses_nothing(base: Path) -> None:
    state = tmpfs(base / "state", "size=1m")
    codes = []
    for leave in range(4, 60, 4):
        cache = small_cache(base / f"{leave}/cache")
        guard = guard_of(base, cache)
        for file in (*state.glob("*.*"), *state.glob("*/*")):
            file.unlink()
        ballast = fill(state, leave=leave)
        done = guard.run("clean", "--all", *QUICK)
        codes.append(done.returncode)
        assert "Traceback" not in done.stderr
        assert done.returncode in {0, 33}, (leave, done.returncode, done.stderr)
        away = {name: content for op in cache.place.glob("op_*") for name, content in entries(op / "files").items()}
        live = entries(cache.root)
        assert not live.keys() & away.keys()
        assert live | away == cache.contents
        if done.returncode:
            assert not away or "its entries are in quarantine" in done.stderr, done.stderr
            assert "hint: " in done.stderr
        ballast.unlink()
        recovered = guard.run("recover", "--proof", "none")
        assert recovered.returncode == 0, recovered.stderr
        assert guard.run("audit", "verify").returncode == 0
        for operation in guard.json("ops", "list", "--all")["operations"]:
            if operation["state"] == "DONE":
                guard.json("undo", operation["op"], "--proof", "none")
        assert entries(cache.root) == cache.contents
    assert codes[0] == 33
    assert codes[-1] == 0


def a_full_disk_under_the_cache_moves_nothing(base: Path) -> None:
    disk = tmpfs(base / "disk", "size=1m")
    cache = small_cache(disk / "cache")
    fill(disk)
    refused(guard_of(base, cache), cache, 20, 36)


def a_disk_without_room_for_the_quarantine_moves_nothing(base: Path) -> None:
    disk = tmpfs(base / "disk", "size=1m,nr_inodes=64")
    cache = small_cache(disk / "cache")
    guard = guard_of(base, cache)
    number = 0
    while True:
        try:
            (disk / f"{number}").mkdir()
        except OSError:
            break
        number += 1
    refused(guard, cache, 36)
    for leave in range(number - 1, number - 8, -1):
        (disk / f"{leave}").rmdir()
        done = guard.run("clean", "--all", *QUICK)
        assert done.returncode in {0, 20, 21, 36}, done.stderr
        assert "Traceback" not in done.stderr
        assert guard.run("recover", "--proof", "none").returncode == 0
        for operation in guard.json("ops", "list", "--all")["operations"]:
            if operation["state"] == "DONE":
                guard.json("undo", operation["op"], "--proof", "none")
        assert entries(cache.root) == cache.contents


def a_read_only_cache_is_left_alone(base: Path) -> None:
    (base / "disk").mkdir()
    cache = small_cache(base / "disk/cache")
    mount("--bind", base / "disk", base / "disk")
    mount("-o", "remount,bind,ro", base / "disk")
    guard = guard_of(base, cache)
    refused(guard, cache, 11)
    guard.settings["GO_CACHE_SAFEGUARD_POLICY_ON_BLOCK"] = "allow"
    refused(guard, cache, 36)


def a_cache_that_becomes_read_only_can_be_undone_later(base: Path) -> None:
    (base / "disk").mkdir()
    cache = small_cache(base / "disk/cache")
    guard = guard_of(base, cache)
    mount("--bind", base / "disk", base / "disk")
    op = guard.json("clean", "--all", *QUICK)["op"]
    mount("-o", "remount,bind,ro", base / "disk")
    done = guard.run("undo", op, "--proof", "none")
    assert done.returncode in {20, 23, 36}, (done.returncode, done.stderr)
    assert "Traceback" not in done.stderr
    assert "hint: " in done.stderr
    mount("-o", "remount,bind,rw", base / "disk")
    assert guard.run("recover", "--proof", "none").returncode == 0
    if entries(cache.root) != cache.contents:
        guard.json("undo", op, "--proof", "none")
    assert entries(cache.root) == cache.contents


def a_read_only_state_directory_moves_nothing(base: Path) -> None:
    cache = small_cache(base / "cache")
    tmpfs(base / "state", "size=1m,ro")
    refused(guard_of(base, cache), cache, 33)
    assert not list(cache.place.glob("op_*"))


STORIES: tuple[Callable[[Path], None], ...] = (
    a_full_state_directory_moves_nothing,
    a_state_directory_that_fills_up_at_any_page_loses_nothing,
    a_full_disk_under_the_cache_moves_nothing,
    a_disk_without_room_for_the_quarantine_moves_nothing,
    a_read_only_cache_is_left_alone,
    a_cache_that_becomes_read_only_can_be_undone_later,
    a_read_only_state_directory_moves_nothing,
)


@pytest.mark.crash
@pytest.mark.root
@pytest.mark.parametrize("name", [story.__name__ for story in STORIES])
def test_on_its_own_mounts(name: str, tmp_path: Path) -> None:
    code = f"import pathlib, sys; from crash import test_full_disk as t; t.{name}(pathlib.Path(sys.argv[1]))"
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        ["unshare", "-m", sys.executable, "-c", code, tmp_path],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
