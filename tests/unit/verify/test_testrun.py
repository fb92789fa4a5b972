"""`verify.testrun`: what a stream of `go test -json` proves. Streams that real go commands wrote: tests/real."""

import json

import pytest

from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.verify.testrun import (
    FAILURES,
    OUTPUT_LIMIT,
    Again,
    TestRun,
    judge,
    passed_again,
    read,
    what_again,
)

LIB, BAD, PAN, NOB, BARE = (f"example.com/m/{name}" for name in ("lib", "bad", "pan", "nob", "notest"))


def event(action: str, package: str, test: str = "", output: str = "", **more: object) -> str:
    value = {"Time": "2030-01-01T00:00:00Z", "Action": action, "Package": package}
    value |= {key: text for key, text in (("Test", test), ("Output", output)) if text}
    return json.dumps(value | more) + "\n"


def stream(*lines: str) -> bytes:
    return "".join(lines).encode()


GOOD = (
    event("start", LIB),
    event("run", LIB, "TestHello"),
    event("output", LIB, "TestHello", "=== RUN   TestHello\n"),
    event("run", LIB, "TestHello/sub"),
    event("output", LIB, "TestHello/sub", "--- PASS: TestHello/sub (0.00s)\n"),
    event("pass", LIB, "TestHello/sub", Elapsed=0),
    event("pass", LIB, "TestHello", Elapsed=0),
    event("output", LIB, "TestSkip", "    lib_test.go:13: no\n"),
    event("skip", LIB, "TestSkip", Elapsed=0),
    event("output", LIB, output="PASS\n"),
    event("output", LIB, output="ok  \texample.com/m/lib\t0.002s\n"),
    event("pass", LIB, Elapsed=0.002),
)
NO_TESTS = (
    event("start", BARE),
    event("output", BARE, output=f"?   \t{BARE}\t[no test files]\n"),
    event("skip", BARE, Elapsed=0),
)
FAILING = (
    event("start", BAD),
    event("run", BAD, "TestBad"),
    event("run", BAD, "TestBad/a_b"),
    event("output", BAD, "TestBad/a_b", "    bad_test.go:5: no good\n"),
    event("output", BAD, "TestBad/a_b", "--- FAIL: TestBad/a_b (0.00s)\n"),
    event("fail", BAD, "TestBad/a_b", Elapsed=0),
    event("fail", BAD, "TestBad", Elapsed=0),
    event("output", BAD, output="FAIL\n", OutputType="frame"),
    event("output", BAD, output=f"FAIL\t{BAD}\t0.002s\n", OutputType="frame"),
    event("fail", BAD, Elapsed=0.002),
)
PANIC = (
    event("start", PAN),
    event("run", PAN, "TestPan"),
    event("output", PAN, "TestPan", "panic: oh [recovered, repanicked]\n"),
    event("output", PAN, "TestPan", "\n"),
    event("output", PAN, "TestPan", "goroutine 6 [running]:\n"),
    event("output", PAN, "TestPan", "testing.tRunner.func1.2({0x6b6ef0, 0x563580})\n"),
    event("fail", PAN, "TestPan", Elapsed=0),
    event("output", PAN, output=f"FAIL\t{PAN}\t0.005s\n"),
    event("fail", PAN, Elapsed=0.005),
)
BUILD = f"{NOB} [{NOB}.test]"
NOT_BUILT = (
    json.dumps({"ImportPath": BUILD, "Action": "build-output", "Output": f"# {BUILD}\n"}) + "\n",
    json.dumps({"ImportPath": BUILD, "Action": "build-output", "Output": "nob.go:1:36: cannot use x\n"}) + "\n",
    json.dumps({"ImportPath": BUILD, "Action": "build-fail"}) + "\n",
    event("start", NOB),
    event("output", NOB, output=f"FAIL\t{NOB} [build failed]\n"),
    event("fail", NOB, Elapsed=0, FailedBuild=BUILD),
)
OLD_NOT_BUILT = (f"FAIL\t{NOB} [build failed]\n",)
"""As go1.21 to go1.23 write it: a plain line, and what the compiler says on standard error."""


def test_a_run_in_which_everything_passes_is_a_proof_and_says_what_has_no_tests() -> None:
    run = read(stream(*GOOD, *NO_TESTS))
    verdict = judge(run, [LIB, BARE], exit_code=0)
    assert verdict.outcome is Outcome.PASS
    assert verdict.summary == "2 packages, 1 tests passed, 0 failed, 1 skipped"
    assert verdict.evidence == (f"1 packages have no tests: {BARE}",)
    assert run.packages[LIB].elapsed_s == 0.002
    assert run.packages[BARE].why == "no test files"


@pytest.mark.parametrize(
    ("lines", "package", "said"),
    [(FAILING, BAD, "no good"), (PANIC, PAN, "panic: oh"), (NOT_BUILT, NOB, "cannot use x"), (OLD_NOT_BUILT, NOB, "")],
)
def test_what_fails_is_named_with_what_it_said(lines: tuple[str, ...], package: str, said: str) -> None:
    run = read(stream(*GOOD, *lines))
    verdict = judge(run, [LIB, package], exit_code=1)
    assert verdict.outcome is Outcome.BLOCK
    assert f"FAIL {package}" in "\n".join(verdict.evidence)
    assert said in "\n".join(verdict.evidence)
    assert not any("tRunner" in line for line in verdict.evidence), "where goroutines were is kept, not shown"
    assert any(said in failed.said for failed in run.failures)


def test_a_failure_counts_even_where_go_claims_that_all_is_well() -> None:
    assert judge(read(stream(*GOOD, *FAILING)), [LIB, BAD], exit_code=0).outcome is Outcome.BLOCK


