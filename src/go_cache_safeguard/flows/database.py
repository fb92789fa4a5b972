"""The database that a fleet shares: who connects to it, with which password, and whose journals are in it.

Knows:     the settings about it, that the service and the owner of the tables are two users, and that a process has one pool of connections.
Called by: `web.opening` for `serve`, and the command line's `serve database`.
Never:     connects as the owner for anything that `serve` does; writes into a database whose fences do not stand.
"""

import os
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from go_cache_safeguard import __version__
from go_cache_safeguard.core.errors import Failure
from go_cache_safeguard.flows.checkpoint import AutoKeeper
from go_cache_safeguard.flows.private_file import password_in
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.journal.database import DatabaseBad, open_engine, parse_address, unfenced
from go_cache_safeguard.journal.shared import SharedJournal
from go_cache_safeguard.journal.store import writer

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Engine

MAIN = "main"
"""The tenant of who names none."""

_LOCK = threading.Lock()
_ENGINES: "dict[tuple[int, str], Engine]" = {}
"""By process and address: all journals and people of one database share their connections."""


def service_engine(session: Session) -> "Engine":
    """Connections as the service, for any thread.

    Raises:
        ConfigBad, DatabaseBad: The settings cannot be used, or the fences of the database do not stand.
        JournalUnusable: The database cannot be used, or has no tables yet.
    """
    url = _address(session)
    key = os.getpid(), f"{url} {session.config.text('serve.database_password_file')}"
    with _LOCK:
        if key not in _ENGINES:
            engine = _engine(session, url, "serve.database_password_file")
            try:
                _trust(unfenced(engine))
            except Failure:
                engine.dispose()
                raise
            _ENGINES[key] = engine
        return _ENGINES[key]


def _trust(reasons: Sequence[str]) -> None:
    if reasons:
        raise DatabaseBad(
            f"the database of serve.database cannot be trusted with a journal: {'; '.join(reasons)}",
            not_done="nothing was written there",
            hint="`go-cache-safeguard serve database upgrade` sets it up for the user of serve.database",
        )


def owner_engine(session: Session, *, migrates: bool = False) -> "Engine":
    """Connections as the owner of the tables. The caller disposes of them.

    Args:
        session: The session.
        migrates: For looking at tables, not at records.

    Raises:
        ConfigBad, DatabaseBad: The settings cannot be used.
    """
    owner = session.config.text("serve.database_owner")
    if not owner:
        raise DatabaseBad(
            "serve.database_owner is not set",
            not_done="nothing was connected to",
            hint="it is the user that owns the tables; the one of serve.database only works with them",
        )
    url = _address(session).set(username=owner)
    return _engine(session, url, "serve.database_owner_password_file", migrates=migrates)


def service_user(session: Session) -> str:
    """As whom the service connects."""
    return _address(session).username or ""


def place_of(session: Session) -> str:
    """Where the database is, for a person."""
    return _address(session).set(query={}).render_as_string().replace("+psycopg", "")


def shared_journal(session: Session, tenant: str) -> Callable[..., SharedJournal]:
    """Opens the journal of a tenant, also from other threads; `read_only=True` for one that nothing is written to.

    Args:
        session: The session.
        tenant: Whose; empty for the one that needs no name.
    """
    return partial(_open, session, tenant or MAIN)


def _open(session: Session, tenant: str, *, read_only: bool = False) -> SharedJournal:
    return journal_at(service_engine(session), session, tenant, read_only=read_only)


def journal_at(
    engine: "Engine", session: Session, tenant: str, *, read_only: bool = False, log: str = ""
) -> SharedJournal:
    """The journal of a tenant, with these connections.

    Args:
        engine: Of the service or of the owner.
        session: The session.
        tenant: Whose.
        read_only: Write nothing.
        log: An earlier log of the tenant.
    """
    keeper = None if read_only else AutoKeeper(session.config, session.progress)
    who = writer(session.actor, __version__)
    return SharedJournal(engine, tenant, folder_of(session), writer=who, read_only=read_only, keeper=keeper, log=log)


def folder_of(session: Session) -> Path:
    """Where the signed checkpoints of all tenants lie: not in the database."""
    return session.state_dir / "fleet"


def _address(session: Session) -> "URL":
    text = session.config.text("serve.database")
    if not text:
        raise DatabaseBad(
            "serve.database is not set",
            not_done="nothing was connected to",
            hint="such as postgresql://safeguard@db.example.org/safeguard",
        )
    return parse_address(text)


def _engine(session: Session, url: "URL", password: str, *, migrates: bool = False) -> "Engine":
    connections = session.config.count("serve.database_connections")
    return open_engine(url, partial(password_in, session, password), connections=connections, migrates=migrates)
