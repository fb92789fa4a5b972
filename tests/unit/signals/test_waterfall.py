"""A trace as lines."""

from faulty_traces import made
from go_cache_safeguard.signals.waterfall import MOST, bar, shown, waterfall


def test_lines_follow_the_calls_and_bars_lie_inside_of_the_whole() -> None:
    spans = made("media", 1, 1)
    fall = waterfall(spans)
    assert fall is not None
    assert len(fall.lines) == len(spans)
    assert fall.lines[0].depth == 0
    assert all(later.depth <= before.depth + 1 for before, later in zip(fall.lines, fall.lines[1:], strict=False))
    assert all(0 <= line.offset <= 1 and line.offset + line.width <= 1.000001 for line in fall.lines)
    assert {len(bar(line, 40)) for line in fall.lines} == {40}
    assert sum(line.path_share for line in fall.lines) <= 1.000001
    assert (fall.missing, fall.left_out, fall.services) == (0, 0, 5 + 1 - 1)


def test_no_span_is_no_waterfall_and_a_giant_one_is_cut() -> None:
    assert waterfall([]) is None
    spans = [span for seed in range(200) for span in made("shop", 1, seed)]
    one = [type(span)(spans[0].trace_id, *(getattr(span, name) for name in span.__slots__[1:])) for span in spans]
    fall = waterfall(one)
    assert fall is not None
    assert len(fall.lines) == MOST
    assert fall.left_out == len(spans) - MOST


def test_names_cannot_move_the_cursor() -> None:
    assert shown("a\x1b[31m\u202eb") == "a\ufffd[31m\ufffdb"
    assert len(shown("x" * 1000)) == 200
