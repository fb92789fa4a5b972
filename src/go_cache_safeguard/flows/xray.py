"""Look through a cache: what is in it, seen from every side, and what became of the directories that it was made of.

Knows:     how to find out whether a source directory is still there and which go.mod stands above it.
Called by: the command line's `status`, `report` and `browse`.
Never:     writes, enters a directory, follows a link to a go.mod, or reads more of one than its first lines.
Source:    go.dev/ref/mod#go-mod-file-lexical: a module line is `module path`, quoted or not.
"""

import os
import re
import stat
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

from go_cache_safeguard.flows.growth import Point, growth, note
from go_cache_safeguard.flows.inspect import look
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.gocache.inventory import Inventory
from go_cache_safeguard.gocache.summary import Part
from go_cache_safeguard.gocache.xray import (
    Duplicate,
    Facet,
    Ground,
    Projects,
    StoredTests,
    dead,
    directories,
    duplicates,
    find_projects,
    gone,
    group,
    stored_tests,
)
from go_cache_safeguard.tree.root import open_root

_MOST_GO_MOD = 1 << 16
_MODULE = re.compile(rb"^[ \t]*module[ \t]+(?:\"([^\"\n]+)\"|`([^`\n]+)`|([^\s\"`(/]\S*))", re.MULTILINE)
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True)
class XRay:
    """A cache seen through; what nobody asks for is not added up.

    Attributes:
        inventory: What is there.
        projects: Which project each source directory belongs to.
        installed: Versions of Go on this machine; empty when that is not known.
        now_ns: When, in nanoseconds since 1970-01-01 UTC.
        points: What earlier looks saw, and this one, oldest first.
    """

    inventory: Inventory
    projects: Projects
    installed: frozenset[str]
    now_ns: int
    points: tuple[Point, ...]

    def by(self, facet: Facet) -> tuple[Part, ...]:
        """All outputs, divided."""
        return group(self.inventory, facet, now_ns=self.now_ns, projects=self.projects)

    @cached_property
    def dead(self) -> tuple[Part, ...] | None:
        """What toolchains made that are not installed, by toolchain; None if it is not known what is installed."""
        return dead(self.inventory, self.installed) if self.installed else None

    @cached_property
    def gone(self) -> tuple[Part, ...]:
        """What was made of directories that are no more there, by project."""
        return gone(self.inventory, self.projects)

    @cached_property
    def duplicates(self) -> tuple[Duplicate, ...]:
        """What lies here more than once only because of its directory, the largest first."""
        return duplicates(self.inventory)

    @cached_property
    def tests(self) -> StoredTests:
        """What `go test` stored."""
        return stored_tests(self.inventory)


def xray(session: Session, gocache: Path, inventory: Inventory, *, installed: frozenset[str]) -> XRay:
    """See through a cache that was just looked at.

    Args:
        session: Who asks.
        gocache: The cache, resolved.
        inventory: What was seen.
        installed: Versions of Go on this machine; empty when that is not known.
    """
    return XRay(inventory, projects_of(inventory), installed, time.time_ns(), growth(session, gocache))


def see(session: Session, gocache: Path, *, installed: frozenset[str]) -> XRay:
    """Look at a cache and see through it, without hashing anything.

    Args:
        session: Who asks.
        gocache: The cache, resolved; it must be there.
        installed: Versions of Go on this machine; empty when that is not known.

    Raises:
        NotAGoCache: It is something else.
    """
    with open_root(gocache) as root:
        inventory = look(session, root).inventory
    note(session, gocache, inventory)
    return xray(session, gocache, inventory, installed=installed)


def projects_of(inventory: Inventory) -> Projects:
    """Which project each source directory belongs to, as it is on the disk now."""
    return find_projects(inventory, find_grounds(directories(inventory)))


def find_grounds(wanted: Iterable[str]) -> dict[str, Ground]:
    """What became of source directories.

    Args:
        wanted: Absolute; they come from a cache and may say anything.
    """
    known: _Known = {"": (True, _module_in(""))}
    return {directory: _ground(directory, known) for directory in wanted}


_Known: TypeAlias = dict[str, tuple[bool, tuple[str, str] | None]]
"""From a directory to whether it is there, and to the nearest root of a module with the module's path."""


def _ground(directory: str, known: _Known) -> Ground:
    """What became of a directory; what is found on the way is remembered."""
    above, place = [], directory
    while place not in known:
        above.append(place)
        place = place.rpartition("/")[0]
    there, root = known[place]
    for place in reversed(above):
        there = there and _is_directory(place)  # below what is not there nobody needs to look
        root = (_module_in(place) if there else None) or root
        known[place] = there, root
    return Ground(there) if root is None or "@v" in directory else Ground(there, *root)


def _is_directory(name: str) -> bool:
    """Whether a directory is there; what cannot be looked at is not called gone."""
    try:
        return stat.S_ISDIR(Path(name).stat().st_mode)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError:
        return True


def _module_in(directory: str) -> tuple[str, str] | None:
    """A directory and the path of the module whose root it is, empty if its go.mod cannot be read; None if there is no go.mod."""
    name = f"{directory}/go.mod"
    try:
        if not stat.S_ISREG(os.lstat(name).st_mode):
            return None
    except (OSError, ValueError):
        return None
    with suppress(OSError):
        fd = os.open(name, _READ)
        try:
            line = _MODULE.search(os.read(fd, _MOST_GO_MOD))
        finally:
            os.close(fd)
        if line is not None:
            return directory, (line[1] or line[2] or line[3]).decode("utf-8", "backslashreplace")
    return directory, ""
