"""The shared journal on a real Postgres: fences, tenants, tampering, many at once, and everything that can be cut or killed."""

import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import Engine

from go_cache_safeguard.approval.ballot import Rules, Terms
from go_cache_safeguard.approval.voter import Channel, Role, Voter
from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.operation import operation_id
from go_cache_safeguard.flows.audit import audit
from go_cache_safeguard.flows.checkpoint import checkpoint
from go_cache_safeguard.flows.desk import Desk, NotApproved
from go_cache_safeguard.journal import shared
from go_cache_safeguard.journal.chain import BreakKind
from go_cache_safeguard.journal.database import DatabaseBad, open_engine, parse_address, unfenced
from go_cache_safeguard.journal.record import Entry
from go_cache_safeguard.journal.records import JournalTampered, JournalUnusable, Records
from go_cache_safeguard.journal.shared import OutcomeUnknown, SharedJournal
from postgres import OWNER, SERVICE, Cut, Database, Server, wire

ALICE, DIGEST = "uid:1000(alice)", "ab" * 32
OP, OTHER = operation_id(1, 1), operation_id(2, 2)
HELD = (State.REQUESTED, State.CHECKED, State.HELD)


@pytest.fixture
def journal(database: Database) -> Iterator[SharedJournal]:
    with database.journal() as journal:
        yield journal


def walk(journal: Records, op: str, *states: State) -> None:
    for state in states:
        journal.advance(op, state, {"to": str(state)})


# --- fences --------------------------------------------------------------------------------------------------------------

CHANGES = (
    "UPDATE record SET body = 'x' WHERE seq = 2",
    "DELETE FROM record WHERE seq = 2",
    "DELETE FROM record",
    "TRUNCATE record",
    "UPDATE journal SET head_seq = 1",
    "UPDATE journal SET log = repeat('a', 32)",
    "DELETE FROM journal",
    "INSERT INTO record SELECT tenant, log, 9, op, body, hash FROM record WHERE seq = 1",
    "INSERT INTO record SELECT tenant, log, 0, op, body, hash FROM record WHERE seq = 1",
    "INSERT INTO record SELECT tenant, log, 4, op, body || 'x', hash FROM record WHERE seq = 1",
    "INSERT INTO record SELECT tenant, repeat('a', 32), 1, op, body, hash FROM record WHERE seq = 1",
    "INSERT INTO retired SELECT tenant, log, seq, hash, hash FROM record WHERE seq = 3",
)


@pytest.mark.parametrize("user", [SERVICE, OWNER])
def test_the_database_itself_refuses_to_change_a_record(database: Database, journal: SharedJournal, user: str) -> None:
    walk(journal, OP, *HELD)
    with database.session(user) as db:
        db.execute("SELECT set_config('safeguard.tenant', 'main', false)")
        assert db.execute("SELECT count(*) FROM record").fetchone() == (3,)
        for statement in CHANGES:
            with pytest.raises(
                (psycopg.errors.RaiseException, psycopg.IntegrityError, psycopg.errors.InsufficientPrivilege)
            ):
                db.execute(statement)
    assert (journal.verify(), journal.last_seq) == ([], 3)


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE record DISABLE TRIGGER ALL",
        "ALTER TABLE record DISABLE ROW LEVEL SECURITY",
        "DROP TABLE record",
        "SET session_replication_role = replica",
        "CREATE OR REPLACE FUNCTION public.record_is_never_changed() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "UPDATE alembic_version SET version_num = 'x'",
    ],
)
def test_the_service_cannot_take_a_fence_away(database: Database, statement: str) -> None:
    with database.session() as db, pytest.raises(psycopg.errors.InsufficientPrivilege):
        db.execute(statement)


