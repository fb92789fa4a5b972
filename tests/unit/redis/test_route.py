"""Where clients come in, and which server stands behind."""

import pytest

from go_cache_safeguard.redis.address import Address, AddressError
from go_cache_safeguard.redis.route import Sentinels, Where, parse_listen, parse_nodes, parse_upstream


@pytest.mark.parametrize(
    ("text", "where", "local"),
    [
        ("127.0.0.1:6380", Where("127.0.0.1", 6380), True),
        ("127.9.9.9:0", Where("127.9.9.9", 0), True),
        ("[::1]:6380", Where("::1", 6380), True),
        ("localhost:1", Where("localhost", 1), True),
        ("0.0.0.0:6380", Where("0.0.0.0", 6380), False),  # noqa: S104 - it is not bound here
        ("[::]:6380", Where("::", 6380), False),
        ("guard.internal:6380", Where("guard.internal", 6380), False),
        ("unix:///run/guard/s", Where(path="/run/guard/s"), True),
    ],
)
def test_a_place_is_read_and_says_whether_others_can_come_in(text: str, where: Where, *, local: bool) -> None:
    assert parse_listen(text) == where
    assert (where.name, where.is_local) == (text, local)


@pytest.mark.parametrize(
    "text",
    ["", "6380", ":6380", "h", "h:", "h:x", "h:65536", "::1:6380", "unix://s", "unix:///a b", "unix:///" + "x" * 108],
)
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(AddressError):
        parse_listen(text)


def test_the_longest_path_that_a_socket_may_have_is_taken() -> None:
    assert parse_listen("unix:///" + "x" * 106).path == "/" + "x" * 106


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("redis://h:7000/2", Address("h", 7000, db=2)),
        ("unix:///s", Address(path="/s")),
        ("sentinel://h/m", Sentinels((("h", 26379),), "m")),
        (
            "sentinel://u@a:1,b,[::1]:3/my-master/4",
            Sentinels((("a", 1), ("b", 26379), ("::1", 3)), "my-master", "u", 4),
        ),
        ("sentinels://a:1/m", Sentinels((("a", 1),), "m", tls=True)),
    ],
)
def test_a_server_is_named_by_itself_or_by_its_sentinels(text: str, found: Address | Sentinels) -> None:
    assert parse_upstream(text) == found
    again = parse_upstream(found.target)
    assert again.target == found.target


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sentinel://",
        "sentinel://h",
        "sentinel://h/",
        "sentinel:///m",
        "sentinel://h:0/m",
        "sentinel://h:99999/m",
        "sentinel://h,/m",
        "sentinel://h/m/x",
        "sentinel://u:secret@h/m",
        "redis://u:secret@h",
    ],
)
def test_what_names_no_server_or_holds_a_password_is_refused(text: str) -> None:
    with pytest.raises(AddressError) as caught:
        parse_upstream(text)
    assert "secret" not in str(caught.value)


def test_each_node_of_a_cluster_has_a_place_of_its_own() -> None:
    text = "127.0.0.2:7000=redis://127.0.0.1:7000 \n unix:///n=rediss://b:1"
    assert parse_nodes(text) == (
        (Where("127.0.0.2", 7000), Address("127.0.0.1", 7000)),
        (Where(path="/n"), Address("b", 1, tls=True)),
    )
    assert parse_nodes("  ") == ()
    for wrong in ("h:1", "h:1=", "h:1=x", "h:1=redis://a h:1=redis://b", "=redis://a"):
        with pytest.raises(AddressError):
            parse_nodes(wrong)
