"""The tables of a shared database: made, brought up to date, taken back, and compared with what this version asks for.

Knows:     which steps there are, what the service's user may do with each table, and that a step that would lose something is refused.
Called by: the command line's `serve database`.
Never:     works as the service's user: who owns tables can take their fences away, so the service must not own them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import as_file, files

import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config as Alembic
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.engine import Connection, Engine

from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.journal.database import METADATA, seam

_SERVICE = {
    "journal": "SELECT, INSERT, UPDATE (head_seq, head_hash)",
    "record": "SELECT, INSERT",
    "retired": "SELECT",
    "alembic_version": "SELECT",
}
_OTHERS = "SELECT, INSERT, UPDATE, DELETE"
_BASE = "base"
_LOCK = 7_108_420


class MigrationRefused(Failure):
    """The tables stay as they are."""

    id = "migration-refused"
    exit_code = ExitCode.REFUSED
    meaning = (
        "the tables of the shared database were not changed: something would be lost, or the step makes no sense there"
    )


@dataclass(frozen=True, slots=True)
class Step:
    """One migration.

    Attributes:
        name: Of its file.
        what: Its first line.
        done: Whether the database has it.
    """

    name: str
    what: str
    done: bool


def steps(engine: Engine) -> list[Step]:
    """All migrations, oldest first.

    Raises:
        JournalUnusable: The database cannot be used.
    """
    with as_file(files("go_cache_safeguard.journal") / "migrations") as folder, seam(""), engine.connect() as db:
        scripts = ScriptDirectory(str(folder))
        now = MigrationContext.configure(db).get_current_revision()
        done = {it.revision for it in scripts.walk_revisions(_BASE, now)} if now else set()
        found = list(scripts.walk_revisions())
    return [Step(it.revision, (it.doc or "").splitlines()[0], it.revision in done) for it in reversed(found)]


def upgrade(engine: Engine, service: str, to: str = "head") -> list[Step]:
    """Make all steps up to one, and give the service's user what it needs, and nothing else.

    Args:
        engine: Connects as the owner.
        service: The user that the service connects as.
        to: The last step.

    Raises:
        MigrationRefused: The service's user is the owner, or does not exist; or there is no such step.
        JournalUnusable: The database cannot be used; the tables are as they were before the step that failed.
    """
    with seam(""), engine.connect() as db:
        _apart(db, service)

    def act(config: Alembic, db: Connection) -> None:
        command.upgrade(config, to)
        _grant(db, service)
        db.commit()

    _alembic(engine, act)
    return steps(engine)


def downgrade(engine: Engine, to: str) -> list[Step]:
    """Take steps back.

    Args:
        engine: Connects as the owner.
        to: The step that is to be the last one, or `base`.

    Raises:
        MigrationRefused: Something would be lost, or there is no such step.
        JournalUnusable: The database cannot be used; the tables are as they were before the step that failed.
    """
    _alembic(engine, lambda config, _db: command.downgrade(config, to))
    return steps(engine)


def differences(engine: Engine, more: Sequence[sa.MetaData]) -> list[str]:
    """How the tables differ from what this version asks for; empty if they do not.

    Args:
        engine: Connects as the owner.
        more: Other tables than those of the journal.

    Raises:
        JournalUnusable: The database cannot be used.
    """
    with seam(""), engine.connect() as db:
        context = MigrationContext.configure(db, opts={"compare_type": True, "include_object": _ours})
        wanted = sa.MetaData()
        for metadata in (METADATA, *more):
            for table in metadata.sorted_tables:
                table.to_metadata(wanted)
        return [_told(it) for it in compare_metadata(context, wanted)]


def _told(difference: object) -> str:
    first, *rest = difference if isinstance(difference, tuple) else (difference,)
    return " ".join([str(first), *(str(getattr(it, "name", it)) for it in rest if it is not None)])


def _ours(_object: object, name: str | None, kind: str, *_rest: object) -> bool:
    return not (kind == "table" and name == "alembic_version")


def _apart(db: Connection, service: str) -> None:
    me = db.execute(sa.text("SELECT current_user")).scalar_one()
    if me == service:
        raise _refused(
            f"the service connects as {service}, which would own the tables",
            "have two users: one that owns the tables (serve.database_owner), one that only works with them (serve.database)",
        )
    if not db.execute(
        sa.text("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = :name)"), {"name": service}
    ).scalar():
        raise _refused(f"there is no user {service}", f"in psql: CREATE ROLE {service} LOGIN; \\password {service}")


def _grant(db: Connection, service: str) -> None:
    """What the service may do, anew: whatever else it was given is taken away."""
    quoted = db.dialect.identifier_preparer.quote_identifier
    who = quoted(service)
    for table in sa.inspect(db).get_table_names(schema="public"):
        db.execute(sa.text(f"REVOKE ALL ON public.{quoted(table)} FROM PUBLIC, {who}"))
        db.execute(sa.text(f"GRANT {_SERVICE.get(table, _OTHERS)} ON public.{quoted(table)} TO {who}"))
    db.execute(sa.text(f"GRANT USAGE ON SCHEMA public TO {who}"))


def _alembic(engine: Engine, act: Callable[[Alembic, Connection], object]) -> None:
    with as_file(files("go_cache_safeguard.journal") / "migrations") as folder, seam(""), engine.connect() as db:
        config = Alembic()
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        config.attributes.update(connection=db, metadata=METADATA)
        try:
            with _alone(db):
                act(config, db)
        except CommandError as error:
            raise _refused(str(error), "`serve database current` names all steps") from error
        except RuntimeError as error:
            raise _refused(str(error), "export it first: `serve database export`") from error


@contextmanager
def _alone(db: Connection) -> Iterator[None]:
    """Of two who migrate at the same time, the second one finds everything done."""
    db.execute(sa.text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK})
    db.commit()
    try:
        yield
    finally:
        db.rollback()
        db.execute(sa.text("SELECT pg_advisory_unlock(:key)"), {"key": _LOCK})
        db.commit()


def _refused(why: str, hint: str) -> MigrationRefused:
    return MigrationRefused(why, not_done="the tables are as they were", hint=hint)
