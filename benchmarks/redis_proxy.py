"""How much of a server's speed is left behind a proxy: ours beside HAProxy in TCP mode and twemproxy, on this machine.

    PYTHONPATH=tests python benchmarks/redis_proxy.py [--rounds 3] [--without NAME ...] [--idle 10000]

One real server of `make setup`, all proxies before it at once, everything on the loopback interface. In each round every way is
measured in turn, so that what else the machine does hits all of them, and ratios are of the same round. Result: stdout, and
between the markers in docs/benchmarks.md.
"""

import argparse
import csv
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from page import machine, median, verdict, write_section
from redisservers import running

SERVER = "redis-7.0"
OURS = "{python} -m go_cache_safeguard redis proxy --upstream {upstream} --listen 127.0.0.1:{port} --state-dir {folder}/{port} --set redis_proxy.connections=20000 --workers {workers}"
"""The command line, its words apart from each other by one space."""

HAPROXY = """\
global
    maxconn {connections}
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen redis
    bind 127.0.0.1:{port}
    server one 127.0.0.1:{server}
"""
TWEMPROXY = """\
redis:
  listen: 127.0.0.1:{port}
  redis: true
  auto_eject_hosts: false
  servers:
   - 127.0.0.1:{server}:1
"""

CLIENTS, KEYS, GOAL, IDLE_GOAL_KIB = 50, 100_000, 0.9, 50
MIXED = "set,get,incr,lpush"
REQUESTS = {1: 60_000, 16: 500_000, 64: 1_000_000}
"""Of one test, by how many are pipelined: a second or two of work."""
_WAIT_S, _RUN_S = 30, 300


@dataclass(frozen=True, slots=True)
class Way:
    """How clients get to the server.

    Attributes:
        name: For the table.
        port: Where clients connect.
        pid: Of the process in between; 0 for none.
    """

    name: str
    port: int
    pid: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """What redis-benchmark found.

    Attributes:
        rate: Requests a second; of several commands, all requests through the whole time.
        p50_ms: Of the latency; of several commands, the mean.
        p99_ms: Of the latency; of several commands, the worst.
    """

    rate: float
    p50_ms: float
    p99_ms: float


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens at."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextmanager
def child(command: Sequence[str], port: int, log: Path) -> Iterator[int]:
    """Start a proxy, wait until a PING comes through, stop it at the end."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + _WAIT_S
        while not answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{' '.join(command)} does not answer: {log.read_text('utf-8', 'replace')[-2000:]}")
            time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(_WAIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_WAIT_S)


def answers(port: int) -> bool:
    """Whether a server can be reached at a port."""
    try:
        with connected(port) as one:
            return one.recv(16) == b"+PONG\r\n"
    except OSError:
        return False


def connected(port: int) -> socket.socket:
    """A connection on which a PING was sent."""
    one = socket.create_connection(("127.0.0.1", port), timeout=_WAIT_S)
    one.sendall(b"*1\r\n$4\r\nPING\r\n")
    return one


@contextmanager
def ways(without: Sequence[str], connections: int) -> Iterator[list[Way]]:
    """The server and everything before it."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="safeguard-bench-")))
        server, haproxy, twemproxy, stats, ours, ours_unix = free_ports(6)
        options = (
            "--port",
            str(server),
            "--bind",
            "127.0.0.1",
            "--maxclients",
            str(connections + 100),
            "--tcp-backlog",
            "4096",
        )
        upstream = stack.enter_context(running(SERVER, folder, *options))
        configs = folder / "haproxy.cfg", folder / "twemproxy.yml"
        for path, text, port in zip(configs, (HAPROXY, TWEMPROXY), (haproxy, twemproxy), strict=True):
            path.write_text(text.format(port=port, server=server, connections=connections + 100), "utf-8")
        commands = {
            "HAProxy, TCP mode": (haproxy, ["haproxy", "-db", "-f", str(configs[0])]),
            "twemproxy": (twemproxy, ["nutcracker", "-c", str(configs[1]), "-a", "127.0.0.1", "-s", str(stats)]),
            "ours": (ours, our_command(f"redis://127.0.0.1:{server}", ours, folder)),
            "ours, Unix socket to the server": (ours_unix, our_command(f"unix://{upstream.path}", ours_unix, folder)),
        }
        found = [Way("direct", server)]
        for name, (port, command) in commands.items():
            if not name.startswith(tuple(without)):
                pid = stack.enter_context(child(command, port, folder / f"{port}.log"))
                found.append(Way(name, port, pid))
        yield found


def our_command(upstream: str, port: int, folder: Path) -> list[str]:
    """How our proxy is started."""
    return [
        word.format(python=sys.executable, upstream=upstream, port=port, folder=folder, workers=os.cpu_count())
        for word in OURS.split(" ")
    ]


