"""The desk where people decide: what terminal, pages, API and Slack all call, so that nothing is enforced in one of them only.

Knows:     how a decision is judged and written in one transaction of the journal, and what waits, kept in memory as far as it was read.
Called by: `flows.approve` for the terminal; the web, API and chat for everybody else.
Never:     keeps a queue of its own: the journal is the truth; writes a token down; executes anything.
"""

import secrets
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice

from go_cache_safeguard.approval import ballot as ballots
from go_cache_safeguard.approval.ballot import Answer, Ballot, Case, Rules, Terms, tally
from go_cache_safeguard.approval.eyes import Denied, SelfApproval
from go_cache_safeguard.approval.token import CHANCE, Token
from go_cache_safeguard.approval.voter import Channel, Role, Voter
from go_cache_safeguard.config.layer import ConfigBad
from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.operation import Operation
from go_cache_safeguard.core.person import parse_identity
from go_cache_safeguard.flows.inbox import WAITING, Books, Inbox, Opens, Page
from go_cache_safeguard.flows.leafing import Leaf, leaf_of
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.journal.record import Entry, Record
from go_cache_safeguard.telemetry.names import SpanName
from go_cache_safeguard.telemetry.span import span

__all__ = [
    "WAITING",
    "Books",
    "Desk",
    "NotApproved",
    "Opens",
    "Page",
    "desk_of",
    "lent",
    "rules_of",
    "terms_of",
    "voter_of",
]


class NotApproved(Failure):
    """This decision does not count.

    Attributes:
        reason: Why, in one clause.
    """

    id = "not-approved"
    exit_code = ExitCode.REFUSED
    meaning = "the approval was refused: wrong person, wrong digest, wrong or used token, or expired"

    @property
    def reason(self) -> str:
        """Why, in one clause."""
        return self.what


