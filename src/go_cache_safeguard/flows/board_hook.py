"""Where an Alertmanager says that it is time to look at the boards.

Knows:     one path, who may call, and how much and for how long anybody may talk.
Called by: `cli.signals_board`.
Never:     believes what it is told: which services to look at is all that is taken from it. Tells whether a secret was nearly right.
Source:    Alertmanager 0.25 signs nothing: it can show a bearer token, a password or a certificate (`http_config` of its receivers).
"""

import base64
import binascii
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import socket
from typing import Any

from go_cache_safeguard.approval.notify import hang_up
from go_cache_safeguard.config.layer import ConfigBad
from go_cache_safeguard.config.resolve import Config
from go_cache_safeguard.flows.board import Board
from go_cache_safeguard.flows.private_file import secret_in
from go_cache_safeguard.flows.redis_routes import client_tls
from go_cache_safeguard.flows.redis_sockets import bind
from go_cache_safeguard.redis.route import parse_listen
from go_cache_safeguard.signals.board import services_in

PATH = "/alerts"
_LEAST_SECRET = 16
_MOST_BYTES = 1 << 20
_MOST_AT_ONCE = 16
_WHOLE_S = 10.0
_TLS = "signals.hook_tls_"


@contextmanager
def hooked(config: Config, board: Board) -> Iterator[str]:
    """Listen; gives the address, as host:port.

    Raises:
        ConfigBad: Nobody would have to show anything, or a file cannot be used.
        CannotListen: The place is taken.
    """
    secret = secret_in(config, "signals.hook_token_file")
    if secret and len(secret) < _LEAST_SECRET:
        raise ConfigBad(f"the secret in signals.hook_token_file is shorter than {_LEAST_SECRET} characters")
    if not secret and not config.text(f"{_TLS}client_ca"):
        raise ConfigBad(
            "the hook would let everybody in",
            hint="name a file in signals.hook_token_file, or an authority in signals.hook_tls_client_ca",
        )
    where = parse_listen(config.text("signals.hook_listen"))
    tls = client_tls(config, _TLS)
    listening = bind([where], unix_mode=0o600, shared=False)[where]
    server = _Server(listening, board, secret)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="alertmanager-hook", daemon=True)
    thread.start()
    try:
        yield "{}:{}".format(*server.socket.getsockname()[:2])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    """Cuts off whoever is one too many, or too slow."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, listening: socket, board: Board, secret: str) -> None:
        super().__init__(listening.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.socket.listen(_MOST_AT_ONCE)
        self.board, self.secret = board, secret
        self._room = threading.BoundedSemaphore(_MOST_AT_ONCE)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        end = threading.Timer(_WHOLE_S, hang_up, (request,))
        end.daemon = True
        end.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            end.cancel()
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever hangs up in the middle is no trouble of ours."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _WHOLE_S
    server_version, sys_version = "go-cache-safeguard", ""

    def do_POST(self) -> None:
        """Take a hint."""
        self.close_connection = True
        if self.path != PATH:
            self._say(404)
        elif self.server.secret and not _shows(self.headers.get("Authorization", ""), self.server.secret):
            self._say(401)
        else:
            self._say(self._take())

    def _take(self) -> int:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdecimal() and len(length) < 10):
            return 411
        if int(length) > _MOST_BYTES:
            return 413
        try:
            found = services_in(json.loads(self.rfile.read(int(length))), tuple(self.server.board.places))
        except (ValueError, RecursionError):
            return 400
        self.server.board.hint(found)
        return 204

    def _say(self, status: int) -> None:
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", "Bearer")
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """What a caller sent is nothing to write down."""


def _shows(header: str, secret: str) -> bool:
    """Whether a header shows the secret, as a token or as a password."""
    kind, _, shown = header.partition(" ")
    if kind.lower() == "basic":
        try:
            shown = base64.b64decode(shown, validate=True).decode().partition(":")[2]
        except (binascii.Error, ValueError):
            return False
    elif kind.lower() != "bearer":
        return False
    return hmac.compare_digest(shown.encode(), secret.encode())
