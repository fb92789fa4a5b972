"""Rules are made from the table of commands: what is not known is denied, and nobody gains anything."""

import pytest

from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.redis.acl import Grant, Known, User, held
from go_cache_safeguard.redis.commands import Class, Treatment
from go_cache_safeguard.redis.harden import (
    Change,
    Look,
    Side,
    Terms,
    aclfile,
    application,
    can_remove,
    denied_names,
    findings,
    guard,
    guard_names,
    half_open,
    inexpressible,
    no_lists,
    not_executed,
    serves_servers,
    side_of,
)
from go_cache_safeguard.redis.rules import Rules, parse_overrides, parse_patterns
from go_cache_safeguard.redis.tablefile import load_table

TABLE = load_table()
NEW = {row.name.lower().replace(" ", "|"): Known(row.name.lower(), row.arity, row.categories) for row in TABLE}
NEW |= {name.lower(): Known(name.lower(), -2, frozenset({"slow"}), container=True) for name in TABLE.containers}
NEW["frobnicate"] = Known("frobnicate", 1, frozenset({"read"}))
OLD = {name: Known(name, -2, known.categories) for name, known in NEW.items() if "|" not in name}
APP = User("app", root=Grant(("~*",), ("+@all",), ("&*",)))


GUARD = User("guard", root=Grant(("~*",), ("+@all",)))


def _terms(rules: Rules | None = None, *, strict: bool = False, retry: bool = False, old: bool = False) -> Terms:
    return Terms(rules or Rules(), TABLE, OLD if old else NEW, (6, 2) if old else (7, 0), strict, retry)


def _applied(user: User, terms: Terms) -> Change:
    change = application(user, terms)
    assert change is not None
    return change


@pytest.mark.parametrize(
    ("name", "side", "strict", "retry"),
    [
        ("get", Side.FREE, Side.FREE, Side.FREE),
        ("incr", Side.FREE, Side.FREE, Side.FREE),
        ("multi", Side.FREE, Side.FREE, Side.FREE),
        ("set", Side.GUARDED, Side.DENIED, Side.GUARDED),
        ("lpop", Side.GUARDED, Side.DENIED, Side.GUARDED),
        ("persist", Side.GUARDED, Side.GUARDED, Side.GUARDED),
        ("getset", Side.GUARDED, Side.GUARDED, Side.GUARDED),
        ("sdiffstore", Side.GUARDED, Side.DENIED, Side.GUARDED),
        ("del", Side.DENIED, Side.DENIED, Side.FREE),
        ("flushall", Side.DENIED, Side.DENIED, Side.FREE),
        ("config|set", Side.DENIED, Side.DENIED, Side.FREE),
        ("config|get", Side.DENIED, Side.DENIED, Side.DENIED),
        ("acl|log", Side.DENIED, Side.DENIED, Side.DENIED),
        ("eval", Side.DENIED, Side.DENIED, Side.FREE),
        ("monitor", Side.DENIED, Side.DENIED, Side.DENIED),
        ("frobnicate", Side.DENIED, Side.DENIED, Side.DENIED),
        ("select|0", Side.FREE, Side.FREE, Side.FREE),
        ("flushall|async", Side.DENIED, Side.DENIED, Side.FREE),
    ],
)
def test_each_command_is_free_guarded_or_denied(name: str, side: Side, strict: Side, retry: Side) -> None:
    assert side_of(name, _terms()) is side
    assert side_of(name, _terms(strict=True)) is strict
    assert side_of(name, _terms(retry=True)) is retry


def test_no_command_that_the_guard_would_hold_stays_with_an_application() -> None:
    rules, words = Rules(), _applied(APP, _terms()).words
    assert words[:3] == ("resetkeys", "~*", "-@all")
    kept = held(words[2:], NEW)
    for name in kept:
        row = TABLE.rows.get(name.upper().replace("|", " "))
        assert (name == "command") if row is None else rules.of_command(row) in {Treatment.PASS, Treatment.PROTECT}
    assert {"get", "set", "hset", "lpop", "command|docs", "cluster|slots", "client|setname"} <= kept


def test_strict_rules_leave_nothing_that_removes_a_key_in_any_form() -> None:
    kept = held(_applied(APP, _terms(strict=True)).words, NEW)
    left = {name for name in kept if (row := TABLE.rows.get(name.upper())) is not None and can_remove(row)}
    assert left == set()
    assert {"get", "incr", "hset", "setnx", "sadd"} <= kept
    assert half_open(_terms(strict=True)) == []
    assert "set" in half_open(_terms())


def test_the_site_may_say_otherwise_of_a_command() -> None:
    rules = Rules(overrides=parse_overrides("SET=pass CONFIG|GET=pass GET=hold KEYS=refuse"))
    kept = held(_applied(APP, _terms(rules, strict=True)).words, NEW)
    assert {"set", "config|get"} <= kept
    assert not {"get", "keys"} & kept


