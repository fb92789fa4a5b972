"""The life of one approval, as rules without a clock, a disk or chance: who has said what, what that comes to, what may follow.

Knows:     that N different people approve one plan digest and who asked is none of them; that a broken glass needs a reason and a
           review by somebody else; that what is over, used or void never comes back.
Called by: `flows.desk`, inside the one transaction of the journal that also writes what is answered here (`Journal.decide`).
Never:     reads a clock (the journal's database tells the time); enforces less for one channel than for another; writes a token.

Every judgement takes a `Case` and gives the records to write, or `Denied`. When the time of an operation is over, the record is
EXPIRED, whatever was asked for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from go_cache_safeguard.approval import token as tokens
from go_cache_safeguard.approval.eyes import Denied, SelfApproval, may_approve
from go_cache_safeguard.approval.token import Grant, Token, check_grant, digest_matches
from go_cache_safeguard.approval.voter import Channel, Role, Voter, is_one_of, one_person
from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.lifecycle import PENDING, State, may_follow
from go_cache_safeguard.core.operation import Operation, is_over
from go_cache_safeguard.core.person import same_person
from go_cache_safeguard.journal.law import AGREED, REVIEWED, SEEN, TOKEN
from go_cache_safeguard.journal.record import Entry, Record

MOST = 9
"""The most people that an approval may need."""

TOLD = "outcome-told"
"""The note in which a host of a fleet says what came of an operation."""

FINDINGS = ("justified", "not-justified")
"""What a review may find."""

_LEAST_REASON = 10
_MOST_TEXT = 2000
_WEEK_S = 7 * 86_400
_WAITING = frozenset({State.HELD, State.APPROVED})
_SAYING_NO = frozenset({State.REJECTED, State.CANCELLED, State.EXPIRED, State.REFUSED})
_AT_THIS_MACHINE = frozenset({Channel.TERMINAL, Channel.TOKEN})

Answer: TypeAlias = Sequence[Entry] | Denied
"""What is to be written, or why nothing is."""


@dataclass(frozen=True, slots=True)
class Terms:
    """By which rules one operation is decided. Written down when it is held, so that later settings change nothing of it.

    Attributes:
        needed: How many different people must approve, 1 to 9.
        approvers: Principals of those who may; empty for everybody who is let in as an approver.
        break_glass: Principals of those who may do without, in an emergency; empty for nobody.
        own: Whether who asked, alone at this machine, may approve.
        review_s: Seconds within which a broken glass is to be reviewed.
    """

    needed: int = 1
    approvers: tuple[str, ...] = ()
    break_glass: tuple[str, ...] = ()
    own: SelfApproval = SelfApproval.NEVER
    review_s: int = _WEEK_S

    def as_value(self) -> dict[str, Value]:
        """For the record that holds an operation."""
        return {
            "needed": self.needed,
            "approvers": list(self.approvers),
            "break_glass": list(self.break_glass),
            "self": str(self.own),
            "review_s": self.review_s,
        }


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds where the decision is made.

    Attributes:
        terms: For what is held from now on, and for what was held before terms were written down.
        accounts: Principals of all login accounts of this machine; empty if they are not known.
        expires_s: Seconds that something new may wait.
        server: Where people decide instead, an https address; empty if they do it here.
        served: Whether this is the desk of a server, to which people come by its pages and its API.
    """

    terms: Terms = Terms()
    accounts: tuple[str, ...] = ()
    expires_s: int = 86_400
    server: str = ""
    served: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """What a judgement is about.

    Attributes:
        operation: As it stands.
        records: All of its records, in order.
        now_s: What the journal's database says, seconds since 1970-01-01 UTC.
        rules: What holds here.
    """

    operation: Operation
    records: Sequence[Record]
    now_s: float
    rules: Rules


