"""A channel of Slack as a witness: what it is sent, that a copy of it checks the journal, and what was done to a copy is found."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from auditing import Hand, audited, kinds, session_at, write_notes, write_operation
from flows.test_checkpoint import Listening, kept, make
from go_cache_safeguard.core.errors import ExitCode
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.witness_chat import witnesses_of
from go_cache_safeguard.flows.witnesses import lines_of
from slackservers import PATH, FakeSlack, shown, slack

_LINE = re.compile(r"^go-cache-safeguard checkpoint .*$", re.MULTILINE)


@pytest.fixture(scope="module")
def server() -> Iterator[FakeSlack]:
    with slack() as fake:
        yield fake


@pytest.fixture
def fake(server: FakeSlack) -> FakeSlack:
    server.limited, server.answer = 0, b"ok"
    server.messages.clear()
    server.refused.clear()
    return server


def told(base: Path, fake: FakeSlack, **more: str) -> Session:
    asked = {key.replace(".", "__"): text for key, text in fake.settings(base).items()}
    return session_at(base, **{**asked, "audit__witnesses": "slack", **more})


def copied(base: Path, fake: FakeSlack, text: str = "") -> Path:
    """The channel, as somebody copies it into a file."""
    path = base / "channel.txt"
    path.write_text(text or channel(fake), encoding="utf-8")
    return path


def channel(fake: FakeSlack) -> str:
    return "".join(f"go-cache-safeguard  APP  8:14 PM\n{shown(message)}\n\n:eyes: 1\n" for message in fake.messages)


def test_a_copy_of_the_channel_checks_the_journal(tmp_path: Path, fake: FakeSlack) -> None:
    session = told(tmp_path, fake)
    write_operation(session, 1)
    write_operation(session, 2)
    assert (len(fake.messages), fake.refused) == (2, [])
    assert _LINE.findall(channel(fake)) == [lines_of([seal]).decode().rstrip("\n") for seal in kept(session).seals]
    found = audited(session, seen=[copied(tmp_path, fake)])
    assert (found.code, found.breaks, found.doubts, found.notes) == (ExitCode.DONE, (), (), ())
    assert found.agree == ((f"{tmp_path}/channel.txt", 13),)


def test_what_the_channel_holds_nobody_can_tell_from_here(tmp_path: Path, fake: FakeSlack) -> None:
    session = told(tmp_path, fake)
    write_operation(session, 1)
    found = audited(session)
    assert (found.code, found.breaks) == (ExitCode.COULD_NOT_TELL, ())
    assert found.doubts == ("witness slack: cannot be read here",)


def test_the_newest_checkpoint_is_one_message_and_covers_those_that_were_not_told(
    tmp_path: Path, fake: FakeSlack
) -> None:
    session, listening = told(tmp_path, fake), Listening()
    fake.limited = 1
    write_operation(replace(session, progress=listening), 1)
    assert fake.limited == 0  # who limits is not asked again at once
    assert [said for said in listening.said if "429; it is told with the next checkpoint" in said] == listening.said
    assert (len(listening.said), fake.messages) == (1, [])
    write_operation(session, 2)
    (message,) = fake.messages
    assert "A journal of 13 records was signed" in shown(message)
    assert make(session)[1:] == (False, ())
    assert len(fake.messages) == 1  # nothing new, nothing said
    assert audited(session, seen=[copied(tmp_path, fake)]).code is ExitCode.DONE


def test_an_older_state_and_a_second_history_are_found_by_a_copy(tmp_path: Path, fake: FakeSlack) -> None:
    session = told(tmp_path, fake)
    write_operation(session, 1)
    Hand(session).keep(tmp_path / "older")
    write_operation(session, 2)
    copy = copied(tmp_path, fake)
    Hand(session).bring_back(tmp_path / "older")
    assert audited(session, seen=[copy]).code is ExitCode.JOURNAL_SHORTER
    write_operation(session_at(tmp_path), 3)
    found = audited(session, seen=[copy])
    assert (kinds(found), found.code) == ({"forked"}, ExitCode.JOURNAL_FORKED)


# ---- copies to which something was done


def three(base: Path, fake: FakeSlack) -> tuple[Session, list[str]]:
    session = told(base, fake)
    for number in (1, 2, 3):
        write_operation(session, number)
    return session, _LINE.findall(channel(fake))


def test_a_copy_without_the_end_is_found(tmp_path: Path, fake: FakeSlack) -> None:
    session, lines = three(tmp_path, fake)
    found = audited(session, seen=[copied(tmp_path, fake, "\n".join(lines[:2]))])
    assert (found.code, found.breaks) == (ExitCode.COULD_NOT_TELL, ())
    (doubt,) = found.doubts
    assert "witness slack was told of 19 records, and the files that were handed in know of 13" in doubt


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("cut", [-1, -20, 60, 31])
def test_a_line_that_was_cut_is_found_wherever_it_stands(tmp_path: Path, fake: FakeSlack, at: int, cut: int) -> None:
    session, lines = three(tmp_path, fake)
    lines[at] = lines[at][:cut]
    found = audited(session, seen=[copied(tmp_path, fake, "\n".join(lines))])
    assert (found.code, found.breaks) == (ExitCode.COULD_NOT_TELL, ())
    assert "were cut or changed and cannot be read: 1" in found.doubts[0]
    assert found.agree[0][1] == (13 if at == 2 else 19)  # the others count


def test_a_line_that_was_broken_in_two_or_has_other_quotes_is_found(tmp_path: Path, fake: FakeSlack) -> None:
    session, lines = three(tmp_path, fake)
    for wrong in (f"{lines[0][:100]}\n{lines[0][100:]}", lines[0].replace('"', "\u201d")):
        found = audited(session, seen=[copied(tmp_path, fake, "\n".join([wrong, *lines[1:]]))])
        assert (found.code, len(found.doubts)) == (ExitCode.COULD_NOT_TELL, 1)


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_line_that_was_edited_is_found_wherever_it_stands(tmp_path: Path, fake: FakeSlack, at: int) -> None:
    session, lines = three(tmp_path, fake)
    size = (7, 13, 19)[at]
    lines[at] = lines[at].replace(rf"\n{size}\n", rf"\n{size + 1}\n")
    found = audited(session, seen=[copied(tmp_path, fake, "\n".join(lines))])
    assert (kinds(found), found.code) == ({"signature"}, ExitCode.JOURNAL_SIGNATURE)


def test_signatures_that_changed_places_are_found(tmp_path: Path, fake: FakeSlack) -> None:
    session, lines = three(tmp_path, fake)
    texts, signatures = zip(*(line.split(r"\n\n") for line in lines[:2]), strict=True)
    wrong = [rf"{text}\n\n{signature}" for text, signature in zip(texts, reversed(signatures), strict=True)]
    found = audited(session, seen=[copied(tmp_path, fake, "\n".join([*wrong, lines[2]]))])
    assert (kinds(found), found.code) == ({"signature"}, ExitCode.JOURNAL_SIGNATURE)


def test_the_newest_may_stand_first_and_any_other_order_is_said(tmp_path: Path, fake: FakeSlack) -> None:
    session, (one, two, three_) = three(tmp_path, fake)
    other = f"{tmp_path}/channel.txt: checkpoints there do not stand in the order in which they were signed"
    for lines, notes in (((three_, two, one), ()), ((one, one, two, three_), ()), ((two, one, three_), (other,))):
        found = audited(session, seen=[copied(tmp_path, fake, "\n".join(lines))])
        assert (found.code, found.notes) == (ExitCode.DONE, notes)


def test_checkpoints_of_other_journals_in_the_channel_are_passed_over(tmp_path: Path, fake: FakeSlack) -> None:
    sessions = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        sessions.append(told(tmp_path / name, fake))
        write_operation(sessions[-1], 1)
    for session in sessions:
        assert audited(session, seen=[copied(tmp_path, fake)]).code is ExitCode.DONE


# ---- who cannot be told


def test_a_channel_that_is_gone_a_stranger_and_no_webhook_are_not_told(tmp_path: Path, fake: FakeSlack) -> None:
    session = told(tmp_path, fake)
    hook = Path(session.config.text("approval.slack_file"))
    right = hook.read_text()
    for text, answer, why in (
        (f"{fake.base}/services/a-wrong-secret", b"ok", "answered 404"),
        (right, b"<html>please log in</html>", "did not answer as Slack does"),
        ("http://10.0.0.1/a-wrong-secret", b"ok", "approval.slack_file cannot be used"),
        ("", b"ok", "approval.slack_file cannot be used"),
    ):
        hook.write_text(text)
        fake.answer = answer
        write_notes(session, 1)
        (away,) = make(session)[2]
        assert away.startswith("witness slack: ")
        assert why in away
    unset = told(tmp_path, fake, approval__slack_file="")
    write_notes(unset, 1)
    assert "witness slack: " in make(unset)[2][0]
    hook.write_text(right)
    fake.answer = b"ok"
    hook.chmod(0o644)
    write_notes(session, 1)
    assert "can be read by others" in make(session)[2][0]
    hook.chmod(0o600)
    assert make(session)[1:] == (False, ())  # nothing new to sign, and it is told all the same
    assert audited(session, seen=[copied(tmp_path, fake)]).code is ExitCode.DONE


def test_the_path_of_the_webhook_is_written_down_and_said_nowhere(tmp_path: Path, fake: FakeSlack) -> None:
    listening = Listening()
    session = replace(told(tmp_path, fake), progress=listening)
    write_operation(session, 1)
    hook = Path(session.config.text("approval.slack_file"))
    hook.write_text(f"{fake.base}/services/wrong-and-secret")
    write_operation(session, 2)
    hook.write_text("http://10.0.0.1/wrong-and-secret")
    write_operation(session, 3)
    assert len(listening.said) == 2
    stored = b"".join(path.read_bytes() for path in session.state_dir.rglob("*") if path.is_file())
    found = f"{stored.decode('latin-1')} {listening.said} {witnesses_of(session.config)!r} {audited(session)!r}"
    assert "secret" not in found.replace("secret_file", "")
    assert PATH not in found + json.dumps(fake.messages)
