"""The proxy's metrics: a real Prometheus reads them, a real Alertmanager hears of what is held, and nobody is hurt by who asks."""

import os
import re
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from alerting import alertmanager, alerts, asked, program, prometheus
from guardproxy import GuardProxy, free_port, guarding, wait_until
from redisservers import Server, ServerError, running

pytestmark = pytest.mark.real
P = "go_cache_safeguard_redis_"
GUARDS = {"redis.protect": "user:*"}
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "server"
    folder.mkdir()
    with running("redis-7.0", folder) as started:
        yield started


def places(server: Server, folder: Path, *more: str) -> tuple[str, ...]:
    return "--upstream", f"unix://{server.path}", "--listen", f"unix://{folder / 'front'}", *more


def port_of(proxy: GuardProxy) -> int:
    return int(re.findall(r":(\d+)/", proxy.wait_for("metrics")["url"])[0])


def scrape(proxy: GuardProxy, accepts: str = "text/plain") -> str:
    url = f"http://127.0.0.1:{port_of(proxy)}/metrics"
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": accepts}), timeout=30) as answer:
        assert answer.status == 200
        return str(answer.read().decode())


def numbers(proxy: GuardProxy) -> dict[str, float]:
    """Every series that is shown, as it is written, with its number."""
    lines = [line for line in scrape(proxy).splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def wait_number(proxy: GuardProxy, name: str, value: float) -> None:
    wait_until(f"{name} is {value}", lambda: numbers(proxy).get(P + name) == value, 30)


def held(proxy: GuardProxy) -> str:
    with proxy.client() as client, pytest.raises(ServerError, match="GUARDHELD op_"):
        client("DEL", "user:1")
    return str(proxy.wait_for("held")["op"])


def test_prometheus_reads_them_and_alertmanager_hears_of_what_is_held(server: Server, tmp_path: Path) -> None:
    folder, port = tmp_path / "p", free_port()
    with ExitStack() as stack:
        with server.client() as direct:
            direct("SET", "user:1", "x" * 1000)
        proxy = stack.enter_context(
            guarding(folder, *places(server, folder, "--metrics", f"127.0.0.1:{port}"), settings=GUARDS)
        )
        manager = stack.enter_context(alertmanager(tmp_path))
        reader = stack.enter_context(prometheus(tmp_path, f"127.0.0.1:{port}", manager))
        wait_until("it is read", lambda: asked(reader, 'up{job="go-cache-safeguard-redis"} == 1'), 60)
        assert "GoCacheSafeguardCallHeld" not in alerts(manager)
        op = held(proxy)
        wait_until("somebody is told", lambda: "GoCacheSafeguardCallHeld" in alerts(manager), 60)
        told = alerts(manager)["GoCacheSafeguardCallHeld"]
        assert told["labels"]["instance"] == f"127.0.0.1:{port}"
        assert told["annotations"]["summary"] == f"1 operations at 127.0.0.1:{port} wait for a person"
        proxy.approve(op)
        proxy.wait_state(op, "DONE")
        wait_number(proxy, "held_operations", 0)
        wait_until("it is over", lambda: "GoCacheSafeguardCallHeld" not in alerts(manager), 60)
        now = numbers(proxy)
        assert now[P + 'approvals_executed_total{result="done"}'] == 1
        assert now[P + 'operations_decided_total{outcome="approved"}'] == 1
        assert now[P + "held_seconds_count"] == 1
        assert now[P + "captured_bytes_total"] >= 1000
        assert P + "oldest_held_timestamp_seconds" not in now
        found = asked(reader, P + 'calls_total{class="removes",answer="held"}')
        assert [one["value"][1] for one in found] == ["1"]


def test_both_formats_are_well_formed_and_name_no_client_and_no_key(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    with guarding(folder, *places(server, folder, "--metrics", "127.0.0.1:0"), settings=GUARDS) as proxy:
        with server.client() as direct:
            direct("SET", "user:1", "x")
        held(proxy)
        wait_number(proxy, "held_operations", 1)
        plain, newer = scrape(proxy), scrape(proxy, OPENMETRICS)
        lint = subprocess.run(
            [program("promtool"), "check", "metrics"], input=plain, capture_output=True, text=True, check=False
        )
        assert (lint.returncode, lint.stdout, lint.stderr) == (0, "", "")
        assert newer.endswith("# EOF\n")
        assert "user:1" not in plain + newer
        labels = set(re.findall(r'[{,](\w+)="', plain))
        assert labels <= {"class", "answer", "le", "kind", "result", "node", "state", "outcome", "version", "python"}


def test_counters_never_go_back_when_a_worker_dies(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    with guarding(
        folder, *places(server, folder, "--workers", "2", "--metrics", "127.0.0.1:0"), settings=GUARDS
    ) as proxy:
        proxy.wait_for("listening", 2)
        with server.client() as direct:
            direct("SET", "user:1", "x")
        held(proxy)
        for _ in range(10):
            with proxy.client() as client:
                client("DEL", "page:1")
        passed = 'calls_total{answer="passed",class="removes"}'
        wait_until("all are counted", lambda: numbers(proxy).get(P + "connections_accepted_total", 0) >= 11)
        before = numbers(proxy)
        assert before[P + passed] == 10
        for pid in proxy.workers:
            os.kill(pid, signal.SIGKILL)
        proxy.wait_for("metrics", 2)
        after = numbers(proxy)
        counted = [name for name in before if re.search(r"_(total|bucket|count|sum)\b", name)]
        assert len(counted) > 50
        assert [name for name in counted if after[name] < before[name]] == []
        assert after[P + "held_operations"] == 1
        with proxy.client() as client:
            client("DEL", "page:1")
        wait_number(proxy, passed, 11)
        assert proxy.stop() == 0


def test_silent_connections_keep_neither_clients_nor_prometheus_out(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    with guarding(folder, *places(server, folder, "--metrics", "127.0.0.1:0")) as proxy, ExitStack() as stack:
        port, files = port_of(proxy), Path(f"/proc/{proxy.child.pid}/fd")
        before = len(list(files.iterdir()))
        silent = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 30)) for _ in range(300)]
        silent[-1].sendall(b"GET /metrics HTTP/1.1\r\nHost:")
        with proxy.client() as client:
            assert client("PING") == b"PONG"
        assert P + "connections" in numbers(proxy)
        assert len(list(files.iterdir())) < before + 30
        for one in silent:  # also those that came last are let go after a while
            one.settimeout(30)
            with pytest.raises(OSError, match="reset"):
                raise OSError("reset" if one.recv(100) == b"" else "served")
        assert P + "connections" in numbers(proxy)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", b"200"),
        (b"HEAD /metrics HTTP/1.0\r\n\r\n", b"200"),
        (b"GET / HTTP/1.1\r\n\r\n", b"404"),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 0\r\n\r\n", b"405"),
        (b"*1\r\n$4\r\nPING\r\n\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 9000, b"431"),
    ],
)
def test_it_only_tells(each_proxy: GuardProxy, request_: bytes, status: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port_of(each_proxy)), 30) as one:
        one.sendall(request_)
        with one.makefile("rb") as file:
            head, _, body = file.read().partition(b"\r\n\r\n")
    assert head.split()[1] == status
    assert b"Connection: close" in head
    assert (body == b"") == request_.startswith(b"HEAD")


