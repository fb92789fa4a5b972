"""Some hundred cases that nobody thought of; `make api-fuzz` sends more than ten thousand."""

from pathlib import Path

from apifuzz import fuzz


def test_no_case_breaks_the_api_or_is_answered_otherwise_than_described(tmp_path: Path) -> None:
    fuzzed = fuzz(tmp_path, each=8, number=1)
    assert fuzzed.cases >= 200
    assert max(fuzzed.statuses) < 500
    assert {200, 401, 403, 404, 409, 422} <= fuzzed.statuses.keys()
