"""Parcels in a folder, or in S3, GCS or Azure.

Knows:     how a parcel's name becomes an object's, in folders that do not grow too large.
Called by: `flows.cacheprog_start`.
Never:     takes or shows a secret: credentials come from the environment, as each provider's own tools read them; tries twice.
Source:    obstore 0.12: `Store` of `snapshot.store` repeats what failed, which a build cannot wait for, so only its opening is used.
"""

from pathlib import Path
from typing import Any

import obstore

from go_cache_safeguard.snapshot.store import open_objects


class ObjectBackend:
    """One place."""

    def __init__(self, place: str, *, timeout_s: float) -> None:
        """Prepare.

        Args:
            place: An absolute path, `file:///path`, `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`.
            timeout_s: For each request.

        Raises:
            UsageFailure: It is none of these.
            StoreFailed: The local folder cannot be made.
        """
        self._objects: Any = open_objects(place, cwd=Path("/"), timeout_s=timeout_s)

    def get(self, name: str, limit: int) -> bytes | None:
        """See `flows.second_level.Backend`."""
        try:
            found = obstore.get(self._objects, _path(name))
        except FileNotFoundError:
            return None
        return None if found.meta["size"] >= limit else bytes(found.bytes())

    def put(self, name: str, data: bytes) -> None:
        """See `flows.second_level.Backend`."""
        obstore.put(self._objects, _path(name), data, use_multipart=False)

    def tell(self, namespace: str, line: bytes) -> None:
        """See `flows.second_level.Backend`: there is no list with an end in such a place, so nothing is kept."""


def _path(name: str) -> str:
    namespace, _, digits = name.rpartition("/")
    return f"{namespace}/{digits[:2]}/{digits}"
