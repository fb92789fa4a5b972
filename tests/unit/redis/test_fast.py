"""Harmless requests are told by their bytes, and both twins say the same."""

import pytest

from go_cache_safeguard.redis.commands import Class, Treatment
from go_cache_safeguard.redis.fast import Fast, KeysSeen, Words, fast_calls, scan, scan_python
from go_cache_safeguard.redis.resp import Limits, encode
from go_cache_safeguard.redis.rules import TREATMENTS, Rules, parse_patterns
from go_cache_safeguard.redis.tablefile import load_table
from redisstreams import HOSTILE_NUMBERS, Scan, Twin, compiled

TABLE = load_table()
PLAIN = fast_calls(TABLE, Rules())
PROTECTED = fast_calls(TABLE, Rules(protect=parse_patterns("session:*")))
NEVER = {
    *(b"MULTI", b"EXEC", b"DISCARD", b"WATCH", b"UNWATCH", b"SELECT", b"AUTH", b"HELLO", b"RESET", b"QUIT"),
    *(b"SUBSCRIBE", b"UNSUBSCRIBE", b"PSUBSCRIBE", b"PUNSUBSCRIBE", b"SSUBSCRIBE", b"SUNSUBSCRIBE", b"MONITOR"),
    *(b"CLIENT", b"CLUSTER", b"READONLY", b"READWRITE", b"ASKING", b"SYNC", b"PSYNC", b"REPLCONF", b"REPLICAOF"),
    *(b"SCRIPT", b"FUNCTION", b"EVAL", b"FCALL", b"POST", b"HOST:", b"FLUSHALL", b"DEBUG", b"SWAPDB", b"SHUTDOWN"),
}
GET, SET = encode((b"GET", b"k")), encode((b"SET", b"k", b"v"))


@pytest.fixture(scope="module")
def compiled_twin(tmp_path_factory: pytest.TempPathFactory) -> Twin:
    return Twin(compiled(tmp_path_factory.mktemp("twin")))


@pytest.fixture(params=["python", "compiled", "the one in use"])
def twin(request: pytest.FixtureRequest, compiled_twin: Twin) -> Scan:
    twins: dict[str, Scan] = {"python": scan_python, "compiled": compiled_twin, "the one in use": scan}
    return twins[request.param]


def test_reading_is_free_and_overwriting_depends_on_its_key() -> None:
    assert PROTECTED.calls[b"GET"] == Words(2, 2, keyed=False)
    assert PROTECTED.calls[b"get"] == PROTECTED.calls[b"GET"]
    assert PROTECTED.calls[b"SET"] == Words(3, 3, keyed=True)
    assert PROTECTED.calls[b"GETEX"] == Words(2, 2, keyed=False)
    assert PROTECTED.calls[b"MSET"] == Words(3, 3, keyed=True)
    assert PROTECTED.calls[b"MGET"].most > 1_000
    assert PROTECTED.calls[b"XREAD"].keyed is False
    assert not PROTECTED.plain


@pytest.mark.parametrize("name", ["DEL", "FLUSHALL", "EVAL", "EXPIRE", "XADD", "SORT_STORE", "CONFIG", "CLIENT", "Get"])
def test_what_needs_more_than_its_number_of_words_is_not_there(name: str) -> None:
    assert name.encode() not in PLAIN.calls


def test_what_changes_a_connection_or_a_server_is_never_free_even_if_it_is_let_through() -> None:
    rules = Rules(overrides=dict.fromkeys(TABLE.rows, Treatment.PASS))
    assert not NEVER & fast_calls(TABLE, rules).calls.keys()


def test_the_rules_of_a_site_decide() -> None:
    strict = fast_calls(
        TABLE, Rules(overrides={"KEYS": Treatment.HOLD, "DEL": Treatment.PROTECT, "INFO": Treatment.CHECK})
    )
    assert not {b"KEYS", b"keys", b"INFO"} & strict.calls.keys()
    assert strict.calls[b"DEL"] == Words(2, 2, keyed=True)
    lenient = fast_calls(TABLE, Rules(overrides={"DEL": Treatment.PASS}))
    assert not lenient.calls[b"DEL"].keyed
    nothing = fast_calls(TABLE, Rules(treatments=dict.fromkeys(TREATMENTS, Treatment.HOLD)))
    assert nothing.calls == {}
    assert b"GET" not in fast_calls(TABLE, Rules(treatments={**TREATMENTS, Class.READ: Treatment.CHECK})).calls


def test_harmless_requests_are_taken_together(twin: Scan) -> None:
    assert twin(GET + SET + GET, PLAIN, 0) == (len(GET + SET + GET), [])
    assert twin(GET + SET + GET, PROTECTED, 0) == (len(GET + SET + GET), [b"k"])
    assert twin(b"", PLAIN, 0) == (0, [])


