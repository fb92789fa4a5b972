"""How builds with a shared second level of `cacheprog` do, as golden signals: which share of their lookups misses, and how long they take.

Knows:     the line that `cacheprog` leaves of each build, and what of it stands for requests, errors and latencies.
Called by: `flows.builds`.
Never:     counts a build that did not ask the second level, which could not tell how that one does; takes what it cannot read for a build.
Source:    the lines are from `flows.cacheprog_report`.

A request is a lookup, an error is a miss, a latency is the length of a build. Lookups of one build are not independent of each other: who
changes a package that all others import misses all of them. So a rise has to be large before it is compared, and several builds are needed.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import ceil, inf

from go_cache_safeguard.signals.gate import Limits
from go_cache_safeguard.signals.golden import MOST_LATENCIES, Golden, absent

_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Build:
    """One build that asked the second level.

    Attributes:
        namespace: Its part of the second level.
        ended_ns: When it was over, in nanoseconds since 1970.
        took_ms: How long it took.
        lookups: What go looked up.
        misses: Of them, neither on that machine nor in the second level.
    """

    namespace: str
    ended_ns: int
    took_ms: float
    lookups: int
    misses: int


def parse_build(line: bytes, *, told_ns: int | None = None) -> Build | None:
    """Read what a build left behind.

    Args:
        line: Its summary, in JSON.
        told_ns: When the second level heard of it; its clock is one for all machines. None for what the line says.

    Returns:
        None for a build that did not ask the second level.

    Raises:
        ValueError: It is no such line.
    """
    try:
        value = json.loads(line)
        remote = value.get("remote")
        if remote is None or not _count(remote["asked"]):
            return None
        began_ns, ended_ns = _count(value["began_ns"]), _count(value["ended_ns"])
        lookups, misses = _count(value["gets"]), _count(value["misses"])
        namespace = remote["namespace"]
    except (AttributeError, KeyError, RecursionError, TypeError) as error:
        raise ValueError("it is no summary of a build") from error
    if not isinstance(namespace, str) or ended_ns < began_ns or misses > lookups:
        raise ValueError("it is no summary of a build")
    took_ms = (ended_ns - began_ns) / _MS
    return Build(namespace, ended_ns if told_ns is None else told_ns, took_ms, lookups, misses)


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value


def golden_of_builds(namespace: str, builds: Iterable[Build], start_ns: int, end_ns: int) -> Golden:
    """The signals of one namespace; without a build a doubt, for no data are no good data.

    Args:
        namespace: Whose; builds of others are passed over.
        builds: In any order.
        start_ns: Of the window, included.
        end_ns: Of the window, not included.
    """
    own = [one for one in builds if one.namespace == namespace and start_ns <= one.ended_ns < end_ns]
    if not own:
        return absent(namespace, start_ns, end_ns, "no build that asked the second level has ended")
    newest = sorted(own, key=lambda one: -one.ended_ns)
    took = sorted(one.took_ms for one in own)
    return Golden(
        service=namespace,
        start_ns=start_ns,
        end_ns=end_ns,
        requests=sum(one.lookups for one in own),
        errors=sum(one.misses for one in own),
        p95_ms=took[ceil(0.95 * len(took)) - 1],
        latencies=tuple(one.took_ms for one in newest[:MOST_LATENCIES]),
        saturation=None,
        newest_ns=newest[0].ended_ns,
    )


def for_builds(limits: Limits, *, builds: int, misses: float, stale_s: float) -> Limits:
    """What builds have to keep. A miss is nothing bad by itself, so nothing is fixed: all is compared with before.

    Args:
        limits: What services have to keep.
        builds: Least builds of a window, now and before.
        misses: A rise of the share of misses below this is not compared.
        stale_s: The newest build must not be older.
    """
    return replace(
        limits,
        second_error_rate=1.0,
        error_rate=1.0,
        p95_ms=inf,
        p95_times=inf,
        more_errors=misses,
        requests=1,
        latencies=builds,
        traffic=0.0,
        stale_s=stale_s,
        gap_s=inf,
    )
