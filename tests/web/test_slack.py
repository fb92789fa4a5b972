"""Clicks in Slack: believed only if Slack signed them lately and once, and worth what the person who clicked may do."""

import json
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from apisites import DIGEST, ApiSite, Calls, api_site, inside
from go_cache_safeguard.approval import chat
from go_cache_safeguard.approval.voter import Role
from go_cache_safeguard.approval.webhook import Secret
from go_cache_safeguard.core.operation import Operation
from guardproxy import wait_until
from slackservers import SIGNING, FakeSlack, slack

WHERE = "/slack/actions"


class Clicking:
    """A site with a Slack, and people who click."""

    def __init__(self, site: ApiSite, fake: FakeSlack, calls: Calls) -> None:
        self.site, self.fake, self.calls = site, fake, calls
        self.clicks = count()

    def send(
        self, payload: dict[str, Any], *, at_s: int | None = None, key: str = SIGNING, **headers: str
    ) -> httpx.Response:
        """As Slack sends it."""
        body = urlencode({"payload": json.dumps(payload)}).encode()
        stamp = int(time.time()) if at_s is None else at_s
        given = {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Slack-Request-Timestamp": str(stamp),
            "X-Slack-Signature": chat.sign(Secret(key.encode()), stamp, body),
            **{name.replace("_", "-"): text for name, text in headers.items()},
        }
        return self.calls("POST", WHERE, content=body, headers=given)

    def click(self, act: str, op: str, user: str = "UALICE", **more: Any) -> httpx.Response:
        return self.send(self.button(act, op, user), **more)

    def button(self, act: str, op: str, user: str = "UALICE") -> dict[str, Any]:
        return {
            "type": "block_actions",
            "user": {"id": user, "team_id": "T1"},
            "actions": [{"type": "button", "action_id": act, "value": op}],
            "trigger_id": f"1.2.{next(self.clicks)}",
            "response_url": f"{self.fake.base}/actions/T1/1/x",
        }

    def typed(self, op: str, digits: str, user: str = "UALICE") -> httpx.Response:
        view = {
            "callback_id": "approve",
            "private_metadata": op,
            "state": {"values": {"digest": {"typed": {"type": "plain_text_input", "value": digits}}}},
        }
        return self.send({"type": "view_submission", "user": {"id": user, "team_id": "T1"}, "view": view})

    def answer(self) -> str:
        """What the person who clicked was told."""
        wait_until("an answer", lambda: self.fake.replies, 30)
        return str(self.fake.replies.pop()["text"])

    def held(self, **more: Any) -> Operation:
        return self.site.held(**more)

    def state(self, op: str) -> str:
        return str(self.site.desks[""].operation(op).state)


def clicking(folder: Path, buttons: str) -> Iterator[Clicking]:
    with slack() as fake, api_site(folder, fake.settings(folder, approval__slack_buttons=buttons)) as site:
        site.person("alice", Role.APPROVER, links=("none", "slack:T1/UALICE"))
        site.person("arno", Role.APPROVER, links=("uid:1000", "slack:T1/UARNO"))
        site.person("rita", Role.REQUESTER, links=("none", "slack:T1/URITA"))
        site.person("gone", Role.APPROVER, links=("none", "slack:T1/UGONE"))
        site.people.change("", "gone", active=False)
        with inside(site) as calls:
            yield Clicking(site, fake, calls)


@pytest.fixture(scope="module")
def all_buttons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clicking]:
    yield from clicking(tmp_path_factory.mktemp("slack"), "decide")


@pytest.fixture
def it(all_buttons: Clicking) -> Clicking:
    all_buttons.fake.replies.clear()
    all_buttons.fake.views.clear()
    return all_buttons


def test_who_is_linked_and_may_approve_types_digits_in_a_question_and_approves(it: Clicking) -> None:
    op = it.held().id
    asked = it.click("ask", op)
    assert (asked.status_code, asked.content) == (200, b"")
    wait_until("the question", lambda: it.fake.views)
    assert it.fake.views[0]["view"]["private_metadata"] == op
    wrong = it.typed(op, "00000000")
    assert wrong.json()["response_action"] == "errors"
    assert it.state(op) == "HELD"
    right = it.typed(op, DIGEST[:8])
    assert right.json()["response_action"] == "update"
    assert it.state(op) == "APPROVED"
    assert it.site.desks[""].operation(op).data["channel"] == "slack"
    assert it.site.desks[""].ballot(op).approvers == ("user:alice",)


def test_a_click_on_reject_rejects(it: Clicking) -> None:
    op = it.held().id
    assert it.click("reject", op).status_code == 200
    assert it.state(op) == "REJECTED"
    assert it.answer() == f"{op} is REJECTED."


