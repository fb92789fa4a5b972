"""The half of `trace` that stands between go and its cache.

Knows:     that go finds what it would have found without us, and that what was seen is written down when go no longer waits.
Called by: `flows.cacheprog_start`.
Never:     proves or refuses anything: whoever traces wants to see what go does.
"""

import fcntl
import os

from go_cache_safeguard.flows.cacheprog import Server
from go_cache_safeguard.gocache.native import Found, Native
from go_cache_safeguard.gocache.progproto import Put
from go_cache_safeguard.gocache.traceline import get_line, put_line


class Seen:
    """Everything that one go command asked and put."""

    def __init__(self) -> None:
        self._gets: list[tuple[bytes, bytes | None, int, int]] = []
        self._puts: list[tuple[bytes, bytes, int, int]] = []
        self._lines: list[bytes] = []

    def got(self, action: bytes, found: Found | None, ns: int) -> None:
        """A lookup was answered."""
        self._gets.append((action, None, 0, ns) if found is None else (action, found.output, found.size, ns))

    def kept(self, action: bytes, put: Put, ns: int) -> None:
        """Something was put."""
        self._puts.append((action, put.output, put.size, ns))

    def wrote(self, lines: bytes) -> None:
        """Lookups were answered by the compiled twin."""
        self._lines.append(lines)

    def lines(self) -> bytes:
        """All of it. A put of an action never comes before its lookup, so their order among each other does not matter."""
        return b"".join(
            [*self._lines, *(get_line(*one) for one in self._gets), *(put_line(*one) for one in self._puts)]
        )


def serve_traced(root: str, folder: str) -> None:
    """Serve one go command, and leave a file in a folder.

    Args:
        root: Of the cache.
        folder: Where a file of our own is locked until all of it is written.
    """
    file = os.open(f"{folder}/{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    fcntl.flock(file, fcntl.LOCK_EX)
    seen = Seen()
    native = Native(root, verify="never")
    Server(native, inlet=0, outlet=1, watch=seen, greeted=True).run()
    os.close(1)  # now go ends
    data = seen.lines()
    while data:
        data = data[os.write(file, data) :]
    native.close()
