"""The board of a service: a block at the top of its README, and the same in a message.

Knows:     when a service is red, what the block says, where it stands in a README of any shape, and what a change of state is.
Called by: `flows.board` commits it and tells Slack; `web.board` and `cli.signals_board` show the same.
Never:     touches a byte of a README outside of its block, or guesses where a damaged block ends; says anything of a service but its name,
           its signals and ids of traces.
Source:    GitHub's Markdown hides HTML comments; Slack, "Reference: blocks" (150 characters of a header, 3000 of a text, links as <URL|text>).
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from math import isnan
from typing import Any

from go_cache_safeguard.core.size import Share, parse_size
from go_cache_safeguard.signals.gate import Limits, doubts_of
from go_cache_safeguard.signals.golden import Golden
from go_cache_safeguard.signals.red import SECOND_NS

MOST_BYTES = 1 << 20
"""A longer README is left alone."""
_BEGIN = re.compile(rb"<!-- signals:begin(?: ([a-z]{1,16}))? -->")
_END = re.compile(rb"<!-- signals:end -->")
_BOM = b"\xef\xbb\xbf"
_SERVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,127}", re.ASCII)
_BRANCH = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,127}", re.ASCII)
_REPOSITORY = re.compile(
    r"(/|https://|ssh://|file:///|[A-Za-z0-9._-]+@[A-Za-z0-9.-]+:)[A-Za-z0-9][!-+\--~]{0,500}", re.ASCII
)
_TRACE = "{trace}"


class State(StrEnum):
    """How a service does."""

    GREEN = "green"
    RED = "red"
    UNKNOWN = "unknown"


_SIGNS = {State.GREEN: "🟢", State.RED: "🔴", State.UNKNOWN: "⚪"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where the board of a service stands.

    Attributes:
        service: Its name.
        repository: A path or a URL, without a user's password.
        branch: To which the board is committed.
        red: Above this error rate, 0 to 1.
    """

    service: str
    repository: str
    branch: str
    red: float


def parse_places(words: str, red: float) -> tuple[Place, ...]:
    """Read the table of services: `SERVICE=REPOSITORY[,branch=NAME][,red=SHARE]`, with white space between them.

    Args:
        words: As in the settings.
        red: The threshold of those that name none.

    Raises:
        ValueError: It cannot be read; the message says which word.
    """
    places = [_place(word, red) for word in words.split()]
    if len({place.service for place in places}) < len(places):
        raise ValueError("a service is named twice")
    return tuple(places)


def _place(word: str, red: float) -> Place:
    first, *others = word.split(",")
    service, _, repository = first.partition("=")
    password = re.match(r"https://[^/]*@|[a-z]+://[^/@]*:[^/@]*@", repository)
    if not _SERVICE.fullmatch(service) or not _REPOSITORY.fullmatch(repository) or password:
        raise ValueError(
            f"{service!r} names no service and repository (a path, https://, ssh:// or user@host:path, no password)"
        )
    place = Place(service, repository, "main", red)
    for other in others:
        key, _, value = other.partition("=")
        share = parse_size(value) if key == "red" else None
        if isinstance(share, Share):
            place = replace(place, red=share.per_million / 1e6)
        elif key == "branch" and _BRANCH.fullmatch(value) and ".." not in value:
            place = replace(place, branch=value)
        else:
            raise ValueError(f"{other!r} of {service} is neither branch=NAME nor red=SHARE")
    return place


@dataclass(frozen=True, slots=True)
class Panel:
    """What the board says of one service.

    Attributes:
        state: How it does.
        golden: Its signals.
        red: The threshold, 0 to 1.
        why: What is unknown, if something is.
        traces: Where a trace is seen, with `{trace}` for its id; empty for nowhere.
    """

    state: State
    golden: Golden
    red: float
    why: str = ""
    traces: str = ""

    @property
    def links(self) -> tuple[tuple[str, str], ...]:
        """Failing traces, newest first, with where they are seen."""
        return tuple((trace, self.traces.replace(_TRACE, trace)) for trace in self.golden.failing)


def panel_of(golden: Golden, red: float, limits: Limits, traces: str = "") -> Panel:
    """Judge one service: red above its threshold, unknown without fresh data.

    A board needs no baseline and few requests: it tells how things are, and decides nothing.
    """
    counted = replace(golden, p95_ms=0.0, latencies=(), saturation=None)
    doubts = tuple(doubts_of(counted, replace(limits, requests=1, latencies=0)))
    if doubts:
        return Panel(State.UNKNOWN, golden, red, "; ".join(doubts), traces)
    return Panel(State.RED if golden.error_rate > red else State.GREEN, golden, red, "", traces)


