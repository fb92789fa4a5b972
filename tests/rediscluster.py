"""A cluster of three masters for tests, on free ports of the loopback."""

import random
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from go_cache_safeguard.redis.resp import encode
from redisservers import Client, Server, running

_RANGES = ((0, 5460), (5461, 10922), (10923, 16383))


@dataclass(frozen=True, slots=True)
class Cluster:
    """Three masters.

    Attributes:
        servers: Each with its unix socket.
        url: Of the first.
    """

    servers: tuple[Server, ...]
    url: str

    def ask(self, *words: bytes | str) -> object:
        """Ask each node until one answers without a redirection."""
        for server in self.servers:
            with server.client() as client:
                client.send(encode(tuple(word if isinstance(word, bytes) else word.encode() for word in words)))
                answer = client.read()
                if not (isinstance(answer, Exception) and str(answer).startswith("MOVED")):
                    return answer
        raise AssertionError("nobody has this slot")

    def everything(self) -> dict[bytes, tuple[object, object]]:
        """Value and end of every key."""
        found: dict[bytes, tuple[object, object]] = {}
        for server in self.servers:
            with server.client() as client:
                for key in client.strings("KEYS", "*"):
                    found[key] = client("DUMP", key), client("PEXPIRETIME", key)
        return found


@contextmanager
def cluster(name: str, directory: Path) -> Iterator[Cluster]:
    """Start three masters that share all slots, and wait until they agree."""
    with ExitStack() as stack:
        servers, ports = [], []
        for number in range(3):
            folder = directory / str(number)
            folder.mkdir()
            port = _free_port()
            options = (
                "--port",
                str(port),
                "--bind",
                "127.0.0.1",
                "--cluster-enabled",
                "yes",
                "--cluster-node-timeout",
                "15000",
            )
            servers.append(stack.enter_context(running(name, folder, *options)))
            ports.append(port)
        for number, (server, (first, last)) in enumerate(zip(servers, _RANGES, strict=True)):
            with server.client() as client:
                client("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
                client("CLUSTER", "ADDSLOTSRANGE", first, last)
                if number:
                    client("CLUSTER", "MEET", "127.0.0.1", ports[0])
        for server in servers:
            with server.client() as client:
                _await(client)
        yield Cluster(tuple(servers), f"redis://127.0.0.1:{ports[0]}")


def _await(client: Client) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        slots = client.array("CLUSTER", "SLOTS")
        if b"cluster_state:ok" in client.text("CLUSTER", "INFO") and len(slots) == 3:
            return
        time.sleep(0.05)
    raise AssertionError("the nodes do not agree")


def _free_port() -> int:
    """A port of which the one 10,000 higher is free, too: nodes speak to each other there."""
    while True:
        port = random.randrange(20_000, 50_000)  # noqa: S311 - which one does not matter
        with socket.socket() as one, socket.socket() as other:
            try:
                one.bind(("127.0.0.1", port))
                other.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
            return port
