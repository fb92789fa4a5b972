"""Has the hit rate fallen suddenly, so that deleting more would make it worse?

Knows:     what the reading of each node means, and that one bad node is enough.
Called by: `flows`, with the readings of `redis.hitrate`.
Never:     takes a node that could not be read for a healthy one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from go_cache_safeguard.core.check import Check
from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.redis.checks.tell import name_of
from go_cache_safeguard.redis.hitrate import Reading, State

CHECK = Check(
    id="redis-hit-rate",
    title="sudden drop of the hit rate",
    question="Is the hit rate of every node what it was in the last hour?",
    blind_spot="It sees sudden drops of all keys together: a slow decline, or the loss of few keys among many, looks normal.",
)
_ORDER = tuple(Outcome)
_OUTCOME = {
    State.DROPPED: Outcome.BLOCK,
    State.LEARNING: Outcome.UNKNOWN,
    State.IDLE: Outcome.UNKNOWN,
    State.NORMAL: Outcome.PASS,
}


@dataclass(frozen=True, slots=True)
class HitRateFacts:
    """What is known of each node.

    Attributes:
        readings: From the node's name to its reading; None for a node that could not be read.
    """

    readings: Mapping[str, Reading | None]


def judge(facts: HitRateFacts) -> Verdict:
    """BLOCK while any node's rate is down, UNKNOWN if any node cannot be judged."""
    told = sorted(_told(facts), key=lambda one: -_ORDER.index(one[0]))
    if not told:
        return Verdict(CHECK.id, Outcome.UNKNOWN, "no node was read")
    outcome, summary = told[0]
    remedy = ("wait until the rate is back; INFO stats shows keyspace_hits and keyspace_misses",)
    return Verdict(
        check=CHECK.id,
        outcome=outcome,
        summary=summary,
        evidence=tuple(text for _, text in told),
        remedy=remedy if outcome is Outcome.BLOCK else (),
    )


def _told(facts: HitRateFacts) -> Iterator[tuple[Outcome, str]]:
    for node, reading in facts.readings.items():
        if reading is None:
            yield Outcome.UNKNOWN, f"node {name_of(node)} could not be read"
        else:
            yield _OUTCOME[reading.state], _line(node, reading)


def _line(node: str, reading: Reading) -> str:
    head = f"node {name_of(node)}: the hit rate {reading.state.value}"
    if reading.state in {State.LEARNING, State.IDLE}:
        head = f"node {name_of(node)}: {reading.state.value}"
    if reading.rate is None or reading.usual is None:
        return head
    return f"{head}, {reading.rate:.1%} instead of {reading.usual:.1%} ({reading.z:.1f} of 4 units)"
