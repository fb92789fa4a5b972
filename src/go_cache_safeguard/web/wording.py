"""Operations, decisions and records in words: what the pages show of them.

Knows:     what each state is called and looks like, how an operation is told in one line, and what may be offered to whom.
Called by: `web.pages`.
Never:     decides: it judges for show what the desk judges again when it counts.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from go_cache_safeguard.approval import ballot as ballots
from go_cache_safeguard.approval.ballot import Ballot, Case
from go_cache_safeguard.approval.eyes import Denied
from go_cache_safeguard.core.canonical import canonical
from go_cache_safeguard.core.duration import format_duration
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.operation import Operation
from go_cache_safeguard.core.size import format_size
from go_cache_safeguard.flows.site import FUZZ, LOG, MODULES, QUARANTINE, REPOSITORY, SERVER, SERVERS, TRASH
from go_cache_safeguard.journal.record import Record
from go_cache_safeguard.web.schema import record_out
from go_cache_safeguard.web.site import Visitor, may
from go_cache_safeguard.web.view import seconds_of

_COMMAND = re.compile(r"[A-Za-z][A-Za-z0-9._|-]{0,31}", re.ASCII)
SOON_S = 3600
"""What expires sooner is said to expire soon."""

_WORDS: Mapping[State, tuple[str, str, str]] = {
    State.HELD: ("wait", "●", "waits for a decision"),
    State.APPROVED: ("go", "✓", "approved"),
    State.ALLOWED: ("go", "✓", "allowed by policy"),
    State.REQUESTED: ("busy", "…", "requested"),
    State.CHECKED: ("busy", "…", "checked"),
    State.SNAPSHOTTING: ("busy", "…", "snapshot is made"),
    State.REMOVING: ("busy", "…", "being carried out"),
    State.WAITING: ("busy", "…", "waits for builds to end"),
    State.PROVING: ("busy", "…", "being proved"),
    State.ROLLING_BACK: ("busy", "…", "being put back"),
    State.UNDOING: ("busy", "…", "being undone"),
    State.PURGING: ("busy", "…", "being purged"),
    State.DONE: ("done", "✓", "done"),
    State.PASSED: ("done", "✓", "passed on to be done"),
    State.ROLLED_BACK: ("done", "↩", "put back"),
    State.UNDONE: ("done", "↩", "undone"),
    State.PURGED: ("done", "✓", "purged"),
    State.REFUSED: ("stop", "✕", "refused by policy"),
    State.REJECTED: ("stop", "✕", "rejected"),
    State.EXPIRED: ("stop", "✕", "expired"),
    State.CANCELLED: ("stop", "✕", "cancelled"),
    State.UNKNOWN: ("alarm", "?", "outcome UNKNOWN"),
}
NOTES = {
    "agreed": ("go", "agreed"),
    "reviewed": ("done", "reviewed"),
    "token-minted": ("plain", "token given out"),
    "hook-sent": ("plain", "people were told"),
    "hook-failed": ("stop", "people could not be told"),
    "outcome-told": ("done", "outcome told by its host"),
}
_KINDS = {
    "go-build-cache": ("Go build cache", "files"),
    MODULES: ("Go module cache", "files"),
    FUZZ: ("Go fuzzing inputs", "files"),
    SERVER: ("Redis", "keys"),
    QUARANTINE: ("Quarantine, for good", "operations"),
    TRASH: ("Redis trash, for good", "operations"),
    REPOSITORY: ("Snapshot repository, for good", "objects"),
    LOG: ("Shared journal, for good", "operations"),
}


@dataclass(frozen=True, slots=True)
class View:
    """One operation in words.

    Attributes:
        id: Its name.
        title: What would be done.
        kind: What the target is.
        things: What it has: files, keys, users.
        sized: Whether bytes mean anything.
        target: Its name.
        tone, sign, word: Where it stands: how it looks, and what it says.
        requester: Who asked.
        age: How long ago.
        expires: Until when it waits; empty if it does not.
        soon: Whether that is soon.
        reasons: Why a person decides.
        final: Why there is no way back; empty if there may be one.
        votes: How many of how many have agreed; empty if one is enough.
        emergency: Whether the glass was broken.
        digest: Of the plan.
    """

    id: str
    title: str
    kind: str
    things: str
    sized: bool
    target: str
    tone: str
    sign: str
    word: str
    requester: str
    age: str
    expires: str
    soon: bool
    reasons: tuple[str, ...]
    final: str
    votes: str
    emergency: bool
    digest: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What somebody may do about an operation, as far as that can be told beforehand.

    Attributes:
        id: Of the part of the page; another one when there is something else to decide.
        heading: Of that part.
        lines: What there is to say.
        approvers: Who has agreed.
        approve, reject, cancel, break_glass, review: Whether it is offered.
    """

    id: str
    heading: str
    lines: tuple[str, ...] = ()
    approvers: tuple[str, ...] = ()
    approve: bool = False
    reject: bool = False
    cancel: bool = False
    break_glass: bool = False
    review: bool = False

    @property
    def any(self) -> bool:
        """Whether there is something to decide."""
        return self.approve or self.reject or self.cancel or self.break_glass or self.review


