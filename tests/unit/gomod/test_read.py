"""Zips and trees that somebody prepared, read without following them anywhere."""

import os
import struct
import zipfile
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from go_cache_safeguard.gomod.dirhash import hash1, hash_go_mod
from go_cache_safeguard.gomod.layout import Version
from go_cache_safeguard.gomod.read import list_versions, read_copy
from go_cache_safeguard.gomod.verify import Absent, Broken, Content, Copy, Unreadable

M = Version("example.com/Mod", "v1.0.0")


class Cache:
    """A module cache with one module version in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.zip = path / M.download(".zip")
        self.tree = path / M.tree
        self.zip.parent.mkdir(parents=True)
        (self.tree / "sub").mkdir(parents=True)
        for name in ("go.mod", "sub/a.go"):
            (self.tree / name).write_bytes(name.encode())
        self.pack(*((f"{M}/{name}", name.encode()) for name in ("go.mod", "sub/a.go")))
        (path / M.download(".ziphash")).write_text(hash1([]) + "\n")
        (path / M.download(".mod")).write_bytes(b"go.mod")

    def pack(self, *files: tuple[str | zipfile.ZipInfo, bytes]) -> None:
        with zipfile.ZipFile(self.zip, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files:
                archive.writestr(name, data)

    def read(self, version: Version = M) -> Copy:
        fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return read_copy(fd, version)[0]
        finally:
            os.close(fd)

    def listed(self) -> tuple[set[Version], list[str]]:
        refused: list[str] = []
        fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return set(list_versions(fd, unreadable=lambda name, _why: refused.append(name))), refused
        finally:
            os.close(fd)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Cache]:
    before = len(list(Path("/proc/self/fd").iterdir()))
    yield Cache(tmp_path / "mod")
    assert len(list(Path("/proc/self/fd").iterdir())) == before, "a descriptor was left open"


def odd(content: object) -> list[tuple[str, str]]:
    assert isinstance(content, Content), content
    return [(one.name, one.why) for one in content.odd]


def test_zip_and_tree_of_a_module_hold_the_same(cache: Cache) -> None:
    found = cache.read()
    wanted = {name: sha256(name).digest() for name in (b"go.mod", b"sub/a.go")}
    assert found.zip == found.tree == Content(wanted, size=14)
    assert (found.hash, found.mod, found.partial) == (hash1([]), hash_go_mod(b"go.mod"), False)


def test_what_is_not_there_is_absent(cache: Cache) -> None:
    assert cache.read(Version("example.com/Mod", "v2.0.0")) == Copy(Version("example.com/Mod", "v2.0.0"))


def test_every_version_of_which_there_is_anything_is_listed_once_each(cache: Cache) -> None:
    for name in (
        "example.com/only@v1.0.0/x@v2.0.0",
        "cache/download/sumdb/a/@v",
        "cache/vcs/b@v1.0.0",
        "example.com/Bad@v1",
    ):
        (cache.path / name).mkdir(parents=True)
    (cache.path / "cache/download/sumdb/a/@v/v1.0.0.zip").touch()
    found, refused = cache.listed()
    assert found == {M, Version("example.com/only", "v1.0.0")}
    assert refused == ["example.com/Bad@v1"]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("/etc/passwd", "does not begin"),
        ("../../etc/passwd", "does not begin"),
        ("example.com/mod@v1.0.0/a", "does not begin"),
        (f"{M}/../../up", "leads elsewhere"),
        (f"{M}/./a", "leads elsewhere"),
        (f"{M}//a", "leads elsewhere"),
        (f"{M}/a\\b", "leads elsewhere"),
        (f"{M}/a\nb", "leads elsewhere"),
    ],
)
def test_a_name_in_a_zip_that_leads_elsewhere_is_a_finding(cache: Cache, name: str, why: str) -> None:
    cache.pack((f"{M}/go.mod", b""), (name, b"x"))
    assert [why in reason for _, reason in odd(cache.read().zip)] == [True]


def test_a_name_that_a_zip_holds_twice_is_a_finding(cache: Cache) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        cache.pack((f"{M}/a", b"1"), (f"{M}/a", b"2"))
    assert [why for _, why in odd(cache.read().zip)] == ["the zip holds this name twice"]


def test_a_symbolic_link_in_a_zip_is_a_finding(cache: Cache) -> None:
    link = zipfile.ZipInfo(f"{M}/l")
    link.external_attr = 0o120777 << 16
    cache.pack((link, b"/etc/passwd"))
    assert [why for _, why in odd(cache.read().zip)] == ["it is not a regular file"]


def test_a_way_of_packing_that_go_does_not_know_is_a_finding(cache: Cache) -> None:
    packed = zipfile.ZipInfo(f"{M}/a")
    packed.compress_type = zipfile.ZIP_BZIP2
    cache.pack((packed, b"x"))
    assert [why for _, why in odd(cache.read().zip)] == ["it is packed in a way that go does not know"]


def test_names_are_hashed_as_the_bytes_that_stand_in_the_zip(cache: Cache) -> None:
    cache.pack((f"{M}/ä", b"x"), (f"{M}/Q", b"x"))
    data = cache.zip.read_bytes().replace(f"{M}/Q".encode(), f"{M}/".encode() + b"\xe4")
    cache.zip.write_bytes(data)
    found = cache.read().zip
    assert isinstance(found, Content)
    assert set(found.files) == {"ä".encode(), b"\xe4"}


def bomb_by_its_own_account(data: bytearray) -> None:
    at = data.index(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<I", (500 << 20) + 1)


def lies_about_its_size(data: bytearray) -> None:
    at = data.index(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<I", 1)


def is_cut(data: bytearray) -> None:
    del data[-30:]


def is_empty(data: bytearray) -> None:
    data.clear()


def has_a_flipped_bit(data: bytearray) -> None:
    data[30 + len(f"{M}/go.mod")] ^= 4


@pytest.mark.parametrize(
    "spoil",
    [bomb_by_its_own_account, lies_about_its_size, is_cut, is_empty, has_a_flipped_bit],
    ids=lambda f: f.__name__,
)
def test_a_zip_that_is_none_is_broken(cache: Cache, spoil: Callable[[bytearray], None]) -> None:
    data = bytearray(cache.zip.read_bytes())
    spoil(data)
    cache.zip.write_bytes(data)
    assert isinstance(cache.read().zip, Broken)


def test_a_zip_that_go_would_read_otherwise_is_broken(cache: Cache) -> None:
    """Go shifts no offset if a list of files lies where the end record says; zipfile always does."""
    sound = cache.zip.read_bytes()
    cache.zip.write_bytes(b"#!/bin/sh\n" + sound)
    found = cache.read().zip
    assert isinstance(found, Broken)
    assert "not where its end record says" in found.why
    cache.zip.write_bytes(sound + b"more")
    assert isinstance(cache.read().zip, Broken)


def test_a_zip_that_is_too_large_is_not_opened(cache: Cache) -> None:
    os.truncate(cache.zip, (500 << 20) + 1)
    found = cache.read().zip
    assert isinstance(found, Broken)
    assert "500 MiB" in found.why


def test_a_bomb_hands_out_no_more_than_it_says(cache: Cache) -> None:
    cache.pack((f"{M}/a", bytes(8 << 20)))
    data = bytearray(cache.zip.read_bytes())
    lies_about_its_size(data)
    cache.zip.write_bytes(data)
    assert isinstance(cache.read().zip, Broken)


def test_links_and_special_files_in_a_tree_are_findings_and_are_not_followed(cache: Cache, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("key")
    (cache.tree / "file").symlink_to(secret / "key")
    (cache.tree / "folder").symlink_to(secret)
    os.mkfifo(cache.tree / "pipe")
    (cache.tree / "line\nend").write_text("x")
    found = cache.read().tree
    assert sorted(name for name, _ in odd(found)) == ["file", "folder", "line\\nend", "pipe"]
    assert isinstance(found, Content)
    assert set(found.files) == {b"go.mod", b"sub/a.go"}


def test_a_link_in_the_place_of_anything_is_unreadable(cache: Cache, tmp_path: Path) -> None:
    cache.tree.rename(tmp_path / "moved")
    cache.tree.symlink_to(tmp_path / "moved")
    cache.zip.rename(tmp_path / "moved.zip")
    cache.zip.symlink_to(tmp_path / "moved.zip")
    found = cache.read()
    assert isinstance(found.tree, Unreadable)
    assert isinstance(found.zip, Unreadable)


@pytest.mark.parametrize("suffix", [".zip", ".ziphash", ".mod"])
def test_a_pipe_in_the_place_of_a_file_does_not_stop_us(cache: Cache, suffix: str) -> None:
    path = cache.path / M.download(suffix)
    path.unlink()
    os.mkfifo(path)
    found = cache.read()
    assert isinstance({".zip": found.zip, ".ziphash": found.hash, ".mod": found.mod}[suffix], Unreadable)


def test_a_hash_file_without_a_hash_is_broken_and_a_huge_one_is_not_read(cache: Cache) -> None:
    path = cache.path / M.download(".ziphash")
    path.write_text("")
    assert isinstance(cache.read().hash, Broken)
    os.truncate(path, (16 << 20) + 1)
    assert isinstance(cache.read().hash, Unreadable)


def test_a_tree_deeper_than_any_module_is_a_finding(cache: Cache) -> None:
    (cache.tree / "/".join("d" * 205)).mkdir(parents=True)
    assert [why for _, why in odd(cache.read().tree)] == ["it lies deeper than in any module"]


def test_an_interrupted_extraction_is_seen(cache: Cache) -> None:
    (cache.path / M.download(".partial")).touch()
    assert cache.read().partial
    assert not isinstance(cache.read().tree, Absent)
