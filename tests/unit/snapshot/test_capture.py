"""Reading a cache that is alive, hostile or half broken: what is read is what was there, and what is left out is said."""

import os
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from go_cache_safeguard.snapshot.capture import IN_MEMORY, Found, Reader, find, look_of, survey, walk
from go_cache_safeguard.snapshot.manifest import Entry, Kind, Skipped, order
from go_cache_safeguard.tree.root import Root, open_root
from otherusers import NOBODY
from smallcaches import small_cache

ID = "ab" + "0" * 62


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    cache = small_cache(tmp_path / "cache", shards=3, pairs=2, programs=1)
    with open_root(cache.root) as opened:
        yield opened


def seen(root: Root, kind: Kind = Kind.BUILD) -> tuple[list[str], dict[str, str]]:
    """Names found, and what was left out and why."""
    skipped: list[Skipped] = []
    names = [found.name for found in walk(root, kind, skipped=skipped.append)]
    return names, dict(skipped)


def read(root: Root, found: Found) -> tuple[Entry | Skipped, bytes]:
    """One file, as `Reader.read` gives it."""
    memory = bytearray()

    def room(now: Found) -> memoryview:
        nonlocal memory
        memory = bytearray(now.size)
        return memoryview(memory)

    with Reader(root) as reader:
        return reader.read(found, room), bytes(memory)


def refused(root: Root, found: Found) -> str:
    """Why a file is left out."""
    one, _ = read(root, found)
    assert isinstance(one, Skipped)
    return one.why


def test_a_walk_names_every_file_in_the_order_of_bytes(root: Root) -> None:
    names, skipped = seen(root)
    assert names == sorted(names, key=order)
    assert sorted(names) == sorted(str(path.relative_to(root.path)) for path in root.path.rglob("*") if path.is_file())
    assert skipped == {}


def test_directories_and_files_that_share_a_beginning_stand_in_the_order_of_whole_paths(tmp_path: Path) -> None:
    for name in ("a@v1/x", "a@v1-b/x", "a@v1.c/x", "a@v1/x-y", "a@v1/x.d/z", "a@v1/x0"):
        (tmp_path / "m" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "m" / name).write_text(name)
    with open_root(tmp_path / "m") as opened:
        names, _ = seen(opened, Kind.MODULE)
    assert names == sorted(names, key=order)
    assert len(names) == 6


def test_a_survey_gives_the_same_files_and_none_of_what_looks_as_it_did(root: Root) -> None:
    before = dict(survey(root, Kind.BUILD, {}, skipped=skip))
    assert [found.name for files in before.values() for found in files or ()] == seen(root)[0]
    looks = {
        name: look_of([(found.name.partition("/")[2], os.lstat(root.path / found.name)) for found in files or ()])
        for name, files in before.items()
    }
    assert [name for name, files in survey(root, Kind.BUILD, looks, skipped=skip) if files] == [
        name for name, files in before.items() if any(found.name.count("/") > 1 for found in files or ())
    ]
    chosen = next(name for name, files in before.items() if len(files or ()) > 1)
    victim = root.path / (before[chosen] or [])[0].name
    victim.chmod(0o600)
    after = dict(survey(root, Kind.BUILD, looks, skipped=skip))
    assert [found.mode for found in after[chosen] or () if found.name.endswith(victim.name)] == [0o600]
    victim.unlink()
    assert len(dict(survey(root, Kind.BUILD, looks, skipped=skip))[chosen] or ()) == len(before[chosen] or ()) - 1


def skip(one: Skipped) -> None:
    pytest.fail(one.name)


def test_what_is_read_is_what_is_there_with_time_and_mode(root: Root) -> None:
    for found in walk(root, Kind.BUILD, skipped=lambda _one: None):
        path = root.path / found.name
        path.chmod(0o640)
        entry, data = read(root, found)
        known = path.stat()
        assert data == path.read_bytes()
        assert entry == Entry(found.name, len(data), 0o640, known.st_mtime_ns, sha256(data).hexdigest())


