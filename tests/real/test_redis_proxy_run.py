"""The proxy as a service: it starts, guards, reads its settings again, stops in order, and comes back after every kind of end."""

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from go_cache_safeguard.flows.redis_hitrate import Kept, kept_bytes
from go_cache_safeguard.redis.hitrate import HitRate, Reading, State
from go_cache_safeguard.redis.resp import encode
from guardproxy import COMMAND, GuardProxy, free_port, guarding, wait_until
from redisproxies import Gatekeeper, proxied
from redisservers import BINARIES, Client, Server, ServerError, running

pytestmark = pytest.mark.real
GUARDS = {"redis.protect": "user:*"}


@pytest.fixture(params=sorted(BINARIES))
def each(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "server"
    folder.mkdir()
    with running(request.param, folder) as started:
        yield started


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "server"
    folder.mkdir()
    with running("redis-7.0", folder) as started:
        yield started


def places(server: Server, folder: Path) -> tuple[str, ...]:
    return "--upstream", f"unix://{server.path}", "--listen", f"unix://{folder / 'front'}"


def memory_kib(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in text.splitlines() if line.startswith("VmRSS:")).split()[1])


def test_it_guards_and_does_what_was_approved(each: Server, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    with guarding(folder, *places(each, folder), settings=GUARDS) as proxy:
        with proxy.client() as client, each.client() as direct:
            assert client("SET", "page:1", "x") == b"OK"
            assert direct("SET", "user:1", "y") == b"OK"
            assert client("DEL", "page:1") == 1
            with pytest.raises(ServerError, match="GUARDHELD op_"):
                client("DEL", "user:1")
            held = proxy.wait_for("held")
            assert f"ops approve {held['op']}" in held["text"]
            proxy.approve(held["op"])
            proxy.wait_state(held["op"], "DONE")
            assert client("GET", "user:1") is None
        assert proxy.stop() == 0
        assert [one["event"] for one in proxy.events()] == ["listening", "held", "stopping", "stopped"]


def test_what_was_held_outlives_a_proxy_that_is_killed(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    with guarding(folder, *places(server, folder), settings=GUARDS) as proxy:
        with proxy.client() as client, server.client() as direct:
            direct("SET", "user:1", "y")
            with pytest.raises(ServerError, match="GUARDHELD op_"):
                client("DEL", "user:1")
        op = proxy.wait_for("held")["op"]
        assert proxy.stop(signal.SIGKILL) == -signal.SIGKILL
    with guarding(folder, *places(server, folder), settings=GUARDS) as proxy, proxy.client() as client:
        assert proxy.state_of(op) == "HELD"
        assert client("GET", "user:1") == b"y"
        proxy.approve(op)
        proxy.wait_state(op, "DONE")
        assert client("GET", "user:1") is None


def test_a_client_that_waits_gets_its_reply_before_the_proxy_stops(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    with guarding(folder, *places(server, folder), "--drain", "30s") as proxy:
        with proxy.client() as waiting, proxy.client() as idle, server.client() as direct:
            assert idle("PING") == b"PONG"
            assert waiting("PING") == b"PONG"
            waiting.send(encode((b"BLPOP", b"queue", b"0")))
            wait_until("BLPOP reaches the server", lambda: b"blocked_clients:1" in direct.text("INFO", "clients"))
            proxy.child.send_signal(signal.SIGTERM)
            with pytest.raises(EOFError):  # who waits for nothing is let go at once
                idle.read()
            with pytest.raises(OSError, match="refused"):
                Client(proxy.path)
            assert proxy.child.poll() is None
            direct("RPUSH", "queue", "job")
            assert waiting.read() == [b"queue", b"job"]
        assert proxy.child.wait(timeout=30) == 0
        assert proxy.wait_for("stopped")["left"] == 0


@pytest.mark.parametrize("again", [True, False])
def test_who_still_waits_is_let_go_after_the_time_for_it_or_at_a_second_signal(
    server: Server, tmp_path: Path, *, again: bool
) -> None:
    folder = tmp_path / "p"
    with (
        guarding(folder, *places(server, folder), "--drain", "1h" if again else "1s") as proxy,
        proxy.client() as waiting,
        server.client() as direct,
    ):
        waiting.send(encode((b"BLPOP", b"queue", b"0")))
        wait_until("BLPOP reaches the server", lambda: b"blocked_clients:1" in direct.text("INFO", "clients"))
        proxy.child.send_signal(signal.SIGTERM)
        proxy.wait_for("stopping")
        if again:
            proxy.child.send_signal(signal.SIGTERM)
        with pytest.raises(EOFError):
            waiting.read()
        assert proxy.child.wait(timeout=30) == 0
        wait_until("the server sees it", lambda: b"blocked_clients:0" in direct.text("INFO", "clients"))


def test_settings_are_read_again_and_a_broken_file_changes_nothing(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    config = folder / "go-cache-safeguard" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('[redis]\nprotect = "user:*"\n')
    with guarding(folder, *places(server, folder)) as proxy, proxy.client() as client, server.client() as direct:
        direct("MSET", "user:1", "a", "page:1", "b", "page:2", "c")
        with pytest.raises(ServerError, match="GUARDHELD"):
            client("DEL", "user:1")
        assert client("DEL", "page:1") == 1
        config.write_text('[redis]\nprotect = "page:*"\n')
        proxy.child.send_signal(signal.SIGHUP)
        proxy.wait_for("reloaded")
        with pytest.raises(ServerError, match="GUARDHELD"):
            client("DEL", "page:2")
        for broken in ('[redis]\nprotect = "re:("\n', "[redis]\nprotekt = 1\n", "[redis"):
            before = len(proxy.events("reload-failed"))
            config.write_text(broken)
            proxy.child.send_signal(signal.SIGHUP)
            assert "stay as they were" in proxy.wait_for("reload-failed", before + 1)["text"]
        config.write_text('[redis]\nprotect = "page:*"\n[redis_proxy]\nworkers = 3\n')
        proxy.child.send_signal(signal.SIGHUP)
        assert proxy.wait_for("warning")["setting"] == "redis_proxy.workers"
        with pytest.raises(ServerError, match="GUARDHELD"):
            client("DEL", "page:2")
        assert direct("EXISTS", "page:2", "user:1") == 2


def test_a_worker_that_is_killed_comes_back_and_all_end_with_their_parent(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    port = free_port()
    more = ("--listen", f"127.0.0.1:{port}", "--workers", "2")
    with guarding(folder, *places(server, folder), *more, settings=GUARDS) as proxy:
        proxy.wait_for("listening", 4)
        first = proxy.workers
        assert len(first) == 2
        with server.client() as direct:
            direct("SET", "user:1", "y")
        os.kill(first[0], signal.SIGKILL)
        assert proxy.wait_for("worker-ended")["code"] == -signal.SIGKILL
        proxy.wait_for("listening", 6)
        proxy.child.send_signal(signal.SIGHUP)
        proxy.wait_for("reloaded", 2)
        assert len(set(proxy.workers) | set(first)) == 3
        for where in (proxy.path, ("127.0.0.1", port)):
            with closing(_connected(where)) as one:
                one.sendall(encode((b"DEL", b"user:1")))
                assert one.recv(100).startswith(b"-GUARDHELD op_")
        # Both workers held the same call once, and whichever is the first does it.
        op = proxy.wait_for("held")["op"]
        proxy.approve(op)
        proxy.wait_state(op, "DONE")
        last = proxy.workers
        proxy.stop(signal.SIGKILL)
        wait_until("workers end", lambda: not any(Path(f"/proc/{pid}").exists() for pid in last))


def test_a_worker_that_comes_later_has_the_settings_of_now(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    config = folder / "go-cache-safeguard" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('[redis]\nprotect = "user:*"\n')
    with guarding(folder, *places(server, folder), "--workers", "2") as proxy, server.client() as direct:
        proxy.wait_for("listening", 2)
        direct("SET", "page:1", "x")
        config.write_text('[redis]\nprotect = "page:*"\n[redis_proxy]\nheader = "proxy"\n')
        proxy.child.send_signal(signal.SIGHUP)
        proxy.wait_for("reloaded", 2)
        for pid in proxy.workers:
            os.kill(pid, signal.SIGKILL)
        proxy.wait_for("listening", 4)
        with proxy.client() as client, pytest.raises(ServerError, match="GUARDHELD"):
            client("DEL", "page:1")
        assert proxy.stop() == 0


def test_workers_stop_in_order(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    with guarding(folder, *places(server, folder), "--workers", "2") as proxy:
        proxy.wait_for("listening", 2)
        assert proxy.stop() == 0
        assert len(proxy.events("stopped")) == 2


def _connected(where: str | tuple[str, int]) -> socket.socket:
    one = socket.socket(socket.AF_UNIX if isinstance(where, str) else socket.AF_INET)
    one.settimeout(30)
    one.connect(where)
    return one


def test_a_place_that_is_taken_is_not_taken_away(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    with guarding(folder, *places(server, folder)) as proxy:
        done = subprocess.run(
            [*COMMAND, "redis", "proxy", *places(server, folder)],
            env=proxy.environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 36
        assert "[cannot-listen]" in done.stderr
        with proxy.client() as client:
            assert client("PING") == b"PONG"


def test_too_many_clients_are_told_so_and_others_are_served(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    with guarding(folder, *places(server, folder), settings={"redis_proxy.connections": "2"}) as proxy:
        with proxy.client() as one, proxy.client() as two:
            assert one("PING") == two("PING") == b"PONG"
            with proxy.client() as three:
                assert "max number of clients" in str(three.read())
            assert one("PING") == b"PONG"
        wait_until("there is room again", lambda: _answers(proxy))


def test_as_many_clients_come_in_as_files_may_be_open(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    prefix = ("prlimit", "--nofile=200:200")
    with guarding(folder, *places(server, folder), prefix=prefix) as proxy:
        assert "at most 25 clients" in proxy.wait_for("warning")["text"]
        clients = [Client(proxy.path) for _ in range(40)]
        said = []
        for client in clients:
            try:
                said.append(client("PING"))
            except (ServerError, OSError, EOFError) as error:
                said.append(str(error).encode())
        for client in clients:
            client.close()
        assert said.count(b"PONG") == 25
        wait_until("there is room again", lambda: _answers(proxy))
        assert proxy.stop() == 0


def _answers(proxy: GuardProxy) -> bool:
    with proxy.client() as client:
        try:
            return client("PING") == b"PONG"
        except (ServerError, OSError, EOFError):
            return False


def test_who_stops_in_the_middle_of_a_request_is_let_go(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    with guarding(folder, *places(server, folder), settings={"redis_proxy.stall": "1s"}) as proxy:
        with proxy.client() as stalled, proxy.client() as patient:
            patient("PING")
            stalled.send(b"*2\r\n$3\r\nGET\r\n$5\r\nab")
            with pytest.raises(EOFError):
                stalled.read()
            assert patient("PING") == b"PONG"
        assert "did not go on" in proxy.wait_for("closed")["text"]


def test_a_client_that_does_not_read_costs_little_memory(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    with guarding(folder, *places(server, folder)) as proxy, server.client() as direct:
        direct("SET", "large", b"x" * (4 << 20))
        with proxy.client() as client:
            client("PING")
            before = memory_kib(proxy.child.pid)
            client.send(encode((b"GET", b"large")) * 64)  # 256 MiB of replies
            time.sleep(1.5)
            grown = memory_kib(proxy.child.pid) - before
            assert grown < 16 << 10, grown
            for _ in range(64):
                reply = client.read()
                assert isinstance(reply, bytes)
                assert len(reply) == 4 << 20


def test_requests_that_together_are_too_large_cost_the_largest_client(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    with guarding(folder, *places(server, folder), settings={"redis_proxy.max_memory": "8MiB"}) as proxy:
        with proxy.client() as small, proxy.client() as large:
            for client, size in ((small, 1), (large, 12)):
                client("PING")
                client.send(b"*2\r\n$3\r\nDEL\r\n$67108864\r\n" + b"x" * (size << 20))
            with pytest.raises((EOFError, ConnectionError)):
                large.read()
            small.send(b"x" * (12 << 20))
            with pytest.raises((EOFError, ConnectionError)):
                small.read()
        assert "larger than allowed" in proxy.wait_for("closed", 2)["text"]
        with proxy.client() as client:
            assert client("PING") == b"PONG"


def test_who_hangs_up_is_not_waited_for_and_others_wait_for_their_approval(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    settings = {**GUARDS, "redis.wait": "1h", "redis_proxy.deciding": "1"}
    with guarding(folder, *places(server, folder), settings=settings) as proxy, server.client() as direct:
        direct("MSET", "user:1", "a", "user:2", "b")
        with proxy.client() as client:
            client.send(encode((b"DEL", b"user:1")))
            wait_until("it is held", lambda: proxy.held("user:1"))
        with proxy.client() as client:
            client.send(encode((b"DEL", b"user:2")))
            wait_until("there is a thread for it", lambda: proxy.held("user:2"))
            proxy.approve(proxy.held("user:2"))
            assert client.read() == 1
        assert direct("EXISTS", "user:1", "user:2") == 1
        assert proxy.stop() == 0


def test_a_stop_does_not_wait_for_a_person(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    with guarding(folder, *places(server, folder), "--drain", "1s", settings={**GUARDS, "redis.wait": "1h"}) as proxy:
        with server.client() as direct, proxy.client() as client:
            direct("SET", "user:1", "a")
            client.send(encode((b"DEL", b"user:1")))
            wait_until("it is held", lambda: proxy.held("user:1"))
            assert proxy.stop() == 0
            with pytest.raises(EOFError):
                client.read()
        assert proxy.state_of(proxy.held("user:1")) == "HELD"


def test_no_request_fails_while_settings_are_read_again(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    with guarding(folder, *places(server, folder)) as proxy, proxy.client() as client:
        for times in range(1, 11):
            proxy.child.send_signal(signal.SIGHUP)
            while len(proxy.events("reloaded")) < times:
                client.send(b"".join(encode((b"SET", b"page:%d" % at, b"x")) for at in range(50)))
                client.send(b"".join(encode((b"DEL", b"page:%d" % at)) for at in range(50)))
                assert [client.read() for _ in range(100)] == [b"OK"] * 50 + [1] * 50
        assert proxy.stop() == 0


def test_an_end_is_compared_with_the_servers_clock(server: Server, tmp_path: Path) -> None:
    gate = Gatekeeper()
    with proxied(server, tmp_path, gate) as started, started.client() as client:
        client("SET", "page:1", "x")
        in_half_an_hour = int(time.time()) + 1_800
        assert client("EXPIREAT", "page:1", in_half_an_hour) == 1
        started.run(lambda: setattr(started.proxy, "ahead_ms", 3_600_000))
        assert gate.calls == []
        with pytest.raises(ServerError, match="GUARDHELD"):
            client("EXPIREAT", "page:1", in_half_an_hour)
        assert len(gate.calls) == 1


def test_clients_hear_that_the_server_is_gone_and_come_back_when_it_is(tmp_path: Path) -> None:
    folder, back = tmp_path / "p", tmp_path / "server"
    back.mkdir()
    upstream = ("--upstream", f"unix://{back / 's'}", "--listen", f"unix://{folder / 'front'}")
    with guarding(folder, *upstream, settings=GUARDS) as proxy:
        with running("redis-7.0", back):
            client = Client(proxy.path)
            client("PING")
        with pytest.raises(EOFError):
            client.read()
        client.close()
        with proxy.client() as client:
            assert "cannot reach the server" in str(client.read())
        (back / "s").unlink()
        with running("redis-7.0", back), proxy.client() as client:
            assert client("SET", "page:1", "a") == b"OK"
            assert client("DEL", "page:1") == 1


def test_the_service_manager_is_told(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    told.bind(str(tmp_path / "notify"))
    told.settimeout(30)
    heard: list[bytes] = []
    end = threading.Event()

    def listen() -> None:
        told.settimeout(0.1)
        while not end.is_set():
            try:
                heard.append(told.recv(4096))
            except TimeoutError:
                continue

    thread = threading.Thread(target=listen)
    thread.start()
    environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
    try:
        for workers in ("1", "2"):
            heard.clear()
            with guarding(folder, *places(server, folder), "--workers", workers, environ=environ) as proxy:
                wait_until("READY", lambda: b"READY=1" in heard)
                wait_until("WATCHDOG", lambda: b"WATCHDOG=1" in heard)
                proxy.child.send_signal(signal.SIGHUP)
                wait_until("RELOADING", lambda: any(one.startswith(b"RELOADING=1\nMONOTONIC") for one in heard))
                wait_until("READY again", lambda: heard.count(b"READY=1") == 2)
                proxy.stop()
                wait_until("STOPPING", lambda: b"STOPPING=1" in heard)
    finally:
        end.set()
        thread.join()
        told.close()


def test_a_balancer_tells_who_the_client_is_and_nobody_comes_in_without_its_header(
    server: Server, tmp_path: Path
) -> None:
    folder = tmp_path / "p"
    settings = {**GUARDS, "redis_proxy.header": "proxy"}
    with guarding(folder, *places(server, folder), settings=settings) as proxy:
        with server.client() as direct:
            direct("SET", "user:1", "y")
        with proxy.client() as client:
            client.send(b"PROXY TCP4 203.0.113.7 192.0.2.1 4711")
            client.send(b" 6379\r\n" + encode((b"DEL", b"user:1")))
            assert "GUARDHELD" in str(client.read())
            assert proxy.wait_for("held")["client"] == "203.0.113.7:4711"
            assert client("PING") == b"PONG"
        with proxy.client() as client, pytest.raises(EOFError):
            client("PING")
        assert "PROXY" in proxy.wait_for("closed")["text"]


def test_nothing_is_removed_while_the_hit_rate_is_down(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    with guarding(folder, *places(server, folder)) as proxy, proxy.client() as client:
        client("MSET", "page:1", "a", "page:2", "b")
        assert client("DEL", "page:1") == 1
        files = proxy.folder / "state" / "hit-rates"
        wait_until("a first sample", lambda: any(files.glob("*.json")))
        path = next(files.glob("*.json"))
        down = Reading(State.DROPPED, 0.5, 0.9, 9.0, 1)
        known = HitRate(history=(2.0,) * 60, lasting=(0.0,), reading=down)
        path.write_bytes(kept_bytes(Kept(known, int(time.time() * 1000))))
        with pytest.raises(ServerError, match=r"GUARDHELD .*hit rate"):
            client("DEL", "page:2")
        assert client("SET", "page:2", "c") == b"OK"


def test_what_is_known_of_the_hit_rate_outlives_the_proxy(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    with guarding(folder, *places(server, folder)) as proxy:
        files = proxy.folder / "state" / "hit-rates"
        wait_until("a first sample", lambda: any(files.glob("*.json")))
        proxy.stop()
    before = next(files.glob("*.json")).read_bytes()
    with guarding(folder, *places(server, folder)):
        wait_until("a second sample", lambda: next(files.glob("*.json")).read_bytes() != before)
    assert len(list(files.iterdir())) == 1
