"""The table of metrics: every number has a place of its own, and processes add up."""

import re

import pytest

from go_cache_safeguard.redis.metrics import (
    ACCEPTED,
    CALLS,
    DECISION,
    JOURNAL,
    NODES,
    RELOADED,
    SHARED,
    SLOTS,
    Kind,
    bucket,
    cumulated,
    merged,
    place,
)


def test_no_two_series_share_a_number() -> None:
    taken = [
        slot
        for metric in SHARED
        for values in metric.series
        for slot in range(place(metric, *values), place(metric, *values) + metric.width)
    ]
    assert sorted(taken) == list(range(SLOTS))
    assert SLOTS < 200


def test_a_label_that_nobody_foresaw_is_refused() -> None:
    with pytest.raises(KeyError):
        place(CALLS, "removes", "perhaps")


def test_names_follow_the_rules_and_tell_their_unit() -> None:
    for metric in (*SHARED, *JOURNAL, *NODES):
        assert re.fullmatch(r"go_cache_safeguard_redis_[a-z_]+", metric.full_name)
        assert not metric.name.endswith(("_total", "_count", "_sum", "_bucket", "_info", "_created"))
        assert metric.what.endswith(".")
        histogram = metric.kind is Kind.HISTOGRAM
        assert bool(metric.bounds) is histogram
        assert not histogram or metric.name.endswith("_seconds")
        assert list(metric.bounds) == sorted(set(metric.bounds))


def test_processes_add_up_but_one_failed_reload_is_a_failure() -> None:
    one, two = [0.0] * SLOTS, [0.0] * SLOTS
    one[place(ACCEPTED)], two[place(ACCEPTED)] = 3, 4
    one[place(RELOADED)] = 1
    assert merged(ACCEPTED, (), (one, two)) == [7]
    assert merged(RELOADED, (), (one, two)) == [0]


def test_a_bucket_holds_its_bound_and_all_below() -> None:
    assert bucket(DECISION, 0.001) == 0
    assert bucket(DECISION, 0.0011) == 1
    assert bucket(DECISION, 1e9) == len(DECISION.bounds)
    numbers = [1.0] * (DECISION.width - 1) + [7.5]
    shown, total = cumulated(DECISION, numbers)
    assert shown[0] == ("0.001", 1.0)
    assert shown[-1] == ("+Inf", len(DECISION.bounds) + 1.0)
    assert total == 7.5
