"""Archives as wholes: what does not fit together is refused, whatever each part looks like."""

import os
from pathlib import Path

import pytest
from zstandard import ZstdCompressionParameters, ZstdCompressor

from archives import CONTENTS, compressed, manifest_of, members, read_all, whole
from go_cache_safeguard.core.errors import Failure
from go_cache_safeguard.snapshot.archive import ArchiveUnreadable, open_archive, sums
from go_cache_safeguard.snapshot.manifest import ManifestBad, make_manifest
from go_cache_safeguard.snapshot.pax import FILES, MANIFEST, SUMS, ArchiveBad, Member, encode, padding, trailer

SOUND = members(CONTENTS)


def member(name: str, data: bytes) -> bytes:
    return encode(Member(name, len(data), 0o644, 0)) + data + padding(len(data))


def opened(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with open_archive(path):
        pass


@pytest.mark.parametrize("packed", [False, True])
def test_a_sound_archive_is_read(tmp_path: Path, *, packed: bool) -> None:
    data = whole(SOUND)
    (tmp_path / "a").write_bytes(compressed(data) if packed else data)
    assert read_all(tmp_path / "a") == CONTENTS


def test_an_archive_of_nothing_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(whole(members({})))
    assert read_all(tmp_path / "a") == {}


HOSTILE = {
    "an entry twice": ([SOUND[0], *SOUND], "stands twice"),
    "entries in another order": ([SOUND[1], SOUND[0], *SOUND[2:]], "in the wrong place"),
    "an entry that the manifest does not list": (
        [*SOUND[:-2], member(f"{FILES}z", b"evil"), *SOUND[-2:]],
        "that its manifest lists",
    ),
    "an entry missing": (SOUND[1:], "that its manifest lists"),
    "a file of another size": ([member(f"{FILES}00/a-a", b"in"), *SOUND[1:]], "that its manifest lists"),
    "no manifest": ([*SOUND[:-2], SOUND[-1]], "does not end with a manifest"),
    "no checksums": (SOUND[:-1], "does not end with a manifest"),
    "checksums first": ([*SOUND[:-2], SOUND[-1], SOUND[-2]], "does not end with a manifest"),
    "two manifests": ([*SOUND[:-2], SOUND[-2], *SOUND[-2:]], "in the wrong place"),
    "something behind the checksums": ([*SOUND, SOUND[0]], "does not end with a manifest"),
    "nothing": ([], "does not end with a manifest"),
    "other checksums": (
        [*SOUND[:-1], member(SUMS, sums(manifest_of(CONTENTS)).replace(b"a", b"b"))],
        "that its manifest lists|does not agree",
    ),
}


@pytest.mark.parametrize(("parts", "why"), HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("packed", [False, True])
def test_an_archive_that_does_not_fit_together_is_refused(
    tmp_path: Path, parts: list[bytes], why: str, *, packed: bool
) -> None:
    data = whole(parts)
    with pytest.raises(ArchiveBad, match=why):
        opened(tmp_path / "a", compressed(data) if packed else data)


def test_checksums_that_do_not_agree_with_the_manifest_are_refused(tmp_path: Path) -> None:
    manifest = manifest_of(CONTENTS)
    wrong = bytearray(sums(manifest))
    wrong[0] ^= 1
    last = encode(Member(SUMS, len(wrong), 0o644, manifest.entries[0].mtime_ns)) + bytes(wrong) + padding(len(wrong))
    with pytest.raises(ArchiveBad, match="SHA256SUMS does not agree"):
        opened(tmp_path / "a", whole([*SOUND[:-1], last]))


@pytest.mark.parametrize("names", [("a", "a/b"), ("a", "a-b", "a/b/c")])
def test_a_name_that_is_a_file_and_a_directory_is_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    contents = dict.fromkeys(names, b"x")
    honest = manifest_of({"q": b"x"})
    forged = type(honest)(honest.kind, tuple(honest.entries[0]._replace(name=name) for name in names))
    with pytest.raises(ManifestBad, match="a file and a directory"):
        opened(tmp_path / "a", whole(members(contents, forged)))


@pytest.mark.parametrize(
    ("end", "why"),
    [
        (b"", "ends early"),
        (bytes(512), "ends early"),
        (trailer(sum(map(len, SOUND)))[:-1], "ends early"),
        (trailer(sum(map(len, SOUND))) + b"\x00", "something follows"),
        (trailer(sum(map(len, SOUND))) + SOUND[0], "something follows"),
        (bytes(600) + b"x" + trailer(sum(map(len, SOUND)))[601:], "something follows"),
        (bytes(100) + b"x" + bytes(411), "not in POSIX format"),
    ],
)
def test_an_archive_ends_as_we_end_it(tmp_path: Path, end: bytes, why: str) -> None:
    with pytest.raises(ArchiveBad, match=why):
        opened(tmp_path / "a", b"".join(SOUND) + end)


def test_bytes_behind_an_entry_and_entries_that_changed_are_named(tmp_path: Path) -> None:
    data = bytearray(whole(SOUND))
    at = data.index(b"index")
    for place, name in ((at, "00/a-a"), (at + 100, "00/a-a"), (data.index(b"x" * 1300) + 1299, "00/b-d")):
        broken = bytearray(data)
        broken[place] ^= 1
        (tmp_path / "a").write_bytes(broken)
        with open_archive(tmp_path / "a") as source:
            assert list(source.damaged(lambda _files, _size: None)) == [name]
    last = len(b"".join(SOUND)) - 1
    assert data[last] == 0
    data[last] = 1
    (tmp_path / "a").write_bytes(data)
    with open_archive(tmp_path / "a") as source:
        assert list(source.damaged(lambda _files, _size: None)) == ["SHA256SUMS"]


@pytest.mark.parametrize("data", [b"", b"x", bytes(10_240), os.urandom(4096), b"PK\x03\x04" * 500, b"\x1f\x8b" * 500])
def test_whatever_is_no_archive_of_ours_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ArchiveBad):
        opened(tmp_path / "a", data)


def test_a_member_that_claims_more_than_the_file_holds_is_refused_at_once(tmp_path: Path) -> None:
    claim = encode(Member(f"{FILES}a", 1 << 40, 0o644, 0))
    for data in (claim + bytes(10_240), compressed(claim + bytes(1 << 20))):
        with pytest.raises(ArchiveBad, match="claims more"):
            opened(tmp_path / "a", data)


def rle_bomb(blocks: int) -> bytes:
    """A frame of our form that unpacks to zeros, 128 KiB for every four bytes; its checksum is wrong."""
    block = ((128 << 10) << 3 | 1 << 1).to_bytes(3, "little") + b"\x00"
    last = ((128 << 10) << 3 | 1 << 1 | 1).to_bytes(3, "little") + b"\x00"
    return b"\x28\xb5\x2f\xfd\x04\x58" + block * (blocks - 1) + last + bytes(4)


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    bomb = rle_bomb(800_000)  # 100 GiB in 3 MiB
    with pytest.raises(ArchiveBad, match="something follows its end"):  # that is said after the first 10 KiB
        opened(tmp_path / "a", bomb)


def _frame(data: bytes, parameters: ZstdCompressionParameters) -> bytes:
    frame = ZstdCompressor(compression_params=parameters).compressobj()
    return frame.compress(data) + frame.flush()


def test_frames_that_we_do_not_write_are_refused(tmp_path: Path) -> None:
    data = whole(SOUND)
    good = compressed(data)
    skippable = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"evil"
    cases = {
        "too much memory": _frame(
            data, ZstdCompressionParameters(window_log=27, write_checksum=True, write_content_size=False)
        ),
        "no checksum": _frame(data, ZstdCompressionParameters(write_checksum=False, write_content_size=False)),
        "says how much": ZstdCompressor(write_checksum=True).compress(data),
        "something follows its zstd frame": good + good,
        "follows its zstd frame": good + skippable,
        "something follows": good + b"\x00",
        "not in POSIX format|no zstd": skippable + good,
        "ends early": good[:-1],
        "cut off|ends early": good[:5],
    }
    for why, frame in cases.items():
        with pytest.raises(ArchiveBad, match=why):
            opened(tmp_path / "a", frame)


def test_a_bit_that_fell_over_in_a_frame_never_changes_what_comes_out(tmp_path: Path) -> None:
    good = compressed(whole(members({"00/a-a": b"index"})))
    refused = 0
    for at in range(len(good)):
        broken = bytearray(good)
        broken[at] ^= 0x10
        (tmp_path / "a").write_bytes(broken)
        try:
            assert read_all(tmp_path / "a") == {"00/a-a": b"index"}  # some bits of zstd mean nothing
        except Failure:
            refused += 1
    assert refused > 0.9 * len(good)


def test_what_cannot_be_read_is_not_called_damaged(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "gone", tmp_path, tmp_path / "pipe"):
        with pytest.raises(ArchiveUnreadable), open_archive(path):
            pass


def test_a_manifest_of_somebody_else_is_refused(tmp_path: Path) -> None:
    other = make_manifest(manifest_of({}).kind, [])
    parts = [member(MANIFEST, b"{}\n"), member(SUMS, sums(other))]
    with pytest.raises(ManifestBad):
        opened(tmp_path / "a", whole(parts))
