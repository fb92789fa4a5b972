"""Sends a message to a hook, over a connection to an address that was judged before.

Knows:     how one message is sent: which address, how long, how often, and which answers count.
Called by: `flows.hooks`.
Never:     follows a redirect, heeds a proxy of the environment, connects to an address that was not judged, reads the body of an
           answer, or takes one for an approval.
Source:    http.client takes no address to connect to and no end of time for a whole answer, so both are added here; other clients
           resolve names by themselves, between our look and the connection.
"""

import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException

from go_cache_safeguard.approval.eyes import Denied
from go_cache_safeguard.approval.webhook import BODY_BYTES, Message, Secret, Target, headers, judge_address

TRIES = 3
_PAUSES_S = (0.5, 2.0)
_AGAIN = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class Sent:
    """It arrived.

    Attributes:
        status: 200 to 299.
        tries: How often it was sent.
    """

    status: int
    tries: int


@dataclass(frozen=True, slots=True)
class NotSent:
    """It did not, or nobody knows.

    Attributes:
        why: One clause for a person.
        tries: How often it was tried; 0 if nothing was sent.
    """

    why: str
    tries: int


class _Pinned(HTTPConnection):
    """A connection to one address, whatever its name stands for by now."""

    def __init__(self, target: Target, address: str, timeout_s: float) -> None:
        super().__init__(target.host, target.port, timeout=timeout_s)
        self._target, self._address = target, address

    def connect(self) -> None:
        """Connect, and make sure who answers."""
        target = self._target
        self.sock = socket.create_connection((self._address, target.port), self.timeout)
        if target.tls:
            context = ssl.create_default_context()
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            try:
                self.sock = context.wrap_socket(self.sock, server_hostname=target.host)
            except BaseException:
                self.sock.close()
                raise


def deliver(
    target: Target, secret: Secret, message: Message, *, timeout_s: float, pause: Callable[[float], object] = time.sleep
) -> Sent | NotSent:
    """Send a message, up to three times; nothing that goes wrong is raised.

    Args:
        target: Where to.
        secret: What it is signed with.
        message: What is sent.
        timeout_s: How long connecting, the handshake and the answer may each take.
        pause: Waits between two attempts; what it returns ends them if it is true.
    """
    if len(message.body) > BODY_BYTES:
        return NotSent("the message is too large", 0)
    answer: Sent | NotSent = NotSent("nothing was tried", 0)
    for tries in range(1, TRIES + 1):
        answer, again = _try(target, secret, message, tries, timeout_s)
        if not again or tries == TRIES or pause(_PAUSES_S[tries - 1]):
            break
    return answer


def _try(target: Target, secret: Secret, message: Message, tries: int, timeout_s: float) -> tuple[Sent | NotSent, bool]:
    """One attempt, and whether another one may help."""
    try:
        found = _addresses(target)
    except (OSError, UnicodeError) as error:
        return NotSent(f"{target.host} cannot be resolved: {_said(error)}", tries - 1), True
    for address in found:
        if isinstance(judged := judge_address(target, address), Denied):
            return NotSent(judged.reason, tries - 1), False
    try:
        status = _post(target, found[(tries - 1) % len(found)], secret, message, timeout_s)
    except ssl.SSLCertVerificationError as error:
        return NotSent(f"{target.name} does not prove who it is: {error.verify_message}", tries), False
    except (OSError, HTTPException, ValueError) as error:
        return NotSent(f"{target.name} did not answer as it should: {_said(error)}", tries), True
    if 200 <= status < 300:
        return Sent(status, tries), False
    if 300 <= status < 400:
        return NotSent(f"{target.name} answered {status}, and redirects are not followed", tries), False
    return NotSent(f"{target.name} answered {status}", tries), status >= 500 or status in _AGAIN


def _addresses(target: Target) -> list[str]:
    """Every address that the name stands for now; asked once for each attempt."""
    found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    if not found:
        raise OSError("no address")
    return list(dict.fromkeys(str(one[4][0]) for one in found))


def _post(target: Target, address: str, secret: Secret, message: Message, timeout_s: float) -> int:
    """Send it, and read no more than the head of the answer."""
    with closing(_Pinned(target, address, timeout_s)) as connection:
        connection.connect()
        end = threading.Timer(timeout_s, _hang_up, (connection.sock,))  # for an answer that comes byte by byte
        end.daemon = True
        end.start()
        try:
            connection.request(
                "POST",
                target.path,
                message.body,
                {
                    "Host": target.authority,
                    "Content-Type": "application/json",
                    "User-Agent": "go-cache-safeguard",
                    "Connection": "close",
                    **headers(secret, message, now_s=int(time.time())),
                },
            )
            return connection.getresponse().status
        finally:
            end.cancel()


def _hang_up(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _said(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return "".join(char if " " <= char <= "~" else "?" for char in str(text))[:200]
