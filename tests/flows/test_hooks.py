"""Hooks that answer, refuse, redirect, hang or are nobody's: what is held stays held, and people hear of it."""

import threading
import time
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from certificates import certificates
from go_cache_safeguard.approval import notify
from go_cache_safeguard.approval.eyes import Allowed
from go_cache_safeguard.approval.notify import NotSent, Sent, deliver
from go_cache_safeguard.approval.outbox import CLAIMED, FAILED, SENT
from go_cache_safeguard.approval.webhook import Message, Target, parse_secret, parse_target, verify
from go_cache_safeguard.config.layer import ConfigBad
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.flows.hooks import announcer_of, ask_elsewhere, hook_of, tell_decision
from go_cache_safeguard.flows.page_links import page_of, pages_at
from go_cache_safeguard.flows.progress import Silent
from go_cache_safeguard.flows.session import Session, new_operation_id, open_session
from hookservers import DRIP, HANG, SECRET, HookServer, hooked

MESSAGE = Message("op_0000000000000001_held", b'{"a":1}')
KEY = parse_secret(SECRET)


def target_of(url: str, *allow: str) -> Target:
    found = parse_target(url, allow)
    assert isinstance(found, Target)
    return found


def sent_to(hook: HookServer, timeout_s: float = 1) -> Sent | NotSent:
    assert KEY is not None
    place = target_of(hook.url, "127.0.0.1")
    return deliver(place, KEY, MESSAGE, timeout_s=timeout_s, pause=lambda _seconds: False)


def test_a_message_arrives_signed_and_whole() -> None:
    with hooked(200) as hook:
        assert sent_to(hook) == Sent(200, 1)
        (one,) = hook.received
    assert (one.path, one.body) == ("/hook?to=ops", MESSAGE.body)
    assert KEY is not None
    assert verify(KEY, one.headers, one.body, now_s=int(one.headers["webhook-timestamp"])) == Allowed()
    assert Webhook(SECRET).verify(one.body, one.headers) == {"a": 1}  # as any receiver would
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(one.body + b" ", one.headers)


def test_a_hook_that_fails_twice_gets_the_same_message_a_third_time() -> None:
    with hooked(500, 503, 200) as hook:
        assert sent_to(hook) == Sent(200, 3)
        assert {(one.headers["webhook-id"], one.body) for one in hook.received} == {(MESSAGE.id, MESSAGE.body)}


@pytest.mark.parametrize(
    ("answers", "tries", "why"),
    [
        ((500,), 3, "500"),
        ((404,), 1, "404"),
        ((307,), 1, "redirects"),
        ((HANG,), 3, "did not"),
        ((DRIP,), 3, "did not"),
    ],
)
def test_a_hook_that_does_not_take_it_is_given_up(answers: tuple[int, ...], tries: int, why: str) -> None:
    with hooked(*answers) as hook:
        answer = sent_to(hook, 0.3)
        assert isinstance(answer, NotSent)
        assert why in answer.why
        assert (answer.tries, len(hook.received)) == (tries, tries)
        assert {one.path for one in hook.received} == {"/hook?to=ops"}


def test_nobody_listens() -> None:
    with hooked() as hook:
        pass
    assert isinstance(sent_to(hook), NotSent)


def test_a_hook_with_tls_has_to_prove_who_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = certificates(tmp_path)
    with hooked(tls=made) as hook:
        unknown = sent_to(hook, 5)
        assert isinstance(unknown, NotSent)
        assert "prove" in unknown.why
        assert hook.received == []
        monkeypatch.setenv("SSL_CERT_FILE", str(made.ca))
        assert sent_to(hook, 5) == Sent(204, 1)


