"""What a directory looks like is the same by one call and file by file."""

import os
from pathlib import Path
from types import ModuleType

import pytest

from go_cache_safeguard.snapshot.capture import look_of
from go_cache_safeguard.tree.looks import COMPILED, look_at
from twins import compiled, loaded


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return loaded(compiled("tree/_looks.c", tmp_path_factory.mktemp("twin")))


def looks(path: Path, twin: ModuleType) -> tuple[bytes | None, bytes]:
    """By one call, and file by file."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        known = look_of((one.name, one.lstat()) for one in sorted(path.iterdir()))
        found: bytes | None = twin.look(fd)
        assert found == twin.look(fd), "it can be asked twice"
        assert look_at(fd) in {None, found}
        assert (look_at(fd) is None) <= (not COMPILED or found is None)
        return found, known
    finally:
        os.close(fd)


def test_an_empty_directory_looks_like_nothing(tmp_path: Path, twin: ModuleType) -> None:
    assert looks(tmp_path, twin) == (b"\0", b"\0")


@pytest.mark.parametrize("count", [1, 2, 255, 256, 257, 1_100])
def test_files_of_all_sizes_ages_and_rights_look_alike(tmp_path: Path, twin: ModuleType, count: int) -> None:
    for number in range(count):
        path = tmp_path / f"{number * 7919 % count:064x}-{'ad'[number % 2]}"
        path.write_bytes(bytes(number % 500))
        path.chmod(0o600 | number % 0o100)
        os.utime(path, ns=(0, (-1) ** number * (number * 10**15 + number)))
    found, known = looks(tmp_path, twin)
    assert found == known
    assert len(known) > 100 * count


def test_whatever_else_is_there_is_seen_as_it_is_and_nothing_is_followed(tmp_path: Path, twin: ModuleType) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "nowhere").symlink_to("nothing")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / ("n" * 255)).write_bytes(b"")
    (tmp_path / " ~").write_bytes(b"")
    found, known = looks(tmp_path, twin)
    assert found == known


@pytest.mark.parametrize("name", ["é", "a\nb", "a\x7f", b"\xff", b"\x01"])
def test_unusual_names_are_left_to_others(tmp_path: Path, twin: ModuleType, name: str | bytes) -> None:
    (tmp_path / "usual").write_bytes(b"")
    (tmp_path / os.fsdecode(name)).write_bytes(b"")
    assert looks(tmp_path, twin)[0] is None


def test_what_is_no_directory_any_more_is_told(tmp_path: Path, twin: ModuleType) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    fd = os.open(file, os.O_RDONLY)
    with pytest.raises(NotADirectoryError):
        twin.look(fd)
    os.close(fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        twin.look(fd)
    with pytest.raises(TypeError):
        twin.look("name")


def test_a_change_of_anything_is_seen(tmp_path: Path, twin: ModuleType) -> None:
    path = tmp_path / "one"
    path.write_bytes(b"one")
    before = looks(tmp_path, twin)[0]
    path.chmod(0o604)
    after = looks(tmp_path, twin)[0]
    path.rename(tmp_path / "two")
    assert len({before, after, looks(tmp_path, twin)[0]}) == 3
