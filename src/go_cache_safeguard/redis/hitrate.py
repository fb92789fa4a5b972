"""When the hit rate of a server falls suddenly.

Knows:     how two counters that only grow become windows, and how a window is compared with those before.
Called by: whoever reads INFO stats of a server now and then; `redis.checks.hit_rate` judges the reading.
Never:     asks what time it is, or for a random number: the same samples give the same readings.
Source:    simulated, 5 s windows, hit rates 0.60, 0.90 and 0.99 with natural drift: a fixed "ten points lower", a plain z-test, CUSUM
           and Page-Hinkley alarm between 10 and more than 100 times a day under drift; the comparison below at most twice
           (docs/redis.md has the table, tests/property/test_hitrate_simulated.py the model). Counters: EXISTS, TTL, PTTL, TYPE, DUMP and
           OBJECT ENCODING each count as one look-up, MEMORY USAGE and SCAN do not (Redis 6.2.14, 7.0.15, Valkey 9.1.2).

Method: the log-odds of each window are compared with the median of the last ten minutes, in units of their spread: the median
absolute deviation, which a few odd windows cannot move, and the chance of sampling. Four units below, twice in a row, and a loss of
hits that somebody would notice, are a drop. While it lasts the windows are not learned from, so that a drop does not become normal
by waiting; after half an hour it does.
"""

from dataclasses import dataclass, replace
from enum import Enum
from math import exp, log, sqrt


class State(Enum):
    """What is known of a server's hit rate; the text is for people."""

    LEARNING = "too few windows to compare with"
    IDLE = "too few look-ups to say anything"
    NORMAL = "as it was"
    DROPPED = "has fallen suddenly"


@dataclass(frozen=True, slots=True)
class Tuning:
    """How windows are made and compared.

    Attributes:
        window_ms: The least length of a window.
        longest_ms: A window that is still waiting for look-ups then is given up.
        lookups: The least number in a window.
        history: Windows to compare with; 720 of 5 s are an hour. With ten minutes natural drift gave up to 13 alarms a day.
        enough: Windows that are needed before anything is said.
        threshold: In units of spread.
        material: Least share of the hits that must be lost.
        confirm: Windows in a row that must say so.
        relearn: Windows after which a drop is the new normal; 360 of 5 s are half an hour.
    """

    window_ms: int = 5_000
    longest_ms: int = 60_000
    lookups: int = 100
    history: int = 720
    enough: int = 60
    threshold: float = 4.0
    material: float = 0.05
    confirm: int = 2
    relearn: int = 360


@dataclass(frozen=True, slots=True)
class Sample:
    """The counters at one moment.

    Attributes:
        at_ms: Milliseconds of any clock that only goes forward.
        hits: `keyspace_hits`, without those that we caused ourselves.
        misses: `keyspace_misses`, likewise.
        run_id: Of the server: after a restart its counters begin again.
    """

    at_ms: int
    hits: int
    misses: int
    run_id: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """What is known now.

    Attributes:
        state: See `State`.
        rate: Hits of the last whole window, 0 to 1; None before there is one.
        usual: The median, 0 to 1; None before it is known.
        z: How far below the median, in units of spread.
        since_ms: When the drop began; None without one.
    """

    state: State
    rate: float | None = None
    usual: float | None = None
    z: float = 0.0
    since_ms: int | None = None


@dataclass(frozen=True, slots=True)
class HitRate:
    """What is remembered of one server.

    Attributes:
        last: Where the window that is being filled began; None at first.
        history: Log-odds of normal windows, oldest first.
        low: Windows in a row that were low, or that were normal again during a drop.
        lasting: Windows since the drop began, with their log-odds; empty without a drop.
        reading: What is known now.
    """

    last: Sample | None = None
    history: tuple[float, ...] = ()
    low: int = 0
    lasting: tuple[float, ...] = ()
    reading: Reading = Reading(State.LEARNING)


def observe(known: HitRate, sample: Sample, tuning: Tuning = Tuning()) -> HitRate:
    """Take one more look at the counters. Samples may come at any pace.

    Counters that went back (a restart, CONFIG RESETSTAT) begin a new window and say nothing.
    """
    last = known.last
    if last is None or _began_again(last, sample):
        return replace(known, last=sample)
    hits, misses, length = sample.hits - last.hits, sample.misses - last.misses, sample.at_ms - last.at_ms
    if length < tuning.window_ms:
        return known
    if hits + misses < tuning.lookups:
        return known if length < tuning.longest_ms else _idle(replace(known, last=sample))
    return _window(replace(known, last=sample), hits, misses, sample.at_ms, tuning)


def _began_again(last: Sample, sample: Sample) -> bool:
    back = sample.hits < last.hits or sample.misses < last.misses or sample.at_ms < last.at_ms
    return back or sample.run_id != last.run_id


def _idle(known: HitRate) -> HitRate:
    """Silence neither begins a drop nor ends one."""
    return known if known.lasting else replace(known, reading=replace(known.reading, state=State.IDLE), low=0)


def _window(known: HitRate, hits: int, misses: int, at_ms: int, tuning: Tuning) -> HitRate:
    odds = log((hits + 0.5) / (misses + 0.5))
    rate = hits / (hits + misses)
    if len(known.history) < tuning.enough:
        return replace(known, history=(*known.history, odds), reading=Reading(State.LEARNING, rate))
    usual = _median(known.history)
    spread = 1.4826 * _median(tuple(abs(one - usual) for one in known.history))
    z = (usual - odds) / sqrt(spread**2 + 1 / (hits + 0.5) + 1 / (misses + 0.5))
    reading = Reading(State.NORMAL, rate, _share(usual), z)
    low = z >= tuning.threshold and rate <= _share(usual) * (1 - tuning.material)
    if known.lasting:
        return _during(known, odds, reading, tuning)
    if not low:
        return replace(known, history=(*known.history, odds)[-tuning.history :], low=0, reading=reading)
    count = known.low + 1
    if count < tuning.confirm:
        return replace(known, low=count, reading=reading)
    return replace(known, low=0, lasting=(odds,), reading=replace(reading, state=State.DROPPED, since_ms=at_ms))


def _during(known: HitRate, odds: float, reading: Reading, tuning: Tuning) -> HitRate:
    """A drop goes on until the rate is back twice in a row, or until it has lasted so long that it is normal."""
    lasting = (*known.lasting, odds)
    back = known.low + 1 if reading.z < tuning.threshold / 2 else 0
    if back >= tuning.confirm:
        return replace(known, lasting=(), low=0, reading=reading)
    if len(lasting) >= tuning.relearn:
        return replace(known, history=lasting[-tuning.history :], lasting=(), low=0, reading=reading)
    since = known.reading.since_ms
    return replace(known, lasting=lasting, low=back, reading=replace(reading, state=State.DROPPED, since_ms=since))


def _median(values: tuple[float, ...]) -> float:
    ranked = sorted(values)
    middle = len(ranked) // 2
    return ranked[middle] if len(ranked) % 2 else (ranked[middle - 1] + ranked[middle]) / 2


def _share(odds: float) -> float:
    """Log-odds as a share, 0 to 1. Counters of 64 bits keep them below 45, so this cannot overflow."""
    return 1 / (1 + exp(-odds))
