"""A held call of a client arrives at the hook; neither the client nor the guard waits for it."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.test_outbox import held
from go_cache_safeguard.config.layer import ConfigBad
from go_cache_safeguard.flows.progress import Silent
from go_cache_safeguard.flows.session import open_session
from go_cache_safeguard.redis.call import Held
from guardproxy import COMMAND, guarding
from hookservers import HANG, SECRET, hooked
from redisgates import asking
from redisguard import Guard
from redisservers import Server, ServerError, running

pytestmark = pytest.mark.real


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "r").mkdir()
    with running("valkey-9.1", tmp_path / "r") as found:
        yield found


def guard_of(server: Server, folder: Path, **settings: str) -> Guard:
    return Guard(f"unix://{server.path}", folder / "state", settings)


def test_a_held_call_is_told_once_without_its_values(server: Server, tmp_path: Path) -> None:
    guard = guard_of(server, tmp_path)
    with hooked() as hook, asking(guard, **{"redis.on_overwrites": "hold", **hook.settings(tmp_path)}) as gate:
        op = gate.held("SET", "page:1", "hunter2-the-value")
        assert gate.held("SET", "page:1", "hunter2-the-value") == op
        received = hook.one()
        data = json.loads(received.body)["data"]
        assert (data["op"], data["kind"], data["asked"]["command"]) == (op, "redis", "SET")
        assert data["approve"] == f"go-cache-safeguard ops approve {op}"
        assert b"hunter2" not in received.body
        assert gate.state(op) == "HELD"
    assert len(hook.received) == 1
    assert [record.step for record in gate.records() if record.op == op][-1] == "hook-sent"
    assert SECRET not in str(gate.records())


def test_a_hook_that_hangs_holds_nobody_up_and_lets_nothing_pass(server: Server, tmp_path: Path) -> None:
    with server.client() as client:
        client("SET", "a", "1")
        client("SET", "b", "1")
        guard = guard_of(server, tmp_path)
        with hooked(HANG) as hook:
            more = {"redis.on_removes": "hold", **hook.settings(tmp_path, approval__hook_timeout="60s")}
            with asking(guard, **more) as gate:
                first = gate.held("DEL", "a")
                hook.one()  # hangs from here on, for as long as this test
                assert isinstance(gate("DEL", "b"), Held)
                assert gate.state(first) == "HELD"
                hook.let_go.set()
        assert client("EXISTS", "a", "b") == 2


def test_a_gate_does_not_begin_with_a_hook_that_cannot_be_used(server: Server, tmp_path: Path) -> None:
    guard = guard_of(server, tmp_path)
    with pytest.raises(ConfigBad), asking(guard, **{"approval.hook": "http://hooks.example/"}):
        pass


def test_the_proxy_tells_the_hook_and_says_when_it_could_not(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    places = ("--upstream", f"unix://{server.path}", "--listen", f"unix://{folder / 'front'}")
    with hooked(204, 410) as hook:
        settings = {"redis.on_removes": "hold", **hook.settings(tmp_path)}
        with guarding(folder, *places, settings=settings) as proxy, proxy.client() as client, server.client() as direct:
            for key in ("a", "b"):
                direct("SET", key, "1")
                with pytest.raises(ServerError, match="GUARDHELD op_"):
                    client("DEL", key)
                assert json.loads(hook.one().body)["data"]["asked"]["command"] == "DEL"
            said = proxy.wait_for("hook")
            assert "answered 410" in said["text"]
            assert proxy.events("held")[1]["op"] in said["text"]
            proxy.approve(proxy.events("held")[0]["op"])
            proxy.wait_state(proxy.events("held")[0]["op"], "DONE")
            assert direct("EXISTS", "a", "b") == 1
            assert SECRET not in str(proxy.events()) + proxy.said


@pytest.mark.parametrize("words", [("unlink", "a", "--confirm"), ("flush",), ("harden", "--apply", "--confirm")])
def test_commands_about_a_server_tell_the_hook_and_can_wait(
    server: Server, tmp_path: Path, words: tuple[str, ...]
) -> None:
    with server.client() as client, hooked() as hook:
        client("SET", "a", "1")
        client("ACL", "SETUSER", "app", "on", "nopass", "~*", "+@all")
        client("ACL", "SETUSER", "guard", "on", ">g", "~*", "-@all")
        guard = guard_of(server, tmp_path, **hook.settings(tmp_path))
        more = [f"--set={key}={text}" for key, text in guard.settings.items() if key != "approval.hook"]
        done = subprocess.run(
            [
                *COMMAND,
                "redis",
                *words,
                "--url",
                guard.url,
                "--state-dir",
                str(guard.state),
                "--confirm-hook",
                hook.url,
                *more,
            ],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 11, done.stderr
        data = json.loads(hook.one().body)["data"]
        assert data["execute"] == f"go-cache-safeguard redis resume {data['op']}"
        assert data["op"] in done.stderr
        assert client("EXISTS", "a") == 1


def test_the_proxy_delivers_what_others_have_left(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    session = open_session({"state.dir": str(folder / "state")}, progress=Silent())
    (op,) = held(session)
    places = ("--upstream", f"unix://{server.path}", "--listen", f"unix://{folder / 'front'}", "--workers", "2")
    with hooked() as hook:
        with guarding(folder, *places, settings=hook.settings(tmp_path)) as proxy:
            assert hook.one().headers["webhook-id"] == f"{op}_held"
            assert proxy.stop() == 0
            assert proxy.events("hook") == []
        assert len(hook.received) == 1  # of two workers, one