class Desk:
    """Decisions about the operations of one journal. Safe from any thread, but not across a fork."""

    def __init__(self, open_journal: Opens, rules: Rules, *, tenant: str = "") -> None:
        """Make a desk; nothing is opened yet.

        Args:
            open_journal: Opens the journal, once for each call.
            rules: What holds here.
            tenant: Whose journal it is; empty for this machine's own. Voters of another one decide nothing.
        """
        self._open = open_journal
        self.rules = rules
        self.tenant = tenant
        self._inbox = Inbox(open_journal)

    # --- looking -------------------------------------------------------------------------------------------------------

    def inbox(
        self,
        *,
        states: Collection[State] = WAITING,
        tenant: str | None = None,
        after: str = "",
        limit: int = 50,
        text: str = "",
    ) -> Page:
        """What waits, the oldest first.

        Args:
            states: Only operations in one of these. Those that have ended are read from the journal each time.
            tenant: Whose; there is nothing here of any other than the desk's own.
            after: Only those behind this one; the `next` of the page before.
            limit: How many on a page, 500 at most.
            text: Only those that say this somewhere, in either case: id, target, requester, selectors, reasons.
        """
        if tenant is not None and tenant != self.tenant:
            return Page((), 0, "", {})
        return self._inbox.page(states, after=after, limit=limit, text=text)

    def reviews(self) -> Page:
        """Broken glasses that nobody has reviewed, the oldest first."""
        return self._inbox.reviews()

    def operation(self, op: str) -> Operation:
        """One operation.

        Raises:
            NoSuchOperation: There is none of this name.
        """
        with self._open(read_only=True) as journal:
            return journal.operation(op)

    def records(self, op: str) -> list[Record]:
        """All that the journal says of one operation, in order."""
        with self._open(read_only=True) as journal:
            return list(journal.records(op=op))

    def history(self, target: str, limit: int) -> list[Operation]:
        """What was asked for on one target, the newest first."""
        return self._inbox.history(target, limit)

    def ballot(self, op: str) -> Ballot:
        """How far an approval is."""
        with self._open(read_only=True) as journal:
            return tally(journal.operation(op), list(journal.records(op=op)))

    def journal(self, since: int, limit: int) -> list[Record]:
        """Records in order, notes as well.

        Args:
            since: Only those with a higher number.
            limit: At most so many.
        """
        with self._open(read_only=True) as journal:
            return list(islice(journal.records(since), limit))

    def last_seq(self) -> int:
        """Number of the newest record: it changes with whatever is written."""
        with self._open(read_only=True) as journal:
            return journal.last_seq

    def moved_since(self, op: str, seq: int) -> bool:
        """Whether there is a record of an operation after this number."""
        with self._open(read_only=True) as journal:
            return next(iter(journal.records(seq, op=op)), None) is not None

    def leaf(self, *, before: int = 0, limit: int = 50, op: str = "", step: str = "") -> Leaf:
        """A page of the journal, the newest records first; see `flows.leafing.leaf_of`."""
        with self._open(read_only=True) as journal:
            return leaf_of(journal, before=before, limit=limit, op=op, step=step)

    # --- deciding ------------------------------------------------------------------------------------------------------

    def file(self, op: str, requester: str, entries: Sequence[Entry]) -> Operation:
        """Write the first records of an operation that somebody elsewhere asks for; once, however often it is sent.

        Args:
            op: Its id, drawn by whoever asks.
            requester: On whose behalf, for example `uid:1000(alice)@HOST`.
            entries: REQUESTED first. HELD gets the terms of this desk and, if it has none, the time when it expires.

        Raises:
            NotApproved: There is an operation of this name, and it is another one.
        """
        first = [self._filed(op, requester, entry) for entry in entries]
        with self._open(read_only=False) as journal:
            operation = journal.begin(op, first)
        asked = first[0].data
        same = operation.requester == requester and all(
            operation.data.get(key) == asked.get(key) for key in ("digest", "target", "filing")
        )
        if not same:
            raise NotApproved(f"{op} is another operation", not_done="nothing was written", hint="ask under a new id")
        return operation

    def approve(self, op: str, voter: Voter, typed: str, *, seen: str = "") -> Ballot:
        """Somebody has looked at the plan and agrees; the last one that it takes makes it APPROVED.

        Args:
            op: A held operation.
            voter: Who.
            typed: 8 or more of the first digits of the plan's digest.
            seen: SHA-256 of the evidence that they were shown; empty if they were shown none.

        Raises:
            NotApproved: It does not count, and why.
            NoSuchOperation: There is none of this name.
        """
        self._is_here(op, voter)
        return self._cast(op, lambda case: ballots.approve(case, voter, typed, seen), "approve", voter.principal)

    def redeem(self, op: str, token: Token, by: str) -> Ballot:
        """A token comes back; it counts once, for the person whom it was given to.

        Args:
            op: A held operation.
            token: What `mint` gave.
            by: Principal of who brings it.

        Raises:
            NotApproved: It does not count, and why.
        """
        return self._cast(op, lambda case: ballots.redeem(case, token, by), "redeem", by)

    def mint(self, op: str, voter: Voter, lifetime_s: int) -> Token:
        """Give out a token with which this one plan can be approved once, in the name of this person.

        Args:
            op: A held operation.
            voter: In whose name.
            lifetime_s: Seconds for which it counts.

        Raises:
            NotApproved: This person may not approve it.
        """
        self._is_decided_here(
            op, "no token was minted", f"an approver mints it there: POST /api/v1/operations/{op}/token"
        )
        self._is_here(op, voter)
        chance = secrets.token_bytes(CHANCE)
        made: list[Token] = []

        def judge(case: Case) -> Answer:
            token, answer = ballots.mint(case, voter, chance, lifetime_s)
            made[:] = [token]
            return answer

        self._settle(op, judge, "no token was minted")
        return made[0]

    def reject(self, op: str, voter: Voter, why: str) -> Operation:
        """Say no, for ever: one of those who may approve, or who asked.

        Raises:
            NotApproved: It is not for this person to say, or it is decided.
        """
        self._is_here(op, voter)
        with span(SpanName.APPROVAL, op=op, decision="reject", actor=voter.principal) as here:
            operation = self._settle(op, lambda case: ballots.reject(case, voter, why), "nothing changed")
            here.set(state=operation.state)
        return operation

    def cancel(self, op: str, by: Voter, why: str) -> Operation:
        """Take it back: who asked, or one of those who may approve what is approved; while nothing was touched.

        Raises:
            NotApproved: It is not for this person to take back, or it is too late.
        """
        self._is_here(op, by)
        return self._settle(op, lambda case: ballots.cancel(case, by, why), "nothing changed")

    def void(self, op: str, why: str) -> Operation:
        """The target is not what was approved any more: the approval ends. Who wants it still asks again.

        Raises:
            NotApproved: It waits no more.
        """
        return self._settle(op, lambda case: ballots.void(case, why), "nothing changed")

    def break_glass(self, op: str, voter: Voter, typed: str, reason: str) -> Ballot:
        """Go on alone, in an emergency; somebody else reviews it later.

        Args:
            op: A held operation.
            voter: One of those who may, as `approval.break_glass` said when it was held.
            typed: 8 or more of the first digits of the plan's digest.
            reason: Why it cannot wait.

        Raises:
            NotApproved: It does not count, and why.
        """
        self._is_here(op, voter)
        return self._cast(
            op, lambda case: ballots.break_glass(case, voter, typed, reason), "break-glass", voter.principal
        )

    def review(self, op: str, voter: Voter, finding: str, text: str) -> Operation:
        """Say afterwards whether the glass was broken for a good reason.

        Args:
            op: An operation that went on in an emergency.
            voter: Neither who broke the glass nor who asked.
            finding: `justified` or `not-justified`.
            text: Why.

        Raises:
            NotApproved: It is not for this person to say, or it was said.
        """
        self._is_here(op, voter)
        return self._settle(op, lambda case: ballots.review(case, voter, finding, text), "nothing changed")

    def consume(self, op: str, by: str, digest: str) -> Operation:
        """Use an approval for something that is done elsewhere; exactly once.

        Args:
            op: An approved operation.
            by: Principal of whoever is about to do it.
            digest: Of the plan that they are about to carry out.

        Raises:
            NotApproved: It is not approved (any more), was used, or is another plan.
        """
        data: dict[str, Value] = {"consumed_by": by, "digest": digest}
        return self._settle(
            op, lambda case: ballots.consume(case, digest, State.PASSED, data), "the approval does not count"
        )

    def tell(self, op: str, data: Mapping[str, Value]) -> Operation:
        """Write down what came of an operation that was carried out elsewhere; once.

        Args:
            op: An operation whose approval was used.
            data: What its host says.

        Raises:
            NotApproved: Its approval was not used.
        """
        return self._settle(op, lambda case: ballots.tell(case, data), "nothing was written")

    def expire_due(self) -> int:
        """Let everything expire whose time is over. Call it now and then: what nobody looks at is over all the same.

        Returns:
            How many did.
        """
        due = self._inbox.due(time.time())
        expired = 0
        for op in due:
            with self._open(read_only=False) as journal:
                found = journal.decide(op, self._expiry)
            expired += found.state is State.EXPIRED
        return expired

    # --- inside --------------------------------------------------------------------------------------------------------

    def _is_here(self, op: str, voter: Voter) -> None:
        if voter.tenant != self.tenant:
            raise NotApproved(f"{op} belongs to somebody else", not_done="nothing changed")

    def _is_decided_here(self, op: str, not_done: str, hint: str) -> None:
        if self.rules.server:
            raise NotApproved(f"people decide about {op} at {self.rules.server}", not_done=not_done, hint=hint)

    def _expiry(self, operation: Operation, records: Sequence[Record], now_s: int) -> Sequence[Entry]:
        entries = ballots.expire(self._case(operation, records, now_s))
        return [replace(entry, op=operation.id) for entry in entries]

    def _case(self, operation: Operation, records: Sequence[Record], now_s: float) -> Case:
        return Case(operation, records, now_s, self.rules)

    def _cast(self, op: str, judge: Callable[[Case], Answer], decision: str, by: str) -> Ballot:
        """A decision that would let it go on; where a server decides, only there."""
        self._is_decided_here(op, f"{op} stays as it is", "approve it there; `approval.server` names the place")
        with span(SpanName.APPROVAL, op=op, decision=decision, actor=by) as here:
            here.set(state=self._settle(op, judge, f"{op} stays as it is").state)
        return self.ballot(op)

    def _settle(self, op: str, judge: Callable[[Case], Answer], not_done: str) -> Operation:
        """Judge and write in one transaction. What is over expires, and that is no answer to what was asked."""
        late: list[bool] = []

        def judged(operation: Operation, records: Sequence[Record], now_s: int) -> Sequence[Entry]:
            answer = judge(self._case(operation, records, now_s))
            if isinstance(answer, Denied):
                raise NotApproved(answer.reason, not_done=not_done, hint=answer.hint)
            late[:] = [any(entry.to is State.EXPIRED for entry in answer)]
            return [replace(entry, op=op) for entry in answer]

        with self._open(read_only=False) as journal:
            operation = journal.decide(op, judged)
        if any(late):
            raise NotApproved(f"{op} is {State.EXPIRED}: it waited too long", not_done=not_done, hint="ask again")
        return operation

    def _filed(self, op: str, requester: str, entry: Entry) -> Entry:
        data = dict(entry.data)
        if entry.to is State.HELD:
            data = {"expires_s": int(time.time()) + self.rules.expires_s, **data, "terms": self.rules.terms.as_value()}
        return Entry(entry.step, data, op, requester if entry.to is State.REQUESTED else entry.actor)


