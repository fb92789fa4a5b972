"""Whatever lines say: templates fit them, are the same each time, and stay few."""

from hypothesis import given
from hypothesis import strategies as st

from go_cache_safeguard.signals.drain import ANY, Drain, masked
from go_cache_safeguard.signals.logline import read_lines

_WORD = st.sampled_from(["get", "put", "user", "7", "0xff00ff00", "10.0.0.1", "failed", "ok", "key=3", "<n>", ANY])
_LINE = st.one_of(st.lists(_WORD, max_size=8).map(" ".join), st.text(max_size=60))


@given(st.lists(_LINE, max_size=40))
def test_a_template_fits_the_lines_that_it_was_made_of_and_the_same_lines_give_the_same(lines: list[str]) -> None:
    first, second = Drain(), Drain()
    found = [first.add(line) for line in lines]
    assert [one.id for one in found] == [second.add(line).id for line in lines]
    for line, template in zip(lines, found, strict=True):
        words = masked(line)
        assert len(words) == len(template.words)
        assert all(kept in {word, ANY} for kept, word in zip(template.words, words, strict=True))


@given(st.lists(_LINE, max_size=40), st.integers(1, 5))
def test_memory_is_bounded(lines: list[str], most: int) -> None:
    drain = Drain(most)
    for line in lines:
        drain.add(line)
    assert len(drain.templates) <= most


@given(st.text(max_size=200))
def test_what_is_masked_stays_masked(line: str) -> None:
    words = masked(line)
    assert masked(" ".join(words)) == words


@given(
    st.lists(st.one_of(st.text(), st.sampled_from(['{"time": 5}', '{"resourceLogs": [{}]}', "{}", "null"])), max_size=5)
)
def test_no_line_is_too_strange_to_be_passed_over(texts: list[str]) -> None:
    assert read_lines(texts, "guard.op_id").unread <= len(texts)
