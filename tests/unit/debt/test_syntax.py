"""Where a node stands."""

import pytest

from go_cache_safeguard.debt.finding import Api, Kind


def test_columns_count_characters_and_lines_from_one() -> None:
    from go_cache_safeguard.debt.python import read

    (_, found) = read("a.py", 'import opentracing\nx = "ä"; opentracing.global_tracer()\n'.encode()).findings
    assert (found.line, found.column, found.api, found.kind) == (2, 22, Api.OPENTRACING, Kind.GLOBAL)


def test_the_first_line_that_is_not_of_the_language_is_told() -> None:
    from go_cache_safeguard.debt.java import read

    assert read("A.java", b"class A {\n  void f() {}\n}\n").damage == 0
    assert read("A.java", b"class A {\n  void f() {}\n  ==== opentracing\n}\n").damage == 3


@pytest.mark.parametrize("content", [b"import opentracing\nx = a" + b".b()" * 20_000, b"opentracing" + b"(" * 40_000])
def test_what_is_too_deep_or_too_wide_is_not_looked_at_and_said_to_be_damaged(content: bytes) -> None:
    from go_cache_safeguard.debt import golang, java, python

    for read in (java.read, golang.read, python.read):
        assert read("a", content).damage > 0
