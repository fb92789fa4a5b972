"""No order of votes, tokens, broken glasses and clocks that go anywhere ever lets on what too few people approved."""

from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from go_cache_safeguard.approval import ballot
from go_cache_safeguard.approval.ballot import Answer, Case, Rules, Terms, tally
from go_cache_safeguard.approval.eyes import Denied, SelfApproval
from go_cache_safeguard.approval.token import Token
from go_cache_safeguard.approval.voter import Channel, Role, Voter
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.operation import Operation, is_over, is_too_late
from go_cache_safeguard.journal.law import acts, broken_glasses, judge
from go_cache_safeguard.journal.record import NO_PREV, Entry, Record
from go_cache_safeguard.journal.records import folded, illegal

OP = "op_0000000000000001"
DIGEST = "ab" * 32
ALL = frozenset(Role)


@dataclass(frozen=True)
class Human:
    """Who somebody really is, whatever they call themselves."""

    name: str
    voter: Voter


def human(name: str, principal: str, channel: Channel, *also: str, roles: frozenset[Role] = ALL) -> Human:
    return Human(name, Voter(principal, roles, channel, also))


PEOPLE = (
    human("alice", "uid:1000(alice)", Channel.TERMINAL),
    human("alice", "\uff35ID:1000(bob)", Channel.TERMINAL),
    human("alice", "user:alice", Channel.PAGE, "uid:1000"),
    human("alice", "user:alice", Channel.API),  # nobody has linked her account
    human("bob", "uid:1001(bob)", Channel.TERMINAL),
    human("bob", "user:bob", Channel.PAGE, "uid:1001"),
    human("bob", "USER:Bob", Channel.SLACK, "uid:1001", "none@*"),
    human("carol", "user:carol", Channel.PAGE, "uid:1002"),
    human("carol", "oidc:id.example.org#3", Channel.PAGE, "user:carol", "uid:1002"),
    human("dave", "user:dave", Channel.API, "none"),
    human("erin", "user:erin", Channel.API, "none", roles=frozenset({Role.AUDITOR})),
    human("nobody", "dave", Channel.PAGE),
)
someone = st.sampled_from(PEOPLE)


