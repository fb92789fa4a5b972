"""Whether histories are lawful: what was removed had been agreed to, by whom it may be, for what was asked.

Knows:     which records say what was asked, agreed and done, and what must hold between them.
Called by: `journal.sweep` picks those records, `flows.audit` has them judged.
Never:     judges a journal whose chain is broken (what is missing may be what is missed); compares times: clocks are wrong at times.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from go_cache_safeguard.core.lifecycle import TRANSITIONS, State
from go_cache_safeguard.journal.chain import Break, BreakKind
from go_cache_safeguard.journal.record import Record

TOKEN = "token-minted"  # noqa: S105 - the name of a note
KEY = "checkpoint-key"
NOTES = frozenset({TOKEN, KEY})
"""Notes that the law is about, beside all records that move an operation."""

_KEPT = frozenset(("approver", "channel", "digest", "key", "handover", "self", "sha256", "token"))
_ACTING = frozenset({State.SNAPSHOTTING, State.REMOVING, State.PASSED})
_ARROWS = {before.value if before else "": {it.value for it in after} for before, after in TRANSITIONS.items()}
"""The lifecycle in plain words: those of an enumeration are slow to look up, and a journal has many."""
_NOTHING: Mapping[str, Any] = {}
_PERSON = re.compile(r"uid:\d+", re.ASCII)


class Act(NamedTuple):
    """What the law needs of one record.

    Attributes:
        seq: Its number.
        op: The operation, or None.
        step: A state or a note.
        actor: Who did it.
        data: Of what it says, only what is judged.
    """

    seq: int
    op: str | None
    step: str
    actor: str
    data: Mapping[str, Any]


def act(seq: int, op: str | None, step: str, actor: str, data: Mapping[str, Any]) -> Act:
    """Pick what the law needs."""
    kept = {key: data[key] for key in _KEPT & data.keys()}
    if isinstance(receipt := data.get("receipt"), dict):
        kept["done"] = receipt.get("digest")
    return Act(seq, op, step, actor, kept or _NOTHING)


def acts(records: Iterable[Record]) -> Iterator[Act]:
    """The same of records that were built."""
    return (act(it.seq, it.op, it.step, it.actor, it.data) for it in records if it.state or it.step in NOTES)


def arrows_hold(acts: Iterable[Act]) -> bool:
    """Whether each step is an arrow of the lifecycle."""
    stands: dict[str, str] = {}
    for _, op, step, _, _ in acts:
        if op is None or step in NOTES:
            continue
        if step not in _ARROWS[stands.get(op, "")]:
            return False
        stands[op] = step
    return True


@dataclass(slots=True)
class _Story:
    """What is known of one operation so far."""

    requester: str
    digest: object
    allowed: bool = False
    held: bool = False
    approved: bool = False
    tokens: dict[str, str] = field(default_factory=dict)


def judge(acts: Iterable[Act], *, alone: bool) -> list[Break]:
    """Judge all histories of a journal whose chain is whole.

    Args:
        acts: In order.
        alone: Whether somebody may have approved what they asked for themselves, where the record does not say by which rule.

    Returns:
        What is unlawful, by number; empty if nothing is.
    """
    stories: dict[str, _Story] = {}
    minted: dict[str, str] = {}
    used: set[str] = set()
    breaks: list[Break] = []
    for it in acts:
        if it.op is None:
            continue
        if it.step == State.REQUESTED:
            stories[it.op] = _Story(it.actor, it.data.get("digest"))
        story = stories.get(it.op)
        if story is not None:
            breaks += [Break(it.seq, kind, text) for kind, text in _judge(it, story, minted, used, alone=alone)]
    return breaks


def _judge(
    it: Act, story: _Story, minted: dict[str, str], used: set[str], *, alone: bool
) -> Iterator[tuple[BreakKind, str]]:
    told = it.data.get("digest") if it.step in {TOKEN, State.APPROVED} else it.data.get("done")
    if told is not None and told != story.digest:
        yield BreakKind.DIGEST, f"record {it.seq} is about another plan than {it.op} was requested with"
    match it.step:
        case "token-minted":
            sha256 = str(it.data.get("sha256"))
            if minted.setdefault(sha256, str(it.op)) != it.op or sha256 in story.tokens:
                yield BreakKind.SPENT, f"the token of record {it.seq} was given out before"
            story.tokens[sha256] = str(it.data.get("approver"))
        case State.ALLOWED:
            story.allowed = True
        case State.HELD:
            story.held = True
        case State.APPROVED:
            story.approved = True
            yield from _approval(it, story, used, alone=alone)
        case _ if it.step in _ACTING and not (story.approved if story.held else story.allowed or story.approved):
            why = "held, and nobody approved it" if story.held else "neither allowed nor approved"
            yield BreakKind.UNAPPROVED, f"record {it.seq} acts on {it.op}, which was {why}"


def _approval(it: Act, story: _Story, used: set[str], *, alone: bool) -> Iterator[tuple[BreakKind, str]]:
    approver = it.data.get("approver")
    if not isinstance(approver, str) or not approver:
        yield BreakKind.UNAPPROVED, f"the approval in record {it.seq} names nobody"
        return
    excused = it.data.get("self") in {"single-user", "always"} if "self" in it.data else alone
    if _who(approver) == _who(story.requester) and not excused:
        yield BreakKind.OWN, f"{approver} approved {it.op} in record {it.seq}, and had asked for it"
    if it.data.get("channel") != "token":
        return
    token = it.data.get("token")
    if token is not None and (token not in story.tokens or story.tokens[token] != approver):
        yield BreakKind.SPENT, f"the token of record {it.seq} was not given out to {approver} for {it.op}"
    elif token is None and approver not in story.tokens.values():
        yield BreakKind.SPENT, f"record {it.seq} tells of a token, and {approver} was given none for {it.op}"
    elif token is not None and token in used:
        yield BreakKind.SPENT, f"the token of record {it.seq} was used before"
    used.add(str(token))


def _who(principal: str) -> str:
    """Who this is: the number of a user counts, the name beside it does not, and look-alikes are alike."""
    plain = unicodedata.normalize("NFKC", principal).casefold().strip()
    number = _PERSON.match(plain)
    return number[0] if number else plain
