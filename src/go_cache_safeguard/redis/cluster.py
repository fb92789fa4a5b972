"""All masters of a cluster, seen as one server.

Knows:     which node has which slot when the connection was made, and that keys go together only within one slot.
Called by: `flows.redis_server`.
Never:     follows a redirection: what moved since is refused by the server, so it stays until somebody goes on with the removal.
Source:    CLUSTER SLOTS since Redis 3.0; the slot of a key is CRC16 of it, or of what stands in its first braces, modulo 16384.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, TypeVar

from redis.crc import key_slot

from go_cache_safeguard.redis.address import Address
from go_cache_safeguard.redis.bigvalue import Sink
from go_cache_safeguard.redis.client import Looked, Pieces, Server, ServerRefuses, ServerUnreachable
from go_cache_safeguard.redis.info import Info
from go_cache_safeguard.redis.trash import Captured

SLOTS = 16_384
_T = TypeVar("_T")


class Cluster:
    """Open connections to every master. Use it in a `with` statement."""

    def __init__(self, seed: Server, nodes: dict[str, Server], owners: Sequence[str]) -> None:
        self._seed = seed
        self._nodes = nodes
        self._owners = owners
        self._watched: Server | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for node in (self._seed, *self._nodes.values()):
            node.close()

    @property
    def address(self) -> Address:
        """The node that was named."""
        return self._seed.address

    def infos(self) -> list[Info]:
        """What each master says of itself."""
        return [info for node in self._nodes.values() for info in node.infos()]

    def now_ms(self) -> int:
        """The clock of the node that was named."""
        return self._seed.now_ms()

    def owner(self, key: bytes) -> Server:
        """The node that has it."""
        return self._nodes[self._owners[self.slot_of(key)]]

    def slot_of(self, key: bytes) -> int:
        """0 to 16383."""
        return int(key_slot(key))

    def select(self, db: int) -> None:
        """A cluster has one database.

        Raises:
            ServerRefuses: Another one is wanted.
        """
        if db:
            raise ServerRefuses(f"a cluster has no database {db}", not_done="this command did nothing")

    def scan(self, pattern: bytes | None = None) -> Iterator[list[bytes]]:
        """Names of keys of every master."""
        for node in self._nodes.values():
            yield from node.scan(pattern)

    def look(self, keys: Sequence[bytes]) -> list[Looked]:
        """See `Server.look`."""
        return self._spread(keys, self.owner, lambda node, part: node.look(part))

    def watch(self, keys: Sequence[bytes], sink: Sink | None = None) -> list[Looked]:
        """See `Server.watch`; all keys are of one slot."""
        self._watched = self.owner(keys[0])
        return self._watched.watch(keys, sink)

    def bearable(self, key: bytes | None = None) -> int | None:
        """See `Server.bearable`; of the node of a key, or the least of all nodes."""
        nodes = self._nodes.values() if key is None else (self.owner(key),)
        return min((most for node in nodes if (most := node.bearable()) is not None), default=None)

    def takes(self) -> int | None:
        """See `Server.takes`; what every node takes."""
        each = [node.takes() for node in self._nodes.values()]
        known = [most for most in each if most is not None]
        return min(known) if len(known) == len(each) else None

    def forget(self) -> None:
        """See `Server.forget`."""
        if self._watched is not None:
            self._watched.forget()

    def remove(self, keys: Sequence[bytes]) -> int | None:
        """See `Server.remove`; all keys are those that `watch` looked at."""
        return self.owner(keys[0]).remove(keys)

    def overwrite(self, one: Captured) -> Any:
        """See `Server.overwrite`."""
        return self.owner(one.key).overwrite(one)

    def restore(self, values: Sequence[Captured], *, replace: bool, pieces: Pieces | None = None) -> list[Any]:
        """See `Server.restore`."""
        return self._spread(
            values,
            lambda one: self.owner(one.key),
            lambda node, part: node.restore(part, replace=replace, pieces=pieces),
        )

    def there(self, keys: Sequence[bytes]) -> list[bool]:
        """See `Server.there`."""
        return self._spread(keys, self.owner, lambda node, part: node.there(part))

    def _spread(
        self, things: Sequence[Any], owner: Callable[[Any], Server], ask: Callable[[Server, list[Any]], list[_T]]
    ) -> list[_T]:
        """Ask each node about its own, and give the answers in the order of the questions."""
        parts: dict[int, tuple[Server, list[int]]] = {}
        for at, thing in enumerate(things):
            node = owner(thing)
            parts.setdefault(id(node), (node, []))[1].append(at)
        answers: dict[int, _T] = {}
        for node, places in parts.values():
            answers.update(zip(places, ask(node, [things[at] for at in places]), strict=True))
        return [answers[at] for at in range(len(things))]


def open_cluster(seed: Server, connect: Callable[[Address], Server]) -> Cluster:
    """Connect to every master.

    Args:
        seed: A connection to any node.
        connect: Opens one more, with the same password.

    Raises:
        ServerUnreachable: Slots are served by nobody, or a node cannot be reached.
    """
    owners = [""] * SLOTS
    nodes: dict[str, Server] = {}
    for begin, end, master, *_ in seed.ask("CLUSTER", "SLOTS"):
        host, port = master[0].decode("ascii", "replace") or seed.address.host, int(master[1])
        address = replace(seed.address, host=host or "127.0.0.1", port=port, path="", db=0)
        name = address.target
        if name not in nodes:
            nodes[name] = connect(address)
        for slot in range(int(begin), int(end) + 1):
            owners[slot] = name
    if not all(owners):
        raise ServerUnreachable(
            f"{owners.count('')} slots of the cluster at {seed.address.target} are served by nobody",
            not_done="nothing was read or removed",
        )
    return Cluster(seed, nodes, owners)
