"""What is taken out of spans, what is let be, and how long that takes."""

import hashlib
from typing import Any

import pytest

from go_cache_safeguard.telemetry.redact import MASK, Redactor
from go_cache_safeguard.telemetry.rules import Glob, Redaction, parse_rules

PLAIN = Redactor(Redaction(), b"key")


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Bearer abcdef123", f"Bearer {MASK}"),
        ("Authorization: Basic x\nAccept: y", f"Authorization: {MASK}\nAccept: y"),
        ("to a.b+c@example.co.uk.", "to [email]."),
        ("postgres://u:p@db:5432/x", f"postgres://{MASK}@db:5432/x"),
        ("/cb?a=1&token=xyz&b=2", f"/cb?a=1&token={MASK}&b=2"),
        ("/cb?code=xyz", f"/cb?code={MASK}"),
        ('{"password": "a b", "n": 1}', f'{{"password": {MASK}, "n": 1}}'),
        ("AKIAIOSFODNN7EXAMPLE", MASK),
        ("card 4111 1111 1111 1111.", "card [card]."),
        ("eyJhbGciOi.eyJzdWIi.c2ln", MASK),
    ],
)
def test_secrets_are_masked_where_they_stand(text: str, clean: str) -> None:
    assert PLAIN.text(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "GET /pay/{id}",
        "cache key: user:42",
        "status code: 500",
        "SELECT name FROM users WHERE id = 5",
        "http://cache:6379/0?db=1",
        "4111 1111 1111 1112",
        "1795397678041972559",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "monkey=banana",
    ],
)
def test_what_only_looks_like_one_is_let_be(text: str) -> None:
    assert PLAIN.text(text) == text
    assert PLAIN.text(text) is text


def test_attributes_are_dropped_hashed_and_masked_by_their_names() -> None:
    policy = Redaction((Glob("internal.*"),), (Glob("Customer.id"),), (Glob("*.parameter.*"),))
    redactor = Redactor(policy, b"key")
    found = redactor.attributes(
        {
            "internal.note": "x",
            "customer.ID": 42,
            "db.parameter.0": "x",
            "user.id": "u",
            "http.request.header.set_cookie": ("a",),
            "http.route": "/x",
            "a@example.com": 1,
            "n": 4_111_111_111_111_111,
            "t": 1_795_397_678_041_972_559,
            "deep": {"password": "x", "list": ["Bearer abcdef", True, 1.5, None]},
            "raw": b"\xff a@example.com",
            "blob": b"\xff\x00",
        }
    )
    assert found == {
        "customer.ID": hashlib.sha256(b"key42").hexdigest()[:32],
        "db.parameter.0": MASK,
        "user.id": hashlib.sha256(b"keyu").hexdigest()[:32],
        "http.route": "/x",
        "[email]": 1,
        "n": MASK,
        "t": 1_795_397_678_041_972_559,
        "deep": {"list": (f"Bearer {MASK}", True, 1.5, None)},
        "raw": MASK.encode(),
        "blob": b"\xff\x00",
    }


def test_without_a_key_nothing_is_hashed_that_could_be_guessed() -> None:
    assert Redactor(Redaction()).attributes({"user.id": 7}) == {"user.id": MASK}


def test_a_site_has_patterns_of_its_own_and_may_leave_ours_out() -> None:
    rest = {"name": "rest", "keep": "always"}
    redaction = {"defaults": False, "patterns": [{"name": "customer", "regex": "CUST-[0-9]+"}]}
    redactor = Redactor(parse_rules({"sampling": [rest], "redaction": redaction}).redaction)
    assert redactor.text("of CUST-1 and others") == "[customer]"
    assert redactor.attributes({"user.id": "a@example.com"}) == {"user.id": "a@example.com"}


def test_values_that_are_nested_without_end_are_cut_off() -> None:
    value: Any = "x"
    for _ in range(100):
        value = [value]
    assert MASK in str(PLAIN.attributes({"a": value}))


@pytest.mark.parametrize(
    "part",
    [
        "a",
        "a.",
        "a@",
        "a@a.",
        "://",
        "token=",
        "eyJa.",
        "4 ",
        "41",
        "password",
        "authorization:",
        "x_",
        "'",
        "Bearer ",
        "auth-",
    ],
)
def test_no_text_takes_long(part: str) -> None:
    """Whatever went back and forth in a text this long would still do so when the suite's patience ends."""
    assert PLAIN.text(part * (100_000 // len(part)))
