"""A hook at the loopback that answers as a test says, and keeps what it was sent."""

import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from certificates import Certificates

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 - the published example of a secret
HANG = 0
"""Instead of a status: nothing is answered."""
DRIP = 1
"""Instead of a status: the answer comes byte by byte, for ever."""


@dataclass
class Received:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class HookServer:
    """What it answers, one after the other (the last one again and again), and what came."""

    answers: Sequence[int] = (204,)
    received: list[Received] = field(default_factory=list)
    arrived: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    let_go: threading.Event = field(default_factory=threading.Event)
    port: int = 0
    scheme: str = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/hook?to=ops"

    def settings(self, folder: Path, **more: str) -> dict[str, str]:
        """Settings with which it is allowed."""
        secret = folder / "hook-secret"
        secret.touch(mode=0o600)
        secret.write_text(SECRET + "\n")
        return {
            "approval.hook": self.url,
            "approval.hook_secret_file": str(secret),
            "approval.hook_allow": "127.0.0.1",
            "approval.hook_timeout": "1s",
            **{key.replace("__", "."): text for key, text in more.items()},
        }

    def one(self) -> Received:
        """The next request that comes."""
        assert self.arrived.acquire(timeout=30)
        return self.received[-1]


@contextmanager
def hooked(*answers: int, tls: Certificates | None = None, retry_after: str = "") -> Iterator[HookServer]:
    """Listen."""
    hook = HookServer(answers or (204,), scheme="https" if tls else "http")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = hook.answers[min(len(hook.received), len(hook.answers) - 1)]
            hook.received.append(Received(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            hook.arrived.release()
            if status in {HANG, DRIP}:
                while not hook.let_go.wait(0.1 if status == DRIP else None):
                    self.wfile.write(b"H")
                self.close_connection = True
                return
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", "/elsewhere")
            if status == 429 and retry_after:
                self.send_header("Retry-After", retry_after)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named by the base class
            del format, args

    class Quiet(ThreadingHTTPServer):
        daemon_threads = False

        def handle_error(self, request: object, client_address: object) -> None:
            del request, client_address  # a client hung up

    server = Quiet(("127.0.0.1", 0), Handler)
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls.server.cert, tls.server.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    hook.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield hook
    finally:
        hook.let_go.set()
        server.shutdown()
        thread.join(30)
        server.server_close()
