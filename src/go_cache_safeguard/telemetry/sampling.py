"""Whether a trace is kept: the same answer in every service that sees a part of it.

Knows:     OpenTelemetry's consistent probability sampling, how the rules are asked, and how a budget moves a probability.
Called by: `telemetry.buffer`, `telemetry.tail`; `signals.collector` compares other engines with `decide`.
Never:     throws dice: the randomness is in the trace's own id, so that what a lower probability keeps, a higher one keeps too.
Source:    OpenTelemetry specification, trace/tracestate-probability-sampling: 56 bits of randomness, `ot=th:...;rv:...`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, assert_never

from go_cache_safeguard.telemetry.rules import (
    Adaptive,
    Always,
    Condition,
    Equals,
    Exists,
    Keep,
    Matches,
    Never,
    Rule,
    RuleFile,
    Status,
    When,
)

WHOLE = 1 << 56
"""Thresholds are 0 (everything is kept) up to this (nothing is)."""
_MASK = WHOLE - 1
_DIGITS = 14
_LONGEST = 256
_SETTLE_S = 10.0
"""A quieter service is believed after about so many seconds; a busier one at once."""


def threshold(probability: float) -> int:
    """The `th` of a probability: what is not kept of 2^56.

    Args:
        probability: 0 to 1.
    """
    return WHOLE - round(min(1.0, max(0.0, probability)) * WHOLE)


def probability_of(th: int) -> float:
    """The share that a threshold keeps."""
    return (WHOLE - th) / WHOLE


def keeps(trace_id: bytes, th: int) -> bool:
    """Whether a threshold keeps a trace.

    Args:
        trace_id: 16 bytes; the last seven are its randomness.
        th: 0 to 2^56.
    """
    return int.from_bytes(trace_id[-7:], "big") >= th


@dataclass(frozen=True, slots=True)
class OtState:
    """What the member `ot` of a tracestate says.

    Attributes:
        th: The threshold that the trace has passed already, if it is told.
        rv: Randomness that is used instead of the id's, if it is told.
        rest: Other parts, as they came.
    """

    th: int | None = None
    rv: int | None = None
    rest: tuple[str, ...] = ()

    def text(self) -> str:
        """As it stands in a header; nothing is told of a threshold that keeps nothing."""
        parts = [] if self.th is None or self.th >= WHOLE else [f"th:{encode_th(self.th)}"]
        parts += [] if self.rv is None else [f"rv:{self.rv:014x}"]
        text = ";".join((*parts, *self.rest))
        return text if len(text) <= _LONGEST else ";".join(parts)

    def merged(self, th: int | None) -> "OtState":
        """After one more sampler: sets are nested, so the higher threshold is that of both."""
        if th is None:
            return self
        return OtState(max(th, self.th or 0), self.rv, self.rest)


def encode_th(th: int) -> str:
    """Hexadecimal digits without the zeros at the end."""
    return f"{th:014x}".rstrip("0") or "0"


def parse_ot(text: str) -> OtState:
    """Read the value of `ot`; a part that cannot be read is as if it were not there."""
    th = rv = None
    rest = []
    for part in text.split(";") if 0 < len(text) <= _LONGEST else ():
        key, colon, value = part.partition(":")
        if key == "th":
            th = _hexadecimal(value.ljust(_DIGITS, "0")) if value else None
        elif key == "rv":
            rv = _hexadecimal(value)
        elif colon:
            rest.append(part)
    return OtState(th, rv, tuple(rest))


def _hexadecimal(value: str) -> int | None:
    if len(value) != _DIGITS or not set(value) <= set("0123456789abcdef"):
        return None
    return int(value, 16)


class SpanFacts(Protocol):
    """What rules can ask of one span."""

    @property
    def name(self) -> str: ...  # noqa: D102 - the fields of a span
    @property
    def service(self) -> str: ...  # noqa: D102 - likewise
    @property
    def attributes(self) -> Mapping[str, object]: ...  # noqa: D102 - likewise
    @property
    def resource(self) -> Mapping[str, object]: ...  # noqa: D102 - likewise


Statuses: TypeAlias = frozenset[Status]


@dataclass(frozen=True, slots=True)
class TraceFacts:
    """What rules can ask of a trace.

    Attributes:
        randomness: 56 bits, of the id or of the tracestate.
        duration_ns: From the first start to the last end.
        statuses: How its spans ended.
        spans: Looked at only if a rule asks for what is inside of them.
    """

    randomness: int
    duration_ns: int
    statuses: Statuses
    spans: Sequence[SpanFacts] = ()


def randomness(trace_id: bytes, trace_state: str = "") -> int:
    """A trace's 56 bits.

    Args:
        trace_id: 16 bytes.
        trace_state: The value of `ot`, which may tell others.
    """
    told = parse_ot(trace_state).rv if "rv:" in trace_state else None
    return int.from_bytes(trace_id[-7:], "big") if told is None else told


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a trace.

    Attributes:
        keep: It is exported.
        rule: The rule that said so.
        probability: With which it was kept; counts are divided by it.
        th: The threshold of that probability; None if it was not kept by chance nor by rule for all alike.
        must: It is kept whatever the load is.
    """

    keep: bool
    rule: str
    probability: float
    th: int | None
    must: bool = False


