"""Whether histories are lawful: what was removed had been agreed to, by whom it may be, for what was asked.

Knows:     which records say what was asked, agreed and done, and what must hold between them.
Called by: `journal.sweep` picks those records, `flows.audit` has them judged.
Never:     judges a journal whose chain is broken (what is missing may be what is missed); compares times: clocks are wrong at times.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, NamedTuple

from go_cache_safeguard.core.lifecycle import TRANSITIONS, State
from go_cache_safeguard.core.person import same_person
from go_cache_safeguard.journal.chain import Break, BreakKind
from go_cache_safeguard.journal.record import Record

TOKEN = "token-minted"  # noqa: S105 - the name of a note
KEY = "checkpoint-key"
AGREED = "agreed"
"""The note about somebody who approves, when it takes more people than that."""
REVIEWED = "reviewed"
"""The note about somebody who looked at a broken glass afterwards."""
SEEN = "seen"
"""What a vote says of the evidence that was seen: its SHA-256."""
NOTES = frozenset({TOKEN, KEY, AGREED, REVIEWED})
"""Notes that the law is about, beside all records that move an operation."""

_KEPT = frozenset(
    (
        *("also", "approver", "approvers", "channel", "digest", "emergency", "filed_by", "finding", "handover", "key"),
        *("reason", "review_by_s", "reviewer", "seen", "self", "sha256", "terms", "token"),
    )
)
_ALONE = frozenset({"single-user", "always"})
_HERE = frozenset({"terminal", "token"})
_ACTING = frozenset({State.SNAPSHOTTING, State.REMOVING, State.PASSED, State.PURGING})
_AGREEING = frozenset({TOKEN, AGREED, State.APPROVED.value})
_VOTES = frozenset({AGREED, State.APPROVED.value})
_REQUESTED, _ALLOWED = State.REQUESTED.value, State.ALLOWED.value
_QUIET = (
    frozenset(it.value for it in State)
    - {it.value for it in _ACTING}
    - _AGREEING
    - {_REQUESTED, _ALLOWED, State.HELD.value}
)
"""States of which only a receipt is judged."""
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
    return Act(seq, op, step, actor, judged(data))


def judged(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is judged of what a record says."""
    kept = {key: value for key, value in data.items() if key in _KEPT}
    if "receipt" in data and isinstance(receipt := data["receipt"], dict):
        kept["done"] = receipt.get("digest")
    return kept or _NOTHING


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
    asked: tuple[str, ...] = ()
    allowed: bool = False
    held: bool = False
    approved: bool = False
    terms: Any = None
    votes: list[Act] = field(default_factory=list)
    glass: tuple[str, ...] = ()
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
        step, data = it.step, it.data
        if step in _QUIET and "done" not in data:
            continue  # nothing to judge, and most are like this
        if it.op is None:
            continue
        if step == _REQUESTED:
            filed_by = data.get("filed_by")
            asked = (it.actor, filed_by) if isinstance(filed_by, str) else (it.actor,)
            stories[it.op] = _Story(it.actor, data.get("digest"), asked)
            if "done" not in data:
                continue
        story = stories.get(it.op)
        if story is None:
            continue
        if step == _ALLOWED and "done" not in data:
            story.allowed = True
            continue
        breaks += [Break(it.seq, kind, text) for kind, text in _judge(it, story, minted, used, alone=alone)]
    return breaks


class Glass(NamedTuple):
    """A broken glass: what went on in an emergency without those who would have had to approve.

    Attributes:
        seq: Number of the record.
        op: The operation.
        who: Who broke it.
        reason: Why.
        review_by_s: Until when it is to be reviewed, seconds since 1970-01-01 UTC.
        finding: What the review found; empty if there was none yet.
    """

    seq: int
    op: str
    who: str
    reason: str
    review_by_s: int
    finding: str


def broken_glasses(acts: Iterable[Act]) -> list[Glass]:
    """All broken glasses of a journal, in order."""
    found: dict[str, Glass] = {}
    for it in acts:
        data, op = it.data, it.op or ""
        if it.step == State.APPROVED and data.get("emergency") is True:
            by_s = data.get("review_by_s")
            told = (str(data.get("approver")), str(data.get("reason")), by_s if type(by_s) is int else 0)
            found[op] = Glass(it.seq, op, *told, "")
        elif it.step == REVIEWED and op in found:
            found[op] = found[op]._replace(finding=str(data.get("finding")))
    return list(found.values())


def votes_seen(acts: Iterable[Act]) -> tuple[int, int]:
    """How many votes there are, and how many of them say which evidence was seen."""
    votes = [it for it in acts if it.step in _VOTES]
    return len(votes), sum(SEEN in it.data for it in votes)


def _judge(
    it: Act, story: _Story, minted: dict[str, str], used: set[str], *, alone: bool
) -> Iterator[tuple[BreakKind, str]]:
    told = it.data.get("digest") if it.step in _AGREEING else it.data.get("done")
    if told is not None and told != story.digest:
        yield BreakKind.DIGEST, f"record {it.seq} is about another plan than {it.op} was requested with"
    match it.step:
        case "token-minted":
            yield from _minted(it, story, minted)
        case "agreed":
            yield from _token(it, story, used)
            story.votes += [it] * (story.held and not story.approved)
        case "reviewed":
            yield from _review(it, story)
        case State.ALLOWED:
            story.allowed = True
        case State.HELD:
            story.held = True
            story.terms = it.data.get("terms")
        case State.APPROVED:
            story.approved = True
            yield from _approval(it, story, used, alone=alone)
        case _ if it.step in _ACTING and not (story.approved if story.held else story.allowed or story.approved):
            why = "held, and nobody approved it" if story.held else "neither allowed nor approved"
            yield BreakKind.UNAPPROVED, f"record {it.seq} acts on {it.op}, which was {why}"


