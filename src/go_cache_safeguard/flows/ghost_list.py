"""Remember entries that left a build cache: which operation of ours took them, or when we noticed.

Knows:     one SQLite file in the state directory, `ghosts.sqlite`; the newest `why.ghosts` of each cache are kept.
Called by: `flows.inspect` tells what is gone that was there before; `flows.remove` tells what it took; `flows.why` asks.
Never:     keeps anybody from working: what cannot be written or read is only not remembered, and nothing else needs it.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.gocache.fsck import Memory
from go_cache_safeguard.gocache.ghosts import Ghost
from go_cache_safeguard.gocache.layout import parse_name

_FILE = "ghosts.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS ghosts (
    cache TEXT NOT NULL, action BLOB NOT NULL, at_ns INTEGER NOT NULL, operation TEXT NOT NULL, package TEXT NOT NULL,
    content TEXT NOT NULL, noticed INTEGER NOT NULL, PRIMARY KEY (cache, action)
) STRICT, WITHOUT ROWID
"""
_NOTICED = """
INSERT INTO ghosts VALUES (?, ?, ?, '', ?, ?, 1) ON CONFLICT (cache, action) DO UPDATE SET
    at_ns = CASE WHEN noticed OR operation = '' THEN excluded.at_ns ELSE at_ns END,
    operation = CASE WHEN noticed THEN '' ELSE operation END,
    package = CASE WHEN excluded.package = '' THEN package ELSE excluded.package END,
    content = CASE WHEN excluded.content = '' THEN content ELSE excluded.content END,
    noticed = 1
"""
"""Who took it is known first, from the operation; what it was when it is missed. What is missed twice came back in between."""
_TAKEN = """
INSERT INTO ghosts VALUES (?, ?, ?, ?, '', '', 0) ON CONFLICT (cache, action) DO UPDATE SET
    at_ns = excluded.at_ns, operation = excluded.operation, noticed = 0
"""
_BACK = "DELETE FROM ghosts WHERE cache = ? AND operation = ?"
_FORGET = """
DELETE FROM ghosts WHERE cache = ?1 AND at_ns <
    (SELECT at_ns FROM ghosts WHERE cache = ?1 ORDER BY at_ns DESC LIMIT 1 OFFSET ?2)
"""


def note_gone(session: Session, gocache: Path, gone: Memory, at_ns: int) -> None:
    """Remember entries that an earlier look saw and this one did not.

    Args:
        session: Who looked.
        gocache: The cache.
        gone: What was known of them.
        at_ns: When we looked.
    """
    rows = []
    for action, output in gone.actions.items():
        about = gone.outputs[output][1] if output in gone.outputs else None
        package = "" if about is None else (about.source if about.package == "main" else about.package) or ""
        rows.append((_text(gocache), action, at_ns, package, "" if about is None else about.build_content))
    _write(session, gocache, _NOTICED, rows)


def note_taken(session: Session, gocache: Path, operation: str, names: Iterable[str], at_ns: int) -> None:
    """Remember entries that an operation of ours took.

    Args:
        session: Who works.
        gocache: The cache.
        operation: The operation.
        names: Of the files that it moved; only those of index entries count.
        at_ns: When.
    """
    parsed = [parse_name(name) for name in names]
    rows = [(_text(gocache), one[0], at_ns, operation) for one in parsed if one is not None and one[1] == "a"]
    _write(session, gocache, _TAKEN, rows)


def note_back(session: Session, gocache: Path, operation: str) -> None:
    """Forget what an operation of ours took: it was put back.

    Args:
        session: Who works.
        gocache: The cache.
        operation: The operation.
    """
    if (session.state_dir / _FILE).exists():
        _write(session, gocache, _BACK, [(_text(gocache), operation)])


def ghosts(session: Session, gocache: Path) -> Mapping[bytes, Ghost]:
    """Entries that left this cache, by key. One that came back is still among them: look into the cache first."""
    with suppress(sqlite3.Error, OSError, ValueError):
        if (session.state_dir / _FILE).exists():
            with _opened(session, "ro") as db:
                rows = db.execute(
                    "SELECT action, at_ns, operation, package, content FROM ghosts WHERE cache = ?", (_text(gocache),)
                ).fetchall()
            return {row[0]: Ghost(*row) for row in rows}
    return {}


def _write(session: Session, gocache: Path, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
    if not rows:
        return
    with suppress(sqlite3.Error, OSError, ValueError):
        session.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _opened(session, "rwc") as db, db:
            db.execute(_SCHEMA)
            db.executemany(statement, rows)
            db.execute(_FORGET, (_text(gocache), session.config.count("why.ghosts")))


@contextmanager
def _opened(session: Session, mode: str) -> Iterator[sqlite3.Connection]:
    name = f"{(session.state_dir / _FILE).absolute().as_uri()}?mode={mode}"
    with closing(sqlite3.connect(name, timeout=5, uri=True)) as db:
        yield db


def _text(path: Path) -> str:
    """A path as text that SQLite can hold: it need not be UTF-8."""
    return str(path).encode("utf-8", "surrogateescape").decode("latin-1")
