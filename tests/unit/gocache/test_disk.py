"""Looking at a directory, with caches made by hand: what needs no toolchain."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from go_cache_safeguard.gocache.classify import Kind
from go_cache_safeguard.gocache.damage import Wrong
from go_cache_safeguard.gocache.disk import Inspection, Level, identify_at, inspect
from go_cache_safeguard.gocache.index import IndexState
from go_cache_safeguard.gocache.layout import SHARDS, IsCache, NotACache, action_name, output_name

README = b"This directory holds cached build artifacts from the Go build system.\n"
LATER_NS = 4_000_000_000_000_000_000
"""Long after anything that these tests write."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "cache"
    for shard in SHARDS:
        (root / shard).mkdir(parents=True)
    (root / "README").write_bytes(README)
    (root / "trim.txt").write_bytes(b"1795337500")
    return root


def put(root: Path, action: bytes, data: bytes) -> tuple[Path, Path]:
    """What `go` would write: the output, then the entry."""
    output = sha256(data).digest()
    path, entry = root / output_name(output), root / action_name(action)
    path.write_bytes(data)
    entry.write_bytes(b"v1 %s %s %20d %20d\n" % (action.hex().encode(), output.hex().encode(), len(data), 1))
    return entry, path


@contextmanager
def opened(root: Path) -> Iterator[int]:
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


def look(
    root: Path,
    level: Level = Level.ALL,
    *,
    index: Path | None = None,
    now_ns: int = LATER_NS,
    threads: int | None = None,
    sample: float = 0.0,
) -> Inspection:
    with opened(root) as fd:
        return inspect(fd, index_path=index, level=level, now_ns=now_ns, threads=threads, sample=sample)


def wrong(inspection: Inspection) -> list[Wrong]:
    return [finding.kind for finding in inspection.findings]


def test_what_is_there_is_listed(root: Path) -> None:
    entry, path = put(root, b"\x01" * 32, b"./a.go\n")
    (root / "fuzz" / "pkg").mkdir(parents=True)
    (root / "fuzz" / "pkg" / "input").write_text("12345")
    with opened(root) as fd:
        inventory = inspect(fd, index_path=None, level=Level.STATUS, now_ns=LATER_NS).inventory
        assert identify_at(fd) == IsCache(empty=False, missing_shards=0, readme=True)
    found = root.stat()
    (output,) = inventory.outputs.values()
    (action,) = inventory.actions.values()
    assert inventory.identity == f"{found.st_dev}:{found.st_ino}"
    assert (inventory.fuzz.files, inventory.fuzz.size) == (1, 5)
    assert inventory.trim_ns == 1_795_337_500_000_000_000
    assert (output.kind, output.size, output.mode) == (Kind.SOURCE_LIST, 7, path.stat().st_mode & 0o7777)
    assert (action.size, action.mtime_ns) == (175, entry.stat().st_mtime_ns)
    assert inventory.readme
    assert inventory.foreign == ()


def test_without_readme_a_sound_entry_proves_a_cache(root: Path) -> None:
    (root / "README").unlink()
    with opened(root) as fd:
        assert isinstance(identify_at(fd), NotACache)
        put(root, b"\xfe" * 32, b"x")
        assert identify_at(fd) == IsCache(empty=False, missing_shards=0, readme=False)


@pytest.mark.parametrize("size", [0, 1, 4096, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, (3 << 20) + 17])
@pytest.mark.parametrize("threads", [1, 3])
def test_outputs_of_every_length_are_hashed_to_their_end(root: Path, size: int, threads: int) -> None:
    _entry, path = put(root, b"\x01" * 32, b"z" * size)
    found = look(root, threads=threads)
    assert (found.findings, found.hashed_files, found.hashed_bytes) == ((), 1, size)
    if size:
        with path.open("r+b") as file:
            file.seek(size - 1)
            file.write(b"!")
        assert wrong(look(root, threads=threads)) == [Wrong.CONTENT]


def test_an_output_named_by_nobody_is_not_hashed(root: Path) -> None:
    (root / ("ab/" + "ab" * 32 + "-d")).write_bytes(b"not what the name says")
    found = look(root)
    assert (wrong(found), found.hashed_files) == ([Wrong.ORPHAN], 0)


def test_a_status_hashes_nothing_and_says_so(root: Path) -> None:
    _entry, path = put(root, b"\x01" * 32, b"content")
    path.write_bytes(b"CONTENT")
    found = look(root, Level.STATUS)
    assert (found.findings, found.hashed_files, found.unhashed_files) == ((), 0, 1)


