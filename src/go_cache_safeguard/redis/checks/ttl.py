"""Will these keys end by themselves soon?

Knows:     the four states of a key's expiry, and what the site says to each.
Called by: `flows`, with what PTTL said of every key of one command.
Never:     takes a key that could not be asked about for one that may go.
Source:    expire.c `ttlGenericCommand`: -2 for a missing key, -1 for one without expiry, else milliseconds (Redis 2.8 to Valkey 9).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from go_cache_safeguard.core.check import Check
from go_cache_safeguard.core.duration import format_duration
from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.redis.checks.tell import counted, name_of, names_of

CHECK = Check(
    id="redis-ttl",
    title="expiry of keys",
    question="Has every key that a command would remove long enough to live that removing it by hand makes sense?",
    blind_spot="It is asked before the command runs; a key may get another expiry, or end, in between.",
)
_ORDER = tuple(Outcome)
MISSING, NO_EXPIRY = -2, -1
"""What PTTL answers."""


class State(Enum):
    """What is known of a key's end; the text is for people."""

    ENDS = "end by themselves"
    NO_EXPIRY = "never end by themselves"
    MISSING = "are not there"
    UNKNOWN = "could not be asked about"


@dataclass(frozen=True, slots=True)
class TtlFacts:
    """What one command is about.

    Attributes:
        pttl: From each key to the reply of PTTL; None if there was none. Every key of the command is in it.
        threshold_ms: A key that ends sooner is not removed by hand.
        on_no_expiry: Outcome for keys without expiry.
        on_missing: Outcome for keys that are not there.
    """

    pttl: Mapping[bytes, int | None]
    threshold_ms: int = 300_000
    on_no_expiry: Outcome = Outcome.WARN
    on_missing: Outcome = Outcome.PASS


def state_of(pttl: int | None) -> State:
    """What a reply of PTTL means."""
    if pttl is None or pttl < MISSING:
        return State.UNKNOWN
    return {MISSING: State.MISSING, NO_EXPIRY: State.NO_EXPIRY}.get(pttl, State.ENDS)


def judge(facts: TtlFacts) -> Verdict:
    """The worst that any key says; every key is looked at."""
    found = sorted(_told(facts), key=lambda told: -_ORDER.index(told[0]))
    if not found:
        return Verdict(CHECK.id, Outcome.PASS, f"{counted(len(facts.pttl), 'key')}, none ends soon")
    return Verdict(
        check=CHECK.id,
        outcome=found[0][0],
        summary=found[0][1],
        evidence=tuple(text for _, text in found),
        remedy=_remedy(found[0][0]),
    )


def _told(facts: TtlFacts) -> Iterator[tuple[Outcome, str]]:
    states: dict[State, list[bytes]] = {state: [] for state in State}
    for key, pttl in facts.pttl.items():
        states[state_of(pttl)].append(key)
    soon = sorted(
        (pttl, key) for key, pttl in facts.pttl.items() if pttl is not None and 0 <= pttl < facts.threshold_ms
    )
    if soon:
        yield Outcome.BLOCK, _soon(soon, facts.threshold_ms)
    for state, outcome in (
        (State.NO_EXPIRY, facts.on_no_expiry),
        (State.MISSING, facts.on_missing),
        (State.UNKNOWN, Outcome.UNKNOWN),
    ):
        if states[state] and outcome is not Outcome.PASS:
            yield outcome, f"{counted(len(states[state]), 'key')} {state.value}: {names_of(states[state])}"


def _soon(soon: Sequence[tuple[int, bytes]], threshold_ms: int) -> str:
    first_ms, first = soon[0]
    limit = format_duration(threshold_ms / 1000)
    return (
        f"{counted(len(soon), 'key')} end within {limit} by themselves; "
        f"the first is {name_of(first)} in {format_duration(first_ms / 1000)}"
    )


def _remedy(worst: Outcome) -> tuple[str, ...]:
    if worst is Outcome.BLOCK:
        return ("wait until the keys are gone, or lower redis.block_ttl_threshold",)
    return ("TTL of the keys named above",) if worst is Outcome.UNKNOWN else ()
