"""`ops watch` and `--detach`: who waits sees all that happens and how it ended; who does not is let go when people were told."""

import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from flows.test_outbox import held, session_of, steps
from go_cache_safeguard.approval.outbox import SENT
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.flows.progress import Silent
from go_cache_safeguard.flows.session import Session, open_session
from gocaches import GoCache
from guardproxy import wait_until
from hookservers import SECRET, HookServer, hooked
from safeguard import COMMAND, Safeguard, files_of

QUICK = ("--all", "--proof", "none", "--checks", "permissions")


def variables(settings: dict[str, str]) -> dict[str, str]:
    return {f"GO_CACHE_SAFEGUARD_{key.replace('.', '_').upper()}": text for key, text in settings.items()}


def watching(state: Path, *words: str, **settings: str) -> "subprocess.Popen[str]":
    given = variables({"state.dir": str(state), **{key.replace("__", "."): text for key, text in settings.items()}})
    return subprocess.Popen(
        [sys.executable, "-m", "go_cache_safeguard", "ops", "watch", *words],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src"), **given},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def quiet_session(folder: Path) -> Session:
    return open_session({"state.dir": str(folder / "state")}, progress=Silent())


def advance(session: Session, op: str, *states: State, **data: Any) -> None:
    with session.journal() as journal:
        for state in states:
            journal.advance(op, state, data)


def test_it_shows_each_step_as_it_comes_and_ends_when_the_operation_has(tmp_path: Path) -> None:
    session = quiet_session(tmp_path)
    (op,) = held(session)
    with watching(session.state_dir, op, "--json") as child:
        assert child.stdout is not None
        first = [json.loads(child.stdout.readline()) for _ in range(3)]
        assert [one["state"] for one in first] == ["REQUESTED", "CHECKED", "HELD"]
        assert {one["schema"] for one in first} == {"go-cache-safeguard/watch/1"}
        advance(session, op, State.APPROVED, approver="uid:2(b)")
        assert json.loads(child.stdout.readline())["data"]["approver"] == "uid:2(b)"
        with session.journal() as journal:
            journal.note("progress", {"done": 1}, op=op)
        assert json.loads(child.stdout.readline())["step"] == "progress"
        assert child.poll() is None
        advance(session, op, State.REMOVING, State.PROVING, State.DONE)
        rest, err = child.communicate(timeout=30)
        assert [json.loads(line)["state"] for line in rest.splitlines()] == ["REMOVING", "PROVING", "DONE"]
        assert (child.returncode, err) == (0, "")


@pytest.mark.parametrize(
    ("way", "code"),
    [
        ((State.REJECTED,), 12),
        ((State.APPROVED, State.REFUSED), 12),
        ((State.APPROVED, State.PASSED), 0),
        ((State.APPROVED, State.REMOVING, State.PROVING, State.ROLLING_BACK, State.ROLLED_BACK), 22),
        ((State.APPROVED, State.REMOVING, State.ROLLING_BACK, State.UNKNOWN), 23),
    ],
)
def test_the_exit_code_says_how_it_ended(tmp_path: Path, way: tuple[State, ...], code: int) -> None:
    session = quiet_session(tmp_path)
    (op,) = held(session)
    advance(session, op, *way, why="because\nof this")
    with watching(session.state_dir, op) as child:
        out, err = child.communicate(timeout=30)
    assert child.returncode == code, err
    lines = out.splitlines()
    assert len(lines) == 3 + len(way)
    assert way[-1] in lines[-1]
    assert "because?of this" in lines[-1]


def test_after_a_while_it_says_that_it_is_still_held(tmp_path: Path) -> None:
    session = quiet_session(tmp_path)
    (op,) = held(session)
    with watching(session.state_dir, op, "--timeout", "1s") as child:
        assert child.wait(30) == 11
    with watching(session.state_dir, "op_0000000000000000") as child:
        assert child.wait(30) == 2


def test_what_is_over_expires_while_somebody_watches(tmp_path: Path) -> None:
    session = quiet_session(tmp_path)
    (op,) = held(session)
    with session.journal() as journal:
        other = journal.operation(op)
    assert other.state is State.HELD
    late = "op_00000000000000zz"
    with session.journal() as journal:
        journal.advance(late, State.REQUESTED, {"kind": "redis", "digest": "ab" * 32})
        journal.advance(late, State.CHECKED, {})
        journal.advance(late, State.HELD, {"reasons": [], "expires_s": int(time.time()) + 1})
    with watching(session.state_dir, late) as child:
        assert child.wait(30) == 12
    with session.journal(read_only=True) as journal:
        assert journal.operation(late).state is State.EXPIRED


def test_without_an_operation_it_shows_all_that_comes_from_now_on(tmp_path: Path) -> None:
    session = quiet_session(tmp_path)
    (old,) = held(session)
    with watching(session.state_dir, "--json", "--timeout", "1m") as child:
        assert child.stdout is not None
        new: list[str] = []
        while not select.select([child.stdout], [], [], 0.3)[0]:
            new += held(session)  # what came before it followed is not shown
            assert len(new) < 100
        shown = json.loads(child.stdout.readline())
        assert shown["op"] in new
        assert shown["op"] != old
        child.terminate()
        child.communicate(timeout=30)


def test_who_watches_delivers_what_others_have_left(tmp_path: Path) -> None:
    with hooked() as hook:
        session = session_of(tmp_path, hook)
        (op,) = held(session)
        settings = {key.replace(".", "__"): text for key, text in hook.settings(tmp_path).items()}
        with watching(session.state_dir, op, **settings) as child:
            assert hook.one().headers["webhook-id"] == f"{op}_held"
            wait_until("it is noted", lambda: steps(session, op)[-1] == SENT)
            advance(session, op, State.REJECTED)
            out, err = child.communicate(timeout=30)
        assert child.returncode == 12
        assert err == ""
        assert SENT in out
        assert SECRET not in out
        assert "to=ops" not in out


# --detach


def guarded(cache: GoCache, folder: Path, hook: HookServer, **more: str) -> Safeguard:
    settings = hook.settings(folder, approval__self="always", approval__wait="1h", **more)
    return Safeguard(cache, folder / "state", variables(settings))


def test_a_detached_command_ends_at_once_when_the_hold_is_durable_and_told(
    newest_cache: GoCache, tmp_path: Path
) -> None:
    with hooked() as hook:
        guard = guarded(newest_cache, tmp_path, hook)
        before = files_of(newest_cache.root)
        done = guard.run("clean", *QUICK, "--detach")
        assert done.returncode == 11, done.stderr
        op = json.loads(hook.one().body)["data"]["op"]
        assert op in done.stderr
        (waiting,) = guard.json("ops", "list")["operations"]
        assert (waiting["op"], waiting["state"]) == (op, "HELD")
        assert files_of(newest_cache.root) == before
        token = tmp_path / "token"
        assert guard.run("ops", "token", op, "-o", str(token)).returncode == 0
        done = guard.run("clean", op, "--token-file", str(token), "--proof", "none")
        assert done.returncode == 0, done.stderr
        assert guard.run("ops", "watch", op).returncode == 0


def test_at_a_terminal_a_detached_command_asks_nobody_and_confirm_holds_what_policy_allows(
    newest_cache: GoCache, tmp_path: Path
) -> None:
    guard = Safeguard(newest_cache, tmp_path / "state", variables({"policy.hold_share": "100%"}))
    code, screen = guard.type("clean", *QUICK, "--confirm", "--detach", answers=())
    assert code == 11, screen
    assert "wants a person to confirm it" in screen
    assert "Type its first" not in screen
    (waiting,) = guard.json("ops", "list")["operations"]
    assert waiting["state"] == "HELD"
    done = guard.run("clean", *QUICK, "--detach", "--confirm-wait", "1m")
    assert done.returncode == 2
    assert "exclude each other" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("clean",),
        ("fsck",),
        ("mod", "verify"),
        ("redis", "del"),
        ("redis", "unlink"),
        ("redis", "flush"),
        ("redis", "resume"),
        ("redis", "harden"),
        ("rollback",),
    ],
)
def test_everything_that_can_be_held_can_be_detached(words: tuple[str, ...]) -> None:
    done = subprocess.run([*COMMAND, *words, "--help"], capture_output=True, text=True, check=True, timeout=60)
    assert "--detach" in done.stdout
