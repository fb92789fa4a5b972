"""What people are shown of a call."""

import pytest

from go_cache_safeguard.redis.wording import shown


def words(text: str) -> tuple[bytes, ...]:
    return tuple(word.encode() for word in text.split())


@pytest.mark.parametrize(
    ("call", "seen"),
    [
        ("AUTH hunter2", "AUTH ***"),
        ("auth alice hunter2", "auth alice ***"),
        ("AUTH a b hunter2", "AUTH a *** ***"),
        ("HELLO 3 AUTH alice hunter2 SETNAME x", "HELLO 3 AUTH *** *** SETNAME x"),
        ("ACL SETUSER bob on >hunter2 <hunter2 #0123 !0123 ~* +@all", "ACL SETUSER bob on *** *** *** *** ~* +@all"),
        ("CONFIG SET maxmemory 1 requirepass hunter2", "CONFIG SET maxmemory 1 requirepass ***"),
        ("CONFIG SET masterauth hunter2 hz 1", "CONFIG SET masterauth *** hz 1"),
        ("config set TLS-KEY-FILE-PASS hunter2", "config set TLS-KEY-FILE-PASS ***"),
        ("MIGRATE h 1 key 0 5 COPY AUTH hunter2 KEYS a", "MIGRATE h 1 key 0 5 COPY AUTH *** KEYS a"),
        ("MIGRATE h 1 key 0 5 AUTH2 bob hunter2 KEYS a", "MIGRATE h 1 key 0 5 AUTH2 *** *** KEYS a"),
        ("SENTINEL SET mymaster auth-pass hunter2", "SENTINEL SET mymaster auth-pass ***"),
        ("NEWCMD password hunter2", "NEWCMD password ***"),
        ("HSET h password hunter2", "HSET h password ***"),
    ],
)
def test_passwords_are_never_shown(call: str, seen: str) -> None:
    assert shown([words(call)]) == tuple(seen.split())


def test_keys_are_shown_even_if_their_names_sound_like_secrets() -> None:
    call = words("DEL auth:1 auth:2 token:3")
    assert shown([call], call[1:]) == ("DEL", "auth:1", "auth:2", "token:3")


def test_a_password_that_is_also_the_name_of_a_key_is_not_shown() -> None:
    call = words("MIGRATE h 1 key 0 5 AUTH key KEYS a")
    assert shown([call], [b"key", b"a"])[7] == "***"


def test_values_are_begun_and_names_are_whole() -> None:
    key, value = b"k" * 100, b"v" * 100
    assert shown([(b"SET", key, value)], [key]) == ("SET", "k" * 100, "v" * 32 + "...(100B)")


def test_odd_bytes_are_escaped_and_spaces_are_quoted() -> None:
    assert shown([(b"SET", b"a\nb", b"two words", b"")], [b"a\nb"]) == ("SET", "a\\x0ab", '"two words"', '""')
    assert all(word.isascii() and word.isprintable() for word in shown([(bytes(range(256)), bytes(range(256)))]))


def test_a_long_transaction_is_cut_and_says_so() -> None:
    call = [(b"DEL", b"k")] * 30
    assert shown(call)[:6] == ("DEL", "k", ";", "DEL", "k", ";")
    assert shown(call)[-1] == "; and 10 more commands"
    assert shown([(b"DEL", *[b"k"] * 100)])[-1] == "and 61 more words"