def test_whatever_is_no_file_of_gos_is_left_out_and_said(root: Root) -> None:
    shard = root.path / "00"
    (shard / ID).write_text("foreign")
    (shard / f"00{ID[2:]}-a").symlink_to("/etc/passwd")
    os.mkfifo(shard / f"00{ID[2:]}-d")
    (root.path / "ff").symlink_to("/etc")
    (root.path / "notes").mkdir()
    os.mknod(root.path / "00" / f"00{'1' * 62}-a", stat.S_IFCHR | 0o600, os.makedev(1, 5))
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(shard, os.O_RDONLY)
        server.bind(f"/proc/self/fd/{here}/00{'2' * 62}-a")
        os.close(here)
        names, skipped = seen(root)
    assert len(names) == len([path for path in root.path.rglob("*") if path.is_file() and not path.is_symlink()]) - 1
    assert skipped == {
        f"00/{ID}": "go did not put it there",
        f"00/00{ID[2:]}-a": "it is a symbolic link",
        f"00/00{ID[2:]}-d": "it is a socket or a pipe",
        f"00/00{'1' * 62}-a": "it is a device",
        f"00/00{'2' * 62}-a": "it is a socket or a pipe",
        "ff": "go did not put it there",
        "notes": "go did not put it there",
    }


def test_a_name_that_could_mislead_is_left_out_and_shown_harmlessly(root: Root) -> None:
    (root.path / "fuzz/m/F").mkdir(parents=True)
    for name in (b"\xff", b"a\nb", b"a\\b", b"\x1b[2J"):
        Path(os.fsdecode(os.fsencode(root.path / "fuzz/m/F") + b"/" + name)).write_bytes(b"x")
    (root.path / "fuzz/m/F/fine").write_text("x")
    names, skipped = seen(root)
    assert "fuzz/m/F/fine" in names
    assert len(skipped) == 4
    assert all(name.isprintable() and "\x1b" not in name for name in skipped)


def test_a_module_that_go_is_extracting_is_left_out_as_a_whole(tmp_path: Path) -> None:
    top = tmp_path / "mod"
    for name in (
        "m@v1.0.0/go.mod",
        "n@v1.0.0/go.mod",
        "cache/download/m/@v/v1.0.0.zip",
        "cache/download/m/@v/v1.0.0.partial",
    ):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text("x")
    with open_root(top) as opened:
        names, skipped = seen(opened, Kind.MODULE)
    assert names == ["cache/download/m/@v/v1.0.0.zip", "n@v1.0.0/go.mod"]
    assert skipped["m@v1.0.0"] == "it was not extracted completely"


def test_a_plans_names_are_found_programs_with_all_that_is_in_them(root: Root) -> None:
    cache, skipped = sorted(name for name, _ in _contents(root)), list[Skipped]()
    program = next(name for name in cache if (root.path / name).is_dir())
    wanted = [cache[-1], program, f"{program}/tool", cache[1], f"ab/{ID}-a", "../x", "README/x"]
    names = [found.name for found in find(root, Kind.BUILD, wanted, skipped=skipped.append)]
    assert names == sorted([cache[1], f"{program}/tool", cache[-1]])
    assert dict(skipped) == {
        f"ab/{ID}-a": "it is not there",
        "../x": "its name has an empty part, `.` or `..`",
        "README/x": "it was replaced by something else while the snapshot was made",
    }


def _contents(root: Root) -> Iterator[tuple[str, Path]]:
    for path in root.path.glob("??/*"):
        yield str(path.relative_to(root.path)), path


@contextmanager
def _before_each_read(monkeypatch: pytest.MonkeyPatch, act: Any) -> Iterator[None]:
    """Do something between the moment a file is opened and the moment it is read."""
    true = os.readv

    def readv(fd: int, buffers: Any) -> int:
        act()
        return true(fd, buffers)

    with monkeypatch.context() as patch:
        patch.setattr("os.readv", readv)
        yield


def _an_output(root: Root) -> tuple[Found, Path]:
    found = next(one for one in walk(root, Kind.BUILD, skipped=lambda _one: None) if one.name.endswith("-d"))
    return found, root.path / found.name


