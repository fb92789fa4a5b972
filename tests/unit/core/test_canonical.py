"""One value, one byte form."""

import pytest

from go_cache_safeguard.core.canonical import canonical, digest


def test_the_order_in_which_keys_were_put_in_does_not_matter() -> None:
    assert canonical({"b": 1, "a": [True, None, "x"]}) == canonical({"a": [True, None, "x"], "b": 1})
    assert canonical({"b": 1, "a": [True, None, "x"]}) == b'{"a":[true,null,"x"],"b":1}'


def test_text_outside_ascii_and_paths_that_are_not_utf_8_have_one_form() -> None:
    assert canonical("\N{LATIN SMALL LETTER E WITH ACUTE}") == rb'"\u00e9"'
    assert canonical(b"/\xff".decode("utf-8", "surrogateescape")) == rb'"/\udcff"'


def test_a_list_and_a_tuple_are_one_thing() -> None:
    assert canonical([1, (2, 3)]) == b"[1,[2,3]]"


@pytest.mark.parametrize("value", [1.0, [1, [2.0]], {"a": {"b": 0.5}}, {"a": [{"b": 0.5}]}, b"x", [b"x"]])
def test_a_float_or_bytes_anywhere_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="has no canonical form"):
        canonical(value)  # type: ignore[arg-type] # the type forbids what this test is about


def test_a_key_that_is_not_text_is_refused() -> None:
    with pytest.raises(TypeError, match="a key must be text"):
        canonical({"a": {1: 2}})  # type: ignore[dict-item] # the type forbids what this test is about


def test_a_digest_is_sha_256_in_hexadecimal() -> None:
    assert digest(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
