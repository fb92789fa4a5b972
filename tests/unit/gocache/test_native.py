"""Go's own cache layout as we read and write it: proved before it is used, and never left worse than before."""

import os
import time
from hashlib import sha256
from pathlib import Path

import pytest

from go_cache_safeguard.gocache.entry import Entry, parse_entry
from go_cache_safeguard.gocache.layout import action_name, output_name
from go_cache_safeguard.gocache.native import Native, Table

ACTION, OTHER = sha256(b"action").digest(), sha256(b"other").digest()
CONTENT = b"what a compiler made" * 100
OUTPUT = sha256(CONTENT).digest()
DAY_NS = 86_400 * 10**9


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "cache"
    root.mkdir()
    return root


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table(str(tmp_path / "marks"))


def keep(native: Native, action: bytes = ACTION, content: bytes = CONTENT, *, pieces: int = 700) -> tuple[Path, bool]:
    incoming = native.begin(action, sha256(content).digest(), len(content))
    for at in range(0, len(content), pieces):
        incoming.write(content[at : at + pieces])
    shown = incoming.finish()
    return Path(os.fsdecode(shown)), incoming.indexed


def content_of(native: Native, action: bytes = ACTION) -> bytes | None:
    """What is given out for an action."""
    now_ns = time.time_ns()
    found = native.look(action, now_ns)
    if found is None or (found.mark is None and not native.prove(found, now_ns)):
        return None
    native.used(found, now_ns)
    assert os.fsdecode(found.shown) == found.path
    return Path(found.path).read_bytes()


def test_what_is_kept_lies_where_go_looks_for_it_and_is_found_again(root: Path, table: Table) -> None:
    native = Native(str(root), table=table)
    path, indexed = keep(native)
    assert indexed
    assert path == root / output_name(OUTPUT)
    entry = parse_entry((root / action_name(ACTION)).read_bytes(), ACTION)
    assert isinstance(entry, Entry)
    assert (entry.output, entry.size) == (OUTPUT, len(CONTENT))
    assert content_of(native) == CONTENT
    assert content_of(native, OTHER) is None


def test_an_empty_output_is_kept_and_found(root: Path) -> None:
    native = Native(str(root))
    assert keep(native, content=b"")[1]
    assert content_of(native) == b""


