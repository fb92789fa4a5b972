"""A cache with its quarantine, open and locked: where anything that changes a cache happens.

Knows:     how both are entered, that whoever is inside is alone, and what differs between a build cache and a module cache.
Called by: `flows.remove`, `flows.undo`, `flows.purge`, `flows.recover`.
Never:     changes anything by itself.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from go_cache_safeguard.core.errors import IllegalTransition
from go_cache_safeguard.core.operation import Operation
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.gocache.layout import ENTRY_NAME, FUZZ_NAME
from go_cache_safeguard.gomod.layout import ENTRY_NAME as MODULE_NAME
from go_cache_safeguard.gomod.layout import version_of
from go_cache_safeguard.gotool.modlock import hold_module_locks
from go_cache_safeguard.snapshot.quarantine import Quarantine, open_quarantine
from go_cache_safeguard.tree.root import Root, open_root

if TYPE_CHECKING:
    from go_cache_safeguard.journal.store import Journal


MODULES = "go-module-cache"
"""The kind of a plan for a module cache; every other, except the next, is for a build cache."""
FUZZ = "go-fuzz-inputs"
"""The kind of a plan for what fuzzing found, below a build cache."""
SERVER = "redis"
"""The kind of a plan for a Redis or Valkey server, which is no directory: it is never a `Site`."""
ACCESS = "redis-access"
"""The kind of a plan for the rules of a server's users."""
SERVERS = frozenset({SERVER, ACCESS})
QUARANTINE = "quarantine"
"""The kind of a plan to delete for good what lies in quarantine: its items are operations."""
TRASH = "redis-trash"
"""The same for captured values of Redis or Valkey servers."""
REPOSITORY = "snapshot-repository"
"""The kind of a plan to delete for good what no snapshot of a repository needs."""
LOG = "journal-log"
"""The kind of a plan to have records of a shared journal leave its database; its items are operations."""
FINAL = frozenset({QUARANTINE, TRASH, REPOSITORY, LOG})
"""What there is no way back from."""
_NAMES = {MODULES: MODULE_NAME, FUZZ: FUZZ_NAME}
"""What may be touched where entries lie at any depth; elsewhere they lie in shards."""
_GO_WAIT_S = 10


@dataclass(frozen=True, slots=True)
class Site:
    """Everything that a change needs.

    Attributes:
        session: Who works, with which settings.
        journal: Open for writing.
        root: The cache.
        quarantine: Its quarantine, locked.
        kind: Of the plans that are carried out here.
    """

    session: Session
    journal: "Journal"
    root: Root
    quarantine: Quarantine
    kind: str = ""

    @property
    def of_modules(self) -> bool:
        """Whether this is a module cache, in which nothing is built."""
        return self.kind == MODULES

    def undisturbed(self, names: Iterable[str]) -> AbstractContextManager[None]:
        """Hold go's own locks on what is moved, where go has any.

        Args:
            names: What is moved.

        Raises:
            ModulesBusy: A go command holds one.
        """
        if not self.of_modules:
            return nullcontext()
        versions = {version for name in names if (version := version_of(name)) is not None}
        return hold_module_locks(self.root, [version.download(".lock") for version in versions], wait_s=_GO_WAIT_S)


@contextmanager
def open_site(session: Session, journal: "Journal", target: str, identity: str, kind: str = "") -> Iterator[Site]:
    """Enter a cache that was looked at before.

    Args:
        session: Who works, with which settings.
        journal: Open for writing.
        target: Absolute path of the cache.
        identity: `device:inode` that it had when it was looked at.
        kind: Of the plan that is carried out there.

    Raises:
        UnsafePath: It cannot be entered safely, or is another directory now.
        Locked: Another safeguard works on it.
        UnsafePlace: The quarantine cannot be used.
    """
    configured = session.config.text("quarantine.dir")
    place = Path(configured) if configured else None
    with (
        open_root(Path(target), identity=identity) as root,
        open_quarantine(root, allowed=_NAMES.get(kind, ENTRY_NAME), place=place, deep=kind in _NAMES) as quarantine,
    ):
        yield Site(session, journal, root, quarantine, kind)


@contextmanager
def site_of(session: Session, journal: "Journal", operation: Operation) -> Iterator[Site]:
    """Enter the cache of an operation; raises as `open_site` does.

    Raises:
        IllegalTransition: It is about no cache.
    """
    data = operation.data
    if data.get("kind") in FINAL:
        raise IllegalTransition(
            f"{operation.id} is not about a cache: it deletes for good", not_done="nothing was done"
        )
    if data.get("kind") in SERVERS:
        raise IllegalTransition(
            f"{operation.id} is about {data['target']}, not about a cache",
            not_done="nothing was done",
            hint=f"go-cache-safeguard redis undo {operation.id}",
        )
    with open_site(session, journal, str(data["target"]), str(data["identity"]), str(data.get("kind", ""))) as site:
        yield site
