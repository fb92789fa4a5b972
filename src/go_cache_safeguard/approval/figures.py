"""What a journal says of operations, as numbers and as what is wrong now.

Knows:     every metric of a journal with its labels, and which records begin and end a condition that somebody should hear of.
Called by: `flows.metrics` shows the numbers, `approval.alarm` makes alerts of the conditions.
Never:     counts anything that is not in the journal: whoever counts again from its first record gets the same numbers; has a label
           whose values clients choose.
Source:    OpenMetrics 1.0: base units, `_total` behind the name of a counter.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from go_cache_safeguard.approval.outbox import FAILED, GIVEN_UP, HOOK, SENT, seconds_of
from go_cache_safeguard.core.lifecycle import TRANSITIONS, State
from go_cache_safeguard.journal.law import REVIEWED
from go_cache_safeguard.journal.record import Record

PREFIX = "go_cache_safeguard_"
"""Before every name."""
OUTCOMES = ("approved", "rejected", "expired", "cancelled")
"""How an operation stops being held."""
RESULTS = ("sent", "failed", "given_up")
KINDS = ("go-build-cache", "go-module-cache", "redis", "redis-access", "snapshot-repository", "other")
"""What operations are about; whatever is none of these is `other`."""
KEPT_S = 3600
"""So long what is over is remembered, so that whoever was told of it hears that it is over."""

_MESSAGES = {SENT: "sent", FAILED: "failed", GIVEN_UP: "given_up"}
_STAYS = frozenset({State.UNKNOWN})


@dataclass(frozen=True, slots=True)
class Figure:
    """One metric.

    Attributes:
        name: Behind `PREFIX`; of a counter without `_total`.
        what: One sentence.
        counter: Whether it only grows; else it is what is there now.
        labels: Names of labels.
    """

    name: str
    what: str
    counter: bool = False
    labels: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        """As it is scraped."""
        return PREFIX + self.name + ("_total" if self.counter else "")


HELD = Figure("held_operations", "Operations that wait for people now.", labels=("kind",))
OLDEST = Figure("oldest_held_timestamp_seconds", "When the one that waits longest was held; not there if none waits.")
APPROVED = Figure("approved_operations", "Operations that were approved and not carried out yet.")
UNKNOWN = Figure(
    "unknown_operations", "Operations that ended so that nobody knows what is left; see `recover` and `undo`."
)
REVIEWS = Figure("reviews_due", "Operations that went on in an emergency and were not reviewed yet.")
REVIEW_BY = Figure(
    "review_by_timestamp_seconds", "Until when the next review should be made; not there if none is due."
)
HELD_TOTAL = Figure("operations_held", "Operations that were held.", counter=True, labels=("kind",))
DECIDED = Figure(
    "operations_decided", "Operations that are held no longer, and why.", counter=True, labels=("outcome",)
)
REFUSED = Figure(
    "operations_refused", "Operations that policy refused, or that were void when they began.", counter=True
)
PROOFS = Figure("proofs_failed", "Operations that were put back because builds did not work after them.", counter=True)
EMERGENCIES = Figure("break_glass", "Operations that went on in an emergency.", counter=True)
MESSAGES = Figure("messages", "Messages to people, by channel and result.", counter=True, labels=("channel", "result"))
GIVEN_UP_NOW = Figure("messages_given_up_now", "Operations that wait, and of which somebody could not be told.")
FIGURES = (
    HELD,
    OLDEST,
    APPROVED,
    UNKNOWN,
    REVIEWS,
    REVIEW_BY,
    HELD_TOTAL,
    DECIDED,
    REFUSED,
    PROOFS,
    EMERGENCIES,
    MESSAGES,
    GIVEN_UP_NOW,
)
READABLE = Figure("journal_readable", "1 if the journal could be used; if not, nothing else is shown of it.")
RECORDS = Figure("journal_records", "Records in the journal.")
WRITTEN = Figure("journal_last_record_timestamp_seconds", "When the newest record about an operation was written.")
OF_JOURNAL = (READABLE, RECORDS, WRITTEN)
"""What whoever reads the journal adds."""


@dataclass(frozen=True, slots=True)
class About:
    """Of an operation, what somebody who hears of it has to know.

    Attributes:
        op: Its id.
        kind: One of `KINDS`.
        target: What it is about.
        requester: Who asked.
    """

    op: str
    kind: str
    target: str
    requester: str


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that somebody should hear of.

    Attributes:
        about: The operation.
        since_s: Since when, seconds since 1970-01-01 UTC.
        until_s: When it is over by itself; 0 if it is not.
        why: One clause; may be empty.
    """

    about: About
    since_s: int
    until_s: int = 0
    why: str = ""