def test_a_database_without_its_fences_is_not_written_to(database: Database) -> None:
    assert unfenced(database.engine()) == []
    assert len(unfenced(database.engine(OWNER))) == 2
    with database.attacker() as db:
        db.execute("ALTER TABLE record DISABLE TRIGGER ALL")
        db.execute("ALTER TABLE retired NO FORCE ROW LEVEL SECURITY")
        db.execute("GRANT UPDATE ON record TO safeguard")
        db.execute("ALTER ROLE safeguard BYPASSRLS")
    try:
        assert [reason.split(":")[0] for reason in unfenced(database.engine())] == [
            "its user may do everything",
            "its user may change or remove records",
            "tables are not fenced off by tenant (row level security)",
            "triggers that refuse to change a record are missing or off",
        ]
    finally:
        with database.attacker() as db:
            db.execute("ALTER ROLE safeguard NOBYPASSRLS")
    with database.attacker() as db:
        db.execute("UPDATE alembic_version SET version_num = 'journal_0001'")
    with pytest.raises(JournalUnusable, match="its tables are of journal_0001"):
        unfenced(database.engine())


# --- tenants ---------------------------------------------------------------------------------------------------------------


def told(journal: SharedJournal) -> tuple[object, ...]:
    """All that a journal can be asked."""
    lines: list[bytes] = []
    journal.export(lines.append)
    found = journal.examine()
    rows = (list(journal.rows()), list(journal.rows_from(2)), journal.leaves(), journal.last_seq, journal.log, lines)
    records = (list(journal.records()), list(journal.moves()), list(journal.notes("progress")), journal.operations())
    return *rows, *records, found.breaks, found.leaves, list(found.acts), journal.operation(OP)


@pytest.mark.parametrize("fenced", [True, False], ids=["with row level security", "without it"])
def test_no_question_of_one_tenant_is_answered_with_what_is_anothers(database: Database, *, fenced: bool) -> None:
    if not fenced:
        with database.attacker() as db:
            for table in ("journal", "record", "retired"):
                db.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
    one, other = database.journal("one"), database.journal("other")
    walk(one, OP, *HELD)
    one.note("progress", {"of": "one"}, op=OP)
    before = told(one)
    walk(other, OP, State.REQUESTED)
    other.write_all([Entry("progress", {"of": "other"}, OP)] * 10)
    walk(other, OTHER, State.REQUESTED)
    assert told(one) == before
    assert [it.id for it in other.operations()] == [OP, OTHER]
    assert one.log != other.log
    one.decide(OP, lambda found, records, _now: [Entry("APPROVED", {"n": len(records)}, found.id)])
    assert one.operation(OP).data["n"] == 4
    assert other.operation(OP).state is State.REQUESTED
    assert (one.verify(), other.verify()) == ([], [])


def test_a_forgotten_filter_shows_no_row_of_another_tenant(database: Database) -> None:
    for tenant in ("one", "other"):
        walk(database.journal(tenant), OP, *HELD)
    for user in (SERVICE, OWNER):
        with database.session(user) as db:
            assert db.execute("SELECT * FROM record").fetchall() == []
            with db.transaction():
                db.execute("SELECT set_config('safeguard.tenant', 'one', true)")
                assert db.execute("SELECT DISTINCT tenant FROM record").fetchall() == [("one",)]
                assert db.execute("SELECT tenant FROM journal").fetchall() == [("one",)]
            # After it, a name that was set for a transaction is empty: nobody's.
            assert db.execute("SELECT * FROM record").fetchall() == []
            db.execute("SELECT set_config('safeguard.tenant', 'one', false)")
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
                db.execute("INSERT INTO journal VALUES ('third', repeat('a', 32), 0, decode(repeat('00', 32), 'hex'))")


@pytest.mark.parametrize("name", ["", "Main", "a/b", "..", "-a", "a" * 64, "a\n"])
def test_what_cannot_be_part_of_a_path_is_no_tenant(database: Database, name: str) -> None:
    with pytest.raises(JournalUnusable, match="cannot be a tenant"):
        database.journal(name)


# --- somebody who may do everything ------------------------------------------------------------------------------------------

