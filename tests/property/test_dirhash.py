"""Module hashes, escaped names and zips under any bytes at all."""

import io
import os
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from go_cache_safeguard.gomod.buildlist import parse_modules, parse_requires
from go_cache_safeguard.gomod.dirhash import hash1
from go_cache_safeguard.gomod.layout import Version, escape, make_version, parse_download, parse_tree, unescape
from go_cache_safeguard.gomod.read import read_copy
from go_cache_safeguard.gomod.sumfile import parse_sum, parse_ziphash
from go_cache_safeguard.gomod.verify import Content, Need, judge_copy, show

NAMES = st.binary(min_size=1).filter(lambda name: b"\n" not in name)
FILES = st.dictionaries(NAMES, st.binary(min_size=32, max_size=32))
PATHS = st.from_regex(r"[A-Za-z0-9_-]{1,8}(/[A-Za-z0-9~._-]*[A-Za-z0-9]){0,3}", fullmatch=True)
VERSIONS = st.from_regex(r"v[A-Za-z0-9.+-]{0,20}", fullmatch=True)


@given(FILES, st.data())
def test_the_hash_does_not_depend_on_the_order(files: dict[bytes, bytes], data: st.DataObject) -> None:
    assert hash1(data.draw(st.permutations(sorted(files.items())))) == hash1(files.items())


@given(FILES, FILES)
def test_different_files_have_different_hashes(one: dict[bytes, bytes], other: dict[bytes, bytes]) -> None:
    assert (hash1(one.items()) == hash1(other.items())) == (one == other)


@given(FILES)
def test_a_hash_that_is_made_is_one_that_is_read(files: dict[bytes, bytes]) -> None:
    made = hash1(files.items())
    assert parse_ziphash(made.encode() + b"\n") == made
    assert [pin.h1 for pin in parse_sum(f"a v1 {made}".encode(), "go.sum").pins["a", "v1"]] == [made]


@given(PATHS, VERSIONS)
def test_a_version_is_found_again_where_it_lies(path: str, version: str) -> None:
    made = make_version(path, version)
    assert made == Version(path, version)
    assert parse_tree(made.tree) == made
    folder, _, name = made.download(".zip").removeprefix("cache/download/").partition("/@v/")
    assert parse_download(folder, name) == made
    assert made.tree == made.tree.lower()


@given(st.text())
def test_escaping_is_undone_and_what_is_read_is_what_would_be_written(text: str) -> None:
    plain = unescape(text)
    assert plain is None or escape(plain) == text


@given(st.text(), st.text())
def test_no_version_leads_elsewhere(path: str, version: str) -> None:
    made = make_version(path, version)
    if made is not None:
        for place in (made.tree, made.download(".zip")):
            assert os.path.normpath(place) == place
            assert not place.startswith(("/", ".."))
            assert place.isprintable()


@given(st.binary())
def test_any_bytes_are_read_without_a_fault(data: bytes) -> None:
    parse_sum(data, "go.sum")
    parse_ziphash(data)
    parse_modules(data)
    parse_requires(data)
    assert show(data).isprintable()


def _small() -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        archive.writestr(zipfile.ZipInfo("m@v1/a.g"), b"x")
    return written.getvalue()


SMALL = _small()
SOUND = {b"a.g": sha256(b"x").digest()}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One directory for all examples: hypothesis calls the test many times."""
    folder = tmp_path_factory.mktemp("mod")
    (folder / Version("m", "v1").download(".zip")).parent.mkdir(parents=True)
    return folder


def spoil(place: Path, data: bytes) -> tuple[object, bool]:
    """What is read from a zip, and whether anything is said about it."""
    version = Version("m", "v1")
    (place / version.download(".zip")).write_bytes(data)
    (place / version.download(".ziphash")).write_text(hash1((b"m@v1/" + name, one) for name, one in SOUND.items()))
    fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        copy, _ = read_copy(fd, version)
    finally:
        os.close(fd)
    return copy.zip, bool(judge_copy(copy, {}, Need.CACHE))


def test_the_small_zip_is_sound(place: Path) -> None:
    assert spoil(place, SMALL) == (Content(SOUND, size=1), False)


@settings(deadline=None)
@given(at=st.integers(0, len(SMALL) - 1), change=st.integers(1, 255), cut=st.integers(0, len(SMALL)))
def test_a_spoiled_zip_is_never_taken_for_the_sound_one_with_other_content(
    place: Path, at: int, change: int, cut: int
) -> None:
    spoiled = bytearray(SMALL)
    spoiled[at] ^= change
    found, complained = spoil(place, bytes(spoiled[: cut or None]))
    assert complained == (found != Content(SOUND, size=1))
