"""Lines of a trace, which the reader of traces understands."""

from go_cache_safeguard.gocache.trace import parse_trace
from go_cache_safeguard.gocache.traceline import get_line, put_line

ACTION, OUTPUT = bytes(range(32)), bytes(range(32, 64))


def test_a_hit_a_miss_and_a_put_are_told_apart() -> None:
    (hit,) = parse_trace(get_line(ACTION, OUTPUT, 7, 99))
    (miss,) = parse_trace(get_line(ACTION, None, 0, 99))
    (put,) = parse_trace(put_line(ACTION, OUTPUT, 7, 99))
    assert (hit.hit, hit.put, hit.output, hit.size, hit.ns) == (True, False, OUTPUT, 7, 99)
    assert (miss.hit, miss.put, miss.output) == (False, False, None)
    assert (put.hit, put.put, put.output) == (False, True, OUTPUT)