def test_a_scan_stops_before_what_has_to_be_judged(twin: Scan) -> None:
    for other in (b"DEL", b"NOBODY", b"gEt", b"", b"GET\0"):
        assert twin(GET + encode((other, b"k")) + GET, PLAIN, 0)[0] == len(GET)
    assert twin(GET + encode((b"GET", b"a", b"b")), PLAIN, 0)[0] == len(GET)
    assert twin(GET + encode((b"SET", b"k", b"v", b"NX")), PLAIN, 0)[0] == len(GET)
    assert twin(GET + b"GET k\r\n", PLAIN, 0)[0] == len(GET)


def test_a_scan_begins_where_it_is_told(twin: Scan) -> None:
    data = SET + GET
    assert twin(data, PROTECTED, len(SET)) == (len(data), [])
    assert twin(data, PROTECTED, 1) == (1, [])
    assert twin(data, PROTECTED, len(data)) == (len(data), [])
    assert twin(data, PROTECTED, 10**30) == (len(data), [])
    assert twin(data, PROTECTED, -(10**30)) == (len(data), [b"k"])


def test_without_rules_for_keys_only_a_key_that_looks_like_a_pattern_is_told(twin: Scan) -> None:
    keys = [b"a*", b"plain", b"", b"[x", b"q?", b"b\\", b"x" * 200 + b"*"]
    data = b"".join(encode((b"SET", key, b"*")) for key in keys)
    assert twin(data, PLAIN, 0) == (len(data), [b"a*", b"[x", b"q?", b"b\\", b"x" * 200 + b"*"])
    assert twin(data, PROTECTED, 0) == (len(data), keys)


def test_keys_with_line_breaks_are_told_whole(twin: Scan) -> None:
    keys = [b"a\r\nb", b"\n", b"\r\n", b"$1\r\nk\r\n", b"*3\r\n$3\r\nSET\r\n"]
    data = b"".join(encode((b"SET", key, b"\r\n")) + GET for key in keys)
    assert twin(data, PROTECTED, 0) == (len(data), keys)


def test_long_and_many_words_are_read_like_short_ones(twin: Scan) -> None:
    data = b"".join(encode((b"GET", b"k" * size)) for size in (0, 1, 9, 10, 99, 100, 126, 127, 128, 129, 5_000))
    data += b"".join(encode((b"MGET", *[b"k"] * count)) for count in (1, 2, 3, 4, 5, 500))
    data += b"".join(encode((b"SET", b"k", b"v" * size)) for size in (127, 128, 70_000))
    assert twin(data, PLAIN, 0) == (len(data), [])
    assert twin(data, PROTECTED, 0) == (len(data), [b"k"] * 3)


def test_more_frames_than_are_taken_at_once(twin: Scan) -> None:
    assert twin(SET * 2_500 + b"*", PROTECTED, 0) == (len(SET) * 2_500, [b"k"] * 2_500)


@pytest.mark.parametrize(
    "frame",
    [b"*N\r\n$3\r\nGET\r\n$1\r\nk\r\n", b"*2\r\n$N\r\nGET\r\n$1\r\nk\r\n", b"*2\r\n$3\r\nGET\r\n$N\r\nk\r\n"],
)
def test_a_hostile_length_ends_the_scan(twin: Scan, frame: bytes) -> None:
    for number in HOSTILE_NUMBERS:
        assert twin(GET + frame.replace(b"N", number) + GET, PLAIN, 0) == (len(GET), []), number


def test_a_second_command_cannot_hide(twin: Scan) -> None:
    hidden = b"*2\r\n$3\r\nGET\r\n$1\r\nkXX*1\r\n$8\r\nFLUSHALL\r\n"
    assert twin(hidden, PLAIN, 0) == (0, [])
    assert twin(GET[:-1], PLAIN, 0) == (0, [])
    assert twin(GET.replace(b"\r\n", b"\n"), PLAIN, 0) == (0, [])


def test_a_time_that_is_far_enough_away_is_harmless(twin: Scan) -> None:
    fast = fast_calls(TABLE, Rules(protect=parse_patterns("session:*")), soon_ms=5_000)
    harmless = [
        (b"SET", b"k", b"v", b"EX", b"6"),
        (b"set", b"k", b"v", b"px", b"5001"),
        (b"SETEX", b"k", b"60", b"v"),
        (b"psetex", b"k", b"9999999999", b"v"),
        (b"EXPIRE", b"k", b"6"),
        (b"PEXPIRE", b"k", b"5001", b"NX"),
        (b"GETEX", b"k", b"EX", b"6"),
    ]
    data = b"".join(map(encode, harmless))
    assert twin(data, fast, 0) == (len(data), [b"k"] * len(harmless))
    for args in harmless:
        assert twin(encode(args), PROTECTED, 0) == (0, [])
        for time in (b"5", b"-6", b"0", b"06", b"+6", b"6 ", b"", b"10000000000", b"6.0"):
            again = tuple(time if word[:1].isdigit() else word for word in args)
            assert twin(encode(again), fast, 0) == (0, []), again


