"""A cache with its quarantine, open and locked: where anything that changes a cache happens.

Knows:     how both are entered, and that whoever is inside is alone.
Called by: `flows.remove`, `flows.undo`, `flows.purge`, `flows.recover`.
Never:     changes anything by itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from go_cache_safeguard.core.operation import Operation
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.gocache.layout import ENTRY_NAME
from go_cache_safeguard.snapshot.quarantine import Quarantine, open_quarantine
from go_cache_safeguard.tree.root import Root, open_root

if TYPE_CHECKING:
    from go_cache_safeguard.journal.store import Journal


@dataclass(frozen=True, slots=True)
class Site:
    """Everything that a change needs.

    Attributes:
        session: Who works, with which settings.
        journal: Open for writing.
        root: The cache.
        quarantine: Its quarantine, locked.
    """

    session: Session
    journal: "Journal"
    root: Root
    quarantine: Quarantine


@contextmanager
def open_site(session: Session, journal: "Journal", target: str, identity: str) -> Iterator[Site]:
    """Enter a cache that was looked at before.

    Args:
        session: Who works, with which settings.
        journal: Open for writing.
        target: Absolute path of the cache.
        identity: `device:inode` that it had when it was looked at.

    Raises:
        UnsafePath: It cannot be entered safely, or is another directory now.
        Locked: Another safeguard works on it.
        UnsafePlace: The quarantine cannot be used.
    """
    configured = session.config.text("quarantine.dir")
    place = Path(configured) if configured else None
    with (
        open_root(Path(target), identity=identity) as root,
        open_quarantine(root, allowed=ENTRY_NAME, place=place) as quarantine,
    ):
        yield Site(session, journal, root, quarantine)


@contextmanager
def site_of(session: Session, journal: "Journal", operation: Operation) -> Iterator[Site]:
    """Enter the cache of an operation; raises as `open_site` does."""
    data = operation.data
    with open_site(session, journal, str(data["target"]), str(data["identity"])) as site:
        yield site
