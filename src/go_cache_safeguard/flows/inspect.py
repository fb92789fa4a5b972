"""Look at caches, read-only: status and fsck.

Knows:     how much is read for which question, and what belongs on one page of status.
Called by: the command line's `status`, `check`, `fsck`; the planners.
Never:     changes a cache. The only things written are our own: the index of what was verified, and how the cache grew.
"""

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.core.lifecycle import UNFINISHED, State
from go_cache_safeguard.flows.ghost_list import note_gone
from go_cache_safeguard.flows.growth import note
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.gocache.disk import Inspection, Level, identify_at, inspect
from go_cache_safeguard.gocache.inventory import Inventory
from go_cache_safeguard.gocache.layout import NotACache
from go_cache_safeguard.gocache.summary import Summary, summarize
from go_cache_safeguard.gomod.disk import ModuleCache, measure
from go_cache_safeguard.tree.root import Root, open_root

if TYPE_CHECKING:
    from go_cache_safeguard.flows.purge import Due


class NotAGoCache(Failure):
    """The directory is something else."""

    id = "not-a-go-cache"
    exit_code = ExitCode.TARGET
    meaning = "the directory is not a Go build cache; nothing in it is ever touched"


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is read again.

    Attributes:
        level: What is hashed.
        sample: Besides, this share (0 to 1) of what the index remembers, chosen at random.
    """

    level: Level = Level.STATUS
    sample: float = 0.0


def look(session: Session, root: Root, effort: Effort | None = None) -> Inspection:
    """Look at a build cache that is open.

    Raises:
        NotAGoCache: It is something else.
    """
    effort = effort or Effort()
    identity = identify_at(root.fd)
    if isinstance(identity, NotACache):
        raise NotAGoCache(
            f"{root.path} is not a Go build cache: {identity.because.value}",
            not_done="nothing was touched",
            hint="give the cache with --gocache; `go env GOCACHE` names it",
        )
    names = {
        Level.STATUS: "looking at entries",
        Level.CHANGED: "hashing what changed",
        Level.ALL: "hashing every entry",
    }
    session.progress.phase(names[effort.level])
    now_ns = time.time_ns()
    try:
        found = inspect(
            root.fd,
            index_path=_index(session, root.path),
            level=effort.level,
            sample=effort.sample,
            threads=session.config.count("fsck.threads") or None,
            now_ns=now_ns,
            progress=session.progress.update,
        )
    finally:
        session.progress.phase("")
    note_gone(session, root.path, found.gone, now_ns)
    return found


def _index(session: Session, gocache: Path) -> Path | None:
    """The file that remembers what was verified; None where it cannot be kept: looking goes on without."""
    index = session.index_path(gocache)
    try:
        session.state_folder(index.parent.name)
    except OSError as error:
        session.progress.say(f"what is verified now is not remembered: {index.parent}: {error.strerror}")
        return None
    return index


def fsck(session: Session, gocache: Path, effort: Effort) -> Inspection:
    """Verify every entry of a build cache."""
    with open_root(gocache) as root:
        inspection = look(session, root, effort)
    note(session, gocache, inspection.inventory)
    return inspection


@dataclass(frozen=True, slots=True)
class Status:
    """One page about this machine's caches.

    Attributes:
        gocache: The build cache.
        go: Version of the go command; empty when there is none.
        missing: Why there is no build cache to look at; empty when there is one.
        inspection: What was seen in it.
        summary: Its totals.
        modules: The module cache.
        disk_free: Bytes free on the build cache's disk.
        disk_size: Bytes that disk holds.
        quarantine: What lies in quarantine.
        unfinished: Operations that `recover` should look at.
        held: Operations that wait for a person.
    """

    gocache: Path
    go: str
    missing: str = ""
    inspection: Inspection | None = None
    summary: Summary | None = None
    modules: ModuleCache | None = None
    disk_free: int = 0
    disk_size: int = 0
    quarantine: "tuple[Due, ...]" = ()
    unfinished: tuple[str, ...] = ()
    held: tuple[str, ...] = field(default=())


def status(session: Session, gocache: Path, *, installed: frozenset[str]) -> Status:
    """What is here, how large, what is wrong, what could be had back.

    Args:
        session: Who asks.
        gocache: The build cache, resolved; need not exist.
        installed: Versions of Go on this machine; empty when that is not known.
    """
    version = go_version(session)
    modules = _modules(session)
    due, unfinished, held = _operations(session)
    if not gocache.exists():
        missing = "nothing was cached yet: go makes the directory when it first needs it"
        return Status(gocache, version, missing, modules=modules, quarantine=due, unfinished=unfinished, held=held)
    with open_root(gocache) as root:
        inspection = look(session, root)
        disk = os.fstatvfs(root.fd)
    note(session, gocache, inspection.inventory)
    return Status(
        gocache,
        version,
        inspection=inspection,
        summary=_summary(inspection.inventory, installed),
        modules=modules,
        disk_free=disk.f_bavail * disk.f_frsize,
        disk_size=disk.f_blocks * disk.f_frsize,
        quarantine=due,
        unfinished=unfinished,
        held=held,
    )


def _summary(inventory: Inventory, installed: frozenset[str]) -> Summary:
    return summarize(inventory, installed=installed or None, now_ns=time.time_ns())


def go_version(session: Session) -> str:
    """Version of the go command; empty, which is said, when there is none."""
    try:
        return session.go_env.version
    except Failure as failure:
        if failure.exit_code is not ExitCode.GO:
            raise
        session.progress.say(f"{failure.what}; {failure.hint}")
        return ""


def _modules(session: Session) -> ModuleCache | None:
    try:
        path = Path(session.go_env.modcache)
    except Failure:
        # Said by `go_version` already.
        named = session.environ.get("GOMODCACHE") or str(session.home / "go" / "pkg" / "mod")
        path = Path(named)
    session.progress.phase("measuring the module cache")
    found = measure(path, progress=session.progress.update)
    session.progress.phase("")
    return found


def _operations(session: Session) -> "tuple[tuple[Due, ...], tuple[str, ...], tuple[str, ...]]":
    from go_cache_safeguard.flows.purge import stored  # noqa: PLC0415 - brings the journal, which a mere look does not need

    with session.journal(read_only=True) as journal:
        operations = journal.operations()
    unfinished = tuple(operation.id for operation in operations if operation.state in UNFINISHED)
    held = tuple(operation.id for operation in operations if operation.state is State.HELD)
    return tuple(stored(session, operations)), unfinished, held
