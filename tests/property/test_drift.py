"""Recorded states and what is between two of them, whatever they hold."""

from hypothesis import given
from hypothesis import strategies as st

from go_cache_safeguard.gomod.buildlist import parse_modules
from go_cache_safeguard.gomod.drift import compare, find_gaps
from go_cache_safeguard.gomod.semver import rank
from go_cache_safeguard.gomod.state import (
    PARTS,
    Main,
    Module,
    State,
    parse_state,
    read_diff,
    read_edges,
    read_main,
    write_state,
)
from go_cache_safeguard.gomod.touched import read_packages, touched

NAMES = st.sampled_from(["a", "b", "example.com/c", "d"])
VERSIONS = st.sampled_from(["v1.0.0", "v1.1.0", "v1.1.0+incompatible", "v0.0.0-20200101000000-0123456789ab", "odd", ""])
WORDS = st.sampled_from(["", "x", "../y"]) | st.text(max_size=5)
HASHES = st.sets(st.sampled_from(["h1:x", "h1:y"]), min_size=1).map(lambda found: tuple(sorted(found)))


def _by_path(found: list[Module]) -> tuple[Module, ...]:
    return tuple(sorted({module.path: module for module in found}.values()))


STATES = st.builds(
    State,
    mains=st.lists(st.builds(Main, NAMES, WORDS, WORDS, WORDS)).map(
        lambda found: tuple(sorted({main.path: main for main in found}.values()))
    ),
    modules=st.lists(st.builds(Module, NAMES, VERSIONS, st.booleans(), WORDS, WORDS)).map(_by_path),
    edges=st.sets(st.tuples(NAMES, NAMES)).map(lambda found: tuple(sorted(found))),
    sums=st.dictionaries(st.sampled_from(["go.sum", "n/go.sum"]), st.dictionaries(NAMES, HASHES)),
    tidy=st.none() | st.lists(st.sampled_from(["go.mod: -a", "go.mod: +b", "go.sum: +c"])).map(tuple),
    environment=st.dictionaries(st.sampled_from(["GOVERSION", "GOPROXY"]), st.text(min_size=1, max_size=5)),
    unknown=st.dictionaries(st.sampled_from(PARTS), st.text(max_size=5)),
)


@given(STATES)
def test_a_state_is_read_as_it_was_written_and_has_one_form(state: State) -> None:
    again = parse_state(write_state(state))
    assert again == state
    assert write_state(again) == write_state(state)


@given(STATES)
def test_nothing_is_between_a_state_and_itself_but_what_is_not_known(state: State) -> None:
    assert compare(state, state) == ()
    assert {gap.part for gap in find_gaps(state, state)} == set(state.unknown)


@given(STATES, STATES)
def test_the_way_back_is_the_mirror_of_the_way_there(one: State, other: State) -> None:
    there, back = compare(one, other), compare(other, one)
    assert sorted(back, key=lambda change: change.rank) == sorted(
        (change.mirrored() for change in there), key=lambda change: change.rank
    )
    assert all(change.line().strip() for change in there)


@given(STATES, STATES)
def test_two_states_without_changes_and_gaps_agree_in_all_that_was_asked(one: State, other: State) -> None:
    if not compare(one, other) and not find_gaps(one, other):
        assert (one.mains, one.modules, one.edges) == (other.mains, other.modules, other.edges)
        assert (one.environment, one.unknown) == (other.environment, other.unknown)
        assert other.tidy is None or one.tidy is None or set(one.tidy) == set(other.tidy)


@given(st.binary())
def test_any_bytes_are_read_without_a_fault(data: bytes) -> None:
    parse_state(data)
    read_edges(data)
    read_main(data, ".")
    assert all(line.isprintable() for line in read_diff(data))
    touched(read_packages(parse_modules(data) or ()), {"a"})


@given(st.text(), st.text())
def test_any_two_texts_have_an_order(one: str, other: str) -> None:
    assert (rank(one) < rank(other)) + (rank(other) < rank(one)) + (rank(one) == rank(other)) == 1
