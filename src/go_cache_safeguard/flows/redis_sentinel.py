"""Which server is the master now, by what its Sentinels say and by what it says itself.

Knows:     that of several answers the one with the newest configuration counts, and that a message of any Sentinel is a reason to ask again.
Called by: `flows.redis_proxy`.
Never:     believes a Sentinel alone: what it names has to say of itself that it is a master.
Source:    Redis' "Sentinel client spec" and "Sentinel" documentation: SENTINEL MASTER, `config-epoch`, channel `+switch-master`.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from go_cache_safeguard.core.errors import Failure
from go_cache_safeguard.flows.private_file import password_in
from go_cache_safeguard.flows.redis_routes import server_tls
from go_cache_safeguard.flows.redis_server import connect_node
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.redis.address import Address
from go_cache_safeguard.redis.client import ServerUnreachable, connect
from go_cache_safeguard.redis.resp import encode
from go_cache_safeguard.redis.route import Sentinels

_ASK_S = 3
_AGAIN_S = 1.0
_PASSWORD = "redis_proxy.sentinel_password_file"  # noqa: S105 - the name of a setting
_CHANNEL = b"+switch-master"


@dataclass(frozen=True, slots=True)
class _Told:
    """What one Sentinel says."""

    epoch: int
    host: str
    port: int


def find_master(session: Session, sentinels: Sentinels) -> Address:
    """Ask every Sentinel, then the server itself. Takes some seconds when some of them are silent.

    Raises:
        ServerUnreachable: No Sentinel knows it, or what they name is no master.
    """
    told: list[_Told] = []
    why = "no Sentinel knows it"
    for host, port in sentinels.nodes:
        try:
            told.append(_ask(session, sentinels, host, port))
        except (Failure, ValueError) as error:
            why = str(error)
    if not told:
        raise ServerUnreachable(f"{sentinels.target} cannot be found: {why}", not_done="nothing was let through")
    newest = max(told, key=lambda one: one.epoch)
    address = Address(newest.host, newest.port, "", sentinels.user, sentinels.db, sentinels.tls)
    with connect_node(session, address) as server:
        role = server.infos()[0].fields.get("role", "")
    if role != "master":
        raise ServerUnreachable(f"{address.target} says that it is a {role or 'server of no role'}, not a master")
    return address


async def listen(session: Session, sentinels: Sentinels, wake: Callable[[], None]) -> None:
    """Call `wake` whenever a Sentinel says that a master has changed; goes on until it is cancelled."""
    await asyncio.gather(*(_listen_to(session, sentinels, host, port, wake) for host, port in sentinels.nodes))


def _ask(session: Session, sentinels: Sentinels, host: str, port: int) -> _Told:
    address = Address(host, port, tls=sentinels.tls)
    ca = session.config.text("redis.ca")
    with connect(address, password=password_in(session, _PASSWORD), timeout_s=_ASK_S, ca=ca) as sentinel:
        flat = sentinel.ask("SENTINEL", "MASTER", sentinels.master)
    words = [word.decode("utf-8", "replace") if isinstance(word, bytes) else str(word) for word in flat]
    fields = dict(zip(words[::2], words[1::2], strict=True))
    try:
        return _Told(int(fields["config-epoch"]), fields["ip"], int(fields["port"]))
    except KeyError as error:
        raise ValueError(f"the Sentinel at {host}:{port} does not tell {error}") from error


async def _listen_to(session: Session, sentinels: Sentinels, host: str, port: int, wake: Callable[[], None]) -> None:
    while True:
        with suppress(OSError, Failure, TimeoutError):
            await _hear(session, sentinels, host, port, wake)
        await asyncio.sleep(_AGAIN_S)


async def _hear(session: Session, sentinels: Sentinels, host: str, port: int, wake: Callable[[], None]) -> None:
    """Subscribe, and wake with every message until the connection ends: what it says is asked for anew anyway."""
    tls = server_tls(session.config) if sentinels.tls else None
    async with asyncio.timeout(_ASK_S):
        reader, writer = await asyncio.open_connection(host, port, ssl=tls)
    try:
        password = password_in(session, _PASSWORD).encode("utf-8", "surrogateescape")
        writer.write((encode((b"AUTH", password)) if password else b"") + encode((b"SUBSCRIBE", _CHANNEL)))
        while await reader.read(1 << 16):
            wake()
    finally:
        writer.close()