def test_what_is_too_young_is_not_remembered(root: Path, tmp_path: Path) -> None:
    entry, _path = put(root, b"\x01" * 32, b"content")
    now_ns = entry.stat().st_ctime_ns + 1_000_000_000
    for _ in range(2):
        assert look(root, Level.CHANGED, index=tmp_path / "index", now_ns=now_ns).hashed_files == 1
    assert look(root, Level.CHANGED, index=tmp_path / "index").hashed_files == 1
    assert look(root, Level.CHANGED, index=tmp_path / "index").hashed_files == 0


def test_only_what_was_touched_is_hashed_again(root: Path, tmp_path: Path) -> None:
    _entry, path = put(root, b"\x01" * 32, b"content")
    put(root, b"\x02" * 32, b"other content")
    assert look(root, Level.CHANGED, index=tmp_path / "index").index is IndexState.NEW
    path.touch()
    found = look(root, Level.CHANGED, index=tmp_path / "index")
    assert (found.hashed_files, found.trusted_files, found.read_entries) == (1, 1, 0)
    assert found.index is IndexState.USED


def test_a_status_before_does_not_make_the_check_believe(root: Path, tmp_path: Path) -> None:
    put(root, b"\x01" * 32, b"content")
    look(root, Level.STATUS, index=tmp_path / "index")
    assert look(root, Level.CHANGED, index=tmp_path / "index").hashed_files == 1


def test_damage_that_left_no_mark_is_found_by_reading_all_and_reported_from_then_on(root: Path, tmp_path: Path) -> None:
    entry, path = put(root, b"\x01" * 32, b"content")
    look(root, Level.CHANGED, index=tmp_path / "index")
    before = (tmp_path / "index").read_bytes()
    path.write_bytes(b"CONTENT")
    look(root, Level.STATUS, index=tmp_path / "index")
    (tmp_path / "index").write_bytes(before)
    forge = look(root, Level.STATUS, index=None).inventory.outputs
    with closing(sqlite3.connect(tmp_path / "index")) as db, db:
        (output,) = forge.values()
        marks = (output.ino, output.size, output.mtime_ns, output.ctime_ns)
        db.execute("UPDATE outputs SET ino = ?, size = ?, mtime_ns = ?, ctime_ns = ?", marks)
    assert look(root, Level.CHANGED, index=tmp_path / "index").findings == ()
    assert wrong(look(root, Level.CHANGED, index=tmp_path / "index", sample=1.0)) == [Wrong.CONTENT]
    assert wrong(look(root, Level.CHANGED, index=tmp_path / "index")) == [Wrong.CONTENT]
    assert entry.exists()


def test_what_is_gone_is_forgotten(root: Path, tmp_path: Path) -> None:
    entry, path = put(root, b"\x01" * 32, b"content")
    look(root, Level.CHANGED, index=tmp_path / "index")
    entry.unlink()
    path.unlink()
    assert look(root, Level.CHANGED, index=tmp_path / "index").inventory.files == 0


def test_a_broken_index_is_made_again_and_said(root: Path, tmp_path: Path) -> None:
    put(root, b"\x01" * 32, b"content")
    (tmp_path / "index").write_bytes(b"garbage" * 1000)
    found = look(root, Level.CHANGED, index=tmp_path / "index")
    assert (found.index, found.hashed_files) == (IndexState.REMADE, 1)
    assert look(root, Level.CHANGED, index=tmp_path / "index").trusted_files == 1


def test_a_missing_shard_and_a_shard_that_is_a_link_are_not_entered(root: Path, tmp_path: Path) -> None:
    (root / "00").rmdir()
    (root / "01").rmdir()
    (root / "01").symlink_to(tmp_path)
    inventory = look(root).inventory
    assert inventory.shards == 254
    assert [(item.name, item.kind) for item in inventory.foreign] == [("01", "symlink")]


def test_progress_is_told_and_an_interrupt_ends_the_look(root: Path) -> None:
    for number in range(50):
        put(root, bytes([number]) * 32, b"%d" % number * 1000)
    seen: list[tuple[int, int]] = []
    with opened(root) as fd:
        inspect(fd, index_path=None, level=Level.ALL, now_ns=LATER_NS, progress=lambda *now: seen.append(now))
    assert seen[-1][0] == 100
    assert seen[-1][1] > 50_000

    def interrupt(_files: int, size: int) -> None:
        if size:
            raise KeyboardInterrupt

    with opened(root) as fd, pytest.raises(KeyboardInterrupt):
        inspect(fd, index_path=None, level=Level.ALL, threads=2, now_ns=LATER_NS, progress=interrupt)
