"""Targets that are no cache, or that somebody could make into a trap: the right exit code, a reason, a hint, and nothing touched."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from go_cache_safeguard.snapshot.quarantine import open_quarantine
from go_cache_safeguard.tree.root import open_root
from gocaches import PINNED, GoCache, at, copy_cache, find_toolchain
from safeguard import COMMAND, Safeguard, files_of
from smallcaches import ALLOWED, SmallCache, entries, small_cache

QUICK = ("--proof", "none", "--checks", "permissions")
FREE = {"GO_CACHE_SAFEGUARD_POLICY_HOLD_SHARE": "100%"}
NOBODY = 65_534


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every user can enter, unlike those of pytest."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("PYTEST_DEBUG_TEMPROOT")) as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


def guard_of(base: Path, gocache: str) -> Safeguard:
    """The command with this as GOCACHE, and its state below `base`."""
    cache = at(base, find_toolchain(PINNED[-1]))
    for folder in (cache.module, base / "home"):
        folder.mkdir(exist_ok=True)
    environ = {**cache.environ, "GOCACHE": gocache}
    return Safeguard(replace(cache, root=Path(gocache), environ=environ), base / "state", dict(FREE))


def seen(base: Path) -> dict[str, tuple[int, int, int, bytes]]:
    """Every file and directory that is not our own state, with mode, owner, time and content."""
    found = {}
    for path in sorted(base.rglob("*")):
        if path.is_relative_to(base / "state") or path.is_relative_to(base / "home"):
            continue
        at_ = path.lstat()
        found[str(path)] = (at_.st_mode, at_.st_uid, at_.st_mtime_ns, path.read_bytes() if path.is_file() else b"")
    return found


def plain_directory(base: Path) -> str:
    (base / "photos/00").mkdir(parents=True)
    (base / "photos/00/one.jpg").write_bytes(b"precious")
    return f"{base}/photos"


def module_cache(base: Path) -> str:
    (base / "mod/cache/download").mkdir(parents=True)
    (base / "mod/example.com/m@v1.0.0").mkdir(parents=True)
    (base / "mod/example.com/m@v1.0.0/go.mod").write_text("module example.com/m\n")
    return f"{base}/mod"


def file(base: Path) -> str:
    (base / "file").write_bytes(b"precious")
    return f"{base}/file"


def below_open_directory(base: Path) -> str:
    small_cache(base / "open/cache")
    (base / "open").chmod(0o777)
    return f"{base}/open/cache"


def home(base: Path) -> str:
    return f"{base}/home"


def absent(base: Path) -> str:
    return f"{base}/nowhere/cache"


TARGETS: dict[str, tuple[Callable[[Path], str], int, str]] = {
    "root": (lambda _: "/", 36, "unsafe-path"),
    "home": (home, 36, "unsafe-path"),
    "relative": (lambda _: "some/cache", 36, "gocache-relative"),
    "off": (lambda _: "off", 36, "gocache-off"),
    "no-cache": (plain_directory, 36, "not-a-go-cache"),
    "module-cache": (module_cache, 36, "not-a-go-cache"),
    "file": (file, 36, "unsafe-path"),
    "open": (below_open_directory, 36, "unsafe-path"),
    "absent": (absent, 36, "no-target"),
}


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("command", [("clean", "--all", *QUICK), ("fsck",)])
def test_what_is_no_cache_is_refused_with_a_reason_and_never_touched(
    name: str, command: tuple[str, ...], tmp_path: Path
) -> None:
    make, code, failure = TARGETS[name]
    guard = guard_of(tmp_path, make(tmp_path))
    before = seen(tmp_path)
    done = guard.run(*command)
    assert (done.returncode, f"[{failure}]" in done.stderr) == (code, True), done.stderr
    assert "hint: " in done.stderr
    assert "Traceback" not in done.stderr
    assert seen(tmp_path) == before


def test_a_link_to_a_cache_is_followed_once_and_the_real_directory_is_worked_on(tmp_path: Path) -> None:
    cache = small_cache(tmp_path / "real")
    (tmp_path / "link").symlink_to(cache.root)
    guard = guard_of(tmp_path, f"{tmp_path}/link")
    receipt = guard.json("clean", "--all", *QUICK)
    assert receipt["moved"] == len(cache.contents)
    assert (tmp_path / ".real.safeguard" / receipt["op"]).is_dir()
    guard.json("undo", receipt["op"], "--proof", "none")
    assert entries(cache.root) == cache.contents
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("name", [b"two words", b"line\nbreak", b"\xff\xfe", b"-rf", b"$(id)"])
def test_an_odd_path_is_worked_on_like_any_other(name: bytes, tmp_path: Path) -> None:
    cache = small_cache(tmp_path / os.fsdecode(name) / "cache")
    guard = guard_of(tmp_path, f"{cache.root}")
    # As in a UTF-8 locale, where what is no UTF-8 cannot be printed as it is.
    guard.settings["PYTHONIOENCODING"] = "utf-8:strict"
    done = guard.run("clean", "--all", *QUICK)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert entries(cache.root) == {}
    (op,) = (path.name for path in cache.place.glob("op_*"))
    for command in ("status", "doctor"):
        assert guard.run(command).returncode == 0
    assert guard.run("undo", op, "--proof", "none").returncode == 0
    assert entries(cache.root) == cache.contents


AS_NOBODY = """
import os, sys
from go_cache_safeguard.cli.app import run
# Nobody may not be able to read where Python and this program lie: everything is loaded while we still can.
mine, theirs, state = sys.argv[1:4]
quick = ("--proof", "none", "--checks", "permissions", "--quiet")
assert run(["clean", "--all", "--gocache", mine, "--state-dir", state + "-root", *quick]) == 0
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
for command in (["clean", "--all", *quick], ["clean", "--all", "--set", "policy.on_block=allow", *quick]):
    print("code", run([*command, "--gocache", theirs, "--state-dir", state]), flush=True)
