"""What a restore decides, file by file."""

import pytest

from go_cache_safeguard.snapshot.manifest import Entry, Kind, make_manifest
from go_cache_safeguard.snapshot.merge import Live, Merge, Step, plan_merge, stamp_of
from sources import DAY_NS, entry_of

NOW_NS = 1_900_000_000 * 10**9
ONE = entry_of("ab/one", b"one")


def nothing(_entry: Entry) -> None:
    """A rule that is against nothing."""


def merged(live: dict[str, Live], *entries: Entry) -> Merge:
    return plan_merge(make_manifest(Kind.BUILD, entries or [ONE]), live, omitted=nothing, refused=nothing)


def step_of(live: dict[str, Live]) -> Step:
    return merged(live).choices[0].step


def test_what_is_not_there_is_written() -> None:
    assert step_of({}) is Step.WRITE
    assert merged({}).size == ONE.size


def test_the_same_is_skipped() -> None:
    assert step_of({ONE.name: Live(ONE.size, ONE.sha256)}) is Step.SKIP


@pytest.mark.parametrize("live", [Live(ONE.size, "0" * 64), Live(ONE.size + 1), Live(0), Live(None)])
def test_what_lives_is_kept_whatever_it_is(live: Live) -> None:
    assert step_of({ONE.name: live}) is Step.KEEP


def test_what_does_not_belong_is_refused_even_when_it_is_there() -> None:
    made = plan_merge(
        make_manifest(Kind.BUILD, [ONE]),
        {ONE.name: Live(ONE.size, ONE.sha256)},
        omitted=nothing,
        refused=lambda _entry: "no such name",
    )
    assert [(choice.step, choice.why) for choice in made.choices] == [(Step.REFUSE, "no such name")]


def test_what_stays_out_is_no_accusation() -> None:
    made = plan_merge(
        make_manifest(Kind.BUILD, [ONE]), {}, omitted=lambda _entry: "not asked for", refused=lambda _entry: "bad"
    )
    assert made.counts == {Step.OMIT: 1}


def test_every_entry_has_one_fate() -> None:
    two, three = entry_of("ab/two", b"22"), entry_of("cd/three", b"333")
    made = merged({two.name: Live(2, two.sha256), three.name: Live(1)}, ONE, two, three)
    assert made.counts == {Step.WRITE: 1, Step.SKIP: 1, Step.KEEP: 1}
    assert [choice.entry for choice in made.of(Step.KEEP)] == [three]


@pytest.mark.parametrize(
    ("mtime_ns", "expected"),
    [
        (NOW_NS - 1, NOW_NS - 1),
        (NOW_NS - DAY_NS, NOW_NS - DAY_NS),
        (NOW_NS - DAY_NS - 1, NOW_NS),
        (0, NOW_NS),
        (NOW_NS + 1, NOW_NS),
    ],
)
def test_a_time_of_the_last_day_stays_and_any_other_becomes_now(mtime_ns: int, expected: int) -> None:
    assert stamp_of(mtime_ns, NOW_NS) == expected
