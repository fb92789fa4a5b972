"""A master, a replica and three Sentinels for tests, on free ports of the loopback."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from guardproxy import free_port
from redisservers import Client, Server, binary, running

NAME = "cache"


@dataclass(frozen=True, slots=True)
class Watched:
    """What Sentinels watch.

    Attributes:
        servers: The first master, then the replica.
        ports: Of these.
        url: As a proxy takes it.
        sentinels: Their sockets.
    """

    servers: tuple[Server, Server]
    ports: tuple[int, int]
    url: str
    sentinels: tuple[str, ...]


@contextmanager
def watched(name: str, directory: Path) -> Iterator[Watched]:
    """Start all of them, and wait until every Sentinel knows the replica and the other Sentinels."""
    with ExitStack() as stack:
        ports = free_port(), free_port()
        servers = []
        for number, port in enumerate(ports):
            folder = directory / f"server{number}"
            folder.mkdir()
            options = ["--port", str(port), "--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0"]
            if number:
                options += ["--replicaof", "127.0.0.1", str(ports[0])]
            servers.append(stack.enter_context(running(name, folder, *options)))
        nodes, sockets = [], []
        for number in range(3):
            folder = directory / f"sentinel{number}"
            folder.mkdir()
            port = free_port()
            sockets.append(stack.enter_context(_sentinel(name, folder, port, ports[0])))
            nodes.append(f"127.0.0.1:{port}")
        for path in sockets:
            _await(path)
        yield Watched((servers[0], servers[1]), ports, f"sentinel://{','.join(nodes)}/{NAME}", tuple(sockets))


@contextmanager
def _sentinel(name: str, folder: Path, port: int, master: int) -> Iterator[str]:
    program, path = folder / "redis-server", str(folder / "s")
    source = binary(name)
    if os.access(source, os.X_OK):
        program.symlink_to(source)
    else:
        shutil.copy(source, program)
        program.chmod(0o755)
    lines = (
        f"port {port}",
        "bind 127.0.0.1",
        f"unixsocket {path}",
        f"dir {folder}",
        f"sentinel monitor {NAME} 127.0.0.1 {master} 2",
        f"sentinel down-after-milliseconds {NAME} 1000",
        f"sentinel failover-timeout {NAME} 5000",
    )
    config = folder / "sentinel.conf"
    config.write_text("\n".join(lines) + "\n")
    with (folder / "log").open("ab") as log:
        child = subprocess.Popen(
            [program, config, "--sentinel"], cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        yield path
    finally:
        child.kill()
        child.wait(timeout=30)


def _await(path: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            client = Client(path)
            flat = client.strings("SENTINEL", "MASTER", NAME)
            client.close()
        except OSError:
            time.sleep(0.05)
            continue
        fields = dict(zip(flat[::2], flat[1::2], strict=True))
        if fields[b"num-slaves"] == b"1" and fields[b"num-other-sentinels"] == b"2":
            return
        time.sleep(0.1)
    raise AssertionError("the Sentinels do not know each other")
