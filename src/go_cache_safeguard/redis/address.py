"""Where a server is, read from a URL.

Knows:     `redis://user@host:port/db`, `rediss://` for TLS, `unix:///path?db=N`.
Called by: `flows` reads what a person named; `redis.client` connects to it; plans name their server with it.
Never:     holds a password: one in a URL stands in the list of processes and in the shell's history.
"""

import re
from dataclasses import dataclass

DEFAULT_PORT = 6379
_NET = re.compile(
    r"(?P<scheme>rediss?)://(?:(?P<user>[^@/?#]*)@)?(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>\d{1,5}))?"
    r"(?:/(?P<db>\d{1,9})?)?",
    re.ASCII,
)
_UNIX = re.compile(r"unix://(?:(?P<user>[^@/?#]*)@)?(?P<path>/[^\x00-\x1f\x7f?#]+)(?:\?db=(?P<db>\d{1,9}))?", re.ASCII)
_USER = re.compile(r"[!-~]*", re.ASCII)


class AddressError(ValueError):
    """This is no address of a server; the text says why, and never repeats a password."""


@dataclass(frozen=True, slots=True)
class Address:
    """One server, and one of its databases.

    Attributes:
        host: Name or number; empty with a socket.
        port: Of TCP; 0 with a socket.
        path: Of a unix socket; empty without one.
        user: Who logs in; empty for the default user.
        db: Number of the database.
        tls: Whether the connection is encrypted.
    """

    host: str = ""
    port: int = 0
    path: str = ""
    user: str = ""
    db: int = 0
    tls: bool = False

    @property
    def target(self) -> str:
        """The server without a database: what a plan names, and what it can be found by again."""
        at = f"{self.user}@" if self.user else ""
        if self.path:
            return f"unix://{at}{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"redis{'s' if self.tls else ''}://{at}{host}:{self.port}"


def parse_address(url: str) -> Address:
    """Read a URL.

    Raises:
        AddressError: It is none that we know, or it holds a password.
    """
    found = _NET.fullmatch(url) or _UNIX.fullmatch(url)
    if found is None:
        raise AddressError("is not redis://[user@]host[:port][/db], rediss://... or unix:///path[?db=N]")
    part = {name: text or "" for name, text in found.groupdict().items()}
    if ":" in part["user"]:
        raise AddressError("holds a password, which everybody on this machine could read in the list of processes")
    if _USER.fullmatch(part["user"]) is None:
        raise AddressError("names a user with odd characters")
    db = int(part["db"] or 0)
    if "path" in part:
        return Address(path=part["path"], user=part["user"], db=db)
    port = int(part["port"] or DEFAULT_PORT)
    if not 0 < port < 65_536:
        raise AddressError("names a port that there is not")
    return Address(part["host"].strip("[]"), port, "", part["user"], db, part["scheme"] == "rediss")
