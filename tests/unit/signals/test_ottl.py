"""What of the rule file stands in the Collector's own language."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from go_cache_safeguard.core.pattern import parse_regex
from go_cache_safeguard.signals.ottl import (
    NotForCollector,
    any_of,
    by_chance,
    glob_regex,
    go_regex,
    has,
    is_like,
    quoted,
)
from go_cache_safeguard.telemetry.rules import Condition, Equals, Exists, Glob, Matches
from go_cache_safeguard.telemetry.sampling import threshold


@given(st.text("ab*.-\n", max_size=6), st.text("abx.-\n", max_size=8))
def test_a_name_with_stars_is_the_same_as_its_regular_expression(glob: str, name: str) -> None:
    found = re.fullmatch(glob_regex(Glob(glob)), name, re.DOTALL)
    assert (found is not None) == Glob(glob).matches(name)


@pytest.mark.parametrize(
    ("ours", "go"),
    [
        (r"/(healthz|ready)\d{1,3}", r"/(healthz|ready)\d{1,3}"),
        (r"a\sb\S", "a[\\t\\n\\f\\r \\v]b[^\\t\\n\\f\\r \\v]"),
        (r"[\s:]", "[\\t\\n\\f\\r \\v:]"),
        (r"[[:alpha:]x]", r"[\[:alpha:]x]"),
        (r"[]a]b[^]]", r"[]a]b[^]]"),
        (r"[^^]\[[\[]", r"[^^]\[[\[]"),
        (r"\\x80\x41", r"\\x80\x41"),
    ],
)
def test_a_pattern_is_what_go_reads_in_the_same_way(ours: str, go: str) -> None:
    assert go_regex(ours) == go


@given(st.text("ab[]^\\sd(|)*: ", max_size=8), st.text("ab[]^\\ \t:5", max_size=5))
def test_what_is_translated_means_what_it_meant(pattern: str, text: str) -> None:
    try:
        ours = parse_regex(pattern)
        go = re.compile(f"(?s)^(?:{go_regex(pattern)})\\Z")
    except (ValueError, re.error, NotForCollector, FutureWarning):
        return
    assert (go.match(text) is not None) == ours.matches(text.encode())


@pytest.mark.parametrize("pattern", ["ä", r"\xff", r"a\\\x80", r"[\S]"])
def test_a_pattern_that_go_would_read_otherwise_is_refused(pattern: str) -> None:
    with pytest.raises(NotForCollector):
        go_regex(pattern)


def test_texts_are_quoted_as_go_unquotes_them() -> None:
    assert quoted('a"b\\c\nd$ä\x01') == '"a\\"b\\\\c\\nd$ä\\u0001"'


def test_conditions_ask_the_span_and_its_resource_for_the_type_too() -> None:
    key = 'attributes["k"]'
    assert has(Condition("k", Exists())) == f"{key} != nil or resource.{key} != nil"
    assert has(Condition("k", Equals(value=True))) == f"{key} == true or resource.{key} == true"
    assert has(Condition("k", Equals("x"))).startswith(f'(IsString({key}) and {key} == "x") or (IsString(resource.')
    assert has(Condition("k", Equals(200))).startswith(f"(IsInt({key}) and {key} == 200)")
    assert has(Condition("k", Equals(1 << 63))) == "false or false"
    assert f"(IsDouble({key}) and {key} == 5.00000000000000000e-01)" in has(Condition("k", Equals(0.5)))
    assert f'{key} == Double("inf")' in has(Condition("k", Equals(float("inf"))))
    assert f'IsMatch({key}, "(?s)^(?:a|b)$")' in has(Condition("k", Matches(parse_regex("a|b"))))


def test_a_name_that_may_be_empty_may_be_missing() -> None:
    assert is_like("name", Glob("GET *")) == 'IsMatch(name, "(?s)^GET\\\\ .*$")'
    assert is_like("name", Glob("*")).startswith("(name == nil or ")
    assert any_of(["a", "b"]) == "(?is)^(?:a|b)$"


def test_the_chance_compares_digits_of_the_threshold() -> None:
    text = by_chance(threshold(0.15))
    assert 'Substring(trace_id.string, 18, 14) >= "d999999999999a"' in text
    assert '["rv"] >= "d999999999999a"' in text
