"""Which entries would go, on inventories made up for the question."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from go_cache_safeguard.gocache.archive import Archive
from go_cache_safeguard.gocache.classify import Kind
from go_cache_safeguard.gocache.entry import Damage, Entry
from go_cache_safeguard.gocache.inventory import Action, Inventory, Output, Shape
from go_cache_safeguard.gocache.layout import action_name, output_name
from go_cache_safeguard.gocache.select import ORPHAN_GRACE_S, Selection, matches, select, split

DAY_NS = 86_400 * 10**9
NOW_NS = 1_900_000_000 * 10**9
ABOUT = Archive(
    package="example.com/m/lib",
    goos="linux",
    goarch="amd64",
    version="go1.27.3",
    flags=(),
    build_action="",
    build_content="",
)


def action(key: int, output: int, *, age_days: float = 0) -> Action:
    """An index entry that names an output."""
    used = NOW_NS - int(age_days * DAY_NS)
    return Action(_id(key), 175, used, Entry(_id(key), _id(output), 100, used), key, used, 4096)


def output(
    key: int, *, size: int = 100, age_days: float = 0, kind: Kind = Kind.ARCHIVE, about: Archive | None = ABOUT
) -> Output:
    """An output of a size."""
    used = NOW_NS - int(age_days * DAY_NS)
    return Output(
        output=_id(key),
        size=size,
        disk=4096,
        mtime_ns=used,
        mode=0o644,
        is_dir=False,
        kind=kind,
        about=about,
        shape=Shape.FILE,
        ino=key,
        ctime_ns=used,
    )


def inventory(actions: list[Action], outputs: list[Output]) -> Inventory:
    """A cache of these."""
    return Inventory("/c", "1:2", {one.action: one for one in actions}, {one.output: one for one in outputs})


def _id(number: int) -> bytes:
    return number.to_bytes(32, "big")


def names(cache: Inventory, selection: Selection) -> set[str]:
    """What would go."""
    return {item.name for item in select(cache, selection, now_ns=NOW_NS)}


TWO = inventory([action(1, 11), action(2, 12, age_days=9)], [output(11), output(12, age_days=9)])


def test_nothing_goes_when_nothing_was_asked_for() -> None:
    assert select(TWO, Selection(), now_ns=NOW_NS) == ()


def test_everything_is_every_entry_and_every_output() -> None:
    assert len(names(TWO, Selection(everything=True))) == 4


def test_items_are_sorted_and_say_why() -> None:
    items = select(TWO, Selection(everything=True), now_ns=NOW_NS)
    assert [item.name for item in items] == sorted(item.name for item in items)
    assert {item.reason for item in items} == {"all"}


def test_age_is_that_of_the_last_use_of_either_half() -> None:
    fresh_output = inventory([action(2, 12, age_days=9)], [output(12)])
    assert names(fresh_output, Selection(unused_for_s=5 * 86_400)) == set()
    assert names(TWO, Selection(unused_for_s=5 * 86_400)) == {action_name(_id(2)), output_name(_id(12))}


def test_an_output_stays_while_a_kept_entry_names_it() -> None:
    shared = inventory([action(1, 11), action(2, 11, age_days=9)], [output(11, age_days=9)])
    assert names(shared, Selection(unused_for_s=5 * 86_400)) == {action_name(_id(2))}


def test_a_malformed_entry_goes_only_with_everything() -> None:
    bad = Action(_id(1), 3, NOW_NS, Damage.SHORT, 1, NOW_NS, 4096)
    cache = inventory([bad], [])
    assert names(cache, Selection(everything=True)) == {action_name(_id(1))}
    assert names(cache, Selection(kinds=frozenset({Kind.ARCHIVE}))) == set()


def test_orphans_go_after_their_grace_and_young_ones_may_be_half_of_a_put() -> None:
    old_days = (ORPHAN_GRACE_S + 60) / 86_400
    cache = inventory([action(1, 11)], [output(11), output(12, age_days=old_days), output(13)])
    assert names(cache, Selection(orphans=True)) == {output_name(_id(12))}


def test_filters_narrow_each_other() -> None:
    log = output(12, kind=Kind.TEST_LOG, about=None, age_days=9)
    cache = inventory([action(1, 11, age_days=9), action(2, 12, age_days=9)], [output(11, age_days=9), log])
    both = Selection(kinds=frozenset({Kind.TEST_LOG}), unused_for_s=86_400)
    assert names(cache, both) == {action_name(_id(2)), output_name(_id(12))}
    assert names(cache, replace(both, packages=("fmt",))) == set()


def test_dead_is_what_a_toolchain_made_that_is_not_installed() -> None:
    assert names(TWO, Selection(installed=frozenset({"go1.27.3"}))) == set()
    assert len(names(TWO, Selection(installed=frozenset({"go1.26.8"})))) == 4


@pytest.mark.parametrize(("keep", "gone"), [(1000, 0), (350, 1), (275, 1), (274, 2), (0, 2)])
def test_a_budget_takes_the_longest_unused_first(keep: int, gone: int) -> None:
    taken = names(TWO, Selection(keep_bytes=keep))
    assert len(taken) == 2 * gone
    if gone == 1:
        assert output_name(_id(12)) in taken


def test_the_larger_of_two_budgets_counts() -> None:
    assert len(names(TWO, Selection(keep_bytes=1000, free_bytes=276))) == 4


@pytest.mark.parametrize(
    ("pattern", "package", "same"),
    [
        ("fmt", "fmt", True),
        ("fmt", "fmt/x", False),
        ("net/...", "net", True),
        ("net/...", "net/http", True),
        ("net/...", "network", False),
        ("example.com/*", "example.com/a", True),
        ("[", "x", False),
    ],
)
def test_patterns_are_those_of_the_go_command(pattern: str, package: str, *, same: bool) -> None:
    assert matches(pattern, package) is same


def test_split_divides_entries_from_outputs() -> None:
    entries, outputs = split(select(TWO, Selection(everything=True), now_ns=NOW_NS))
    assert {item.name[-1] for item in entries} == {"a"}
    assert {item.name[-1] for item in outputs} == {"d"}


@given(
    links=st.lists(st.tuples(st.integers(1, 30), st.integers(31, 45), st.integers(0, 20)), max_size=40),
    selection=st.sampled_from(
        [
            Selection(unused_for_s=5 * 86_400),
            Selection(keep_bytes=500),
            Selection(free_bytes=700),
            Selection(everything=True),
        ]
    ),
)
def test_no_kept_entry_ever_loses_its_output(links: list[tuple[int, int, int]], selection: Selection) -> None:
    actions = {key: action(key, target, age_days=age) for key, target, age in links}
    cache = inventory(list(actions.values()), [output(key, age_days=20) for key in range(31, 46)])
    gone = names(cache, selection)
    for one in cache.actions.values():
        if action_name(one.action) not in gone:
            assert isinstance(one.entry, Entry)
            assert output_name(one.entry.output) not in gone
