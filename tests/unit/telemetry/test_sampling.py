"""Which traces are kept: everywhere the same, as often as was said, and within the budget."""

from random import Random

import pytest

from go_cache_safeguard.signals.span import Span
from go_cache_safeguard.telemetry.rules import RuleFile, Status, parse_rules
from go_cache_safeguard.telemetry.sampling import (
    WHOLE,
    Controller,
    OtState,
    TraceFacts,
    decide,
    encode_th,
    keeps,
    parse_ot,
    probability_of,
    randomness,
    threshold,
)

UNSET = frozenset({Status.UNSET})


class Inside:
    """A span as rules see it."""

    def __init__(self, name: str = "", service: str = "", **attributes: object) -> None:
        self.name, self.service, self.attributes = name, service, attributes
        self.resource = {"zone": "a", "service.name": service}


def test_probabilities_are_hit_and_what_a_lower_one_keeps_a_higher_one_keeps_too() -> None:
    random = Random(7)  # noqa: S311 - any ids will do
    ids = [random.randbytes(16) for _ in range(60_000)]
    kept = {percent: {one for one in ids if keeps(one, threshold(percent / 100))} for percent in (5, 10, 15)}
    for percent, found in kept.items():
        assert abs(len(found) / len(ids) * 100 - percent) <= 0.5
    assert kept[5] < kept[10] < kept[15]


def test_the_ends_keep_everything_and_nothing() -> None:
    assert (threshold(1), threshold(0), threshold(2)) == (0, WHOLE, 0)
    assert keeps(bytes(16), 0)
    assert not keeps(b"\xff" * 16, WHOLE)
    assert probability_of(threshold(0.25)) == 0.25


@pytest.mark.parametrize(("probability", "text"), [(1, "0"), (0.5, "8"), (0.25, "c"), (0.05, "f3333333333333")])
def test_a_threshold_is_written_as_the_specification_says(probability: float, text: str) -> None:
    assert encode_th(threshold(probability)) == text
    assert parse_ot(f"th:{text}").th == threshold(probability)


def test_a_tracestate_is_read_merged_and_written() -> None:
    state = parse_ot("th:8;rv:0123456789abcd;x:y")
    assert state == OtState(1 << 55, 0x0123456789ABCD, ("x:y",))
    assert state.merged(threshold(0.25)).text() == "th:c;rv:0123456789abcd;x:y"
    assert state.merged(0).text() == state.merged(None).text() == state.text()
    assert OtState(WHOLE).text() == ""
    for damaged in ("", "th:", "th:xyz", "th:" + "1" * 15, "rv:12", "x" * 300):
        assert parse_ot(damaged) == OtState()
    assert randomness(bytes(16), "rv:0123456789abcd") == 0x0123456789ABCD
    assert randomness(b"\xff" * 9 + bytes(6) + b"\x05") == 5


def rules(**when: object) -> RuleFile:
    first = {"name": "first", "when": when, "keep": "always"}
    return parse_rules({"sampling": [first, {"name": "rest", "keep": {"adaptive": {"least": "5%", "most": "15%"}}}]})


@pytest.mark.parametrize(
    ("when", "trace", "applies"),
    [
        ({"status": "error"}, TraceFacts(0, 0, frozenset({Status.OK, Status.ERROR})), True),
        ({"status": "error"}, TraceFacts(0, 0, UNSET), False),
        ({"duration_over": "3s"}, TraceFacts(0, 3_000_000_000, UNSET), True),
        ({"duration_over": "3s"}, TraceFacts(0, 2_999_999_999, UNSET), False),
        ({"service": "pay-*", "name": "b"}, TraceFacts(0, 0, UNSET, (Inside("a", "pay-1"), Inside("b", "x"))), True),
        ({"service": "pay-*"}, TraceFacts(0, 0, UNSET, (Inside("pay-1"),)), False),
        ({"name": "b"}, TraceFacts(0, 0, UNSET, (Inside("a"),)), False),
        ({"attributes": [{"key": "zone", "equals": "a"}]}, TraceFacts(0, 0, UNSET, (Inside(),)), True),
        (
            {"attributes": [{"key": "n", "equals": 200}]},
            TraceFacts(0, 0, UNSET, (Inside(n="200"), Inside(n=200))),
            True,
        ),
        ({"attributes": [{"key": "n", "equals": 1}]}, TraceFacts(0, 0, UNSET, (Inside(n=True),)), False),
        ({"attributes": [{"key": "n", "exists": True}]}, TraceFacts(0, 0, UNSET, (Inside(n=0),)), True),
        ({"attributes": [{"key": "n", "regex": "a+"}]}, TraceFacts(0, 0, UNSET, (Inside(n="aa"),)), True),
        ({"attributes": [{"key": "n", "regex": "a+"}]}, TraceFacts(0, 0, UNSET, (Inside(n="aab"), Inside(n=5))), False),
    ],
)
def test_the_first_rule_that_applies_decides(when: dict[str, object], trace: TraceFacts, *, applies: bool) -> None:
    decision = decide(rules(**when), trace, 0.0)
    assert (decision.keep, decision.rule, decision.must) == (
        (True, "first", True) if applies else (False, "rest", False)
    )


def test_an_adaptive_rule_keeps_by_the_level_and_a_never_rule_nothing() -> None:
    found = rules(status="error")
    edge = TraceFacts(threshold(0.10), 0, UNSET)
    assert [decide(found, edge, level).keep for level in (0.0, 0.49, 0.51, 1.0)] == [False, False, True, True]
    assert decide(found, edge, 1.0).th == threshold(0.15)
    never = parse_rules({"sampling": [{"name": "none", "keep": "never"}]})
    assert not decide(never, TraceFacts(WHOLE - 1, 0, UNSET), 1.0).keep


def test_the_store_s_spans_can_be_asked() -> None:
    assert {"name", "service", "attributes", "resource"} <= set(Span.__slots__)


def test_the_level_follows_the_load_at_once_upward_and_slowly_downward() -> None:
    control = Controller(budget=1_000)
    assert control.step(1, 50, 100).level == 1.0
    flooded = control.step(1, 500, 1_000)
    assert flooded.level == pytest.approx(0.5)
    assert flooded.step(1, 2_000, 4_000).level == 0.0
    calm = flooded
    levels = []
    for _ in range(60):
        calm = calm.step(1, 50, 100)
        levels.append(calm.level)
        assert calm.least + calm.level * calm.room <= 1_000 + 1e-6
    assert levels == sorted(levels)
    assert flooded.level < levels[0] < 0.7
    assert levels[-1] == 1.0
