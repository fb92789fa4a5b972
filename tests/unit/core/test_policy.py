"""From verdicts to a decision: every combination has one, and a worse verdict never gets a milder one."""

from itertools import product

import pytest

from go_cache_safeguard.core.decision import Allow, Hold, Refuse
from go_cache_safeguard.core.policy import Policy, Then, decide
from go_cache_safeguard.core.size import Share
from go_cache_safeguard.core.verdict import Outcome, Verdict

PASSED = Verdict("permissions", Outcome.PASS, "all is well")
SHAPE = {Then.ALLOW: Allow, Then.HOLD: Hold, Then.REFUSE: Refuse}
SEVERITY = (Allow, Hold, Refuse)


def _says(outcome: Outcome) -> Verdict:
    return Verdict("integrity", outcome, "something")


@pytest.mark.parametrize(("outcome", "then"), list(product(Outcome, Then)))
def test_each_outcome_gets_what_the_site_wants(outcome: Outcome, then: Then) -> None:
    policy = Policy(on_block=then, on_unknown=then, on_warn=then)
    decision = decide(policy, [_says(outcome)], removing=1, of=100)
    assert isinstance(decision, Allow if outcome is Outcome.PASS else SHAPE[then])
    assert decision.reasons == (f"integrity says {outcome}: something",)


@pytest.mark.parametrize(("first", "second"), list(product(Outcome, repeat=2)))
def test_another_verdict_never_makes_a_decision_milder(first: Outcome, second: Outcome) -> None:
    policy = Policy(on_block=Then.REFUSE, on_unknown=Then.HOLD, on_warn=Then.ALLOW)
    alone = decide(policy, [_says(first)], removing=1, of=100)
    both = decide(policy, [_says(first), _says(second)], removing=1, of=100)
    assert SEVERITY.index(type(both)) >= SEVERITY.index(type(alone))


def test_without_a_check_nothing_is_proved() -> None:
    assert decide(Policy(), [], removing=1, of=100) == Hold(("no check was run, so nothing was proved",))
    assert isinstance(decide(Policy(on_unknown=Then.REFUSE), [], removing=1, of=100), Refuse)


@pytest.mark.parametrize(("removing", "held"), [(0, False), (50, False), (51, True), (100, True)])
def test_more_than_the_share_is_held(removing: int, *, held: bool) -> None:
    decision = decide(Policy(hold_share=Share(500_000)), [PASSED], removing=removing, of=100)
    assert isinstance(decision, Hold) == held
    if held:
        assert decision.reasons == (f"the plan removes {removing}% of the cache; more than 50% is held",)


def test_a_share_below_one_percent_is_printed_as_it_is() -> None:
    decision = decide(Policy(hold_share=Share(2_500)), [PASSED], removing=1, of=100)
    assert decision.reasons == ("the plan removes 1% of the cache; more than 0.25% is held",)


@pytest.mark.parametrize(("removing", "held"), [(1024, False), (1025, True)])
def test_more_than_the_bytes_is_held(removing: int, *, held: bool) -> None:
    decision = decide(Policy(hold_bytes=1024), [PASSED], removing=removing, of=10**9)
    assert isinstance(decision, Hold) == held


def test_an_empty_cache_is_no_division_by_zero() -> None:
    assert isinstance(decide(Policy(), [PASSED], removing=0, of=0), Allow)


def test_refuse_wins_over_a_plan_that_would_be_held() -> None:
    decision = decide(Policy(on_block=Then.REFUSE), [_says(Outcome.BLOCK)], removing=100, of=100)
    assert decision == Refuse(("integrity says BLOCK: something",))
