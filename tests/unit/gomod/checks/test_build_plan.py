"""`gomod.checks.build_plan`: what differences between plans mean."""

from dataclasses import replace

import pytest

from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.gomod.checks.build_plan import IGNORES, Against, BuildPlanFacts, Rebuild, judge, summarize
from go_cache_safeguard.gotool.plandiff import Cause, Change, Comparison, Difference, Kind

EDITED = Difference("m/lib", Kind.SOURCE, "", ("lib.go",), ("lib.go",), (Cause.PACKAGE,), "its files were changed")
FLAG = Difference("m", Kind.FLAG, "compile", (), ("-N",), (Cause.ENVIRONMENT,), "GOFLAGS is '-N' instead of ''")
GOFLAGS = Change("GOFLAGS", "", "-N")
REBUILD = Rebuild(("m/lib",), ("m/mid",), ("m",), 9, agrees=True)


def facts(*differences: Difference, against: Against = Against.BASELINE, strict: bool = False) -> BuildPlanFacts:
    return BuildPlanFacts(against, Comparison(None, (GOFLAGS,), differences, 9), REBUILD, ("a note",), strict=strict)


def test_equal_plans_pass_and_say_what_that_does_not_prove() -> None:
    verdict = judge(facts(against=Against.AGAIN))
    assert verdict.outcome is Outcome.PASS
    assert verdict.evidence[-1] == IGNORES
    assert (
        "1 of 9 packages would be compiled now (m/lib), 1 more if those come out different, 1 programs only linked"
        in (verdict.evidence)
    )
    assert "a note" in verdict.evidence


@pytest.mark.parametrize(("strict", "outcome"), [(False, Outcome.WARN), (True, Outcome.BLOCK)])
def test_a_difference_warns_and_blocks_who_wants_that(*, strict: bool, outcome: Outcome) -> None:
    verdict = judge(facts(EDITED, FLAG, strict=strict))
    assert verdict.outcome is outcome
    assert verdict.summary == "2 of 9 packages differ from the baseline; because of: environment, package"
    assert verdict.evidence[0] == "GOFLAGS: '-N' instead of ''"
    assert len(verdict.remedy) == 2


def test_a_plan_that_differs_from_itself_is_unknown() -> None:
    assert judge(facts(EDITED, against=Against.AGAIN)).outcome is Outcome.UNKNOWN


def test_script_and_graph_that_contradict_each_other_are_unknown() -> None:
    assert judge(replace(facts(), rebuild=replace(REBUILD, agrees=False))).outcome is Outcome.UNKNOWN


def test_the_same_difference_of_many_packages_is_told_once() -> None:
    many = [replace(FLAG, package=f"p{number}") for number in range(9)]
    assert list(summarize([*many, EDITED])) == [
        "p0 and 8 more: flag of compile now -N [environment]",
        "m/lib: source lib.go [package: its files were changed]",
    ]


def test_many_and_long_differences_are_cut() -> None:
    flags = [replace(FLAG, gone=("x" * 200,), new=tuple(f"-{n}{m}" for m in range(9))) for n in range(20)]
    lines = list(summarize(flags))
    assert lines[-1] == "and 8 other kinds of difference; --json has them all"
    assert lines[0].startswith("m: flag of compile xxx")
    assert "... -> -00, -01, -02, -03 and 5 more" in lines[0]
    gone = replace(FLAG, gone=("-N",), new=())
    assert list(summarize([gone])) == ["m: flag of compile no longer -N [environment]"]


def test_another_toolchain_is_named() -> None:
    comparison = Comparison(
        Change("toolchain", "go1.21.13", "go1.27.3"), (), (replace(FLAG, causes=(Cause.TOOLCHAIN,)),), 9
    )
    verdict = judge(BuildPlanFacts(Against.OTHER, comparison, REBUILD))
    assert verdict.evidence[0] == "toolchain: 'go1.27.3' instead of 'go1.21.13'"
    assert "because of: toolchain" in verdict.summary
