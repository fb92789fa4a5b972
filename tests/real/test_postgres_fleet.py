"""What an administrator does with the shared database: make the tables, take them back, check, export, retain; by the command itself."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from go_cache_safeguard.core.errors import ExitCode, PlanVoid
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.operation import operation_id
from go_cache_safeguard.flows import database as fleet
from go_cache_safeguard.flows import migrate, retention
from go_cache_safeguard.flows.audit import audit
from go_cache_safeguard.flows.clean import Held, How
from go_cache_safeguard.flows.disposers import resume
from go_cache_safeguard.flows.recover import recover
from go_cache_safeguard.flows.retention import NotRetired
from go_cache_safeguard.journal.database import DatabaseBad
from go_cache_safeguard.journal.record import Entry
from go_cache_safeguard.journal.records import JournalUnusable
from go_cache_safeguard.journal.retire import earlier
from go_cache_safeguard.web.people import METADATA
from postgres import OWNER, PASSWORDS, SERVICE, Database, Server, create

OP, OTHER = operation_id(1, 1), operation_id(2, 2)
APPROVED = {"approver": "uid:1001(bob)", "channel": "terminal"}
HELD = (State.REQUESTED, State.CHECKED, State.HELD)
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(database: Database) -> Run:
    """The command itself, with settings in the environment as a service has them."""
    names = ("state.dir", *(f"serve.database{it}" for it in ("", "_password_file", "_owner", "_owner_password_file")))
    session = database.program()
    settings = {f"GO_CACHE_SAFEGUARD_{name.replace('.', '_').upper()}": session.config.text(name) for name in names}

    def run(*arguments: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [sys.executable, "-m", "go_cache_safeguard", "serve", "database", *arguments],
            env={"PATH": os.environ["PATH"], "HOME": str(database.folder), **settings},
            cwd=database.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        assert not any(secret in done.stdout + done.stderr for secret in PASSWORDS.values())
        return done

    return run


@pytest.fixture
def empty(postgres: Server, tmp_path: Path) -> Iterator[Database]:
    """A database as an administrator hands it over."""
    made = create(postgres, f"empty_{os.getpid()}_{tmp_path.name[-40:]}", tmp_path, template="template0")
    yield made
    made.close()


def filled(database: Database) -> list[bytes]:
    journal = database.journal()
    for state in HELD:
        journal.advance(OP, state, {})
    for state in (State.REQUESTED, State.CANCELLED):
        journal.advance(OTHER, state, {})
    journal.note("config", {})
    return [row.body for row in journal.rows()]


# --- tables ----------------------------------------------------------------------------------------------------------------


def test_tables_go_up_down_and_up_again_with_what_is_in_them(empty: Database) -> None:
    owner = empty.engine(OWNER, migrates=True)
    assert [step.done for step in migrate.steps(owner)] == [False] * 4
    assert all(step.done for step in migrate.upgrade(owner, SERVICE))
    assert migrate.differences(owner, [METADATA]) == []
    service = empty.engine()
    journal = empty.journal(engine=service)
    journal.write_all([Entry(str(state), {}, OP) for state in HELD])
    rows = list(journal.rows())
    for down, done in (("journal_0001", 1), ("journal_0002", 2), ("journal_0001", 1)):
        if done == 2:
            migrate.upgrade(owner, SERVICE, down)
        else:
            migrate.downgrade(owner, down)
        assert sum(step.done for step in migrate.steps(owner)) == done
        assert list(journal.rows()) == rows
    migrate.upgrade(owner, SERVICE)
    assert migrate.upgrade(owner, SERVICE) == migrate.steps(owner)
    assert (list(journal.rows()), journal.verify()) == (rows, [])
    assert journal.advance(OP, State.APPROVED, {}).states == (*HELD, State.APPROVED)


def test_a_step_back_that_would_lose_something_is_refused_and_changes_nothing(database: Database) -> None:
    owner = database.engine(OWNER, migrates=True)
    bodies = filled(database)
    with database.session() as db:
        db.execute("INSERT INTO person VALUES ('main', 'alice', 'approver', true, NULL, NULL, 0, 0)")
    with pytest.raises(migrate.MigrationRefused, match="person is not empty"):
        migrate.downgrade(owner, "base")
    with database.session() as db:
        db.execute("DELETE FROM person")
    with pytest.raises(migrate.MigrationRefused, match="there are records, which would be lost"):
        migrate.downgrade(owner, "base")
    migrate.upgrade(owner, SERVICE)
    assert [row.body for row in database.journal().rows()] == bodies
    assert fleet.service_engine(database.program()) is not None


def test_empty_tables_go_away_without_a_trace(empty: Database) -> None:
    owner = empty.engine(OWNER, migrates=True)
    migrate.upgrade(owner, SERVICE)
    assert not any(step.done for step in migrate.downgrade(owner, "base"))
    with empty.attacker() as db:
        left = db.execute("SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace").fetchone()
        tables = db.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
        )
        assert (left, tables.fetchall()) == ((0,), [("alembic_version",)])


def test_two_who_migrate_at_the_same_time_both_find_it_done(empty: Database) -> None:
    owners = [empty.engine(OWNER, migrates=True) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda owner: migrate.upgrade(owner, SERVICE), owners))
    assert all(step.done for steps in found for step in steps)


def test_the_service_is_not_the_owner_and_must_exist(empty: Database) -> None:
    owner = empty.engine(OWNER, migrates=True)
    for service, why in ((OWNER, "which would own the tables"), ("nobody there", "there is no user nobody there")):
        with pytest.raises(migrate.MigrationRefused, match=why):
            migrate.upgrade(owner, service)
    with pytest.raises(migrate.MigrationRefused, match="journal_9999"):
        migrate.upgrade(owner, SERVICE, "journal_9999")


def test_a_database_that_is_not_set_up_is_not_served_from(empty: Database, database: Database) -> None:
    with pytest.raises(JournalUnusable, match="has no tables yet"):
        fleet.service_engine(empty.program())
    as_owner = database.program(
        serve__database=database.url(OWNER), serve__database_password_file=str(database.password_file(OWNER))
    )
    with pytest.raises(DatabaseBad, match="owns the tables"):
        fleet.service_engine(as_owner)
    session = database.program()
    assert fleet.service_engine(session) is fleet.service_engine(session)
    with fleet.shared_journal(session, "")() as journal:
        assert (journal.tenant, journal.note("config", {}).seq) == ("main", 1)
    assert fleet.place_of(session) == f"postgresql://{SERVICE}@/{database.name}"
    fleet.service_engine(session).dispose()


def test_a_password_that_others_can_read_is_not_used(database: Database) -> None:
    database.password_file().chmod(0o644)
    with pytest.raises(Exception, match="can be read by others"):
        fleet.service_engine(database.program())


# --- the command -------------------------------------------------------------------------------------------------------------


def test_the_command_shows_makes_and_checks(run: Run, database: Database) -> None:
    steps = json.loads(run("current", "--json").stdout)["steps"]
    assert [(it["name"], it["done"]) for it in steps] == [(f"journal_000{at}", True) for at in (1, 2, 3, 4)]
    assert "done" in run("upgrade").stdout
    filled(database)
    assert "has to be" not in run("downgrade", "base", code=ExitCode.REFUSED).stdout
    assert run("upgrade").returncode == 0
    assert json.loads(run("check", "--thorough", "--json").stdout)["audit"]["whole"]
    with database.attacker() as db:
        db.execute("ALTER TABLE record DISABLE TRIGGER ALL")
        db.execute("ALTER TABLE person ADD COLUMN more text")
    wrong = json.loads(run("check", "--json", code=ExitCode.CONFIG).stdout)["wrong"]
    assert ["triggers" in wrong[0], "more" in wrong[1]] == [True, True]


# --- retention -----------------------------------------------------------------------------------------------------------------


def test_what_ended_leaves_the_database_and_the_rest_goes_on(run: Run, database: Database, tmp_path: Path) -> None:
    bodies = filled(database)
    before = database.journal().operation(OP)
    dry = json.loads(run("retain", "--older", "0s", "--dry-run", "--json").stdout)
    assert (dry["gone"], dry["carried"], dry["records"]) == ([OTHER], [OP], 6)
    assert "Type" not in run("retain", "out", "--older", "0s", code=ExitCode.USAGE).stdout
    run("retain", "out", "--older", "0s", "--digest", "0" * 8, code=ExitCode.REFUSED)
    assert [row.body for row in database.journal().rows()] == bodies
    done: dict[str, Any] = json.loads(
        run("retain", "out", "--older", "0s", "--digest", dry["digest"][:8], "--json").stdout
    )
    assert (done["removed"], done["signed"]) == (done["ended"]["records"], True)
    journal = database.journal()
    assert [it.id for it in journal.operations()] == [OP]
    assert journal.operation(OP) == before
    assert journal.log == done["next"] != done["ended"]["log"]
    assert [it.log for it in earlier(next(journal.records()))] == [done["ended"]["log"]]
    found = audit(database.program().config, journal)
    assert (found.breaks, [it for it in found.doubts if "another journal" in it]) == ((), [])
    assert journal.advance(OP, State.APPROVED, APPROVED).states == (*HELD, State.APPROVED)
    _is_exported(tmp_path / "out", bodies, done)
    with database.attacker() as db:
        assert db.execute("SELECT count(*) FROM record WHERE log = %s", (done["ended"]["log"],)).fetchone() == (0,)
        assert db.execute("SELECT encode(sha256, 'hex') FROM retired").fetchone() == (done["ended"]["sha256"],)
    again = json.loads(run("retain", "--older", "0s", "--dry-run", "--json").stdout)
    assert (again["gone"], again["unfinished"]) == ([], False)


def _is_exported(folder: Path, bodies: list[bytes], done: dict[str, Any]) -> None:
    """Checked with bash, sha256sum and openssl alone."""
    lines = (folder / "records.txt").read_bytes().splitlines()
    assert [line.partition(b" ")[2] for line in lines][: len(bodies)] == bodies
    assert json.loads(lines[-1].partition(b" ")[2])["data"]["next"] == done["next"]
    checked = subprocess.run(["bash", folder / "check.sh"], capture_output=True, text=True, check=True)
    assert f"{len(lines)} records, of which {len(lines)} are signed" in checked.stdout
    digest = subprocess.run(["sha256sum", folder / "records.txt"], capture_output=True, text=True, check=True)
    assert digest.stdout.split()[0] == done["ended"]["sha256"]


def test_a_retention_that_was_stopped_goes_on_from_there(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(database)
    session, owner = database.program(), database.engine(OWNER)
    made = retention.plan(session, owner, "main", keep_s=0)
    with monkeypatch.context() as patched:
        patched.setattr(retention, "_export", _killed)
        with pytest.raises(KeyboardInterrupt):
            retention.execute(session, owner, made, database.folder / "one")
    assert [it.id for it in database.journal().operations()] == [OP]
    left = retention.plan(session, owner, "main", keep_s=0)
    assert (left.unfinished, left.log, left.records) == (True, made.log, made.records + 2)
    with monkeypatch.context() as patched:
        patched.setattr(retention, "_read_again", _killed)
        with pytest.raises(KeyboardInterrupt):
            retention.execute(session, owner, left, database.folder / "two")
    done = retention.execute(session, owner, left, database.folder / "three")
    assert (done.removed, done.next) == (left.records, "")
    assert (database.folder / "two/records.txt").read_bytes() == (database.folder / "three/records.txt").read_bytes()
    assert retention.plan(session, owner, "main", keep_s=0).empty
    assert database.journal().verify() == []


@pytest.mark.parametrize("dies", ["_succeed", "_export", "_read_again", "_remove", ""])
def test_a_retention_that_was_approved_is_finished_by_recover_wherever_it_was_killed(
    database: Database, monkeypatch: pytest.MonkeyPatch, dies: str
) -> None:
    filled(database)
    session, owner = database.program(), database.engine(OWNER)
    made = retention.plan(session, owner, "main", keep_s=0)
    with pytest.raises(Held):
        retention.retire(session, owner, made, database.folder / "one", How(always_ask=True))
    with session.journal() as own:
        op = own.operations()[-1].id
        own.advance(op, State.APPROVED, {"approver": "uid:1001(bob)", "channel": "terminal"})
    with monkeypatch.context() as patched:
        if dies:
            patched.setattr(retention, dies, _killed)
        else:
            patched.setattr(retention, "finish", _killed)
        with pytest.raises(KeyboardInterrupt):
            resume(session, op)
    assert [(it.op, it.now, it.problem) for it in recover(session, None, wait_s=0)] == [(op, State.PURGED, "")]
    assert retention.plan(session, owner, "main", keep_s=0).empty
    assert database.journal().log != made.log
    assert recover(session, None, wait_s=0) == []


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_rows_stay_when_the_export_is_not_what_was_closed(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(database)
    session, owner = database.program(), database.engine(OWNER)
    made = retention.plan(session, owner, "main", keep_s=0)
    real = retention._export

    def spoiled(*arguments: Any) -> bool:
        signed = real(*arguments)
        path = arguments[2] / "records.txt"
        path.write_bytes(path.read_bytes().replace(b"alice", b"mallo", 1))
        return signed

    with monkeypatch.context() as patched:
        patched.setattr(retention, "_export", spoiled)
        with pytest.raises(NotRetired, match="cannot be read again: line 1"):
            retention.execute(session, owner, made, database.folder / "one")
    assert retention.plan(session, owner, "main", keep_s=0).unfinished
    with database.session(OWNER) as db:
        db.execute("SELECT set_config('safeguard.tenant', 'main', false)")
        with pytest.raises(psycopg.errors.RaiseException, match="never changed or removed"):
            db.execute("DELETE FROM record WHERE log = %s", (made.log,))


def test_a_plan_that_no_longer_holds_is_not_executed(database: Database) -> None:
    filled(database)
    session, owner = database.program(), database.engine(OWNER)
    made = retention.plan(session, owner, "main", keep_s=0)
    other = retention.RetentionPlan(made.tenant, made.log, made.records, (OP, OTHER), (), made.before)
    with pytest.raises(PlanVoid):
        retention.execute(session, owner, other, database.folder / "one")
    assert database.journal().log == made.log
    retention.execute(session, owner, made, database.folder / "two")
    with pytest.raises(PlanVoid):
        retention.execute(session, owner, made, database.folder / "three")
    assert not (database.folder / "three").exists()


def test_a_journal_that_is_not_whole_is_not_shortened(database: Database) -> None:
    filled(database)
    with database.attacker() as db:
        db.execute("SET session_replication_role = replica")
        db.execute("UPDATE record SET op = NULL WHERE seq = 2")
    with pytest.raises(NotRetired, match="not whole"):
        retention.plan(database.program(), database.engine(OWNER), "main", keep_s=0)


def test_an_export_is_what_the_database_has(run: Run, database: Database, tmp_path: Path) -> None:
    bodies = filled(database)
    assert "6 records, of which 0 are signed" in run("export", "here", "--plain").stdout
    lines = (tmp_path / "here/records.txt").read_bytes().splitlines()
    assert [line.partition(b" ")[2] for line in lines] == bodies
    run("export", "here", "--plain", code=ExitCode.USAGE)
    assert run("export", "there", "--plain", "--tenant", "other").stdout.startswith("0 records")
