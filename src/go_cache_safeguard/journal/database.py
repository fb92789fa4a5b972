"""A Postgres server that holds journals: the way to it, what it must be like, and what its failures are called.

Knows:     the tables, how a connection is set up so that a commit is durable and nobody waits for ever, and which fences must stand
           before the service may write.
Called by: `journal.shared`, `flows.database`, `flows.migrate`, `flows.retention`.
Never:     takes a password in a URL, shows one, or sends one to another machine that did not show a certificate.
Source:    https://www.postgresql.org/docs/current/runtime-config-wal.html (synchronous_commit, fsync),
           https://www.postgresql.org/docs/current/libpq-connect.html (sslmode, keepalives, tcp_user_timeout),
           https://www.postgresql.org/docs/current/ddl-rowsecurity.html (owners and superusers pass policies unless they are forced).
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import psycopg
import sqlalchemy as sa
from psycopg.pq import Format
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine, make_url

from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.journal.records import JournalUnusable

METADATA = sa.MetaData()
"""The tables as the newest migration leaves them; a test compares."""

JOURNAL = sa.Table(
    "journal",
    METADATA,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("log", sa.Text, nullable=False),
    sa.Column("head_seq", sa.BigInteger, nullable=False),
    sa.Column("head_hash", sa.LargeBinary, nullable=False),
)
"""For each tenant the id of its log, and the end of that as it was written with the last record."""

RECORD = sa.Table(
    "record",
    METADATA,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("log", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("op", sa.Text),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("hash", sa.LargeBinary, nullable=False),
    sa.Index("record_of_operation", "tenant", "log", "op", "seq", postgresql_where=sa.text("op IS NOT NULL")),
)
RETIRED = sa.Table(
    "retired",
    METADATA,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("log", sa.Text, primary_key=True),
    sa.Column("records", sa.BigInteger, nullable=False),
    sa.Column("hash", sa.LargeBinary, nullable=False),
    sa.Column("sha256", sa.LargeBinary, nullable=False),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("clock_timestamp()")),
)
"""Logs that were closed, exported and checked: only their records may go."""

TENANT = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?", re.ASCII)
VERSION = "journal_0004"
"""The newest migration."""

_SPEAK_AS = sa.text("SELECT set_config('safeguard.tenant', :tenant, true)")
_LOCAL = {"", "localhost", "127.0.0.1", "::1"}
_CHECKED = {"verify-full", "verify-ca"}
_OPTIONS = {
    "synchronous_commit": "on",
    "row_security": "on",
    "search_path": "public",
    "timezone": "UTC",
    "lock_timeout": "30s",
    "statement_timeout": "60s",
    # Every question has its index; statistics that are missing or old must not make the server read a whole table.
    "enable_seqscan": "off",
    # Somebody who hangs must not keep the end of a journal; shorter than what others wait for it.
    "idle_in_transaction_session_timeout": "15s",
}
_PATIENCE = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
_POOL_S = 30
_TRIGGERS = 10
"""How many of them hold the three tables of the journal."""
_FENCES = sa.text(
    """
    SELECT role.rolsuper OR role.rolbypassrls AS free,
           pg_has_role(role.rolname, record.relowner, 'USAGE') AS owner,
           has_table_privilege(record.oid, 'UPDATE') OR has_table_privilege(record.oid, 'DELETE')
               OR has_table_privilege(record.oid, 'TRUNCATE') AS changes,
           (SELECT bool_and(relrowsecurity AND relforcerowsecurity) FROM pg_class
                WHERE relname IN ('journal', 'record', 'retired') AND relnamespace = 'public'::regnamespace) AS fenced,
           (SELECT count(*) FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
                WHERE relname IN ('journal', 'record', 'retired') AND relnamespace = 'public'::regnamespace
                AND NOT tgisinternal AND tgenabled IN ('O', 'A')) AS triggers,
           current_setting('fsync') AS fsync
    FROM pg_roles role, pg_class record
    WHERE role.rolname = current_user AND record.oid = 'public.record'::regclass
    """
)


class _Binary(psycopg.Cursor[Any]):
    """Asks for results as bytes: the text form of a record is twice as long."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.format = Format.BINARY


class DatabaseBad(Failure):
    """What is said about the database cannot be used."""

    id = "database-bad"
    exit_code: ClassVar[ExitCode] = ExitCode.CONFIG
    meaning = "`serve.database` cannot be understood, or the database is not set up as it has to be"


