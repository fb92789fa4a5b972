"""What a client's earlier commands mean for its next one.

Knows:     which database is selected, who logged in, and what waits for EXEC.
Called by: the guard's proxy, `redis.intent`.
Never:     sees replies: it believes that SELECT and AUTH succeed. A database that does not exist cannot be asked about either, so
           the checks say UNKNOWN then; whoever sees replies takes a step back when one is an error.
Source:    db.c `selectCommand`, multi.c, networking.c `resetCommand` (Redis 6.2 to Valkey 9).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from go_cache_safeguard.redis.commands import number, token

UNKNOWN = "?"
"""A user that nobody knows."""


@dataclass(frozen=True, slots=True)
class Connection:
    """One client's state.

    Attributes:
        db: The selected database; None when that cannot be known.
        user: Who it said it was; `UNKNOWN` when that cannot be known.
        queued: Commands that wait for EXEC; None outside of MULTI.
        before: `db` when MULTI came.
    """

    db: int | None = 0
    user: str = "default"
    queued: tuple[tuple[bytes, ...], ...] | None = None
    before: int | None = 0


_AT_ONCE = {b"EXEC", b"DISCARD", b"RESET", b"QUIT", b"WATCH", b"MULTI"}


def advance(connection: Connection, args: Sequence[bytes]) -> Connection:
    """The state after a command was passed on.

    SELECT and AUTH inside of MULTI are done by EXEC, unless a watched key changed: after that EXEC the database, or the user, is not
    known.
    """
    name = args[0].upper() if args else b""
    if connection.queued is not None and name not in _AT_ONCE:
        return replace(connection, queued=(*connection.queued, tuple(args)))
    match name, len(args):
        case b"MULTI", 1 if connection.queued is None:
            return replace(connection, queued=(), before=connection.db)
        case b"EXEC", 1 if connection.queued is not None:
            names = {one[0].upper() for one in connection.queued if one}
            db = None if b"SELECT" in names else connection.db
            return replace(connection, queued=None, db=db, user=UNKNOWN if b"AUTH" in names else connection.user)
        case b"DISCARD", 1 if connection.queued is not None:
            return replace(connection, queued=None, db=connection.before)
        case b"RESET", 1:
            return Connection()
        case b"SELECT", 2:
            chosen = number(args[1])
            return connection if chosen is None or chosen < 0 else replace(connection, db=chosen)
        case b"AUTH", 2 | 3:
            return replace(connection, user=_text(args[1]) if len(args) == 3 else "default")
        case b"HELLO", _:
            return _hello(connection, args)
    return connection


def _hello(connection: Connection, args: Sequence[bytes]) -> Connection:
    """`HELLO [version [AUTH user password] [SETNAME name]]`."""
    at = 2
    while at < len(args):
        word = token(args[at])
        if word == b"AUTH" and at + 2 < len(args):
            connection = replace(connection, user=_text(args[at + 1]))
        at += {b"AUTH": 3, b"SETNAME": 2}.get(word, 1)
    return connection


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")
