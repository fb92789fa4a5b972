"""A manifest is read the same whether another one that is like it helps or not, and so is every damage."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from go_cache_safeguard.snapshot.manifest import (
    Entry,
    Kind,
    Manifest,
    ManifestBad,
    Skipped,
    make_manifest,
    parse_manifest,
)

_NAMES = st.one_of(
    st.integers(0, 400).map(lambda number: f"{number % 7:02x}/{number:064x}-a"),
    st.sampled_from(("README", "x],[y", 'q"],["0644', "\u00e9/],[", '"entries":[', '],"files":3', "],[b],[b", "0],[0")),
)
_SHAS = st.integers(0, 50).map(lambda number: f"{number:064x}")
_ENTRIES = st.lists(
    st.builds(Entry, _NAMES, st.integers(0, 1 << 40), st.just(0o644), st.integers(0, 10**18), _SHAS),
    max_size=30,
    unique_by=lambda entry: entry.name,
)
_SKIPPED = st.lists(st.builds(Skipped, _NAMES, st.just("it was removed")), max_size=2, unique_by=lambda one: one.name)


@st.composite
def _pairs(draw: st.DrawFn) -> tuple[Manifest, Manifest]:
    """Two manifests that have something in common."""
    common, one, other = (draw(_ENTRIES) for _ in range(3))

    def made(own: list[Entry]) -> Manifest:
        by_name = {entry.name: entry for entry in (*common, *own)}
        return make_manifest(draw(st.sampled_from(Kind)), by_name.values(), draw(_SKIPPED))

    return made(one), made(other)


def read(data: bytes, alike: Manifest | None) -> Manifest | str:
    """A manifest, or what is wrong with it."""
    try:
        return parse_manifest(data, alike)
    except ManifestBad as failure:
        return failure.what


@settings(deadline=None, max_examples=200)
@given(_pairs())
def test_what_is_written_is_read_with_any_other_one(pair: tuple[Manifest, Manifest]) -> None:
    one, other = pair
    for alike in (None, one, other, make_manifest(Kind.BUILD, [])):
        found = parse_manifest(one.data, alike)
        assert (found, found.data, found.root, found.size) == (one, one.data, one.root, one.size)


@settings(deadline=None, max_examples=200)
@given(_pairs(), st.integers(0, 1 << 32))
def test_damage_is_seen_likewise_with_any_other_one(pair: tuple[Manifest, Manifest], seed: int) -> None:
    one, other = pair
    chance = random.Random(seed)  # noqa: S311 - the same damage in every run
    for _ in range(4):
        data = bytearray(one.data)
        begin = chance.randrange(len(data))
        match chance.randrange(4):
            case 0:
                data[begin] = chance.choice(b'0a",[]{}: \\')
            case 1:
                del data[begin : begin + chance.randrange(1, 120)]
            case 2:
                data[begin:begin] = other.data[chance.randrange(len(other.data)) :][: chance.randrange(1, 200)]
            case _:
                rows = bytes(data).split(b"],[")
                chance.shuffle(rows)
                data[:] = b"],[".join(rows)
        assert read(bytes(data), one) == read(bytes(data), None) == read(bytes(data), other)