@dataclass(slots=True)
class Figures:
    """What the records so far add up to.

    Attributes:
        held: Operations that wait now.
        approved: Approved and not carried out.
        unknown: Nobody knows what is left.
        reviews: An emergency that was not reviewed; `until_s` is until when it should be.
        given_up: Held, and somebody could not be told; by operation and channel.
        proofs: Proofs that failed lately.
        refused: Refusals of late.
        over: What is not so any more: the name of one of the above and the operation, and since when.
        written_s: When the newest record was written.
    """

    held: dict[str, Condition] = field(default_factory=dict)
    approved: dict[str, Condition] = field(default_factory=dict)
    unknown: dict[str, Condition] = field(default_factory=dict)
    reviews: dict[str, Condition] = field(default_factory=dict)
    given_up: dict[str, Condition] = field(default_factory=dict)
    proofs: dict[str, Condition] = field(default_factory=dict)
    refused: dict[str, Condition] = field(default_factory=dict)
    over: dict[tuple[str, str], Condition] = field(default_factory=dict)
    written_s: int = 0
    _counts: dict[tuple[str, tuple[str, ...]], int] = field(default_factory=dict)
    _abouts: dict[str, About] = field(default_factory=dict)
    _states: dict[str, State] = field(default_factory=dict)
    _last: dict[tuple[str, tuple[str, ...]], tuple[str, int]] = field(default_factory=dict)
    _op: str = ""

    def add(self, record: Record) -> None:
        """Count one record, in the journal's order."""
        if record.op is None:
            return
        self.written_s, self._op = seconds_of(record.at), record.op
        if record.state is not None:
            self._move(record.op, record.state, record.data, record.actor)
        elif record.step == REVIEWED:
            self._end("reviews", record.op)
        elif record.step in _MESSAGES:
            self._message(record.op, _MESSAGES[record.step], str(record.data.get("channel", HOOK)))

    def shown(self) -> Mapping[Figure, Mapping[tuple[str, ...], float]]:
        """Every metric with its numbers, by the values of its labels."""
        held: dict[tuple[str, ...], float] = {(kind,): 0.0 for kind in KINDS}
        for one in self.held.values():
            held[one.about.kind,] += 1
        return {
            HELD: held,
            OLDEST: _least(one.since_s for one in self.held.values()),
            APPROVED: {(): float(len(self.approved))},
            UNKNOWN: {(): float(len(self.unknown))},
            REVIEWS: {(): float(len(self.reviews))},
            REVIEW_BY: _least(one.until_s for one in self.reviews.values() if one.until_s),
            HELD_TOTAL: self._counted(HELD_TOTAL, {(kind,) for kind in KINDS}),
            DECIDED: self._counted(DECIDED, {(outcome,) for outcome in OUTCOMES}),
            REFUSED: self._counted(REFUSED, {()}),
            PROOFS: self._counted(PROOFS, {()}),
            EMERGENCIES: self._counted(EMERGENCIES, {()}),
            MESSAGES: self._counted(MESSAGES, {(HOOK, result) for result in RESULTS}),
            GIVEN_UP_NOW: {(): float(len({one.about.op for one in self.given_up.values()}))},
        }

    def last(self, figure: Figure, labels: tuple[str, ...]) -> tuple[str, int] | None:
        """The operation that a counter counted last, and when; None if there was none."""
        return self._last.get((figure.name, labels))

    def forget(self, now_s: int) -> None:
        """Let go of what is over for long."""
        for name in ("proofs", "refused"):
            for op in [op for op, one in self._of(name).items() if one.since_s + KEPT_S < now_s]:
                self._end(name, op)
        for key in [key for key, one in self.over.items() if one.until_s + KEPT_S < now_s]:
            del self.over[key]

    def _move(self, op: str, state: State, data: Mapping[str, Any], actor: str) -> None:
        before = self._states.get(op)
        if state is State.REQUESTED:
            kind = str(data.get("kind", ""))
            known = kind if kind in KINDS else "other"
            self._abouts[op] = About(op, known, str(data.get("target", "")), actor)
        about = self._abouts.get(op)
        if about is None:
            return  # its first record cannot be read
        self._states[op] = state
        self._leave(op, state)
        self._enter(about, before, state, data)
        if not TRANSITIONS[state] and op not in self.reviews:
            self._abouts.pop(op)
            self._states.pop(op)

    def _leave(self, op: str, state: State) -> None:
        if state is not State.HELD and op in self.held:
            if state.value.lower() in OUTCOMES:
                self._count(DECIDED, state.value.lower())
            self._end("held", op)
            for key in [key for key, one in self.given_up.items() if one.about.op == op]:
                self._end("given_up", key)
        if state is not State.APPROVED:
            self._end("approved", op)
        if state is not State.UNKNOWN:
            self._end("unknown", op)

    def _enter(self, about: About, before: State | None, state: State, data: Mapping[str, Any]) -> None:
        op, now_s = about.op, self.written_s
        if state is State.HELD:
            why = "; ".join(str(one) for one in list(data.get("reasons", ()))[:3])
            self._begin("held", op, Condition(about, now_s, _number(data.get("expires_s")), why))
            self._count(HELD_TOTAL, about.kind)
        elif state is State.APPROVED:
            self._begin("approved", op, Condition(about, now_s))
            if data.get("emergency") is True:
                self._count(EMERGENCIES)
                why = f"{data.get('approver', '')}: {data.get('reason', '')}"
                self._begin("reviews", op, Condition(about, now_s, _number(data.get("review_by_s")), why))
        elif state is State.REFUSED:
            self._count(REFUSED)
            self._begin("refused", op, Condition(about, now_s, now_s + KEPT_S, str(data.get("why", ""))))
        elif state is State.ROLLING_BACK and before is State.PROVING:
            self._count(PROOFS)
            self._begin("proofs", op, Condition(about, now_s, now_s + KEPT_S))
        elif state in _STAYS:
            self._begin("unknown", op, Condition(about, now_s))

    def _message(self, op: str, result: str, channel: str) -> None:
        self._count(MESSAGES, channel, result)
        key = f"{op} {channel}"
        if result == "given_up" and op in self.held:
            self._begin("given_up", key, Condition(self.held[op].about, self.written_s, why=channel))
        elif result == "sent":
            self._end("given_up", key)

    def _begin(self, name: str, key: str, condition: Condition) -> None:
        self._of(name)[key] = condition
        self.over.pop((name, key), None)

    def _end(self, name: str, key: str) -> None:
        one = self._of(name).pop(key, None)
        if one is not None:
            self.over[name, key] = Condition(one.about, one.since_s, max(self.written_s, one.since_s), one.why)

    def _of(self, name: str) -> dict[str, Condition]:
        found: dict[str, Condition] = getattr(self, name)
        return found

    def _count(self, figure: Figure, *labels: str) -> None:
        key = figure.name, labels
        self._counts[key] = self._counts.get(key, 0) + 1
        self._last[key] = self._op, self.written_s

    def _counted(self, figure: Figure, always: Iterable[tuple[str, ...]]) -> Mapping[tuple[str, ...], float]:
        found = dict.fromkeys(sorted(always), 0.0)
        return found | {labels: float(count) for (name, labels), count in self._counts.items() if name == figure.name}


def _least(times: Iterable[int]) -> Mapping[tuple[str, ...], float]:
    least = min(times, default=None)
    return {} if least is None else {(): float(least)}


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
