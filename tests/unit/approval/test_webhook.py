"""Messages to a hook: what is in them, how they are signed, and where they may go."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from go_cache_safeguard.approval.eyes import Allowed, Denied
from go_cache_safeguard.approval.outbox import Event
from go_cache_safeguard.approval.webhook import (
    BODY_BYTES,
    Secret,
    Target,
    deciders,
    headers,
    judge_address,
    message_of,
    parse_secret,
    parse_target,
    sign,
    verify,
)
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.operation import Operation

TEXT = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OP = "op_0000000000000001"
NOW = 1_614_265_330


def known() -> Secret:
    secret = parse_secret(TEXT)
    assert secret is not None
    return secret


def held(**data: object) -> Operation:
    plan = {"kind": "go-build", "target": "/cache", "digest": "ab" * 32, "items": 3, "bytes": 70, "whole": 90}
    more = {"reasons": ["too much"], "expires_s": 99, **data}
    return Operation(
        OP, State.HELD, "uid:1000(alice)", "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z", {**plan, **more}
    )


def target(url: str, *allow: str) -> Target:
    found = parse_target(url, allow)
    assert isinstance(found, Target)
    return found


def test_the_signature_is_that_of_the_published_example() -> None:
    body = b'{"test": 2432232314}'
    signature = sign(known(), "msg_p5jXN8AQM9LWM0D4loKWxJek", NOW, body)
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_receiver_believes_what_is_whole_and_new_and_nothing_else() -> None:
    message = message_of(held(), execute="")
    sent = headers(known(), message, now_s=NOW)
    assert verify(known(), sent, message.body, now_s=NOW + 300) == Allowed()
    rotated = {**sent, "webhook-signature": "v1,AAAA v2,x " + sent["webhook-signature"]}
    assert verify(known(), rotated, message.body, now_s=NOW) == Allowed()
    for wrong in (
        {**sent, "webhook-id": "op_0000000000000002_held"},
        {**sent, "webhook-timestamp": str(NOW + 1)},
        {**sent, "webhook-timestamp": "٣"},
        {**sent, "webhook-signature": "v1,\udcff"},
        {},
    ):
        assert isinstance(verify(known(), wrong, message.body, now_s=NOW), Denied)
    assert isinstance(verify(known(), sent, message.body + b" ", now_s=NOW), Denied)
    assert isinstance(verify(known(), sent, message.body, now_s=NOW + 301), Denied)
    assert isinstance(verify(Secret(b"x" * 24), sent, message.body, now_s=NOW), Denied)


def test_a_message_is_named_by_operation_and_state_and_is_the_same_each_time() -> None:
    assert message_of(held(), execute="") == message_of(held(), execute="")
    assert message_of(held(), execute="").id == f"{OP}_held"


def test_a_message_says_what_a_person_needs_and_no_word_of_the_command() -> None:
    call = {"call": "c" * 64, "command": "SET", "words": ["SET", "k", "hunter2"], "client": "10.0.0.9", "user": "app"}
    message = message_of(held(selectors=["SET k hunter2"], **{"token": "gcs1_x", **call}), execute="go on")
    assert b"hunter2" not in message.body
    assert b"gcs1_" not in message.body
    value = json.loads(message.body)
    assert (value["schema"], value["type"]) == ("go-cache-safeguard/hook/1", "operation.held")
    data = value["data"]
    assert (data["op"], data["items"], data["bytes"], data["reasons"]) == (OP, 3, 70, ["too much"])
    assert data["asked"] == {"command": "SET", "client": "10.0.0.9", "user": "app"}
    assert data["approve"] == f"go-cache-safeguard ops approve {OP}"


@given(st.lists(st.text(), max_size=50), st.text())
def test_a_message_never_outgrows_its_limit(reasons: list[str], name: str) -> None:
    message = message_of(
        held(reasons=reasons, target=name * 100, kind=name * 100, call="1", user=name * 100), execute=""
    )
    assert len(message.body) <= BODY_BYTES
    message.body.decode("ascii")


@pytest.mark.parametrize("text", ["", "short", "whsec_", "whsec_AAAA", "whsec_!!!!", "x" * 65, "ä" * 30])
def test_what_is_no_secret_is_not_taken(text: str) -> None:
    assert parse_secret(text) is None


def test_a_secret_may_be_its_own_bytes_and_is_not_shown() -> None:
    secret = parse_secret("  correct horse battery staple\n")
    assert secret == Secret(b"correct horse battery staple")
    assert "horse" not in repr(secret)


@pytest.mark.parametrize(
    ("url", "allow"),
    [
        ("http://hooks.example/x", ()),
        ("ftp://hooks.example/x", ()),
        ("https://", ()),
        ("https://user@hooks.example/", ()),
        ("https://u:p@hooks.example/", ()),
        ("https://hooks.example/#x", ()),
        ("https://hooks.example/a b", ()),
        ("https://hooks.example/\r\nX: y", ()),
        ("https://hooks.example:0/", ()),
        ("https://hooks.example:99999/", ()),
        ("https://other.example/", ("hooks.example",)),
        ("https://hooks.example.evil/", ("hooks.example",)),
        ("https://hooks.example:444/", ("hooks.example:443",)),
        ("https://[fe80::1%25eth0]/", ()),
    ],
)
def test_what_is_no_place_for_a_hook_is_refused(url: str, allow: tuple[str, ...]) -> None:
    assert isinstance(parse_target(url, allow), Denied)


def test_a_place_keeps_its_path_out_of_its_name() -> None:
    found = target("HTTPS://Hooks.Example:8443/T0/secret?x=1")
    assert (found.name, found.path, found.authority) == (
        "https://hooks.example:8443",
        "/T0/secret?x=1",
        "hooks.example:8443",
    )
    assert target("https://[2001:db8::1]").authority == "[2001:db8::1]"
    assert target("https://hooks.example:8443", "hooks.example:8443").listed


PUBLIC = target("https://hooks.example/")
LISTED = target("https://hooks.example/", "hooks.example")
PLAIN = target("http://hooks.example/", "hooks.example")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "::1",
        "fd00::1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2002:a00:1::",
    ],
)
def test_an_address_that_is_not_public_is_for_listed_hosts_only(address: str) -> None:
    assert isinstance(judge_address(PUBLIC, address), Denied)
    assert judge_address(LISTED, address) == Allowed()


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "fe80::1",
        "fe80::1%eth0",
        "0.0.0.0",  # noqa: S104 - nothing is bound
        "::",
        "224.0.0.1",
        "255.255.255.255",
        "::ffff:169.254.169.254",
        "x",
    ],
)
def test_some_addresses_are_for_no_hook_at_all(address: str) -> None:
    for place in (PUBLIC, LISTED, PLAIN):
        assert isinstance(judge_address(place, address), Denied)


def test_without_tls_only_the_loopback_is_spoken_to() -> None:
    assert judge_address(PLAIN, "127.0.0.1") == Allowed()
    assert isinstance(judge_address(PLAIN, "8.8.8.8"), Denied)
    assert judge_address(PUBLIC, "8.8.8.8") == Allowed()


def test_plain_http_may_go_inside_only_where_nothing_secret_is_sent() -> None:
    alerts = replace(target("http://alerts.internal:9093", "alerts.internal:9093"), inside=True)
    assert judge_address(alerts, "10.0.0.9") == Allowed()
    assert judge_address(alerts, "127.0.0.1") == Allowed()
    for address in ("8.8.8.8", "169.254.169.254", "224.0.0.1"):
        assert isinstance(judge_address(alerts, address), Denied)
    assert isinstance(judge_address(replace(alerts, inside=False), "10.0.0.9"), Denied)


@pytest.mark.parametrize("event", list(Event))
def test_a_message_says_what_happened_and_commands_only_where_they_help(event: Event) -> None:
    data = {"approver": "uid:2(b)", "rejected_by": "uid:2(b)", "why": "no", "reason": "fire"}
    message = message_of(held(**data), event=event, execute="x", page="https://s.example/op/x")
    value = json.loads(message.body)
    assert message.id == f"{OP}_{event}"
    assert value["type"] == f"operation.{event}"
    assert bool(value["data"]["approve"]) == (event is Event.HELD)
    assert bool(value["data"]["execute"]) == (event in {Event.HELD, Event.APPROVED, Event.EMERGENCY})
    assert value["data"]["why"] == ("fire" if event is Event.EMERGENCY else "no")
    assert value["data"]["page"] == "https://s.example/op/x"


def test_who_decided_is_read_from_every_way_to_decide() -> None:
    def decided(state: State, *way: State, **data: object) -> Operation:
        return Operation(OP, state, "uid:1(a)", "", "", data, (*way, state))

    assert deciders(held()) == ()
    assert deciders(decided(State.APPROVED, approver="uid:2(b)")) == ("uid:2(b)",)
    assert deciders(decided(State.APPROVED, approver="b", approvers=["a", "b"])) == ("a", "b")
    assert deciders(decided(State.DONE, State.APPROVED, approver="b")) == ("b",)
    assert deciders(decided(State.REJECTED, rejected_by="c")) == ("c",)
    assert deciders(decided(State.CANCELLED, State.APPROVED, approver="b", cancelled_by="a")) == ("a",)
    assert deciders(decided(State.EXPIRED)) == ()