@dataclass(frozen=True, slots=True)
class Ballot:
    """How far an approval is.

    Attributes:
        op: The operation.
        state: Where it stands.
        needed: How many people must approve; 0 if nobody was ever asked.
        approvers: Principals of those who did, in order.
        left: How many more it takes; 0 when it is decided, either way.
        emergency: Whether the glass was broken.
        reason: Why it was; empty if it was not.
        review_due: Whether that waits for its review.
        review_by_s: Until when it should be reviewed, seconds since 1970-01-01 UTC; 0 if nothing is to be reviewed.
        expires_s: From when on it waits no more, seconds since 1970-01-01 UTC; 0 for never.
    """

    op: str
    state: State
    needed: int
    approvers: tuple[str, ...]
    left: int
    emergency: bool
    reason: str = ""
    review_due: bool = False
    review_by_s: int = 0
    expires_s: int = 0

    @property
    def votes(self) -> str:
        """For a list: `1 of 2`; empty if nobody was asked."""
        return f"{len(self.approvers)} of {self.needed}" if self.needed else ""


@dataclass(frozen=True, slots=True)
class _Vote:
    """One person who agreed."""

    principal: str
    also: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return (self.principal, *self.also)


def terms_of(operation: Operation, otherwise: Terms) -> Terms | None:
    """The terms that an operation was held with.

    Args:
        operation: Held, or past that.
        otherwise: For one that was held before terms were written down.

    Returns:
        None if they cannot be read: then nothing counts.
    """
    if "terms" not in operation.data:
        return otherwise
    found = operation.data["terms"]
    if not isinstance(found, dict):
        return None
    needed, review_s = found.get("needed"), found.get("review_s")
    lists = (found.get("approvers"), found.get("break_glass"))
    own = next((rule for rule in SelfApproval if rule.value == found.get("self")), None)
    if type(needed) is not int or type(review_s) is not int or not 1 <= needed <= MOST or own is None:
        return None
    if not all(isinstance(some, list) and all(isinstance(it, str) for it in some) for some in lists):
        return None
    return Terms(needed, tuple(found["approvers"]), tuple(found["break_glass"]), own, review_s)


def requesters(operation: Operation) -> tuple[str, ...]:
    """Who asked: the person, and whoever handed it in for them."""
    filed_by = operation.data.get("filed_by")
    return (operation.requester, filed_by) if isinstance(filed_by, str) else (operation.requester,)


def tally(operation: Operation, records: Sequence[Record]) -> Ballot:
    """How far an approval is.

    Args:
        operation: As it stands.
        records: Its records; those that are no `agreed` and no `reviewed` are not looked at.
    """
    data, state = operation.data, operation.state
    terms = terms_of(operation, Terms()) or Terms(MOST)
    asked = State.HELD in operation.states
    approvers = _approvers(operation, records)
    emergency = data.get("emergency") is True
    reviewed = any(record.step == REVIEWED for record in records)
    return Ballot(
        op=operation.id,
        state=state,
        needed=terms.needed if asked else 0,
        approvers=approvers,
        left=max(0, terms.needed - len(approvers)) if state is State.HELD else 0,
        emergency=emergency,
        reason=str(data.get("reason", "")) if emergency else "",
        review_due=emergency and not reviewed,
        review_by_s=_number(data.get("review_by_s")) if emergency else 0,
        expires_s=_number(data.get("expires_s")),
    )


def expire(case: Case) -> Sequence[Entry]:
    """Let it expire if its time is over; expired is for ever."""
    return [Entry(str(State.EXPIRED), {})] if is_over(case.operation, case.now_s) else []


def approve(case: Case, voter: Voter, typed: str, seen: str = "") -> Answer:
    """Somebody has looked at the plan and agrees.

    Args:
        case: A held operation.
        voter: Who.
        typed: 8 or more of the first digits of the plan's digest.
        seen: SHA-256 of the evidence that they were shown, in its canonical form; empty if they were shown none.
    """
    stop = _stop(case) or _wrong_digest(case, typed)
    return _counted(case, voter, {SEEN: seen} if seen else {}) if stop is None else stop


