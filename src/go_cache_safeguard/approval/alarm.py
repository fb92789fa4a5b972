"""Alerts of what waits and what went wrong, as an Alertmanager takes them.

Knows:     which condition is an alert of which name and severity, and how an alert says that it is over.
Called by: `flows.alerts`, which sends them.
Never:     puts values, words of commands, tokens or paths of hooks into an alert; sends more than a few hundred of them.
Source:    Alertmanager's OpenAPI, version 2, `postableAlerts`: labels name an alert, `startsAt` and `endsAt` are RFC 3339; one whose
           `endsAt` has passed is resolved, and one that is not sent again is resolved at its `endsAt`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from go_cache_safeguard.approval.figures import Condition, Figures
from go_cache_safeguard.core.canonical import Value, canonical

AGAIN_S = 60
"""Whoever goes on running sends what is still so again after this time."""
MOST = 300
"""Alerts about single operations; more are told in one that counts them."""
BATCH_BYTES = 48 << 10

_STAYS_S = 24 * 3600
_CHARS = 300
_NAMES = {
    "held": ("GoCacheSafeguardOperationHeld", "warning"),
    "refused": ("GoCacheSafeguardOperationRefused", "info"),
    "unknown": ("GoCacheSafeguardOperationUnknown", "critical"),
    "proofs": ("GoCacheSafeguardProofFailed", "critical"),
    "reviews": ("GoCacheSafeguardBreakGlass", "critical"),
    "given_up": ("GoCacheSafeguardMessageGivenUp", "critical"),
}
_SUMMARIES = {
    "held": "An operation waits for people",
    "refused": "An operation was refused",
    "unknown": "An operation ended so that nobody knows what is left",
    "proofs": "Builds did not work after an operation, and it was put back",
    "reviews": "An operation went on in an emergency and was not reviewed yet",
    "given_up": "An operation waits, and somebody could not be told",
}
OVERDUE = "GoCacheSafeguardReviewOverdue"
TROUBLE = "GoCacheSafeguardJournalTrouble"
MANY = "GoCacheSafeguardManyOperations"
ALERTS = (*(name for name, _ in _NAMES.values()), OVERDUE, TROUBLE, MANY)
"""Every name that an alert may have."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert.

    Attributes:
        labels: What names it: two with the same labels are the same.
        summary: For people.
        description: For people.
        since_s: Since when, seconds since 1970-01-01 UTC.
        until_s: When it is over.
        link: Where people can look; empty if nowhere.
    """

    labels: tuple[tuple[str, str], ...]
    summary: str
    description: str
    since_s: int
    until_s: int
    link: str = ""

    def as_value(self) -> Value:
        """As the Alertmanager wants it."""
        value: dict[str, Value] = {
            "labels": dict(self.labels),
            "annotations": {"summary": self.summary, "description": self.description},
            "startsAt": _at(self.since_s),
            "endsAt": _at(self.until_s),
        }
        return {**value, "generatorURL": self.link} if self.link else value


@dataclass(frozen=True, slots=True)
class Source:
    """Where alerts come from.

    Attributes:
        host: The machine whose journal it is.
        pages: Where people decide in a browser; empty if nowhere.
    """

    host: str
    pages: str = ""


def alerts_of(figures: Figures, source: Source, *, now_s: int) -> list[Alert]:
    """All that is so now, and what was not long ago.

    Args:
        figures: Of the journal.
        source: Where they come from.
        now_s: Seconds since 1970-01-01 UTC.
    """
    active = [(name, one) for name in _NAMES for one in _conditions(figures, name)]
    found = [_alert(name, one, source, _until(name, one, now_s)) for name, one in active]
    found += [_overdue(one, source, now_s + _STAYS_S) for one in figures.reviews.values() if 0 < one.until_s < now_s]
    many = len(found) - MOST
    if many > 0:
        text = f"{many} more operations wait or went wrong on {source.host}"
        more = Alert(
            _labels(MANY, "warning", source), text, _LIST, min(one.since_s for one in found), now_s + 10 * AGAIN_S
        )
        found = [more, *sorted(found, key=lambda one: one.since_s)[:MOST]]
    return found + list(_over(figures, source, now_s))


def trouble_of(source: Source, why: str, *, now_s: int) -> Alert:
    """The alert that the journal cannot be read or written; over by itself when nobody sends it any more."""
    return Alert(
        _labels(TROUBLE, "critical", source),
        f"The journal of {source.host} cannot be used",
        f"{_short(why)}. Nothing is removed meanwhile. See: go-cache-safeguard audit verify.",
        now_s,
        now_s + 10 * AGAIN_S,
    )


def batches(alerts: Sequence[Alert]) -> Iterator[bytes]:
    """Bodies of requests, none of them large."""
    some: list[Value] = []
    size = 0
    for alert in alerts:
        value = alert.as_value()
        length = len(canonical(value))
        if some and size + length > BATCH_BYTES:
            yield canonical(some)
            some, size = [], 0
        some.append(value)
        size += length + 1
    if some:
        yield canonical(some)


_LIST = "See: go-cache-safeguard ops list."


def _until(name: str, one: Condition, now_s: int) -> int:
    """When it is over by itself if nobody says so before. An emergency that nobody reviews in time goes on."""
    return one.until_s if name != "reviews" and one.until_s > now_s else max(now_s, one.until_s) + _STAYS_S


def _conditions(figures: Figures, name: str) -> Iterable[Condition]:
    found: dict[str, Condition] = getattr(figures, name)
    return found.values()


def _over(figures: Figures, source: Source, now_s: int) -> Iterator[Alert]:
    """What has ended. The Alertmanager tells people only of what it was told before."""
    for (name, _), one in sorted(figures.over.items(), key=lambda item: -item[1].until_s)[:MOST]:
        if name in _NAMES:
            yield _alert(name, one, source, min(one.until_s, now_s))
        if name == "reviews":
            yield _overdue(one, source, min(one.until_s, now_s))


def _alert(name: str, one: Condition, source: Source, until_s: int) -> Alert:
    alertname, severity = _NAMES[name]
    about = one.about
    labels = _labels(alertname, severity, source, op=about.op, kind=about.kind)
    if name == "given_up":
        labels = (*labels, ("channel", one.why))
    parts = [f"{about.op}, asked for by {about.requester}, about {about.target}", *([one.why] if one.why else [])]
    return Alert(
        labels,
        f"{_SUMMARIES[name]} on {source.host}",
        f"{_short('; '.join(parts))}. See: go-cache-safeguard ops show {about.op}.",
        one.since_s,
        until_s,
        source.pages and f"{source.pages}/op/{about.op}",
    )


def _overdue(one: Condition, source: Source, until_s: int) -> Alert:
    return Alert(
        _labels(OVERDUE, "warning", source, op=one.about.op, kind=one.about.kind),
        f"An emergency on {source.host} should have been reviewed by now",
        f"{one.about.op}: somebody who did not break the glass says whether it was justified. "
        f"See: go-cache-safeguard ops show {one.about.op}.",
        one.since_s,
        until_s,
        source.pages and f"{source.pages}/op/{one.about.op}",
    )


def _labels(name: str, severity: str, source: Source, **more: str) -> tuple[tuple[str, str], ...]:
    named = {"alertname": name, "severity": severity, "host": source.host, "job": "go-cache-safeguard", **more}
    return tuple(sorted(named.items()))


def _short(text: str) -> str:
    plain = "".join(char if char.isprintable() else "?" for char in text)
    return plain if len(plain) <= _CHARS else f"{plain[:_CHARS]}..."


def _at(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
