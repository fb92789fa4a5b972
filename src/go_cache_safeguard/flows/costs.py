"""Remember what builds cost, and price what lies in a cache.

Knows:     one SQLite file in the state directory, `costs.sqlite`: a row for each step that a tool was seen to do.
Called by: whoever runs go with an action graph writes; collection, evidence packs and the graph read.
Never:     stands in the way: what cannot be written is not remembered, what cannot be read is not known. Never writes into a cache.
"""

import sqlite3
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.gocache.cost import Costs, Step, steps_of
from go_cache_safeguard.gocache.inventory import Output
from go_cache_safeguard.gotool.actiongraph import BuildAction, NoGraph

FILE = "costs.sqlite"
_FORMAT = 1
_MOST = 50_000
"""steps that are kept, the newest: some 8 MB."""
_PATIENCE_S = 5.0
_TABLE = """
CREATE TABLE steps (
    half TEXT PRIMARY KEY, mode TEXT NOT NULL, package TEXT NOT NULL, toolchain TEXT NOT NULL, target TEXT NOT NULL,
    flags TEXT NOT NULL, seconds REAL NOT NULL, size INTEGER NOT NULL, at_ns INTEGER NOT NULL
)
"""
_COLUMNS = "half, mode, package, toolchain, target, flags, seconds, size"


def record_costs(
    session: Session,
    actions: Sequence[BuildAction] | NoGraph,
    *,
    toolchain: str,
    outputs: Collection[Output] = (),
) -> int:
    """Remember what the tools took that a build started.

    Args:
        session: In whose state directory.
        actions: The action graph of that build; of none nothing is remembered.
        toolchain: What built, such as `go1.27.3`.
        outputs: What lies in the cache that it built into, if that was looked at: tells sizes, targets and flags.

    Returns:
        How many steps were remembered.
    """
    if isinstance(actions, NoGraph):
        return 0
    steps = Costs(steps_of(actions, toolchain=toolchain), outputs).steps
    if not steps:
        return 0
    try:
        _write(session, steps)
    except (sqlite3.Error, OSError) as error:
        session.progress.say(f"what this build cost is not remembered: {error}")
        return 0
    return len(steps)


def costs(session: Session, outputs: Collection[Output] = ()) -> Costs:
    """What is known of prices.

    Args:
        session: In whose state directory.
        outputs: What lies in a cache, if that was looked at: then more of what was measured can be used.
    """
    path = session.state_dir / FILE
    try:
        if not path.is_file():
            return Costs()
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_PATIENCE_S)) as db:
            if _format(db) != _FORMAT:
                return Costs()
            rows = db.execute(f"SELECT {_COLUMNS} FROM steps ORDER BY at_ns, half").fetchall()  # noqa: S608 - our own words
            return Costs((_step(row) for row in rows), outputs)
    except (sqlite3.Error, OSError, ValueError, TypeError, AttributeError) as error:
        session.progress.say(f"what builds cost cannot be read: {error}")
        return Costs()


def _write(session: Session, steps: Sequence[Step]) -> None:
    session.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    at_ns = time.time_ns()
    rows = [
        (one.half, one.mode, one.package, one.toolchain, one.target, " ".join(one.flags), one.seconds, one.size, at_ns)
        for one in steps
    ]
    with _opened(session.state_dir / FILE) as db:
        db.executemany("INSERT OR REPLACE INTO steps VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        db.execute(
            "DELETE FROM steps WHERE half IN (SELECT half FROM steps ORDER BY at_ns DESC, half LIMIT -1 OFFSET ?)",
            (_MOST,),
        )


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """The file, in one transaction; whatever is none of ours is emptied, as it is only a memory."""
    try:
        db = _connect(path)
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode not in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
            raise
        path.write_bytes(b"")
        db = _connect(path)
    with closing(db):
        yield db
        db.execute("COMMIT")


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=_PATIENCE_S, isolation_level=None)
    try:
        db.execute("BEGIN IMMEDIATE")
        if _format(db) != _FORMAT:
            db.execute("DROP TABLE IF EXISTS steps")
            db.execute(_TABLE)
            db.execute(f"PRAGMA user_version = {_FORMAT}")
    except BaseException:
        db.close()
        raise
    return db


def _format(db: sqlite3.Connection) -> int:
    found: tuple[int] = db.execute("PRAGMA user_version").fetchone()
    return found[0]


def _step(row: tuple[str, str, str, str, str, str, float, int]) -> Step:
    half, mode, package, toolchain, target, flags, seconds, size = row
    return Step(half, mode, package, toolchain, target, tuple(flags.split()), float(seconds), int(size))
