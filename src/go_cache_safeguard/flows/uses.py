"""Which entries of a build cache a go command used, as runs that were watched showed.

Knows:     the file in our state directory, and how many runs of a command are remembered.
Called by: `flows.trace` adds a run; `flows.gc` and `flows.roots` read them.
Never:     decides what is kept, or looks into a cache.

Action IDs are kept as 32 bytes each, one after the other: one run of 2,000 packages is about 200 KB. They are random, so there is
nothing to compress.
"""

import json
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.flows.session import Session

_ID = 32
_SCHEMA = """
CREATE TABLE IF NOT EXISTS uses (
    project TEXT NOT NULL, command TEXT NOT NULL, toolchain TEXT NOT NULL, at_ns INTEGER NOT NULL, actions BLOB NOT NULL
) STRICT
"""


class UsesUnusable(Failure):
    """The file of recorded runs cannot be used."""

    id = "uses-unusable"
    exit_code = ExitCode.JOURNAL
    meaning = "what go commands used cannot be written down or read"


@dataclass(frozen=True, slots=True)
class Use:
    """One run of a go command that was watched.

    Attributes:
        project: Where it was started, absolute.
        command: Its arguments, without `go`.
        toolchain: Such as `go1.27.3`.
        at_ns: When, in nanoseconds since 1970-01-01 UTC.
        actions: Ids of the entries that it found or made, 32 bytes each.
    """

    project: Path
    command: tuple[str, ...]
    toolchain: str
    at_ns: int
    actions: frozenset[bytes]


def record_use(
    session: Session,
    *,
    project: Path,
    command: tuple[str, ...],
    toolchain: str,
    at_ns: int,
    actions: Collection[bytes],
) -> None:
    """Remember one run, and forget the oldest of the same command in the same place.

    Args:
        session: Who works.
        project: Where the command was started, absolute.
        command: Its arguments, without `go`.
        toolchain: Such as `go1.27.3`.
        at_ns: When, in nanoseconds since 1970-01-01 UTC.
        actions: Ids of the entries that it found or made, 32 bytes each.

    Raises:
        UsesUnusable: It could not be written.
        ValueError: An id is not 32 bytes long.
    """
    if any(len(action) != _ID for action in actions):
        raise ValueError("an action ID is 32 bytes")
    key = (_text(str(project)), json.dumps([_text(word) for word in command]))
    with _opened(session, write=True) as db, db:
        db.execute("INSERT INTO uses VALUES (?, ?, ?, ?, ?)", (*key, toolchain, at_ns, b"".join(sorted(actions))))
        db.execute(
            "DELETE FROM uses WHERE project = ? AND command = ? AND rowid NOT IN"
            " (SELECT rowid FROM uses WHERE project = ? AND command = ? ORDER BY at_ns DESC LIMIT ?)",
            (*key, *key, session.config.count("gc.uses")),
        )


def used(session: Session, *, since_ns: int = 0) -> tuple[Use, ...]:
    """Runs that are remembered, oldest first.

    Args:
        session: Who asks.
        since_ns: Only those that were made then or later.

    Raises:
        UsesUnusable: The file is there and cannot be read.
    """
    if not _path(session).exists():
        return ()
    with _opened(session, write=False) as db:
        rows = db.execute(
            "SELECT project, command, toolchain, at_ns, actions FROM uses WHERE at_ns >= ? ORDER BY at_ns, rowid",
            (since_ns,),
        ).fetchall()
    return tuple(_use(row) for row in rows)


def _use(row: tuple[str, str, str, int, bytes]) -> Use:
    project, command, toolchain, at_ns, actions = row
    ids = frozenset(actions[at : at + _ID] for at in range(0, len(actions), _ID))
    words = tuple(_untext(str(word)) for word in json.loads(command))
    return Use(Path(_untext(project)), words, toolchain, at_ns, ids)


def _text(text: str) -> str:
    """Text that SQLite can hold: a path need not be UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


def _untext(text: str) -> str:
    return text.encode("latin-1").decode("utf-8", "surrogateescape")


def _path(session: Session) -> Path:
    return session.state_dir / "uses.sqlite"


@contextmanager
def _opened(session: Session, *, write: bool) -> Iterator[sqlite3.Connection]:
    path = _path(session)
    try:
        if write:
            session.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = f"{path.absolute().as_uri()}?mode={'rwc' if write else 'ro'}"
        with closing(sqlite3.connect(name, timeout=10, uri=True)) as db:
            if write:
                db.execute(_SCHEMA)
            yield db
    except (sqlite3.Error, OSError, ValueError, TypeError) as error:
        raise UsesUnusable(
            f"{path} cannot be {'written' if write else 'read'}: {error}",
            not_done="no run was recorded" if write else "nothing was planned",
            hint="move the file away: only what was recorded of past runs is lost",
        ) from error
