"""Protected keys are carved out of patterns, never one byte too few."""

import pytest

from go_cache_safeguard.core.pattern import parse_glob
from go_cache_safeguard.redis.keyspace import EVERYTHING, Region, common, region_of, region_of_glob, without


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("session:*", Region(b"session:")),
        ("session:**", Region(b"session:")),
        ("config", Region(b"config", whole=False)),
        ("*", EVERYTHING),
        (r"a\*b*", Region(b"a*b")),
        ("re:user:.*", Region(b"user:")),
        (r"re:user\.name", Region(b"user.name", whole=False)),
        ("h?llo", None),
        ("h[ae]llo*", None),
        ("a*b", None),
        ("re:user:[0-9]+", None),
        ("re:a|b", None),
        ("re:a.b", None),
        ("two\twords*", None),
    ],
)
def test_only_keys_and_beginnings_can_be_written_as_rules(text: str, region: Region | None) -> None:
    assert region_of(text) == region


def test_what_is_protected_is_carved_out() -> None:
    assert without(EVERYTHING, [Region(b"ab")]) == [b"[^a]*", b"a", b"a[^b]*"]
    assert without(EVERYTHING, [Region(b"a", whole=False)]) == [b"[^a]*", b"a?*"]
    assert without(Region(b"x:"), [Region(b"x:y")]) == [b"x:", b"x:[^y]*"]
    assert without(Region(b"x:"), [Region(b"y")]) == [b"x:*"]
    assert without(Region(b"x:y"), [Region(b"x:")]) == []
    assert without(EVERYTHING, [EVERYTHING]) == []
    assert without(EVERYTHING, [Region(b"-"), Region(b"]")]) == [rb"[^\-\]]*"]
    assert without(Region(b"a", whole=False), []) == [b"a"]


def test_too_many_patterns_are_none() -> None:
    assert without(EVERYTHING, [Region(b"x" * 900)]) is None


def test_what_two_lists_share_is_the_narrower_of_each_pair() -> None:
    some, others = [Region(b"a:"), Region(b"b:")], [Region(b"a:1:"), Region(b"b"), Region(b"c")]
    assert common(some, others) == [Region(b"a:1:"), Region(b"b:")]
    assert common([EVERYTHING], others) == others


def test_a_pattern_of_a_region_takes_in_exactly_it() -> None:
    region = Region(rb"a[*?\b")
    assert region_of_glob(region.glob) == region
    assert parse_glob(region.glob).matches(rb"a[*?\bc")
    assert not parse_glob(region.glob).matches(rb"a[x?\bc")
