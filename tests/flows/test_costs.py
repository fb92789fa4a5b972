"""What builds cost is remembered in a file of ours, and nothing that is wrong with that file stands in anybody's way."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from auditing import session_at
from go_cache_safeguard.flows import costs as remembering
from go_cache_safeguard.flows.costs import FILE, costs, record_costs
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.gotool.actiongraph import BuildAction, NoGraph

GO = "go1.27.3"


def ran(half: str, seconds: float, package: str = "p") -> BuildAction:
    cpu_ns = int(seconds * 10**9)
    return BuildAction(1, "build", package, half, "", True, ("compile",), cpu_ns, cpu_ns, "", "")  # noqa: FBT003 - a row


def seconds(session: Session, half: str) -> float | None:
    cost = costs(session).of_step(half)
    return None if cost is None else cost.seconds


def test_nothing_is_known_before_anything_was_measured_and_asking_makes_no_file(tmp_path: Path) -> None:
    session = session_at(tmp_path)
    assert costs(session).steps == ()
    assert record_costs(session, NoGraph("none"), toolchain=GO) == 0
    assert record_costs(session, [], toolchain=GO) == 0
    assert not session.state_dir.exists()


def test_what_was_measured_is_there_next_time_and_the_newest_counts(tmp_path: Path) -> None:
    session = session_at(tmp_path)
    assert record_costs(session, [ran("a", 1.0), ran("b", 2.0)], toolchain=GO) == 2
    assert record_costs(session, [ran("a", 3.0)], toolchain=GO) == 1
    assert (seconds(session, "a"), seconds(session, "b"), seconds(session, "c")) == (3.0, 2.0, None)
    assert session.state_dir.stat().st_mode & 0o777 == 0o700


def test_only_the_newest_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = session_at(tmp_path)
    monkeypatch.setattr(remembering, "_MOST", 3)
    for number in range(5):
        record_costs(session, [ran(f"{number}", 1.0)], toolchain=GO)
    assert {step.half for step in costs(session).steps} == {"2", "3", "4"}


@pytest.mark.parametrize(
    "content", [b"no database, but long enough to look at" * 200, b"", b"SQLite format 3\0" + b"\xff" * 4096]
)
def test_a_file_that_is_none_of_ours_is_made_anew(tmp_path: Path, content: bytes) -> None:
    session = session_at(tmp_path)
    session.state_dir.mkdir()
    (session.state_dir / FILE).write_bytes(content)
    assert costs(session).steps == ()
    assert record_costs(session, [ran("a", 1.0)], toolchain=GO) == 1
    assert seconds(session, "a") == 1.0


def test_a_file_of_another_format_counts_for_nothing_and_is_replaced(tmp_path: Path) -> None:
    session = session_at(tmp_path)
    session.state_dir.mkdir()
    with closing(sqlite3.connect(session.state_dir / FILE)) as db:
        db.execute("CREATE TABLE steps (something TEXT)")
        db.execute("PRAGMA user_version = 99")
    assert costs(session).steps == ()
    assert record_costs(session, [ran("a", 1.0)], toolchain=GO) == 1
    assert seconds(session, "a") == 1.0


def test_a_place_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    session = session_at(tmp_path)
    session.state_dir.write_text("a file where the directory should be")
    assert record_costs(session, [ran("a", 1.0)], toolchain=GO) == 0
    assert costs(session).steps == ()


def test_a_writer_who_holds_the_file_for_long_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = session_at(tmp_path)
    record_costs(session, [ran("a", 1.0)], toolchain=GO)
    monkeypatch.setattr(remembering, "_PATIENCE_S", 0.05)
    with closing(sqlite3.connect(os.fspath(session.state_dir / FILE), isolation_level=None)) as db:
        db.execute("BEGIN EXCLUSIVE")
        assert record_costs(session, [ran("b", 1.0)], toolchain=GO) == 0
        assert costs(session).steps == ()
    assert seconds(session, "a") == 1.0
