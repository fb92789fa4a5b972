"""Exit codes lie in their bands, and a failure carries what a person needs."""

import pytest

from go_cache_safeguard.core.errors import ExitCode, Failure, PlanVoid

BANDS = {"the guard said no": range(10, 20), "acting failed": range(20, 30), "tools": range(30, 40)}


@pytest.mark.parametrize("code", ExitCode)
def test_every_exit_code_has_a_meaning_of_its_own(code: ExitCode) -> None:
    assert code.meaning
    assert [other for other in ExitCode if other.meaning == code.meaning] == [code]


def test_no_exit_code_looks_like_a_signal_and_each_lies_in_its_band() -> None:
    banded = {code for code in ExitCode if any(code in band for band in BANDS.values())}
    assert set(ExitCode) - banded <= {ExitCode.DONE, ExitCode.BUG, ExitCode.USAGE, *(c for c in ExitCode if c > 128)}
    assert {ExitCode.BLOCKED, ExitCode.HELD, ExitCode.REFUSED, ExitCode.COULD_NOT_TELL} <= {*BANDS["the guard said no"]}


def test_a_failure_says_what_happened_what_was_not_done_and_what_to_do() -> None:
    failure = PlanVoid("the plan is damaged", not_done="nothing was removed", hint="make a new one")
    assert str(failure) == failure.what == "the plan is damaged"
    assert (failure.not_done, failure.hint) == ("nothing was removed", "make a new one")
    assert isinstance(failure, Failure)


def test_a_failure_without_advice_has_none() -> None:
    assert (Failure("x").not_done, Failure("x").hint) == ("", "")
