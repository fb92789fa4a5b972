"""Whatever is in a tree: its archive gives it back, everybody's tar reads it, and no damage goes unseen."""

import io
import os
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archives import compressed, manifest_of, members, read_all, whole
from go_cache_safeguard.core.errors import Failure
from go_cache_safeguard.snapshot.archive import open_archive
from go_cache_safeguard.snapshot.capture import walk
from go_cache_safeguard.snapshot.manifest import Kind, make_manifest, parse_manifest
from go_cache_safeguard.snapshot.pack import pack
from go_cache_safeguard.snapshot.pax import BLOCK, FILES, ArchiveBad, Member, decode, encode, header_size
from go_cache_safeguard.tree.root import open_root

S = 10**9
PARTS = st.text(st.sampled_from("aZ09._-+é世 "), min_size=1, max_size=6).filter(lambda part: part.strip(". ") == part)
LONG = st.sampled_from(["x" * 200, "é" * 100])
NAMES = st.lists(PARTS | LONG, min_size=1, max_size=4).map("/".join)
CONTENTS = st.binary(max_size=40) | st.sampled_from([b"", bytes(511), b"x" * 512, b"y" * 5000])
TIMES = st.integers(-62_135_596_800 * S, 253_402_300_799 * S) | st.integers(0, 4 * 10**18)
MEMBERS = st.builds(
    Member,
    name=NAMES.map(lambda name: FILES + name),
    size=st.integers(0, 1 << 40),
    mode=st.integers(0, 0o777),
    mtime_ns=TIMES,
)


def _no_folders(names: dict[str, bytes]) -> dict[str, bytes]:
    """Drop names that are directories of others."""
    return {name: data for name, data in names.items() if not any(other.startswith(f"{name}/") for other in names)}


TREES = st.dictionaries(NAMES, CONTENTS, max_size=8).map(_no_folders)


@given(member=MEMBERS)
def test_every_header_is_read_as_it_was_written(member: Member) -> None:
    header = encode(member)
    assert header_size(header[:BLOCK]) == len(header)
    assert decode(header) == member


@given(member=MEMBERS, at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_header_with_one_bit_changed_is_refused_or_is_the_header_of_another_member(
    member: Member, at: int, bit: int
) -> None:
    broken = bytearray(encode(member))
    broken[at % len(broken)] ^= 1 << bit
    try:
        other = decode(bytes(broken[: header_size(bytes(broken[:BLOCK]))]).ljust(len(broken), b"\x00"))
    except ArchiveBad:
        return
    assert other != member  # tar has no checksum over a long name; the manifest has one
    assert encode(other) == broken


@given(junk=st.binary(max_size=2048))
def test_junk_is_refused_and_nothing_else_happens(junk: bytes) -> None:
    with pytest.raises(ArchiveBad):
        decode(junk.ljust(header_size(junk[:BLOCK]), b"\x00"))


@given(tree=TREES)
def test_every_tree_comes_back_and_pythons_tarfile_agrees(tree: dict[str, bytes]) -> None:
    data = whole(members(tree))
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        for form in (data, compressed(data)):
            Path(folder, "a").write_bytes(form)
            assert read_all(Path(folder, "a")) == tree
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        found = {}
        for info in archive:
            content = archive.extractfile(info)
            assert content is not None
            found[info.name] = content.read()
    assert {name.removeprefix(FILES): content for name, content in found.items() if name.startswith(FILES)} == tree
    assert found["snapshot/MANIFEST.json"] == manifest_of(tree).data


@given(tree=TREES)
def test_every_manifest_is_read_as_it_was_written(tree: dict[str, bytes]) -> None:
    manifest = manifest_of(tree)
    assert parse_manifest(manifest.data) == manifest
    assert make_manifest(manifest.kind, reversed(manifest.entries)) == manifest


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(
    tree=st.dictionaries(PARTS.map(lambda part: f"m@v1/{part}"), st.tuples(CONTENTS, TIMES.map(abs)), max_size=5),
    reverse=st.booleans(),
)
def test_a_tree_on_a_disk_becomes_the_archive_that_can_be_made_up_in_memory(
    tree: dict[str, tuple[bytes, int]], *, reverse: bool
) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        root = Path(folder, "cache")
        (root / "m@v1").mkdir(parents=True)
        for name in sorted(tree, reverse=reverse):
            content, time_ns = tree[name]
            (root / name).write_bytes(content)
            (root / name).chmod(0o644)
            os.utime(root / name, ns=(0, time_ns))
        tree = {name: (content, (root / name).stat().st_mtime_ns) for name, (content, _) in tree.items()}
        with open_root(root) as opened, Path(folder, "a").open("wb") as target:
            found = list(walk(opened, Kind.MODULE, skipped=lambda one: pytest.fail(one.name)))
            made = pack(
                target.fileno(),
                opened,
                Kind.MODULE,
                found,
                [],
                compress=False,
                scratch=Path(folder),
                progress=lambda _files, _size: None,
                stop=lambda: False,
            )
        contents = {name: content for name, (content, _) in tree.items()}
        plain = manifest_of(contents, kind=Kind.MODULE)
        manifest = make_manifest(Kind.MODULE, [entry._replace(mtime_ns=tree[entry.name][1]) for entry in plain.entries])
        assert made.manifest == manifest
        assert Path(folder, "a").read_bytes() == whole(members(contents, manifest))


ONE = {"00/a-a": b"index", "00/b-d": b"x" * 1300, "é": b""}
SOUND = whole(members(ONE))


def _is_seen(data: bytes) -> bool:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        Path(folder, "a").write_bytes(data)
        try:
            with open_archive(Path(folder, "a")) as source:
                return bool(list(source.damaged(lambda _files, _size: None)))
        except Failure:
            return True


@given(at=st.integers(0, len(SOUND) - 1), bit=st.integers(0, 7))
def test_every_bit_that_falls_over_in_an_archive_is_seen(at: int, bit: int) -> None:
    broken = bytearray(SOUND)
    broken[at] ^= 1 << bit
    assert _is_seen(bytes(broken))


@given(size=st.integers(0, len(SOUND) - 1), form=st.sampled_from([SOUND, compressed(SOUND)]))
def test_every_archive_that_is_cut_off_is_seen(size: int, form: bytes) -> None:
    assert _is_seen(form[: min(size, len(form) - 1)])


@given(at=st.integers(0, len(SOUND) // BLOCK), block=st.sampled_from([bytes(BLOCK), SOUND[:BLOCK], SOUND[BLOCK:1024]]))
def test_a_block_that_was_slipped_in_or_taken_out_is_seen(at: int, block: bytes) -> None:
    place = at * BLOCK
    assert _is_seen(SOUND[:place] + block + SOUND[place:])
    assert _is_seen(SOUND[:place] + SOUND[place + BLOCK :]) or place >= len(SOUND)