def _minted(it: Act, story: _Story, minted: dict[str, str]) -> Iterator[tuple[BreakKind, str]]:
    sha256 = str(it.data.get("sha256"))
    if minted.setdefault(sha256, str(it.op)) != it.op or sha256 in story.tokens:
        yield BreakKind.SPENT, f"the token of record {it.seq} was given out before"
    story.tokens[sha256] = str(it.data.get("approver"))


def _approval(it: Act, story: _Story, used: set[str], *, alone: bool) -> Iterator[tuple[BreakKind, str]]:
    approver = it.data.get("approver")
    if not isinstance(approver, str) or not approver:
        yield BreakKind.UNAPPROVED, f"the approval in record {it.seq} names nobody"
        return
    if it.data.get("emergency") is True:
        story.glass = _names(it)
        yield from _broken(it, story)
        return
    if story.terms is not None:
        yield from _counted(it, story)
    else:
        excused = it.data.get("self") in _ALONE if "self" in it.data else alone
        if _who(approver) == _who(story.requester) and not excused:
            yield BreakKind.OWN, f"{approver} approved {it.op} in record {it.seq}, and had asked for it"
    yield from _token(it, story, used)


def _counted(it: Act, story: _Story) -> Iterator[tuple[BreakKind, str]]:
    """By the terms that it was held with: so many different people, none of whom had asked for it."""
    where = f"{it.op} in record {it.seq}"
    terms = story.terms if isinstance(story.terms, dict) else {}
    if it.data.get("channel") == "server":  # there is another journal, which knows all of them
        if same_person(_names(it), story.asked):
            yield BreakKind.OWN, f"{it.data['approver']} approved {where}, and had asked for it"
        return
    votes = [*story.votes, it]
    voters = [_names(vote) for vote in votes]
    needed = terms.get("needed")
    if type(needed) is not int or len(voters) < needed:
        yield BreakKind.UNAPPROVED, f"{len(voters)} of {needed} people had approved {where}"
    if it.data.get("approvers") != [names[0] for names in voters]:
        yield BreakKind.UNAPPROVED, f"the people who approved {where} are not those who had agreed"
    if any(same_person(one, other) is not False for one, other in combinations(voters, 2)):
        yield BreakKind.UNAPPROVED, f"those who approved {where} are not known to be different people"
    listed = terms.get("approvers")
    for vote, names in zip(votes, voters, strict=True):
        if listed and not any(same_person(names, (str(one),)) for one in listed):
            yield BreakKind.UNAPPROVED, f"{names[0]} approved {where}, and is not one of those who may"
        yield from _other_than_asked(vote, story, terms.get("self"))


def _other_than_asked(it: Act, story: _Story, own: object) -> Iterator[tuple[BreakKind, str]]:
    names = _names(it)
    for asked in story.asked:
        same = same_person((asked,), names)
        excused = own in _ALONE and it.data.get("self") == own and it.data.get("channel") in _HERE
        if same is None:
            text = f"whether {names[0]}, who approved {it.op} in record {it.seq}, is somebody else than {asked} is not known"
            yield BreakKind.UNAPPROVED, text
        elif same and not excused:
            yield BreakKind.OWN, f"{names[0]} approved {it.op} in record {it.seq}, and had asked for it"


def _broken(it: Act, story: _Story) -> Iterator[tuple[BreakKind, str]]:
    """A broken glass needs somebody who may, and a reason; the review is another record."""
    may = story.terms.get("break_glass") if isinstance(story.terms, dict) else None
    if not any(same_person(story.glass, (str(one),)) for one in may or ()):
        yield (
            BreakKind.UNAPPROVED,
            f"{story.glass[0]} went on with {it.op} in record {it.seq}, and may not break the glass",
        )
    if not it.data.get("reason"):
        yield BreakKind.UNAPPROVED, f"{story.glass[0]} went on with {it.op} in record {it.seq} without a reason"


def _review(it: Act, story: _Story) -> Iterator[tuple[BreakKind, str]]:
    reviewer = (str(it.data.get("reviewer")), *_also(it))
    if any(same_person(reviewer, others) is not False for others in (story.glass, story.asked)):
        yield (
            BreakKind.OWN,
            f"record {it.seq} reviews {it.op}, and is not known to be of somebody else than those it is about",
        )


def _names(it: Act) -> tuple[str, ...]:
    return (str(it.data.get("approver")), *_also(it))


def _also(it: Act) -> tuple[str, ...]:
    also = it.data.get("also")
    return tuple(str(one) for one in also) if isinstance(also, list) else ()


def _token(it: Act, story: _Story, used: set[str]) -> Iterator[tuple[BreakKind, str]]:
    approver = it.data.get("approver")
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
