"""The one table of what we tell about ourselves: spans, metrics, attributes, and what an operation's trace is called.

Knows:     every name with its unit and the attributes it may carry; which values a label may have; ids that follow from an operation's.
Called by: `telemetry.span` and `telemetry.otel`, whoever opens a span, `approval.figures` for exemplars, docs are generated from it.
Never:     lets a label have a value that is not in the table: it becomes `other`.
Source:    names and units after the OpenTelemetry specification (metric semantic conventions: units are UCUM, counts in braces).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from hashlib import sha256

OTHER = "other"
"""In the place of a label's value that is not in the table."""
OP_ID = "guard.op_id"
"""The attribute and the baggage entry with an operation's id."""


class SpanName(StrEnum):
    """Every span that we open."""

    OPERATION = "guard.operation"
    CHECK = "guard.check"
    POLICY = "guard.policy"
    WAIT = "guard.approval.wait"
    APPROVAL = "guard.approval"
    NOTIFY = "guard.notify"
    EXECUTE = "guard.execute"
    SNAPSHOT = "guard.snapshot"
    WAVE = "guard.wave"
    VERIFY = "guard.verify"
    ROLLBACK = "guard.rollback"
    UNDO = "guard.undo"
    RECOVER = "guard.recover"
    PURGE = "guard.purge"
    RESTORE = "guard.restore"


ROOTS = frozenset({SpanName.OPERATION, SpanName.RESTORE})
"""The first span of whatever has an id in the journal."""
ALONE = frozenset({SpanName.SNAPSHOT})
"""What is worth a trace of its own; every other span needs an operation, or a span around it."""


class Instrument(Enum):
    """How a metric is counted; the text is what the docs say."""

    COUNTER = "counter"
    HISTOGRAM = "histogram"
    METER = "counter, read when it is sent"
    GAUGE = "gauge, read when it is sent"


class MetricName(StrEnum):
    """Every metric that we export over OTLP; what a journal can tell is at `/metrics` of `serve` instead."""

    DURATION = "guard.operation.duration"
    WAVE_KEYS = "guard.wave.keys"
    ROLLBACKS = "guard.rollback"
    SPANS_KEPT = "guard.spans.kept"
    SPANS_DROPPED = "guard.spans.dropped"
    COMPLETENESS = "guard.trace.completeness"


@dataclass(frozen=True, slots=True)
class Attribute:
    """One thing that a span or a metric may say.

    Attributes:
        key: As it is exported.
        what: One sentence.
        values: Those that it may have as a label of a metric; empty for what only spans may carry.
    """

    key: str
    what: str
    values: tuple[str, ...] = ()


KINDS = (
    "go-build-cache",
    "go-module-cache",
    "go-fuzz-inputs",
    "redis",
    "redis-access",
    "quarantine",
    "redis-trash",
    "snapshot-repository",
    "journal-log",
    OTHER,
)
"""What operations are about."""
OUTCOMES = (
    "done",
    "waiting",
    "purged",
    "passed",
    "rolled_back",
    "held",
    "refused",
    "proof-failed",
    "interrupted",
    "sent",
    "failed",
    OTHER,
)
"""How an operation, or the part of it that one process does, ends."""
REASONS = ("sampled", "queue_full", "must_keep_overflow", "export_failed", "after_shutdown", OTHER)
"""Why a span does not reach its receiver; `telemetry.buffer` counts them."""

ATTRIBUTES: Mapping[str, Attribute] = {
    "op": Attribute(OP_ID, "The operation's id; also in baggage, for whoever is called meanwhile."),
    "kind": Attribute("cache.kind", "What the operation is about.", KINDS),
    "target": Attribute("cache.target", "The directory, or the server without its password."),
    "digest": Attribute("guard.plan.digest", "SHA-256 of the plan, in hexadecimal."),
    "keys": Attribute("guard.keys", "Items: entries, module versions or keys."),
    "size": Attribute("guard.bytes", "Bytes of those."),
    "actor": Attribute("guard.actor", "Who asked, approved or undid, for example `uid:1000(alice)`."),
    "check": Attribute("guard.check.id", "The check or the proof; the span's name ends in it."),
    "verdict": Attribute(
        "guard.verdict", "What it showed: PASS, WARN, UNKNOWN or BLOCK; of a wave, what the gate said."
    ),
    "decision": Attribute("guard.decision", "What policy or a person decided."),
    "outcome": Attribute("guard.outcome", "How it ended.", OUTCOMES),
    "phase": Attribute("guard.phase", "What moves: entries, outputs, modules or keys."),
    "wave": Attribute("guard.wave.n", "Which wave, from 1."),
    "channel": Attribute("guard.channel", "Through which people are told, or answer."),
    "reason": Attribute("guard.reason", "Why a span was dropped.", REASONS),
    "found": Attribute("guard.state.found", "The state in which `recover` found the operation."),
    "state": Attribute("guard.state", "The state in which it is now."),
}
"""By the word with which code says them."""

