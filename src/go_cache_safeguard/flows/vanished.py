"""Whether a cache was taken away behind our back.

Knows:     what the journal last knew of a cache, and what `rm -rf`, `go clean -cache` and go's own trim leave behind.
Called by: `flows.doctor`.
Never:     says that all is well where it cannot know: a cache that the journal never saw is no evidence.
Source:    what each leaves behind: measured with go1.21.13, go1.26.8 and go1.27.3. `go clean -cache` removes the 256 shards and keeps
           README, trim.txt and fuzz/; go makes shards again one by one. Trim takes only what was not used for five days.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.size import format_size
from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.flows.inspect import look
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.shim import GUARDED
from go_cache_safeguard.gocache.inventory import Inventory
from go_cache_safeguard.journal.record import Record
from go_cache_safeguard.tree.root import open_root

CHECK = "vanished"
_KIND = "go-build-cache"
_LITTLE = 5
"""A cache that holds less than a fifth of what it held lost most of it at once."""
_TRIM_S = 5 * 86_400


@dataclass(frozen=True, slots=True)
class Known:
    """What the journal last knew of a cache.

    Attributes:
        at: When, RFC 3339 UTC.
        by: The operation or note that says so.
        identity: Device and inode of its root.
        size: Bytes, apparent; what removals of ours took is left out.
        fuzz: Fuzzing inputs; 0 if it does not say.
    """

    at: str
    by: str
    identity: str
    size: int
    fuzz: int


def judge_vanished(known: Known | None, now: Inventory | None, *, age_s: float) -> Verdict:
    """Compare.

    Args:
        known: What the journal last knew; None if nothing.
        now: What is there; None if nothing is.
        age_s: Seconds since `known`.
    """
    if known is None:
        return Verdict(CHECK, Outcome.PASS, "the journal knows no earlier state of this cache to compare with")
    held = f"on {known.at} it held {format_size(known.size)} ({known.by})"
    if now is None:
        return _missing("the cache is gone, and not through this program", held)
    if now.identity != known.identity:
        return _missing(
            "the cache is another directory now: the old one was removed, and not through this program", held
        )
    lost = [f"now it holds {format_size(now.size)} in {now.shards} of 256 shards"]
    if known.fuzz and not now.fuzz.files:
        return _missing(f"all {known.fuzz:,} fuzzing inputs are gone, and not through this program", held, *lost)
    if now.size * _LITTLE < known.size and age_s < _TRIM_S:
        return _missing("most of the cache is gone, and not through this program", held, *lost)
    if now.size * _LITTLE < known.size:
        summary = "most of the cache is gone; go's own trim may have taken it, or somebody who went past this program"
        return Verdict(CHECK, Outcome.UNKNOWN, summary, (held, *lost))
    return Verdict(CHECK, Outcome.PASS, "nothing was taken from the cache behind our back", (held, *lost))


def ask_vanished(session: Session, gocache: Path, now_s: float) -> Verdict:
    """Ask the journal and the cache.

    Raises:
        Failure: One of them cannot be read.
    """
    with session.journal(read_only=True) as journal:
        known = _known(journal.records(), str(gocache))
    inventory = None
    if os.path.lexists(gocache):
        with open_root(gocache) as root:
            inventory = look(session, root).inventory
    at_s = datetime.fromisoformat(known.at).timestamp() if known else 0.0
    return judge_vanished(known, inventory, age_s=now_s - at_s)


def _known(records: Iterable[Record], target: str) -> Known | None:
    """The newest state: a note, or what an operation left of what it found."""
    found: Known | None = None
    asked: dict[str, Record] = {}
    for record in records:
        data = record.data
        if record.step == GUARDED and data.get("target") == target:
            fuzz = int(str(data["fuzz"]))
            found = Known(record.at, "guarded since", str(data["identity"]), int(str(data["bytes"])), fuzz)
        elif record.step == State.REQUESTED and data.get("target") == target and data.get("kind") == _KIND:
            asked[str(record.op)] = record
            found = Known(record.at, f"planned {record.op}", str(data["identity"]), int(str(data["whole"])), 0)
        elif record.op in asked and isinstance(receipt := data.get("receipt"), dict) and record.step == State.DONE:
            before = asked[str(record.op)].data
            left = max(0, int(str(before["whole"])) - int(str(receipt.get("bytes", 0))))
            found = Known(record.at, f"after {record.op}", str(before["identity"]), left, 0)
        elif record.op in asked and record.step == State.UNDONE:
            before = asked[str(record.op)].data
            found = Known(
                record.at, f"after undoing {record.op}", str(before["identity"]), int(str(before["whole"])), 0
            )
    return found


def _missing(summary: str, *evidence: str) -> Verdict:
    remedy = (
        "go-cache-safeguard shim install, so that `go clean -cache` goes through this program",
        "go-cache-safeguard snapshot list, if a copy was made; the next build makes all else again",
    )
    return Verdict(CHECK, Outcome.WARN, summary, evidence, remedy)