def view_of(operation: Operation, ballot: Ballot, now_s: int) -> View:
    """An operation in words.

    Args:
        operation: As it stands.
        ballot: How far its approval is.
        now_s: Seconds since 1970-01-01 UTC.
    """
    data = operation.data
    kind, things = _KINDS.get(str(data.get("kind", "")), (str(data.get("kind", "UNKNOWN")), "items"))
    if data.get("kind") in SERVERS and data.get("kind") != SERVER:
        kind, things = "Redis users", "users"
    tone, sign, word = _WORDS[operation.state]
    since = seconds_of(operation.at)
    waits = operation.state in {State.HELD, State.APPROVED} and ballot.expires_s > 0
    left = ballot.expires_s - now_s
    return View(
        id=operation.id,
        title=_title(data, things),
        kind=kind,
        things=things,
        sized=things != "users",
        target=str(data.get("target", "UNKNOWN")),
        tone=tone,
        sign=sign,
        word=word,
        requester=operation.requester,
        age="UNKNOWN when" if since is None else f"{format_duration(max(0, now_s - since))} ago",
        expires=(f"expires in {format_duration(left)}" if left > 0 else "its time is over") if waits else "",
        soon=waits and left < SOON_S,
        reasons=tuple(str(reason) for reason in data.get("reasons", ())),
        final=str(data.get("final", "")),
        votes=f"{ballot.votes} have agreed" if ballot.needed > 1 and not ballot.emergency else "",
        emergency=ballot.emergency,
        digest=str(data.get("digest", "")),
    )


def _title(data: Mapping[str, Any], things: str) -> str:
    """What would be done: never words of others, but for the name of a command."""
    count = data.get("items")
    many = f"{count:,} {things if count != 1 else things[:-1]}" if type(count) is int else f"UNKNOWN {things}"
    if things == "users":
        return f"Change the rules of {many}"
    size = data.get("bytes")
    much = f", {format_size(size)}" if type(size) is int and size else ""
    command = str(data.get("command", ""))
    if command and command.upper() not in {"DEL", "UNLINK"}:
        return f"{command if _COMMAND.fullmatch(command) else 'A strange command'}: {many}{much}"
    return f"Remove {many}{much}"


