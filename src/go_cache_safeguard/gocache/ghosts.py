"""Entries that were in a cache and are gone.

Knows:     what is remembered of one, and how that is told.
Called by: `gocache.why` tells an evicted entry from a changed key; `flows.ghost_list` keeps them.
Never:     says who took an entry unless it was an operation of ours.
Source:    who else takes entries: cmd/go/internal/cache/cache.go `Trim`, cmd/go/internal/clean/clean.go; read in go1.27.3.
"""

from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Ghost:
    """One entry that is gone.

    Attributes:
        action: 32 bytes: its key.
        at_ns: When it went, or when we noticed, in nanoseconds since 1970-01-01 UTC.
        operation: The operation of ours that took it; empty if it was not us.
        package: Import path of what it held; empty if that is not known or it was no package.
        content: Second half of its build ID: what packages that import it have in their keys; empty if not known.
    """

    action: bytes
    at_ns: int
    operation: str = ""
    package: str = ""
    content: str = ""

    @property
    def story(self) -> str:
        """Who took it, and when."""
        when = datetime.fromtimestamp(self.at_ns / 10**9, UTC).strftime("%Y-%m-%d %H:%M UTC")
        if self.operation:
            return f"removed by our operation {self.operation} at {when}"
        return f"not by us (go's trimming, `go clean` or rm); gone when we looked at {when}"
