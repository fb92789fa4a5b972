"""Could what goes be put back?

Knows:     what a copy of the values would need, and what the site allows for it.
Called by: `flows`, with the sizes of what DUMP answered.
Never:     promises an undo for values that would not be kept.
"""

from dataclasses import dataclass

from go_cache_safeguard.core.check import Check
from go_cache_safeguard.core.size import format_size
from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.redis.checks.tell import counted

CHECK = Check(
    id="redis-undo",
    title="the way back",
    question="Is there room for a copy of every value, so that the removal can be undone?",
    blind_spot="Values may grow until they are removed; the copy lies on this machine, and is as safe as its disk.",
)


@dataclass(frozen=True, slots=True)
class UndoFacts:
    """What a copy needs.

    Attributes:
        keys: How many keys would go.
        size: Bytes of their values as DUMP gives them; None if that cannot be told.
        used: Bytes that earlier removals keep.
        limit: Bytes that all of them may keep; 0 for no limit.
        free: Bytes free on the disk; None if that cannot be told.
        removes: Whether keys without room for a copy go all the same; otherwise they stay.
    """

    keys: int
    size: int | None
    used: int
    limit: int
    free: int | None
    removes: bool = False


def judge(facts: UndoFacts) -> Verdict:
    """BLOCK if a copy of everything does not fit, UNKNOWN if that cannot be told."""
    if facts.size is None or facts.free is None:
        return Verdict(CHECK.id, Outcome.UNKNOWN, "how much room a copy needs, or how much there is, cannot be told")
    room = facts.free if not facts.limit else min(facts.free, max(0, facts.limit - facts.used))
    if facts.size <= room:
        return Verdict(CHECK.id, Outcome.PASS, f"{counted(facts.keys, 'key')}, {format_size(facts.size)} to keep")
    then = "go without a copy and CANNOT BE PUT BACK" if facts.removes else "stay"
    return Verdict(
        check=CHECK.id,
        outcome=Outcome.BLOCK,
        summary=f"no room for a copy of everything: {format_size(facts.size)} needed, {format_size(room)} left; "
        f"keys without room {then}",
        evidence=(
            f"earlier removals keep {format_size(facts.used)}",
            f"{format_size(facts.free)} are free on the disk",
        ),
        remedy=("`go-cache-safeguard redis trash purge`, or raise redis.trash_max_bytes", "remove less at once"),
    )