def test_an_address_that_is_forbidden_is_never_connected_to() -> None:
    assert KEY is not None
    with hooked() as hook:
        for url in (
            f"https://localhost:{hook.port}/",
            f"https://[::ffff:127.0.0.1]:{hook.port}/",
            "https://169.254.169.254/",
        ):
            answer = deliver(target_of(url), KEY, MESSAGE, timeout_s=1)
            assert isinstance(answer, NotSent)
            assert answer.tries == 0
        assert hook.received == []


def test_a_name_that_also_stands_for_a_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert KEY is not None
    monkeypatch.setattr(notify, "_addresses", lambda _target: ["8.8.8.8", "10.0.0.1"])
    answer = deliver(target_of("https://hooks.example/"), KEY, MESSAGE, timeout_s=1)
    assert isinstance(answer, NotSent)
    assert "10.0.0.1" in answer.why
    assert answer.tries == 0


def test_the_address_that_was_judged_is_the_one_that_is_spoken_to(monkeypatch: pytest.MonkeyPatch) -> None:
    assert KEY is not None
    with hooked() as hook:
        # Whoever asked for this name again would find nobody: it exists in no file and in no server.
        monkeypatch.setattr(notify, "_addresses", lambda _target: ["127.0.0.1"])
        place = target_of(f"http://rebound.invalid:{hook.port}/x", "rebound.invalid")
        assert deliver(place, KEY, MESSAGE, timeout_s=1) == Sent(204, 1)
        assert hook.received[0].headers["host"] == f"rebound.invalid:{hook.port}"


# In the journal


def session_of(folder: Path, settings: dict[str, str]) -> Session:
    return open_session({"state.dir": str(folder / "state"), "approval.self": "always", **settings}, progress=Silent())


def held(session: Session) -> str:
    op = new_operation_id()
    with session.journal() as journal:
        journal.advance(op, State.REQUESTED, {"kind": "go-build", "digest": "ab" * 32})
        journal.advance(op, State.CHECKED, {})
        journal.advance(op, State.HELD, {"reasons": ["too much"]})
    return op


def steps(session: Session, op: str) -> list[str]:
    with session.journal(read_only=True) as journal:
        return [record.step for record in journal.records(op=op)]


def test_what_became_of_a_message_is_in_the_journal_without_the_path_of_the_hook(tmp_path: Path) -> None:
    with hooked(204, 404) as hook:
        session = session_of(tmp_path, hook.settings(tmp_path))
        op = held(session)
        for _ in range(2):
            with session.journal() as journal:
                operation, trouble = ask_elsewhere(session, journal, op)
                assert (operation.state, bool(trouble)) == (State.HELD, len(hook.received) == 2)
    assert steps(session, op)[-4:] == [CLAIMED, SENT, CLAIMED, FAILED]
    with session.journal(read_only=True) as journal:
        told = [dict(record.data) for record in journal.records(op=op)][-4:]
    where = f"http://127.0.0.1:{hook.port}"
    about = {"channel": "hook", "hook": where, "message": f"{op}_held"}
    assert told[1] == {**about, "status": 204, "tries": 1}
    assert {key: told[3][key] for key in about} == about
    assert told[3]["next_s"] > time.time()
    assert "to=ops" not in str(told)


def test_an_announcer_never_waits_and_loses_nothing_when_the_hook_hangs(tmp_path: Path) -> None:
    said: list[str] = []
    with hooked(HANG, 204) as hook:
        session = session_of(tmp_path, hook.settings(tmp_path, approval__hook_timeout="20s"))
        announcer = announcer_of(session, said.append)
        assert announcer is not None
        ops = [held(session) for _ in range(3)]
        with session.journal(read_only=True) as journal:
            first, *others = (journal.operation(op) for op in ops)
        announcer.tell(first)
        hook.one()  # its message is on its way, and hangs
        for one in others:
            announcer.tell(one)
        hook.let_go.set()
        for _ in range(3):
            hook.one()
        announcer.close()
    assert {one.headers["webhook-id"] for one in hook.received} == {f"{op}_held" for op in ops}
    assert all(steps(session, op)[-1] == SENT for op in ops)
    assert said == []
    assert not any(thread.name == "hooks" for thread in threading.enumerate())


