"""How many keys each client removed lately.

Knows:     a minute, in buckets of some seconds.
Called by: the guard's proxy tells what went; `redis.checks.blast_radius` gets the sum as a fact.
Never:     asks what time it is; forgets nothing that is younger than a minute.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

WINDOW_MS = 60_000
_BUCKET_MS = 5_000


@dataclass(frozen=True, slots=True)
class Removals:
    """Keys removed, by client and time.

    Attributes:
        buckets: From client and number of the bucket to keys.
    """

    buckets: Mapping[tuple[str, int], int] = field(default_factory=dict)

    def plus(self, client: str, keys: int, now_ms: int) -> "Removals":
        """The same after more keys went; buckets that are over are dropped."""
        bucket = now_ms // _BUCKET_MS
        kept = {at: count for at, count in self.buckets.items() if at[1] >= _oldest(now_ms)}
        return Removals({**kept, (client, bucket): kept.get((client, bucket), 0) + keys})

    def of(self, client: str, now_ms: int) -> int:
        """Keys that a client removed in the last minute, up to one bucket more."""
        oldest = _oldest(now_ms)
        return sum(count for (who, bucket), count in self.buckets.items() if who == client and bucket >= oldest)


def _oldest(now_ms: int) -> int:
    return (now_ms - WINDOW_MS) // _BUCKET_MS
