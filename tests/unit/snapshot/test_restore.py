"""Files come into a cache whole, verified and without a word of the source believed."""

import os
import stat
from collections.abc import Collection, Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.gocache.member import is_program
from go_cache_safeguard.snapshot import restore
from go_cache_safeguard.snapshot.manifest import Entry, Kind, make_manifest
from go_cache_safeguard.snapshot.merge import Live
from go_cache_safeguard.snapshot.restore import Admit, NoRoom, Written, look, refresh, require_room, write
from go_cache_safeguard.tree.root import Root, open_root
from otherusers import NOBODY, reveal
from sources import DAY_NS, MemorySource, build_files, entry_of, files_below, lay_out, source_of

NOW_NS = 1_900_000_000 * 10**9
NAME = "ab/" + "ab" * 32 + "-d"


class BrokenOff(Failure):
    """An archive that ends in the middle."""

    id = "broken-off"
    exit_code = ExitCode.TARGET
    meaning = "made up"


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    (tmp_path / "cache").mkdir()
    with open_root(tmp_path / "cache") as opened:
        yield opened


def put(root: Root, source: MemorySource, *, admit: Admit | None = None, in_place: bool = True) -> Written:
    entries = source.manifest.entries
    return write(root, source, entries, now_ns=NOW_NS, programs=is_program, in_place=in_place, admit=admit)


def lying(entry: Entry, data: bytes) -> MemorySource:
    """A snapshot that says one thing and gives another."""
    return MemorySource(make_manifest(Kind.BUILD, [entry]), {entry.name: data}, piece=7)


def test_files_arrive_whole_with_the_modes_of_go(root: Root) -> None:
    files = build_files()
    done = put(root, source_of(files, mtime_ns=NOW_NS - 5))
    assert {name for name, _, _ in done.files} == set(files)
    assert (done.newer, done.failed, done.stopped) == ([], [], False)
    assert done.size == sum(map(len, files.values()))
    assert files_below(root.path) == files
    umask = os.umask(0)
    os.umask(umask)
    for name in files:
        found = (root.path / name).stat()
        assert stat.S_IMODE(found.st_mode) == (0o777 if is_program(name) else 0o666) & ~umask
        assert found.st_mtime_ns == NOW_NS - 5
        assert found.st_nlink == 1
        if is_program(name):
            assert (root.path / name).parent.stat().st_mtime_ns == NOW_NS - 5


def test_old_times_become_now_so_that_trim_leaves_them(root: Root) -> None:
    put(root, source_of(build_files(), mtime_ns=NOW_NS - 6 * DAY_NS))
    assert {path.stat().st_mtime_ns for path in root.path.glob("*/*")} == {NOW_NS}


def test_the_second_time_everything_is_there_already(root: Root) -> None:
    source = source_of(build_files())
    put(root, source)
    before = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in root.path.rglob("*")}
    assert set(put(root, source).newer) == {entry.name for entry in source.manifest.entries}
    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in root.path.rglob("*")} == before


def test_a_live_file_is_never_replaced(root: Root) -> None:
    lay_out(root.path, {NAME: b"newer"})
    assert put(root, source_of({NAME: b"older"})).newer == [NAME]
    assert (root.path / NAME).read_bytes() == b"newer"


@pytest.mark.parametrize(
    ("said", "given", "why"),
    [
        (b"x" * 100, b"x" * 101, "more of it"),
        (b"x" * 100, b"x" * 99, "less of it"),
        (b"x" * 100, b"y" * 100, "its content"),
        (b"", b"x", "more of it"),
        (b"x" * 3_000_000, b"x" * 2_999_999 + b"y", "its content"),
        (b"x" * 3_000_000, b"x" * 3_000_001, "more of it"),
    ],
)
@pytest.mark.parametrize("owner", [0, NOBODY])
def test_what_is_not_as_the_manifest_says_gets_no_name(
    root: Root, said: bytes, given: bytes, why: str, owner: int
) -> None:
    reveal(root.path)
    os.chown(root.path, owner, owner)
    with open_root(root.path) as theirs:
        done = put(theirs, lying(entry_of(NAME, said), given))
    assert [name for name, _ in done.failed] == [NAME]
    assert why in done.failed[0][1]
    assert files_below(root.path) == {}


