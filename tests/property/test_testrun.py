"""Streams of `go test -json` that are cut, cut up and mixed up: never a pass that is none, never a different reading."""

import json

from hypothesis import given
from hypothesis import strategies as st

from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.verify.testrun import TestRun, judge, read

PACKAGES = ("example.com/a", "example.com/b", "example.com/c")


def lines_of(package: str) -> list[bytes]:
    events: list[dict[str, object]] = [
        {"Action": "start"},
        {"Action": "run", "Test": "TestOne"},
        {"Action": "output", "Test": "TestOne", "Output": "said\n"},
        {"Action": "pass", "Test": "TestOne"},
        {"Action": "output", "Output": "PASS\n"},
        {"Action": "pass", "Elapsed": 0.1},
    ]
    return [json.dumps(event | {"Package": package}).encode() + b"\n" for event in events]


WHOLE = b"".join(line for package in PACKAGES for line in lines_of(package))


@given(st.integers(0, len(WHOLE) - 1), st.sampled_from([0, 1, -9, None]))
def test_a_stream_that_was_cut_anywhere_never_passes(at: int, exit_code: int | None) -> None:
    assert judge(read(WHOLE[:at]), PACKAGES, exit_code=exit_code).outcome is not Outcome.PASS


@given(st.lists(st.integers(0, len(WHOLE)), max_size=20))
def test_where_the_pieces_are_cut_makes_no_difference(cuts: list[int]) -> None:
    run, at = TestRun(), 0
    for end in sorted([*cuts, len(WHOLE)]):
        run.feed(WHOLE[at:end])
        at = end
    run.close()
    assert run == read(WHOLE)
    assert judge(run, PACKAGES, exit_code=0).outcome is Outcome.PASS


@given(st.data())
def test_packages_may_be_mixed_in_any_order_that_keeps_each_of_them_in_its_own(data: st.DataObject) -> None:
    waiting = {package: lines_of(package) for package in PACKAGES}
    mixed = b""
    while any(waiting.values()):
        package = data.draw(st.sampled_from([package for package, lines in waiting.items() if lines]))
        mixed += waiting[package].pop(0)
    assert judge(read(mixed), PACKAGES, exit_code=0).outcome is Outcome.PASS


@given(st.integers(0, 3 * 6 - 1))
def test_a_stream_that_lost_the_end_of_a_package_or_of_a_test_never_passes(lost: int) -> None:
    lines = WHOLE.splitlines(keepends=True)
    gone = json.loads(lines.pop(lost))
    outcome = judge(read(b"".join(lines)), PACKAGES, exit_code=0).outcome
    assert outcome is (Outcome.UNKNOWN if gone["Action"] == "pass" else Outcome.PASS)


@given(st.binary(max_size=300), st.lists(st.dictionaries(st.text(max_size=8), st.text(max_size=8) | st.integers())))
def test_anything_at_all_is_read_and_never_passes(noise: bytes, values: list[dict[str, object]]) -> None:
    stream = b"".join(json.dumps(value).encode() + b"\n" for value in values) + noise
    assert judge(read(stream), PACKAGES, exit_code=0).outcome is not Outcome.PASS