@pytest.mark.parametrize(
    "call",
    [
        "SET k v Ex 60",
        "SET k v EXAT 60",
        "SET k v KEEPTTL 60",
        "SET k v EX 60 NX",
        "EXPIREAT k 60",
        "GETEX k PXAT 60",
        "SET k v 60 EX",
    ],
)
def test_other_ways_to_give_a_time_are_judged(twin: Scan, call: str) -> None:
    fast = fast_calls(TABLE, Rules(), soon_ms=0)
    assert twin(encode(tuple(call.encode().split())), fast, 0) == (0, [])


def test_limits_are_kept(twin: Scan) -> None:
    few = Fast(PLAIN.calls, limits=Limits(arguments=3, argument_bytes=5, request_bytes=8))
    assert twin(SET, few, 0) == (len(SET), [b"k"])
    for wrong in ((b"MGET", b"a", b"b", b"c"), (b"GET", b"123456"), (b"SET", b"123", b"456"), (b"EXISTS", b"k")):
        assert twin(encode(wrong), few, 0) == (0, [])


def test_a_name_counts_as_a_part_of_the_request(twin: Scan) -> None:
    short = Fast(PLAIN.calls, limits=Limits(request_bytes=3))
    assert twin(encode((b"PING",)), short, 0) == (0, [])


FORM = (2, 2, True, 0, 0, b"")


@pytest.mark.parametrize(
    "wrong",
    [
        ({b"GET": FORM}, True, 9, 9, 9, GET, 0),
        ({b"GET": [FORM]}, True, 9, 9, 9, GET, 0),
        ({b"GET": (FORM,) * 9}, True, 9, 9, 9, GET, 0),
        ({b"GET": (FORM[:3],)}, True, 9, 9, 9, GET, 0),
        ({b"GET": (("2", *FORM[1:]),)}, True, 9, 9, 9, GET, 0),
        ({b"GET": ((2, 1 << 70, *FORM[2:]),)}, True, 9, 9, 9, GET, 0),
        ({b"GET": ((*FORM[:5], "EX"),)}, True, 9, 9, 9, GET, 0),
        ({b"GET": ((*FORM[:5], None),)}, True, 9, 9, 9, GET, 0),
        ({b"GET": ((2, 2, True, 2, 0, b""),)}, True, 9, 9, 9, GET, 0),
        ({b"GET": ((9, 9, True, 5, 0, b""),)}, True, 9, 9, 9, GET, 0),
        ({b"GET": ((2, 2, True, -1, 0, b""),)}, True, 9, 9, 9, GET, 0),
        ([], True, 9, 9, 9, GET, 0),
        ({}, True, 9, 9, 9, GET, "0"),
        ({}, True, "9", 9, 9, GET, 0),
        ({}, True, 9, 9, 9, bytearray(GET), 0),
        ({}, True, 9, 9, 9, "GET", 0),
        ({}, True, 9),
    ],
)
def test_the_compiled_twin_checks_what_it_is_given(compiled_twin: Twin, wrong: tuple[object, ...]) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError)):
        compiled_twin.raw(*wrong)


def test_keys_are_asked_about_once_and_bad_ones_every_time() -> None:
    asked: list[bytes] = []

    def names_ok(key: bytes) -> bool:
        asked.append(key)
        return not key.startswith(b"session:")

    seen = KeysSeen(names_ok, most=2)
    assert seen.all_fine([])
    assert seen.all_fine([b"a", b"a", b"b"])
    assert seen.all_fine([b"b", b"a"])
    assert asked == [b"a", b"b"]
    assert not seen.all_fine([b"a", b"session:1"])
    assert not seen.all_fine([b"session:1"])
    assert asked == [b"a", b"b", b"session:1", b"session:1"]


def test_no_more_keys_are_remembered_than_allowed_and_no_long_ones() -> None:
    asked: list[bytes] = []

    def names_ok(key: bytes) -> bool:
        asked.append(key)
        return True

    seen = KeysSeen(names_ok, most=2)
    assert seen.all_fine([b"a", b"b", b"c"])
    assert seen.all_fine([b"c"])
    assert seen.all_fine([b"a"])
    assert asked == [b"a", b"b", b"c", b"a"]
    long = b"x" * 300
    assert seen.all_fine([long])
    assert seen.all_fine([long])
    assert asked[-2:] == [long, long]
