"""`gomod.drift`: what changed between two states."""

from dataclasses import replace

import pytest

from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.gomod.drift import MIRROR, Change, Gap, Kind, compare, find_gaps
from go_cache_safeguard.gomod.state import Main, Module, State

A, B = Module("a", "v1.0.0", direct=True), Module("b", "v1.0.0")
BASE = State(
    mains=(Main("m", ".", "1.21"),),
    modules=(A, B),
    edges=(("m", "a@v1.0.0"),),
    sums={"go.sum": {"a v1.0.0": ("h1:x",)}},
    tidy=(),
    environment={"GOVERSION": "go1.21.13"},
)


@pytest.mark.parametrize(
    ("after", "change"),
    [
        (replace(BASE, modules=(A,)), Change(Kind.REMOVED, "b", "v1.0.0", "")),
        (
            replace(BASE, modules=(A, B, Module("c", "v1.0.0", replacement="./c"))),
            Change(Kind.ADDED, "c", "", "v1.0.0 => ./c"),
        ),
        (replace(BASE, modules=(A, replace(B, version="v1.10.0"))), Change(Kind.RAISED, "b", "v1.0.0", "v1.10.0")),
        (
            replace(BASE, modules=(A, replace(B, version="v1.0.0-rc.1"))),
            Change(Kind.LOWERED, "b", "v1.0.0", "v1.0.0-rc.1"),
        ),
        (replace(BASE, modules=(A, replace(B, replacement="../b"))), Change(Kind.REPLACEMENT, "b", "", "../b")),
        (replace(BASE, modules=(A, replace(B, direct=True))), Change(Kind.DIRECT, "b")),
        (replace(BASE, modules=(replace(A, direct=False), B)), Change(Kind.INDIRECT, "a")),
        (replace(BASE, modules=(A, replace(B, go="1.22"))), Change(Kind.GO_LINE, "b", "", "1.22")),
        (
            replace(BASE, mains=(Main("m", ".", "1.21", "go1.27.3"),)),
            Change(Kind.GO_LINE, "m", "1.21", "1.21 go1.27.3"),
        ),
        (replace(BASE, mains=(*BASE.mains, Main("n", "./n"))), Change(Kind.MAIN_ADDED, "n", "", "./n")),
        (replace(BASE, mains=()), Change(Kind.MAIN_REMOVED, "m", ".", "")),
        (replace(BASE, mains=(Main("m", "./m", "1.21"),)), Change(Kind.MAIN_MOVED, "m", ".", "./m")),
        (replace(BASE, edges=()), Change(Kind.EDGE_REMOVED, "m", "a@v1.0.0", "")),
        (replace(BASE, edges=(*BASE.edges, ("m", "b@v1.0.0"))), Change(Kind.EDGE_ADDED, "m", "", "b@v1.0.0")),
        (replace(BASE, sums={}), Change(Kind.SUM_MISSING, "a v1.0.0", "go.sum", "")),
        (
            replace(BASE, sums={"go.sum": {"a v1.0.0": ("h1:y",)}}),
            Change(Kind.HASH_CHANGED, "a v1.0.0", "h1:x", "h1:y"),
        ),
        (replace(BASE, tidy=("go.mod: -a",)), Change(Kind.TIDY, "go.mod", "nothing", "-a")),
        (
            replace(BASE, environment={"GOVERSION": "go1.27.3"}),
            Change(Kind.ENVIRONMENT, "GOVERSION", "go1.21.13", "go1.27.3"),
        ),
    ],
    ids=lambda one: str(one.kind) if isinstance(one, Change) else "",
)
def test_each_change_is_named_and_mirrored(after: State, change: Change) -> None:
    assert compare(BASE, after) == (change,)
    assert compare(after, BASE) == (change.mirrored(),)
    assert change.mirrored().mirrored() == change
    assert change.subject in change.line()


def test_another_hash_blocks_the_environment_is_told_and_the_rest_warns() -> None:
    outcomes = {kind: Change(kind, "a").outcome for kind in Kind}
    assert outcomes.pop(Kind.HASH_CHANGED) is Outcome.BLOCK
    assert outcomes.pop(Kind.ENVIRONMENT) is Outcome.PASS
    assert set(outcomes.values()) == {Outcome.WARN}
    assert all(MIRROR[MIRROR[kind]] is kind for kind in Kind)


def test_a_second_hash_in_another_file_of_the_workspace_is_a_changed_hash() -> None:
    after = replace(BASE, sums={**BASE.sums, "go.work.sum": {"a v1.0.0": ("h1:y",)}})
    assert {change.kind for change in compare(BASE, after)} == {Kind.HASH_CHANGED, Kind.SUM_ADDED}
    assert compare(BASE, after)[0].after == "h1:x and h1:y"


def test_a_line_that_moved_to_another_file_has_not_changed_its_hash() -> None:
    after = replace(BASE, sums={"go.work.sum": {"a v1.0.0": ("h1:x",)}})
    assert {change.kind for change in compare(BASE, after)} == {Kind.SUM_ADDED, Kind.SUM_MISSING}


@pytest.mark.parametrize("part", ["modules", "graph", "go.sum", "tidy"])
def test_of_what_one_side_does_not_know_nothing_is_said_but_that(part: str) -> None:
    emptied = State(mains=BASE.mains, environment=BASE.environment, tidy=("go.mod: -a",))
    blind = replace(emptied, unknown={part: "why"})
    said = {change.kind for change in compare(BASE, emptied)} - {change.kind for change in compare(BASE, blind)}
    assert said, "without the gap this would be a change"
    assert find_gaps(BASE, blind) == (Gap(part, "why"),)
    assert find_gaps(blind, BASE) == (Gap(part, "why", then=True),)
    assert find_gaps(blind, blind) == (Gap(part, "why"),)
    assert compare(blind, blind) == ()


def test_tidiness_that_was_not_recorded_is_a_gap_and_one_that_nobody_asks_for_is_none() -> None:
    silent = replace(BASE, tidy=None)
    assert [(gap.part, gap.then) for gap in find_gaps(silent, BASE)] == [("tidy", True)]
    assert find_gaps(BASE, silent) == ()
    assert compare(BASE, silent) == ()


def test_the_go_line_of_another_version_goes_without_saying() -> None:
    after = replace(BASE, modules=(A, replace(B, version="v1.1.0", go="1.22")))
    assert [change.kind for change in compare(BASE, after)] == [Kind.RAISED]


def test_a_change_knows_the_module_that_it_is_about() -> None:
    assert Change(Kind.HASH_CHANGED, "a v1.0.0/go.mod").module == "a"
    assert Change(Kind.EDGE_ADDED, "a@v1.0.0", "", "b@v1").module == "a"
    assert Change(Kind.ADDED, "a").module == "a"


def test_many_lines_to_tidy_are_counted() -> None:
    lines = tuple(f"go.sum: +{number}" for number in range(5))
    assert compare(BASE, replace(BASE, tidy=lines))[0].after == "5 lines, the first: +0"