def redeem(case: Case, token: Token, by: str) -> Answer:
    """A token comes back, once, for the person whom it was given to.

    Args:
        case: A held operation.
        token: What was given out.
        by: Principal of who brings it, who need not be the approver.
    """
    stop = _stop(case)
    if stop is not None:
        return stop
    minted = next((it for it in case.records if it.step == TOKEN and it.data.get("sha256") == token.stored), None)
    if minted is None:
        return Denied("this token was not given out for it", _mint(case))
    if any(record.data.get("token") == token.stored for record in case.records):
        return Denied("the token was used before", _mint(case))
    approver = str(minted.data.get("approver"))
    grant = Grant(str(minted.op), str(minted.data.get("digest")), approver, _number(minted.data.get("expires_s")))
    verdict = check_grant(
        grant,
        token,
        stored=token.stored,
        op=case.operation.id,
        digest=_digest(case),
        approver=approver,
        now=case.now_s,
    )
    if isinstance(verdict, Denied):
        return Denied(verdict.reason, _mint(case))
    voter = Voter(approver, frozenset({Role.APPROVER}), Channel.TOKEN, _names(minted.data.get("also")))
    return _counted(case, voter, {"by": by, "token": token.stored})


def mint(case: Case, voter: Voter, chance: bytes, lifetime_s: int) -> tuple[Token, Answer]:
    """Give out a token with which this one plan can be approved once, in the name of a person who may.

    Args:
        case: A held operation.
        voter: In whose name.
        chance: 32 bytes from a source fit for secrets.
        lifetime_s: Seconds for which it counts; never longer than the operation waits.

    Returns:
        The token, worth nothing unless the answer is written.
    """
    token, stored = tokens.mint(chance)
    stop = _stop(case)
    if stop is not None:
        return token, stop
    if lifetime_s < 1:
        return token, Denied("a token that counts for no time is none")
    vote = _may_vote(case, voter)
    if isinstance(vote, Denied):
        return token, vote
    ends = [int(case.now_s) + lifetime_s, _number(case.operation.data.get("expires_s"))]
    data: dict[str, Value] = {
        "sha256": stored,
        "approver": voter.principal,
        "digest": _digest(case),
        "expires_s": min(it for it in ends if it),
        **_also(voter),
    }
    return token, [Entry(TOKEN, data)]


def reject(case: Case, voter: Voter, why: str) -> Answer:
    """Somebody who may approve says no, or who asked does; for ever."""
    stop = _stop(case)
    if stop is not None:
        return stop
    terms = terms_of(case.operation, case.rules.terms)
    listed = Role.APPROVER in voter.roles and terms is not None and _listed(terms, voter)
    if not (listed or _asked(case, voter)):
        return Denied(f"{voter.principal} is not one of those who decide about it")
    return [
        Entry(str(State.REJECTED), {"rejected_by": voter.principal, "channel": str(voter.channel), "why": plain(why)})
    ]


def cancel(case: Case, voter: Voter, why: str) -> Answer:
    """Who asked takes it back, or one of the approvers what they approved, while nothing was touched."""
    over = expire(case)
    if over:
        return over
    state = case.operation.state
    if state not in PENDING or not may_follow(state, State.CANCELLED) or state is State.SNAPSHOTTING:
        return _not_now(case)
    terms = terms_of(case.operation, case.rules.terms)
    regrets = state is State.APPROVED and Role.APPROVER in voter.roles and terms is not None and _listed(terms, voter)
    if not (regrets or _asked(case, voter)):
        return Denied("only who asked for it takes it back", "who may approve rejects it instead")
    return [
        Entry(str(State.CANCELLED), {"cancelled_by": voter.principal, "channel": str(voter.channel), "why": plain(why)})
    ]


def void(case: Case, why: str) -> Answer:
    """The target is not what was approved any more: the approval ends, and who wants it still asks again."""
    over = expire(case)
    if over:
        return over
    if case.operation.state not in _WAITING:
        return _not_now(case)
    return [Entry(str(State.CANCELLED), {"why": why, "void": True})]


def break_glass(case: Case, voter: Voter, typed: str, reason: str) -> Answer:
    """Somebody goes on alone, in an emergency; it counts at once, everybody is told, and somebody else reviews it later.

    Args:
        case: A held operation.
        voter: Who; one of those whom the terms name for it.
        typed: 8 or more of the first digits of the plan's digest.
        reason: Why it cannot wait.
    """
    stop = _stop(case) or _wrong_digest(case, typed)
    if stop is not None:
        return stop
    terms = terms_of(case.operation, case.rules.terms)
    if terms is None or not is_one_of(voter, terms.break_glass):
        return Denied(f"{voter.principal} may not break the glass", "the setting approval.break_glass names who may")
    told = plain(reason)
    if len(told) < _LEAST_REASON:
        return Denied(
            "breaking the glass needs a reason", f"say in {_LEAST_REASON} characters or more why it cannot wait"
        )
    before = [vote.principal for vote in _votes(case.records) if same_person(vote.names, voter.names) is not True]
    data: dict[str, Value] = {
        "approver": voter.principal,
        "approvers": [*before, voter.principal],
        "channel": str(voter.channel),
        "emergency": True,
        "reason": told,
        "review_by_s": int(case.now_s) + terms.review_s,
        **_also(voter),
    }
    return [Entry(str(State.APPROVED), data)]


