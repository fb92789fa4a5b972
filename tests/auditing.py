"""Journals with records, operations and checkpoints, and hands that change what was written, for tests of audits."""

import shutil
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from go_cache_safeguard.config.files import load_config
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.operation import operation_id
from go_cache_safeguard.flows.audit import Audit, audit
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.journal.chain import Head, head_bytes
from go_cache_safeguard.journal.record import Record, leaf_hash, parse_record, record_bytes

REMOVED = (State.REQUESTED, State.CHECKED, State.ALLOWED, State.REMOVING, State.PROVING, State.DONE)


def session_at(base: Path, **settings: str) -> Session:
    """A session whose state lies below `base`; `audit__every` stands for `audit.every`."""
    (base / "home").mkdir(exist_ok=True)
    environ = {"HOME": f"{base}/home", "PATH": "/usr/bin:/bin", "GO_CACHE_SAFEGUARD_STATE_DIR": f"{base}/state"}
    arguments = {key.replace("__", "."): value for key, value in settings.items()}
    config = load_config(environ=environ, cwd=base, home=base / "home", arguments=arguments, system=base / "none.toml")
    return Session(config, environ, base)


def write_notes(session: Session, count: int) -> None:
    """Write so many records that move nothing."""
    with session.journal() as journal:
        for n in range(count):
            journal.note("progress", {"n": n})


def write_operation(session: Session, number: int, steps: Sequence[State] = REMOVED) -> str:
    """Write the records of one removal."""
    op = operation_id(number, number)
    with session.journal() as journal:
        for state in steps:
            journal.advance(op, state, {"digest": "d" * 64} if state is State.REQUESTED else {})
    return op


def audited(session: Session, *, seen: Sequence[Path] = ()) -> Audit:
    """The audit of a session's journal."""
    with session.journal(read_only=True) as journal:
        return audit(session.config, journal, seen=seen)


def kinds(found: Audit) -> set[str]:
    """What is wrong, each kind once."""
    return {str(it.kind) for it in found.breaks}


class Hand:
    """Somebody who may write in the state directory, and does."""

    def __init__(self, session: Session) -> None:
        self.state = session.state_dir
        self.journal = self.state / "journal.sqlite"
        self.head = self.state / "journal.sqlite.head"

    @property
    def seals(self) -> Path:
        """The file of kept checkpoints."""
        return next((self.state / "checkpoints").glob("*.jsonl"))

    def sql(self, *statements: str, values: Sequence[object] = ()) -> None:
        """Change rows, triggers or not."""
        with sqlite3.connect(self.journal, isolation_level=None) as db:
            for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
                db.execute(f"DROP TRIGGER {name}")
            for statement in statements:
                db.execute(statement, values)
        db.close()

    def rewrite(self, first: int, change: Callable[[Record], Record], *, head: bool = True) -> None:
        """Change one record, and hash all that follow anew; with the head, nothing but a checkpoint can tell."""
        with sqlite3.connect(self.journal, isolation_level=None) as db:
            rows = db.execute("SELECT seq, body FROM record WHERE seq >= ? ORDER BY seq", (first,)).fetchall()
        db.close()
        prev, log = "", ""
        for seq, body in rows:
            record = parse_record(body)
            assert isinstance(record, Record)
            record = change(record) if seq == first else replace(record, prev=prev)
            new = record_bytes(record)
            prev, log = leaf_hash(new).hex(), record.log
            values = (new, bytes.fromhex(prev), seq)
            self.sql("UPDATE record SET body = ?, hash = ? WHERE seq = ?", values=values)
        if head:
            self.head.write_bytes(head_bytes(Head(log, rows[-1][0], prev)))

    def keep(self, place: Path) -> None:
        """Copy the whole state directory."""
        shutil.copytree(self.state, place)

    def bring_back(self, place: Path, *names: str) -> None:
        """Put back an older state: these files only, or everything."""
        if not names:
            shutil.rmtree(self.state)
            shutil.copytree(place, self.state)
        for name in names:
            shutil.copy2(place / name, self.state / name)