_CONSTRAINTS = "ALTER TABLE record DROP CONSTRAINT record_check, DROP CONSTRAINT record_seq_check"
_FORGED = "UPDATE record SET body = replace(encode(body, 'escape'), 'alice', 'mallo')::bytea"
_HASHED = "UPDATE record SET hash = sha256('\\x00' || body)"
ATTACKS: list[tuple[str, list[tuple[int, BreakKind]]]] = [
    (_FORGED + " WHERE seq = 3", [(3, BreakKind.EDITED)]),
    (_FORGED + " WHERE seq = 3; " + _HASHED, [(3, BreakKind.EDITED)]),
    (_FORGED + " WHERE seq = 8; " + _HASHED, [(8, BreakKind.HEAD)]),
    ("UPDATE record SET op = NULL WHERE seq = 5", [(5, BreakKind.EDITED)]),
    ("DELETE FROM record WHERE seq IN (4, 5)", [(4, BreakKind.MISSING)]),
    ("DELETE FROM record WHERE seq > 6", [(7, BreakKind.TRUNCATED)]),
    ("DELETE FROM record", [(1, BreakKind.TRUNCATED)]),
    ("INSERT INTO record SELECT tenant, log, 9, op, body, hash FROM record WHERE seq = 5", [(9, BreakKind.HEAD), (9, BreakKind.DUPLICATED)]),
    ("INSERT INTO record SELECT tenant, log, -1, op, body, hash FROM record WHERE seq = 5", [(-1, BreakKind.DUPLICATED)]),
    ("UPDATE record SET seq = -3 WHERE seq = 3; UPDATE record SET seq = 3 WHERE seq = 6; UPDATE record SET seq = 6 WHERE seq = -3",
     [(3, BreakKind.SWAPPED), (6, BreakKind.SWAPPED)]),
    ("DELETE FROM journal", [(8, BreakKind.HEAD)]),
]  # fmt: skip


def attack(database: Database, statement: str) -> None:
    """Change what is there as somebody would who may do everything."""
    with database.attacker() as db:
        db.execute("SET session_replication_role = replica")
        db.execute(_CONSTRAINTS)
        db.execute(statement)


@pytest.mark.parametrize(("statement", "breaks"), ATTACKS, ids=lambda value: str(value)[:60])
def test_each_attack_is_found_and_named(
    database: Database, journal: SharedJournal, statement: str, breaks: list[tuple[int, BreakKind]]
) -> None:
    walk(journal, OP, *HELD, State.APPROVED)
    walk(journal, OTHER, *HELD, State.REJECTED)
    attack(database, statement)
    found = [(broken.seq, broken.kind) for broken in journal.verify()]
    assert sorted(found) == sorted(breaks)
    journal.operations()
    journal.export(lambda _: None)


@pytest.mark.parametrize("statement", [ATTACKS[at][0] for at in (2, 5, 6, 7, 10)])
def test_nothing_is_written_behind_an_end_that_is_not_ours(
    database: Database, journal: SharedJournal, statement: str
) -> None:
    walk(journal, OP, *HELD, State.APPROVED)
    walk(journal, OTHER, *HELD, State.REJECTED)
    attack(database, statement)
    with pytest.raises(JournalTampered):
        journal.note("config", {})
    with pytest.raises(JournalTampered):
        journal.decide(OP, lambda *_: [Entry("CANCELLED", {}, OP)])


def test_an_older_state_of_the_whole_database_is_found_by_checkpoints_that_lie_elsewhere(
    database: Database, journal: SharedJournal
) -> None:
    config = database.program().config
    walk(journal, OP, *HELD)
    made = checkpoint(config, journal)
    assert made is not None
    assert audit(config, journal).breaks == ()
    walk(journal, OTHER, *HELD)
    checkpoint(config, journal)
    attack(
        database,
        "DELETE FROM record WHERE seq > 4; UPDATE journal SET head_seq = 4, head_hash = (SELECT hash FROM record WHERE seq = 4)",
    )
    assert journal.verify() == []
    assert [it.kind for it in audit(config, journal).breaks] == [BreakKind.ROLLED_BACK]