def decision_of(case: Case, ballot: Ballot, who: Visitor) -> Decision:
    """What is offered to somebody.

    Args:
        case: The operation, with its records.
        ballot: How far its approval is.
        who: Who looks.
    """
    voter, state = who.voter, case.operation.state
    digest = str(case.operation.data.get("digest", ""))
    name = f"decision-{state.lower()}-{len(ballot.approvers)}-{'due' if ballot.review_due else 'not-due'}"
    approve = ballots.approve(case, voter, digest)
    offered = {
        "approve": may(who, "approve") and _counts(approve, State.EXPIRED),
        "reject": may(who, "reject") and _counts(ballots.reject(case, voter, "why"), State.EXPIRED),
        "cancel": may(who, "cancel") and _counts(ballots.cancel(case, voter, "why"), State.EXPIRED),
        "break_glass": may(who, "break-glass")
        and _counts(ballots.break_glass(case, voter, digest, "a reason that is long enough"), State.EXPIRED),
        "review": may(who, "review") and _counts(ballots.review(case, voter, "justified", "text"), State.EXPIRED),
    }
    if case.rules.server:
        offered |= {"approve": False, "break_glass": False}
    heading, lines = _said(case, ballot)
    if state is State.HELD and not offered["approve"]:
        lines = (*lines, _why_not(case, approve, who))
    return Decision(name, heading, lines, ballot.approvers, **offered)


def _counts(answer: ballots.Answer, over: State) -> bool:
    """Whether the desk would write what was asked for, and not that it is too late."""
    return not isinstance(answer, Denied) and bool(answer) and all(entry.to is not over for entry in answer)


def _why_not(case: Case, answer: ballots.Answer, who: Visitor) -> str:
    if case.rules.server:
        return f"People decide about it at {case.rules.server}."
    if not may(who, "approve"):
        return "You are not let in as an approver."
    if isinstance(answer, Denied):
        return f"You cannot approve it: {answer.reason}." + (f" ({answer.hint})" if answer.hint else "")
    return "Its time is over: it expires as soon as somebody decides."


def _said(case: Case, ballot: Ballot) -> tuple[str, tuple[str, ...]]:
    """Heading and lines of the part of the page that is about the decision."""
    data, state = case.operation.data, case.operation.state
    if state is State.HELD:
        more = f"{ballot.left} more {'person has' if ballot.left == 1 else 'people have'} to agree."
        return ("Your decision" if ballot.needed < 2 else f"Decision of {ballot.needed} people"), (more,)
    if ballot.review_due:
        return "Review of the break-glass", (f"The reason that was given: {ballot.reason}",)
    why = str(data.get("why", ""))
    word = _WORDS[state][2]
    lines = [f"{label}: {data[key]}" for key, label in _PEOPLE if data.get(key)]
    return word[0].upper() + word[1:], (*lines, *([f"Why: {why}"] if why else []))


_PEOPLE = (("rejected_by", "By"), ("cancelled_by", "By"), ("consumed_by", "Used by"), ("reason", "Emergency"))


def step_of(record: Record) -> dict[str, Any] | None:
    """A record as a step of the way; None for one that tells people nothing."""
    state, data = record.state, record.data
    if state is None and record.step not in NOTES:
        return None
    tone, name = (_WORDS[state][0], _WORDS[state][2]) if state is not None else NOTES[record.step]
    told = ("approvers", "channel", "why", "reason", "finding", "text", "hook", "state")
    lines = [
        f"{key}: {', '.join(map(str, data[key])) if isinstance(data[key], list) else data[key]}"
        for key in told
        if data.get(key)
    ]
    actor = str(
        data.get("approver")
        or data.get("reviewer")
        or data.get("rejected_by")
        or data.get("cancelled_by")
        or record.actor
    )
    return {"name": name, "tone": tone, "at": record.at, "actor": actor, "host": record.host, "lines": lines}


def recorded(record: Record) -> dict[str, Any]:
    """A record for the page of the journal, without digests of tokens."""
    data: Mapping[str, Any] = record_out(record)["data"]
    told: Sequence[tuple[str, str]] = [
        (str(name), text if isinstance(text, str) else canonical(text).decode("ascii")) for name, text in data.items()
    ]
    tone = _WORDS[record.state][0] if record.state is not None else NOTES.get(record.step, ("plain", ""))[0]
    return {
        "seq": record.seq,
        "at": record.at,
        "actor": record.actor,
        "host": record.host,
        "op": record.op,
        "step": record.step,
        "prev": record.prev,
        "tone": tone,
        "data": told,
    }
