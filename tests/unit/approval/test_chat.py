"""What Slack is told, and which clicks are believed. The first signature is the one of Slack's own documentation."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from go_cache_safeguard.approval import chat
from go_cache_safeguard.approval.chat import Act, Buttons, Click, Told
from go_cache_safeguard.approval.eyes import Allowed, Denied
from go_cache_safeguard.approval.outbox import Event, Post
from go_cache_safeguard.approval.webhook import Secret
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.operation import Operation
from journals import NOON, op_of
from slackservers import problems, shown

OP = op_of(1)
SECRET = Secret(b"8f742231b10e8888abcd99yyyzzz85a5")
BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar"
    b"&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com"
    b"%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a1"
    b"4d10d2c447fce8b6703c"
)
STAMP = 1531420618
SIGNATURE = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"


def operation(**data: Any) -> Operation:
    about = {"kind": "go-build-cache", "target": "/cache", "items": 3, "bytes": 700, "digest": "ab" * 32}
    return Operation(OP, State.HELD, "uid:1000(a)", "", "", {**about, "reasons": ["too much"], **data}, (State.HELD,))


def told(number: int = 1, event: Event = Event.HELD, page: str = "https://s.example/op/x", **data: Any) -> Told:
    return Told(Post(op_of(number), event, NOON), operation(**data), page)


def sent(*some: Told, buttons: Buttons = Buttons.NONE) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(chat.message(some, buttons=buttons, inbox="https://s.example/"))
    assert problems(value) == []
    return value


def buttons_of(value: dict[str, Any]) -> list[str]:
    return [one["action_id"] for block in value["blocks"] if block["type"] == "actions" for one in block["elements"]]


def test_a_message_says_what_waits_and_where_to_decide() -> None:
    value = sent(told())
    text = json.dumps(value)
    for part in (OP, "/cache", "uid:1000(a)", "700", "too much", "https://s.example/op/x"):
        assert part in text
    assert buttons_of(value) == ["look"]


def test_buttons_are_there_only_if_the_site_wants_them_and_only_while_it_waits() -> None:
    assert buttons_of(sent(told(), buttons=Buttons.REJECT)) == ["look", "reject"]
    assert buttons_of(sent(told(), buttons=Buttons.DECIDE)) == ["look", "ask", "reject"]
    assert buttons_of(sent(told(event=Event.APPROVED), buttons=Buttons.DECIDE)) == ["look"]
    assert buttons_of(sent(told(page=""))) == []


def test_many_are_one_message_that_names_the_first_and_counts_the_others() -> None:
    value = sent(*(told(number) for number in range(1000)))
    text = json.dumps(value)
    assert "1000 operations wait" in text
    assert "and 980 more" in text
    assert len(text) < 16_000


@pytest.mark.parametrize("event", list(Event))
def test_every_event_makes_a_message_that_slack_takes(event: Event) -> None:
    sent(told(event=event, why="because", reason="fire", approver="uid:2(b)"))


@given(st.text(max_size=4000), st.text(max_size=400))
def test_whatever_stands_in_the_journal_slack_takes_it_and_it_mentions_nobody(target: str, reason: str) -> None:
    value = sent(told(target=target, reasons=[reason]), buttons=Buttons.DECIDE)
    for block in value["blocks"]:
        text = block.get("text", {}).get("text", "") if block["type"] == "section" else ""
        assert "<" not in text
    sent(told(1, target=target), told(2, target=target))


def test_a_name_cannot_bring_a_mention_or_a_link() -> None:
    text = json.dumps(sent(told(target="<!channel> <https://evil.example|safe>")))
    assert "<!channel>" not in text
    assert "<https://evil" not in text


def test_lines_come_out_of_a_code_block_as_they_went_in() -> None:
    line = 'go-cache-safeguard checkpoint "a\\n7\\n<!channel> &amp; *b* _c_ :smile: https://d.example @here"'
    value = json.loads(chat.verbatim('<1> & "one"', f"{line}\n{line}\n"))
    assert problems(value) == []
    assert shown(value) == f"<1> & \u201done\u201d\n{line}\n{line}"
    assert "<!channel>" not in json.dumps(value)


def test_the_question_asks_for_digits_and_does_not_say_them() -> None:
    value = json.loads(chat.question(Click(Act.ASK, OP, "slack:T1/U1", trigger="123"), operation()))
    assert value["trigger_id"] == "123"
    assert value["view"]["private_metadata"] == OP
    assert "abababab" not in json.dumps(value)
    assert problems(value["view"]) == []


def test_answers_to_what_was_typed_have_the_form_that_slack_wants() -> None:
    assert json.loads(chat.outcome("no", wrong=True)) == {"response_action": "errors", "errors": {"digest": "no"}}
    value = json.loads(chat.outcome("it is APPROVED", wrong=False))
    assert value["response_action"] == "update"
    assert problems(value["view"]) == []
    assert json.loads(chat.reply("<no>"))["text"] == "&lt;no&gt;"


# Signatures


def given_headers(stamp: int = STAMP, signature: str = SIGNATURE) -> dict[str, str]:
    return {"x-slack-request-timestamp": str(stamp), "x-slack-signature": signature}


def test_the_documented_signature_counts() -> None:
    assert chat.sign(SECRET, STAMP, BODY) == SIGNATURE
    assert chat.verify(SECRET, given_headers(), BODY, now_s=STAMP) == Allowed()


@pytest.mark.parametrize(
    ("headers", "body", "now_s"),
    [
        (given_headers(), BODY + b"x", STAMP),
        (given_headers(STAMP + 1), BODY, STAMP),
        (given_headers(), BODY, STAMP + 301),
        (given_headers(), BODY, STAMP - 301),
        (given_headers(signature="v0="), BODY, STAMP),
        (given_headers(signature="v1" + SIGNATURE[2:]), BODY, STAMP),
        (given_headers(signature="é"), BODY, STAMP),
        ({"x-slack-signature": SIGNATURE}, BODY, STAMP),
        ({"x-slack-request-timestamp": "nan", "x-slack-signature": SIGNATURE}, BODY, STAMP),
        ({}, BODY, STAMP),
    ],
)
def test_nothing_else_does(headers: dict[str, str], body: bytes, now_s: int) -> None:
    assert isinstance(chat.verify(SECRET, headers, body, now_s=now_s), Denied)


# Clicks


def clicked(**value: Any) -> bytes:
    return urlencode({"payload": json.dumps({"user": {"id": "U1", "team_id": "T1"}, **value})}).encode()


def of_button(act: str, op: str = OP) -> bytes:
    action = {"type": "button", "action_id": act, "value": op}
    return clicked(type="block_actions", actions=[action], trigger_id="1.2", response_url="https://hooks.slack.com/x")


def test_clicks_and_typed_digits_are_read() -> None:
    assert chat.parse_click(of_button("reject")) == Click(
        Act.REJECT, OP, "slack:T1/U1", trigger="1.2", answer_at="https://hooks.slack.com/x"
    )
    assert chat.parse_click(of_button("look")) == Click(Act.LOOK, "", "slack:T1/U1")
    view = {
        "callback_id": "approve",
        "private_metadata": OP,
        "state": {"values": {"digest": {"typed": {"value": "abab"}}}},
    }
    assert chat.parse_click(clicked(type="view_submission", view=view)) == Click(
        Act.APPROVE, OP, "slack:T1/U1", typed="abab"
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"payload=",
        b"payload=%7B",
        b"payload=[]",
        b"payload=1",
        b"\xff\xfe",
        b"payload=" + b"[" * 5000,
        clicked(type="shortcut"),
        clicked(type="block_actions", actions=[]),
        of_button("approve now"),
        of_button("reject", "op_1"),
        of_button("reject", "../../x"),
        clicked(type="block_actions", user={"id": "U1/../U2", "team_id": "T1"}, actions=[]),
        clicked(type="view_submission", view={}),
    ],
)
def test_what_is_no_click_is_refused(body: bytes) -> None:
    assert isinstance(chat.parse_click(body), Denied)


@given(st.binary(max_size=200))
def test_nothing_that_comes_is_more_than_refused(body: bytes) -> None:
    assert isinstance(chat.parse_click(body), Denied)
