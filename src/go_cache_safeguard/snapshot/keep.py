"""Which snapshots are kept, and why.

Knows:     the rules `--keep-...` and what they mean.
Called by: `flows.repository` before a prune.
Never:     asks what time it is: rules count back from the newest snapshot, so that an idle machine does not lose its last ones.
Source:    restic, internal/restic/snapshot_policy.go (0.18): snapshots are looked at newest first; each counter keeps the newest of
           its hour, day, week, month or year; while it has some left it keeps the oldest snapshot too; `within` counts from the newest
           snapshot. Unlike restic we take all times in UTC, and refuse rules that would keep nothing of a group.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple, TypeAlias

Group: TypeAlias = tuple[str, ...]
_S = 10**9


class Kept(NamedTuple):
    """What the rules look at.

    Attributes:
        id: Of the snapshot.
        made_ns: When it was made, nanoseconds since 1970-01-01 UTC.
        group: Snapshots of one group are counted together: host and what was copied.
        tags: Words that people gave it.
    """

    id: str
    made_ns: int
    group: Group
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rules:
    """What to keep; one rule suffices to keep a snapshot.

    Attributes:
        last: So many, the newest.
        hourly: The newest of so many hours that have one; likewise the next four.
        daily: Days.
        weekly: Weeks, which begin on Monday.
        monthly: Months.
        yearly: Years.
        within_s: All that are at most so many seconds older than the newest; None for no such rule.
        tags: All that have one of these.
    """

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    within_s: int | None = None
    tags: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing was asked for."""
        return not (self._counts or self.within_s is not None or self.tags)

    @property
    def words(self) -> tuple[str, ...]:
        """As typed on the command line."""
        words = [f"--keep-{name}={count}" for name, count in self._counts]
        words += [] if self.within_s is None else [f"--keep-within={self.within_s}s"]
        return (*words, *(f"--keep-tag={tag}" for tag in self.tags))

    @property
    def _counts(self) -> list[tuple[str, int]]:
        counts = [("last", self.last), ("hourly", self.hourly), ("daily", self.daily), ("weekly", self.weekly)]
        counts += [("monthly", self.monthly), ("yearly", self.yearly)]
        return [(name, count) for name, count in counts if count]


def choose(snapshots: Iterable[Kept], rules: Rules) -> dict[str, tuple[str, ...]]:
    """For each snapshot the reasons to keep it; without any it may go.

    Args:
        snapshots: In any order.
        rules: What to keep.
    """
    groups: dict[Group, list[Kept]] = {}
    for snapshot in snapshots:
        groups.setdefault(snapshot.group, []).append(snapshot)
    chosen: dict[str, tuple[str, ...]] = {}
    for members in groups.values():
        chosen |= _choose_in(sorted(members, key=lambda one: (one.made_ns, one.id), reverse=True), rules)
    return chosen


def lost_groups(snapshots: Iterable[Kept], chosen: Mapping[str, Sequence[str]]) -> list[Group]:
    """Groups of which nothing would be kept."""
    kept: dict[Group, bool] = {}
    for snapshot in snapshots:
        kept[snapshot.group] = kept.get(snapshot.group, False) or bool(chosen[snapshot.id])
    return sorted(group for group, any_kept in kept.items() if not any_kept)


@dataclass(slots=True)
class _Counter:
    name: str
    left: int
    period: Callable[[datetime, int], object]
    seen: object = None

    def keeps(self, moment: datetime, number: int, *, oldest: bool) -> bool:
        period = self.period(moment, number)
        if not self.left or (period == self.seen and not oldest):
            return False
        self.left, self.seen = self.left - 1, period
        return True


def _choose_in(newest_first: Sequence[Kept], rules: Rules) -> dict[str, tuple[str, ...]]:
    counters = [_Counter(name, count, _PERIODS[name]) for name, count in rules._counts]  # noqa: SLF001 - same file
    since_ns = None if rules.within_s is None else newest_first[0].made_ns - rules.within_s * _S
    chosen = {}
    for number, snapshot in enumerate(newest_first):
        oldest = number == len(newest_first) - 1
        moment = datetime.fromtimestamp(snapshot.made_ns // _S, UTC)
        reasons = [counter.name for counter in counters if counter.keeps(moment, number, oldest=oldest)]
        if since_ns is not None and snapshot.made_ns >= since_ns:
            reasons.append("within")
        reasons += [f"tag {tag}" for tag in rules.tags if tag in snapshot.tags]
        chosen[snapshot.id] = tuple(reasons)
    return chosen


_PERIODS: dict[str, Callable[[datetime, int], object]] = {
    "last": lambda _moment, number: number,
    "hourly": lambda moment, _number: (moment.date(), moment.hour),
    "daily": lambda moment, _number: moment.date(),
    "weekly": lambda moment, _number: moment.isocalendar()[:2],
    "monthly": lambda moment, _number: (moment.year, moment.month),
    "yearly": lambda moment, _number: moment.year,
}
