"""While a restore works, somebody swaps what it writes into with a link to what it must not touch; and disks that are full.

The attacker exchanges a directory of the cache with a symbolic link, atomically and without pause. The victim stays as it was.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from crash.test_attackers import NOBODY, seen, swapping
from crash.test_full_disk import fill, tmpfs
from go_cache_safeguard.core.errors import Failure
from go_cache_safeguard.flows.restore import restore
from go_cache_safeguard.gocache.member import is_program
from go_cache_safeguard.snapshot.restore import NoRoom, WriteFailed, write
from go_cache_safeguard.tree.root import open_root
from sources import build_files, files_below, lay_out, source_of

ROUNDS = 12
FILES = build_files(pairs=6, programs=2)
OUTPUT = next(name for name in sorted(FILES) if name.endswith("-d"))
PROGRAM = next(name for name in sorted(FILES) if is_program(name))


@pytest.mark.crash
@pytest.mark.root
@pytest.mark.parametrize("uid", [0, NOBODY])
@pytest.mark.parametrize("target", [OUTPUT[:2], PROGRAM[:2], PROGRAM.rpartition("/")[0]])
def test_a_victim_behind_a_link_is_never_written(memory: Path, target: str, uid: int) -> None:
    memory.chmod(0o755)
    for number in range(ROUNDS):
        base = memory / f"{number}"
        cache, victim, link = base / "cache", base / "victim", base / "evil"
        (cache / target).mkdir(parents=True)
        lay_out(victim, {"precious": b"x", f"{PROGRAM[3:].partition('/')[0]}/precious": b"x"})
        link.symlink_to(victim)
        before = seen(victim)
        for path in (base, cache, *cache.rglob("*")):
            os.chown(path, uid, uid)
        with swapping(cache / target, link, uid), suppress(Failure), open_root(cache) as root:
            entries = source_of(FILES).manifest.entries
            write(root, source_of(FILES), entries, now_ns=1, programs=is_program, in_place=number % 2 == 0)
        assert seen(victim) == before


def a_disk_without_room_is_not_begun_on(base: Path) -> None:
    disk = tmpfs(base / "disk", "size=256k")
    fill(disk, leave=8)
    with pytest.raises(NoRoom, match="bytes are needed"):
        _restore(base, disk)
    assert files_below(disk / "cache") == {}


def a_disk_without_inodes_is_not_begun_on(base: Path) -> None:
    disk = tmpfs(base / "disk", "size=1m,nr_inodes=16")
    with pytest.raises(NoRoom, match="inodes are needed"):
        _restore(base, disk)
    assert files_below(disk / "cache") == {}


def a_disk_that_fills_up_meanwhile_leaves_whole_files_and_can_go_on(base: Path) -> None:
    for leave in range(2, 40, 3):
        disk = tmpfs(base / f"disk{leave}", "size=512k")
        (disk / "cache").mkdir()
        ballast = fill(disk, leave=leave)
        source = source_of(FILES)
        with suppress(WriteFailed), open_root(disk / "cache") as root:
            write(root, source, source.manifest.entries, now_ns=1, programs=is_program, in_place=True)
        assert files_below(disk / "cache").items() <= FILES.items()
        ballast.unlink()
        _restore(base, disk)
        assert files_below(disk / "cache") == FILES


def a_read_only_disk_is_said(base: Path) -> None:
    disk = tmpfs(base / "disk", "size=256k")
    (disk / "cache").mkdir()
    (disk / ".cache.safeguard").mkdir(mode=0o700)
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    with pytest.raises(Failure) as raised:
        _restore(base, disk)
    assert "nothing was" in raised.value.not_done


def _restore(base: Path, disk: Path) -> None:
    from crash.restore_driver import session_at

    restore(session_at(base), source_of(FILES), disk / "cache", None)


STORIES: tuple[Callable[[Path], None], ...] = (
    a_disk_without_room_is_not_begun_on,
    a_disk_without_inodes_is_not_begun_on,
    a_disk_that_fills_up_meanwhile_leaves_whole_files_and_can_go_on,
    a_read_only_disk_is_said,
)


@pytest.mark.crash
@pytest.mark.root
@pytest.mark.parametrize("name", [story.__name__ for story in STORIES])
def test_on_its_own_mounts(name: str, tmp_path: Path) -> None:
    code = f"import pathlib, sys; from crash import test_restore_attacked as t; t.{name}(pathlib.Path(sys.argv[1]))"
    done = subprocess.run(
        ["unshare", "-m", sys.executable, "-c", code, tmp_path],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
