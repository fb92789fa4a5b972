"""The table of commands is what real servers say: names, and where the keys of a call are."""

import runpy
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from go_cache_safeguard.redis.commands import Class, Command, KeySpec, format_table
from go_cache_safeguard.redis.connection import Connection
from go_cache_safeguard.redis.intent import Terms, judge
from go_cache_safeguard.redis.tablefile import load_table
from rediskeys import build, forms
from redisservers import ROOT, Client, Server, ServerError

pytestmark = pytest.mark.real

TABLE = load_table()
GENERATOR: dict[str, Any] = runpy.run_path(str(ROOT / "make/redis_commands.py"))
ask: Callable[[Client], Iterator[Any]] = GENERATOR["ask"]


def test_every_command_that_a_server_knows_is_in_the_table(redis_server: Server, redis_client: Client) -> None:
    names = {told.name for told in ask(redis_client)} - TABLE.containers
    assert names - set(TABLE.rows) == set()
    assert len(names) > 170
    assert all(redis_server.name in TABLE.rows[name].seen for name in names)


def test_no_command_of_a_real_server_is_left_unclassified() -> None:
    assert [row.name for row in TABLE if row.cls is Class.UNKNOWN] == []


# Later versions win: an older one may have fewer options and flags.
@pytest.mark.parametrize("redis_server", ["valkey-9.1"], indirect=True)
def test_what_the_newest_server_says_is_what_the_table_says(redis_client: Client) -> None:
    for told in ask(redis_client):
        row = TABLE.rows[told.name]
        assert (row.arity, row.flags, row.categories) == (told.arity, told.flags, told.categories), told.name
        assert row.keys == told.keys, told.name


@pytest.mark.parametrize("redis_server", ["valkey-9.1"], indirect=True)
def test_making_the_table_again_changes_nothing(redis_server: Server, redis_client: Client) -> None:
    told = {redis_server.name: {one.name: one for one in ask(redis_client)}}
    assert list(format_table(GENERATOR["merged"](TABLE, told))) == list(format_table(TABLE))


def _example(row: Command) -> list[bytes]:
    """A call with keys of its own at every place where the table says that there are some."""
    args = [b"1"] * max(abs(row.arity), 2)
    for at, word in enumerate(row.name.split(" ")):
        args[at] = word.encode()
    for number, spec in enumerate(row.keys):
        _place(args, spec, b"key%d" % number)
    return args


def _place(args: list[bytes], spec: KeySpec, key: bytes) -> None:
    begin = spec.begin or 0
    if spec.keyword and begin < 0:
        args += [spec.keyword.encode(), key, key + b"'"]
        return
    if spec.keyword:
        args += [b"1"] * (begin - len(args))
        args += [spec.keyword.encode(), key, *([key + b"'", b"0", b"0"] if spec.last else [])]
        return
    if spec.count_at is not None:
        args[begin + spec.count_at :] = [b"2"]
        args += [b"1"] * (begin + spec.first + 2 * spec.step - len(args))
        for at in range(2):
            args[begin + spec.first + at * spec.step] = key + b"'" * at
        return
    args += [b"1"] * (begin + spec.step - len(args))
    args[begin] = key


def _keys(client: Client, args: list[bytes]) -> list[bytes] | None:
    """What the server says; None if it does not accept the call or finds no key."""
    try:
        return client.strings("COMMAND", "GETKEYS", *args)
    except ServerError:
        return None


def _ours(args: list[bytes]) -> list[bytes]:
    return [use.key for use in judge(args, Connection(), TABLE, Terms(1_700_000_000_000)).uses]


def test_keys_are_where_the_server_finds_them_in_a_call_of_each_command(
    redis_server: Server, redis_client: Client
) -> None:
    compared = 0
    for row in TABLE:
        if redis_server.name not in row.seen or not row.keys or "not_key" in row.keys[0].flags:
            continue
        args = _example(row)
        theirs = _keys(redis_client, args)
        if theirs is not None:
            compared += 1
            _compare(row.name, _ours(args), theirs)
    assert compared > 125


def _compare(name: str, ours: list[bytes], theirs: list[bytes]) -> None:
    if name in {"SORT", "GEORADIUS", "GEORADIUSBYMEMBER", "MIGRATE"}:
        assert set(ours) >= set(theirs), (name, ours, theirs)  # servers disagree about doubled and misplaced options
    else:
        assert sorted(ours) == sorted(theirs), name


def test_keys_of_odd_calls_are_where_the_server_finds_them(redis_client: Client) -> None:
    build(redis_client)
    odd = [
        *(
            "SORT l BY STORE GET STORE LIMIT 0 1 STORE d STORE d2",
            "SORT l STORE",
            "MIGRATE h 1  0 9 AUTH KEYS KEYS a KEYS b",
        ),
        *(
            "MIGRATE h 1 k 0 9 COPY",
            "XREADGROUP GROUP g c STREAMS a b 0 0",
            "XREAD COUNT 2 STREAMS a b c 0 0 0",
            "EVAL x 0 a",
        ),
        *(
            "EVAL x 2 a b c",
            "ZUNIONSTORE d 2 a b WEIGHTS 1 2",
            "LMPOP 2 a b LEFT",
            "GEORADIUS g 1 2 3 km STORE a STOREDIST b",
        ),
        *(
            "BITOP AND d a b c",
            "MSET a 1 b 2",
            "PFMERGE d a b",
            "SINTERCARD 2 a b LIMIT 1",
            "OBJECT ENCODING a",
            "XINFO STREAM a",
        ),
    ]
    calls = [[word.encode() for word in form.split(" ")] for form in odd] + [list(form) for form in forms(redis_client)]
    compared = 0
    for args in calls:
        theirs = _keys(redis_client, args)
        if theirs:
            compared += 1
            _compare(TABLE.name(args), _ours(args), theirs)
    assert compared > 120


def test_an_unknown_command_and_a_wrong_number_of_words_count_as_destructive(redis_client: Client) -> None:
    for words in ("FROBNICATE k", "CONFIG FROBNICATE", "DEL", "GET", "CONFIG", "DEBUG"):
        assert judge([word.encode() for word in words.split()], Connection(), TABLE, Terms(0)).cls is Class.UNKNOWN
        with pytest.raises(ServerError):
            redis_client(*words.split())
