"""Who is one person, who is another, and when that is not known."""

import pytest

from go_cache_safeguard.core.person import Identity, parse_identity, same_person

ISSUER = "oidc:id.example.org/realms/x"


@pytest.mark.parametrize(
    ("text", "realm", "name"),
    [
        ("uid:1000(alice)", "uid", "1000"),
        ("UID:01000", "uid", "1000"),
        ("\uff55id:\uff11000", "uid", "1000"),
        ("uid:1000(alice)@Web1.example.org.", "uid@web1.example.org", "1000"),
        ("uid:1000@*", "uid@*", "1000"),
        ("user:Alice", "user", "alice"),
        ("user:alice@example.org", "user", "alice@example.org"),
        (f"{ISSUER}#17", ISSUER, "17"),
        ("oidc:ID.example.org/#a|B", "oidc:id.example.org", "a|b"),
        ("none", "uid", ""),
        ("none@web1", "uid@web1", ""),
        ("none:user", "user", ""),
    ],
)
def test_a_principal_has_one_spelling(text: str, realm: str, name: str) -> None:
    assert parse_identity(text) == Identity(realm, name)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "alice",
        "uid:",
        "uid:-1",
        "uid:4294967295",
        "uid:1(a)b",
        "user:",
        "user:a b",
        "user:a\nb",
        "oidc:x",
        "oidc:#1",
    ],
)
def test_nothing_else_is_one(text: str) -> None:
    assert parse_identity(text) is None


@pytest.mark.parametrize(
    ("one", "other", "also", "answer"),
    [
        ("uid:1000(alice)", "UID:1000(bob)", (), True),
        ("uid:1000(alice)", "uid:1001(alice)", (), False),
        ("uid:1000(alice)", "user:alice", (), None),
        ("uid:1000(alice)", "user:alice", ("uid:1000",), True),
        ("uid:1000(alice)", "user:bob", ("uid:1001", "uid:1000"), True),
        ("uid:1000(alice)", "user:bob", ("uid:1001",), False),
        ("uid:1000(alice)", "user:bob", ("none",), False),
        ("uid:1000(alice)@web1", "user:bob", ("none",), None),
        ("uid:1000(alice)@web1", "user:bob", ("uid:1000@web2",), None),
        ("uid:1000(alice)@web1", "user:bob", ("uid:1000@*",), True),
        ("uid:1000(alice)@web1", "user:bob", ("uid:1001@*",), False),
        ("uid:1000(alice)@web1", "user:bob", ("none@*",), False),
        ("uid:1000(alice)@web1", "user:bob", ("uid:1001@*", "uid:1000@WEB1"), True),
        ("uid:1000(alice)", "user:bob", ("uid:1000@*",), None),
        ("user:alice", f"{ISSUER}#1", (), None),
        ("user:alice", f"{ISSUER}#1", ("user:ALICE",), True),
        (f"{ISSUER}#1", f"{ISSUER}#2", (), False),
        (f"{ISSUER}#1", "oidc:other.example.org#1", (), None),
        ("somebody", "user:bob", ("none",), None),
        ("uid:1000", "user:bob", ("uid:1001", "nonsense"), None),
        ("uid:1000", "user:bob", ("uid:1000", "nonsense"), True),
        ("none", "user:bob", ("none",), None),
    ],
)
def test_whether_two_are_one_person(one: str, other: str, also: tuple[str, ...], answer: bool | None) -> None:  # noqa: FBT001 - a row of the table
    assert same_person((one,), (other, *also)) is answer
    assert same_person((other, *also), (one,)) is answer
