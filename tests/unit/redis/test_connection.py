"""What earlier commands mean for later ones."""

import pytest

from go_cache_safeguard.redis.connection import Connection, advance


def _after(*commands: str) -> Connection:
    connection = Connection()
    for command in commands:
        connection = advance(connection, [word.encode() for word in command.split()])
    return connection


@pytest.mark.parametrize(
    ("commands", "connection"),
    [
        (["SELECT 3"], Connection(db=3)),
        (["select 3", "SELECT x", "SELECT -1", "SELECT 01", "SELECT"], Connection(db=3)),
        (["AUTH alice secret"], Connection(user="alice")),
        (["AUTH alice secret", "AUTH secret"], Connection()),
        (["HELLO 3 SETNAME AUTH AUTH bob secret"], Connection(user="bob")),
        (["HELLO 3 auth bob secret SETNAME x"], Connection(user="bob")),
        (["HELLO"], Connection()),
        (["SELECT 2", "AUTH a b", "RESET"], Connection()),
        (["MULTI", "DEL a", "DISCARD"], Connection()),
        (["SELECT 2", "MULTI", "DEL a", "EXEC"], Connection(db=2, before=2)),
        (["SELECT 2", "MULTI", "SELECT 5", "DISCARD"], Connection(db=2, before=2)),
        (["SELECT 2", "MULTI", "SELECT 5", "EXEC"], Connection(db=None, before=2)),
        (["EXEC", "DISCARD"], Connection()),
        (["MULTI", "GET a", "RESET"], Connection()),
        (["GET a"], Connection()),
    ],
)
def test_the_state_after_some_commands(commands: list[str], connection: Connection) -> None:
    assert _after(*commands) == connection


def test_commands_inside_of_a_transaction_wait() -> None:
    assert _after("MULTI", "DEL a", "WATCH b", "MULTI", "SELECT 1").queued == ((b"DEL", b"a"), (b"SELECT", b"1"))


def test_nothing_at_all_changes_nothing() -> None:
    assert advance(Connection(), []) == Connection()


def test_a_name_need_not_be_utf_8() -> None:
    assert advance(Connection(), [b"AUTH", b"\xff", b"x"]).user == "\\xff"
