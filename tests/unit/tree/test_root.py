"""Which roots are entered, which are not, and what may be opened below one; with openat2 and without."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from go_cache_safeguard.core.errors import ExitCode
from go_cache_safeguard.tree import root as subject
from go_cache_safeguard.tree.root import UnsafePath, ancestor_problems, mount_id, open_below, open_directory, open_root

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY


def test_a_root_tells_its_identity_and_owner(tmp_path: Path) -> None:
    found = tmp_path.stat()
    with open_root(tmp_path) as root:
        assert (root.path, root.uid, root.gid) == (tmp_path, found.st_uid, found.st_gid)
        assert root.identity == f"{found.st_dev}:{found.st_ino}"
        fd = root.fd
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def refusal(path: Path, identity: str | None = None) -> str:
    with pytest.raises(UnsafePath) as caught, open_root(path, identity=identity):
        pass
    assert caught.value.exit_code is ExitCode.TARGET
    assert caught.value.not_done
    return caught.value.what


def test_a_relative_path_is_refused() -> None:
    assert "absolute" in refusal(Path("cache"))


def test_a_path_with_two_dots_is_refused(tmp_path: Path) -> None:
    assert "absolute" in refusal(tmp_path / ".." / tmp_path.name)


def test_the_root_of_the_system_is_refused() -> None:
    assert "whole system" in refusal(Path("/"))


def test_the_home_directory_and_what_holds_it_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "people/me").mkdir(parents=True)
    monkeypatch.setenv("HOME", f"{tmp_path}/people/me")
    assert "home" in refusal(tmp_path / "people/me")
    assert "home" in refusal(tmp_path / "people")


def test_a_home_that_does_not_exist_harms_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", f"{tmp_path}/nowhere")
    (tmp_path / "cache").mkdir()
    with open_root(tmp_path / "cache"):
        pass


def test_a_file_and_an_absent_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "no directory" in refusal(tmp_path / "file")
    assert "No such file" in refusal(tmp_path / "absent")


def test_a_symbolic_link_at_the_end_or_on_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real/cache").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "end").symlink_to("real/cache")
    assert "symbolic link" in refusal(tmp_path / "link/cache")
    assert "symbolic link" in refusal(tmp_path / "end")


def test_a_directory_that_was_replaced_is_refused(tmp_path: Path) -> None:
    assert "looked at before" in refusal(tmp_path, "1:2")


def test_a_parent_that_everybody_can_write_is_refused_unless_sticky(tmp_path: Path) -> None:
    cache = tmp_path / "open" / "cache"
    cache.mkdir(parents=True)
    cache.parent.chmod(0o777)
    assert "writable by everybody" in refusal(cache)
    cache.parent.chmod(0o1777)
    with open_root(cache):
        assert ancestor_problems(cache) == ()


@pytest.mark.root
def test_a_parent_of_a_stranger_is_refused(tmp_path: Path) -> None:
    cache = tmp_path / "theirs" / "cache"
    cache.mkdir(parents=True)
    os.chown(cache.parent, 12345, 12345)
    assert "12345" in refusal(cache)


def test_a_link_among_the_ancestors_is_a_problem_and_so_is_one_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "real/cache").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    assert any("symbolic link" in problem for problem in ancestor_problems(tmp_path / "link/cache"))
    assert "cannot be examined" in ancestor_problems(tmp_path / "absent/cache")[0]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory, a file in it, and links to a victim outside."""
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim/file").touch()
    (tmp_path / "tree/dir").mkdir(parents=True)
    (tmp_path / "tree/dir/file").write_bytes(b"content")
    (tmp_path / "tree/link").symlink_to("../victim")
    (tmp_path / "tree/dir/flink").symlink_to("../../victim/file")
    return tmp_path / "tree"


def below(dir_fd: int, name: str, flags: int) -> int:
    return subject._open_below_stepwise(dir_fd, name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0, cross_mounts=False)


