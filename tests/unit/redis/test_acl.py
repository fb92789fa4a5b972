"""Lines of ACL LIST become users without passwords, and rules add up as on a server."""

import pytest

from go_cache_safeguard.redis.acl import Grant, Known, User, held, read_commands, read_user

HASH = "#30c952fab122c3f9759f02a6d95c3758b246b4fee239957b2d4fee46e26170c4"
COMMANDS = {
    name: Known(name, 1, frozenset(categories.split()), container=name == "config")
    for name, categories in (
        ("get", "read fast"),
        ("del", "write slow"),
        ("config", "slow"),
        ("config|get", "admin"),
        ("config|set", "admin dangerous"),
        ("evalsha", "scripting slow"),
    )
}


def test_a_user_is_read_with_selectors_and_without_its_password() -> None:
    user = read_user(
        f"user app on sanitize-payload {HASH} ~a:* %R~b resetchannels &news -@all +get (%R~r* -@all +get)".encode()
    )
    assert user == User(
        "app",
        on=True,
        nopass=False,
        root=Grant(("~a:*", "%R~b"), ("-@all", "+get"), ("resetchannels", "&news")),
        selectors=(Grant(("%R~r*",), ("-@all", "+get")),),
    )
    assert user.back == ("clearselectors", "resetkeys", "~a:*", "%R~b", "-@all", "+get", "(%R~r* -@all +get)")
    assert HASH not in user.text


def test_older_words_are_understood() -> None:
    user = read_user(b"user default off nopass allkeys allchannels allcommands")
    assert (user.on, user.nopass, user.root.keys, user.root.commands) == (False, True, ("~*",), ("allcommands",))
    assert user.back == ("resetkeys", "~*", "-@all", "allcommands")


def test_bytes_of_names_and_patterns_stay_what_they_are() -> None:
    user = read_user(b"user \xff\xc3 on ~\xe9* -@all")
    assert (user.name.encode("latin-1"), user.root.keys[0].encode("latin-1")) == (b"\xff\xc3", b"~\xe9*")


def test_what_is_no_line_is_refused() -> None:
    with pytest.raises(ValueError, match="no line of ACL LIST"):
        read_user(b"nobody app on")


def test_the_order_of_single_commands_does_not_make_another_user() -> None:
    one = read_user(b"user a on ~* +@read -get +set")
    other = read_user(b"user a on ~* +@read +set -get")
    assert one.text == other.text
    assert one.text != read_user(b"user a on ~* -get +set +@read").text


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("-@all", ""),
        ("+@all", "get del config config|get config|set evalsha"),
        ("allcommands -del", "get config config|get config|set evalsha"),
        ("-@all +config", "config config|get config|set"),
        ("+config -config|set", "config config|get"),
        ("+config|get", "config|get"),
        ("+@slow", "del config config|get config|set evalsha"),  # a container takes its subcommands with it
        ("+@all -@dangerous", "get del config config|get evalsha"),
        ("+evalsha|abc", "evalsha|abc"),
        ("+evalsha|abc +evalsha", "evalsha"),
        ("+evalsha|abc -evalsha", ""),
        ("+@all nocommands +GET", "get"),
    ],
)
def test_rules_add_up(words: str, names: str) -> None:
    assert held(words.split(), COMMANDS) == frozenset(names.split())


def test_the_reply_to_command_is_read_with_and_without_subcommands() -> None:
    sub = [b"config|get", -3, [], 0, 0, 0, [b"@admin"], [], [], []]
    new = [b"config", -2, [], 0, 0, 0, [b"@slow"], [], [], [sub]]
    old = [b"GET", 2, [], 1, 1, 1, [b"@read"]]
    assert read_commands([new, old, [b"ancient", 1, [], 0, 0, 0]]) == {
        "config": Known("config", -2, frozenset({"slow"}), container=True),
        "config|get": Known("config|get", -3, frozenset({"admin"})),
        "get": Known("get", 2, frozenset({"read"})),
        "ancient": Known("ancient", 1, frozenset()),
    }
