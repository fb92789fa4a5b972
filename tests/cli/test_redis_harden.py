"""`redis harden` and `redis watch` at the command line: what a person sees, and which exit codes a job gets."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from redisservers import Client, running

COMMAND = (sys.executable, "-m", "go_cache_safeguard", "redis")


@dataclass(frozen=True, slots=True)
class Line:
    """The command line with a server, a home and a state directory of its own."""

    home: Path
    url: str
    client: Client

    def environ(self) -> dict[str, str]:
        known = {name: text for name, text in os.environ.items() if not name.startswith(("GO_CACHE_", "REDISCLI"))}
        known |= {"HOME": str(self.home), "XDG_CONFIG_HOME": str(self.home), "GO_CACHE_SAFEGUARD_REDIS_URL": self.url}
        state = str(self.home / "state")
        return known | {"GO_CACHE_SAFEGUARD_STATE_DIR": state, "GO_CACHE_SAFEGUARD_APPROVAL_SELF": "always"}

    def run(
        self, *arguments: str, code: int = 0, command: tuple[str, ...] = COMMAND
    ) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [*command, *arguments],
            cwd=self.home,
            env=self.environ(),
            stdin=subprocess.DEVNULL,
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
        client("ACL", "SETUSER", "app", "on", ">a", "~*", "&*", "+@all")
        client("ACL", "SETUSER", "guard", "on", ">g", "~*", "-@all")
        yield Line(tmp_path, f"unix://{server.path}", client)


def test_rules_are_shown_with_what_each_user_loses_and_with_what_stands_open(line: Line) -> None:
    before = line.client.strings("ACL", "LIST")
    shown = line.run("harden", code=10).stdout
    assert re.search(r"user app: loses \d+ commands: -acl\|deluser, ", shown)
    assert re.search(r"user guard: gains \d+ commands: \+acl\|log", shown)
    assert "note: ordinary commands that can remove a key in one form stay" in shown
    assert "whoever reaches the port is user default, and can do everything" in shown
    assert "aclfile is not set" in shown
    assert line.client.strings("ACL", "LIST") == before


def test_json_names_every_command_and_every_rule(line: Line) -> None:
    document = line.json("harden", "--user", "app", "--strict", code=10)
    assert document["schema"] == "go-cache-safeguard/redis-harden/1"
    (app,) = [user for user in document["users"] if user["user"] == "app"]
    assert {"del", "flushall", "set", "expire", "config|set", "eval"} <= set(app["loses"])
    assert "+get" in app["rules"]
    assert "no-password" in [finding["check"] for finding in document["findings"]]


def test_lines_for_an_acl_file_are_taken_by_setuser(line: Line) -> None:
    done = line.run("harden", "--user", "app", "--user", "new", "--acl", "--set", "redis.protect=session:*")
    assert "ACL LOAD wants them in the file" in done.stderr
    lines = done.stdout.splitlines()
    assert [one.split()[:3] for one in lines] == [["user", "app", "on"], ["user", "new", "on"], ["user", "guard", "on"]]
    for one in lines:
        _, name, rules = one.split(" ", 2)
        words = re.findall(r"\([^)]*\)|\S+", rules)
        assert line.client("ACL", "SETUSER", name, *words) == b"OK"
    assert line.client("ACL", "DRYRUN", "app", "SET", "a", "1") == b"OK"
    assert b"permissions" in line.client.text("ACL", "DRYRUN", "app", "SET", "session:1", "1")
    assert line.client("ACL", "DRYRUN", "app", "GET", "session:1") == b"OK"
    assert b"permissions" in line.client.text("ACL", "DRYRUN", "app", "DEL", "a")


def test_behind_a_proxy_that_lets_clients_try_again_they_keep_what_may_be_approved(line: Line) -> None:
    document = line.json("harden", "--behind-proxy", code=10)
    assert any(
        "an administrator does it" in note["text"] and "config|set" in note["commands"] for note in document["notes"]
    )
    document = line.json("harden", "--behind-proxy", "--set", "redis.execute=retry", code=10)
    (app,) = [user for user in document["users"] if user["user"] == "app"]
    assert "del" not in app["loses"]
    assert "monitor" in app["loses"]
    assert any("nobody but the proxy" in note["text"] for note in document["notes"])


def test_apply_waits_for_a_person_and_undo_gives_the_rules_back(line: Line) -> None:
    before = line.client.strings("ACL", "LIST")
    held = line.run("harden", "--apply", "--user", "app", code=11)
    assert "ACL SETUSER waits for a person" in held.stderr
    assert line.client.strings("ACL", "LIST") == before
    found = re.search(r"op_[0-9a-z]{16}", held.stderr)
    assert found is not None
    op = found[0]
    assert "the rules of 2 users" in line.run("ops", "show", op, command=COMMAND[:3]).stdout
    line.run("ops", "token", op, "--output", "token", command=COMMAND[:3])
    done = line.run("resume", op, "--token-file", "token").stdout
    assert "the rules of 2 of 2 users are new" in done
    assert re.search(r"proof: user app: (\d+) of \1 commands are refused by the server", done)
    assert b"+@all" not in next(one for one in line.client.strings("ACL", "LIST") if one.startswith(b"user app "))
    line.run("resume", op, code=12)
    assert "app, guard: have their former rules again" in line.run("undo", op).stdout
    assert line.client.strings("ACL", "LIST") == before
    line.run("undo", op, code=12)


def test_what_makes_no_sense_or_would_lock_out_is_refused(line: Line) -> None:
    assert "lock yourself out" in line.run("harden", "--apply", "--user", "default", code=12).stderr
    assert "there is no user nobody" in line.run("harden", "--apply", "--guard", "nobody", code=12).stderr
    assert "--save goes with --apply" in line.run("harden", "--save", code=2).stderr
    assert "stdin is not a terminal" in line.run("harden", "--apply", "--confirm", code=2).stderr


def test_watch_tells_of_a_direct_removal_and_its_exit_code_says_so(line: Line) -> None:
    line.client("SET", "a", "1")
    line.run("watch", "--for", "1s")
    words = [*COMMAND, "watch", "--for", "3s", "--interval", "1s", "--json"]
    with subprocess.Popen(words, cwd=line.home, env=line.environ(), stdout=subprocess.PIPE, text=True) as child:
        deadline = time.monotonic() + 60
        while b"name=go-cache-safeguard" not in line.client.text("CLIENT", "LIST") and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)  # it has taken its first look
        line.client("DEL", "a")
        output = child.communicate(timeout=60)[0]
    assert child.returncode == 10
    (row,) = [json.loads(text) for text in output.splitlines()]
    assert (row["what"], row["command"], row["calls"]) == ("direct-command", "del", 1)
    assert any("as default" in text for text in row["evidence"])


def test_watch_says_what_it_cannot_read(line: Line) -> None:
    line.client("ACL", "SETUSER", "default", "-acl|log")
    done = line.run("watch", "--for", "1s", code=13)
    assert "UNKNOWN" in done.stdout
    assert "ACL LOG cannot be read" in done.stdout
