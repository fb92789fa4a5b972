"""`gomod.checks.drift`: what changes of dependencies mean."""

import pytest

from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.gomod.checks.drift import DriftFacts, judge
from go_cache_safeguard.gomod.drift import Change, Gap, Kind
from go_cache_safeguard.gomod.touched import Touch

MOVED = Change(Kind.RAISED, "a", "v1.0.0", "v1.1.0")
HASH = Change(Kind.HASH_CHANGED, "a v1.0.0", "h1:x", "h1:y")
ENVIRONMENT = Change(Kind.ENVIRONMENT, "GOVERSION", "go1.21.13", "go1.27.3")
GAP = Gap("tidy", "module lookup disabled by GOPROXY=off")


@pytest.mark.parametrize(
    ("changes", "gaps", "plain", "strict"),
    [
        ((), (), Outcome.PASS, Outcome.PASS),
        ((ENVIRONMENT,), (), Outcome.PASS, Outcome.PASS),
        ((MOVED,), (), Outcome.WARN, Outcome.BLOCK),
        ((HASH,), (), Outcome.BLOCK, Outcome.BLOCK),
        ((), (GAP,), Outcome.UNKNOWN, Outcome.UNKNOWN),
        ((MOVED,), (GAP,), Outcome.UNKNOWN, Outcome.BLOCK),
        ((HASH,), (GAP,), Outcome.BLOCK, Outcome.BLOCK),
    ],
)
def test_the_worst_decides(changes: tuple[Change, ...], gaps: tuple[Gap, ...], plain: Outcome, strict: Outcome) -> None:
    assert judge(DriftFacts("f", changes=changes, gaps=gaps)).outcome is plain
    assert judge(DriftFacts("f", changes=changes, gaps=gaps, strict=True)).outcome is strict


def test_nothing_recorded_is_unknown_and_says_how_to_record() -> None:
    verdict = judge(DriftFacts("f", recorded=False))
    assert (verdict.outcome, verdict.remedy) == (Outcome.UNKNOWN, ("go-cache-safeguard mod drift --record",))


def test_a_change_says_who_is_touched_and_unknown_users_are_not_called_none() -> None:
    touches = {"a": [Touch("m", ("a",)), Touch("m/x", ("b", "a")), Touch("m/y", ("a",)), Touch("m/z", ("a",))]}
    said = judge(DriftFacts("f", changes=(MOVED,), touches=touches)).evidence
    assert said[:2] == ("a moved up: v1.0.0 -> v1.1.0", "  used by m, m/x through b, m/y and 1 more")
    assert judge(DriftFacts("f", changes=(MOVED,), touches={"a": []})).evidence[1] == "  used by no package of yours"
    assert not any("used by" in line for line in judge(DriftFacts("f", changes=(MOVED,))).evidence)


def test_requirements_are_counted_and_modules_are_listed_up_to_a_limit() -> None:
    edges = tuple(Change(Kind.EDGE_ADDED, "m", "", f"a{number}@v1") for number in range(5))
    modules = tuple(Change(Kind.ADDED, f"a{number:02}", "", "v1") for number in range(30))
    said = judge(DriftFacts("f", changes=(*modules, *edges), modules=30))
    assert said.summary == "modules added: 30, requirements added: 5"
    assert "and 10 more; --json has them all" in said.evidence
    assert "m now requires a0@v1, and 4 more like it" in said.evidence
    assert len(said.evidence) == 23


def test_gaps_with_one_reason_share_a_line_and_bring_the_hint() -> None:
    verdict = judge(DriftFacts("f", gaps=(Gap("graph", GAP.reason), GAP)))
    assert verdict.summary == "not known: graph, tidy; the rest is unchanged"
    assert verdict.evidence[0] == f"graph, tidy: cannot be told: {GAP.reason}"
    assert any("GOPROXY forbids" in line for line in verdict.remedy)
    assert any("--no-tidy" in line for line in verdict.remedy)
    then = judge(DriftFacts("f", gaps=(Gap("tidy", "why", then=True),)))
    assert any("record the state again" in line for line in then.remedy)


def test_whoever_sees_another_hash_is_not_told_to_record_it() -> None:
    assert all("--record" not in line for line in judge(DriftFacts("f", changes=(HASH, MOVED))).remedy)
    assert any("--record" in line for line in judge(DriftFacts("f", changes=(MOVED,))).remedy)
