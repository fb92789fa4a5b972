"""What comparing a sample proves."""

from fractions import Fraction
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.gocache.pollution import (
    Count,
    Held,
    Judged,
    Made,
    Result,
    Sampled,
    choose,
    differences,
    digest_of,
    judge,
    judge_lab,
    judge_package,
    most_bad,
)

HELD = Held("a", "HALF", b"\1" * 32)
GOOD, OTHER = b"g" * 32, b"o" * 32


def sampled(*judged: Judged, population: int = 100, seed: str = "s", beside: tuple[str, ...] = ()) -> Sampled:
    results = tuple(Result(Held(f"p{at}", "", b""), one) for at, one in enumerate(judged))
    return Sampled(population, 3, results, seed, (len(beside), beside))


@given(st.integers(1, 60), st.data())
def test_the_bound_is_the_largest_number_that_the_sample_does_not_exclude(population: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, population))
    bad = data.draw(st.integers(0, count))
    bound = most_bad(bad, count, population)

    def probable(number: int) -> bool:
        ways = sum(comb(number, seen) * comb(population - number, count - seen) for seen in range(bad + 1))
        return Fraction(ways, comb(population, count)) > Fraction(5, 100)

    possible = range(bad, population - (count - bad) + 1)
    assert bound == max(number for number in possible if probable(number))


def test_the_bound_approaches_the_rule_of_three_where_the_population_is_large() -> None:
    assert most_bad(0, 300, 100_000) / 100_000 == pytest.approx(3 / 300, rel=0.01)
    assert most_bad(0, 100, 100) == 0
    assert most_bad(2, 100, 100) == 2


@given(st.sets(st.text(min_size=1), max_size=20), st.integers(0, 30), st.text())
def test_the_same_seed_draws_the_same_packages(packages: set[str], count: int, seed: str) -> None:
    drawn = choose(packages, count, seed)
    assert drawn == choose(sorted(packages, reverse=True), count, seed)
    assert set(drawn) <= packages
    assert len(drawn) == min(count, len(packages))


def test_another_seed_draws_others() -> None:
    packages = [f"p{number}" for number in range(100)]
    assert choose(packages, 10, "one") != choose(packages, 10, "two")


@pytest.mark.parametrize(
    ("cached", "first", "second", "judged"),
    [
        (GOOD, Made("HALF", GOOD), None, Judged.EQUAL),
        (OTHER, Made("HALF", GOOD), Made("HALF", GOOD), Judged.DIFFERS),
        (OTHER, Made("HALF", GOOD), Made("HALF", OTHER), Judged.UNREPRODUCIBLE),
        (OTHER, Made("HALF", GOOD), None, Judged.NOT_MADE),
        (GOOD, Made("ELSE", GOOD), None, Judged.OTHER_KEY),
        (None, Made("HALF", GOOD), None, Judged.NOT_MADE),
        (GOOD, None, None, Judged.NOT_MADE),
    ],
)
def test_a_package_differs_only_if_two_rebuilds_agree_against_the_cache(
    cached: bytes | None, first: Made | None, second: Made | None, judged: Judged
) -> None:
    assert judge_package(HELD, cached, first, second) is judged


def test_what_could_not_be_compared_is_never_pass() -> None:
    assert judge(sampled(Judged.EQUAL, Judged.EQUAL)).outcome is Outcome.PASS
    for doubt in (Judged.UNREPRODUCIBLE, Judged.OTHER_KEY, Judged.NOT_MADE):
        assert judge(sampled(Judged.EQUAL, doubt)).outcome is Outcome.UNKNOWN
        assert judge(sampled(Judged.DIFFERS, doubt)).outcome is Outcome.BLOCK
    assert judge(sampled()).outcome is Outcome.UNKNOWN
    assert judge(sampled(Judged.EQUAL, beside=("q",))).outcome is Outcome.BLOCK


def test_the_statement_says_how_much_is_proved_and_no_more() -> None:
    assert sampled(*[Judged.EQUAL] * 20).statement == "0 of 20 differ: at most 12 of 100 (12.0 %) are bad, at 95 %"
    assert "all that the build takes" in sampled(Judged.EQUAL, population=1).statement
    assert "nothing follows for the other 99" in sampled(Judged.EQUAL, seed="").statement
    assert "no bound" in sampled(Judged.EQUAL, Judged.NOT_MADE).statement
    assert sampled(Judged.EQUAL, seed="").bound is None


def test_of_c_it_is_said_what_may_be_behind_it() -> None:
    held = Held("cg", "", b"", cgo=True)
    assert "header" in Result(held, Judged.DIFFERS).text
    assert "header" not in Result(held, Judged.EQUAL).text


def test_the_digest_is_about_every_package_key_and_output() -> None:
    other = Held("a", "HALF", b"\2" * 32)
    assert digest_of([HELD]) != digest_of([other]) != digest_of([HELD, other])
    assert len(digest_of([])) == 64


def test_outputs_are_compared_by_name_and_content() -> None:
    clean, shared = {"a": b"1", "b": b"2", "c": b"3"}, {"a": b"1", "b": b"x", "d": b"4"}
    found = differences(clean, shared, toolchain="go1.27.3", configuration="plain", at=1)
    assert [(one.name, one.what) for one in found] == [
        ("b", "other content"),
        ("c", "only with a clean cache"),
        ("d", "only with the shared cache"),
    ]


def test_a_lab_that_compared_nothing_proves_nothing() -> None:
    counts = (Count("go1.27.3", "plain", 2, 4, 2),)
    assert judge_lab(counts, (), ()).outcome is Outcome.PASS
    assert judge_lab((), (), ()).outcome is Outcome.UNKNOWN
    assert judge_lab(counts, (), ("go1.27.3 race: it does not build",)).outcome is Outcome.UNKNOWN
    found = differences({"a": b"1"}, {}, toolchain="go1.27.3", configuration="plain", at=1)
    assert judge_lab(counts, found, ()).outcome is Outcome.BLOCK
