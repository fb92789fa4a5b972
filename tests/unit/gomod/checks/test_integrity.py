"""`gomod.checks.integrity`: what each damage means."""

from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.gomod.checks.integrity import IntegrityFacts, judge
from go_cache_safeguard.gomod.verify import Damage, Finding, Totals

BLOCK, WARN = Outcome.BLOCK, Outcome.WARN


def test_the_worst_finding_decides_and_stands_first() -> None:
    warn = Finding("a", "v1", "f", Damage.ZIP_MISSING, WARN, "gone")
    block = Finding("b", "v1", "g", Damage.EDITED, BLOCK, "edited")
    verdict = judge(IntegrityFacts([warn, block], Totals(2, 2, 1, 2, 9, 9, 1), ["a note"]))
    assert verdict.outcome is BLOCK
    assert verdict.evidence[:2] == ("edited-file b@v1 g: edited", "zip-missing a@v1 f: gone")
    assert verdict.evidence[-1] == "a note"
    assert "no go.sum names 1 of them" in verdict.evidence[-2]
    assert len(verdict.remedy) == 2
    assert block.as_value()["damage"] == "edited-file"


def test_many_findings_are_cut_short_and_that_is_said() -> None:
    many = [Finding("a", "", f"f{at}", Damage.EXTRA, BLOCK, "extra") for at in range(50)]
    assert "and 30 more; --json has them all" in judge(IntegrityFacts(many, Totals())).evidence


def test_nothing_wrong_passes_and_nothing_there_is_said() -> None:
    assert judge(IntegrityFacts([], Totals(1, 1, 1, 1, 2, 2))).summary == "every module is what it should be"
    assert judge(IntegrityFacts([], Totals(1))).summary == "no module version to verify"
    assert judge(IntegrityFacts([], Totals(1))).outcome is Outcome.PASS
