"""Is the proxy alive, and does the server behind it answer? For health checks.

Knows:     that any answer shows a live proxy, and which answers come from a server.
Called by: the command line's `redis proxy --probe`.
Never:     checks whose certificate it sees, or sends anything but PING: it speaks to the very place where the proxy listens.
"""

import socket
import ssl
from enum import StrEnum

from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.redis.resp import encode
from go_cache_safeguard.redis.route import Where

_TIMEOUT_S = 5
_PING = encode((b"PING",))
_ANSWERS = (b"+PONG", b"-NOAUTH", b"-NOPERM", b"-LOADING", b"-MASTERDOWN")
"""What servers say to PING; whoever has to log in first is answered, too."""
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing is bound here


class Asked(StrEnum):
    """What a health check wants to know."""

    ALIVE = "alive"
    READY = "ready"


class NotHealthy(Failure):
    """The proxy does not answer as it should."""

    id = "proxy-not-healthy"
    exit_code = ExitCode.TARGET
    meaning = "the proxy does not answer, or the server behind it does not"


def probe(where: Where, asked: Asked, *, tls: bool, header: bool) -> str:
    """Ask the proxy that listens there.

    Args:
        where: One of its places.
        asked: What for.
        tls: Whether clients speak TLS there.
        header: Whether connections begin with a PROXY protocol header.

    Returns:
        The answer, for people.

    Raises:
        NotHealthy: Nobody listens, or the answer is another one.
    """
    try:
        answer = _asked(where, tls=tls, header=header)
    except OSError as error:
        raise NotHealthy(f"{where.name}: {str(error) or type(error).__name__}") from error
    text = answer.decode("ascii", "backslashreplace").strip()
    if not answer or (asked is Asked.READY and not answer.startswith(_ANSWERS)):
        raise NotHealthy(f"{where.name}: {text or 'the connection was closed without an answer'}")
    return text


def _asked(where: Where, *, tls: bool, header: bool) -> bytes:
    with socket.socket(socket.AF_UNIX if where.path else _family(where.host)) as plain:
        plain.settimeout(_TIMEOUT_S)
        plain.connect(where.path or (_ANYWHERE.get(where.host, where.host), where.port))
        if header:
            plain.sendall(b"PROXY UNKNOWN\r\n")
        if not tls:
            return _spoken(plain)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with context.wrap_socket(plain) as wrapped:
            return _spoken(wrapped)


def _spoken(one: socket.socket) -> bytes:
    one.sendall(_PING)
    return one.recv(512)


def _family(host: str) -> int:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