def test_what_was_written_or_hashed_once_is_not_hashed_again(
    root: Path, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(Native(str(root), table=table))
    again = Native(str(root), table=table)
    monkeypatch.setattr(again, "prove", lambda *_: pytest.fail("hashed again"))
    assert content_of(again) == CONTENT
    found = again.look(ACTION, time.time_ns())
    assert found is not None
    os.utime(found.path, ns=(1, found.marks[2]))  # ctime is another one
    fresh = again.look(ACTION, time.time_ns())
    assert fresh is not None
    assert fresh.mark is None


def test_verify_always_hashes_each_time(root: Path, table: Table) -> None:
    keep(Native(str(root), table=table))
    found = Native(str(root), table=table, verify="always").look(ACTION, time.time_ns())
    assert found is not None
    assert found.mark is None


@pytest.mark.parametrize("at", [0, len(CONTENT) // 2, len(CONTENT) - 1])
def test_a_flipped_byte_is_a_miss_counted_and_mended_by_the_next_put(root: Path, table: Table, at: int) -> None:
    native = Native(str(root), table=table)
    path, _ = keep(native)
    data = bytearray(CONTENT)
    data[at] ^= 1
    stamp = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert content_of(native) is None
    assert native.damaged == 1
    assert native.notes == [f"{OUTPUT.hex()}-d is not what its name says"]
    inode = path.stat().st_ino
    assert keep(native)[1]
    assert path.stat().st_ino == inode, "go writes in place"
    assert content_of(native) == CONTENT


@pytest.mark.parametrize("damage", ["empty", "half", "longer", "missing", "directory", "fifo", "link"])
def test_an_output_of_another_shape_is_a_miss_and_never_waited_for(root: Path, damage: str) -> None:
    native = Native(str(root))
    path, _ = keep(native)
    match damage:
        case "empty" | "half" | "longer":
            path.write_bytes({"empty": b"", "half": CONTENT[:99], "longer": CONTENT + b"x"}[damage])
        case _:
            path.rename(root / "aside")
    if damage == "directory":
        path.mkdir()
    elif damage == "fifo":
        os.mkfifo(path)
    elif damage == "link":
        path.symlink_to(root / "aside")
    assert content_of(native) is None
    kept, indexed = keep(native)
    assert kept.read_bytes() == CONTENT
    assert indexed == (damage in {"empty", "half", "longer", "missing"})
    native.close()


@pytest.mark.parametrize(
    "entry", [b"", b"v1", bytes(175), b"x" * 500, None], ids=["empty", "cut", "zeros", "long", "other action"]
)
def test_a_damaged_entry_is_a_miss_and_written_again(root: Path, entry: bytes | None) -> None:
    native = Native(str(root))
    keep(native)
    path = root / action_name(ACTION)
    good = path.read_bytes()
    path.write_bytes(good.replace(ACTION.hex().encode(), OTHER.hex().encode()) if entry is None else entry)
    assert content_of(native) is None
    assert keep(native)[1]
    assert len(path.read_bytes()) == 175
    assert content_of(native) == CONTENT


def test_what_go_reads_though_it_would_not_write_it_is_read_too(root: Path) -> None:
    native = Native(str(root))
    keep(native)
    path = root / action_name(ACTION)
    path.write_bytes(path.read_bytes().replace(OUTPUT.hex().encode(), OUTPUT.hex().upper().encode()))
    assert content_of(native) == CONTENT


def test_time_stamps_say_when_something_was_used_at_most_once_an_hour(root: Path, table: Table) -> None:
    native = Native(str(root), table=table)
    keep(native)
    paths = (root / action_name(ACTION), root / output_name(OUTPUT))
    old_ns = time.time_ns() - DAY_NS
    for path in paths:
        os.utime(path, ns=(old_ns, old_ns))
    assert content_of(native) == CONTENT
    assert all(path.stat().st_mtime_ns > old_ns + DAY_NS // 2 for path in paths)
    used = [path.stat().st_mtime_ns for path in paths]
    found = native.look(ACTION, time.time_ns())
    assert found is not None
    assert content_of(native) == CONTENT
    assert [path.stat().st_mtime_ns for path in paths] == used


def test_read_only_writes_nothing_not_even_a_time_stamp(root: Path) -> None:
    keep(Native(str(root)))
    old_ns = time.time_ns() - DAY_NS
    for path in root.glob("??/*"):
        os.utime(path, ns=(old_ns, old_ns))
    native = Native(str(root), read_only=True)
    assert content_of(native) == CONTENT
    path, indexed = keep(native, OTHER, b"new")
    assert path.read_bytes() == b"new"
    assert not indexed
    assert len(list(root.glob("??/*"))) == 2
    assert all(path.stat().st_mtime_ns == old_ns for path in root.glob("??/*"))
    native.close()
    assert not path.exists()


def test_a_content_that_is_not_what_was_announced_is_not_kept(root: Path) -> None:
    native = Native(str(root))
    incoming = native.begin(ACTION, OUTPUT, len(CONTENT))
    incoming.write(CONTENT[:-1] + b"!")
    path = Path(os.fsdecode(incoming.finish()))
    assert not incoming.indexed
    assert path.read_bytes() == CONTENT[:-1] + b"!"
    assert (root / output_name(OUTPUT)).read_bytes() == b""
    assert content_of(native) is None
    native.close()


def test_a_cached_program_is_found_inside_of_its_directory_if_it_can_be_executed(root: Path) -> None:
    native = Native(str(root))
    path, _ = keep(native)
    path.rename(root / "aside")
    path.mkdir()
    (root / "aside").rename(path / "tool")
    assert content_of(native) is None
    (path / "tool").chmod(0o755)
    assert content_of(native) == CONTENT
    (path / "second").touch()
    assert content_of(native) is None


def test_marks_of_others_are_asked_before_anything_is_hashed(root: Path) -> None:
    path, _ = keep(Native(str(root)))
    asked: list[bytes] = []

    def known(output: bytes) -> tuple[int, int, int, int]:
        asked.append(output)
        seen = path.stat()
        return seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns

    assert content_of(Native(str(root), known=known)) == CONTENT
    assert asked == [OUTPUT]


def test_a_content_that_somebody_touches_while_it_is_hashed_is_a_miss_and_no_damage(root: Path) -> None:
    path, _ = keep(Native(str(root)))

    def touched(_output: bytes) -> None:
        os.utime(path, ns=(5, 5))

    native = Native(str(root), known=touched)
    assert content_of(native) is None
    assert (native.damaged, native.notes) == (0, [])


def test_a_cache_whose_name_is_no_utf8_has_another_name_for_go(tmp_path: Path) -> None:
    root = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    root.mkdir()
    native = Native(str(root))
    path, indexed = keep(native)
    assert indexed
    assert str(path).startswith(f"/proc/{os.getpid()}/fd/")
    assert path.read_bytes() == CONTENT


def test_a_table_that_cannot_be_written_remembers_nothing(tmp_path: Path) -> None:
    table = Table(str(tmp_path / "no" / "marks"))
    assert table.get(OUTPUT) is None
    (tmp_path / "here").mkdir()
    assert Table(str(tmp_path / "here")).get(OUTPUT) is None
