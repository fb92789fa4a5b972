"""What is new."""

import pytest

from go_cache_safeguard.debt.baseline import BaselineBad, baseline_of, fresh, read, write
from go_cache_safeguard.debt.finding import Api, Finding, Kind


def _at(line: int, text: str = "00") -> Finding:
    return Finding("a.py", line, 1, Api.OPENTRACING, Kind.FINISH, "span.finish", text)


def test_a_baseline_written_and_read_is_the_same() -> None:
    for findings in ([], [_at(1), _at(5), _at(7, "11")]):
        baseline = baseline_of(findings)
        assert read(write(baseline)) == baseline


def test_what_moved_is_known_and_one_more_of_the_same_is_new() -> None:
    baseline = baseline_of([_at(1), _at(5)])
    assert fresh([_at(2), _at(90)], baseline) == ()
    assert fresh([_at(1), _at(5), _at(9)], baseline) == (_at(9),)
    assert fresh([_at(1, "other")], baseline) == (_at(1, "other"),)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"schema": "x", "findings": []}',
        '{"schema": "go-cache-safeguard/debt-baseline/1", "findings": [{"file": "a"}]}',
        '{"schema": "go-cache-safeguard/debt-baseline/1", "findings": [3]}',
    ],
)
def test_a_damaged_baseline_is_refused(text: str) -> None:
    with pytest.raises(BaselineBad):
        read(text)