def review(case: Case, voter: Voter, finding: str, text: str) -> Answer:
    """Afterwards, somebody else says whether the glass was broken for a good reason.

    Args:
        case: An operation that went on in an emergency; it may be over long since.
        voter: Who; neither who broke the glass nor who asked.
        finding: One of `FINDINGS`.
        text: Why.
    """
    ballot = tally(case.operation, case.records)
    if not ballot.emergency:
        return Denied("nobody broke the glass for it, so there is nothing to review")
    if not ballot.review_due:
        return Denied("it was reviewed already")
    if not voter.roles & {Role.APPROVER, Role.AUDITOR}:
        return Denied(f"{voter.principal} is let in neither as an approver nor as an auditor")
    if finding not in FINDINGS or not plain(text):
        return Denied(f"a review says {' or '.join(FINDINGS)}, and why")
    who = _Vote(str(case.operation.data.get("approver")), _names(case.operation.data.get("also")))
    if same_person(who.names, voter.names) is not False:
        return Denied("who broke the glass does not review it", _LINK)
    if any(one_person(asked, voter.principal, voter.also) is not False for asked in requesters(case.operation)):
        return Denied("who asked for it does not review it", _LINK)
    data: dict[str, Value] = {"reviewer": voter.principal, "finding": finding, "text": plain(text)}
    return [Entry(REVIEWED, {**data, "channel": str(voter.channel), **_also(voter)})]


def consume(case: Case, digest: str, to: State, data: dict[str, Value]) -> Answer:
    """Use an approval, once: nobody else can, whatever comes of it.

    Args:
        case: An approved operation.
        digest: Of the plan that is about to be carried out.
        to: The state that uses it: PASSED, REMOVING, SNAPSHOTTING.
        data: What that record says.
    """
    over = expire(case)
    if over:
        return over
    if case.operation.state is not State.APPROVED:
        return _not_now(case)
    if digest != _digest(case):
        return Denied("the plan is not the one that was approved", "ask again with a new plan")
    return [Entry(str(to), data)]


def tell(case: Case, data: Mapping[str, Value]) -> Answer:
    """What came of something that was done elsewhere; what is said first stays.

    Args:
        case: An operation whose approval was used.
        data: What its host says.
    """
    if case.operation.state is not State.PASSED:
        return _not_now(case)
    return [] if any(it.step == TOLD for it in case.records) else [Entry(TOLD, data)]


def plain(text: str) -> str:
    """What a person wrote, as one line without odd characters, 2000 at most."""
    line = " ".join(text.split())
    return "".join(char if char.isprintable() else "?" for char in line)[:_MOST_TEXT]


_MINT = "an approver mints one with `go-cache-safeguard ops token {op} --output FILE`"
_MINT_THERE = "an approver mints one at the server: POST /api/v1/operations/{op}/token"
_LINK = "an administrator says which accounts are whose: `go-cache-safeguard serve people link NAME uid:N` (or `none`)"


def _counted(case: Case, voter: Voter, more: dict[str, Value]) -> Answer:
    """One more vote; the last one that it takes is the approval."""
    vote = _may_vote(case, voter)
    if isinstance(vote, Denied):
        return vote
    terms = terms_of(case.operation, case.rules.terms)
    assert terms is not None  # noqa: S101 - nobody may vote otherwise
    before = [it.principal for it in _votes(case.records)]
    data: dict[str, Value] = {
        "approver": voter.principal,
        "channel": str(voter.channel),
        **vote,
        **_also(voter),
        **more,
    }
    if len(before) + 1 < terms.needed:
        return [Entry(AGREED, {**data, "digest": _digest(case)})]
    return [Entry(str(State.APPROVED), {**data, "approvers": [*before, voter.principal]})]


