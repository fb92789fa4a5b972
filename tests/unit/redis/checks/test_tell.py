"""Names are printable and short."""

from go_cache_safeguard.redis.checks.tell import counted, name_of, names_of


def test_a_name_is_printable_and_short() -> None:
    assert name_of(b"a\n\x1b[2J\xff") == "'a\\n\\x1b[2J\\xff'"
    assert name_of("ä") == "'\\xc3\\xa4'"
    assert name_of(b"x" * 100) == f"'{'x' * 80}' and 20 bytes more"


def test_some_of_many_names_are_shown() -> None:
    assert names_of([b"a", b"b"]) == "'a', 'b'"
    assert names_of([b"a"] * 7).endswith("'a' and 2 more")


def test_numbers_have_their_plural() -> None:
    assert (counted(1, "key"), counted(0, "key")) == ("1 key", "0 keys")
