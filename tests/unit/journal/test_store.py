"""The journal on a real disk, with real processes beside it."""

import json
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from go_cache_safeguard.core.errors import ExitCode, IllegalTransition
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.operation import operation_id
from go_cache_safeguard.journal import store
from go_cache_safeguard.journal.chain import BreakKind, parse_head
from go_cache_safeguard.journal.record import NO_PREV, Entry, parse_record
from go_cache_safeguard.journal.store import (
    Journal,
    JournalTampered,
    JournalUnusable,
    NoSuchOperation,
    open_journal,
)

ALICE = "uid:1000(alice)"
OP, OTHER = operation_id(1, 1), operation_id(2, 2)
HELD = (State.REQUESTED, State.CHECKED, State.HELD)


def opened(path: Path, *, read_only: bool = False) -> Journal:
    return open_journal(path, actor=ALICE, version="0.1", read_only=read_only)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.db"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    with opened(path) as journal:
        yield journal


def walk(journal: Journal, op: str, *states: State) -> None:
    for state in states:
        journal.advance(op, state, {"to": str(state)})


def test_a_new_journal_is_empty_and_good(journal: Journal) -> None:
    assert journal.operations() == []
    assert list(journal.records()) == []
    assert list(journal.rows()) == []
    assert journal.verify() == []
    assert journal.export(lambda _: None) == 0


def test_a_note_holds_who_when_where_and_what(journal: Journal) -> None:
    first = journal.note("config", {"paths": ("a", "b")})
    second = journal.note("progress", {"done": 3}, op=OP)
    assert (first.seq, first.prev, first.op, first.actor, first.version) == (1, NO_PREV, None, ALICE, "0.1")
    assert first.data == {"paths": ["a", "b"]}
    assert first.host == os.uname().nodename
    assert (second.seq, second.op, second.log, second.boot) == (2, OP, first.log, first.boot)
    assert second.prev == next(journal.rows()).hash.hex()
    assert second.mono_ns > first.mono_ns
    assert list(journal.records()) == [first, second]
    assert journal.operations() == []
    assert journal.verify() == []


