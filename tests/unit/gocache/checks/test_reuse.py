"""`gocache.checks.reuse`: what two builds show. Real builds: tests/real."""

from dataclasses import replace

import pytest

from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.gocache.checks.reuse import ReuseFacts, judge
from go_cache_safeguard.gotool.actiongraph import BuildAction, NoGraph
from go_cache_safeguard.gotool.trial import MODULE, Built


def step(mode: str, package: str, *cmd: str) -> BuildAction:
    return BuildAction(
        1, mode, package, "a", "a/b", need_build=False, cmd=cmd, cpu_ns=0, real_ns=0, started="", done=""
    )


LINK = step("link", MODULE, "link")
COMPILED = (
    LINK,
    step("build", MODULE, "compile"),
    step("build", f"{MODULE}/word", "compile"),
    step("build", "runtime"),
)
COLD = Built(0, "", COMPILED, 2_000_000_000)
WARM = Built(0, "", (LINK, step("build", MODULE), step("build", f"{MODULE}/word")), 100_000_000)
FAILED = Built(1, "main.go:1: oops", NoGraph("never written"), 0)
TAKEN_AWAY = Built(1, "main.go:3:8: could not import a (open /c/ab/x-d: no such file)", NoGraph("never written"), 0)


def test_a_second_build_that_only_links_passes_and_says_that_time_proves_nothing() -> None:
    verdict = judge(ReuseFacts(COLD, WARM))
    assert verdict.outcome is Outcome.PASS
    assert verdict.evidence[0].startswith("the first build ran 2 tools")
    assert verdict.evidence[1].endswith("0 tools besides the linker: none")
    assert "time alone proves nothing" in verdict.evidence[2]


def test_a_second_build_that_compiles_again_blocks_and_names_the_packages() -> None:
    many = Built(0, "", (*COMPILED, *(step("build", f"p{number}", "compile") for number in range(5))), 0)
    verdict = judge(ReuseFacts(COLD, many))
    assert verdict.outcome is Outcome.BLOCK
    assert "and 3 more" in verdict.evidence[1]
    assert verdict.remedy


@pytest.mark.parametrize("facts", [ReuseFacts(TAKEN_AWAY, None), ReuseFacts(COLD, TAKEN_AWAY)])
def test_a_build_that_fails_because_of_the_cache_blocks(facts: ReuseFacts) -> None:
    verdict = judge(facts)
    assert verdict.outcome is Outcome.BLOCK
    assert "could not import" in verdict.summary


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (ReuseFacts(FAILED, None), "exit code 1"),
        (ReuseFacts(COLD, FAILED), "exit code 1"),
        (ReuseFacts(COLD, None), "second build was not run"),
        (ReuseFacts(COLD, replace(WARM, actions=NoGraph("it is empty"))), "it is empty"),
        (ReuseFacts(WARM, WARM), "first build did not compile"),
        (ReuseFacts(COLD, replace(WARM, actions=())), "did not even link"),
    ],
)
def test_what_proves_nothing_is_unknown(facts: ReuseFacts, words: str) -> None:
    verdict = judge(facts)
    assert verdict.outcome is Outcome.UNKNOWN
    assert words in verdict.summary


def test_what_go_said_is_quoted() -> None:
    assert judge(ReuseFacts(FAILED, None)).evidence == ("main.go:1: oops",)
