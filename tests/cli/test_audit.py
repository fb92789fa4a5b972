"""`audit` as a person types it: what it says, where it says it, and what it exits with."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from auditing import Hand, session_at, write_notes, write_operation
from go_cache_safeguard.core.errors import ExitCode
from go_cache_safeguard.flows.session import Session
from safeguard import COMMAND

ROOT = Path(__file__).parents[2]


@pytest.fixture
def session(tmp_path: Path) -> Session:
    session = session_at(tmp_path)
    write_operation(session, 1)
    return session


def run(session: Session, *arguments: str, typed: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*COMMAND, "audit", *arguments],
        env={**session.environ, "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src")},
        input=typed,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def document(session: Session, *arguments: str, code: ExitCode = ExitCode.DONE) -> dict[str, Any]:
    done = run(session, *arguments, "--json")
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_verify_tells_what_is_whole_and_who_signed_it(session: Session) -> None:
    found = document(session, "verify")
    assert (found["schema"], found["records"], found["signed"], found["whole"]) == (
        "go-cache-safeguard/audit/1",
        7,
        7,
        True,
    )
    assert (found["breaks"], found["doubts"], found["witnesses"]) == ([], [], [])
    text = run(session, "verify").stdout
    assert "7 records, 0 breaks: the journal is whole" in text
    assert f"signed by {found['key']}" in text
    assert "nobody but this directory knows" in text


def test_verify_exits_with_what_was_done_to_the_journal(session: Session, tmp_path: Path) -> None:
    Hand(session).sql("DELETE FROM record WHERE seq > 5")
    found = document(session, "verify", code=ExitCode.JOURNAL_SHORTER)
    assert [(it["seq"], it["kind"]) for it in found["breaks"]] == [(6, "truncated")]
    assert "record 6: truncated: " in run(session, "verify").stdout
    assert not (tmp_path / "x").exists()


def test_a_key_of_somebody_else_is_noticed(session: Session) -> None:
    key = document(session, "key", "show")["keys"][0]["key"]
    assert run(session, "key", "show").stdout.strip() == key
    assert document(session, "verify", "--key", key)["breaks"] == []
    stranger = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    assert document(session, "verify", "--key", stranger, code=ExitCode.JOURNAL_SIGNATURE)["breaks"]
    assert run(session, "verify", "--key", "x").returncode == ExitCode.USAGE


def test_a_checkpoint_is_printed_as_the_note_that_it_is(session: Session, tmp_path: Path) -> None:
    write_notes(session, 2)
    witness = f"audit.witnesses=file:{tmp_path}/kept.lines"
    text = run(session, "checkpoint", "--set", witness).stdout
    assert re.search(
        r"^go-cache-safeguard/[0-9a-f]{32}\n9\n\S{44}\n\n— go-cache-safeguard/\S+ \S+$", text, re.MULTILINE
    )
    assert f"witness file:{tmp_path}/kept.lines knows" in text
    assert document(session, "checkpoint")["new"] is False
    assert document(session, "verify", "--set", witness)["witnesses"] == [{"name": witness[16:], "records": 9}]
    assert document(session, "verify", "--seen", f"{tmp_path}/kept.lines")["doubts"] == []
    away = f"audit.witnesses=file:{tmp_path}/none/kept.lines"
    assert "is told with the next checkpoint" in run(session, "checkpoint", "--set", away).stdout
    assert document(session, "checkpoint", "--set", away, code=ExitCode.COULD_NOT_TELL)["away"]
    assert document(session, "verify", "--set", away, code=ExitCode.COULD_NOT_TELL)["doubts"]


def test_a_key_is_rotated_and_lost(session: Session) -> None:
    before = document(session, "key", "show")["keys"]
    rotated = run(session, "key", "rotate").stdout.strip()
    assert [it["key"] for it in document(session, "key", "show")["keys"]] == [before[0]["key"], rotated]
    assert "BEGIN PUBLIC KEY" in run(session, "key", "show", "--pem").stdout
    Hand(session).seals.with_suffix(".key").unlink()
    refused = run(session, "key", "rotate")
    assert (refused.returncode, "is gone" in refused.stderr) == (ExitCode.JOURNAL_TAMPERED, True)
    new = document(session, "key", "rotate", "--lost")["key"]
    document(session, "verify", code=ExitCode.JOURNAL_SIGNATURE)
    document(session, "verify", "--key", new)


def test_no_private_key_is_ever_shown(session: Session) -> None:
    secret = Hand(session).seals.with_suffix(".key").read_text().strip().split("+", 4)[4]
    assert len(secret) > 40
    for arguments in (["key", "show"], ["verify"], ["checkpoint"], ["log", "--json"], ["export"], ["key", "rotate"]):
        done = run(session, *arguments)
        assert secret not in done.stdout + done.stderr


def test_a_bundle_is_exported_once(session: Session, tmp_path: Path) -> None:
    made = document(session, "export", "--bundle", f"{tmp_path}/bundle", "--prove", "3")
    assert (made["records"], made["signed"], made["proofs"]) == (7, 7, 1)
    again = run(session, "export", "--bundle", f"{tmp_path}/bundle")
    assert (again.returncode, "nothing was exported" in again.stderr) == (ExitCode.USAGE, True)
    assert run(session, "export", "--prove", "3").returncode == ExitCode.USAGE
    assert subprocess.run(["bash", tmp_path / "bundle" / "check.sh"], capture_output=True, check=False).returncode == 0


def test_a_lost_head_is_repaired_by_who_typed_what_was_shown(session: Session) -> None:
    head = Hand(session).head
    whole = json.loads(head.read_bytes())
    head.unlink()
    assert document(session, "verify", code=ExitCode.JOURNAL_TAMPERED)["breaks"][0]["kind"] == "head"
    refused = run(session, "repair", typed="nonsense\n")
    assert (refused.returncode, head.exists()) == (ExitCode.USAGE, False)
    assert f"its hash is {whole['hash']}" in refused.stdout
    assert run(session, "repair", "--yes", "f" * 8).returncode == ExitCode.USAGE
    done = run(session, "repair", typed=whole["hash"][:8] + "\n")
    assert (done.returncode, head.exists()) == (ExitCode.DONE, True), done.stderr
    assert document(session, "verify")["records"] == 8
    assert run(session, "repair").returncode == ExitCode.JOURNAL_TAMPERED


def test_a_journal_without_records_has_nothing_to_sign(tmp_path: Path) -> None:
    session = session_at(tmp_path)
    with session.journal():
        pass
    assert run(session, "checkpoint").returncode == ExitCode.USAGE
    assert run(session, "key", "show").returncode == ExitCode.USAGE