"""


@pytest.mark.root
def test_nobody_cannot_harm_the_cache_of_somebody_else(place: Path) -> None:
    cache, other = small_cache(place / "cache"), small_cache(place / "state/other")
    guard = guard_of(place, f"{cache.root}")
    os.chown(place / "home", NOBODY, NOBODY)
    before = seen(place)
    done = subprocess.run(
        [COMMAND[0], "-c", AS_NOBODY, other.root, cache.root, place / "home/state"],
        env=guard.environ,
        cwd=place / "home",
        capture_output=True,
        text=True,
        check=False,
    )
    codes = [line for line in done.stdout.splitlines() if line.startswith("code ")]
    assert codes == ["code 11", "code 36"], done.stdout + done.stderr
    assert "[unsafe-place]" in done.stderr
    assert "Traceback" not in done.stderr
    assert seen(place) == before


@pytest.mark.root
def test_root_in_the_cache_of_somebody_else_leaves_nothing_that_is_roots(place: Path, newest_cache: GoCache) -> None:
    cache = replace(copy_cache(newest_cache, place), environ=newest_cache.environ | {"GOCACHE": f"{place}/cache"})
    for path in (place, *place.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    guard = Safeguard(cache, place / "state", dict(FREE))
    before = files_of(cache.root)
    receipt = guard.json("clean", "--all", "--checks", "permissions")
    assert any("runs" in line for line in receipt["proof"])
    made = [cache.root, *cache.root.rglob("*"), *(place / ".cache.safeguard").rglob("*")]
    assert {path.lstat().st_uid for path in made} == {NOBODY}
    guard.json("undo", receipt["op"])
    assert before.keys() <= files_of(cache.root).keys()
    assert {path.lstat().st_uid for path in cache.root.rglob("*")} == {NOBODY}


def test_a_second_safeguard_is_told_who_holds_the_lock(tmp_path: Path) -> None:
    cache = small_cache(tmp_path / "cache")
    guard = guard_of(tmp_path, f"{cache.root}")
    with open_root(cache.root) as root, open_quarantine(root, allowed=ALLOWED):
        done = guard.run("clean", "--all", *QUICK)
    assert done.returncode == 32
    assert "[locked]" in done.stderr
    assert f"pid {os.getpid()}" in done.stderr
    assert "hint: " in done.stderr
    assert entries(cache.root) == cache.contents
    assert guard.json("clean", "--all", *QUICK)["moved"] == len(cache.contents)


def large_cache(base: Path) -> SmallCache:
    """20,480 tiny entries."""
    return small_cache(base / "cache", shards=256, pairs=40, programs=0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_in_the_middle_of_a_clean_everything_is_put_back(number: signal.Signals, tmp_path: Path) -> None:
    cache = large_cache(tmp_path)
    guard = guard_of(tmp_path, f"{cache.root}")
    child = subprocess.Popen(
        [*COMMAND, "clean", "--all", *QUICK],
        env=guard.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not any(cache.place.glob("op_*/files/0?/*")):
        assert child.poll() is None, child.communicate()
        time.sleep(0.001)
    child.send_signal(number)
    _, said = child.communicate(timeout=120)
    assert child.returncode == 130, said
    assert "[interrupted]" in said
    assert "Traceback" not in said
    assert entries(cache.root) == cache.contents
    (operation,) = guard.json("ops", "list", "--all")["operations"]
    assert operation["state"] == "ROLLED_BACK"
    assert guard.json("audit", "verify")["whole"]
