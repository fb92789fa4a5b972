"""An HTTP proxy on the loopback that forwards to one server and does to requests what networks and servers do."""

import socketserver
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler
from threading import Lock, Thread

_HOP = {"connection", "transfer-encoding", "keep-alive", "host"}


class Fault(Enum):
    """What happens to a request."""

    NONE = "it is forwarded"
    ERROR = "it is answered with 500 and not forwarded"
    BUSY = "it is answered with 503 SlowDown and not forwarded"
    DENIED = "it is answered with 403 and not forwarded"
    DROPPED = "the connection is closed before it is forwarded"
    LOST = "it is forwarded, and the answer is lost"
    CUT = "it is forwarded, and half of the answer comes"
    SLOW = "it is forwarded late"
    HANGS = "it is never answered"


@dataclass
class Flaky:
    """A running proxy.

    Attributes:
        port: On 127.0.0.1.
        choose: Given the number of a request, its method and its path, says what happens to it.
        seen: Method and path of every request.
        hang_s: How long a request hangs.
    """

    port: int = 0
    choose: Callable[[int, str, str], Fault] = field(default=lambda _number, _method, _path: Fault.NONE)
    seen: list[tuple[str, str]] = field(default_factory=list)
    hang_s: float = 30.0
    lock: Lock = field(default_factory=Lock)

    @property
    def endpoint(self) -> str:
        """Where clients go."""
        return f"http://127.0.0.1:{self.port}"

    def count(self, method: str, part: str = "") -> int:
        """How many requests of this kind came."""
        return sum(one == method and part in path for one, path in self.seen)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    flaky: Flaky
    upstream: str

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65_537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        self.close_connection = True
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.flaky.lock:
            number = len(self.flaky.seen)
            self.flaky.seen.append((self.command, self.path))
        self._answer(self.flaky.choose(number, self.command, self.path), body)

    def _answer(self, fault: Fault, body: bytes) -> None:
        match fault:
            case Fault.DROPPED:
                return
            case Fault.HANGS:
                time.sleep(self.flaky.hang_s)
                return
            case Fault.ERROR | Fault.BUSY | Fault.DENIED:
                code = {Fault.ERROR: 500, Fault.BUSY: 503, Fault.DENIED: 403}[fault]
                self._send(code, [], b"<Error><Code>InternalError</Code></Error>", cut=False)
                return
            case Fault.SLOW:
                time.sleep(0.3)
            case _:
                pass
        status, headers, answer = self._forward(body)
        if fault is not Fault.LOST:
            self._send(status, headers, answer, cut=fault is Fault.CUT)

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = HTTPConnection(self.upstream, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
        # The signature covers the name that the client used.
        headers["Host"] = self.headers["Host"]
        connection.request(self.command, self.path, body, headers)
        response: HTTPResponse = connection.getresponse()
        answer = response.read()
        kept = [(name, value) for name, value in response.getheaders() if name.lower() not in _HOP]
        connection.close()
        return response.status, kept, answer

    def _send(self, status: int, headers: list[tuple[str, str]], answer: bytes, *, cut: bool) -> None:
        lines = [f"HTTP/1.1 {status} X", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers]
        if not any(name.lower() == "content-length" for name, _ in headers):
            lines.append(f"Content-Length: {len(answer)}")
        data = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (b"" if self.command == "HEAD" else answer)
        self.wfile.write(data[: len(data) // 2] if cut else data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        """Say nothing."""


@contextmanager
def flaky_proxy(upstream: str) -> Iterator[Flaky]:
    """Run a proxy for the length of a block.

    Args:
        upstream: `host:port` of the real server.
    """
    flaky = Flaky()
    handler = type("Handler", (_Handler,), {"flaky": flaky, "upstream": upstream})
    with _Server(("127.0.0.1", 0), handler) as server:
        flaky.port = server.server_address[1]
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield flaky
        finally:
            server.shutdown()
            thread.join()
