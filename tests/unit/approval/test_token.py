"""Tokens, what they approve, and digests that a person types."""

import hashlib
from dataclasses import replace

import pytest

from go_cache_safeguard.approval.eyes import Allowed, Denied
from go_cache_safeguard.approval.token import Grant, Token, check_grant, digest_matches, mint, parse_token

CHANCE = bytes(range(32))
TEXT = "gcs1_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
DIGEST = "0123456789abcdef" * 4
OTHER = "f" * 64
GRANT = Grant("op_0000000000000001", DIGEST, "uid:1001(bob)", 1000)
TOKEN, STORED = mint(CHANCE)


def test_a_token_is_its_chance_and_only_its_hash_is_stored() -> None:
    assert TOKEN.text == TEXT
    assert hashlib.sha256(TEXT.encode()).hexdigest() == STORED == TOKEN.stored


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_token_needs_all_its_chance(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        mint(bytes(length))


def test_a_token_is_never_shown_by_accident() -> None:
    for text in (repr(TOKEN), str(TOKEN), f"{TOKEN}", repr([TOKEN]), repr({"token": TOKEN}), repr((TOKEN, STORED))):
        assert TEXT[5:] not in text
    assert repr(TOKEN) == "Token(gcs1_...)"


@pytest.mark.parametrize("chance", [CHANCE, bytes(32), b"\xff" * 32, b"\xfb\xef" * 16])
def test_a_token_comes_back_as_it_was_given_out(chance: bytes) -> None:
    token, _ = mint(chance)
    assert parse_token(token.text) == token
    assert parse_token(f"  {token.text}\r\n") == token


@pytest.mark.parametrize(
    "text",
    [
        "",
        "gcs1_",
        TEXT[5:],
        TEXT[:-1],
        TEXT + "A",
        TEXT + "=",
        TEXT.replace("gcs1", "gcs2"),
        TEXT.replace("gcs1", "GCS1"),
        TEXT[:-1] + "9",
        TEXT[:10] + "+" + TEXT[11:],
        TEXT[:10] + "\uff21" + TEXT[11:],
        TEXT[:10] + " " + TEXT[11:],
    ],
)
def test_nothing_else_is_a_token(text: str) -> None:
    assert parse_token(text) is None


def check(
    grant: Grant = GRANT,
    token: Token = TOKEN,
    *,
    stored: str = STORED,
    op: str = GRANT.op,
    digest: str = DIGEST,
    approver: str = "uid:1001(bob)",
    now: float = 999,
) -> Allowed | Denied:
    return check_grant(grant, token, stored=stored, op=op, digest=digest, approver=approver, now=now)


def test_a_token_approves_what_it_was_given_out_for() -> None:
    assert check() == Allowed()
    assert check(approver="UID:1001(Robert)") == Allowed()
    assert check(now=999.999) == Allowed()


@pytest.mark.parametrize("stored", ["", STORED[:-1], STORED.upper(), OTHER, "\xe9" * 64])
def test_another_token_approves_nothing(stored: str) -> None:
    assert check(stored=stored) == Denied("this is not the token that was given out for it")
    assert check(token=mint(bytes(32))[0]) == Denied("this is not the token that was given out for it")


def test_a_token_approves_no_other_operation() -> None:
    assert check(op="op_0000000000000002") == Denied("the token was given out for another operation")


@pytest.mark.parametrize("digest", [OTHER, "", DIGEST[:-1], DIGEST.upper(), "\xe9"])
def test_a_token_approves_no_other_plan(digest: str) -> None:
    reason = "the plan is not the one that the token was given out for"
    assert check(digest=digest) == Denied(reason)
    assert check(replace(GRANT, digest=digest)) == Denied(reason)
    assert check(replace(GRANT, digest="")) == check(replace(GRANT, digest=""), digest="") == Denied(reason)


@pytest.mark.parametrize("approver", ["uid:1000(bob)", "", "bob"])
def test_a_token_is_worth_nothing_in_other_hands(approver: str) -> None:
    assert check(approver=approver) == Denied("the token was given to somebody else")
    assert check(replace(GRANT, approver=approver)) == Denied("the token was given to somebody else")
    assert check(replace(GRANT, approver=""), approver="") == Denied("the token was given to somebody else")


@pytest.mark.parametrize("now", [1000, 1000.5, 10**12, float("nan"), float("inf")])
def test_a_token_expires(now: float) -> None:
    assert check(now=now) == Denied("the token has expired")


@pytest.mark.parametrize("typed", ["01234567", "0123456789ABCDEF", DIGEST, DIGEST.upper(), " 01234567\n"])
def test_the_beginning_of_a_digest_names_a_plan(typed: str) -> None:
    assert digest_matches(typed, DIGEST)


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "0123456",
        "1234567",
        "12345678",
        "01234568",
        DIGEST + "0",
        OTHER,
        "0123 4567",
        "0x012345",
        "\uff10" * 8,
        "yes",
    ],
)
def test_anything_else_does_not(typed: str) -> None:
    assert not digest_matches(typed, DIGEST)


@pytest.mark.parametrize("digest", ["", "01234567", DIGEST.upper(), DIGEST + "0", "g" * 64])
def test_what_is_no_digest_is_named_by_nothing(digest: str) -> None:
    assert not digest_matches(digest, digest)
    assert not digest_matches("01234567", digest)