# --- many at once ------------------------------------------------------------------------------------------------------------


def test_of_64_who_redeem_one_token_at_the_same_time_exactly_one_does(database: Database) -> None:
    engines = [database.engine(connections=5) for _ in range(2)]  # as two servers would have them
    walk(database.journal(), OP, State.REQUESTED, State.CHECKED)
    held: dict[str, Value] = {"digest": DIGEST, "expires_s": int(time.time()) + 600, "terms": Terms().as_value()}
    database.journal().advance(OP, State.HELD, held)
    desks = [Desk(_opens(database, engine), Rules(Terms())) for engine in engines]
    bob = Voter("uid:1001(bob)", frozenset(Role), Channel.PAGE)
    token, begin, found = desks[0].mint(OP, bob, 60), threading.Barrier(64), list[str]()

    def redeem(number: int) -> None:
        begin.wait()
        try:
            found.append(str(desks[number % 2].redeem(OP, token, ALICE).state))
        except NotApproved:
            found.append("no")

    threads = [threading.Thread(target=redeem, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(found) == {"APPROVED": 1, "no": 63}
    journal = database.journal()
    assert [record.step for record in journal.records()] == [*map(str, HELD), "token-minted", "APPROVED"]
    assert journal.verify() == []


def _opens(database: Database, engine: Engine) -> Callable[..., SharedJournal]:
    return lambda *, read_only=False: database.journal(engine=engine, read_only=read_only)


def test_threads_that_begin_a_journal_together_share_it(database: Database) -> None:
    engine = database.engine(connections=6)
    seqs: list[int] = []

    def write() -> None:
        journal = database.journal(engine=engine)
        seqs.extend(journal.note("progress", {}).seq for _ in range(5))

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seqs) == list(range(1, 41))
    assert database.journal(engine=engine).verify() == []


# --- cut and killed ----------------------------------------------------------------------------------------------------------


@pytest.mark.crash
@pytest.mark.parametrize(
    "cuts", [(Cut.BEFORE,), (Cut.AFTER,), (Cut.LATE,), (Cut.BEFORE, Cut.BEFORE, Cut.AFTER)], ids=str
)
def test_a_connection_that_is_cut_at_commit_leaves_exactly_one_record(
    database: Database, cuts: tuple[Cut, ...]
) -> None:
    walk(database.journal(), OP, *HELD)
    # In between, a transaction looks whether it was written.
    with wire(database.server, *(it for cut in cuts for it in (cut, Cut.NOT))) as between:
        journal = database.journal(engine=database.engine(host=between.host))
        now = journal.decide(OP, lambda *_: [Entry("agreed", {}, OP), Entry("APPROVED", {}, OP)])
        assert between.cuts in ([], [Cut.NOT])
    assert now.state is State.APPROVED
    assert [record.step for record in database.journal().records()] == [*map(str, HELD), "agreed", "APPROVED"]
    assert database.journal().verify() == []


@pytest.mark.crash
def test_a_server_that_does_not_come_back_leaves_an_outcome_that_is_not_known(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "LOOK_SECONDS", 0.3)
    walk(database.journal(), OP, *HELD)
    with wire(database.server, Cut.AFTER, *[Cut.BEFORE] * 100) as between:
        journal = database.journal(engine=database.engine(host=between.host))
        with pytest.raises(OutcomeUnknown, match="record 4") as caught:
            journal.advance(OP, State.APPROVED, {})
    assert caught.value.not_done == "it was not tried again"
    assert database.journal().operation(OP).state is State.APPROVED


WRITER = """
import sys
import time
from pathlib import Path
from go_cache_safeguard.journal.database import open_engine, parse_address
from go_cache_safeguard.journal.records import JournalUnusable
from go_cache_safeguard.journal.shared import OutcomeUnknown, SharedJournal
from go_cache_safeguard.journal.store import writer
engine = open_engine(parse_address(sys.argv[1]), lambda: Path(sys.argv[2]).read_text().strip(), connections=2)
journal = SharedJournal(engine, "main", Path(sys.argv[2]).parent, writer=writer("uid:1(child)", "0.1"))
while True:
    try:
        print(journal.note("progress", {"x": "y" * 200}).seq, flush=True)
    except OutcomeUnknown:
        raise
    except JournalUnusable:
        time.sleep(0.05)  # nothing was written
"""


def child(database: Database) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, database.url(), database.password_file()], stdout=subprocess.PIPE, text=True
    )