def _may_vote(case: Case, voter: Voter) -> dict[str, Value] | Denied:
    """Whether this person counts, as one more. What the record says of the rule if it is who asked."""
    terms = terms_of(case.operation, case.rules.terms)
    if terms is None:
        return Denied("by which rules it was held cannot be read", "reject it and ask again")
    if Role.APPROVER not in voter.roles:
        return Denied(f"{voter.principal} is not let in as an approver")
    if not _listed(terms, voter):
        return Denied(
            f"{voter.principal} is not one of those who may approve it", "the setting approval.approvers names them"
        )
    for vote in _votes(case.records):
        same = same_person(vote.names, voter.names)
        if same is None:
            return Denied(f"whether {voter.principal} is somebody else than {vote.principal} is not known", _LINK)
        if same:
            return Denied(f"{voter.principal} has approved it already; it takes {terms.needed} different people")
    return _is_not_who_asked(case, voter, terms)


def _is_not_who_asked(case: Case, voter: Voter, terms: Terms) -> dict[str, Value] | Denied:
    requester = case.operation.requester
    same = {asked: one_person(asked, voter.principal, voter.also) for asked in requesters(case.operation)}
    unknown = next((asked for asked, answer in same.items() if answer is None), None)
    if unknown is not None:
        return Denied(f"whether {voter.principal} is somebody else than {unknown} is not known", _LINK)
    if not any(same.values()):
        return {}
    here = voter.channel in _AT_THIS_MACHINE and one_person(requester, voter.principal) is True
    hint = "somebody else approves it; on a machine of your own, `approval.self` may allow you (`config show`)"
    if not here or terms.own is SelfApproval.NEVER:
        return Denied(f"{voter.principal} asked for it; somebody else must approve", hint)
    verdict = may_approve(requester, requester, rule=terms.own, accounts=case.rules.accounts)
    return replace(verdict, hint=hint) if isinstance(verdict, Denied) else {"self": str(terms.own)}


def _stop(case: Case) -> Answer | None:
    """Why no decision about a held operation can be taken now."""
    return expire(case) or (None if case.operation.state is State.HELD else _not_now(case))


def _not_now(case: Case) -> Denied:
    operation = case.operation
    why = operation.data.get("why") if operation.state in _SAYING_NO else ""
    return Denied(f"{operation.id} is {operation.state}{f': {why}' if why else ''}", "`ops list` tells what waits")


def _wrong_digest(case: Case, typed: str) -> Denied | None:
    if digest_matches(typed, _digest(case)):
        return None
    look = f"look at the plan with `go-cache-safeguard ops show {case.operation.id}` and type at least 8 digits of its digest"
    return Denied(f"{plain(typed)[:80]!r} is not the beginning of the plan's digest", look)


def _listed(terms: Terms, voter: Voter) -> bool:
    return not terms.approvers or is_one_of(voter, terms.approvers)


def _asked(case: Case, voter: Voter) -> bool:
    return any(one_person(asked, voter.principal, voter.also) is True for asked in requesters(case.operation))


def _votes(records: Sequence[Record]) -> list[_Vote]:
    return [_Vote(str(it.data.get("approver")), _names(it.data.get("also"))) for it in records if it.step == AGREED]


def _approvers(operation: Operation, records: Sequence[Record]) -> tuple[str, ...]:
    told = _names(operation.data.get("approvers"))
    if told or State.APPROVED not in operation.states:
        return told or tuple(vote.principal for vote in _votes(records))
    return (str(operation.data.get("approver", "")),)  # approved before several were


def _mint(case: Case) -> str:
    """How a token comes into being where this is decided."""
    return (_MINT_THERE if case.rules.served else _MINT).format(op=case.operation.id)


def _digest(case: Case) -> str:
    return str(case.operation.data.get("digest", ""))


def _also(voter: Voter) -> dict[str, Value]:
    return {"also": list(voter.also)} if voter.also else {}


def _names(found: Any) -> tuple[str, ...]:
    return tuple(str(it) for it in found) if isinstance(found, list) else ()


def _number(found: Any) -> int:
    return found if type(found) is int else 0
