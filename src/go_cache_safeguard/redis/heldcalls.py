"""How clients' calls were held, decided and carried out, counted from the journal's records.

Knows:     which records are about calls of clients, and what follows from their order and their times.
Called by: `flows.redis_metrics`.
Never:     counts anything that is not in the journal: whoever counts again from its first record gets the same numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.redis.metrics import EXECUTED, HELD_SECONDS, OUTCOMES, bucket

_ENDS = {State.DONE: "done", State.PASSED: "passed", State.UNKNOWN: "unknown"}
_NEVER = frozenset({State.REFUSED, State.REJECTED, State.EXPIRED, State.CANCELLED, State.ROLLED_BACK})


@dataclass(slots=True)
class HeldCalls:
    """What the records so far add up to.

    Attributes:
        held: Operations that are held now, and since when: seconds since 1970-01-01 UTC.
        held_total: How many there were.
        decided: How they stopped being held.
        seconds: How long they were held: one number for each bucket of `HELD_SECONDS`, then the sum.
        executed: What came of those that were approved.
        captured: Bytes that were copied before.
    """

    held: dict[str, float] = field(default_factory=dict)
    held_total: int = 0
    decided: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    seconds: list[float] = field(default_factory=lambda: [0.0] * HELD_SECONDS.width)
    executed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(EXECUTED.labels[0][1], 0))
    captured: int = 0
    _ours: set[str] = field(default_factory=set)
    _final: set[str] = field(default_factory=set)
    _approved: set[str] = field(default_factory=set)

    def add(self, op: str, state: State, at: str, data: Mapping[str, Any]) -> None:
        """Count one record.

        Args:
            op: The operation that it moves.
            state: Where to.
            at: When, RFC 3339 UTC.
            data: What it says.
        """
        if state is State.REQUESTED:
            if data.get("call"):
                self._ours.add(op)
                if data.get("final"):
                    self._final.add(op)
            return
        if op not in self._ours:
            return
        if state is State.HELD:
            self.held[op] = datetime.fromisoformat(at).timestamp()
            self.held_total += 1
        elif op in self.held:
            self._decide(op, state, at)
        self._end(op, state, data)

    def _decide(self, op: str, state: State, at: str) -> None:
        waited = max(0.0, datetime.fromisoformat(at).timestamp() - self.held.pop(op))
        outcome = state.value.lower()
        if outcome in self.decided:
            self.decided[outcome] += 1
        self.seconds[bucket(HELD_SECONDS, waited)] += 1
        self.seconds[-1] += waited
        if state is State.APPROVED:
            self._approved.add(op)

    def _end(self, op: str, state: State, data: Mapping[str, Any]) -> None:
        if state is State.DONE and op not in self._final:
            receipt = data.get("receipt")
            size = receipt.get("bytes", 0) if isinstance(receipt, Mapping) else 0
            self.captured += size if isinstance(size, int) else 0
        if state in _ENDS and op in self._approved:
            self._approved.discard(op)
            self.executed[_ENDS[state]] += 1
        if state in _ENDS or state in _NEVER:
            self._ours.discard(op)
            self._final.discard(op)
