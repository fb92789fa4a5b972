"""What `fsck` has hashed in a cache, for those who would have to hash it again.

Knows:     where the index of a cache lies, and that only rows that were read in full count.
Called by: `flows.cacheprog_start`.
Never:     writes into the index, or waits for who does.
"""

import os
from hashlib import sha256
from pathlib import Path
from threading import Lock

from go_cache_safeguard.gocache.index import Index, KnownOutput
from go_cache_safeguard.gocache.mark import Marks

_PATIENCE_S = 0.1


class FsckMarks:
    """The index of one cache, opened at the first question."""

    def __init__(self, state: str, root: str) -> None:
        """Open nothing yet.

        Args:
            state: Our state directory.
            root: Of the cache, resolved.
        """
        # As `flows.session.Session.index_path` has it.
        self._path = Path(state) / "verified" / f"{sha256(os.fsencode(root)).hexdigest()[:16]}.sqlite"
        self._root = Path(root)
        self._lock = Lock()
        self._index: Index | None = None
        self._shards: dict[int, dict[str, KnownOutput]] = {}

    def marks(self, output: bytes) -> Marks | None:
        """By what the output was known when it was hashed; None if it was not.

        Args:
            output: 32 bytes.
        """
        with self._lock:
            shard = self._shards.get(output[0])
            if shard is None:
                shard = self._shards[output[0]] = self._opened().shard(output[0]).outputs
        row = shard.get(f"{output.hex()}-d")
        return row.marks if row is not None and row.hashed else None

    def _opened(self) -> Index:
        if self._index is None:
            found = self._root.stat()
            identity = f"{found.st_dev}:{found.st_ino}"
            self._index = Index(self._path, identity, patience_s=_PATIENCE_S, read_only=True)
        return self._index
