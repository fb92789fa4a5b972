"""Held calls of clients, as people at the command line see and end them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from redisgates import asking, call_of
from redisguard import Guard
from redisservers import running


def _run(state: Path, *arguments: str, code: int = 0) -> str:
    environ = {**os.environ, "GO_CACHE_SAFEGUARD_STATE_DIR": str(state), "GO_CACHE_SAFEGUARD_APPROVAL_SELF": "always"}
    done = subprocess.run(
        [sys.executable, "-m", "go_cache_safeguard", *arguments],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == code, (done.stdout, done.stderr)
    return done.stdout + done.stderr


def test_a_held_call_is_shown_approved_done_and_undone_at_the_command_line(tmp_path: Path) -> None:
    guard = Guard(f"unix://{tmp_path}/s", tmp_path / "state", {"redis.protect": "user:*"})
    with running("valkey-9.1", tmp_path) as server, server.client() as client, asking(guard) as gate:
        client("SET", "user:1", "v")
        op = gate.held_call(call_of("GETDEL", "user:1", user="app"))
        shown = _run(guard.state, "ops", "show", op)
        for text in (
            "GETDEL user:1",
            "app at 10.0.0.1, database 0",
            "1 keys",
            "redis-names: the key 'user:1' is protected",
        ):
            assert text in shown
        assert op in _run(guard.state, "ops", "list", "--json")
        token = tmp_path / "token"
        _run(guard.state, "ops", "token", op, "-o", str(token))
        assert "the guard, or `go-cache-safeguard redis resume" in _run(
            guard.state, "ops", "approve", op, "--token-file", str(token)
        )
        assert "1 of 1 keys" in _run(guard.state, "redis", "resume", op)
        assert client("EXISTS", "user:1") == 0
        assert json.loads(_run(guard.state, "redis", "undo", op, "--json"))["restored"] == 1
        assert client("GET", "user:1") == b"v"


def test_what_only_the_client_can_do_is_said_so(tmp_path: Path) -> None:
    guard = Guard(f"unix://{tmp_path}/s", tmp_path / "state")
    with running("valkey-9.1", tmp_path), asking(guard) as gate:
        op = gate.held("CONFIG", "SET", "maxmemory", "1mb")
        assert "what a server is told about itself is no key" in _run(guard.state, "ops", "show", op)
        gate.approve(op)
        assert "GUARD RETRY" in _run(guard.state, "redis", "resume", op, code=12)
        assert _run(guard.state, "audit", "verify")


pytestmark = pytest.mark.real
