"""`verify.canary`: what the proof after a removal shows. Real builds: tests/real."""

from dataclasses import replace

import pytest

from go_cache_safeguard.gotool.actiongraph import BuildAction, NoGraph
from go_cache_safeguard.gotool.trial import MODULE, Built, make_trial
from go_cache_safeguard.verify.canary import ProgramRun, Proved, judge

TRIAL = make_trial("abcdefgh")


def step(mode: str, package: str, *cmd: str) -> BuildAction:
    return BuildAction(
        1, mode, package, "a", "a/b", need_build=False, cmd=cmd, cpu_ns=0, real_ns=0, started="", done=""
    )


LINK = step("link", MODULE, "link")
COLD = Built(0, "", (LINK, step("build", MODULE, "compile"), step("build", f"{MODULE}/word", "compile")), 6_000_000_000)
WARM = Built(0, "", (LINK, step("build", MODULE), step("build", f"{MODULE}/word")), 100_000_000)
GOOD = ProgramRun(0, f"{TRIAL.says}\n")
NOT_IN_STD = Built(1, "main.go:3:8: package runtime is not in std (/usr/local/go/src/runtime)", NoGraph("no file"), 0)


def test_a_program_that_builds_twice_and_runs_is_the_proof() -> None:
    proof = judge(TRIAL, first=COLD, second=WARM, run=GOOD)
    assert proof.outcome is Proved.PASSED
    assert proof.evidence == ("the first build compiled 2 packages, the second one 0", "CPU time 6.00 s and 0.10 s")


@pytest.mark.parametrize(("first", "second"), [(NOT_IN_STD, None), (COLD, NOT_IN_STD)])
def test_a_build_that_fails_because_of_the_cache_fails_the_proof(first: Built, second: Built | None) -> None:
    proof = judge(TRIAL, first=first, second=second, run=None)
    assert proof.outcome is Proved.FAILED
    assert "is not in std" in proof.summary
    assert "the program was not run" in proof.evidence


def test_a_build_that_compiles_again_fails_the_proof() -> None:
    proof = judge(TRIAL, first=COLD, second=COLD, run=GOOD)
    assert proof.outcome is Proved.FAILED
    assert f"{MODULE}/word" in proof.summary
    many = replace(COLD, actions=tuple(step("build", f"p{number}", "compile") for number in range(6)))
    assert "and 2 more" in judge(TRIAL, first=COLD, second=many, run=GOOD).summary


@pytest.mark.parametrize("run", [ProgramRun(0, "other"), ProgramRun(2, "panic"), ProgramRun(-11, "")])
def test_a_program_that_does_something_else_fails_the_proof(run: ProgramRun) -> None:
    assert judge(TRIAL, first=COLD, second=WARM, run=run).outcome is Proved.FAILED


@pytest.mark.parametrize(
    ("first", "second", "run"),
    [
        (Built(1, "no space left on device", NoGraph("no file"), 0), None, None),
        (COLD, None, None),
        (COLD, WARM, None),
        (replace(COLD, actions=NoGraph("it is empty")), WARM, GOOD),
        (WARM, WARM, GOOD),
        (COLD, replace(WARM, actions=()), GOOD),
    ],
)
def test_what_proves_nothing_is_unknown(first: Built, second: Built | None, run: ProgramRun | None) -> None:
    assert judge(TRIAL, first=first, second=second, run=run).outcome is Proved.UNKNOWN