class Approval(RuleBasedStateMachine):
    """One operation of alice's, from the moment it is held."""

    @initialize(
        needed=st.integers(1, 3),
        approvers=st.sampled_from([(), ("uid:1001", "user:carol", "user:dave"), ("uid:1000", "uid:1001")]),
        breakers=st.sampled_from([(), ("uid:1001",), ("uid:1000", "user:carol")]),
    )
    def hold(self, needed: int, approvers: tuple[str, ...], breakers: tuple[str, ...]) -> None:
        self.needed = needed
        self.terms = Terms(needed, approvers, breakers, SelfApproval.NEVER)
        self.now_s = 1_000_000.0
        self.records: list[Record] = []
        self.agreed: set[str] = set()
        self.tokens: list[tuple[Human, Token, float]] = []
        self.glass = ""
        self.reviewer = ""
        self.was_over = False
        self.write(Entry("REQUESTED", {"digest": DIGEST, "target": "/c"}, OP))
        self.write(Entry("CHECKED", {}, OP))
        self.write(Entry("HELD", {"expires_s": 1_000_500, "terms": self.terms.as_value()}, OP))

    @property
    def operation(self) -> Operation:
        return folded(self.records)[OP]

    def write(self, entry: Entry) -> None:
        place = ("0" * 32, len(self.records) + 1, NO_PREV, "2026-01-01T00:00:00.000000Z", len(self.records), "boot")
        self.records.append(Record(*place, "uid:1000(alice)", "host", "1", OP, entry.step, entry.data))

    def case(self) -> Case:
        # Whoever decides may have other settings by now: only what was written down counts.
        return Case(self.operation, self.records, self.now_s, Rules(Terms(1, (), (), SelfApproval.ALWAYS)))

    def settle(self, answer: Answer) -> Sequence[Entry]:
        """What the journal would write, with its own look at arrows and at the time."""
        if isinstance(answer, Denied):
            assert answer.reason
            return ()
        for entry in answer:
            if entry.to is not None:
                assert illegal(OP, self.operation, entry.to) is None
                assert not is_too_late(self.operation, entry.to, self.now_s)
            self.write(entry)
        return answer

    @rule(by=st.integers(-600, 600))
    def clock(self, by: int) -> None:
        self.now_s += by

    @rule(who=someone, typed=st.sampled_from([DIGEST[:8], DIGEST.upper(), DIGEST[:7], "00000000", ""]))
    def approve(self, who: Human, typed: str) -> None:
        for entry in self.settle(ballot.approve(self.case(), who.voter, typed)):
            if entry.to is not State.EXPIRED:
                assert len(typed) >= 8
                assert who.name not in {"alice", "erin", "nobody"}
                assert who.name not in self.agreed
                self.agreed.add(who.name)

    @rule(who=someone, lifetime_s=st.integers(-1, 400))
    def mint(self, who: Human, lifetime_s: int) -> None:
        chance = len(self.records).to_bytes(32)  # never the same twice
        token, answer = ballot.mint(self.case(), who.voter, chance, lifetime_s)
        for entry in self.settle(answer):
            if entry.to is None:
                assert token.text not in str(entry.data)
                self.tokens.append((who, token, self.now_s + lifetime_s))

    @precondition(lambda self: self.tokens)
    @rule(data=st.data(), forged=st.booleans())
    def redeem(self, data: st.DataObject, forged: bool) -> None:  # noqa: FBT001 - drawn
        who, token, until_s = data.draw(st.sampled_from(self.tokens))
        brought = Token(token.text[:-2] + "AA") if forged and not token.text.endswith("AA") else token
        for entry in self.settle(ballot.redeem(self.case(), brought, "uid:1000(alice)")):
            if entry.to is not State.EXPIRED:
                assert brought is token
                assert self.now_s < until_s
                assert who.name not in self.agreed
                self.agreed.add(who.name)

    @rule(who=someone, reason=st.sampled_from(["the disk is full and all builds stand still", "now", ""]))
    def break_glass(self, who: Human, reason: str) -> None:
        for entry in self.settle(ballot.break_glass(self.case(), who.voter, DIGEST, reason)):
            if entry.to is not State.EXPIRED:
                assert len(reason) >= 10
                assert self.terms.break_glass
                self.glass = who.name

    @rule(who=someone, finding=st.sampled_from(["justified", "not-justified", "fine"]))
    def review(self, who: Human, finding: str) -> None:
        for _ in self.settle(ballot.review(self.case(), who.voter, finding, "I have looked")):
            assert self.glass
            assert not self.reviewer
            assert finding != "fine"
            assert who.name not in {self.glass, "alice", "nobody"}
            self.reviewer = who.name

    @rule(who=someone, how=st.sampled_from([ballot.reject, ballot.cancel]))
    def say_no(self, who: Human, how: object) -> None:
        if self.now_s % 7 == 0:  # seldom, or nothing else would ever happen
            self.settle((ballot.reject if how is ballot.reject else ballot.cancel)(self.case(), who.voter, "no"))

    @rule(digest=st.sampled_from([DIGEST, DIGEST, "cd" * 32]))
    def use(self, digest: str) -> None:
        before = self.operation.state
        for entry in self.settle(ballot.consume(self.case(), digest, State.PASSED, {})):
            if entry.to is State.PASSED:
                assert (before, digest) == (State.APPROVED, DIGEST)

    @rule()
    def expire(self) -> None:
        self.was_over |= is_over(self.operation, self.now_s)
        self.settle(ballot.expire(self.case()))

    @invariant()
    def only_enough_people_let_it_on(self) -> None:
        states = self.operation.states
        if State.APPROVED in states and not self.glass:
            assert len(self.agreed) >= self.needed
            assert "alice" not in self.agreed
        assert len([state for state in states if state in {State.APPROVED, State.PASSED}]) == len(
            {state for state in states if state in {State.APPROVED, State.PASSED}}
        )

    @invariant()
    def what_was_over_once_is_over_for_ever(self) -> None:
        if self.was_over:
            assert self.operation.state is not State.HELD
            assert self.operation.state is not State.APPROVED

    @invariant()
    def the_law_finds_nothing(self) -> None:
        assert judge(acts(self.records), alone=False) == []
        glasses = broken_glasses(acts(self.records))
        assert bool(glasses) is bool(self.glass)
        due = tally(self.operation, self.records).review_due
        assert due is bool(self.glass and not self.reviewer)


Approval.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestApproval = Approval.TestCase