def said(started: "subprocess.Popen[str]") -> list[int]:
    with started:
        assert started.stdout
        return [int(word) for word in started.stdout.read().split()]


@pytest.mark.crash
def test_what_a_client_was_told_survives_that_it_is_killed(database: Database) -> None:
    for after in (1, 9):
        started = child(database)
        assert started.stdout
        seqs = [int(started.stdout.readline()) for _ in range(after)]
        started.kill()
        seqs += said(started)
        journal = database.journal()
        there = [record.seq for record in journal.records()]
        assert set(seqs) <= set(there)
        assert journal.note("config", {}).seq == len(there) + 1
        assert journal.verify() == []


@pytest.mark.crash
def test_what_a_client_was_told_survives_that_the_server_is_killed(tmp_path: Path) -> None:
    from postgres import of_its_own, running

    with running() as server, of_its_own(server, tmp_path) as database:
        _kill_twice(server, database)


def _kill_twice(server: Server, database: Database) -> None:
    journal = database.journal()
    for _ in range(2):
        started = child(database)
        assert started.stdout
        seqs = [int(started.stdout.readline()) for _ in range(8)]
        server.kill()
        server.start()
        seqs += [int(started.stdout.readline())]  # it found out what became of its record, and goes on
        started.kill()
        seqs += said(started)
        there = [record.seq for record in journal.records()]
        assert set(seqs) <= set(there)
        assert there == list(range(1, len(there) + 1))
        assert journal.verify() == []
    assert journal.note("config", {}).seq == journal.last_seq


# --- the way there -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("postgresql://user:secret@host/db", "holds a password"),
        ("postgresql://user@host/db?password=secret", "holds a password"),
        ("mysql://user@host/db", "is not postgresql"),
        ("postgresql://host/db", "is not postgresql"),
        ("postgresql://user@host", "is not postgresql"),
        ("postgresql://user@host:x/db", "is not a URL"),
        ("postgresql://user@host/db?sslmode=require", "whose certificate would not be looked at"),
    ],
)
def test_an_address_that_is_not_safe_is_refused(text: str, why: str) -> None:
    with pytest.raises(DatabaseBad, match=why) as caught:
        parse_address(text)
    assert "secret" not in str(caught.value) + caught.value.hint


def test_the_certificate_of_another_machine_is_looked_at_unless_somebody_says_how(tmp_path: Path) -> None:
    for text in ("postgresql://user@far.example/db", "postgresql://user@/db?host=far.example"):
        assert dict(parse_address(text).query)["sslmode"] == "verify-full"
    assert "sslmode" not in parse_address(f"postgresql://user@/db?host={tmp_path}").query


def test_a_password_is_in_no_text(database: Database) -> None:
    secret = "nobody may see this"  # noqa: S105 - a wrong one
    engine = open_engine(parse_address(database.url()), lambda: secret, connections=2)
    with pytest.raises(JournalUnusable, match="password authentication failed") as caught:
        database.journal(engine=engine).note("config", {})
    told = "".join(traceback.format_exception(caught.value)) + caught.value.hint
    assert secret not in told + repr(engine) + repr(engine.url)
    engine.dispose()


def test_the_time_of_a_record_is_the_databases(database: Database, journal: SharedJournal) -> None:
    with database.attacker() as db:
        before, record, after = (
            db.execute(
                "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US')"
            ).fetchone(),
            journal.note("config", {}),
            db.execute(
                "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US')"
            ).fetchone(),
        )
    assert before is not None
    assert after is not None
    assert before[0] <= record.at.removesuffix("Z") <= after[0]