def signals_of(golden: Golden) -> tuple[tuple[str, str], ...]:
    """The four signals with their values, for people; a question mark for what is not known."""
    full = golden.saturation
    return (
        ("error rate", "?" if isnan(golden.error_rate) else f"{golden.error_rate * 100:.3g} %"),
        ("p95", "?" if isnan(golden.p95_ms) else f"{golden.p95_ms:.4g} ms"),
        ("traffic", f"{golden.traffic:.3g}/s" if golden.requests else "?"),
        ("saturation", "?" if full is None or isnan(full) else f"{full * 100:.3g} %"),
    )


def block(panel: Panel) -> str:
    """The block of a README, from its first marker to its last, with plain line ends."""
    golden, signals = panel.golden, signals_of(panel.golden)
    at = datetime.fromtimestamp(golden.end_ns // SECOND_NS, UTC)
    failing = [f"[`{trace[:16]}`]({link})" if link else f"`{trace}`" for trace, link in panel.links]
    lines = [
        f"<!-- signals:begin {panel.state} -->",
        f"**{_SIGNS[panel.state]} {golden.service} is {panel.state}**",
        "",
        f"| {' | '.join(name for name, _ in signals)} |",
        "|" + " --- |" * len(signals),
        f"| {' | '.join(value for _, value in signals)} |",
        "",
        *([f"Failing traces: {', '.join(failing)}", ""] if failing else []),
        f"Since {at:%Y-%m-%d %H:%M:%S} UTC; over {golden.length_s:.0f} s; red above {panel.red * 100:.3g} % of errors.",
        "<!-- signals:end -->",
    ]
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Damaged:
    """A README that is left alone.

    Attributes:
        why: One clause for people.
    """

    why: str


def state_in(readme: bytes) -> State | None:
    """Which state the block of a README says; None if there is no block, or it says none."""
    found = _BEGIN.search(readme)
    text = (found[1] or b"").decode() if found else ""
    return State(text) if text in set(State) else None


def inserted(readme: bytes, panel: Panel) -> bytes | Damaged:
    """A README with the block: in the place of the one that is there, else at the top. Its line ends are used.

    Args:
        readme: As it is, of any encoding that keeps ASCII.
        panel: What the block says.
    """
    if len(readme) > MOST_BYTES:
        return Damaged(f"it is longer than {MOST_BYTES >> 20} MiB")
    if b"\0" in readme:
        return Damaged("it is no text that we can read")
    begins, ends = list(_BEGIN.finditer(readme)), list(_END.finditer(readme))
    if len(begins) > 1 or len(ends) > 1 or len(begins) != len(ends):
        return Damaged("its markers are damaged: there is not one begin and one end")
    newline = "\r\n" if b"\r\n" in readme else "\n"
    made = block(panel).replace("\n", newline).encode()
    if begins:
        if ends[0].start() < begins[0].end():
            return Damaged("its markers are damaged: the end comes first")
        return readme[: begins[0].start()] + made + readme[ends[0].end() :]
    head = _BOM if readme.startswith(_BOM) else b""
    rest = readme[len(head) :]
    return head + made + newline.encode() * (2 if rest else 1) + rest


def subject(panel: Panel) -> str:
    """The first line of the commit's message."""
    rate = dict(signals_of(panel.golden))["error rate"]
    return f"Board: {panel.golden.service} is {panel.state} (error rate {rate})"


def slack_message(panel: Panel) -> bytes:
    """What Slack is told, as an incoming webhook takes it."""
    head = f"{panel.golden.service} is {panel.state}"
    lines = [
        ", ".join(f"{name} {value}" for name, value in signals_of(panel.golden)),
        *([panel.why] if panel.why else []),
    ]
    text = "\n".join(_escaped(line) for line in lines)[:1000]
    for trace, link in panel.links:
        text += f"\nfailing: <{_escaped(link)}|{trace}>" if link else f"\nfailing: {trace}"
    header = {"type": "header", "text": {"type": "plain_text", "text": f"{_SIGNS[panel.state]} {head}"[:150]}}
    section = {"type": "section", "text": {"type": "mrkdwn", "text": text}}
    return json.dumps({"text": _escaped(head), "blocks": [header, section]}).encode()


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def services_in(document: Any, known: Sequence[str]) -> frozenset[str]:
    """Which services an Alertmanager's webhook is about; all that are known if it does not say.

    Args:
        document: The JSON document of a webhook, version 4.
        known: Services with a board.

    Raises:
        ValueError: It is none.
    """
    alerts = document.get("alerts") if isinstance(document, dict) else None
    if not isinstance(alerts, list):
        raise ValueError("it is no webhook of an Alertmanager")  # noqa: TRY004 - the document is wrong, not a type of ours
    values = {str(value) for one in alerts if isinstance(one, dict) for value in _labels(one).values()}
    return frozenset(values & set(known)) or frozenset(known)


def _labels(alert: dict[str, Any]) -> dict[str, Any]:
    labels = alert.get("labels")
    return labels if isinstance(labels, dict) else {}