def parse_address(text: str) -> URL:
    """Read a URL.

    Args:
        text: For example `postgresql://safeguard@db.example.org/safeguard`, or with the folder of a Unix socket
            `postgresql://safeguard@/safeguard?host=/run/postgresql`.

    Raises:
        DatabaseBad: It is none, has a password, or goes to another machine without looking at its certificate.
    """
    try:
        url = make_url(text)
        port = url.port
    except (sa.exc.ArgumentError, ValueError) as error:
        raise _bad("is not a URL of a database") from error
    if url.drivername not in {"postgresql", "postgres"} or not url.username or not url.database:
        raise _bad("is not postgresql://USER@HOST/DATABASE")
    if url.password is not None or "password" in url.query or "passfile" in url.query:
        raise _bad("holds a password", "put it into a file that only its owner can read: serve.database_password_file")
    host = url.query.get("host", url.host or "")
    query: dict[str, Any] = dict(url.query)
    if not (isinstance(host, str) and (host in _LOCAL or host.startswith("/"))):
        if query.setdefault("sslmode", "verify-full") not in _CHECKED:
            raise _bad("goes to another machine, whose certificate would not be looked at", "sslmode=verify-full")
        query.setdefault("sslrootcert", "system")
    return URL.create("postgresql+psycopg", url.username, None, url.host, port, url.database, query)


def open_engine(url: URL, password: Callable[[], str], *, connections: int, migrates: bool = False) -> Engine:
    """Prepare connections; none is made yet. They are for any thread.

    Args:
        url: From `parse_address`.
        password: Asked at each new connection, so that a changed one is used from then on; empty for none.
        connections: How many there may be at once; who comes then waits.
        migrates: For tables, not for records: the toolkit reads catalogues in text form, and a step may take its time.
    """
    wanted = {**_OPTIONS, "statement_timeout": "0"} if migrates else _OPTIONS
    options = " ".join(f"-c {name}={value}" for name, value in wanted.items())
    engine = sa.create_engine(
        url,
        connect_args={
            **_PATIENCE,
            "options": options,
            "application_name": "go-cache-safeguard",
            "cursor_factory": psycopg.Cursor if migrates else _Binary,
        },
        pool_size=connections,
        max_overflow=0,
        pool_timeout=_POOL_S,
        hide_parameters=True,
        use_native_hstore=False,
        isolation_level="READ COMMITTED",
    )

    @event.listens_for(engine, "do_connect")
    def _with_password(_dialect: object, _record: object, _arguments: object, named: dict[str, Any]) -> None:
        secret = password()
        if secret:
            named["password"] = secret

    return engine


def speak_as(db: Connection, tenant: str) -> None:
    """Have a transaction see one tenant only, whatever it asks for."""
    db.execute(_SPEAK_AS, {"tenant": tenant})


@contextmanager
def turn(engine: Engine, tenant: str) -> Iterator[Connection]:
    """One transaction of one tenant.

    Raises:
        JournalUnusable: The database cannot be used.
    """
    with seam(tenant), _begun(engine, tenant) as db:
        yield db
        db.commit()


def _begun(engine: Engine, tenant: str) -> Connection:
    """A transaction that nothing was asked in yet; a connection that went away while nobody used it is exchanged, once."""
    fresh = False
    while True:
        db = engine.connect()
        try:
            speak_as(db, tenant)
        except BaseException as error:
            db.close()
            if fresh or not (isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated):
                raise
            fresh = True
        else:
            return db


def unfenced(engine: Engine) -> list[str]:
    """What of the fences is missing: reasons not to write there; empty if all stand.

    Raises:
        JournalUnusable: The database cannot be used, or has no tables.
    """
    with seam(""), engine.begin() as db:
        version = db.execute(sa.text("SELECT to_regclass('public.alembic_version')")).scalar()
        if version is None:
            raise _not_made("it has no tables yet")
        found = db.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
        if found != VERSION:
            raise _not_made(f"its tables are of {found}, and this version knows {VERSION}")
        row = db.execute(_FENCES).one()
    reasons = {
        "its user may do everything: policies of tables mean nothing to it": row.free,
        "its user owns the tables, so it can take the fences away": row.owner,
        "its user may change or remove records": row.changes,
        "tables are not fenced off by tenant (row level security)": not row.fenced,
        "triggers that refuse to change a record are missing or off": row.triggers < _TRIGGERS,
        "the server runs with fsync = off: a record is not durable when it says so": row.fsync != "on",
    }
    return [reason for reason, missing in reasons.items() if missing]


@contextmanager
def seam(tenant: str) -> Iterator[None]:
    """Turn what the database raises into a failure of ours."""
    try:
        yield
    except (sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
        raise unusable(tenant, error) from error


def unusable(tenant: str, error: BaseException) -> JournalUnusable:
    """The failure that says so; statements and their values are not told."""
    why = str(getattr(error, "orig", None) or "all connections are in use").strip().splitlines()
    of = f"the journal of {tenant}" if tenant else "the database"
    return JournalUnusable(
        f"{of} cannot be used: {why[0] if why else 'it went away'}",
        not_done="nothing was removed",
        hint="look whether the server is there, and at its log; `go-cache-safeguard serve database check` tells what it is like",
    )


def _not_made(why: str) -> JournalUnusable:
    return JournalUnusable(
        f"the database cannot be used: {why}",
        not_done="nothing was written",
        hint="`go-cache-safeguard serve database upgrade` makes the tables, or brings them up to date",
    )


def _bad(why: str, hint: str = "") -> DatabaseBad:
    return DatabaseBad(f"serve.database {why}", not_done="nothing was connected to", hint=hint)
