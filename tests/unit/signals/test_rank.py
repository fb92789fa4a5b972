"""Both tests say what scipy says, wherever scipy can say it, and never less than that."""

import random

import pytest
from scipy import stats

from go_cache_safeguard.signals.rank import greater, more_often, share_of_look


def test_shares_are_compared_as_scipy_compares_them() -> None:
    for seed in range(60):
        draw = random.Random(seed)  # noqa: S311 - the same figures each time
        of_now, of_before = draw.choice([3, 30, 1000, 40_000]), draw.choice([5, 60, 5000, 900_000])
        now, before = draw.randint(0, min(of_now, 60)), draw.randint(0, min(of_before, 90))
        table = [[now, of_now - now], [before, of_before - before]]
        expected = stats.fisher_exact(table, alternative="greater").pvalue
        assert more_often(now, of_now, before, of_before) == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_large_samples_without_ties_are_compared_as_scipy_compares_them() -> None:
    for seed in range(40):
        draw = random.Random(seed)  # noqa: S311 - the same figures each time
        now = [draw.lognormvariate(0.2 * (seed % 4), 1) for _ in range(draw.randint(21, 300))]
        before = [draw.lognormvariate(0, 1) for _ in range(draw.randint(10, 400))]
        expected = stats.mannwhitneyu(now, before, alternative="greater", method="asymptotic").pvalue
        assert greater(now, before) == pytest.approx(expected, rel=1e-9, abs=1e-15)


def test_small_samples_without_ties_are_counted_out_as_scipy_does() -> None:
    for seed in range(40):
        draw = random.Random(seed)  # noqa: S311 - the same figures each time
        now = [draw.random() + 0.1 * (seed % 5) for _ in range(draw.randint(1, 20))]
        before = [draw.random() for _ in range(draw.randint(1, 20))]
        expected = stats.mannwhitneyu(now, before, alternative="greater", method="exact").pvalue
        assert greater(now, before) == pytest.approx(expected, rel=1e-9)


def test_ties_never_make_a_difference_more_significant_than_scipy_finds_it() -> None:
    for seed in range(30):
        draw = random.Random(seed)  # noqa: S311 - the same figures each time
        now = [draw.choice([5.0, 10.0, 25.0, 50.0 + seed]) for _ in range(200)]
        before = [draw.choice([5.0, 5.0, 10.0, 25.0]) for _ in range(150)]
        expected = stats.mannwhitneyu(now, before, alternative="greater", method="asymptotic").pvalue
        found = greater(now, before)
        assert expected - 1e-12 <= found or found > 0.5
        assert found < max(expected * 1e3, expected**0.7)


def test_nothing_to_compare_is_no_evidence() -> None:
    assert greater([], [1.0]) == greater([1.0], []) == 1.0
    assert more_often(0, 10, 0, 0) == more_often(0, 0, 3, 10) == 1.0


def test_infinite_latencies_are_greater_than_all_others() -> None:
    assert greater([float("inf")] * 30, [1.0] * 30) < 1e-10


def test_all_looks_together_are_allowed_what_one_may_be_wrong() -> None:
    shares = [share_of_look(0.05, look) for look in range(1, 100_000)]
    assert 0.0499 < sum(shares) < 0.05
    assert shares == sorted(shares, reverse=True)
