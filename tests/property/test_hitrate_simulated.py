"""The detector under simulated load: how often it is wrong, and what it finds. The same seeds give the same numbers."""

from math import exp, log, sqrt
from random import Random

import pytest

from go_cache_safeguard.redis.hitrate import HitRate, Sample, State, observe

_WINDOW_S = 5
_DAY = 86_400 // _WINDOW_S


def drops(  # noqa: PLR0917 - a table of numbers reads best in one line
    seed: int, base: float, lookups: int, drift: float, memory_s: int, windows: int, at: int = -1, lost: float = 0.0
) -> list[int]:
    """The windows in which a drop begins.

    Args:
        seed: Of chance.
        base: Hit rate, 0 to 1.
        lookups: A second.
        drift: Standard deviation of the log-odds, which wander and come back.
        memory_s: After so many seconds the drift has forgotten most of where it was.
        windows: How many to simulate.
        at: From this window on hits are lost; never if negative.
        lost: Share of the hits.
    """
    chance = Random(seed)  # noqa: S311 - a simulation, the same with the same seed
    keep, odds, known, sample, found = (
        exp(-_WINDOW_S / memory_s),
        log(base / (1 - base)),
        HitRate(),
        Sample(0, 0, 0),
        [],
    )
    wander, was = chance.gauss(0, drift), State.LEARNING
    for window in range(windows):
        wander = keep * wander + sqrt(1 - keep * keep) * chance.gauss(0, drift)
        rate = 1 / (1 + exp(-odds - wander)) * (1 - lost if 0 <= at <= window else 1)
        number = lookups * _WINDOW_S
        hits = min(number, max(0, round(chance.gauss(number * rate, sqrt(number * rate * (1 - rate))))))
        sample = Sample(sample.at_ms + 1000 * _WINDOW_S, sample.hits + hits, sample.misses + number - hits)
        known = observe(known, sample)
        if known.reading.state is State.DROPPED is not was:
            found.append(window)
        was = known.reading.state
    return found


@pytest.mark.parametrize(
    ("base", "lookups", "drift", "memory_s"),
    [(0.6, 1000, 0.4, 60), (0.9, 1000, 0.4, 600), (0.9, 10, 0.0, 600), (0.99, 1000, 0.15, 3600)],
)
def test_three_hours_without_a_loss_has_no_alarm_or_one(base: float, lookups: int, drift: float, memory_s: int) -> None:
    assert len(drops(3, base, lookups, drift, memory_s, _DAY // 8)) <= 1


@pytest.mark.parametrize(
    ("base", "drift", "lost"),
    [(0.6, 0.0, 0.25), (0.6, 0.15, 0.5), (0.6, 0.4, 0.95), (0.9, 0.15, 0.25), (0.99, 0.4, 0.5), (0.99, 0.0, 0.1)],
)
def test_a_loss_is_seen_within_half_a_minute(base: float, drift: float, lost: float) -> None:
    found = [drops(seed, base, 1000, drift, 600, 730, 720, lost) for seed in range(3)]
    assert all(any(720 <= window < 726 for window in one) for one in found)
