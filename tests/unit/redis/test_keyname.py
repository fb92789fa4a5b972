"""Names of keys as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from go_cache_safeguard.redis.keyname import counted_prefixes, key_of, parse_place, place_name, prefix_of, text_of


@given(key=st.binary(max_size=40))
def test_every_key_comes_back_and_its_text_is_printable(key: bytes) -> None:
    assert key_of(text_of(key)) == key
    assert text_of(key).isascii()
    assert text_of(key).isprintable()


@given(db=st.integers(0, 999_999_999), key=st.binary(max_size=40))
def test_a_place_comes_back(db: int, key: bytes) -> None:
    assert parse_place(place_name(db, key)) == (db, key)


@pytest.mark.parametrize("text", ["a\nb", "ü", "\\x", "\\x4", "\\x41", "\\xZZ", "\\", "\\xFF"])
def test_what_we_would_not_have_written_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not the name of a key"):
        key_of(text)


@pytest.mark.parametrize("name", ["", "a", "/a", "01/a", "-1/a", "1234567890/a"])
def test_what_is_no_place_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not a key"):
        parse_place(name)


def test_prefixes_are_counted_and_the_rare_ones_are_one() -> None:
    keys = [b"user:1", b"user:2", b"a:1", b"b:1", b"plain", b"\n:x"]
    assert prefix_of(b"a:b:c") == "a:"
    assert counted_prefixes(keys, most=1) == [("user:", 2), ("(others)", 4)]
    assert counted_prefixes(keys)[1:] == [("(none)", 1), ("\\x0a:", 1), ("a:", 1), ("b:", 1)]