@pytest.mark.parametrize("owner", [0, NOBODY])
def test_a_bomb_is_left_after_the_bytes_that_were_promised(root: Root, owner: int) -> None:
    reveal(root.path)
    os.chown(root.path, owner, owner)
    given = 0

    class Bomb(MemorySource):
        def _chunks(self, data: bytes) -> Iterator[bytes]:
            nonlocal given
            while True:
                given += len(data)
                yield data

    entry = entry_of(NAME, b"x" * 1000)
    with open_root(root.path) as theirs:
        done = put(theirs, Bomb(make_manifest(Kind.BUILD, [entry]), {NAME: b"x" * 1000}))
    assert "more of it" in done.failed[0][1]
    assert given <= 2000


def test_what_the_source_gives_twice_or_unasked_is_passed_over(root: Root) -> None:
    files = build_files()
    honest = source_of(files)

    class Talkative(MemorySource):
        def contents(self, wanted: Collection[str]) -> Iterator[tuple[Entry, Iterator[bytes]]]:
            assert set(wanted) == set(files)
            for name in (*files, *files):
                yield entry_of(f"../{name}", b"evil"), iter((b"evil",))
                yield entry_of(name, b"another hash"), iter((files[name],))

    done = put(root, Talkative(honest.manifest, files))
    assert done.failed == []
    assert files_below(root.path) == files
    assert sorted(path.name for path in root.path.parent.iterdir() if path != root.path) == []


def test_what_the_source_does_not_give_is_said(root: Root) -> None:
    entry = entry_of(NAME, b"x")
    assert put(root, MemorySource(make_manifest(Kind.BUILD, [entry]), {})).failed == [
        (NAME, "the snapshot does not hold it")
    ]


def test_an_archive_that_ends_in_the_middle_leaves_whole_files_only(root: Root) -> None:
    files = build_files(pairs=20)
    source = source_of(files)
    names = [entry.name for entry in source.manifest.entries]

    def break_off(name: str) -> None:
        if name == names[10]:
            raise BrokenOff("it ends here")

    source.on_each.append(break_off)
    with pytest.raises(BrokenOff):
        put(root, source)
    there = files_below(root.path)
    assert len(there) == 10
    assert there.items() <= files.items()


@pytest.mark.parametrize("where", ["shard", "name"])
def test_a_link_in_the_way_is_never_followed(root: Root, where: str) -> None:
    victim = root.path.parent / "victim"
    victim.mkdir()
    if where == "shard":
        (root.path / "ab").symlink_to(victim)
    else:
        (root.path / "ab").mkdir()
        (root.path / NAME).symlink_to(victim / "file")
    source = source_of({NAME: b"x"})
    assert look(root, source.manifest.entries) == {NAME: Live(None)}
    done = put(root, source)
    assert done.files == []
    assert list(victim.iterdir()) == []


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.mknod(path, stat.S_IFCHR, os.makedev(1, 5))])
def test_something_odd_in_the_way_is_neither_read_nor_replaced(root: Root, make: object) -> None:
    assert callable(make)
    (root.path / "ab").mkdir()
    make(root.path / NAME)
    source = source_of({NAME: b""})
    assert look(root, source.manifest.entries) == {NAME: Live(None)}
    assert put(root, source).newer == [NAME]


def test_a_look_reads_only_what_has_the_right_size(root: Root) -> None:
    files = {NAME: b"same", "cd/x": b"other size", "ef/x": b"gone", "ef/y": b"diff"}
    lay_out(root.path, {NAME: b"same", "cd/x": b"x", "ef/y": b"ffid"})
    (root.path / "cd/x").chmod(0)
    assert look(root, source_of(files).manifest.entries) == {
        NAME: Live(4, sha256(b"same").hexdigest()),
        "cd/x": Live(1),
        "ef/y": Live(4, sha256(b"ffid").hexdigest()),
    }


