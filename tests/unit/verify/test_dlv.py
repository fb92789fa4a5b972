"""`verify.dlv`: answers of delve 1.27.2, as it gave them."""

import pytest

from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.verify.dlv import arguments, choose, commands, judge

HELP = "Type 'help' for list of commands.\n"
SET = "(dlv) Breakpoint 1 set at 0x47dc8e for main.main() ./m/main.go:22\n(dlv) "
NO_DEBUG = (
    "Warning: no debug info found, some functionality will be missing such as stack traces and variable evaluation.\n"
)
NOT_FOUND = 'Command failed: location "main.main" not found\n'
FORBIDDEN = "could not launch process: fork/exec ./bin: operation not permitted\n"


@pytest.mark.parametrize(
    ("exit_code", "said", "outcome"),
    [
        (0, HELP + SET, Outcome.PASS),
        (0, HELP + SET + NO_DEBUG, Outcome.BLOCK),
        (0, HELP + NOT_FOUND, Outcome.BLOCK),
        (1, "could not launch process: could not open debug info\n", Outcome.BLOCK),
        (1, FORBIDDEN, Outcome.WARN),
        (None, "did not end within 60 s", Outcome.WARN),
        (0, "", Outcome.WARN),
        (1, HELP + SET, Outcome.WARN),
    ],
)
def test_an_answer_blames_the_binary_only_when_it_does(exit_code: int | None, said: str, outcome: Outcome) -> None:
    assert judge("main.main", exit_code=exit_code, said=said).outcome is outcome


def test_the_program_is_stopped_at_one_function_and_never_continued() -> None:
    assert commands("main.main") == b"break main.main\nexit\n"
    assert arguments("/made/b")[-1] == "/made/b"


def test_a_function_is_chosen_that_dlv_understands_the_name_of() -> None:
    assert choose(["main.gen[go.shape.int]", "main.main.func1", "main.call", "main.main"]) == "main.main"
    assert choose(["p.init", "p.F[int]", "p.Call"]) == "p.Call"
    assert choose(["p.F[int]"]) == choose([]) == ""