def desk_of(session: Session) -> Desk:
    """The desk of this machine's own journal."""
    return Desk(session.journal, rules_of(session))


def rules_of(session: Session) -> Rules:
    """What the settings say."""
    config = session.config
    return Rules(
        terms_of(session), session.accounts, config.seconds("approval.expires"), server=config.text("approval.server")
    )


def terms_of(session: Session) -> Terms:
    """By which rules something is decided that is held now.

    Raises:
        ConfigBad: Somebody is named who is nobody, or fewer are named than are needed.
    """
    config = session.config
    needed, approvers = config.count("approval.needed"), _people(session, "approval.approvers")
    if approvers and len(approvers) < needed:
        raise ConfigBad(f"approval.needed is {needed}, and approval.approvers names only {len(approvers)}")
    return Terms(
        needed=needed,
        approvers=approvers,
        break_glass=_people(session, "approval.break_glass"),
        own=SelfApproval(config.choice("approval.self")),
        review_s=config.seconds("approval.review"),
    )


def _people(session: Session, key: str) -> tuple[str, ...]:
    named = tuple(session.config.text(key).split())
    nobody = next((word for word in named if parse_identity(word) is None), None)
    if nobody is not None:
        raise ConfigBad(
            f"{key} names {nobody!r}, which is not a person",
            hint="people are uid:1000(alice), uid:1000(alice)@HOST, user:NAME or oidc:ISSUER#SUBJECT",
        )
    return named


def voter_of(session: Session) -> Voter:
    """Whoever sits at this terminal. On their own machine people may ask, approve and audit; `approval.approvers` says who may."""
    return Voter(session.actor, frozenset(Role), Channel.TERMINAL)


def lent(journal: Books) -> Opens:
    """An open journal, for a desk that is used while it is open; it stays open."""

    @contextmanager
    def lend(*, read_only: bool = False) -> Iterator[Books]:
        del read_only
        yield journal

    return lend
