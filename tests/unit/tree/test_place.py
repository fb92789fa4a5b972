"""Where a quarantine may lie, who makes it, and who holds its lock."""

import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from go_cache_safeguard.core.errors import ExitCode
from go_cache_safeguard.tree.place import (
    Locked,
    MountInside,
    NoPlace,
    UnsafePlace,
    hold_lock,
    open_place,
    overwrite,
    refuse_mounts,
)
from go_cache_safeguard.tree.root import open_root
from otherusers import reveal

NOBODY = 65_534


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """An empty directory two levels below, so that others' permissions of the levels can be played with."""
    path = tmp_path / "parent" / "cache"
    path.mkdir(parents=True)
    return path


def enter(cache: Path, place: Path, *, create: bool = True) -> None:
    with open_root(cache) as root, open_place(root, place, create=create) as fd, hold_lock(root, fd, wait_s=0):
        pass


def test_it_is_made_private_and_found_again(cache: Path) -> None:
    place = cache.parent / "place"
    enter(cache, place)
    enter(cache, place, create=False)
    assert place.stat().st_mode & 0o7777 == 0o700
    assert {path.name for path in place.iterdir()} == {"lock"}


def test_it_may_lie_inside_the_cache(cache: Path) -> None:
    enter(cache, cache / ".safeguard")


def test_none_is_made_when_none_is_wanted(cache: Path) -> None:
    with pytest.raises(NoPlace):
        enter(cache, cache.parent / "place", create=False)
    assert not (cache.parent / "place").exists()


def test_one_that_others_can_write_is_refused(cache: Path) -> None:
    place = cache.parent / "place"
    place.mkdir()
    for mode in (0o1777, 0o777, 0o770):
        place.chmod(mode)
        with pytest.raises(UnsafePlace, match="written by others"):
            enter(cache, place)
    assert not list(place.iterdir())


