"""Where clients come in, and which server stands behind: read from words.

Knows:     `127.0.0.1:6380`, `[::1]:6380`, `unix:///path`; `sentinel://host:port,host:port/name/db`; `listen=upstream` for each node of a cluster.
Called by: `flows.redis_routes`; `redis.sentinel` gets what was read.
Never:     resolves a name; holds a password.
"""

import re
from dataclasses import dataclass
from ipaddress import ip_address

from go_cache_safeguard.redis.address import Address, AddressError, parse_address

DEFAULT_SENTINEL_PORT = 26_379
_HOST = r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+"
_LISTEN = re.compile(rf"(?P<host>{_HOST}):(?P<port>\d{{1,5}})", re.ASCII)
_UNIX = re.compile(r"unix://(?P<path>/[^\x00-\x20\x7f?#]+)", re.ASCII)
_SENTINEL = re.compile(
    rf"(?P<scheme>sentinels?)://(?:(?P<user>[!-~]*)@)?(?P<nodes>(?:{_HOST})(?::\d{{1,5}})?(?:,(?:{_HOST})(?::\d{{1,5}})?)*)"
    r"/(?P<name>[A-Za-z0-9._-]+)(?:/(?P<db>\d{1,9}))?",
    re.ASCII,
)
_NODE = re.compile(rf"(?P<host>{_HOST})(?::(?P<port>\d{{1,5}}))?", re.ASCII)
_PATH_BYTES = 107
"""What fits into `sun_path` with the NUL behind it; see unix(7)."""


@dataclass(frozen=True, slots=True)
class Where:
    """Where clients come in.

    Attributes:
        host: An address or a name of this machine; empty with a path.
        port: 0 for any free one.
        path: Of a Unix socket; empty for TCP.
    """

    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def name(self) -> str:
        """For people, and as it is written in the settings."""
        if self.path:
            return f"unix://{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether only this machine can come in here."""
        if self.path or self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class Sentinels:
    """A server that Sentinels know by name.

    Attributes:
        nodes: Host and port of each Sentinel.
        master: The name.
        user: Who logs in to the server; empty for the default user.
        db: Number of the database.
        tls: Whether Sentinels and server are spoken to with TLS.
    """

    nodes: tuple[tuple[str, int], ...]
    master: str
    user: str = ""
    db: int = 0
    tls: bool = False

    @property
    def target(self) -> str:
        """As it is written in the settings, without the database."""
        at = f"{self.user}@" if self.user else ""
        nodes = ",".join(Where(host, port).name for host, port in self.nodes)
        return f"sentinel{'s' if self.tls else ''}://{at}{nodes}/{self.master}"


def parse_listen(text: str) -> Where:
    """Read one place where clients come in.

    Raises:
        AddressError: It is none.
    """
    unix = _UNIX.fullmatch(text)
    if unix is not None:
        if len(unix["path"].encode()) > _PATH_BYTES:
            raise AddressError(f"is longer than the {_PATH_BYTES} bytes that a Unix socket's path may have")
        return Where(path=unix["path"])
    found = _LISTEN.fullmatch(text)
    if found is None:
        raise AddressError("is not host:port, [address]:port or unix:///path")
    return Where(found["host"].strip("[]"), _port(found["port"], least=0))


def parse_upstream(text: str) -> Address | Sentinels:
    """Read which server stands behind.

    Raises:
        AddressError: It is neither the URL of a server nor one of Sentinels, or it holds a password.
    """
    if not text.startswith(("sentinel:", "sentinels:")):
        return parse_address(text)
    found = _SENTINEL.fullmatch(text)
    if found is None:
        raise AddressError("is not sentinel://[user@]host[:port][,host[:port]...]/name[/db]")
    user = found["user"] or ""
    if ":" in user:
        raise AddressError("holds a password, which everybody on this machine could read in the list of processes")
    nodes = tuple(_node(one) for one in found["nodes"].split(","))
    return Sentinels(nodes, found["name"], user, int(found["db"] or 0), found["scheme"] == "sentinels")


def parse_nodes(text: str) -> tuple[tuple[Where, Address], ...]:
    """Read `listen=upstream` for each node of a cluster, with white space between them.

    Raises:
        AddressError: One of them is wrong, or a place is named twice.
    """
    found = []
    for word in text.split():
        listen, equals, upstream = word.partition("=")
        if not equals:
            raise AddressError(f"{word!r} is not listen=upstream")
        found.append((parse_listen(listen), parse_address(upstream)))
    if len({where for where, _ in found}) != len(found):
        raise AddressError("names a place to listen at twice")
    return tuple(found)


def _node(text: str) -> tuple[str, int]:
    found = _NODE.fullmatch(text)
    if found is None:
        raise AddressError(f"{text!r} is not host[:port]")
    return found["host"].strip("[]"), _port(found["port"] or str(DEFAULT_SENTINEL_PORT), least=1)


def _port(text: str, *, least: int) -> int:
    port = int(text)
    if not least <= port < 65_536:
        raise AddressError("names a port that there is not")
    return port
