"""How much would go at once?

Knows:     limits on number, bytes and share of the keys of one command, and on the rate of one client.
Called by: `flows`, with sizes from MEMORY USAGE, DBSIZE and what the client removed lately.
Never:     takes a number that could not be had for a small one.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from go_cache_safeguard.core.check import Check
from go_cache_safeguard.core.size import Share, format_size
from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.redis.checks.tell import counted

CHECK = Check(
    id="redis-blast-radius",
    title="how much would go",
    question="Are number, bytes and share of the keys that a command would remove, and the client's rate, within the limits?",
    blind_spot="Sizes are the server's estimates; many clients that each stay below their limit are not seen as one.",
)
_ORDER = tuple(Outcome)
_TENTH = Share(100_000)
_SHARE_FROM = 100
"""A share of fewer keys than this says nothing: one key of three is a third."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the site allows; 0 means any number.

    Attributes:
        keys: Of one command.
        size: Bytes of one command.
        share: Of the keys of a database.
        rate: Keys of one client in a minute.
    """

    keys: int = 1_000
    size: int = 1 << 30
    share: Share = _TENTH
    rate: int = 10_000


@dataclass(frozen=True, slots=True)
class BlastFacts:
    """What one command would take.

    Attributes:
        keys: How many keys; None if that cannot be told.
        size: Their bytes; None if that cannot be told.
        of: Keys in the database; None if that cannot be told.
        recent: Keys that this client removed in the last minute; None if that cannot be told.
        limits: See `Limits`.
    """

    keys: int | None
    size: int | None
    of: int | None
    recent: int | None
    limits: Limits = Limits()


def judge(facts: BlastFacts) -> Verdict:
    """BLOCK if any limit is passed, UNKNOWN if any number is missing that has a limit."""
    found = sorted(_told(facts), key=lambda told: -_ORDER.index(told[0]))
    if not found:
        return Verdict(CHECK.id, Outcome.PASS, f"{_amount(facts)}, within the limits")
    return Verdict(
        check=CHECK.id,
        outcome=found[0][0],
        summary=found[0][1],
        evidence=tuple(text for _, text in found),
        remedy=("do it in smaller steps, or raise redis.max_keys, redis.max_bytes, redis.max_share or redis.max_rate",),
    )


def _amount(facts: BlastFacts) -> str:
    size = "" if facts.size is None else f" of {format_size(facts.size)}"
    return f"{counted(facts.keys or 0, 'key')}{size}"


def _told(facts: BlastFacts) -> Iterator[tuple[Outcome, str]]:
    limits = facts.limits
    yield from _over("keys", facts.keys, limits.keys, "{} keys would go; the limit is {}")
    if limits.size:
        if facts.size is None:
            yield Outcome.UNKNOWN, "how many bytes would go cannot be told"
        elif facts.size > limits.size:
            yield Outcome.BLOCK, f"{format_size(facts.size)} would go; the limit is {format_size(limits.size)}"
    yield from _share(facts)
    rate = None if facts.recent is None or facts.keys is None else facts.recent + facts.keys
    yield from _over(
        "this client's keys", rate, limits.rate, "{} keys of this client would go in a minute; the limit is {}"
    )


def _over(what: str, number: int | None, limit: int, text: str) -> Iterator[tuple[Outcome, str]]:
    if not limit:
        return
    if number is None:
        yield Outcome.UNKNOWN, f"the number of {what} cannot be told"
    elif number > limit:
        yield Outcome.BLOCK, text.format(number, limit)


def _share(facts: BlastFacts) -> Iterator[tuple[Outcome, str]]:
    share = facts.limits.share
    if share.per_million == 1_000_000:
        return
    if facts.of is None or facts.keys is None:
        yield Outcome.UNKNOWN, "what share of the database would go cannot be told"
    elif facts.of >= _SHARE_FROM and facts.keys > share.of(facts.of):
        percent = facts.keys * 100 / facts.of
        limit = share.per_million / 10_000
        yield Outcome.BLOCK, f"{percent:.1f}% of the keys of the database would go; the limit is {limit:g}%"
