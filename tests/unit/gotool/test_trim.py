"""Go's own trim, held off with the file that go itself reads."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from go_cache_safeguard.gotool.trim import TRIM, set_trim_time, trim_held
from go_cache_safeguard.tree.root import open_root
from gocaches import GoCache

DAY_S = 86_400


def age(root: Path, days: int) -> int:
    """Make every entry that old; gives how many there are."""
    entries = list(root.glob("??/*"))
    for path in entries:
        os.utime(path, (time.time() - days * DAY_S,) * 2)
    return len(entries)


def test_inside_the_block_go_trims_nothing_and_afterwards_its_plan_is_as_it_was(fresh_cache: GoCache) -> None:
    count = age(fresh_cache.root, 9)
    (fresh_cache.root / TRIM).write_text("1000000000")
    with open_root(fresh_cache.root) as root, trim_held(root) as problems:
        assert problems == []
        (fresh_cache.module / "lib" / "more.go").write_text("package lib\n\nvar More = 1\n")
        fresh_cache.go("build", "./lib")
        assert len(list(fresh_cache.root.glob("??/*"))) >= count
    assert (fresh_cache.root / TRIM).read_text() == "1000000000"


def test_without_it_the_same_build_deletes_nearly_everything(fresh_cache: GoCache) -> None:
    count = age(fresh_cache.root, 9)
    (fresh_cache.root / TRIM).write_text("1000000000")
    (fresh_cache.module / "lib" / "more.go").write_text("package lib\n\nvar More = 1\n")
    fresh_cache.go("build", "./lib")
    assert len(list(fresh_cache.root.glob("??/*"))) < count // 2


def test_a_trim_time_that_go_wrote_meanwhile_is_kept(tmp_path: Path) -> None:
    with open_root(_directory(tmp_path)) as root:
        (root.path / TRIM).write_text("1000000000")
        with trim_held(root):
            (root.path / TRIM).write_text("2000000000")
        assert (root.path / TRIM).read_text() == "2000000000"


def test_an_absent_trim_time_stays_set(tmp_path: Path) -> None:
    with open_root(_directory(tmp_path)) as root, trim_held(root) as problems:
        assert problems == []
    assert abs(int((root.path / TRIM).read_text()) - time.time()) < 60


@pytest.mark.parametrize("plant", [lambda path: path.symlink_to("/etc/passwd"), lambda path: path.mkdir(), os.mkfifo])
def test_what_is_no_plain_file_is_left_and_named(tmp_path: Path, plant: Callable[[Path], None]) -> None:
    with open_root(_directory(tmp_path)) as root:
        plant(root.path / TRIM)
        (problem,) = set_trim_time(root.fd, 10**18)
        assert TRIM in problem
    assert not (root.path / TRIM).is_file() or (root.path / TRIM).is_symlink()


def _directory(tmp_path: Path) -> Path:
    path = tmp_path / "cache"
    path.mkdir()
    return path
