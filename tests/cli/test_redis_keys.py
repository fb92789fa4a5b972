"""Guarded deletion at the command line: what a person sees, and which exit codes a job gets."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from redisservers import Client, running
from safeguard import digest_on

COMMAND = (sys.executable, "-m", "go_cache_safeguard")
_ALLOWED = ("redis.max_share=100%", "policy.hold_share=100%")


@dataclass(frozen=True, slots=True)
class Line:
    """The command line with a server, a home and a state directory of its own."""

    home: Path
    url: str
    client: Client

    def environ(self) -> dict[str, str]:
        ours = ("GO_CACHE_SAFEGUARD_", "REDISCLI")
        known = {name: text for name, text in os.environ.items() if not name.startswith(ours)}
        known |= {"HOME": str(self.home), "XDG_CONFIG_HOME": str(self.home), "GO_CACHE_SAFEGUARD_REDIS_URL": self.url}
        known |= {
            "GO_CACHE_SAFEGUARD_STATE_DIR": str(self.home / "state"),
            "GO_CACHE_SAFEGUARD_APPROVAL_SELF": "always",
        }
        return known

    def run(
        self, *arguments: str, code: int = 0, typed: str = "", **environ: str
    ) -> "subprocess.CompletedProcess[str]":
        known = {**self.environ(), **environ}
        done = subprocess.run(
            [*COMMAND, *arguments],
            cwd=self.home,
            env=known,
            input=typed,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        return done

    def json(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.run(*arguments, "--json", code=code).stdout)
        return document


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    (tmp_path / "r").mkdir()
    with running("valkey-9.1", tmp_path / "r") as server, server.client() as client:
        for number in range(20):
            client("SET", f"user:{number}:name", "x" * 50, "EX", 86_000)
        client("SET", "page:\x1b[31m\n:1", "v")
        yield Line(tmp_path, f"unix://{server.path}", client)


def _set(*settings: str) -> tuple[str, ...]:
    return tuple(word for one in settings for word in ("--set", one))


def test_check_shows_what_would_go_and_its_exit_code_says_what_the_checks_said(line: Line) -> None:
    shown = line.run("redis", "check", "user:1?:*", "page:*", code=10).stdout
    assert "would remove  11 keys" in shown
    assert "prefix        user:: 10 keys" in shown
    assert "0/page:\\x1b[31m\\x0a:1" in shown
    assert "\x1b[31m" not in shown
    assert "BLOCK   redis-names" in shown
    assert line.client("DBSIZE") == 21
    line.run("redis", "check", "user:1:name", *_set("redis.on_no_history=unknown"), code=13)
    line.run("redis", "check", "user:1:name", *_set(*_ALLOWED))


def test_a_removal_goes_through_and_comes_back(line: Line) -> None:
    gone = line.json("redis", "del", "user:1:name", "user:2:name", "nothing", *_set(*_ALLOWED))
    assert (gone["state"], gone["moved"], line.client("DBSIZE")) == ("DONE", 2, 19)
    assert "needed" not in line.run("redis", "trash", "list").stdout
    assert [key["name"] for key in line.json("redis", "trash", "show", gone["op"])["keys"]] == [
        "0/user:1:name",
        "0/user:2:name",
    ]
    assert line.json("redis", "undo", gone["op"])["restored"] == 2
    assert line.client("DBSIZE") == 21
    line.run("undo", gone["op"], code=12)


def test_a_dry_run_decides_and_touches_nothing(line: Line) -> None:
    told = line.json(
        "redis", "unlink", "--match", "user:1:*", "--dry-run", "--max-keys", "5", *_set("redis.on_no_history=unknown")
    )
    assert (told["decision"], told["plan"]["keys"], told["plan"]["expiry"]) == ("hold", 1, {"end within 1d": 1})
    short = line.json("redis", "del", "user:1:name", "--block-ttl-threshold", "2d", "--dry-run", *_set(*_ALLOWED))
    assert next(one for one in short["verdicts"] if one["check"] == "redis-ttl")["outcome"] == "BLOCK"
    assert line.client("DBSIZE") == 21
    assert not (line.home / "state" / "journal.sqlite").exists()


def test_what_is_held_needs_a_token_and_counts_once(line: Line) -> None:
    held = line.run("redis", "flush", code=11)
    op = held.stderr.split("error: ")[1].split(" ")[0]
    assert f"go-cache-safeguard redis resume {op}" in held.stderr
    line.run("redis", "resume", op, code=11)
    line.run("ops", "token", op, "-o", "token")
    text = (line.home / "token").read_text()
    line.run("redis", "resume", op, "--token-file", "-", typed="wrong", code=12)
    assert line.client("DBSIZE") == 21
    done = line.run("redis", "resume", op, "--token-file", "-", "--receipt", "receipt.json", typed=text)
    assert "21 of 21 keys" in done.stdout
    assert line.client("DBSIZE") == 0
    line.run("redis", "resume", op, "--token-file", "-", typed=text, code=12)
    line.run("audit", "verify", "--receipt", "receipt.json")
    line.run("clean", op, code=12)
    line.run("purge")
    assert "21 keys" in line.run("redis", "trash", "restore", op).stdout
    assert line.client("DBSIZE") == 21


def test_throwing_values_away_is_held_if_somebody_wants_that_and_goes_once(line: Line) -> None:
    gone = line.json("redis", "del", "user:1:name", "user:2:name", *_set(*_ALLOWED))
    due = _set("redis.trash_retention=0s")
    held = line.run("redis", "trash", "purge", "--confirm", "--detach", *due, code=11)
    op = held.stderr.split("error: ")[1].split(" ")[0]
    assert f"go-cache-safeguard purge {op}" in held.stderr
    line.run("redis", "trash", "purge", gone["op"], "--token-file", "-", typed="", code=2)
    line.run("ops", "token", op, "-o", "token")
    text = (line.home / "token").read_text()
    assert "1 of 1 items" in line.run("redis", "trash", "purge", op, "--token-file", "-", typed=text).stdout
    assert "nothing is due" in line.run("redis", "trash", "purge", *due).stdout
    line.run("purge", op, "--token-file", "-", typed=text, code=12)
    line.run("redis", "undo", gone["op"], code=12)
    line.run("audit", "verify")


def test_passwords_come_from_a_variable_or_a_private_file_and_are_never_shown(line: Line) -> None:
    line.client("CONFIG", "SET", "requirepass", "geheim")
    assert "geheim" not in line.run("redis", "check", "user:1:name", "--url", "redis://u:geheim@h", code=2).stderr
    denied = line.run("redis", "check", "user:1:name", code=36).stderr
    assert "REDISCLI_AUTH" in denied
    line.run("redis", "check", "user:1:name", *_set(*_ALLOWED), REDISCLI_AUTH="geheim")
    secret = line.home / "secret"
    secret.write_text("geheim\n")
    secret.chmod(0o644)
    line.run("redis", "check", "user:1:name", "--password-file", "secret", code=35)
    secret.chmod(0o600)
    told = line.run("redis", "del", "user:1:name", "--password-file", "secret", *_set(*_ALLOWED))
    assert "geheim" not in told.stdout + told.stderr
    state = b"".join(path.read_bytes() for path in (line.home / "state").rglob("*") if path.is_file())
    assert b"geheim" not in state


def test_a_user_who_may_do_no_more_than_the_docs_say_can_remove_and_undo(line: Line) -> None:
    page = (Path(__file__).parents[2] / "docs" / "redis.md").read_text()
    rights = page.split("ACL SETUSER guard")[1].split("`")[0].split()
    line.client("ACL", "SETUSER", "guard", *rights, ">geheim")
    url = line.url.replace("unix://", "unix://guard@")
    done = line.run("redis", "del", "user:1:name", "--url", url, "--json", *_set(*_ALLOWED), REDISCLI_AUTH="geheim")
    op = json.loads(done.stdout)["op"]
    assert line.client("DBSIZE") == 20
    line.run("redis", "undo", op, REDISCLI_AUTH="geheim")
    assert line.client("DBSIZE") == 21


def test_a_person_at_a_terminal_sees_the_plan_and_types_the_digest(line: Line) -> None:
    main, far = pty.openpty()
    environ = {**line.environ(), "TERM": "dumb"}
    words = [*COMMAND, "redis", "unlink", "--match", "user:*"]
    child = subprocess.Popen(words, cwd=line.home, env=environ, stdin=far, stdout=far, stderr=far)
    os.close(far)
    screen = ""
    while "anything else to leave it" not in screen:
        screen += os.read(main, 4096).decode()
    assert "prefix        user:: 20 keys" in screen
    assert "BLOCK   redis-names" in screen
    digest = digest_on(screen)
    os.write(main, f"{digest[:8]}\n".encode())
    with suppress(OSError):
        while True:
            screen += os.read(main, 4096).decode()
    os.close(main)
    assert (child.wait(timeout=60), line.client("DBSIZE")) == (0, 1)
    assert "undo: go-cache-safeguard redis undo op_" in screen


def test_what_cannot_be_understood_removes_nothing(line: Line) -> None:
    line.run("redis", "del", code=2)
    line.run("redis", "del", "user:1:name", "--confirm", *_set(*_ALLOWED), code=2)
    line.run("redis", "del", "--escaped", "a\\xZZ", code=2)
    line.run("redis", "flush", "--all", "--db", "1", code=2)
    line.run("redis", "check", "x", "--url", "unix:///nonexistent", code=36)
    assert line.run("redis", "del", "--escaped", "nothing\\x0a").stdout == "no such key is there; nothing to do\n"
    assert line.client("DBSIZE") == 21


def test_a_trash_elsewhere_is_named_and_one_that_cannot_be_reached_lets_nothing_go(line: Line, tmp_path: Path) -> None:
    line.client("SET", "user:1", "v")
    elsewhere = tmp_path / "elsewhere"
    allowed = _set(*_ALLOWED)
    line.run("redis", "del", "user:2:name", *allowed)
    assert "kept in" not in line.run("redis", "trash", "list").stdout
    gone = line.json("redis", "del", "user:1", *allowed, "--set", f"redis.trash={elsewhere}")
    assert list(elsewhere.glob("*.values"))
    assert "kept in" in line.run("redis", "trash", "list").stdout
    _, listed = line.json("redis", "trash", "list")["operations"]
    assert (listed["op"], listed["place"]) == (gone["op"], str(elsewhere))
    line.run("redis", "undo", gone["op"])
    assert line.client("GET", "user:1") == b"v"
    away = f"redis.trash=unix://{tmp_path}/nobody"
    failed = line.run("redis", "del", "user:1", *allowed, "--set", away, "--set", "policy.on_unknown=allow", code=23)
    assert "nothing was removed" in failed.stderr
    assert "hint:" in failed.stderr
    held = line.run("redis", "del", "user:1", *allowed, "--set", away, code=11)
    assert "no copy can be made" in held.stderr + held.stdout
    wrong = line.run("redis", "del", "user:1", "--set", "redis.trash=http://h/", code=35)
    assert "redis.trash" in wrong.stderr
    assert line.client("GET", "user:1") == b"v"


def test_a_purge_tells_its_waves_before_and_stops_for_a_person_when_nobody_can_tell(
    line: Line,
) -> None:
    for number in range(50):
        line.client("SET", f"page:2023:{number}", "v")
    words = ("redis", "purge", "page:2023:*", "--gate", "store", "--settle", "1s", *_set("signals.wave_patience=1s"))
    shown = line.run(*words, "--dependents", "shop,cart", "--first", "30", "--dry-run").stdout
    assert "waves         2, at least 2 s: 30, 20 keys" in shown
    assert "watched       cart, shop" in shown
    told = line.json(*words, *_set("signals.dependents=page:*=shop"), "--dry-run")
    assert told["waves"]["sizes"] == [20, 30]
    assert told["plan"]["selectors"] == ["purge", "unlink", "--match=page:2023:*", "--gate=store", "--dependent=shop"]
    assert "nobody knows which services depend on these keys" in line.run(*words, code=2).stderr
    held = line.run(*words, "--dependents", "shop", *_set("policy.on_block=allow", *_ALLOWED), code=11).stderr
    assert "the gate has paused it for 1 s" in held
    assert line.client("DBSIZE") == 71