def test_nobody_gains_a_right() -> None:
    small = User("small", root=Grant(("~*",), ("-@all", "+get", "+del", "+client|id", "+evalsha|abc")))
    change = _applied(small, _terms())
    assert change.words == ("resetkeys", "~*", "-@all", "+client|id", "+get")
    assert change.lost == ("del", "evalsha|abc")
    assert application(User("reader", root=Grant(("~*",), ("-@all", "+@hash", "+get", "-hdel"))), _terms()) is None


def test_what_the_server_says_that_a_user_may_not_do_is_not_given() -> None:
    change = application(APP, _terms(), frozenset(NEW) - {"get"})
    assert change is not None
    assert "get" not in held(change.words, NEW)


def test_a_second_time_there_is_nothing_to_do() -> None:
    rules = Rules(protect=parse_patterns("session:* config"))
    for terms in (_terms(), _terms(rules), _terms(old=True)):
        words = _applied(APP, terms).words
        root = tuple(word for word in words if word[0] in "+-")
        keys = tuple(word for word in words if word[0] in "~%")
        selectors = tuple(_grant(word) for word in words if word.startswith("("))
        after = User("app", root=Grant(keys, root), selectors=selectors)
        assert application(after, terms) is None
        look = Look((after, GUARD), {}, "guard", frozenset({"guard"}), chosen=frozenset({"app"}))
        assert [one.check for one in findings(look, terms)] in ([], ["patterns"])


def _grant(word: str) -> Grant:
    words = word.strip("()").split(" ")
    keys, commands = (tuple(one for one in words if one[0] in signs) for signs in ("~%", "+-"))
    return Grant(keys, commands)


def test_protected_keys_are_read_only_for_what_may_lose_something() -> None:
    change = _applied(APP, _terms(Rules(protect=parse_patterns("ab*"))))
    assert change.words[0] == "clearselectors"
    selector = _grant(change.words[-1])
    assert selector.keys == ("~[^a]*", "~a", "~a[^b]*", "%R~*")
    assert "+set" in selector.commands
    assert "+set" not in change.words
    assert "+get" in change.words
    assert {"set", "lpop", "expire"} <= set(change.limited)


def test_allowed_patterns_and_namespaces_bound_what_may_lose_something() -> None:
    rules = Rules(allow=parse_patterns("page:* tmp:*"), namespaces=frozenset({b"page"}))
    assert _grant(_applied(APP, _terms(rules)).words[-1]).keys == ("~page:*", "%R~*")
    own = User("app", root=Grant(("~page:a*", "%W~q:w", "%R~r*", "~odd?*"), ("+@all",)))
    found = findings(
        Look((own, GUARD), {}, "guard", frozenset({"guard", "app"}), chosen=frozenset({"app"})), _terms(rules)
    )
    assert [(one.check, one.outcome, one.evidence) for one in found] == [
        ("own-patterns", Outcome.BLOCK, ("~odd?*",)),
    ]
    assert _grant(_applied(own, _terms(rules)).words[-1]).keys == ("~page:a*", "%R~r*", "~odd?*")


def test_what_cannot_be_written_as_rules_is_said() -> None:
    rules = Rules(protect=parse_patterns("a* h?llo re:x[0-9]"))
    assert [text.split(": ")[0] for text in inexpressible(_terms(rules))] == ["h?llo", "re:x[0-9]"]
    assert len(inexpressible(_terms(rules, old=True))) == 3
    assert "(" not in " ".join(_applied(APP, _terms(rules, old=True)).words)


def test_a_server_that_tells_of_no_subcommands_gets_those_that_the_table_has_for_its_version() -> None:
    change = _applied(APP, _terms(old=True))
    assert "+config" not in change.words
    assert {"+config|help", "+xgroup|create", "+client|setname", "+command"} <= set(change.words)
    assert not {"+config|set", "+client|kill", "+client|no-evict", "+acl|setuser"} & set(change.words)
    assert "config|set" in change.lost
    assert "config|set" in denied_names(_terms(old=True))


def test_allow_listed_scripts_stay_by_their_digest() -> None:
    digest = "a" * 40
    change = _applied(APP, _terms(Rules(scripts=frozenset({digest}))))
    assert f"+evalsha|{digest}" in change.words
    assert "+eval" not in change.words
    assert "+evalsha" not in change.words


def test_the_guard_gets_what_it_executes_and_nothing_of_the_server() -> None:
    names = set(guard_names(_terms()))
    assert {"del", "unlink", "rename", "getdel", "lpop", "set", "restore", "dump", "multi", "migrate"} <= names
    assert not {"config|set", "flushall", "eval", "shutdown", "acl|setuser"} & names
    change = guard(User("guard", root=Grant(("~a",), ("-@all", "+get"))), _terms())
    assert change is not None
    assert change.words[0] == "~*"
    assert set(change.gained) == names
    assert guard(User("guard", root=Grant(("~*",), ("+@all",))), _terms()) is None
    assert guard(User("guard", root=Grant(("~*",), ("+@all",))), _terms(old=True)) is None
    refused = _terms(Rules(overrides={"MOVE": Treatment.REFUSE}))
    assert "move" not in guard_names(refused)