def test_an_announcer_that_ends_leaves_what_was_not_told_to_the_next_one(tmp_path: Path) -> None:
    with hooked(500, 500, 204) as hook:
        session = session_of(tmp_path, hook.settings(tmp_path))
        op = held(session)
        with session.journal(read_only=True) as journal:
            operation = journal.operation(op)
        announcer = announcer_of(session, lambda _: None)
        assert announcer is not None
        announcer.tell(operation)
        hook.one()
        announcer.close()
        assert steps(session, op)[-1] == FAILED
    assert announcer_of(session_of(tmp_path, {}), print) is None


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("approval.hook_allow", ""),
        ("approval.hook_allow", "hooks.example"),
        ("approval.hook_secret_file", ""),
        ("approval.hook_secret_file", "/nonexistent/secret"),
        ("approval.hook", "https://user:word@hooks.example/"),
        ("approval.hook", "file:///etc/passwd"),
    ],
)
def test_a_hook_that_cannot_be_used_is_refused_before_anything(tmp_path: Path, setting: str, value: str) -> None:
    settings = HookServer(port=1).settings(tmp_path) | {setting: value}
    with pytest.raises(ConfigBad):
        hook_of(session_of(tmp_path, settings))


def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    settings = HookServer(port=1).settings(tmp_path)
    (tmp_path / "hook-secret").chmod(0o640)
    with pytest.raises(ConfigBad, match="can be read by others"):
        hook_of(session_of(tmp_path, settings))


def test_by_default_and_by_name_the_terminal_is_asked(tmp_path: Path) -> None:
    assert hook_of(session_of(tmp_path, {})) is None
    assert hook_of(session_of(tmp_path, {"approval.hook": "cli-interactive"})) is None


def test_whoever_decides_has_those_told_who_want_to_know(tmp_path: Path) -> None:
    with hooked() as hook:
        session = session_of(tmp_path, hook.settings(tmp_path, approval__tell="all"))
        op = held(session)
        tell_decision(session, op)  # that it is held was due as well
        with session.journal() as journal:
            journal.advance(op, State.REJECTED, {"rejected_by": "uid:1(a)"})
        tell_decision(session, op)
        tell_decision(session, op)
        assert [one.headers["webhook-id"] for one in hook.received] == [f"{op}_held", f"{op}_rejected"]
    broken = session_of(tmp_path, hook.settings(tmp_path, approval__hook="http://hooks.example/"))
    tell_decision(broken, op)  # nothing is raised


def test_no_path_of_a_hook_is_in_what_a_traceback_may_show(tmp_path: Path) -> None:
    hook = hook_of(session_of(tmp_path, HookServer(port=1).settings(tmp_path)))
    assert hook is not None
    assert "to=ops" not in repr(hook)
    assert SECRET not in repr(hook)
    assert "127.0.0.1:1" in repr(hook)


@pytest.mark.parametrize(
    ("settings", "tenant", "pages"),
    [
        ({}, "", ""),
        ({"approval.page": "https://p.example/"}, "", "https://p.example"),
        ({"serve.url": "https://s.example https://o.example=others"}, "", "https://s.example"),
        ({"serve.url": "https://s.example https://o.example=others"}, "others", "https://o.example"),
        (
            {"approval.page": "https://p.example", "serve.url": "https://o.example=others"},
            "others",
            "https://o.example",
        ),
        ({"approval.server": "https://a.example", "serve.url": "https://s.example"}, "", "https://a.example"),
    ],
)
def test_messages_link_to_the_pages_where_people_decide(
    tmp_path: Path, settings: dict[str, str], tenant: str, pages: str
) -> None:
    assert pages_at(session_of(tmp_path, settings).config, tenant) == pages
    assert page_of(pages, "op_1") == (f"{pages}/op/op_1" if pages else "")
