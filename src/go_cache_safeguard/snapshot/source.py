"""Where the contents of a snapshot come from.

Knows:     what restore needs of an archive or of a repository, and nothing of either.
Called by: restore takes a `Source`; `snapshot.archive` and the repository give one.
Never:     promises that contents are what the manifest says: whoever consumes them hashes them.
"""

from collections.abc import Collection, Iterator
from typing import Protocol

from go_cache_safeguard.snapshot.manifest import Entry, Manifest


class Source(Protocol):
    """A snapshot that can be read."""

    @property
    def manifest(self) -> Manifest:
        """What it holds, parsed strictly."""

    def contents(self, wanted: Collection[str]) -> Iterator[tuple[Entry, Iterator[bytes]]]:
        """Entries with their bytes, in any order, each wanted name once.

        The chunks of one entry must be taken before the next entry is asked for; what was not taken is passed over.

        Args:
            wanted: Names of the manifest.

        Raises:
            KeyError: A name is not in the manifest.
            Failure: The snapshot cannot be read, or is damaged so that what follows cannot be told.
        """
