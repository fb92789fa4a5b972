"""Writing an archive: what is in it, in which order, and what happens when the cache moves or the disk ends meanwhile."""

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from archives import read_all
from go_cache_safeguard.snapshot.capture import IN_MEMORY, Found, walk
from go_cache_safeguard.snapshot.manifest import Kind
from go_cache_safeguard.snapshot.pack import Packed, least_bytes, pack
from go_cache_safeguard.tree.root import Root, open_root
from smallcaches import small_cache


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    cache = small_cache(tmp_path / "cache", shards=3, pairs=2, programs=1)
    with open_root(cache.root) as opened:
        yield opened


def listed(root: Root) -> list[Found]:
    return list(walk(root, Kind.BUILD, skipped=lambda one: pytest.fail(one.name)))


def packed(
    root: Root,
    target: Path,
    *,
    compress: bool = False,
    digest: bool = False,
    stop: Callable[[], bool] = lambda: False,
    then: Callable[[], None] = lambda: None,
) -> Packed:
    found = listed(root)
    then()
    with target.open("w+b") as file:
        return pack(
            file.fileno(),
            root,
            Kind.BUILD,
            found,
            [],
            compress=compress,
            digest=digest,
            scratch=target.parent,
            progress=lambda _files, _size: None,
            stop=stop,
        )


@pytest.mark.parametrize("compress", [False, True])
def test_an_archive_holds_the_cache_and_its_hash_is_told(root: Root, tmp_path: Path, *, compress: bool) -> None:
    made = packed(root, tmp_path / "a", compress=compress, digest=True)
    assert read_all(tmp_path / "a") == {one.name: (root.path / one.name).read_bytes() for one in listed(root)}
    said = subprocess.run(["sha256sum", tmp_path / "a"], check=True, capture_output=True, text=True).stdout
    assert made.sha256 is not None
    assert said.startswith(made.sha256)
    assert packed(root, tmp_path / "b", compress=compress).sha256 is None
    assert made.size == (tmp_path / "a").stat().st_size


@pytest.mark.parametrize("compress", [False, True])
def test_large_and_many_files_come_through_and_the_bytes_are_the_same_again(
    root: Root, tmp_path: Path, *, compress: bool
) -> None:
    for number, size in enumerate(
        [IN_MEMORY, IN_MEMORY + 1, IN_MEMORY - 1, 3 * IN_MEMORY + 777, 1 << 20, (1 << 20) + 1]
    ):
        (root.path / f"00/00{number:062x}-d").write_bytes(os.urandom(4096) * (size // 4096) + bytes(size % 4096))
    first, second = (packed(root, tmp_path / name, compress=compress) for name in "ab")
    assert first == second
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert read_all(tmp_path / "a") == {one.name: (root.path / one.name).read_bytes() for one in listed(root)}
    if not compress:
        assert least_bytes(listed(root), compress=False) >= first.size


def test_what_goes_or_grows_between_the_walk_and_the_reading_is_said_or_read_as_it_is(
    root: Root, tmp_path: Path
) -> None:
    names = [one.name for one in listed(root) if one.name.endswith("-a")]

    def change() -> None:
        (root.path / names[0]).unlink()
        (root.path / names[1]).write_bytes(b"longer " * 1000)
        (root.path / names[2]).write_bytes(b"")

    made = packed(root, tmp_path / "a", then=change)
    contents = read_all(tmp_path / "a")
    assert names[0] not in contents
    assert contents[names[1]] == b"longer " * 1000
    assert contents[names[2]] == b""
    assert [tuple(one) for one in made.manifest.skipped] == [(names[0], "it was removed while the snapshot was made")]


@pytest.mark.parametrize("size", [0, 9_000, 40_000])
@pytest.mark.parametrize("victim", [0, 4, 11])
def test_a_file_that_changes_after_it_was_listed_moves_all_that_comes_after_it(
    root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, victim: int, size: int
) -> None:
    monkeypatch.setattr("go_cache_safeguard.snapshot.pack._ENOUGH", 4096)
    monkeypatch.setattr("go_cache_safeguard.snapshot.pack._SEND", 8192)
    for number in range(12):
        (root.path / f"01/01{number:062x}-d").write_bytes(os.urandom(1000 * number))
    chosen = root.path / f"01/01{victim:062x}-d"
    made = packed(root, tmp_path / "a", digest=True, then=lambda: void(chosen.write_bytes(b"x" * size)))
    assert read_all(tmp_path / "a") == {one.name: (root.path / one.name).read_bytes() for one in listed(root)}
    assert made == packed(root, tmp_path / "b", digest=True)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def void(_result: object) -> None:
    """Forget what something returned."""


def test_a_question_to_stop_is_heard_between_two_files(root: Root, tmp_path: Path) -> None:
    answers = iter([False, False, True])
    with pytest.raises(KeyboardInterrupt):
        packed(root, tmp_path / "a", stop=lambda: next(answers))


@pytest.mark.parametrize("compress", [False, True])
def test_a_disk_that_is_full_is_told(root: Root, *, compress: bool) -> None:
    with Path("/dev/full").open("wb") as file, pytest.raises(OSError, match="No space") as problem:
        pack(
            file.fileno(),
            root,
            Kind.BUILD,
            listed(root),
            [],
            compress=compress,
            scratch=Path("/tmp"),  # noqa: S108 - nothing is written there but a file without a name
            progress=lambda _files, _size: None,
            stop=lambda: False,
        )
    assert problem.value.errno == errno.ENOSPC
