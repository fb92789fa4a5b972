"""Two tests for "more than before": of shares, and of values by their ranks.

Knows:     Fisher's exact test and the test of Mann and Whitney, each one-sided, and how little each may be wrong over many looks.
Called by: `signals.gate`.
Never:     needs more than the standard library: whoever purges a cache need not have scipy.
Source:    R. A. Fisher 1935; H. B. Mann, D. R. Whitney 1947, recurrence of their section 2; checked against scipy.stats.fisher_exact
           and scipy.stats.mannwhitneyu in tests/unit/signals/test_rank.py.

Both are monotone: more failures, or a greater value among the new ones, never give a greater p. That is why the variance of
Mann-Whitney is not made smaller for ties, as it usually is, and why the exact form counts a tie as no evidence: both err on the side of
a greater p, and no change of the data for the worse can make a significant difference vanish.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import cache
from math import erfc, exp, lgamma, pi, sqrt

_EXACT = 20
"""Up to this many values on both sides the distribution is counted out; beyond, the normal curve is closer than anybody needs."""


def more_often(now: int, of_now: int, before: int, of_before: int) -> float:
    """The chance of at least so many of the new ones, if both shares were the same (Fisher, one-sided).

    Args:
        now: How many of the new ones; 0 to `of_now`.
        of_now: How many new ones there are.
        before: How many of the old ones; 0 to `of_before`.
        of_before: How many old ones there are.
    """
    marked, everything = now + before, of_now + of_before
    least, most = max(0, marked - of_before), min(of_now, marked)
    if now <= least:
        return 1.0
    if now > of_now * marked / everything:
        return min(1.0, _tail(now, most, 1, (of_now, marked, everything)))
    return max(0.0, 1.0 - _tail(now - 1, least, -1, (of_now, marked, everything)))


def _tail(start: int, stop: int, step: int, table: tuple[int, int, int]) -> float:
    """Sum hypergeometric chances from one number to another, away from the middle, until they do not count any more."""
    drawn, marked, everything = table
    others = everything - marked
    chance = exp(_choices(marked, start) + _choices(others, drawn - start) - _choices(everything, drawn))
    total, number = 0.0, start
    while chance > total * 1e-17:
        total += chance
        if number == stop:
            break
        if step > 0:
            chance *= (marked - number) * (drawn - number) / ((number + 1) * (others - drawn + number + 1))
        else:
            chance *= number * (others - drawn + number) / ((marked - number + 1) * (drawn - number + 1))
        number += step
    return total


def _choices(things: int, taken: int) -> float:
    """The logarithm of the number of ways to take some of the things."""
    return lgamma(things + 1) - lgamma(taken + 1) - lgamma(things - taken + 1)


def greater(now: Sequence[float], before: Sequence[float]) -> float:
    """The chance of new values so great, if they came from where the old ones did (Mann-Whitney, one-sided).

    1 if one side is empty. Infinite values are compared like others; NaN must not be among them.
    """
    if not now or not before:
        return 1.0
    old = sorted(before)
    above = sum(bisect_left(old, value) for value in now)
    if max(len(now), len(before)) <= _EXACT:
        return _exact_tail(above, len(now), len(before))
    with_ties = (above + sum(bisect_right(old, value) for value in now)) / 2
    pairs = len(now) * len(before)
    spread = sqrt(pairs * (len(now) + len(before) + 1) / 12)
    return erfc((with_ties - pairs / 2 - 0.5) / spread / sqrt(2)) / 2


def _exact_tail(above: int, new: int, old: int) -> float:
    ways = _ways(new, old)
    return sum(ways[above:]) / sum(ways)


@cache
def _ways(new: int, old: int) -> tuple[int, ...]:
    """In how many orders of all values there are 0, 1, 2, ... pairs in which the new one is the greater.

    The greatest value of all is either new, and greater than every old one, or it is old.
    """
    if not new or not old:
        return (1,)
    ways = [0] * (new * old + 1)
    for number, count in enumerate(_ways(new - 1, old)):
        ways[number + old] += count
    for number, count in enumerate(_ways(new, old - 1)):
        ways[number] += count
    return tuple(ways)


def share_of_look(alpha: float, look: int) -> float:
    """How wrong one look may be, so that all looks together, however many, are wrong with at most this chance.

    Args:
        alpha: For all looks together, 0 to 1.
        look: 1 for the first.

    The shares are alpha * 6 / (pi * look)**2, whose sum is alpha. The bound is a plain sum of chances, so it holds although looks share a
    baseline and may overlap; its price is that later looks need a clearer difference.
    """
    return alpha * 6 / (pi * look) ** 2
