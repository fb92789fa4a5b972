"""When the disk will be full, as far as the growth of a cache tells.

Knows:     the slope of a cache's size that a few odd points do not bend, how sure it is, and what that means for the room that is left.
Called by: `flows.gc` and the command line's `status`.
Never:     removes anything, or calls a guess a fact: fewer than four points, or less than a day, are no forecast.
Source:    the median of the slopes between all pairs of points (Theil and Sen), and for the interval the slopes whose ranks Kendall's
           tau puts at 95 % (Sen 1968, "Estimates of the Regression Coefficient Based on Kendall's Tau").

A point that lies below the one before it by more than a tenth is where somebody cleaned: growth is measured from there on.
"""

import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from go_cache_safeguard.core.size import format_size
from go_cache_safeguard.flows.growth import Point, growth
from go_cache_safeguard.flows.session import Session

_DAY_NS = 86_400 * 10**9
_ENOUGH = 4
_MOST = 200
"""points: the slopes between all pairs of so many are 20,000."""
_FELL = 0.9
_FAR_DAYS = 3650.0


@dataclass(frozen=True, slots=True)
class Forecast:
    """How a cache grows, and when that fills the disk.

    Attributes:
        per_day: Bytes that it grows in a day; negative if it shrinks.
        low: The same at the lower end of 95 %.
        high: Likewise the upper end.
        points: How many looks that comes from.
        days: How long they span.
        free: Bytes that are free now.
    """

    per_day: float
    low: float
    high: float
    points: int
    days: float
    free: int

    @property
    def full_in(self) -> float | None:
        """Days until the disk is full; None if it is not going to be within ten years."""
        return _until(self.free, self.per_day)

    @property
    def text(self) -> str:
        """One line."""
        soonest, likely, latest = (_until(self.free, rate) for rate in (self.high, self.per_day, self.low))
        grows = f"grows by {format_size(max(0, round(self.per_day)))} a day"
        since = f"{self.points} looks in {_days(self.days)}"
        if likely is None:
            return f"does not fill the disk: it {grows} ({since})"
        end = (
            f"not before {_days(soonest or likely)}"
            if latest is None
            else f"{_days(soonest or likely)} to {_days(latest)}"
        )
        return f"the disk is full in {_days(likely)} ({end}): it {grows} ({since}, {format_size(self.free)} are free)"


def forecast(session: Session, gocache: Path) -> Forecast | None:
    """Tell when the disk of a cache will be full; None if too little is known.

    Args:
        session: Who asks.
        gocache: The cache, resolved.
    """
    try:
        disk = os.statvfs(gocache)
    except OSError:
        return None
    return forecast_of(growth(session, gocache), free=disk.f_bavail * disk.f_frsize, now_ns=time.time_ns())


def forecast_of(points: Sequence[Point], *, free: int, now_ns: int) -> Forecast | None:
    """The same from points.

    Args:
        points: Oldest first.
        free: Bytes that are free now.
        now_ns: The present, in nanoseconds since 1970-01-01 UTC: what is older than 30 days does not count.
    """
    recent = _since_cleaned([point for point in points if now_ns - point.at_ns <= 30 * _DAY_NS])[-_MOST:]
    if len(recent) < _ENOUGH or recent[-1].at_ns - recent[0].at_ns < _DAY_NS:
        return None
    slopes = sorted(
        (later.size - earlier.size) / (later.at_ns - earlier.at_ns) * _DAY_NS
        for at, earlier in enumerate(recent)
        for later in recent[at + 1 :]
        if later.at_ns > earlier.at_ns
    )
    count, pairs = len(recent), len(slopes)
    spread = 1.96 * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    low = slopes[max(0, round((pairs - spread) / 2))]
    high = slopes[min(pairs - 1, round((pairs + spread) / 2))]
    days = (recent[-1].at_ns - recent[0].at_ns) / _DAY_NS
    return Forecast(slopes[pairs // 2], low, high, count, days, free)


def _since_cleaned(points: Sequence[Point]) -> Sequence[Point]:
    for at in range(len(points) - 1, 0, -1):
        if points[at].size < points[at - 1].size * _FELL:
            return points[at:]
    return points


def _until(free: int, rate: float) -> float | None:
    return None if rate <= 0 or free / rate > _FAR_DAYS else free / rate


def _days(days: float) -> str:
    if days < 2:
        return f"{max(1, round(days * 24))} hours"
    return f"{round(days)} days"
