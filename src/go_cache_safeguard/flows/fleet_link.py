"""One question to the approval server of a fleet, and its answer.

Knows:     how a host speaks to its server: over TLS that proves who answers, to an address that was judged, with a token from a file,
           within a bounded time, reading a bounded answer of JSON.
Called by: `flows.fleet`.
Never:     follows a redirect or a proxy of the environment; puts the token into an address, a log or a `repr`; asks twice by itself;
           takes anything but JSON of the right form for an answer.
"""

import json
import ssl
import threading
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import Any

from go_cache_safeguard.approval.eyes import Denied
from go_cache_safeguard.approval.notify import Pinned, hang_up, judged_addresses, said
from go_cache_safeguard.approval.webhook import Target
from go_cache_safeguard.core.canonical import Value, canonical
from go_cache_safeguard.telemetry.span import outgoing

MOST_BYTES = 1 << 20
"""An answer is never larger."""

_JSON = frozenset({"application/json", "application/problem+json"})
_CHARS = 300


@dataclass(frozen=True, slots=True, repr=False)
class Bearer:
    """The API token of this host, wrapped so that logs and tracebacks do not show it."""

    text: str

    def __repr__(self) -> str:
        return "Bearer(...)"


@dataclass(frozen=True, slots=True)
class Link:
    """Where the server is, and how it is asked.

    Attributes:
        target: Its address; the path is what stands before `/api/v1`.
        bearer: The token.
        authorities: A file with the only authorities that are believed; empty for those of the machine.
        timeout_s: How long connecting, the handshake and the answer may each take.
    """

    target: Target
    bearer: Bearer
    authorities: str
    timeout_s: int


@dataclass(frozen=True, slots=True)
class Answered:
    """The server said something.

    Attributes:
        status: Of HTTP.
        value: What it said; of an error: its `id`, `detail`, `hint`.
    """

    status: int
    value: Mapping[str, Any]

    @property
    def problem(self) -> str:
        """Of an error, one clause for a person."""
        detail = _plain(str(self.value.get("detail", "")))
        hint = _plain(str(self.value.get("hint", "")))
        return f"{detail or f'it answered {self.status}'}{f' ({hint})' if hint else ''}"


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """The server said nothing that can be understood.

    Attributes:
        why: One clause for a person.
        sent: Whether what was asked may have reached it.
    """

    why: str
    sent: bool


def ask_once(link: Link, method: str, path: str, body: Mapping[str, Value] | None = None) -> Answered | NoAnswer:
    """Ask, once; nothing that goes wrong is raised.

    Args:
        link: Where to.
        method: GET or POST.
        path: Below `/api/v1`, with the query.
        body: What is sent; None for nothing.
    """
    name = link.target.name
    try:
        found = judged_addresses(link.target)
        if isinstance(found, Denied):
            return NoAnswer(found.reason, sent=False)
        with closing(Pinned(link.target, found[0], link.timeout_s, authorities=link.authorities)) as connection:
            connection.connect()
            return _exchange(link, connection, method, path, None if body is None else canonical(body))
    except ssl.SSLCertVerificationError as error:
        return NoAnswer(f"{name} does not prove who it is: {error.verify_message}", sent=False)
    except (OSError, HTTPException, ValueError) as error:
        return NoAnswer(f"{name} cannot be reached: {said(error)}", sent=False)


def _exchange(link: Link, connection: Pinned, method: str, path: str, body: bytes | None) -> Answered | NoAnswer:
    """From here on it may have arrived, whatever we hear."""
    end = threading.Timer(link.timeout_s, hang_up, (connection.sock,))  # for an answer that comes byte by byte
    end.daemon = True
    end.start()
    try:
        prefix = link.target.path.rstrip("/")
        connection.request(method, f"{prefix}/api/v1{path}", body, _headers(link, body))
        return _read(link.target.name, connection.getresponse())
    except (OSError, HTTPException, ValueError) as error:
        return NoAnswer(f"{link.target.name} did not answer as it should: {said(error)}", sent=True)
    finally:
        end.cancel()


def _headers(link: Link, body: bytes | None) -> dict[str, str]:
    kind = {} if body is None else {"Content-Type": "application/json"}
    return {
        "Host": link.target.authority,
        "Authorization": f"Bearer {link.bearer.text}",
        "Accept": "application/json",
        "User-Agent": "go-cache-safeguard",
        "Connection": "close",
        **outgoing(),
        **kind,
    }


def _read(name: str, response: HTTPResponse) -> Answered | NoAnswer:
    if 300 <= response.status < 400:
        return NoAnswer(f"{name} answered {response.status}, and redirects are not followed", sent=True)
    kind = (response.getheader("Content-Type") or "").partition(";")[0].strip().lower()
    data = response.read(MOST_BYTES + 1)
    if kind not in _JSON or len(data) > MOST_BYTES:
        return NoAnswer(f"{name} answered {response.status} with something that no approval server says", sent=True)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        return NoAnswer(f"{name} answered {response.status} with something that is not JSON of ours", sent=True)
    return Answered(response.status, value)


def _plain(text: str) -> str:
    plain = "".join(char if char.isprintable() else "?" for char in text)
    return plain if len(plain) <= _CHARS else f"{plain[:_CHARS]}..."