def test_two_journals_have_two_names(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as one, opened(tmp_path / "b") as other:
        assert one.note("config", {}).log != other.note("config", {}).log


def test_an_operation_goes_its_way(journal: Journal) -> None:
    walk(journal, OP, *HELD)
    journal.note("progress", {"to": "a note lays nothing over an operation"}, op=OP)
    with open_journal(journal.path, actor="uid:1001(bob)", version="0.2") as bob:
        now = bob.advance(OP, State.APPROVED, {"approver": "bob"})
    assert now.state is State.APPROVED
    assert now.requester == ALICE
    assert now.states == (*HELD, State.APPROVED)
    assert now.data == {"to": "HELD", "approver": "bob"}
    assert journal.operation(OP) == now
    assert journal.operations() == [now]


def test_operations_are_listed_newest_last(journal: Journal) -> None:
    walk(journal, OTHER, State.REQUESTED)
    walk(journal, OP, *HELD)
    walk(journal, OTHER, State.CANCELLED)
    assert [(found.id, found.state) for found in journal.operations()] == [(OTHER, State.CANCELLED), (OP, State.HELD)]


def test_an_arrow_that_is_not_in_the_table_is_refused_and_nothing_is_written(journal: Journal) -> None:
    with pytest.raises(IllegalTransition, match="is not known and cannot become DONE"):
        journal.advance(OP, State.DONE, {})
    walk(journal, OP, *HELD)
    with pytest.raises(IllegalTransition, match="is HELD and cannot become REMOVING"):
        journal.advance(OP, State.REMOVING, {})
    walk(journal, OP, State.APPROVED)
    with pytest.raises(IllegalTransition) as caught:
        journal.advance(OP, State.APPROVED, {})
    assert caught.value.exit_code is ExitCode.REFUSED
    assert journal.operation(OP).states == (*HELD, State.APPROVED)
    assert len(list(journal.records())) == 4


def test_nobody_knows_an_operation_that_was_never_asked_for(journal: Journal) -> None:
    with pytest.raises(NoSuchOperation, match=OP) as caught:
        journal.operation(OP)
    assert caught.value.exit_code is ExitCode.USAGE
    with pytest.raises(NoSuchOperation):
        journal.operation("op_'; DROP TABLE record; --")


def test_what_has_not_the_right_form_is_not_written(journal: Journal) -> None:
    with pytest.raises(ValueError, match="not the name of a note"):
        journal.note("DONE", {})
    with pytest.raises(ValueError, match="op is not the name"):
        journal.note("progress", {}, op="op_1")
    with pytest.raises(ValueError, match="op is not the name"):
        journal.advance("../../etc", State.REQUESTED, {})
    with pytest.raises(TypeError, match="no canonical form"):
        journal.note("progress", json.loads('{"share": 0.5}'))
    assert list(journal.rows()) == []
    assert journal.note("progress", {}).seq == 1


def test_records_can_be_asked_for_from_a_number_on_and_of_one_operation(journal: Journal) -> None:
    walk(journal, OP, *HELD)
    walk(journal, OTHER, State.REQUESTED)
    journal.note("progress", {}, op=OP)
    assert [record.seq for record in journal.records(since=3)] == [4, 5]
    assert [record.seq for record in journal.records(op=OP)] == [1, 2, 3, 5]
    assert [record.seq for record in journal.records(since=3, op=OP)] == [5]


def test_one_may_write_while_one_reads(journal: Journal) -> None:
    walk(journal, OP, *HELD)
    for record in journal.records():
        if record.seq <= 3:
            journal.note("progress", {"about": record.seq})
    assert [record.seq for record in journal.records()] == [1, 2, 3, 4, 5, 6]


def test_more_records_than_one_batch_are_all_there(journal: Journal, path: Path) -> None:
    for _ in range(3):
        journal.note("progress", {})
    journal.write_all([Entry("progress", {})] * 2100)
    assert [record.seq for record in journal.records()] == list(range(1, 2104))
    assert journal.verify() == []
    with opened(path, read_only=True) as reader:
        assert sum(1 for _ in reader.rows()) == 2103


def test_the_journal_goes_on_after_it_was_closed(path: Path) -> None:
    with opened(path) as first:
        walk(first, OP, *HELD)
    with opened(path) as second:
        walk(second, OP, State.APPROVED)
        assert second.operation(OP).states == (*HELD, State.APPROVED)
        assert second.verify() == []


def test_the_files_are_for_their_owner_alone(journal: Journal, path: Path) -> None:
    journal.note("config", {})
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    files = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert files == dict.fromkeys(("journal.db", "journal.db-wal", "journal.db-shm", "journal.db.head"), 0o600)


@pytest.mark.parametrize("name", ["a b", "50%", "why?mode=memory", "#", "caf\udce9", "'; --"])
def test_the_name_of_the_file_may_be_anything(tmp_path: Path, name: str) -> None:
    with opened(tmp_path / name) as journal:
        journal.note("config", {})
    assert {file.name for file in tmp_path.iterdir()} == {name, f"{name}.head"}
    with opened(tmp_path / name, read_only=True) as journal:
        assert [record.seq for record in journal.records()] == [1]


def test_a_first_record_that_failed_leaves_a_head_to_begin_from(journal: Journal, path: Path) -> None:
    with pytest.raises(TypeError):
        journal.note("config", json.loads('{"share": 0.5}'))
    head = parse_head(path.with_name("journal.db.head").read_bytes())
    assert head is not None
    assert (head.seq, head.hash) == (0, NO_PREV)
    assert journal.verify() == []
    assert journal.note("config", {}).log == head.log


def test_a_commit_is_synced_before_it_returns(journal: Journal) -> None:
    assert journal._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert journal._db.execute("PRAGMA synchronous").fetchone() == (2,)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE record SET body = x'00' WHERE seq = 2",
        "DELETE FROM record WHERE seq = 2",
        "DELETE FROM record",
        "INSERT OR REPLACE INTO record SELECT 2, op, body, hash FROM record WHERE seq = 1",
        "INSERT INTO record SELECT 9, op, body, hash FROM record WHERE seq = 1",
        "INSERT INTO record VALUES (4, NULL, 'text', 'text')",
    ],
)
def test_sqlite_itself_refuses_to_change_a_record(journal: Journal, statement: str) -> None:
    walk(journal, OP, *HELD)
    with sqlite3.connect(journal.path) as db, pytest.raises(sqlite3.IntegrityError):
        db.execute(statement)
    db.close()
    assert journal.verify() == []


