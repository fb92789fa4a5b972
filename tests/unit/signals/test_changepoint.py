"""When metrics change, and how often it is said wrongly."""

import random

import pytest

from go_cache_safeguard.signals.changepoint import BIN_S, Metric, Point, changes, onset, points, share
from go_cache_safeguard.signals.red import SECOND_NS, Second

_BIN = BIN_S * SECOND_NS
_DAY = 86_400 // BIN_S


def _errors(rates: list[float], seed: int, requests: int = 40) -> list[Point]:
    chance = random.Random(seed)  # noqa: S311 - a load, no secret
    failed = [sum(chance.random() < rate for _ in range(requests)) for rate in rates]
    return [one for at, count in enumerate(failed) if (one := share(at * _BIN, count, requests))]


def test_a_rise_of_errors_is_dated_to_its_bin_and_its_end_is_seen() -> None:
    bins = _errors([0.01] * 300 + [0.2] * 20 + [0.01] * 40, 4)
    (found,) = changes("pay", Metric.ERRORS, bins, 200 * _BIN)
    assert abs(found.start_ns - 300 * _BIN) <= _BIN
    assert abs(found.end_ns - 320 * _BIN) <= 6 * _BIN
    assert found.before <= 0.025
    assert found.after > 0.1
    assert found.words.startswith("error rate of pay went from ")


def test_steady_services_are_wrongly_said_to_have_changed_less_than_once_a_day() -> None:
    for rate in (0.0, 0.02, 0.5):
        alarms = [changes("pay", Metric.ERRORS, _errors([rate] * _DAY, seed, 12), 360 * _BIN) for seed in (1, 2)]
        assert sum(map(len, alarms)) <= 1
    chance = random.Random(5)  # noqa: S311 - likewise
    p95 = [Point(at * _BIN, chance.gauss(3, 0.2), 0.0, 20) for at in range(4 * _DAY)]
    assert len(changes("pay", Metric.P95, p95, 360 * _BIN)) <= 3


def test_too_short_a_baseline_a_trifle_and_good_news_say_nothing() -> None:
    rise = _errors([0.01] * 60 + [0.4] * 20, 4)
    assert changes("pay", Metric.ERRORS, rise, 20 * _BIN) == ()
    assert changes("pay", Metric.HITS, rise, 60 * _BIN) == ()  # a hit rate that rises
    flat = [Point(at * _BIN, 3.0 + (at >= 60) * 0.2, 0.0, 20.0 + (at >= 60)) for at in range(90)]
    assert changes("pay", Metric.P95, flat, 60 * _BIN) == ()


def test_seconds_become_bins_of_each_metric_and_silence_is_a_loss_of_traffic() -> None:
    seconds = [Second("pay", at, 10, 1, {40: 9.0, 60: 1.0}) for at in range(300)]
    made = points(seconds, 0, 400 * SECOND_NS)
    assert {metric: len(bins) for metric, bins in made.items()} == {
        Metric.ERRORS: 60,
        Metric.P95: 60,
        Metric.TRAFFIC: 80,
    }
    (found,) = changes("pay", Metric.TRAFFIC, made[Metric.TRAFFIC], 200 * SECOND_NS)
    assert (found.start_ns, found.before, found.after) == (300 * SECOND_NS, 10, 0)


@pytest.mark.parametrize("early", [0, 4])
def test_what_happened_now_and_then_before_does_not_hide_when_it_began(early: int) -> None:
    times = [at * 40 * SECOND_NS for at in range(1, early + 1)] + [(200 + at) * SECOND_NS for at in range(50)]
    assert onset(times, 0, 300 * SECOND_NS) == 200 * SECOND_NS