def test_what_only_the_client_could_do_again_is_named() -> None:
    names = not_executed(_terms())
    assert {"config|set", "eval", "shutdown"} <= set(names)
    assert not {"del", "flushall", "flushdb", "monitor"} & set(names)


def _look(*users: User, **settings: str | None) -> Look:
    return Look(users, {name.replace("_", "-"): text for name, text in settings.items()}, "guard", frozenset({"guard"}))


def test_open_doors_are_found_each_with_a_remedy() -> None:
    default = User("default", nopass=True, root=Grant(("~*",), ("+@all",)))
    off = User("old", on=False, nopass=True, root=Grant(("~*",), ("+@all",)))
    settings = {"protected_mode": "no", "enable_debug_command": "local", "enable_module_command": "yes", "aclfile": ""}
    found = findings(_look(default, off, requirepass="", **settings), _terms())
    assert [(one.check, one.outcome) for one in found] == [
        ("no-password", Outcome.BLOCK),
        ("all-commands", Outcome.BLOCK),
        ("guard-user", Outcome.BLOCK),
        ("protected-mode", Outcome.WARN),
        ("requirepass", Outcome.WARN),
        ("enable-debug-command", Outcome.WARN),
        ("enable-module-command", Outcome.WARN),
        ("aclfile", Outcome.WARN),
    ]
    assert all(one.remedy for one in found)


def test_a_closed_server_has_no_findings() -> None:
    users = (
        User("default", on=False, nopass=True),
        User("guard", root=Grant(("~*",), ("+@all",))),
        User("app", root=Grant(("~*",), ("-@all", "+get"))),
    )
    settings = {"protected_mode": "yes", "requirepass": "set", "enable_debug_command": "no", "aclfile": "/a"}
    assert findings(_look(*users, **settings), _terms()) == []


def test_what_cannot_be_read_is_unknown() -> None:
    found = findings(Look(None, {"aclfile": None}, "guard", frozenset()), _terms())
    assert [(one.check, one.outcome) for one in found] == [("users", Outcome.UNKNOWN), ("aclfile", Outcome.UNKNOWN)]


def test_users_of_replicas_are_known_and_a_user_that_replicas_need_is_not_changed() -> None:
    assert serves_servers(User("r", root=Grant((), ("-@all", "+psync", "+replconf", "+ping"))), _terms())
    assert not serves_servers(APP, _terms())
    users = (User("guard", root=Grant(("~*",), ("+@all",))),)
    look = Look(users, {}, "guard", frozenset({"guard"}), frozenset({"default", "other"}), frozenset({"default"}))
    assert [(one.check, one.outcome) for one in findings(look, _terms())] == [("replication", Outcome.BLOCK)]
    unread = Look(users, {}, "guard", frozenset({"guard"}), None)
    assert [(one.check, one.outcome) for one in findings(unread, _terms())] == [("replication", Outcome.UNKNOWN)]


def test_a_guard_without_rights_or_log_in_is_found() -> None:
    weak = findings(_look(User("guard", root=Grant(("~*",), ("-@all",)))), _terms())
    off = findings(_look(User("guard", on=False)), _terms())
    assert [(one.check, one.outcome) for one in (*weak, *off)] == [
        ("guard-user", Outcome.WARN),
        ("guard-user", Outcome.BLOCK),
    ]


def test_what_a_killed_proof_left_is_found() -> None:
    found = findings(_look(GUARD, User("go-cache-safeguard-try-0a", root=Grant(("~*",), ("+@all",)))), _terms())
    assert [(one.check, one.remedy) for one in found] == [("left-over", ("ACL DELUSER go-cache-safeguard-try-0a",))]


def test_a_server_without_lists_is_a_finding() -> None:
    assert no_lists("5.0.14").outcome is Outcome.BLOCK
    assert "5.0.14" in no_lists("5.0.14").summary


def test_lines_for_a_file_hold_whole_users() -> None:
    gains = guard(User("guard", root=Grant(("~*",), ("-@all", "+get"))), _terms())
    assert gains is not None
    lines = aclfile([_applied(APP, _terms()), gains]).splitlines()
    assert lines[0].startswith("user app on resetkeys ~* &* -@all +acl|cat ")
    assert lines[1].startswith("user guard on resetkeys ~* -@all +get +acl|log ")


def test_every_class_has_a_side() -> None:
    sides = {
        cls: {side_of(name, _terms()) for name in NEW if (row := _terms().row(name)) and row.cls is cls}
        for cls in Class
    }
    assert Side.FREE not in sides[Class.REMOVES] | sides[Class.FLUSHES] | sides[Class.SERVER] | sides[Class.SCRIPT]
    assert sides[Class.WRITE] == {Side.FREE}
