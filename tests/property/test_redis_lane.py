"""Both twins of a lane do the same, and what goes to the server is what the strict reader calls harmless."""

from random import Random

from go_cache_safeguard.redis import _lane
from go_cache_safeguard.redis.fast import Fast, fast_calls
from go_cache_safeguard.redis.resp import Limits, encode
from go_cache_safeguard.redis.rules import Rules, parse_patterns
from go_cache_safeguard.redis.tablefile import load_table
from redislanes import PYTHON, Played, compiled, play, steps
from redisstreams import expected, forms, stream

TABLE = load_table()
PLAIN = fast_calls(TABLE, Rules(), soon_ms=1_000)
PROTECTED = fast_calls(TABLE, Rules(protect=parse_patterns("session:*")), soon_ms=0)
SMALL = Fast(PROTECTED.calls, limits=Limits(arguments=3, argument_bytes=9, request_bytes=20), timed=PROTECTED.timed)
RULES = (PLAIN, PROTECTED, SMALL)
FORMS = forms(PLAIN, TABLE)
COMPILED = compiled(_lane)


def test_whatever_happens_to_a_lane_both_twins_do_the_same() -> None:
    random, went_by, handed = Random(5), 0, 0  # noqa: S311 - the same in every run
    for _ in range(1_500):
        happens = steps(random, FORMS, len(RULES))
        one, other = play(PYTHON, happens, RULES), play(COMPILED, happens, RULES)
        assert one == other, happens
        went_by, handed = went_by + bool(one.got[1]), handed + bool(one.handed)
    assert went_by > 300
    assert handed > 300


def test_only_what_the_strict_reader_calls_harmless_goes_by() -> None:
    random = Random(6)  # noqa: S311 - the same in every run
    for number in range(3_000):
        data, fast = stream(random, FORMS), RULES[number % 3]
        happens = [("quick", True), ("scanner", number % 3), ("fine", b"session:"), ("opened", True), ("client", data)]
        (end, keys), _ = expected(data, fast)
        fine = not any(key.startswith(b"session:") for key in keys)
        by = data and end == len(data) and fine
        for twin in (PYTHON, COMPILED):
            played = play(twin, happens, RULES)
            assert (played.got[1], played.handed) == ((data, []) if by else (b"", [("client", data)]))


def _server_got(played: Played) -> bytes:
    assert not played.handed
    return played.got[1]


def test_a_command_is_known_again_in_another_buffer_and_another_one_in_its_place_is_not() -> None:
    calls = [encode((name, *words)) for name in (b"GET", b"get", b"TTL") for words in ((b"k",), (b"key:1",))] * 3
    happens = [("quick", True), ("scanner", 0), ("opened", True), *(("client", bytes(bytearray(one))) for one in calls)]
    assert _server_got(play(COMPILED, happens, RULES)) == b"".join(calls)
    others = [encode((b"DEL", b"k")), encode((b"GET", b"k", b"l")), encode((b"GES", b"k"))]
    for other in others:
        played = play(COMPILED, [*happens, ("client", other)], RULES)
        assert (played.got[1], played.handed) == (b"".join(calls), [("client", other)])
