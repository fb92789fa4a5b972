"""Rules for what is kept, one by one; `tests/property` compares them with a simple oracle."""

from datetime import UTC, datetime

import pytest

from go_cache_safeguard.snapshot.keep import Kept, Rules, choose, lost_groups


def at(text: str, *tags: str, group: str = "g") -> Kept:
    moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return Kept(text, int(moment.timestamp()) * 10**9, (group,), tags)


DAYS = [at(f"2026-03-{day:02}T12:00:00") for day in range(1, 11)]


def kept(snapshots: list[Kept], rules: Rules) -> list[str]:
    return [id_ for id_, reasons in sorted(choose(snapshots, rules).items()) if reasons]


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (Rules(last=2), ["2026-03-09T12:00:00", "2026-03-10T12:00:00"]),
        (Rules(daily=2), ["2026-03-09T12:00:00", "2026-03-10T12:00:00"]),
        (Rules(within_s=86_400), ["2026-03-09T12:00:00", "2026-03-10T12:00:00"]),
        # Weeks begin on Monday: the 1st and the 8th of March 2026 are Sundays.
        (Rules(weekly=2), ["2026-03-08T12:00:00", "2026-03-10T12:00:00"]),
        (Rules(weekly=9), ["2026-03-01T12:00:00", "2026-03-08T12:00:00", "2026-03-10T12:00:00"]),
        # While a counter has some left, the oldest stays, too.
        (Rules(monthly=2), ["2026-03-01T12:00:00", "2026-03-10T12:00:00"]),
        (Rules(yearly=1), ["2026-03-10T12:00:00"]),
        (Rules(), []),
    ],
)
def test_each_rule_keeps_what_it_says(rules: Rules, expected: list[str]) -> None:
    assert kept(DAYS, rules) == expected


def test_of_one_hour_the_newest_is_kept() -> None:
    hours = [at("2026-03-01T11:59:59"), at("2026-03-01T12:00:00"), at("2026-03-01T12:30:00"), at("2026-03-01T12:59:59")]
    assert kept(hours, Rules(hourly=1)) == ["2026-03-01T12:59:59"]
    assert kept(hours, Rules(hourly=2)) == ["2026-03-01T11:59:59", "2026-03-01T12:59:59"]


def test_a_tag_keeps_whatever_its_age() -> None:
    snapshots = [*DAYS, at("2001-01-01T00:00:00", "release")]
    assert "2001-01-01T00:00:00" in kept(snapshots, Rules(last=1, tags=("release",)))


def test_groups_are_counted_apart() -> None:
    other = at("2001-01-01T00:00:00", group="other")
    assert kept([*DAYS, other], Rules(last=1)) == ["2001-01-01T00:00:00", "2026-03-10T12:00:00"]


def test_every_reason_is_told() -> None:
    reasons = choose(DAYS, Rules(last=1, daily=1, within_s=0))["2026-03-10T12:00:00"]
    assert reasons == ("last", "daily", "within")


def test_a_group_that_would_vanish_is_named() -> None:
    snapshots = [*DAYS, at("2001-01-01T00:00:00", "release", group="other")]
    chosen = choose(snapshots, Rules(tags=("release",)))
    assert lost_groups(snapshots, chosen) == [("g",)]
    assert lost_groups(snapshots, choose(snapshots, Rules(last=1))) == []


def test_rules_say_what_was_typed() -> None:
    assert Rules().empty
    rules = Rules(last=3, weekly=2, within_s=3600, tags=("a",))
    assert not rules.empty
    assert rules.words == ("--keep-last=3", "--keep-weekly=2", "--keep-within=3600s", "--keep-tag=a")
    assert not Rules(within_s=0).empty
