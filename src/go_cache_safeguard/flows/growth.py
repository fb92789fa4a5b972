"""How a cache grew: one small point whenever somebody looks, at most one an hour.

Knows:     where the points are kept, what they say about a day, and how that looks in one line.
Called by: `status` and `fsck` add a point; `status`, `report` and the forecast of a full disk read them.
Never:     stops a look: what cannot be written is not remembered. It is a memory of ours, never a reason to remove anything.
"""

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.gocache.inventory import Inventory, toolchain_of

if TYPE_CHECKING:
    import sqlite3

_HOUR_NS = 3_600_000_000_000
_DAY_NS = 24 * _HOUR_NS
_TREND_NS = 30 * _DAY_NS
"""What is older says little about tomorrow."""
_MOST = 10_000
"""Points of one cache: more than a year of hours."""
_BARS = "▁▂▃▄▅▆▇█"
_PATIENCE_S = 2.0
_SCHEMA = """CREATE TABLE IF NOT EXISTS points (
    cache TEXT NOT NULL, at_ns INTEGER NOT NULL, files INTEGER NOT NULL, bytes INTEGER NOT NULL, toolchains TEXT NOT NULL,
    PRIMARY KEY (cache, at_ns)
) WITHOUT ROWID"""


@dataclass(frozen=True, slots=True)
class Point:
    """What one look saw.

    Attributes:
        at_ns: When, in nanoseconds since 1970-01-01 UTC.
        files: Index entries and outputs.
        size: Bytes of them, apparent.
        toolchains: Bytes of outputs by the toolchain that made them; `unknown` for what does not say.
    """

    at_ns: int
    files: int
    size: int
    toolchains: Mapping[str, int]


def growth(session: Session, gocache: Path) -> tuple[Point, ...]:
    """What earlier looks at a cache saw, oldest first; empty when nothing is remembered or it cannot be read."""
    import sqlite3  # noqa: PLC0415 - loaded where used

    if not _file(session).is_file():
        return ()
    with suppress(sqlite3.Error, ValueError, OSError), closing(_open(session, "ro")) as db:
        rows = db.execute(
            "SELECT at_ns, files, bytes, toolchains FROM points WHERE cache = ? ORDER BY at_ns",
            (_name(session, gocache),),
        ).fetchall()
        return tuple(Point(at_ns, files, size, json.loads(toolchains)) for at_ns, files, size, toolchains in rows)
    return ()


def note(session: Session, gocache: Path, inventory: Inventory, *, now_ns: int | None = None) -> None:
    """Remember what a look saw, unless that was done within the hour.

    Args:
        session: Where to.
        gocache: The cache, resolved.
        inventory: What was seen.
        now_ns: The time, in nanoseconds since 1970-01-01 UTC; None to ask the clock.
    """
    import sqlite3  # noqa: PLC0415 - loaded where used

    now_ns = time.time_ns() if now_ns is None else now_ns
    try:
        session.state_folder("verified")  # makes the state directory as it should be
        with closing(_open(session, "rwc")) as db:
            db.execute(_SCHEMA)
            _note(db, _name(session, gocache), inventory, now_ns)
    except (sqlite3.Error, OSError) as error:
        session.progress.say(f"growth is not remembered: {_file(session)}: {error}")


def _note(db: "sqlite3.Connection", name: str, inventory: Inventory, now_ns: int) -> None:
    near = (name, now_ns - _HOUR_NS, now_ns + _HOUR_NS)
    if db.execute("SELECT 1 FROM points WHERE cache = ? AND at_ns > ? AND at_ns < ?", near).fetchone():
        return
    toolchains = json.dumps(inventory.bytes_by(toolchain_of), sort_keys=True)
    with db:
        db.execute(
            "INSERT OR IGNORE INTO points VALUES (?, ?, ?, ?, ?)",
            (name, now_ns, inventory.files, inventory.size, toolchains),
        )
        db.execute(
            "DELETE FROM points WHERE cache = ? AND at_ns < (SELECT min(at_ns) FROM "
            "(SELECT at_ns FROM points WHERE cache = ? ORDER BY at_ns DESC LIMIT ?))",
            (name, name, _MOST),
        )


def per_day(points: Sequence[Point]) -> float | None:
    """Bytes that a cache grows in a day; negative when it shrinks.

    The straight line with the least squares through the points of the last 30 days.

    Args:
        points: Oldest first.

    Returns:
        None when they do not span a day.
    """
    if not points:
        return None
    recent = [point for point in points if points[-1].at_ns - point.at_ns <= _TREND_NS]
    if recent[-1].at_ns - recent[0].at_ns < _DAY_NS:
        return None
    days = [(point.at_ns - recent[0].at_ns) / _DAY_NS for point in recent]
    middle, size = sum(days) / len(days), sum(point.size for point in recent) / len(recent)
    over = sum((day - middle) * (point.size - size) for day, point in zip(days, recent, strict=True))
    return over / sum((day - middle) ** 2 for day in days)


def sparkline(points: Sequence[Point], width: int = 24) -> str:
    """Sizes as a row of bars: time in equal steps from the first point to the last, from nothing to the largest.

    Args:
        points: Oldest first.
        width: Bars at most.
    """
    if not points:
        return ""
    steps = min(width, len(points))
    span = max(1, points[-1].at_ns - points[0].at_ns)
    bars: list[int] = [0] * steps
    for point in points:
        bars[min(steps - 1, (point.at_ns - points[0].at_ns) * steps // span)] = point.size
    for at in range(1, steps):
        bars[at] = bars[at] or bars[at - 1]  # nobody looked: it is drawn as it was
    most = max(*bars, 1)
    return "".join(_BARS[min(len(_BARS) - 1, bar * len(_BARS) // most)] for bar in bars)


def _file(session: Session) -> Path:
    return session.state_dir / "growth.sqlite"


def _name(session: Session, gocache: Path) -> str:
    """The same short name by which the index of verified entries knows a cache."""
    return session.index_path(gocache).stem


def _open(session: Session, mode: str) -> "sqlite3.Connection":
    import sqlite3  # noqa: PLC0415 - loaded where used

    return sqlite3.connect(f"{_file(session).absolute().as_uri()}?mode={mode}", timeout=_PATIENCE_S, uri=True)