@pytest.fixture(scope="module")
def each_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardProxy]:
    folder = tmp_path_factory.mktemp("metrics")
    (folder / "s").mkdir()
    with (
        running("redis-7.0", folder / "s") as server,
        guarding(folder / "p", *places(server, folder / "p", "--metrics", "127.0.0.1:0")) as proxy,
    ):
        yield proxy


def test_a_journal_a_server_and_settings_that_fail_are_seen(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    config = folder / "go-cache-safeguard" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('[redis]\nprotect = "user:*"\n')
    with guarding(folder, *places(server, folder, "--metrics", "127.0.0.1:0")) as proxy:
        up = f'upstream_up{{node="unix://{server.path}"}}'
        wait_number(proxy, up, 1)
        wait_number(proxy, "held_operations", 0)
        assert numbers(proxy)[P + 'failures_total{kind="journal"}'] == 0
        assert numbers(proxy)[P + "last_reload_successful"] == 1
        config.write_text("[redis\n")
        proxy.child.send_signal(signal.SIGHUP)
        proxy.wait_for("reload-failed")
        wait_number(proxy, "last_reload_successful", 0)
        assert numbers(proxy)[P + 'reloads_total{result="failure"}'] == 1
        config.write_text("")
        proxy.child.send_signal(signal.SIGHUP)
        proxy.wait_for("reloaded")
        wait_number(proxy, "last_reload_successful", 1)
        journal = folder / "state" / "journal.sqlite"
        journal.rename(journal.with_name("away"))
        journal.mkdir()
        wait_until("it is counted", lambda: numbers(proxy)[P + 'failures_total{kind="journal"}'] > 0)
        wait_until("nothing is guessed", lambda: P + "held_operations" not in numbers(proxy))
        journal.rmdir()
        journal.with_name("away").rename(journal)
        wait_number(proxy, "held_operations", 0)
        os.kill(server.pid, signal.SIGKILL)
        wait_number(proxy, up, 0)


def test_nothing_listens_unless_it_is_wanted(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    with guarding(folder, *places(server, folder)) as proxy:
        assert proxy.events("metrics") == []
        inodes = {str(one.readlink()) for one in Path(f"/proc/{proxy.child.pid}/fd").iterdir()}
        table = Path(f"/proc/{proxy.child.pid}/net/tcp").read_text().splitlines()[1:]
        assert not [line for line in table if f"socket:[{line.split()[9]}]" in inodes]