def test_a_link_or_a_file_is_refused(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("elsewhere")
    (tmp_path / "file").touch()
    for name in ("link", "file"):
        with pytest.raises(UnsafePlace, match="cannot be"):
            enter(cache, tmp_path / name)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_another_filesystem_is_refused(cache: Path) -> None:
    here = cache.stat().st_dev
    other = next(path for path in (Path("/dev/shm"), Path("/var/tmp")) if path.stat().st_dev != here)  # noqa: S108 - a private folder in it
    with tempfile.TemporaryDirectory(dir=other) as place, pytest.raises(UnsafePlace, match="mount"):
        enter(cache, Path(place))


@pytest.mark.root
def test_a_bind_mount_of_the_same_filesystem_is_another_mount_too(cache: Path) -> None:
    (cache.parent / "place").mkdir(mode=0o700)
    code = f"""
import subprocess
from pathlib import Path
from go_cache_safeguard.tree.place import UnsafePlace, open_place
from go_cache_safeguard.tree.root import open_root
cache = Path({str(cache)!r})
place = cache.parent / "place"
subprocess.run(["mount", "--bind", place, place], check=True)
with open_root(cache) as root:
    try:
        with open_place(root, place, create=True):
            raise SystemExit("it was entered")
    except UnsafePlace as refused:
        assert "mount" in refused.what, refused
"""
    subprocess.run(["unshare", "-m", sys.executable, "-c", code], check=True)


@pytest.mark.root
def test_one_that_belongs_to_somebody_else_is_refused(cache: Path) -> None:
    place = cache.parent / "place"
    place.mkdir(mode=0o700)
    os.chown(place, 1234, 1234)
    with pytest.raises(UnsafePlace, match="1234"):
        enter(cache, place)


def as_user(uid: int, work: Callable[[], None]) -> None:
    """Run something as another user, from whom pytest's own directories are not hidden."""
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        try:
            work()
        except BaseException:  # noqa: BLE001 - the child must end here, whatever it is
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.root
def test_in_the_owners_directory_the_owner_makes_it(cache: Path) -> None:
    reveal(cache)
    os.chown(cache, NOBODY, NOBODY)
    os.chown(cache.parent, NOBODY, NOBODY)
    place = cache.parent / "place"
    enter(cache, place)
    assert place.stat().st_uid == NOBODY
    assert (place / "lock").stat().st_uid == NOBODY
    as_user(NOBODY, lambda: enter(cache, place))


@pytest.mark.root
def test_in_roots_directory_root_makes_it_and_gives_it_to_the_owner(cache: Path) -> None:
    reveal(cache)
    os.chown(cache, NOBODY, NOBODY)
    place = cache.parent / "place"
    enter(cache, place)
    assert (place.stat().st_uid, place.stat().st_mode & 0o7777) == (NOBODY, 0o700)
    as_user(NOBODY, lambda: enter(cache, place))


@pytest.mark.root
def test_killed_between_making_and_giving_it_is_given_the_next_time(cache: Path) -> None:
    reveal(cache)
    os.chown(cache, NOBODY, NOBODY)
    place = cache.parent / "place"
    place.mkdir(mode=0o700)
    enter(cache, place)
    assert place.stat().st_uid == NOBODY


@pytest.mark.root
def test_who_may_not_write_there_is_told(cache: Path) -> None:
    reveal(cache)
    os.chown(cache, NOBODY, NOBODY)

    def denied() -> None:
        with pytest.raises(UnsafePlace, match="Permission denied"):
            enter(cache, cache.parent / "place")

    as_user(NOBODY, denied)


def test_the_second_is_told_who_holds_the_lock(cache: Path) -> None:
    place = cache.parent / "place"
    with open_root(cache) as root, open_place(root, place, create=True) as fd, hold_lock(root, fd, wait_s=0):
        with pytest.raises(Locked, match=f"pid {os.getpid()}, .* since 20") as caught:
            enter(cache, place)
        assert caught.value.exit_code is ExitCode.LOCKED
    enter(cache, place)


def test_waiting_is_enough_when_the_other_ends(cache: Path) -> None:
    place = cache.parent / "place"
    code = f"""
import sys
from pathlib import Path
from go_cache_safeguard.tree.place import hold_lock, open_place
from go_cache_safeguard.tree.root import open_root
cache = Path({str(cache)!r})
with open_root(cache) as root, open_place(root, cache.parent / "place", create=True) as fd, hold_lock(root, fd, wait_s=0):
    print("held", flush=True)
    sys.stdin.readline()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(Locked):
            enter(cache, place)
        other.kill()  # the lock must not outlive its holder
        with open_root(cache) as root, open_place(root, place, create=True) as fd, hold_lock(root, fd, wait_s=60):
            pass


def test_a_planted_hard_link_or_pipe_is_not_taken_for_the_lock(cache: Path, tmp_path: Path) -> None:
    place = cache.parent / "place"
    place.mkdir(mode=0o700)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (place / "lock").hardlink_to(victim)
    with pytest.raises(UnsafePlace, match="plain file"):
        enter(cache, place)
    (place / "lock").unlink()
    os.mkfifo(place / "lock")
    with pytest.raises(UnsafePlace, match="plain file"):
        enter(cache, place)
    (place / "lock").unlink()
    (place / "lock").symlink_to(victim)
    with pytest.raises(UnsafePlace, match="lock"):
        enter(cache, place)
    assert victim.read_text() == "precious"


def test_overwriting_leaves_nothing_of_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a long content")
    fd = os.open(path, os.O_RDWR)
    overwrite(fd, b"short")
    os.close(fd)
    assert path.read_bytes() == b"short"


def test_a_mount_inside_is_refused_by_name(cache: Path) -> None:
    with open_root(cache) as root:
        refuse_mounts(root.fd)
    fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    with pytest.raises(MountInside, match="/"):
        refuse_mounts(fd)
    os.close(fd)
