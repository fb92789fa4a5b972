"""A proxy that asks Sentinels where the master is, and follows a real failover."""

import os
import signal
import time
from pathlib import Path

import pytest

from guardproxy import GuardProxy, guarding
from redissentinel import Watched, watched
from redisservers import ServerError

pytestmark = pytest.mark.real


def test_it_follows_a_failover_and_what_was_held_is_void(tmp_path: Path) -> None:
    with watched("redis-7.0", tmp_path) as group:
        folder = tmp_path / "p"
        listen = ("--listen", f"unix://{folder / 'front'}")
        with guarding(folder, "--upstream", group.url, *listen, settings={"redis.protect": "user:*"}) as proxy:
            _story(group, proxy)


def _story(group: Watched, proxy: GuardProxy) -> None:
    master, replica = group.servers
    with master.client() as direct:
        direct("SET", "user:1", "precious")
        direct("WAIT", 1, 5000)
    with proxy.client() as client:
        assert client("GET", "user:1") == b"precious"
        with pytest.raises(ServerError, match="GUARDHELD op_"):
            client("DEL", "user:1")
        op = proxy.wait_for("held")["op"]
        os.kill(master.pid, signal.SIGKILL)
        switched = proxy.wait_for("switched")
        assert switched["old"] == f"redis://127.0.0.1:{group.ports[0]}"
        assert switched["new"] == f"redis://127.0.0.1:{group.ports[1]}"
        with pytest.raises((EOFError, OSError)):
            client("GET", "user:1")
    proxy.approve(op)
    with proxy.client() as client, replica.client() as direct:
        assert client("ROLE") == direct("ROLE")
        assert client.array("ROLE")[0] == b"master"
        assert client("SET", "page:1", "new") == b"OK"
        time.sleep(1.5)  # what was approved for the old master would be done by now
        assert direct("GET", "user:1") == b"precious"
        with pytest.raises(ServerError, match="GUARDHELD op_"):
            client("DEL", "user:1")
        other = proxy.wait_for("held", 2)["op"]
        assert other != op
        proxy.approve(other)
        proxy.wait_state(other, "DONE")
        assert direct("GET", "user:1") is None
    assert proxy.stop() == 0


def test_it_waits_until_there_is_a_master(tmp_path: Path) -> None:
    folder = tmp_path / "p"
    with watched("redis-7.0", tmp_path) as group:
        wrong = group.url.replace("/cache", "/other")
        listen = ("--listen", f"unix://{folder / 'front'}")
        with guarding(folder, "--upstream", wrong, *listen, until="waiting") as proxy:
            assert "other" in proxy.events("waiting")[0]["text"]
            assert proxy.stop() == 0
            assert proxy.events("listening") == []