_ABOUT_PLAN = ("kind", "target", "digest", "keys", "size", "actor")


@dataclass(frozen=True, slots=True)
class About:
    """What one span or metric is.

    Attributes:
        what: One sentence.
        words: Which of `ATTRIBUTES` it may carry; every span may carry `op`.
        unit: Of a metric.
        instrument: Of a metric.
    """

    what: str
    words: tuple[str, ...]
    unit: str = ""
    instrument: Instrument = Instrument.COUNTER


SPANS: Mapping[SpanName, About] = {
    SpanName.OPERATION: About(
        "From the request to its end, or to where it waits for a person; the root of all others.",
        (*_ABOUT_PLAN, "decision", "outcome"),
    ),
    SpanName.CHECK: About("One question about the target.", ("check", "verdict")),
    SpanName.POLICY: About("What policy makes of the answers.", ("decision",)),
    SpanName.WAIT: About("A process waits for people.", ("channel", "state")),
    SpanName.APPROVAL: About("A person decides, wherever that is.", ("decision", "actor", "state")),
    SpanName.NOTIFY: About("One message to people.", ("channel", "outcome")),
    SpanName.EXECUTE: About(
        "An operation that may be carried out is carried out, in this process or a later one.",
        (*_ABOUT_PLAN, "outcome"),
    ),
    SpanName.SNAPSHOT: About("What will go is copied first.", ("keys", "size")),
    SpanName.WAVE: About("A part of what is to go goes.", ("phase", "wave", "keys", "size", "verdict")),
    SpanName.VERIFY: About("The proof, and each of its steps.", ("check", "verdict")),
    SpanName.ROLLBACK: About("Everything is put back because something failed.", ("keys", "size")),
    SpanName.UNDO: About("Everything is put back because somebody wants it.", ("keys", "size", "actor")),
    SpanName.RECOVER: About("After a crash: one operation is brought to an end.", ("found", "state")),
    SpanName.PURGE: About("What was kept of an operation is deleted for good.", ("keys", "size")),
    SpanName.RESTORE: About("A snapshot is put back.", ("target", "keys", "size", "actor")),
}
METRICS: Mapping[MetricName, About] = {
    MetricName.DURATION: About(
        "How long carrying an operation out took.",
        ("kind", "outcome"),
        "s",
        Instrument.HISTOGRAM,
    ),
    MetricName.WAVE_KEYS: About("Items that went.", ("kind",), "{key}"),
    MetricName.ROLLBACKS: About("Operations that were put back because something failed.", ("kind",), "{operation}"),
    MetricName.SPANS_KEPT: About("Spans that the receiver took.", (), "{span}", Instrument.METER),
    MetricName.SPANS_DROPPED: About(
        "Spans that it did not get, and why; `sampled` is what the rules wanted.",
        ("reason",),
        "{span}",
        Instrument.METER,
    ),
    MetricName.COMPLETENESS: About(
        "Of the spans that it should have got by now, the share that it got.", (), "1", Instrument.GAUGE
    ),
}
"""Labels are counted before anything is sampled."""


def full_name(name: SpanName, check: str) -> str:
    """How a span is called: one for each check and proof."""
    return f"{name}.{check}" if check else str(name)


def attributes_of(words: Mapping[str, object], allowed: tuple[str, ...]) -> dict[str, str | bool | int | float]:
    """What is exported of the words that code says.

    Args:
        words: By the words of `ATTRIBUTES`; None is left out.
        allowed: Which of them this span or metric may carry, besides `op`.
    """
    return {
        ATTRIBUTES[word].key: value if isinstance(value, str | int | float) else str(value)
        for word, value in words.items()
        if value is not None and (word in allowed or word == "op")
    }


def labels_of(name: MetricName, words: Mapping[str, str]) -> dict[str, str]:
    """Labels of a metric; a value that is not in the table is `other`."""
    return {
        ATTRIBUTES[word].key: value if value in ATTRIBUTES[word].values else OTHER
        for word, value in words.items()
        if word in METRICS[name].words
    }


@dataclass(frozen=True, slots=True)
class TraceIds:
    """Of an operation.

    Attributes:
        trace: 16 bytes.
        root: 8 bytes, the span id of `guard.operation`.
    """

    trace: bytes
    root: bytes


def ids_of(op: str) -> TraceIds:
    """How the trace of an operation is called, everywhere and always.

    The ids follow from the operation's id, so nothing has to be kept for a process on another machine, or after a crash, to go on
    with the same trace; and whoever has an id from the journal can look the trace up. They are as good as random, which samplers
    that decide by trace id rely on.
    """
    drawn = sha256(op.encode()).digest()
    return TraceIds(drawn[:16], drawn[16:24])
