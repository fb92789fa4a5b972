"""Who has approved what, how far that goes, and what never comes back. Orders of all kinds are in `tests/property`."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from go_cache_safeguard.approval import ballot
from go_cache_safeguard.approval.ballot import Answer, Case, Rules, Terms, tally
from go_cache_safeguard.approval.eyes import Denied, SelfApproval
from go_cache_safeguard.approval.token import Token
from go_cache_safeguard.approval.voter import Channel, Role, Voter
from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.journal.record import NO_PREV, Entry, Record
from go_cache_safeguard.journal.records import folded

OP = "op_0000000000000001"
DIGEST = "ab" * 32
ALICE, BOB, CAROL = "uid:1000(alice)", "uid:1001(bob)", "uid:1002(carol)"
REASON = "the disk is full and nobody is awake"


def voter(
    principal: str, *also: str, channel: Channel = Channel.TERMINAL, roles: frozenset[Role] | None = None
) -> Voter:
    return Voter(principal, frozenset(Role) if roles is None else roles, channel, also)


def record(seq: int, step: str, data: Mapping[str, Value]) -> Record:
    return Record("0" * 32, seq, NO_PREV, "2026-01-01T00:00:00.000000Z", seq, "b", ALICE, "h", "1", OP, step, data)


def held(terms: Terms | None = None, *, now_s: float = 100, **asked: Value) -> Case:
    """Something that alice asked for, held until second 1000."""
    waits: dict[str, Value] = {"expires_s": 1000, **({"terms": terms.as_value()} if terms else {})}
    steps: tuple[tuple[str, Mapping[str, Value]], ...] = (
        ("REQUESTED", {"digest": DIGEST, **asked}),
        ("CHECKED", {}),
        ("HELD", waits),
    )
    records = [record(seq, step, data) for seq, (step, data) in enumerate(steps, 1)]
    return Case(folded(records)[OP], records, now_s, Rules())


def after(case: Case, answer: Answer) -> Case:
    """The case once an answer is written."""
    assert not isinstance(answer, Denied), answer.reason
    written = [record(len(case.records) + n, it.step, it.data) for n, it in enumerate(answer, 1)]
    records = [*case.records, *written]
    return replace(case, operation=folded(records)[OP], records=records)


def why(answer: Answer) -> str:
    assert isinstance(answer, Denied), answer
    return answer.reason


def test_the_terms_that_are_written_down_are_read_again() -> None:
    terms = Terms(3, (BOB, "user:carol"), (ALICE,), SelfApproval.SINGLE_USER, 3600)
    assert ballot.terms_of(held(terms).operation, Terms()) == terms
    assert ballot.terms_of(held().operation, Terms(7)) == Terms(7)


@pytest.mark.parametrize(
    "change",
    [
        {"needed": 0},
        {"needed": 10},
        {"needed": True},
        {"needed": "1"},
        {"self": "maybe"},
        {"approvers": "x"},
        {"review_s": None},
    ],
)
def test_terms_that_cannot_be_read_let_nobody_approve(change: dict[str, Value]) -> None:
    case = held()
    data = {**case.operation.data, "terms": {**Terms().as_value(), **change}}
    case = replace(case, operation=replace(case.operation, data=data))
    assert "cannot be read" in why(ballot.approve(case, voter(BOB), DIGEST))
    assert "may not break" in why(ballot.break_glass(case, voter(BOB), DIGEST, REASON))
    assert tally(case.operation, ()).left == ballot.MOST


def test_two_people_approve_what_needs_two() -> None:
    case = held(Terms(2))
    assert tally(case.operation, case.records).votes == "0 of 2"
    case = after(case, ballot.approve(case, voter(BOB), DIGEST[:8]))
    one = tally(case.operation, case.records)
    assert (one.state, one.approvers, one.left, one.votes) == (State.HELD, (BOB,), 1, "1 of 2")
    assert "has approved it already" in why(ballot.approve(case, voter("UID:1001"), DIGEST[:8]))
    case = after(case, ballot.approve(case, voter("user:carol", "uid:1002", channel=Channel.PAGE), DIGEST[:8]))
    two = tally(case.operation, case.records)
    assert (two.state, two.approvers, two.left) == (State.APPROVED, (BOB, "user:carol"), 0)
    assert "is APPROVED" in why(ballot.approve(case, voter("uid:7"), DIGEST))


@pytest.mark.parametrize(
    ("who", "reason"),
    [
        (voter(ALICE), "asked for it"),
        (voter("user:alice", "uid:1000", channel=Channel.PAGE), "asked for it"),
        (voter("user:alice", channel=Channel.PAGE), "is not known"),
        (voter("somebody"), "is not known"),
        (voter(BOB, roles=frozenset({Role.AUDITOR, Role.REQUESTER})), "not let in as an approver"),
    ],
)
def test_who_may_not_approve_is_told_why(who: Voter, reason: str) -> None:
    assert reason in why(ballot.approve(held(Terms()), who, DIGEST))
    assert reason in why(ballot.mint(held(Terms()), who, b"x" * 32, 60)[1])


def test_only_those_who_are_named_approve_and_whoever_handed_it_in_does_not() -> None:
    case = held(Terms(approvers=("user:bob",)))
    assert "not one of those who may" in why(ballot.approve(case, voter(CAROL), DIGEST))
    after(case, ballot.approve(case, voter(BOB, "user:bob"), DIGEST))
    handed_in = held(Terms(), filed_by="user:build-7")
    assert "asked for it" in why(ballot.approve(handed_in, voter("user:build-7", "none"), DIGEST))
    assert "is not known" in why(ballot.approve(handed_in, voter(BOB), DIGEST))
    after(handed_in, ballot.approve(handed_in, voter("user:bob", "none"), DIGEST))


@pytest.mark.parametrize(("channel", "counts"), [(Channel.TERMINAL, True), (Channel.PAGE, False), (Channel.API, False)])
def test_who_is_alone_at_this_machine_may_approve_there_and_nowhere_else(channel: Channel, *, counts: bool) -> None:
    case = replace(held(Terms(own=SelfApproval.SINGLE_USER)), rules=Rules(accounts=(ALICE, "uid:0(root)")))
    answer = ballot.approve(case, voter(ALICE, channel=channel), DIGEST)
    assert isinstance(answer, Denied) is not counts
    linked = ballot.approve(case, voter("user:alice", ALICE, channel=Channel.TERMINAL), DIGEST)
    assert isinstance(linked, Denied)
    if not isinstance(answer, Denied):
        assert answer[0].data["self"] == "single-user"
        shared = replace(case, rules=Rules(accounts=(ALICE, BOB)))
        assert "other login accounts" in why(ballot.approve(shared, voter(ALICE), DIGEST))


@pytest.mark.parametrize("typed", ["", DIGEST[:7], "00000000", f"{DIGEST}a", "\x1b[2J\n"])
def test_what_was_typed_must_begin_the_digest(typed: str) -> None:
    assert "not the beginning" in why(ballot.approve(held(Terms()), voter(BOB), typed))
    assert "not the beginning" in why(ballot.break_glass(held(Terms(break_glass=(BOB,))), voter(BOB), typed, REASON))


def test_a_token_counts_once_for_whom_and_what_it_was_given_out() -> None:
    case = held(Terms(2))
    token, answer = ballot.mint(case, voter(BOB), b"\1" * 32, 5000)
    case = after(case, answer)
    minted = case.records[-1].data
    assert (minted["approver"], minted["digest"], minted["expires_s"]) == (BOB, DIGEST, 1000)  # no longer than it waits
    assert token.text not in repr(case)
    assert "not given out" in why(ballot.redeem(case, Token("gcs1_" + "A" * 43), ALICE))
    used = after(case, ballot.redeem(case, token, ALICE))
    assert tally(used.operation, used.records).approvers == (BOB,)
    assert (used.records[-1].data["by"], used.records[-1].data["channel"]) == (ALICE, "token")
    assert "used before" in why(ballot.redeem(used, token, ALICE))
    short, answer = ballot.mint(case, voter(CAROL), b"\2" * 32, 10)
    assert "expired" in why(ballot.redeem(replace(after(case, answer), now_s=110), short, ALICE))
    other = replace(case, operation=replace(case.operation, data={**case.operation.data, "digest": "cd" * 32}))
    assert "plan" in why(ballot.redeem(other, token, ALICE))
    assert "no time" in why(ballot.mint(case, voter(CAROL), b"\2" * 32, 0)[1])


def test_a_token_of_somebody_who_has_voted_since_counts_for_nothing() -> None:
    case = held(Terms(2))
    token, answer = ballot.mint(case, voter(BOB), b"\1" * 32, 60)
    case = after(case, answer)
    case = after(case, ballot.approve(case, voter(BOB), DIGEST))
    assert "approved it already" in why(ballot.redeem(case, token, ALICE))


def test_what_is_over_expires_whatever_is_asked_and_never_comes_back() -> None:
    late = replace(held(Terms(break_glass=(BOB,))), now_s=1000)
    decisions: list[Answer] = [
        ballot.approve(late, voter(BOB), DIGEST),
        ballot.break_glass(late, voter(BOB), DIGEST, REASON),
        ballot.reject(late, voter(BOB), ""),
        ballot.cancel(late, voter(ALICE), ""),
        ballot.void(late, "it changed"),
        ballot.mint(late, voter(BOB), b"x" * 32, 60)[1],
        ballot.expire(late),
    ]
    assert decisions == [[Entry("EXPIRED", {})]] * len(decisions)
    ended = replace(after(late, ballot.expire(late)), now_s=0)
    assert "is EXPIRED" in why(ballot.approve(ended, voter(BOB), DIGEST))
    assert "is EXPIRED" in why(ballot.consume(ended, DIGEST, State.PASSED, {}))
    approved = after(held(Terms()), ballot.approve(held(Terms()), voter(BOB), DIGEST))
    assert ballot.consume(replace(approved, now_s=1000), DIGEST, State.PASSED, {}) == [Entry("EXPIRED", {})]


def test_an_approval_is_used_once_and_for_its_plan_only() -> None:
    case = held(Terms())
    assert "is HELD" in why(ballot.consume(case, DIGEST, State.PASSED, {}))
    case = after(case, ballot.approve(case, voter(BOB), DIGEST))
    assert "not the one that was approved" in why(ballot.consume(case, "cd" * 32, State.PASSED, {}))
    used = after(case, ballot.consume(case, DIGEST, State.PASSED, {"consumed_by": "user:build-7"}))
    assert "is PASSED" in why(ballot.consume(used, DIGEST, State.PASSED, {}))


def test_saying_no_is_for_approvers_and_for_who_asked() -> None:
    case = held(Terms(approvers=(BOB,)))
    assert after(case, ballot.reject(case, voter(BOB), "not\x1btoday")).operation.data["why"] == "not?today"
    assert after(case, ballot.reject(case, voter(ALICE), "")).operation.state is State.REJECTED
    assert "not one of those who decide" in why(ballot.reject(case, voter(CAROL), ""))
    assert "is REJECTED: no" in why(
        ballot.approve(after(case, ballot.reject(case, voter(BOB), "no")), voter(BOB), DIGEST)
    )


def test_who_asked_takes_it_back_and_an_approver_what_was_approved() -> None:
    case = held(Terms())
    assert after(case, ballot.cancel(case, voter(ALICE), "")).operation.state is State.CANCELLED
    assert "only who asked" in why(ballot.cancel(case, voter(BOB), ""))
    approved = after(case, ballot.approve(case, voter(BOB), DIGEST))
    assert after(approved, ballot.cancel(approved, voter(CAROL), "wait")).operation.state is State.CANCELLED
    used = after(approved, ballot.consume(approved, DIGEST, State.REMOVING, {}))
    assert "is REMOVING" in why(ballot.cancel(used, voter(ALICE), ""))
    voided = after(approved, ballot.void(approved, "3 files changed"))
    assert (voided.operation.state, voided.operation.data["void"]) == (State.CANCELLED, True)
    assert "is REMOVING" in why(ballot.void(used, "too late"))


def test_a_broken_glass_needs_somebody_who_may_a_reason_and_a_review_by_somebody_else() -> None:
    case = held(Terms(3, break_glass=(BOB,)))
    assert "may not break" in why(ballot.break_glass(case, voter(CAROL), DIGEST, REASON))
    assert "may not break" in why(ballot.break_glass(held(Terms()), voter(BOB), DIGEST, REASON))
    assert "needs a reason" in why(ballot.break_glass(case, voter(BOB), DIGEST, " now \n"))
    case = after(case, ballot.approve(case, voter(CAROL), DIGEST))
    broken = after(case, ballot.break_glass(case, voter(BOB), DIGEST, REASON))
    found = tally(broken.operation, broken.records)
    assert (found.state, found.emergency, found.reason, found.review_due) == (State.APPROVED, True, REASON, True)
    assert found.review_by_s == 100 + Terms().review_s
    assert found.approvers == (CAROL, BOB)

    auditor = voter("user:erin", "none", roles=frozenset({Role.AUDITOR}))
    assert "does not review it" in why(ballot.review(broken, voter("user:bob", "uid:1001"), "justified", "yes"))
    assert "does not review it" in why(ballot.review(broken, voter("user:bob"), "justified", "yes"))
    assert "asked for it" in why(ballot.review(broken, voter(ALICE), "justified", "yes"))
    assert "neither as" in why(
        ballot.review(broken, voter(CAROL, roles=frozenset({Role.REQUESTER})), "justified", "yes")
    )
    for finding, text in (("fine", "yes"), ("justified", " ")):
        assert "a review says" in why(ballot.review(broken, auditor, finding, text))
    later = after(broken, ballot.consume(broken, DIGEST, State.PASSED, {}))
    reviewed = after(later, ballot.review(later, auditor, "not-justified", "there was room"))
    assert not tally(reviewed.operation, reviewed.records).review_due
    assert "reviewed already" in why(ballot.review(reviewed, voter(CAROL), "justified", "yes"))
    assert "nobody broke the glass" in why(ballot.review(case, auditor, "justified", "yes"))


def test_what_was_approved_before_several_could_is_told_as_well() -> None:
    case = held()
    records = [*case.records, record(4, "APPROVED", {"approver": BOB, "channel": "terminal"})]
    found = tally(folded(records)[OP], records)
    assert (found.approvers, found.votes, found.emergency) == ((BOB,), "1 of 1", False)
    allowed = [record(1, "REQUESTED", {}), record(2, "CHECKED", {}), record(3, "ALLOWED", {})]
    assert tally(folded(allowed)[OP], allowed).votes == ""
