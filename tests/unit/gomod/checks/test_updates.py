"""`gomod.checks.updates`: what newer, withdrawn and unknown versions mean."""

import pytest

from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.gomod.checks.updates import UpdateFacts, judge
from go_cache_safeguard.gomod.updates import Answer, Simulated

SAME = Answer("a", "v1.0.0", asked=True)
NEWER = Answer("b", "v1.0.0", newer="v1.1.0", asked=True)
RETRACTED = Answer("c", "v1.0.0", is_retracted=True, asked=True)
DEPRECATED = Answer("d", "v1.0.0", deprecated="use e", asked=True)
MUTE = Answer("e", "v1.0.0", trouble="module lookup disabled by GOPROXY=off")


@pytest.mark.parametrize(
    ("answers", "plain", "strict"),
    [
        ((), Outcome.PASS, Outcome.PASS),
        ((SAME, NEWER), Outcome.PASS, Outcome.PASS),
        ((SAME, RETRACTED), Outcome.WARN, Outcome.BLOCK),
        ((DEPRECATED,), Outcome.WARN, Outcome.BLOCK),
        ((SAME, MUTE), Outcome.UNKNOWN, Outcome.UNKNOWN),
        ((RETRACTED, MUTE), Outcome.UNKNOWN, Outcome.BLOCK),
    ],
)
def test_a_newer_version_is_no_fault_but_silence_is_unknown(
    answers: tuple[Answer, ...], plain: Outcome, strict: Outcome
) -> None:
    assert judge(UpdateFacts(answers)).outcome is plain
    assert judge(UpdateFacts(answers, strict=True)).outcome is strict


def test_without_a_build_list_nobody_could_be_asked() -> None:
    verdict = judge(UpdateFacts((), trouble="without a build list: module lookup disabled by GOPROXY=off"))
    assert verdict.outcome is Outcome.UNKNOWN
    assert verdict.summary == "nobody could be asked for newer versions"
    assert any("GOPROXY forbids" in line for line in verdict.remedy)


def test_no_count_of_newer_versions_is_given_when_nobody_answered() -> None:
    other = Answer("f", "v1.0.0", trouble=MUTE.trouble)
    verdict = judge(UpdateFacts((MUTE, other), source="off"))
    assert verdict.summary == "no answer for 2 of 2 modules"
    assert verdict.evidence == (f"e, f: not known: {MUTE.trouble}",)
    assert judge(UpdateFacts((MUTE, NEWER))).summary == "no answer for 1 of 2 modules, newer versions: 1 of 1 modules"


def test_what_was_tried_is_shown_and_what_could_not_be_tried_is_unknown() -> None:
    tried = (Simulated("b", "v1.1.0"), Simulated("c", "v2.0.0", trouble="go.mod requires go >= 1.99"))
    verdict = judge(UpdateFacts((NEWER,), simulated=tried, not_simulated=3, local=1, source="https://proxy.test"))
    assert verdict.outcome is Outcome.UNKNOWN
    assert "taking b v1.1.0 changes nothing else" in verdict.evidence
    assert any(line.startswith("3 newer versions were not tried") for line in verdict.evidence)
    assert verdict.evidence[-1] == "asked: https://proxy.test"
    assert any("go.toolchain" in line for line in verdict.remedy)