def test_who_asked_cannot_approve_in_slack_either(it: Clicking) -> None:
    op = it.held(requester="uid:1000(arno)").id
    answer = it.typed(op, DIGEST[:8], "UARNO").json()
    assert answer["response_action"] == "errors"
    assert it.state(op) == "HELD"


@pytest.mark.parametrize(
    ("user", "why"), [("USTRANGER", "nobody here is known"), ("UGONE", "nobody here"), ("URITA", "may not do this")]
)
def test_strangers_people_who_left_and_those_without_the_role_decide_nothing(it: Clicking, user: str, why: str) -> None:
    op = it.held().id
    assert why in str(it.typed(op, DIGEST[:8], user).json()["errors"])
    assert it.click("reject", op, user).status_code == 200
    assert why in it.answer()
    assert it.click("ask", op, user).status_code == 200
    assert why in it.answer()
    assert it.fake.views == []
    assert it.state(op) == "HELD"


def test_the_same_click_counts_once(it: Clicking) -> None:
    op, now = it.held().id, int(time.time())
    click = it.button("look", op)
    assert it.send(click, at_s=now).status_code == 200
    assert it.send(click, at_s=now).status_code == 409
    assert it.send(click, at_s=now - 1).status_code == 200  # another signature


@pytest.mark.parametrize(
    "more",
    [
        {"key": "x" * 32},
        {"at_s": 1_600_000_000},
        {"at_s": 4_000_000_000},
        {"X_Slack_Signature": "v0=" + "0" * 64},
        {"X_Slack_Signature": ""},
        {"X_Slack_Request_Timestamp": "now"},
    ],
)
def test_what_slack_did_not_sign_lately_is_not_believed(it: Clicking, more: dict[str, Any]) -> None:
    op = it.held().id
    assert it.click("reject", op, **more).status_code == 401
    assert it.state(op) == "HELD"


def test_a_cookie_or_a_token_is_worth_nothing_here(it: Clicking) -> None:
    op = it.held().id
    secret, _ = it.site.session("alice")
    token = it.site.token("alice")
    for headers in (it.site.cookie(secret), {"Authorization": f"Bearer {token}"}):
        assert it.click("reject", op, key="x" * 32, **headers).status_code == 401
        assert it.click("reject", op, "USTRANGER", **headers).status_code == 200
        assert "nobody here" in it.answer()
    assert it.state(op) == "HELD"


def test_what_is_no_click_changes_nothing(it: Clicking) -> None:
    assert it.send({"type": "shortcut", "user": {"id": "UALICE", "team_id": "T1"}}).status_code == 400
    assert it.calls("GET", WHERE).status_code == 405
    assert it.calls("POST", WHERE, content=b"x" * 70_000).status_code == 413


def test_what_is_over_or_unknown_is_said_and_stays(it: Clicking) -> None:
    op = it.held().id
    it.click("reject", op)
    it.answer()
    it.click("ask", op)
    assert "REJECTED, not HELD" in it.answer()
    assert "errors" in it.typed(op, DIGEST[:8]).json()
    it.click("reject", "op_0000000000000001")
    assert "no operation" in it.answer()
    assert it.state(op) == "REJECTED"


def test_a_question_that_slack_does_not_take_is_told_to_who_clicked(it: Clicking) -> None:
    op = it.held().id
    button = it.button("ask", op)
    it.send({**button, "trigger_id": ""})
    assert "invalid_arguments" in it.answer()


def test_no_secret_is_in_an_answer_or_in_the_journal(it: Clicking) -> None:
    op = it.held().id
    answers = [it.click("reject", op, key="x" * 32).text, it.typed(op, "00000000").text]
    stored = b"".join(path.read_bytes() for path in (it.site.folder / "own").rglob("*") if path.is_file())
    for secret in (SIGNING, "xoxb-1"):
        assert secret not in str(answers)
        assert secret.encode() not in stored


def test_where_buttons_are_off_clicks_decide_nothing(tmp_path: Path) -> None:
    for it in clicking(tmp_path, "none"):
        op = it.held().id
        assert it.click("reject", op).status_code == 200
        assert "not decided in Slack" in it.answer()
        assert "not decided in Slack" in str(it.typed(op, DIGEST[:8]).json())
        assert it.state(op) == "HELD"


def test_without_a_signing_secret_there_is_nothing_here(tmp_path: Path) -> None:
    with api_site(tmp_path) as site, inside(site) as calls:
        assert calls("POST", WHERE, content=b"payload=x").status_code == 404