@pytest.mark.parametrize("opener", [open_below, below])
def test_what_lies_below_is_opened_and_links_are_not(tree: Path, opener: Callable[[int, str, int], int]) -> None:
    start = os.open(tree, DIRECTORY)
    fd = opener(start, "dir/file", os.O_RDONLY)
    assert os.read(fd, 99) == b"content"
    assert not os.get_inheritable(fd)
    os.close(fd)
    for name in ("link", "link/file", "dir/flink"):
        with pytest.raises(OSError, match=r"symbolic|directory") as caught:
            opener(start, name, os.O_RDONLY)
        assert caught.value.errno in {errno.ELOOP, errno.ENOTDIR}
    with pytest.raises(FileNotFoundError):
        opener(start, "absent", os.O_RDONLY)
    os.close(start)


@pytest.mark.parametrize("name", ["", ".", "..", "dir/..", "/etc", "dir//file", "dir/../.."])
def test_names_that_lead_elsewhere_are_refused(tree: Path, name: str) -> None:
    start = os.open(tree, DIRECTORY)
    with pytest.raises(OSError, match="not a name below") as caught:
        open_below(start, name, os.O_RDONLY)
    assert caught.value.errno == errno.EXDEV
    os.close(start)


def test_a_file_can_be_made_below(tree: Path) -> None:
    start = os.open(tree, DIRECTORY)
    os.close(open_below(start, "dir/new", os.O_WRONLY | os.O_CREAT, mode=0o600))
    assert (tree / "dir/new").stat().st_mode & 0o777 == 0o600
    os.close(start)


def test_stepping_opens_the_same_directory_and_follows_no_link(tree: Path) -> None:
    fd = subject._open_stepwise(tree / "dir")
    assert os.path.samestat(os.fstat(fd), (tree / "dir").stat())
    os.fsync(fd)  # it is open for reading, not only as a path
    os.close(fd)
    with pytest.raises(NotADirectoryError):
        subject._open_stepwise(tree / "link")


def test_where_the_kernel_has_no_openat2_everything_goes_on_by_steps(tree: Path) -> None:
    code = f"""
import os
from pathlib import Path
from go_cache_safeguard.tree.root import UnsafePath, open_below, open_root
at = Path({str(tree)!r})
with open_root(at) as root:
    os.close(open_below(root.fd, "dir/file", os.O_RDONLY))
    for name in ("link/file", "dir/flink"):
        try:
            open_below(root.fd, name, os.O_RDONLY)
        except OSError:
            continue
        raise SystemExit("a link was followed")
try:
    with open_root(at / "link"):
        raise SystemExit("a link was entered")
except UnsafePath:
    pass
"""
    for number in ("ENOSYS", "EPERM"):
        inject = ["strace", "-f", "-o", "/dev/null", "-e", "trace=openat2", "-e", f"inject=openat2:error={number}"]
        subprocess.run([*inject, sys.executable, "-c", code], check=True)


def test_an_open_file_tells_its_mount() -> None:
    proc, root = open_directory(Path("/proc")), open_directory(Path("/"))
    assert mount_id(proc) != mount_id(root)
    assert subject._on_other_mount(root, proc)
    os.close(proc)
    os.close(root)
    assert mount_id(-1) is None


@pytest.mark.root
def test_a_bind_mount_is_not_crossed_unless_asked(tree: Path) -> None:
    code = f"""
import errno, os, subprocess
from pathlib import Path
from go_cache_safeguard.tree import root
at = Path({str(tree)!r})
subprocess.run(["mount", "--bind", at.parent / "victim", at / "dir"], check=True)
start = os.open(at, os.O_RDONLY | os.O_DIRECTORY)
os.close(root.open_below(start, "dir/file", os.O_RDONLY, cross_mounts=True))
for opener in (root.open_below, lambda *a: root._open_below_stepwise(*a, 0, cross_mounts=False)):
    try:
        opener(start, "dir/file", os.O_RDONLY)
    except OSError as error:
        assert error.errno == errno.EXDEV, error
    else:
        raise SystemExit("the mount was crossed")
"""
    subprocess.run(["unshare", "-m", sys.executable, "-c", code], check=True)
