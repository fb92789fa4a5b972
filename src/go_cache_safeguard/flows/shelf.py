"""A build cache as those see it who ask for keys: what is there, what was there, and what of each package.

Knows:     which entries go would find, what left the cache, and by what name a package lies in it.
Called by: `flows.why` and `flows.testkeys`.
Never:     looks into the cache itself: one look was had before.
Source:    `gocache.archive`: the compiler calls every program `main`, and the directory of its source tells which one it is.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property

from go_cache_safeguard.flows.ghost_list import ghosts
from go_cache_safeguard.flows.looking import Cache
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.gocache.entry import Entry
from go_cache_safeguard.gocache.ghosts import Ghost
from go_cache_safeguard.gocache.hashlog import Block, HashLog
from go_cache_safeguard.gocache.inventory import Inventory, id_half
from go_cache_safeguard.gocache.keyproof import Held


class Shelf:
    """The cache, and what left it, as those see it who ask for keys.

    Args:
        session: Who asks.
        cache: The cache.
    """

    def __init__(self, session: Session, cache: Cache) -> None:
        self.session, self.cache = session, cache
        self.inventory: Inventory | None = cache.inventory

    @cached_property
    def found(self) -> AbstractSet[bytes]:
        """Keys that go would find."""
        if self.inventory is None:
            return frozenset()
        outputs = self.inventory.outputs
        return {
            key
            for key, action in self.inventory.actions.items()
            if isinstance(action.entry, Entry)
            and (output := outputs.get(action.entry.output)) is not None
            and (output.is_dir or output.size == action.entry.size)
        }

    @cached_property
    def ghosts(self) -> Mapping[bytes, Ghost]:
        """Entries that left the cache."""
        return ghosts(self.session, self.cache.path)

    @cached_property
    def packages(self) -> Mapping[str, Sequence[Held]]:
        """What the cache holds, or held, of each package, the newest first."""
        found: dict[str, list[tuple[int, Held]]] = {}
        for output in self.inventory.outputs.values() if self.inventory is not None else ():
            about = output.about
            if about is None or about.package is None:
                continue
            held = Held(about.build_content, about.version, about.target, about.flags, about.source or "")
            # The compiler calls every program `main`; where its source lies tells which it is.
            names = ("main", f"main {about.source}") if about.package == "main" else (about.package,)
            for name in names:
                found.setdefault(name, []).append((output.ctime_ns, held))
        for ghost in self.ghosts.values():
            if ghost.package:
                found.setdefault(ghost.package, []).append((0, Held(ghost.content)))
        return {
            name: [held for _at, held in sorted(all_held, key=_at, reverse=True)] for name, all_held in found.items()
        }

    def of(self, package: str, directory: str, *, program: bool) -> tuple[Held, ...]:
        """What the cache holds, or held, of one package; of a program, also what it holds of others: it may have been moved."""
        names = (f"main {directory}", f"main {package}", "main", directory) if program else ()
        return tuple(dict.fromkeys(held for name in (package, *names) for held in self.packages.get(name, ())))

    def holds(self, package: str, block: Block, log: HashLog) -> bool:
        """Whether the cache holds, or held, anything of this very package."""
        if package in self.packages:
            return True
        if not is_program(block.writes):
            return False
        directory = directory_of(block, log)
        return any(name in self.packages for name in (f"main {directory}", f"main {package}", directory))

    def was(self, key: bytes) -> bool:
        """Whether a key is, or was, in the cache."""
        return key in self.found or key in self.ghosts


def is_program(writes: Iterable[bytes]) -> bool:
    """Whether a key is that of a program: only those have build information."""
    return any(write.startswith(b"modinfo ") for write in writes)


def _at(pair: tuple[int, Held]) -> int:
    return pair[0]


def package_of(name: str) -> str:
    """The import path in a block's name."""
    return name.partition(" ")[2].partition(" [")[0]


def directory_of(block: Block, log: HashLog) -> str:
    """Where a package's source lies; empty if that is not known."""
    for line in block.writes:
        if line.startswith(b"dir "):
            return os.fsdecode(line[4:].rstrip(b"\n"))
    names = [line[5:].decode("utf-8", "surrogateescape").split() for line in block.writes if line.startswith(b"file ")]
    wanted = {name[0]: name[-1] for name in names if len(name) == 2 and "/" not in name[0]}
    for path, digest in log.files.items():
        folder, _, name = path.rpartition("/")
        if name in wanted and len(digest) == 64 and id_half(bytes.fromhex(digest[:30] + "00" * 17)) == wanted[name]:
            return folder
    return ""