def test_an_export_can_be_checked_with_sha256sum_alone(journal: Journal, tmp_path: Path) -> None:
    walk(journal, OP, *HELD)
    journal.note("config", {"path": "/caf\udce9 \\ \"'%s\n\t$(x)"})
    lines: list[bytes] = []
    assert journal.export(lines.append) == 4
    assert [line.split(b" ", 1)[1].rstrip(b"\n") for line in lines] == [row.body for row in journal.rows()]
    recipe = """while read -r hash body; do
      [ "$(printf '\\0%s' "$body" | sha256sum)" = "$hash  -" ] || echo "changed: $body"
    done < export.txt"""
    assert recipe.split() == " ".join((Journal.export.__doc__ or "").split("\n\n")[2:3]).split()
    export = tmp_path / "export.txt"
    for first, changed in ((lines[0], 0), (lines[0].replace(b"alice", b"mallo"), 1)):
        export.write_bytes(b"".join([first, *lines[1:]]))
        ran = subprocess.run(["sh", "-c", recipe], cwd=tmp_path, capture_output=True, check=True, text=True)
        assert ran.stdout.count("changed: ") == changed


def test_a_reader_writes_nothing(path: Path) -> None:
    with opened(path) as journal:
        walk(journal, OP, *HELD)
    with opened(path, read_only=True) as reader:
        assert reader.operation(OP).state is State.HELD
        assert reader.verify() == []
        with pytest.raises(JournalUnusable, match="opened for reading"):
            reader.note("config", {})
        with pytest.raises(JournalUnusable, match="opened for reading"):
            reader.advance(OP, State.APPROVED, {})


def test_where_nobody_wrote_yet_a_reader_finds_nothing_and_makes_nothing(tmp_path: Path) -> None:
    with opened(tmp_path / "none.db", read_only=True) as reader:
        assert (reader.last_seq, reader.operations(), reader.verify()) == (0, [], [])
        with pytest.raises(NoSuchOperation):
            reader.operation(OP)
        with pytest.raises(JournalUnusable, match="opened for reading"):
            reader.note("config", {})
    assert list(tmp_path.iterdir()) == []


def test_a_journal_that_was_taken_away_is_missed_by_its_head(path: Path) -> None:
    with opened(path) as journal:
        walk(journal, OP, *HELD)
    path.unlink()
    with opened(path, read_only=True) as reader:
        assert [found.kind for found in reader.verify()] == [BreakKind.TRUNCATED]


def test_a_journal_that_was_never_finished_is_finished_by_the_next_writer(tmp_path: Path) -> None:
    empty = tmp_path / "journal.db"
    empty.touch()
    with opened(empty, read_only=True) as reader:
        assert reader.operations() == []
    assert empty.stat().st_size == 0
    with opened(empty) as journal:
        assert journal.note("config", {}).seq == 1


