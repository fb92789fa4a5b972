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
    question="Is there room for a copy of every value, and would the server take it back, so that the removal can be undone?",
    blind_spot="Values may grow until they are removed; the copy is as safe as the place in redis.trash; whether the server has the"
    " memory to take everything back is seen only then.",
)


_LARGEST = 512 << 20
"""proto-max-bulk-len, unless somebody has changed it."""
_LEAST = 1 << 20
"""The least that it may be."""
_ENDLESS = 1 << 62


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
        why: Why the place for copies cannot be used; empty if it can.
        largest: Bytes of the largest value as DUMP gives it, and the name of its key.
        takes: Bytes of the largest value that the server takes back; None if it does not say.
        unread: The first keys whose values could not be had.
    """

    keys: int
    size: int | None
    used: int
    limit: int
    free: int | None
    removes: bool = False
    why: str = ""
    largest: tuple[int, str] = (0, "")
    takes: int | None = None
    unread: tuple[str, ...] = ()


def judge(facts: UndoFacts) -> Verdict:
    """BLOCK if a copy of everything does not fit or could not be put back, UNKNOWN if that cannot be told."""
    if facts.why:
        return Verdict(CHECK.id, Outcome.UNKNOWN, f"no copy can be made: {facts.why}")
    if facts.largest[0] > (_LARGEST if facts.takes is None else facts.takes):
        return _too_large(facts)
    if facts.unread:
        return Verdict(
            CHECK.id,
            Outcome.UNKNOWN,
            "the server does not give every value, or has too little memory left to: such keys stay",
            evidence=facts.unread,
        )
    if facts.size is None or facts.free is None:
        return Verdict(CHECK.id, Outcome.UNKNOWN, "how much room a copy needs, or how much there is, cannot be told")
    room = facts.free if not facts.limit else min(facts.free, max(0, facts.limit - facts.used))
    if facts.size <= room and facts.takes is None and facts.largest[0] > _LEAST:
        return Verdict(
            CHECK.id,
            Outcome.WARN,
            f"the server does not say how large a value it takes back; {format_size(_LARGEST)}, as usual, is assumed",
        )
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
            f"{format_size(facts.free)} are free where copies go"
            if facts.free < _ENDLESS
            else "the place tells no bound",
        ),
        remedy=("`go-cache-safeguard redis trash purge`, or raise redis.trash_max_bytes", "remove less at once"),
    )


def _too_large(facts: UndoFacts) -> Verdict:
    size, name = facts.largest
    takes = _LARGEST if facts.takes is None else facts.takes
    return Verdict(
        check=CHECK.id,
        outcome=Outcome.BLOCK,
        summary=f"the server would not take back a value of {format_size(size)}",
        evidence=(f"{name}: {format_size(size)} as DUMP gives it; RESTORE takes {format_size(takes)}",),
        remedy=("raise proto-max-bulk-len and client-query-buffer-limit of the server", "leave this key out"),
    )
