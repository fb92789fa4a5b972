"""Whether what was begun may go on: the golden signals of now against fixed limits and against those of a quiet time before.

Knows:     which figures can be trusted, which are worse than before and not by chance, and what follows from that and from earlier looks.
Called by: whoever removes something in waves, and the command `signals gate`; `flows.golden` brings the signals.
Never:     advances without data: what is missing, old, contradictory or not to be compared is a PAUSE that says why.
Source:    Kayenta's judge validates its data first and compares with Mann-Whitney; Flagger halts the advance without metric values.

The order of judgement:

1. A breach, one second (or the whole window) far above what anybody may be asked to bear, is a ROLL_BACK at once, whatever else is missing.
2. A fault is a signal beyond its fixed limit, or worse than the baseline, by an amount that matters and not by chance. It is a strike;
   the first is a PAUSE, the second in a row a ROLL_BACK. The same data twice are one strike.
3. A doubt about the data is a PAUSE. It is no strike, and takes none back: telemetry that fails never hurries and never calms.
4. Otherwise ADVANCE, and earlier strikes are forgotten.

The gate is asked again and again, and each question may be answered wrongly by chance. Look number k may be wrong with at most
alpha * 6 / (pi * k)**2, half of it for errors and half for latencies, so that a service that does as well as before is ever paused by
the comparisons with a chance of at most alpha, however many looks there are. Who watches several services divides alpha among them:
`judge_all` does. The fixed limits hold regardless of any of this.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import pairwise
from math import inf, isfinite, isnan

from go_cache_safeguard.signals.golden import Golden
from go_cache_safeguard.signals.rank import greater, more_often, share_of_look

_NS = 1_000_000_000
_NEVER_SILENT = 10
"""A silence in which so many requests were to be expected is a gap in the data: by chance it is one in 20,000."""


class Verdict(IntEnum):
    """What to do; the greater, the worse."""

    ADVANCE = 0
    PAUSE = 1
    ROLL_BACK = 2


@dataclass(frozen=True, slots=True)
class Limits:
    """What a service has to keep, and what data must be like. Shares are from 0 to 1.

    Attributes:
        second_error_rate: Breach: of one second, or of the whole window.
        second_requests: Least requests of a second that can be a breach.
        error_rate: Fault: of the window.
        errors: Fewer errors than these are neither a fault nor a breach.
        p95_ms: Fault: 95 of 100 requests take longer.
        p95_times: Fault: p95 is so many times that of the baseline.
        saturation: Fault: the fullest resource.
        alpha: The chance that a service as good as before is ever paused by the comparisons.
        more_errors: A rise of the error rate below this is not compared: with enough requests every trifle is significant.
        slower: Nor is p95 below so many times that of the baseline.
        strikes: Faults in a row for a ROLL_BACK.
        requests: Least requests of a window, now and before.
        latencies: Least latencies of a window, now and before.
        traffic: Least share of the baseline's traffic: requests that do not come any more are missing from every other figure.
        stale_s: The newest request must not be older, at the end of the window; twice the step of the source is always forgiven.
        ahead_s: Nor may it be so much later than the end of the window.
        gap_s: A silence of this many seconds is a gap if requests were to be expected in it.
    """

    second_error_rate: float = 0.10
    second_requests: int = 20
    error_rate: float = 0.005
    errors: int = 3
    p95_ms: float = inf
    p95_times: float = 3.0
    saturation: float = 0.9
    alpha: float = 0.05
    more_errors: float = 0.001
    slower: float = 1.5
    strikes: int = 2
    requests: int = 50
    latencies: int = 20
    traffic: float = 0.5
    stale_s: float = 15.0
    ahead_s: float = 2.0
    gap_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Looks:
    """What is remembered from look to look.

    Attributes:
        taken: Looks that compared.
        strikes: Faults in a row.
        struck_ns: When the newest data of the last strike were seen; None without one, or if nobody knows.
    """

    taken: int = 0
    strikes: int = 0
    struck_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the gate says.

    Attributes:
        verdict: What to do.
        reasons: Why, for people; never empty.
        looks: To be given to the next look.
        breached: Whether it is a ROLL_BACK because of a breach, which needs no second look.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    looks: Looks = Looks()
    breached: bool = False


def judge(now: Golden, baseline: Golden | None, limits: Limits = Limits(), looks: Looks = Looks()) -> Ruling:
    """Judge one service.

    Args:
        now: The window since what is judged began.
        baseline: A window of the same service that ended before; None if there is none.
        limits: What it has to keep.
        looks: What the look before this one said to remember.
    """
    if breach := breach_of(now, limits):
        return Ruling(Verdict.ROLL_BACK, (breach,), looks, breached=True)
    doubts = [*doubts_of(now, limits), *_comparable(now, baseline, limits)]
    compared = baseline is not None and not doubts
    taken = looks.taken + compared
    faults = [*_beyond(now, limits)]
    if baseline is not None:
        faults += _times_slower(now, baseline, limits)
    if baseline is not None and compared:
        faults += _worse(now, baseline, limits, share_of_look(limits.alpha, taken))
    looks = replace(looks, taken=taken)
    if faults:
        return _strike(now, (*faults, *doubts), limits, looks)
    if doubts:
        return Ruling(Verdict.PAUSE, tuple(doubts), looks)
    return Ruling(Verdict.ADVANCE, (_calm(now),), Looks(taken))


def judge_all(
    now: Mapping[str, Golden],
    baseline: Mapping[str, Golden],
    services: Iterable[str],
    limits: Limits = Limits(),
    looks: Mapping[str, Looks] | None = None,
) -> dict[str, Ruling]:
    """Judge services that are watched together, by name; one without signals is a PAUSE, and so is having none to watch.

    The chance of a false alarm, `limits.alpha`, is that of all of them together.
    """
    names = sorted(set(services))
    shared = replace(limits, alpha=limits.alpha / max(1, len(names)))
    earlier = looks or {}
    return {
        name: judge(now[name], baseline.get(name), shared, earlier.get(name, Looks()))
        if name in now
        else Ruling(Verdict.PAUSE, ("no data",), earlier.get(name, Looks()))
        for name in names
    }


def together(rulings: Mapping[str, Ruling]) -> Ruling:
    """The worst of all rulings, with each reason under its service's name. No services are a PAUSE.

    Its looks are of no service; keep those of the rulings.
    """
    if not rulings:
        return Ruling(Verdict.PAUSE, ("no service is watched",))
    worst = max(ruling.verdict for ruling in rulings.values())
    blamed = {name: ruling for name, ruling in rulings.items() if ruling.verdict is worst}
    reasons = tuple(f"{name}: {reason}" for name, ruling in blamed.items() for reason in ruling.reasons)
    return Ruling(worst, reasons, breached=any(ruling.breached for ruling in blamed.values()))


def breach_of(now: Golden, limits: Limits = Limits()) -> str:
    """What nobody may be asked to bear for another second; empty if there is nothing of the kind. Cheap enough to ask ten times a second."""
    for second in now.seconds:
        if second.requests >= limits.second_requests and _far_over(second.errors, second.requests, limits):
            told = f"{second.errors:.0f} of {second.requests:.0f} requests failed in {_seconds(now.step_s)}"
            return f"{told}, more than {_share(limits.second_error_rate)}"
    if now.requests >= limits.requests and _far_over(now.errors, now.requests, limits):
        return f"{now.errors} of {now.requests} requests failed, more than {_share(limits.second_error_rate)}"
    return ""


def _seconds(step_s: int) -> str:
    return "one second" if step_s == 1 else f"{step_s} s"


def _far_over(errors: float, requests: float, limits: Limits) -> bool:
    return limits.errors <= errors <= requests and errors > limits.second_error_rate * requests


def doubts_of(now: Golden, limits: Limits = Limits()) -> Iterator[str]:
    """Why figures of a window that ends now cannot be judged."""
    yield from _unsound(now, limits)
    stale_s = max(limits.stale_s, 2 * now.step_s)
    if now.newest_ns is None:
        if now.requests and not now.doubt:
            yield "nobody knows how old the data are"
    elif now.end_ns - now.newest_ns > stale_s * _NS:
        yield f"the newest data are {(now.end_ns - now.newest_ns) / _NS:.0f} s old, more than {stale_s:g} s"
    elif now.newest_ns - now.end_ns > limits.ahead_s * _NS:
        yield f"the newest data are from {(now.newest_ns - now.end_ns) / _NS:.0f} s in the future: a clock is wrong"
    if (silence := _silence_s(now)) > limits.gap_s and silence * now.traffic > _NEVER_SILENT:
        yield f"there are no data for {silence} s within the window"


def _unsound(one: Golden, limits: Limits) -> Iterator[str]:
    """What is wrong with figures of any window, old or new."""
    if one.doubt or not one.requests:
        yield one.doubt or "no data"
        return
    if one.end_ns <= one.start_ns:
        yield "the window has no length"
    if not 0 <= one.errors <= one.requests:
        yield f"{one.errors} errors of {one.requests} requests cannot be"
    elif one.requests < limits.requests:
        yield f"{one.requests} requests are too few, of {limits.requests}"
    if not _is_length(one.p95_ms) or any(isnan(value) or value < 0 for value in one.latencies):
        yield "there are latencies that are no numbers"
    elif len(one.latencies) < limits.latencies:
        yield f"{len(one.latencies)} latencies are too few, of {limits.latencies}"
    if one.saturation is not None and not one.saturation >= 0:
        yield "the saturation is no number"


def _is_length(value: float) -> bool:
    return isfinite(value) and value >= 0


def _silence_s(now: Golden) -> int:
    """The longest time between two seconds with requests, in whole seconds."""
    busy = sorted(second.second for second in now.seconds if second.requests > 0)
    return max((after - before - now.step_s for before, after in pairwise(busy)), default=0)


def _comparable(now: Golden, baseline: Golden | None, limits: Limits) -> Iterator[str]:
    if baseline is None:
        yield "there is no baseline to compare with"
        return
    yield from (f"baseline: {doubt}" for doubt in _unsound(baseline, limits))
    if baseline.service != now.service:
        yield f"baseline: is of {baseline.service}"
    if baseline.end_ns > now.start_ns:
        yield "baseline: it overlaps what is compared with it"
    if now.traffic < limits.traffic * baseline.traffic:
        yield f"{now.traffic:.3g} requests a second are less than {_share(limits.traffic)} of the {baseline.traffic:.3g} before"
    if now.saturation is None and baseline.saturation is not None:
        yield "the saturation is not measured any more"


def _beyond(now: Golden, limits: Limits) -> Iterator[str]:
    """Fixed limits. A figure that is no number is beyond none: it is a doubt."""
    if limits.errors <= now.errors <= now.requests and now.errors > limits.error_rate * now.requests:
        yield f"{now.errors} of {now.requests} requests failed, more than {_share(limits.error_rate)}"
    if now.p95_ms > limits.p95_ms:
        yield f"p95 is {now.p95_ms:.4g} ms, more than {limits.p95_ms:.4g} ms"
    if now.saturation is not None and now.saturation > limits.saturation:
        yield f"saturation is {_share(now.saturation)}, more than {_share(limits.saturation)}"


def _times_slower(now: Golden, baseline: Golden, limits: Limits) -> Iterator[str]:
    enough = min(len(now.latencies), len(baseline.latencies)) >= limits.latencies
    if enough and now.p95_ms > limits.p95_times * baseline.p95_ms:
        yield f"p95 is {now.p95_ms:.4g} ms, more than {limits.p95_times:g} times the {baseline.p95_ms:.4g} ms before"


def _worse(now: Golden, baseline: Golden, limits: Limits, share: float) -> Iterator[str]:
    """What is worse than before, by an amount that matters, and not by chance. Both windows are sound."""
    if now.error_rate - baseline.error_rate >= limits.more_errors:
        chance = more_often(now.errors, now.requests, baseline.errors, baseline.requests)
        if chance < share / 2:
            yield f"errors rose from {_share(baseline.error_rate)} to {_share(now.error_rate)}, {_chance(chance, share / 2)}"
    if now.p95_ms >= limits.slower * baseline.p95_ms:
        chance = greater(now.latencies, baseline.latencies)
        if chance < share / 2:
            yield f"p95 rose from {baseline.p95_ms:.4g} ms to {now.p95_ms:.4g} ms, {_chance(chance, share / 2)}"


def _strike(now: Golden, reasons: tuple[str, ...], limits: Limits, looks: Looks) -> Ruling:
    seen_ns = None if now.newest_ns is None else min(now.newest_ns, now.end_ns)  # a clock ahead must not outlast itself
    is_new = not looks.strikes or (seen_ns is not None and (looks.struck_ns is None or seen_ns > looks.struck_ns))
    strikes = looks.strikes + is_new
    struck = Looks(looks.taken, strikes, seen_ns if is_new else looks.struck_ns)
    verdict = Verdict.ROLL_BACK if strikes >= limits.strikes else Verdict.PAUSE
    return Ruling(verdict, (*reasons, f"strike {strikes} of {limits.strikes}"), struck)


def _calm(now: Golden) -> str:
    return f"{now.errors} of {now.requests} requests failed, p95 {now.p95_ms:.4g} ms: within limits, and no worse than before"


def _share(share: float) -> str:
    return f"{share:.3g}" if not isfinite(share) else f"{share * 100:.3g} %"


def _chance(chance: float, allowed: float) -> str:
    return f"by chance in {chance:.2g} of cases (allowed at this look: {allowed:.2g})"