def test_what_is_admitted_is_judged_by_content_and_by_what_is_there(root: Root) -> None:
    lay_out(root.path, {"cd/out-d": b"12345", "cd/prog-d/tool": b"123"})
    asked = {"cd/out-d": 5, "cd/prog-d": 3, "cd/none": None, "none/none": None}

    def admit(entry: Entry, data: bytes, size_of: restore.SizeOf) -> str | None:
        assert {name: size_of(name) for name in asked} == asked
        return None if data == b"good" else f"{entry.name} is bad"

    done = put(root, source_of({"ab/good-a": b"good", "ab/bad-a": b"evil"}), admit=admit)
    assert [name for name, _, _ in done.files] == ["ab/good-a"]
    assert done.failed == [("ab/bad-a", "ab/bad-a is bad")]


def test_files_belong_to_the_owner_of_the_cache(root: Root) -> None:
    reveal(root.path)
    os.chown(root.path, NOBODY, NOBODY)
    files = build_files(pairs=30)
    with open_root(root.path) as theirs:
        done = put(theirs, source_of(files))
    assert len(done.files) == len(files)
    assert files_below(root.path) == files
    assert {path.stat().st_uid for path in root.path.rglob("*")} == {NOBODY}


def test_contents_that_do_not_fit_in_one_batch_arrive(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restore, "_BATCH", 100)
    test_files_belong_to_the_owner_of_the_cache(root)


def test_a_stop_comes_between_two_files(root: Root) -> None:
    source = source_of(build_files(pairs=10))
    begun: list[str] = []
    source.on_each.append(begun.append)
    entries = source.manifest.entries
    done = write(root, source, entries, now_ns=NOW_NS, programs=is_program, in_place=True, stop=lambda: len(begun) > 5)
    assert done.stopped
    assert len(done.files) == 5
    assert done.failed == []
    assert set(files_below(root.path)) == {name for name, _, _ in done.files}


@pytest.mark.parametrize("size", [0, 1, 1000, 3_000_000])
def test_without_unnamed_files_it_is_done_as_go_does_it(root: Root, size: int) -> None:
    data = bytes(size)
    folders = restore._Folders(root.fd)
    writer = restore._Writer(folders, NOW_NS, is_program, None, in_place=True)
    writer._unnamed = False
    writer._write(entry_of(NAME, data), iter([data[:10], data[10:]]))
    assert (root.path / NAME).read_bytes() == data
    if size > restore.SMALL:
        with pytest.raises(restore._Bad):
            writer._write(entry_of(f"{NAME}2", data), iter([data[:-1], b"y"]))
        assert len((root.path / f"{NAME}2").read_bytes()) < size, "go would take a whole file for a good one"
    with folders:
        pass


def test_without_unnamed_files_a_module_is_not_written(root: Root) -> None:
    writer = restore._Writer(restore._Folders(root.fd), NOW_NS, is_program, None, in_place=False)
    writer._unnamed = False
    with pytest.raises(restore._Bad, match="cannot make a file without a name"):
        writer._write(entry_of("x", b"x"), iter([b"x"]))
    assert not (root.path / "x").exists()


def test_what_was_there_and_is_old_counts_as_used(root: Root) -> None:
    lay_out(root.path, {NAME: b"x", "cd/young": b"x"})
    os.utime(root.path / NAME, ns=(0, NOW_NS - 2 * DAY_NS))
    os.utime(root.path / "cd/young", ns=(0, NOW_NS - 7))
    assert refresh(root, [NAME, "cd/young", "cd/none"], now_ns=NOW_NS) == 1
    assert (root.path / NAME).stat().st_mtime_ns == NOW_NS
    assert (root.path / "cd/young").stat().st_mtime_ns == NOW_NS - 7


def test_more_than_the_disk_holds_is_not_even_begun(root: Root) -> None:
    with pytest.raises(NoRoom, match="bytes are needed"):
        require_room(root, [Entry(NAME, 1 << 60, 0o644, 0, "0" * 64)])
    require_room(root, [entry_of(NAME, b"x")])
