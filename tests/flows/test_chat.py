"""Slack and Apprise: one message for many, no secret anywhere, and nobody who is limited is pressed."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from flows.test_outbox import delivered, held, later, steps
from go_cache_safeguard.approval.outbox import FAILED, SENT
from go_cache_safeguard.config.layer import ConfigBad
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.flows.hooks import announce, channels_of
from go_cache_safeguard.flows.progress import Silent
from go_cache_safeguard.flows.session import Session, open_session
from hookservers import HookServer, hooked
from slackservers import PATH, FakeSlack, slack

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # Apprise looks for it


def session_of(folder: Path, settings: dict[str, str]) -> Session:
    return open_session({"state.dir": str(folder / "state"), **settings}, progress=Silent())


def test_ten_holds_in_a_minute_are_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with slack() as fake:
        session = session_of(tmp_path, fake.settings(tmp_path))
        ops = held(session, 10)
        assert delivered(session) == Counter()
        later(monkeypatch, 61)
        assert delivered(session) == Counter(sent=10)
        assert delivered(session) == Counter()
        (message,) = fake.messages
        assert fake.refused == []
    assert "10 operations wait" in message["text"]
    assert all(op in json.dumps(message) for op in ops)
    assert all(steps(session, op)[-1] == SENT for op in ops)


def test_more_than_a_message_can_name_are_one_message_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with slack() as fake:
        session = session_of(tmp_path, fake.settings(tmp_path))
        held(session, 50)
        later(monkeypatch, 61)
        assert delivered(session) == Counter(sent=50)
        (message,) = fake.messages
    assert "and 30 more" in json.dumps(message)


def test_a_command_tells_at_once_what_it_holds_if_the_chat_was_quiet(tmp_path: Path) -> None:
    with slack() as fake:
        session = session_of(tmp_path, fake.settings(tmp_path))
        for op in held(session, 3):
            with session.journal() as journal:
                announce(session, journal, op, lambda _: None)
        assert len(fake.messages) == 1  # the others come together, by whoever delivers
        text = json.dumps(fake.messages[0])
        assert "https://safeguard.example/op/op_" in text
        assert '"action_id": "reject"' not in text


def test_a_chat_that_limits_is_left_alone_as_long_as_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with slack() as fake:
        fake.limited = 1
        session = session_of(tmp_path, fake.settings(tmp_path, approval__chat_group="0s"))
        (op,) = held(session)
        assert delivered(session) == Counter(failed=1)
        assert steps(session, op)[-1] == FAILED
        later(monkeypatch, 80)
        assert delivered(session) == Counter()
        later(monkeypatch, 91)
        assert delivered(session) == Counter(sent=1)
        assert len(fake.messages) == 1


def test_buttons_are_there_if_the_site_wants_them(tmp_path: Path) -> None:
    with slack() as fake:
        session = session_of(
            tmp_path, fake.settings(tmp_path, approval__slack_buttons="decide", approval__chat_group="0s")
        )
        held(session)
        delivered(session)
        assert fake.refused == []
        assert '"action_id": "ask"' in json.dumps(fake.messages[0])


def test_an_emergency_is_told_without_waiting_for_others(tmp_path: Path) -> None:
    with slack() as fake:
        session = session_of(tmp_path, fake.settings(tmp_path))
        (op,) = held(session)
        with session.journal() as journal:
            journal.advance(op, State.APPROVED, {"emergency": True, "reason": "fire", "approver": "uid:2(b)"})
        assert delivered(session) == Counter(sent=1)
        assert "emergency" in fake.messages[0]["text"]
        assert "fire" in json.dumps(fake.messages[0])


def everything(folder: Path, said: list[str]) -> str:
    """All that was written down and said."""
    stored = b"".join(path.read_bytes() for path in (folder / "state").rglob("*") if path.is_file())
    return stored.decode("latin-1") + str(said)


def test_the_path_of_a_slack_hook_is_written_down_nowhere(tmp_path: Path) -> None:
    said: list[str] = []
    with slack() as fake:
        settings = fake.settings(tmp_path, approval__chat_group="0s")
        session = session_of(tmp_path, settings)
        held(session)
        delivered(session, said)
        Path(settings["approval.slack_file"]).write_text(f"{fake.base}/services/wrong-and-secret")
        held(session)
        assert delivered(session, said) == Counter(failed=1)
        assert len(said) == 1
        channels = repr(channels_of(session))
    found = everything(tmp_path, said) + channels
    assert PATH not in found
    assert "secret" not in found


@pytest.mark.parametrize(
    ("url", "allow"),
    [
        ("http://127.0.0.1:1/x", ""),
        ("https://hooks.example/services/x", ""),
        ("https://hooks.slack.com.evil.example/x", ""),
        ("http://hooks.slack.com/services/x", "hooks.slack.com"),
        ("https://169.254.169.254/x", "hooks.slack.com"),
        ("nonsense", "127.0.0.1"),
        ("", "127.0.0.1"),
    ],
)
def test_only_slack_itself_or_what_the_site_allows_is_told(tmp_path: Path, url: str, allow: str) -> None:
    settings = FakeSlack(port=1).settings(tmp_path)
    Path(settings["approval.slack_file"]).write_text(url)
    with pytest.raises(ConfigBad) as caught:
        channels_of(session_of(tmp_path, settings | {"approval.hook_allow": allow}))
    assert not url or url not in str(caught.value)


def test_slacks_own_host_needs_no_permission_even_if_hooks_have_a_list(tmp_path: Path) -> None:
    settings = FakeSlack(port=1).settings(tmp_path) | {"approval.hook_allow": "hooks.example"}
    Path(settings["approval.slack_file"]).write_text("https://hooks.slack.com/services/T1/B1/x\n")
    (channel,) = channels_of(session_of(tmp_path, settings))
    assert channel.where == "https://hooks.slack.com:443"


# Apprise


def apprised(folder: Path, *urls: str, **more: str) -> dict[str, str]:
    path = folder / "apprise"
    path.touch(mode=0o600)
    path.write_text("\n".join(["# who is told", "", *urls]) + "\n")
    return {"approval.apprise_file": str(path), "approval.chat_group": "0s", **more}


def json_url(hook: HookServer) -> str:
    return f"json://name:the-password@127.0.0.1:{hook.port}/the-secret-path"


def test_apprise_tells_whom_its_urls_name_each_for_itself(tmp_path: Path) -> None:
    said: list[str] = []
    with hooked(500, 200) as away, hooked(200) as fine:
        session = session_of(tmp_path, apprised(tmp_path, json_url(away), json_url(fine)))
        (op,) = held(session)
        assert delivered(session, said) == Counter(sent=1, failed=1)
        body: dict[str, Any] = json.loads(fine.received[0].body)
        with session.journal(read_only=True) as journal:
            told = [(record.step, record.data["channel"]) for record in journal.records(op=op) if "hook" in record.data]
        channels = repr(channels_of(session))
    assert op in body["title"]
    assert "/cache" in body["message"]
    assert told == [(FAILED, "apprise-3"), (SENT, "apprise-4")]
    found = everything(tmp_path, said) + channels
    assert "the-password" not in found
    assert "the-secret-path" not in found


def test_many_are_one_message_of_apprise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with hooked(200) as hook:
        session = session_of(tmp_path, apprised(tmp_path, json_url(hook), **{"approval.chat_group": "1m"}))
        held(session, 30)
        later(monkeypatch, 61)
        assert delivered(session) == Counter(sent=30)
        (one,) = hook.received
    assert "30 operations" in json.loads(one.body)["title"]
    assert "and 10 more" in json.loads(one.body)["message"]


def test_a_url_that_nobody_knows_is_a_failure_and_shows_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    session = session_of(tmp_path, apprised(tmp_path, "unheardof://the-password@host"))
    held(session)
    assert delivered(session, said) == Counter(failed=1)
    out, err = capfd.readouterr()
    assert "the-password" not in everything(tmp_path, said) + out + err


@pytest.mark.parametrize("text", ["no url", "json"])
def test_a_line_that_is_no_url_is_refused_before_anything(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigBad, match="line 3"):
        channels_of(session_of(tmp_path, apprised(tmp_path, text)))


def test_files_of_secrets_that_others_can_read_are_refused(tmp_path: Path) -> None:
    settings = apprised(tmp_path, "json://127.0.0.1")
    Path(settings["approval.apprise_file"]).chmod(0o644)
    with pytest.raises(ConfigBad, match="can be read by others"):
        channels_of(session_of(tmp_path, settings))