def measure(way: Way, tests: str, pipelined: int, requests: int) -> Run:
    """One run of redis-benchmark, several commands one after the other."""
    load = ["-c", str(CLIENTS), "-P", str(pipelined), "-n", str(requests), "-r", str(KEYS), "-t", tests]
    command = ["redis-benchmark", "-h", "127.0.0.1", "-p", str(way.port), "--csv", *load]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=_RUN_S)
    rows = list(csv.DictReader(line for line in done.stdout.splitlines() if line.startswith('"')))
    if len(rows) != len(tests.split(",")):
        raise SystemExit(f"{way.name}: {done.stdout}{done.stderr}")
    seconds = sum(requests / float(row["rps"]) for row in rows)
    return Run(
        rate=len(rows) * requests / seconds,
        p50_ms=sum(float(row["p50_latency_ms"]) for row in rows) / len(rows),
        p99_ms=max(float(row["p99_latency_ms"]) for row in rows),
    )


def throughput(found: Sequence[Way], rounds: int) -> dict[tuple[str, int], dict[str, list[Run]]]:
    """All runs, by what was sent, how many were pipelined, and the way."""
    runs: dict[tuple[str, int], dict[str, list[Run]]] = {}
    for way in found:
        measure(way, "set", 64, 200_000)  # keys for GET, and everybody warm
    for number in range(rounds):
        for pipelined, requests in REQUESTS.items():
            for tests, share in (("get", 1), (MIXED, 4)):
                for way in (*found[number % len(found) :], *found[: number % len(found)]):
                    run = measure(way, tests, pipelined, requests // share)
                    runs.setdefault((tests, pipelined), {}).setdefault(way.name, []).append(run)
                    print(f"{number + 1}/{rounds} {tests} P={pipelined} {way.name}: {run.rate:,.0f}/s", file=sys.stderr)
    return runs


def rss_kib(pid: int) -> int:
    """Memory of a process and all that it started, in KiB."""
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    own = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return own + sum(rss_kib(int(started)) for task in tasks for started in task.read_text("ascii").split())


def idle_kib(way: Way, connections: int) -> float:
    """What one connection costs on which a PING was answered, and nothing more is said; in KiB."""
    with ExitStack() as stack:
        before = rss_kib(way.pid)
        for begin in range(0, connections, 100):
            part = [stack.enter_context(connected(way.port)) for _ in range(min(100, connections - begin))]
            if any(one.recv(16) != b"+PONG\r\n" for one in part):
                raise SystemExit(f"{way.name} does not answer on {connections:,} connections")
        return (rss_kib(way.pid) - before) / connections


def table(runs: Mapping[tuple[str, int], Mapping[str, Sequence[Run]]]) -> Iterator[str]:
    """One row for each way and load."""
    yield "| load | pipelined | way | requests a second | of direct | of HAProxy | p50 ms | p99 ms | goal |"
    yield "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | --- |"
    for (tests, pipelined), by_way in runs.items():
        direct, peer = by_way["direct"], next((of for name, of in by_way.items() if name.startswith("HAProxy")), None)
        for name, of in by_way.items():
            to_peer = ratio(of, peer) if peer and name != "direct" else None
            goal = verdict(to_peer, GOAL) if to_peer is not None and name.startswith("ours") else ""
            yield (
                f"| {'`GET`' if tests == 'get' else 'mixed'} | {pipelined} | {name} | {median([run.rate for run in of]):,.0f} "
                f"| {ratio(of, direct):.2f} | {'' if to_peer is None else f'{to_peer:.2f}'} "
                f"| {median([run.p50_ms for run in of]):.2f} | {median([run.p99_ms for run in of]):.2f} | {goal} |"
            )


def ratio(runs: Sequence[Run], peer: Sequence[Run]) -> float:
    """The middle of the ratios of each round."""
    return median([one.rate / other.rate for one, other in zip(runs, peer, strict=True)])


def report(
    runs: Mapping[tuple[str, int], Mapping[str, Sequence[Run]]],
    idle: Mapping[str, float],
    rounds: int,
    connections: int,
) -> str:
    """The section."""
    lines = [
        f"{SERVER}, {CLIENTS} clients, {KEYS:,} keys, values of 3 bytes; `redis-benchmark`, server and proxy share the processors.",
        f"Mixed is `SET`, `GET`, `INCR` and `LPUSH`, one after the other. {rounds} rounds, interleaved; medians, ratios round by round.",
        machine(),
        "",
        *table(runs),
        "",
        f"Memory of a connection on which nothing goes on, {connections:,} of them at once:",
        "",
        "| way | KiB | goal |",
        "| --- | ---: | --- |",
    ]
    for name, kib in idle.items():
        met = f"{'met' if kib <= IDLE_GOAL_KIB else '**not met**'} (at most {IDLE_GOAL_KIB})"
        lines.append(f"| {name} | {kib:.1f} | {met if name.startswith('ours') else ''} |")
    return "\n".join([*lines, "", "Again: `PYTHONPATH=tests python benchmarks/redis_proxy.py`."])


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without", action="append", default=[], metavar="NAME", help="how the names of ways begin")
    parser.add_argument("--idle", type=int, default=10_000, metavar="CONNECTIONS")
    chosen = parser.parse_args()
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    connections = min(chosen.idle, hard // 2 - 200)  # a proxy holds two files for each
    with ways(chosen.without, connections) as found:
        idle = {way.name: idle_kib(way, connections) for way in found if way.pid}
    with ways(chosen.without, connections) as found:
        runs = throughput(found, chosen.rounds)
    write_section("redis-proxy", report(runs, idle, chosen.rounds, connections))


if __name__ == "__main__":
    main()