def test_a_file_that_is_rewritten_once_is_read_again(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    found, path = _an_output(root)
    news = iter([b"longer than it was before"])

    def rewrite() -> None:
        for data in news:
            path.write_bytes(data)

    with _before_each_read(monkeypatch, rewrite):
        entry, data = read(root, found)
    assert isinstance(entry, Entry)
    assert data == b"longer than it was before"
    assert entry.sha256 == sha256(data).hexdigest()


@pytest.mark.parametrize("same_size", [True, False])
def test_a_file_that_is_rewritten_each_time_is_left_out_and_said(
    root: Root, monkeypatch: pytest.MonkeyPatch, *, same_size: bool
) -> None:
    found, path = _an_output(root)
    count = iter(range(100))

    def rewrite() -> None:
        number = next(count)
        path.write_bytes(bytes([number]) * (found.size if same_size else number + 1))

    with _before_each_read(monkeypatch, rewrite):
        entry, _ = read(root, found)
    assert entry == Skipped(found.name, "it was rewritten while it was read")


def test_a_file_that_changed_a_moment_ago_is_believed_only_when_it_stays_as_it_is(root: Root) -> None:
    found, path = _an_output(root)
    path.write_bytes(b"now")
    entry, data = read(root, found)
    assert isinstance(entry, Entry)
    assert data == b"now"


def test_a_file_that_goes_or_turns_into_something_else_is_left_out_and_said(root: Root) -> None:
    found, path = _an_output(root)
    path.unlink()
    assert read(root, found)[0] == Skipped(found.name, "it was removed while the snapshot was made")
    path.symlink_to("/etc/passwd")
    assert "replaced" in refused(root, found)
    path.unlink()
    os.mkfifo(path)
    assert read(root, found)[0] == Skipped(found.name, "it is no regular file")
    path.unlink()
    path.parent.rename(root.path / "away")
    assert "removed" in refused(root, found)
    path.parent.symlink_to("away")
    assert "replaced" in refused(root, found)


def test_a_secret_of_somebody_else_is_not_read_with_roots_rights(tmp_path: Path) -> None:
    cache = small_cache(tmp_path / "cache")
    os.chown(cache.root, NOBODY, NOBODY)
    with open_root(cache.root) as opened:
        found, path = _an_output(opened)
        path.chmod(0o600)
        assert "may not read it" in refused(opened, found)
        path.chmod(0o644)
        assert isinstance(read(opened, found)[0], Entry)


def test_a_file_that_nobody_should_read_whole_is_left_out(root: Root) -> None:
    found, path = _an_output(root)
    os.truncate(path, 65 << 30)
    assert read(root, found)[0] == Skipped(found.name, "it is larger than 64 GiB")


def test_a_large_file_is_copied_and_what_was_copied_is_its_content(root: Root, tmp_path: Path) -> None:
    found, path = _an_output(root)
    data = os.urandom(1 << 20) * (IN_MEMORY // (1 << 20)) + b"end"
    path.write_bytes(data)
    with (tmp_path / "spool").open("w+b") as spool, Reader(root) as reader:
        spool.write(b"something older")
        spool.flush()
        entry = reader.copy(found, spool.fileno())
        assert isinstance(entry, Entry)
        assert os.pread(spool.fileno(), entry.size, 0) == data
        assert entry.sha256 == sha256(data).hexdigest()
        assert (
            reader.read(found, lambda now: memoryview(bytearray(now.size)))[1] == "it was rewritten while it was read"
        )


def test_a_time_that_no_manifest_can_say_is_left_out(root: Root) -> None:
    found, path = _an_output(root)
    os.utime(path, (0, 1 << 40))
    if path.stat().st_mtime == 1 << 40:  # most disks cannot keep it either
        assert "year" in refused(root, found)


def test_readers_of_several_threads_do_not_disturb_each_other(root: Root) -> None:
    every = list(walk(root, Kind.BUILD, skipped=lambda _one: None))
    got: list[list[Entry | Skipped]] = []

    def work() -> None:
        with Reader(root) as reader:
            got.append([reader.read(one, lambda now: memoryview(bytearray(now.size))) for one in every])

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got[0] == got[1] == got[2]
    assert all(isinstance(one, Entry) for one in got[0])
