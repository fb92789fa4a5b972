"""Keep records of runs, and carry them to other machines.

Knows:     one SQLite file in the state directory, `runs.sqlite`; the newest `why.runs` of each project are kept, compressed.
Called by: `flows.why`; `trace` may give it the log of a run.
Never:     holds a secret: what the linker sets is covered, what a test reads was hashed by go.
"""

import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from go_cache_safeguard.core.errors import ExitCode, Failure, UsageFailure
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.gocache.hashlog import HashLog
from go_cache_safeguard.gocache.keyrecord import (
    NoRecord,
    Record,
    Recorded,
    cover,
    keys_of,
    read_record,
    write_record,
)
from go_cache_safeguard.gotool.environment import without_passwords

_LARGEST = 256 << 20
"""bytes of a record, unpacked."""
_LEVEL = 12
_ZSTANDARD = b"\x28\xb5\x2f\xfd"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    project TEXT NOT NULL, at_ns INTEGER NOT NULL, record BLOB NOT NULL, PRIMARY KEY (project, at_ns)
) STRICT
"""


class RunsUnusable(Failure):
    """The file of recorded runs cannot be used."""

    id = "runs-unusable"
    exit_code = ExitCode.JOURNAL
    meaning = "records of runs cannot be written or read"


def record_of(
    log: HashLog,
    *,
    project: Path,
    directory: Path,
    command: Sequence[str],
    toolchain: str,
    at_ns: int,
    environment: Mapping[str, str],
    tests: Sequence[Recorded] = (),
    held: Collection[bytes] | None = None,
) -> Record:
    """The record of a run whose log of hashes was taken.

    Args:
        log: What go said about its hashes.
        project: Directory of the module or workspace.
        directory: Where go was started.
        command: Such as `("go", "build", "./...")`.
        toolchain: Such as `go1.27.3`.
        at_ns: When, in nanoseconds since 1970-01-01 UTC.
        environment: Settings that steer a build, as `go env` says.
        tests: Keys of results of tests.
        held: Keys that are in the cache; None if the run was a real one that ended well, so that all are.
    """
    return Record(
        str(project),
        str(directory),
        tuple(cover(without_passwords(word)) for word in command),
        toolchain,
        at_ns,
        {name: cover(without_passwords(value)) for name, value in environment.items() if value},
        tuple(key if held is None or key.sum in held else replace(key, held=False) for key in (*keys_of(log), *tests)),
    )


def keep_run(session: Session, record: Record) -> int:
    """Remember a run, and forget the oldest of the same project.

    Args:
        session: Who works.
        record: The run.

    Returns:
        Bytes that it takes.

    Raises:
        RunsUnusable: It could not be written.
    """
    packed = pack_record(record)
    project = _text(record.project)
    with _opened(session, write=True) as db, db:
        db.execute("INSERT OR REPLACE INTO runs VALUES (?, ?, ?)", (project, record.at_ns, packed))
        db.execute(
            "DELETE FROM runs WHERE project = ? AND at_ns NOT IN"
            " (SELECT at_ns FROM runs WHERE project = ? ORDER BY at_ns DESC LIMIT ?)",
            (project, project, session.config.count("why.runs")),
        )
    return len(packed)


def runs(session: Session, project: Path) -> tuple[Record, ...]:
    """Recorded runs of a project, the newest first.

    Args:
        session: Who asks.
        project: Directory of the module or workspace.

    Raises:
        RunsUnusable: The file is there and cannot be read.
    """
    if not _path(session).exists():
        return ()
    with _opened(session, write=False) as db:
        rows = db.execute(
            "SELECT record FROM runs WHERE project = ? ORDER BY at_ns DESC", (_text(str(project)),)
        ).fetchall()
    read = [unpack_record(row[0]) for row in rows]
    return tuple(record for record in read if isinstance(record, Record))


def pack_record(record: Record) -> bytes:
    """The compressed bytes of a record."""
    import zstandard  # noqa: PLC0415 - heavy: loaded where used

    return zstandard.ZstdCompressor(level=_LEVEL).compress(write_record(record))


def unpack_record(data: bytes) -> Record | NoRecord:
    """Read a record, compressed or not."""
    import zstandard  # noqa: PLC0415 - heavy: loaded where used

    if data.startswith(_ZSTANDARD):
        try:
            data = zstandard.ZstdDecompressor().decompress(data, max_output_size=_LARGEST)
        except zstandard.ZstdError as error:
            return NoRecord(f"it cannot be unpacked: {error}")
    return read_record(data)


def read_run(path: Path) -> Record:
    """Read a record that was carried here.

    Raises:
        UsageFailure: There is none in this file.
    """
    try:
        record = unpack_record(path.read_bytes())
    except OSError as error:
        raise UsageFailure(f"{str(path)!r} cannot be read: {error.strerror}") from error
    if isinstance(record, NoRecord):
        raise UsageFailure(
            f"{str(path)!r} is no record of a run: {record.reason}",
            not_done="nothing was compared",
            hint="make one on the other machine with `why --record --export FILE -- go build ./...`",
        )
    return record


def export_run(record: Record, path: Path) -> int:
    """Write a record to a file that a person named; it must not exist.

    Args:
        record: The run.
        path: Where; a name that ends in `.zst` gives a compressed one.

    Returns:
        Bytes written.

    Raises:
        UsageFailure: The file exists, or cannot be written.
    """
    data = pack_record(record) if path.suffix == ".zst" else write_record(record)
    try:
        with path.open("xb") as file:
            file.write(data)
    except OSError as error:
        raise UsageFailure(
            f"{str(path)!r} cannot be written: {error.strerror}", not_done="no record was written"
        ) from error
    return len(data)


def _path(session: Session) -> Path:
    return session.state_dir / "runs.sqlite"


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
    except (sqlite3.Error, OSError) as error:
        raise RunsUnusable(
            f"{path} cannot be {'written' if write else 'read'}: {error}",
            not_done="no run was recorded" if write else "nothing was compared",
            hint="move the file away: only records of past runs are lost",
        ) from error


def _text(path: str) -> str:
    """A path as text that SQLite can hold: it need not be UTF-8."""
    return path.encode("utf-8", "surrogateescape").decode("latin-1")