def test_a_newer_format_is_refused(path: Path) -> None:
    opened(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 2")
    db.close()
    for read_only in (False, True):
        with pytest.raises(JournalUnusable, match="has format 2, and this version knows formats up to 1"):
            opened(path, read_only=read_only)


def test_what_is_not_a_journal_is_left_alone(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_bytes(b"not a database, but long enough to be taken for one" * 100)
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE record(seq INTEGER PRIMARY KEY, text)")
    db.close()
    before = text.read_bytes(), other.read_bytes()
    for file in (text, other):
        with pytest.raises(JournalUnusable, match=r"not a (journal|database)"):
            opened(file)
    assert (text.read_bytes(), other.read_bytes()) == before


def test_a_directory_that_everybody_may_write_in_is_refused(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    with pytest.raises(JournalUnusable, match="everybody may write"):
        opened(shared / "journal.db")
    assert list(shared.iterdir()) == []


def test_a_path_that_cannot_be_is_a_failure_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JournalUnusable, match="cannot be used"):
        opened(tmp_path / "file" / "journal.db")
    (tmp_path / "link.db").symlink_to(tmp_path / "elsewhere.db")
    with pytest.raises(JournalUnusable):
        opened(tmp_path / "link.db")
    assert not (tmp_path / "elsewhere.db").exists()


def test_a_full_disk_writes_nothing_and_says_so(journal: Journal) -> None:
    walk(journal, OP, *HELD)
    (pages,) = journal._db.execute("PRAGMA page_count").fetchone()
    journal._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(JournalUnusable, match="full") as caught:
        journal.advance(OP, State.APPROVED, {"much": "x" * 100_000})
    assert caught.value.hint == "make room on the disk that holds the journal"
    assert journal.operation(OP).state is State.HELD
    journal._db.execute("PRAGMA max_page_count = 1000000")
    assert journal.advance(OP, State.APPROVED, {}).state is State.APPROVED
    assert journal.verify() == []


def test_another_writer_that_never_ends_is_a_failure_of_ours(
    journal: Journal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "BUSY_SECONDS", 0)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalUnusable, match="locked") as caught:
        journal.note("config", {})
    other.close()
    assert caught.value.hint.startswith("another process")
    assert journal.note("config", {}).seq == 1


def test_a_head_that_cannot_be_written_is_a_failure_and_heals(journal: Journal, path: Path) -> None:
    journal.note("config", {})
    blocker = path.with_name("journal.db.head.new")
    blocker.mkdir()
    with pytest.raises(JournalUnusable):
        journal.note("config", {})
    blocker.rmdir()
    assert [record.seq for record in journal.records()] == [1, 2]
    assert journal.verify() == []
    assert journal.note("config", {}).seq == 3


@pytest.mark.parametrize("plant", ["symlink", "hardlink", "fifo"])
def test_a_head_is_never_written_through_what_somebody_planted(journal: Journal, path: Path, plant: str) -> None:
    victim = path.with_name("victim")
    victim.write_bytes(b"precious")
    planted = path.with_name("journal.db.head.new")
    if plant == "symlink":
        planted.symlink_to(victim)
    elif plant == "hardlink":
        planted.hardlink_to(victim)
    else:
        os.mkfifo(planted)
    with pytest.raises(JournalUnusable):
        journal.note("config", {})
    assert victim.read_bytes() == b"precious"


def test_a_fault_of_ours_is_not_called_a_fault_of_the_journal(path: Path) -> None:
    journal = opened(path)
    journal.close()
    with pytest.raises(sqlite3.ProgrammingError):
        journal.operation(OP)


@pytest.mark.root
def test_what_root_makes_in_a_users_directory_belongs_to_the_user(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    os.chown(home, 4242, 4343)
    journal_path = home / "state" / "safeguard" / "journal.db"
    with opened(journal_path) as journal:
        journal.note("config", {})
        made = [journal_path.parent.parent, journal_path.parent, *journal_path.parent.iterdir()]
        assert {(file.stat().st_uid, file.stat().st_gid) for file in made} == {(4242, 4343)}
        assert len(made) == 6


def test_of_two_threads_that_approve_one_wins(path: Path) -> None:
    names = [operation_id(at, 0) for at in range(100)]
    with opened(path) as journal:
        for name in names:
            walk(journal, name, *HELD)
    wins: list[str] = []
    starts = [threading.Barrier(2) for _ in names]

    def approve() -> None:
        with opened(path) as mine:
            for name, start in zip(names, starts, strict=True):
                start.wait()
                try:
                    mine.advance(name, State.APPROVED, {})
                except IllegalTransition:
                    continue
                wins.append(name)

    threads = [threading.Thread(target=approve) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(wins) == names
    with opened(path) as journal:
        assert {found.states for found in journal.operations()} == {(*HELD, State.APPROVED)}
        assert journal.verify() == []


# --- other processes -------------------------------------------------------------------------------------------------

CHILD = """
import sys
import time
from pathlib import Path
from go_cache_safeguard.core.errors import IllegalTransition
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.journal.store import open_journal
path, what, names = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
print("ready", flush=True)
sys.stdin.readline()
with open_journal(path, actor="uid:1(child)", version="0.1") as journal:
    if what == "approve":
        for name in names:
            try:
                journal.advance(name, State.APPROVED, {})
                print(name, flush=True)
            except IllegalTransition:
                pass
    else:
        for _ in range(int(what)):
            print(journal.note("progress", {"x": "y" * 200}).seq, flush=True)
            time.sleep(0.002)  # so that the other one gets its turn
"""


def children(count: int, path: Path, *arguments: str) -> list[subprocess.Popen[str]]:
    """Processes that wait at the door, and are then let in together."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, str(path), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    for child in started:
        assert child.stdout
        assert child.stdout.readline() == "ready\n"
    for child in started:
        assert child.stdin
        child.stdin.write("go\n")
        child.stdin.flush()
    return started


def said(child: subprocess.Popen[str]) -> list[str]:
    with child:  # not communicate(): it would lose the lines that were read ahead
        assert child.stdout
        return child.stdout.read().split()


def test_processes_that_open_a_new_journal_together_share_it(path: Path) -> None:
    started = children(5, path, "8")
    seqs = [int(seq) for child in started for seq in said(child)]
    assert [child.returncode for child in started] == [0] * 5
    assert sorted(seqs) == list(range(1, 41))
    with opened(path) as journal:
        assert journal.verify() == []
        assert len({record.log for record in journal.records()}) == 1


def test_of_two_processes_that_approve_one_wins(path: Path) -> None:
    names = [operation_id(at, 0) for at in range(40)]
    with opened(path) as journal:
        for name in names:
            walk(journal, name, *HELD)
    wins = [name for child in children(2, path, "approve", *names) for name in said(child)]
    assert sorted(wins) == names


@pytest.mark.crash
@pytest.mark.parametrize("after", [1, 2, 3, 7, 20, 55])
def test_what_was_acknowledged_survives_kill_9(path: Path, after: int) -> None:
    one, other = children(2, path, "1000000")
    assert one.stdout
    acknowledged = [one.stdout.readline() for _ in range(after)]
    one.kill()
    acknowledged += said(one)
    other.kill()
    acknowledged += said(other)
    with opened(path) as journal:
        assert journal.verify() == []
        there = {record.seq for record in journal.records()}
        assert {int(seq) for seq in acknowledged} <= there
        assert len(acknowledged) <= len(there) <= len(acknowledged) + 2
        assert journal.note("config", {}).seq == len(there) + 1


# --- an attacker with the sqlite3 module -----------------------------------------------------------------------------


def attack(path: Path, *statements: str) -> None:
    """Change a journal as somebody would who may write the file."""
    db = sqlite3.connect(path, isolation_level=None)
    for trigger in ("record_is_never_changed", "record_is_never_removed", "record_is_only_appended"):
        db.execute(f"DROP TRIGGER IF EXISTS {trigger}")
    db.create_function("leaf", 1, lambda body: __import__("hashlib").sha256(b"\0" + body).digest())
    db.create_function("forge", 1, lambda body: body.replace(b"alice", b"mallo"))
    for statement in statements:
        db.execute(statement)
    db.close()


ATTACKS = [
    (("UPDATE record SET body = forge(body) WHERE seq = 3",), [(3, BreakKind.EDITED)]),
    (("UPDATE record SET body = forge(body), hash = leaf(forge(body)) WHERE seq = 3",), [(3, BreakKind.EDITED)]),
    (("UPDATE record SET body = forge(body), hash = leaf(forge(body)) WHERE seq = 8",), [(8, BreakKind.HEAD)]),
    (("UPDATE record SET body = x'00' WHERE seq = 8",), [(8, BreakKind.EDITED)]),
    (("UPDATE record SET op = NULL WHERE seq = 5",), [(5, BreakKind.EDITED)]),
    (("DELETE FROM record WHERE seq = 4",), [(4, BreakKind.MISSING)]),
    (("DELETE FROM record WHERE seq IN (4, 5)",), [(4, BreakKind.MISSING)]),
    (("DELETE FROM record WHERE seq > 6",), [(7, BreakKind.TRUNCATED)]),
    (("DELETE FROM record",), [(1, BreakKind.TRUNCATED)]),
    (("INSERT INTO record SELECT 9, op, body, hash FROM record WHERE seq = 5",), [(9, BreakKind.DUPLICATED)]),
    (("INSERT INTO record SELECT -1, op, body, hash FROM record WHERE seq = 5",), [(-1, BreakKind.DUPLICATED)]),
    (
        (
            "UPDATE record SET seq = -3 WHERE seq = 3",
            "UPDATE record SET seq = 3 WHERE seq = 6",
            "UPDATE record SET seq = 6 WHERE seq = -3",
        ),
        [(3, BreakKind.SWAPPED), (6, BreakKind.SWAPPED)],
    ),
]


@pytest.mark.parametrize(("statements", "breaks"), ATTACKS, ids=lambda value: str(value)[:60])
def test_each_attack_is_found_and_named(
    path: Path, statements: tuple[str, ...], breaks: list[tuple[int, BreakKind]]
) -> None:
    with opened(path) as journal:
        walk(journal, OP, *HELD, State.APPROVED)
        walk(journal, OTHER, *HELD, State.REJECTED)
    attack(path, *statements)
    for read_only in (True, False):
        with opened(path, read_only=read_only) as journal:
            assert [(broken.seq, broken.kind) for broken in journal.verify()] == breaks
            journal.operations()
            list(journal.records())
            journal.export(lambda _: None)


def test_a_row_of_another_journal_is_found(path: Path, tmp_path: Path) -> None:
    for place in (path, tmp_path / "other.db"):
        with opened(place) as journal:
            walk(journal, OP, *HELD)
    copy = "INSERT OR REPLACE INTO record SELECT * FROM other.record WHERE seq = 2"
    attack(path, f"ATTACH '{tmp_path / 'other.db'}' AS other", copy)
    with opened(path, read_only=True) as journal:
        assert [(broken.seq, broken.kind) for broken in journal.verify()] == [(2, BreakKind.FOREIGN)]


@pytest.mark.parametrize("change", ["hash", "garbage", "gone", "longer", "empty"])
def test_a_changed_head_is_found_and_stops_all_writing(path: Path, change: str) -> None:
    with opened(path) as journal:
        walk(journal, OP, *HELD)
    head = path.with_name("journal.db.head")
    text = head.read_bytes()
    digest = text.split(b'"')[3]
    changes = {"hash": text.replace(digest, b"f" * 64), "garbage": text[::-1], "empty": b""}
    changes["longer"] = text.replace(b'"seq":3', b'"seq":30')
    if change == "gone":
        head.rename(path.with_name("away"))
    else:
        head.write_bytes(changes[change])
    kind = BreakKind.TRUNCATED if change == "longer" else BreakKind.HEAD
    with opened(path) as journal:
        assert [broken.kind for broken in journal.verify()] == [kind]
        assert journal.operation(OP).state is State.HELD
        with pytest.raises(JournalTampered):
            journal.note("config", {})
        with pytest.raises(JournalTampered):
            journal.advance(OP, State.APPROVED, {})
        assert sum(1 for _ in journal.rows()) == 3


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM record WHERE seq = 4",
        "DELETE FROM record",
        "UPDATE record SET body = forge(body) WHERE seq = 4",
        "UPDATE record SET body = forge(body), hash = leaf(forge(body)) WHERE seq = 4",
        "INSERT INTO record SELECT 5, op, body, hash FROM record WHERE seq = 2",
    ],
)
def test_nothing_is_written_behind_an_end_that_is_not_ours(path: Path, statement: str) -> None:
    with opened(path) as journal:
        walk(journal, OP, *HELD, State.APPROVED)
    attack(path, statement)
    with opened(path) as journal:
        with pytest.raises(JournalTampered) as caught:
            journal.note("config", {})
        assert caught.value.exit_code is ExitCode.JOURNAL_TAMPERED
        assert "audit verify" in caught.value.hint
        with pytest.raises(JournalTampered):
            journal.advance(OTHER, State.REQUESTED, {})


def test_a_deleted_journal_is_not_begun_anew_beside_its_head(path: Path) -> None:
    with opened(path) as journal:
        journal.note("config", {})
    path.rename(path.with_name("away"))
    with opened(path) as journal:
        with pytest.raises(JournalTampered, match="the journal is empty, and had 1 records"):
            journal.note("config", {})
        assert [broken.kind for broken in journal.verify()] == [BreakKind.TRUNCATED]


def test_an_operation_with_a_changed_record_goes_nowhere(path: Path) -> None:
    with opened(path) as journal:
        walk(journal, OP, *HELD)
        walk(journal, OTHER, *HELD)
    attack(path, "UPDATE record SET body = forge(body) WHERE seq = 2")
    with opened(path) as journal:
        with pytest.raises(JournalTampered, match="record 2 was edited"):
            journal.advance(OP, State.APPROVED, {})
        with pytest.raises(JournalTampered, match="record 2 was edited"):
            journal.operation(OP)
        assert [record.seq for record in journal.records()] == [1, 3, 4, 5, 6]
        assert journal.operation(OTHER).state is State.HELD


def test_a_damaged_row_cannot_pass_for_other_lines_of_an_export(path: Path) -> None:
    with opened(path) as journal:
        walk(journal, OP, *HELD)
    attack(path, "UPDATE record SET body = CAST('a' || char(10) || 'b' AS BLOB) WHERE seq = 2")
    lines: list[bytes] = []
    with opened(path, read_only=True) as journal:
        assert journal.export(lines.append) == 3
    assert [line.count(b"\n") for line in lines] == [1, 1, 1]
    assert lines[1].endswith(b" !610a62\n")


def test_stored_bodies_are_records(journal: Journal) -> None:
    walk(journal, OP, *HELD)
    assert [parse_record(row.body) for row in journal.rows()] == list(journal.records())


def test_several_notes_are_one_transaction_and_the_head_catches_up(journal: Journal, path: Path) -> None:
    journal.note("config", {})
    behind = path.with_name(path.name + ".head").read_bytes()
    journal.write_all([Entry("call-passed", {"number": number}) for number in range(3)])
    assert [record.data.get("number") for record in journal.records()] == [None, 0, 1, 2]
    assert path.with_name(path.name + ".head").read_bytes() == behind
    assert (journal.verify(), journal.last_seq) == ([], 4)
    journal.catch_up()
    assert path.with_name(path.name + ".head").read_bytes() != behind
    with pytest.raises(ValueError, match="step"):
        journal.write_all([Entry("fine", {}), Entry("Not fine", {})])
    assert journal.last_seq == 4


def test_notes_are_no_moves_of_operations(journal: Journal) -> None:
    walk(journal, OP, *HELD)
    journal.note("token-minted", {}, op=OP)
    journal.note("config", {})
    assert [record.step for record in journal.moves()] == [str(state) for state in HELD]
    walk(journal, OP, State.REJECTED)
    assert [record.step for record in journal.moves(3)] == ["REJECTED"]
    assert list(journal.moves(journal.last_seq)) == []
