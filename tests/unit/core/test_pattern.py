"""Patterns match what they should, refuse what they cannot do, and never take long."""

import pytest

from go_cache_safeguard.core.pattern import (
    PatternError,
    is_glob,
    is_whole_keyspace,
    parse_glob,
    parse_pattern,
    parse_regex,
)


@pytest.mark.parametrize(
    ("glob", "yes", "no"),
    [
        ("session:*", ["session:", "session:a:b"], ["session", "xsession:a"]),
        ("h?llo", ["hello", "h?llo"], ["hllo", "heello"]),
        ("h[ae]llo", ["hallo", "hello"], ["hillo"]),
        ("h[^e]llo", ["hallo"], ["hello"]),
        ("h[a-b]llo", ["hallo", "hbllo"], ["hcllo", "h-llo"]),
        ("h[b-a]llo", ["hallo"], ["hcllo"]),
        ("a\\*b", ["a*b"], ["axb"]),
        ("a\\", ["a\\"], ["a"]),
        ("[a", ["a"], ["[a", "b"]),
        ("[]x", [], ["x", "]x"]),
        ("[a\\]]", ["a", "]"], ["\\"]),
        ("[a-", ["a", "-"], ["b"]),
        ("", [""], ["a"]),
        ("*", ["", "a"], []),
        ("**", ["a"], [""]),
        ("a*b*c", ["abc", "axxbyyc"], ["ab", "abcd"]),
    ],
)
def test_a_glob_matches_as_in_redis(glob: str, yes: list[str], no: list[str]) -> None:
    pattern = parse_pattern(glob)
    assert pattern.text == glob
    assert [key for key in yes if not pattern.matches(key.encode())] == []
    assert [key for key in no if pattern.matches(key.encode())] == []


@pytest.mark.parametrize(
    ("regex", "yes", "no"),
    [
        ("user:[0-9]+", ["user:1", "user:42"], ["user:", "xuser:1", "user:1x"]),
        ("^a$", ["a"], ["aa"]),
        ("a|bc|", ["a", "bc", ""], ["ab"]),
        ("(ab|c)*d", ["d", "abcabd"], ["ad"]),
        ("(?:a{2,3}|b{2})c{0}", ["aa", "aaa", "bb"], ["a", "aaaa", "bbc"]),
        ("a{2,}", ["aa", "aaaaa"], ["a"]),
        ("a{0,}b?", ["", "b", "aab"], ["bb"]),
        ("(a|b){2}", ["ab", "bb"], ["a", "aba"]),
        (r"\d\D\w\W\s\S", ["1x_- y"], ["xx_- y"]),
        (r"\x41\.\n", ["A.\n"], ["Ax\n"]),
        (r"[^a-c\]\d]x", ["dx"], ["ax", "]x", "1x"]),
        ("[]a-]", ["]", "a", "-"], ["b"]),
        (".", ["\n", "a"], ["", "ab"]),
    ],
)
def test_a_regular_expression_matches_the_whole_key(regex: str, yes: list[str], no: list[str]) -> None:
    pattern = parse_pattern(f"re:{regex}")
    assert [key for key in yes if not pattern.matches(key.encode())] == []
    assert [key for key in no if pattern.matches(key.encode())] == []


@pytest.mark.parametrize(
    ("regex", "why"),
    [
        ("(a", "without its"),
        ("a)", "without its"),
        ("[a", "without its"),
        ("*", "should be"),
        ("a**", "two quantifiers"),
        ("a+?", "two quantifiers"),
        ("a{2}{3}", "two quantifiers"),
        ("a{3,2}", "backwards"),
        ("a{,2}", "should be"),
        ("a^b", "should be"),
        ("a$b", "should be"),
        (r"(a)\1", "not understood"),
        (r"\bx", "not understood"),
        (r"\x4", "hexadecimal"),
        ("a\\", "not understood"),
        ("(?=a)", "only"),
        ("(?P<x>a)", "only"),
        ("[b-a]", "range"),
        (r"[\d-x]", "range"),
        ("(" * 60 + ")" * 60, "nested"),
        ("(a{1000}){1000}", "places"),
        ("(){999}(){999}", "repetitions"),
        ("a" * 1001, "more than 1000 bytes"),
    ],
)
def test_what_could_take_long_or_cannot_be_read_is_refused(regex: str, why: str) -> None:
    with pytest.raises(PatternError, match=why):
        parse_regex(regex)


def test_a_long_glob_is_refused() -> None:
    with pytest.raises(PatternError, match="more than 1000 bytes"):
        parse_glob(b"a" * 1001)


@pytest.mark.parametrize("text", ["re:(a+)+b", "re:(a|a)*b", "re:.*.*.*.*b", "a*a*a*a*b", "re:(.?){200}b"])
def test_what_takes_others_for_ever_takes_one_step_for_each_byte(text: str) -> None:
    """With backtracking these take longer than the age of the universe; so that they return at all is the proof."""
    assert not parse_pattern(text).matches(b"a" * 30_000)


def test_what_is_remembered_stays_small() -> None:
    pattern = parse_pattern("re:(.?){300}x")
    for byte in range(256):
        pattern.matches(bytes([byte, 255 - byte]) * 20)
    assert len(pattern._known) <= 4096


def test_what_looks_like_a_pattern() -> None:
    assert [is_glob(key) for key in (b"a*", b"a?", b"[a]", b"a\\", b"a:b")] == [True, True, True, True, False]


@pytest.mark.parametrize(
    ("glob", "whole"),
    [
        (b"*", True),
        (b"user*", True),
        (b"user:*", True),
        (b"user:?*", True),
        (b"user:[0-9]*", True),
        (b"*:session", True),
        (b"user:42:*", False),
        (b"user:42", False),
        (b"user:\\*", False),
        (b"a[:]b:*", False),
    ],
)
def test_a_pattern_that_takes_in_a_whole_namespace_is_seen(glob: bytes, *, whole: bool) -> None:
    assert is_whole_keyspace(glob) is whole


def test_depth_and_separator_can_be_chosen() -> None:
    assert is_whole_keyspace(b"a:b:*", depth=3)
    assert not is_whole_keyspace(b"a:*", depth=1)
    assert not is_whole_keyspace(b"*", depth=0)
    assert not is_whole_keyspace(b"a/b/*", b"/")
