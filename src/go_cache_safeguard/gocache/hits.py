"""Gets that are sure hits, answered one after the other without Python.

Knows:     whether the compiled twin is there, and what it is to be told.
Called by: `flows.cacheprog`, whenever nothing is under way.
Never:     decides anything: what is odd in any way comes back, and Python answers it.
Source:    measured with go1.26.8 on 2 cores: of 1,072 lookups of a warm `go build std` each costs 15 us of Python and 4 us without.
"""

TYPE_CHECKING = False  # see gocache.progproto
if TYPE_CHECKING:
    from collections.abc import Callable

try:
    from go_cache_safeguard.gocache import _hits
except ImportError:  # there was no compiler when this was installed
    COMPILED = False
else:
    COMPILED = True

__all__ = ["COMPILED", "Swift"]

_LONGEST = 4000


class Swift:
    """What the compiled twin is told of a cache.

    Attributes:
        root: Of the cache.
        shown: The same as go is told, as it stands in JSON.
        table: Descriptor of the table of marks; whatever if nothing is proved.
        verify: Whether a mark is needed.
    """

    __slots__ = ("root", "shown", "table", "verify")

    def __init__(self, root: bytes, shown: bytes, table: int, *, verify: bool) -> None:
        self.root = root
        self.shown = shown
        self.table = table
        self.verify = verify

    def server(
        self, inlet: int, outlet: int, *, misses: bool, logs: bool
    ) -> "Callable[[bytes], tuple[bytes, int, int, int, int, bytes]] | None":
        """What answers, given what was read already; None if nothing is compiled, or a name is too long.

        It answers until there is something else than a sure hit, or a sure miss. Then it says: what it has read and not answered,
        whether there is nothing more to read, lookups, hits and their bytes, and lines as of `gocache.traceline`.

        Args:
            inlet: Descriptor that requests come from.
            outlet: Descriptor that replies go to.
            misses: Whether to answer what is not there.
            logs: Whether to write lines.
        """
        if not COMPILED or len(self.root) > _LONGEST or len(self.shown) > _LONGEST:
            return None
        told = (inlet, outlet, self.root, self.shown, self.table, int(self.verify), int(misses), int(logs))
        return lambda rest: _hits.serve(*told, rest)
