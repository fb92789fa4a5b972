"""Generated pages are what the tables say, and every failure can be looked up."""

from collections import Counter

import pytest

from docs.generate import ROOT, failures, pages
from go_cache_safeguard.core.errors import ExitCode, Failure


@pytest.mark.parametrize(
    "name", ["config.md", "exit-codes.md", "architecture.md", "redis.md", "telemetry.md", "evidence.schema.json"]
)
def test_a_generated_page_is_what_the_tables_say(name: str) -> None:
    path = ROOT / "docs" / name
    assert path.read_text() == pages()[path], "run `make docs`"


def test_no_two_failures_share_an_id() -> None:
    assert [name for name, times in Counter(failure.id for failure in failures()).items() if times > 1] == []


def test_every_failure_says_what_it_is_with_words_of_its_own() -> None:
    for failure in failures():
        assert {"id", "exit_code", "meaning"} <= set(vars(failure)), failure
        assert failure.id == failure.id.lower().replace(" ", "-").replace("_", "-")
        assert failure.meaning != Failure.meaning
        assert failure.exit_code is not ExitCode.DONE
