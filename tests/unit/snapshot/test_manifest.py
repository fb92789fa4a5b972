"""A manifest: what is written is read, and anything else is refused."""

import json
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from go_cache_safeguard.snapshot.manifest import (
    Entry,
    Kind,
    Manifest,
    ManifestBad,
    Skipped,
    checksums,
    format_time,
    has_time,
    make_manifest,
    parse_manifest,
    parse_time,
    refusal,
    shown,
)

_HASH = sha256(b"x").hexdigest()
_ENTRY = Entry("00/aa-d", 1, 0o644, 1_700_000_000_123_456_789, _HASH)
MANIFEST = make_manifest(
    Kind.BUILD,
    [_ENTRY._replace(name="ff/b-a"), _ENTRY, _ENTRY._replace(name="README")],
    [Skipped("fuzz", "it is yours")],
)


def test_entries_stand_in_the_order_of_their_bytes() -> None:
    names = [entry.name for entry in MANIFEST.entries]
    assert names == ["00/aa-d", "README", "ff/b-a"]
    made = make_manifest(Kind.MODULE, [_ENTRY._replace(name=name) for name in ("é", "z", "Z", "a.b", "a/b", "a-b")])
    assert [entry.name for entry in made.entries] == ["Z", "a-b", "a.b", "a/b", "z", "é"]


def test_what_was_written_is_read_and_its_root_is_the_hash_of_its_bytes() -> None:
    assert parse_manifest(MANIFEST.data) == MANIFEST
    assert sha256(MANIFEST.data).hexdigest() == MANIFEST.root


def test_times_change_the_root_and_not_the_content() -> None:
    used = Manifest(MANIFEST.kind, tuple(entry._replace(mtime_ns=0) for entry in MANIFEST.entries), MANIFEST.skipped)
    assert used.content == MANIFEST.content
    assert used.root != MANIFEST.root


def test_the_checksums_are_lines_that_sha256sum_reads() -> None:
    assert checksums(MANIFEST, prefix="files/").splitlines()[0] == f"{_HASH}  files/00/aa-d".encode()


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "a/../b",
        "./a",
        "a\\b",
        "a\nb",
        "a\0b",
        "\x1b[2J",
        "a\udc80",
        "x" * 256,
        "a/" * 2100 + "a",
    ],
)
def test_a_name_that_could_leave_the_root_or_mislead_is_refused(name: str) -> None:
    assert refusal(name) is not None
    with pytest.raises(ManifestBad):
        make_manifest(Kind.MODULE, [_ENTRY._replace(name=name)])
    with pytest.raises(ManifestBad):
        parse_manifest(Manifest(Kind.MODULE, (_ENTRY._replace(name=name),)).data)


@pytest.mark.parametrize("names", [("a", "a"), ("a", "a/b"), ("a", "a/b/c"), ("a/b", "a/b/c/d")])
def test_a_name_that_stands_twice_or_is_file_and_directory_is_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(ManifestBad):
        make_manifest(Kind.MODULE, [_ENTRY._replace(name=name) for name in names])


def test_a_manifest_out_of_order_is_refused() -> None:
    with pytest.raises(ManifestBad):
        parse_manifest(Manifest(MANIFEST.kind, tuple(reversed(MANIFEST.entries)), ()).data)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", "other/1"),
        ("kind", "other"),
        ("files", 7),
        ("bytes", 7),
        ("skipped", [["a"]]),
        ("skipped", {"a": "b"}),
        ("entries", [["a", 1, "0644", "2020-01-01T00:00:00.000000000Z", "A" * 64]]),
        ("entries", [["a", -1, "0644", "2020-01-01T00:00:00.000000000Z", _HASH]]),
        ("entries", [["a", True, "0644", "2020-01-01T00:00:00.000000000Z", _HASH]]),
        ("entries", [["a", 1, "4755", "2020-01-01T00:00:00.000000000Z", _HASH]]),
        ("entries", [["a", 1, "0644", "2020-01-01T00:00:00Z", _HASH]]),
        ("entries", [["a", 1, "0644", "2020-13-01T00:00:00.000000000Z", _HASH]]),
        ("entries", ["abcde"]),
        ("entries", 5),
    ],
)
def test_a_manifest_that_says_something_else_is_refused(key: str, value: object) -> None:
    data = json.dumps({**json.loads(MANIFEST.data), key: value}, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    with pytest.raises(ManifestBad):
        parse_manifest(data)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{", b"null", b"\xff", b"[" * 100_000, MANIFEST.data + b" ", MANIFEST.data.strip()]
)
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ManifestBad):
        parse_manifest(data)


@given(st.integers(-62_135_596_800 * 10**9, 253_402_300_800 * 10**9 - 1))
def test_a_time_is_read_as_it_was_written(moment: int) -> None:
    assert has_time(moment)
    assert parse_time(format_time(moment)) == moment
    assert len(format_time(moment)) == 30


@pytest.mark.parametrize("moment", [-62_135_596_800 * 10**9 - 1, 253_402_300_800 * 10**9])
def test_a_time_that_rfc_3339_cannot_write_is_told(moment: int) -> None:
    assert not has_time(moment)
    with pytest.raises(OverflowError):
        format_time(moment)


_NAMES = st.lists(st.sampled_from(["a", "b", "é", "x.y", "-", "README"]), min_size=1, max_size=4).map("/".join)


@given(
    st.lists(
        st.builds(
            Entry, _NAMES, st.integers(0, 2**60), st.integers(0, 0o777), st.integers(-(10**18), 10**19), st.just(_HASH)
        )
    )
)
def test_whatever_can_be_made_can_be_read(entries: list[Entry]) -> None:
    try:
        made = make_manifest(Kind.MODULE, entries)
    except ManifestBad:
        return
    assert parse_manifest(made.data) == made
    assert make_manifest(Kind.MODULE, reversed(entries)).data == made.data


def test_a_name_that_cannot_be_in_a_manifest_is_shown_harmlessly() -> None:
    assert shown("00/é") == "00/é"
    assert shown("a\x1b[2J\n\udcff") == "a\\x1b[2J\\n\\xff"
