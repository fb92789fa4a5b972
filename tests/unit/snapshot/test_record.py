"""Records and places: the one byte form, and what is refused."""

import json
from dataclasses import replace
from typing import Any

import pytest

from go_cache_safeguard.core.canonical import canonical, digest
from go_cache_safeguard.core.errors import UsageFailure
from go_cache_safeguard.snapshot.bundle import SMALL
from go_cache_safeguard.snapshot.manifest import Entry, Kind, make_manifest
from go_cache_safeguard.snapshot.record import (
    NoSnapshot,
    Pack,
    Places,
    Record,
    RecordBad,
    check_tags,
    contents,
    parse_places,
    parse_record,
    resolve,
)

RECORD = Record(
    made_at="2026-03-01T12:00:00.000000001Z",
    host="host",
    user="uid:0(root)",
    kind=Kind.BUILD,
    target="/cache",
    whole=True,
    tags=("a", "b"),
    manifest="1" * 64,
    places="2" * 64,
    files=3,
    size=4,
    skipped=0,
    parent="",
    added=5,
)
ENTRIES = [
    Entry("a", 175, 0o644, 1, "a" * 64),
    Entry("b", SMALL + 1, 0o644, 1, "b" * 64),
    Entry("c", 175, 0o644, 1, "a" * 64),
    Entry("d", 7, 0o644, 1, "d" * 64),
]
MANIFEST = make_manifest(Kind.BUILD, ENTRIES)
PLACES = Places((Pack("e" * 64, 100, 182),), (1, 0, 1), (50,))


def test_a_record_is_read_as_it_was_written() -> None:
    assert parse_record(RECORD.data, RECORD.id) == RECORD
    assert RECORD.made_ns % 10**9 == 1
    assert RECORD.as_value()["id"] == RECORD.id


def test_a_record_that_was_edited_has_no_name_any_more() -> None:
    edited = replace(RECORD, target="/other")
    with pytest.raises(RecordBad, match="edited"):
        parse_record(edited.data, RECORD.id)


HOSTILE: dict[str, dict[str, Any]] = {
    "another format": {"format": "x"},
    "a manifest elsewhere": {"manifest": "../../etc/passwd"},
    "places elsewhere": {"places": "2" * 63 + "/"},
    "a parent elsewhere": {"parent": ".."},
    "a negative size": {"size": -1},
    "a count that is text": {"files": "3"},
    "a count that is true": {"files": True},
    "tags that are not sorted": {"tags": ["b", "a"]},
    "a tag with a line break": {"tags": ["a\n"]},
    "a host with an escape": {"host": "\x1b[31m"},
    "another kind": {"kind": "redis"},
    "neither whole nor part": {"whole": 1},
    "no time": {"made_at": "yesterday"},
    "a field too many": {"more": 1},
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_record_that_we_would_not_write_is_refused(change: dict[str, Any]) -> None:
    data = canonical({**json.loads(RECORD.data), **change}) + b"\n"
    with pytest.raises(RecordBad):
        parse_record(data, digest(data))


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000, RECORD.data + b" "])
def test_nonsense_is_no_record(data: bytes) -> None:
    with pytest.raises(RecordBad):
        parse_record(data, digest(data))


def test_a_content_counts_once() -> None:
    assert contents(MANIFEST) == {"a" * 64: 175, "b" * 64: SMALL + 1, "d" * 64: 7}


def test_places_are_read_as_they_were_written() -> None:
    assert parse_places(PLACES.data, MANIFEST) == PLACES
    assert PLACES.name == digest(PLACES.data)


@pytest.mark.parametrize(
    "places",
    [
        replace(PLACES, at=(1, 0)),
        replace(PLACES, at=(1, 0, 2)),
        replace(PLACES, at=(1, 1, 1), stored=()),
        replace(PLACES, stored=()),
        replace(PLACES, packs=(Pack("../x", 1, 1),)),
        replace(PLACES, packs=(Pack("e" * 64, -1, 1),)),
        replace(PLACES, at=(-1, 0, 1)),
    ],
    ids=["too few", "no such pack", "too large for a pack", "no size", "elsewhere", "negative size", "negative place"],
)
def test_places_that_do_not_fit_are_refused(places: Places) -> None:
    with pytest.raises(RecordBad):
        parse_places(places.data, MANIFEST)


def test_places_in_another_form_are_refused() -> None:
    for data in (b"{}", b"", PLACES.data + b"\n"):
        with pytest.raises(RecordBad):
            parse_places(data, MANIFEST)


def test_a_snapshot_is_found_by_the_beginning_of_its_id() -> None:
    records = [replace(RECORD, added=number) for number in range(300)]
    one = records[7]
    assert resolve(records, one.id) is one
    short = next(n for n in range(2, 64) if sum(record.id.startswith(one.id[:n]) for record in records) == 1)
    assert resolve(records, one.id[:short]) is one
    several = next(name for name in (record.id[:2] for record in records) if sum(r.id[:2] == name for r in records) > 1)
    with pytest.raises(NoSnapshot, match="several"):
        resolve(records, several)


def test_latest_is_the_newest() -> None:
    old, new = RECORD, replace(RECORD, made_at="2027-03-01T12:00:00.000000001Z")
    assert resolve([new, old], "latest") is new
    assert resolve([replace(new, whole=False), old], "latest") is old
    with pytest.raises(NoSnapshot):
        resolve([replace(new, whole=False)], "latest")
    with pytest.raises(NoSnapshot):
        resolve([], "latest")


@pytest.mark.parametrize("name", ["", "x", "a", "../..", "*", "g" * 10])
def test_what_cannot_be_an_id_finds_nothing(name: str) -> None:
    with pytest.raises(NoSnapshot):
        resolve([RECORD], name)


def test_tags_are_sorted_and_each_stands_once() -> None:
    assert check_tags(["b", "a", "b"]) == ("a", "b")
    for wrong in ("", "a b", "a\n", "x" * 101):
        with pytest.raises(UsageFailure):
            check_tags([wrong])