def test_a_parent_and_its_subtest_are_both_failures_and_the_parent_is_run_again() -> None:
    run = read(stream(*FAILING))
    assert [failed.test for failed in run.failures] == ["TestBad/a_b", "TestBad"]
    assert what_again(run) == [Again(BAD, ("TestBad",))]
    assert what_again(run)[0].arguments == ("-run", "^(TestBad)$")


def test_after_a_panic_the_whole_package_is_run_again_because_other_tests_never_ran() -> None:
    again = what_again(read(stream(*PANIC)))
    assert again == [Again(PAN, ())]
    assert again[0].arguments == ()


def test_what_does_not_build_is_not_run_again() -> None:
    for lines in (NOT_BUILT, OLD_NOT_BUILT):
        assert what_again(read(stream(*lines))) == []


def test_running_again_proves_something_only_if_those_tests_ran_and_passed() -> None:
    again, good = Again(LIB, ("TestHello",)), read(stream(*GOOD))
    assert passed_again(again, good, 0)
    assert not passed_again(again, good, 1)
    assert not passed_again(again, good, None)
    assert not passed_again(Again(LIB, ("TestOther",)), good, 0)
    assert not passed_again(Again(BARE, ()), read(stream(*NO_TESTS)), 0)


def test_what_passed_only_when_run_again_is_flaky_and_never_a_silent_pass() -> None:
    run = read(stream(*GOOD, *FAILING))
    verdict = judge(run, [LIB, BAD], exit_code=1, flaky=[f"{BAD} TestBad"])
    assert verdict.outcome is Outcome.WARN
    assert verdict.evidence == (f"FLAKY {BAD} TestBad: failed, and passed when it was run again",)


@pytest.mark.parametrize("missing", [1, 2, 11])
def test_a_package_without_an_end_is_no_proof(missing: int) -> None:
    verdict = judge(read(stream(*GOOD[:-missing])), [LIB], exit_code=0)
    assert verdict.outcome is Outcome.UNKNOWN
    assert LIB in verdict.summary


def test_a_package_that_never_began_is_no_proof() -> None:
    assert judge(read(stream(*GOOD)), [LIB, BAD], exit_code=0).outcome is Outcome.UNKNOWN


def test_a_line_that_was_cut_is_no_proof() -> None:
    assert judge(read(stream(*GOOD)[:-1]), [LIB], exit_code=0).outcome is Outcome.UNKNOWN


def test_a_run_that_did_not_end_in_time_is_no_proof() -> None:
    verdict = judge(read(stream(*GOOD)), [LIB], exit_code=None, said="ended after 5 s")
    assert verdict.outcome is Outcome.UNKNOWN
    assert "ended after 5 s" in verdict.evidence


def test_an_exit_code_that_nothing_explains_is_no_proof_and_what_go_said_is_shown() -> None:
    verdict = judge(read(stream(*GOOD, "something odd\n")), [LIB], exit_code=2, said="go: out of memory\n")
    assert verdict.outcome is Outcome.UNKNOWN
    assert {"something odd", "go: out of memory"} <= set(verdict.evidence)


def test_where_no_test_ran_nothing_was_proved() -> None:
    assert judge(read(stream(*NO_TESTS)), [BARE], exit_code=0).outcome is Outcome.UNKNOWN
    assert judge(read(b""), [], exit_code=0).outcome is Outcome.UNKNOWN


def test_a_test_that_began_and_never_ended_is_no_proof_though_its_package_passed() -> None:
    lines = (*GOOD[:-1], event("run", LIB, "TestLost"), GOOD[-1])
    verdict = judge(read(stream(*lines)), [LIB], exit_code=0)
    assert verdict.outcome is Outcome.UNKNOWN
    assert "TestLost" in verdict.summary


def test_lines_that_are_no_event_are_kept_and_harm_nothing() -> None:
    odd = ("go: downloading x\n", "{not json\n", '{"Action": 3}\n', "[]\n", "\n", '{"Action":"pass"}\n')
    run = read(stream(*odd, *GOOD))
    assert judge(run, [LIB], exit_code=0).outcome is Outcome.PASS
    assert "downloading" in run.strange.text


def test_what_is_kept_is_bounded() -> None:
    noise = [event("output", BAD, "TestBad/a_b", f"line {number} {'x' * 200}\n") for number in range(500)]
    run = read(stream(*FAILING[:3], *noise, *FAILING[3:]))
    assert len(run.failures[0].said) <= OUTPUT_LIMIT
    many = [
        event(action, BAD, f"Test{number}", "said\n" if action == "output" else "")
        for number in range(2 * FAILURES)
        for action in ("run", "output", "fail")
    ]
    run = read(stream(*many))
    assert len(run.failures) == 2 * FAILURES
    assert sum(bool(failed.said) for failed in run.failures) == FAILURES
    run = TestRun()
    for _ in range(5):
        run.feed(b"x" * (1 << 20))
    assert len(run._rest) <= 1 << 20


def test_what_a_test_says_cannot_steer_a_terminal() -> None:
    run = read(stream(event("output", BAD, "TestBad", "\x1b[2Jgone\n"), event("fail", BAD, "TestBad")))
    assert "\x1b" not in run.failures[0].said


def test_progress_can_be_told_from_a_run_that_goes_on() -> None:
    run = TestRun()
    run.feed(stream(*GOOD, *FAILING[:3]))
    assert (run.ended, run.running, run.count("pass"), run.packages[BAD].unfinished) == (
        1,
        (BAD,),
        1,
        ("TestBad", "TestBad/a_b"),
    )