class Judge:
    """The rules at one level of generosity, ready to be asked often.

    Attributes:
        looks_inside: `TraceFacts.spans` is needed.
    """

    def __init__(self, rules: RuleFile, level: float) -> None:
        self.looks_inside = rules.looks_inside
        self._table = [(rule, rule.when, *_decisions(rule, level)) for rule in rules.rules]

    def judge(self, trace: TraceFacts) -> tuple[Decision, Rule]:
        """The first rule that applies, and what it says."""
        for rule, when, th, kept, dropped in self._table:
            if applies(when, trace):
                return (kept if trace.randomness >= th else dropped), rule
        raise AssertionError("the last rule takes every trace")


def share(keep: Keep, level: float) -> float:
    """The probability with which a rule keeps a trace.

    Args:
        keep: What the rule says.
        level: 0 keeps the `least` of adaptive rules, 1 their `most`; in between a share of the way.
    """
    match keep:
        case Always():
            return 1.0
        case Never():
            return 0.0
        case Adaptive(least, most):
            return least + (most - least) * level
        case _:
            assert_never(keep)


def _decisions(rule: Rule, level: float) -> tuple[int, Decision, Decision]:
    """A rule's threshold, and what it says above and below."""
    probability = share(rule.keep, level)
    th = threshold(probability)
    kept = Decision(keep=True, rule=rule.name, probability=probability, th=th, must=isinstance(rule.keep, Always))
    return th, kept, Decision(keep=False, rule=rule.name, probability=probability, th=th)


def decide(rules: RuleFile, trace: TraceFacts, level: float) -> Decision:
    """What becomes of one trace.

    Args:
        rules: Which traces are kept.
        trace: What is known of it.
        level: 0 keeps the `least` of adaptive rules, 1 their `most`; in between a share of the way.
    """
    return Judge(rules, level).judge(trace)[0]


def applies(when: When, trace: TraceFacts) -> bool:
    """Whether a trace meets every condition of a rule."""
    if when.status is not None and when.status not in trace.statuses:
        return False
    if when.duration_ms is not None and trace.duration_ns < when.duration_ms * 1_000_000:
        return False
    return not when.looks_inside or _inside(when, trace.spans)


def _inside(when: When, spans: Sequence[SpanFacts]) -> bool:
    service, name = when.service, when.name
    if service is not None and not any(service.matches(span.service) for span in spans):
        return False
    if name is not None and not any(name.matches(span.name) for span in spans):
        return False
    return all(any(_met(condition, span) for span in spans) for condition in when.attributes)


def _met(condition: Condition, span: SpanFacts) -> bool:
    """Whether a span or its resource has an attribute as it should be."""
    for attributes in (span.attributes, span.resource):
        value = attributes.get(condition.key)
        if value is None:
            continue
        match condition.test:
            case Exists():
                return True
            case Equals(wanted):
                if type(value) is type(wanted) and value == wanted:
                    return True
            case Matches(pattern):
                if isinstance(value, str) and pattern.matches(value.encode("utf-8", "surrogatepass")):
                    return True
    return False


@dataclass(frozen=True, slots=True)
class Controller:
    """Moves the level so that adaptive rules together stay within the budget.

    What is kept is `least + level x room`, both in spans per second, so the level that meets the budget is known at once; only
    the rates are smoothed. A rise of the load counts at once, a fall after some seconds: nothing swings.

    Attributes:
        budget: Spans per second.
        least: Spans per second that are kept at level 0.
        room: Spans per second that are kept in addition at level 1.
        level: 0 to 1.
    """

    budget: float
    least: float = 0.0
    room: float = 0.0
    level: float = 1.0

    def step(self, seconds: float, least: float, room: float) -> "Controller":
        """After some time.

        Args:
            seconds: How long it was; not 0.
            least: Spans that adaptive rules were asked about, each times its rule's `least`.
            room: The same, each times its rule's `most - least`.
        """
        weight = 1 - math.exp(-seconds / _SETTLE_S)
        least, room = least / seconds, room / seconds
        least = max(least, self.least + (least - self.least) * weight)
        room = max(room, self.room + (room - self.room) * weight)
        level = min(1.0, max(0.0, (self.budget - least) / room)) if room > 0 else 1.0
        return Controller(self.budget, least, room, level)
