"""Sends a message to a hook, over a connection to an address that was judged before.

Knows:     how one message is sent: which address, how long, how often, and which answers count.
Called by: `flows.hooks`, `flows.chat` and `flows.alerts`; `flows.fleet_link` takes the connection.
Never:     follows a redirect, heeds a proxy of the environment, connects to an address that was not judged, reads more of an answer
           than it was asked to, or takes one for an approval.
Source:    http.client takes no address to connect to and no end of time for a whole answer, so both are added here; other clients
           resolve names by themselves, between our look and the connection.
"""

import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException

from go_cache_safeguard.approval.eyes import Denied
from go_cache_safeguard.approval.webhook import BODY_BYTES, Message, Secret, Target, headers, judge_address
from go_cache_safeguard.telemetry.span import outgoing

TRIES = 3
_PAUSES_S = (0.5, 2.0)
_AGAIN = frozenset({408, 425, 429})
_LONGEST_S = 4 * 3600


@dataclass(frozen=True, slots=True)
class Sent:
    """It arrived.

    Attributes:
        status: 200 to 299.
        tries: How often it was sent.
        body: As much of the answer as was asked for.
    """

    status: int
    tries: int
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class NotSent:
    """It did not, or nobody knows.

    Attributes:
        why: One clause for a person.
        tries: How often it was tried; 0 if nothing was sent.
        status: What was answered; 0 if nothing was, or nobody was asked.
        again_s: How long the other side wants to be left alone, in seconds; 0 if it did not say.
    """

    why: str
    tries: int
    status: int = 0
    again_s: int = 0

    @property
    def away(self) -> bool:
        """Whether another message would fare no better now."""
        return not self.status or self.status >= 500 or self.status in _AGAIN


class Pinned(HTTPConnection):
    """A connection to one address, whatever its name stands for by now."""

    def __init__(self, target: Target, address: str, timeout_s: float, *, authorities: str = "") -> None:
        """Connect to nothing yet.

        Args:
            target: Where to.
            address: One that was judged.
            timeout_s: How long connecting, the handshake and each part of an answer may take.
            authorities: A file with the only authorities that are believed; empty for those of the machine.
        """
        super().__init__(target.host, target.port, timeout=timeout_s)
        self._target, self._address, self._authorities = target, address, authorities

    def connect(self) -> None:
        """Connect, and make sure who answers."""
        target = self._target
        self.sock = socket.create_connection((self._address, target.port), self.timeout)
        if target.tls:
            context = ssl.create_default_context(cafile=self._authorities or None)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            try:
                self.sock = context.wrap_socket(self.sock, server_hostname=target.host)
            except BaseException:
                self.sock.close()
                raise


def deliver(
    target: Target, secret: Secret, message: Message, *, timeout_s: float, pause: Callable[[float], object] = time.sleep
) -> Sent | NotSent:
    """Send a signed message, up to three times; nothing that goes wrong is raised.

    Args:
        target: Where to.
        secret: What it is signed with.
        message: What is sent.
        timeout_s: How long connecting, the handshake and the answer may each take.
        pause: Waits between two attempts; what it returns ends them if it is true.
    """

    def signed() -> Mapping[str, str]:
        return headers(secret, message, now_s=int(time.time()))

    return post(target, message.body, signed, timeout_s=timeout_s, pause=pause)


def post(
    target: Target,
    body: bytes,
    made: Callable[[], Mapping[str, str]] = dict,
    *,
    timeout_s: float,
    pause: Callable[[float], object] = time.sleep,
    read: int = 0,
) -> Sent | NotSent:
    """Send a JSON document, up to three times; nothing that goes wrong is raised.

    Args:
        target: Where to.
        body: The document.
        made: Makes headers of its own for each attempt.
        timeout_s: How long connecting, the handshake and the answer may each take.
        pause: Waits between two attempts; what it returns ends them if it is true.
        read: How many bytes of the answer are wanted.
    """
    if len(body) > BODY_BYTES:
        return NotSent("the message is too large", 0, 413)
    answer: Sent | NotSent = NotSent("nothing was tried", 0)
    for tries in range(1, TRIES + 1):
        answer, again = _try(_Parcel(target, body, made(), timeout_s, read), tries)
        if not again or tries == TRIES or pause(_PAUSES_S[tries - 1]):
            break
    return answer


@dataclass(frozen=True, slots=True)
class _Parcel:
    """What one attempt sends, and where to."""

    target: Target
    body: bytes
    headers: Mapping[str, str]
    timeout_s: float
    read: int


def _try(parcel: _Parcel, tries: int) -> tuple[Sent | NotSent, bool]:
    """One attempt, and whether another one may help."""
    target = parcel.target
    try:
        found = judged_addresses(target)
    except (OSError, UnicodeError) as error:
        return NotSent(f"{target.host} cannot be resolved: {said(error)}", tries - 1), True
    if isinstance(found, Denied):
        return NotSent(found.reason, tries - 1), False
    try:
        status, body, again_s = _post(parcel, found[(tries - 1) % len(found)])
    except ssl.SSLCertVerificationError as error:
        return NotSent(f"{target.name} does not prove who it is: {error.verify_message}", tries), False
    except (OSError, HTTPException, ValueError) as error:
        return NotSent(f"{target.name} did not answer as it should: {said(error)}", tries), True
    if 200 <= status < 300:
        return Sent(status, tries, body), False
    if 300 <= status < 400:
        return NotSent(f"{target.name} answered {status}, and redirects are not followed", tries, status), False
    # Who says how long to wait is not asked again before.
    again = not again_s and (status >= 500 or status in _AGAIN)
    return NotSent(f"{target.name} answered {status}", tries, status, again_s), again


def judged_addresses(target: Target) -> list[str] | Denied:
    """Every address that the name of a target stands for now; or why one of them, and so all, are not connected to.

    Raises:
        OSError, UnicodeError: The name cannot be resolved.
    """
    found = _addresses(target)
    for address in found:
        if isinstance(judged := judge_address(target, address), Denied):
            return judged
    return found


def _addresses(target: Target) -> list[str]:
    """Every address that the name stands for now; asked once for each attempt."""
    found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    if not found:
        raise OSError("no address")
    return list(dict.fromkeys(str(one[4][0]) for one in found))


def _post(parcel: _Parcel, address: str) -> tuple[int, bytes, int]:
    """Send it. Returns the status, what was wanted of the answer, and how long to wait in seconds."""
    target = parcel.target
    with closing(Pinned(target, address, parcel.timeout_s)) as connection:
        connection.connect()
        end = threading.Timer(parcel.timeout_s, hang_up, (connection.sock,))  # for an answer that comes byte by byte
        end.daemon = True
        end.start()
        try:
            connection.request(
                "POST",
                target.path,
                parcel.body,
                {
                    "Host": target.authority,
                    "Content-Type": "application/json",
                    "User-Agent": "go-cache-safeguard",
                    "Connection": "close",
                    **outgoing(),
                    **parcel.headers,
                },
            )
            answer = connection.getresponse()
            wait = answer.headers.get("Retry-After", "").strip()
            body = answer.read(parcel.read) if parcel.read else b""
            return answer.status, body, min(int(wait), _LONGEST_S) if re.fullmatch(r"[0-9]{1,9}", wait) else 0
        finally:
            end.cancel()


def hang_up(sock: socket.socket) -> None:
    """End a connection that another thread waits on."""
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def said(error: Exception) -> str:
    """What went wrong, without odd characters."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return "".join(char if " " <= char <= "~" else "?" for char in str(text))[:200]
