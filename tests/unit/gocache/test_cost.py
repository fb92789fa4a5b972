"""`gocache.cost`: what was measured is told from what is estimated, and sums keep them apart."""

import pytest

from go_cache_safeguard.gocache.archive import Archive
from go_cache_safeguard.gocache.classify import Kind
from go_cache_safeguard.gocache.cost import (
    ENOUGH,
    MIB,
    SHIPPED,
    START_S,
    Costs,
    Step,
    plain,
    rate_of,
    steps_of,
    total,
)
from go_cache_safeguard.gocache.inventory import Output, Shape
from go_cache_safeguard.gotool.actiongraph import BuildAction

GO = "go1.27.3"


def archive(half: str, package: str = "p", size: int = MIB, *, flags: tuple[str, ...] = ()) -> Output:
    about = Archive(package, "linux", "amd64", GO, flags, half, "content")
    return Output(half.encode(), size, size, 0, 0o644, False, Kind.ARCHIVE, about, Shape.FILE, 1, 0)  # noqa: FBT003 - a row


def other(kind: Kind, size: int = 100) -> Output:
    return Output(b"x", size, size, 0, 0o644, False, kind, None, Shape.FILE, 1, 0)  # noqa: FBT003 - a row


def action(number: int, mode: str, package: str, half: str, cpu_ns: int, *, ran: bool = True) -> BuildAction:
    cmd = ("a tool",) if ran else ()
    return BuildAction(number, mode, package, half, "", True, cmd, cpu_ns, cpu_ns, "", "")  # noqa: FBT003 - a row


def test_the_very_step_that_was_seen_has_the_price_that_was_seen() -> None:
    costs = Costs([Step("h", "build", "p", GO, seconds=3.5)])
    cost = costs.of(archive("h"))
    assert (cost.seconds, cost.measured, cost.low, cost.high) == (3.5, True, 3.5, 3.5)
    assert costs.of_step("h") == cost
    assert costs.of_step("g") is None


def test_another_version_of_a_package_costs_what_the_package_cost_with_the_same_flags() -> None:
    seen = [Step(half, "build", "p", GO, "linux/amd64", (), seconds, MIB) for half, seconds in (("a", 1.0), ("b", 3.0))]
    costs = Costs(seen)
    assert (costs.of(archive("new")).seconds, costs.of(archive("new")).measured) == (2.0, True)
    assert not costs.of(archive("new", flags=("-race",))).measured
    assert not costs.of(archive("new", "q")).measured


def test_programs_are_all_called_main_and_so_never_taken_for_each_other() -> None:
    costs = Costs([Step("a", "build", "main", GO, "linux/amd64", (), 9.0, MIB)])
    assert not costs.of(archive("b", "main")).measured


def test_what_nobody_saw_is_estimated_by_size_within_a_range() -> None:
    cost = Costs().of(archive("h", size=2 * MIB))
    assert not cost.measured
    assert cost.seconds == pytest.approx(START_S + 2 * SHIPPED.per_mib)
    assert cost.low == pytest.approx(START_S + 2 * SHIPPED.low)
    assert cost.high == pytest.approx(START_S + 2 * SHIPPED.high)


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_has_a_price_in_its_range(kind: Kind) -> None:
    cost = Costs().of(other(kind))
    assert not cost.measured
    assert 0 <= cost.low <= cost.seconds <= cost.high
    assert (cost.seconds == 0) == (kind is Kind.EMPTY)


def test_the_rate_of_this_machine_counts_once_enough_was_measured() -> None:
    def measured(count: int) -> Costs:
        steps = (Step(f"{n}", "build", f"p{n}", GO, seconds=START_S + 2.0) for n in range(count))
        return Costs(steps, [archive(f"{n}", f"p{n}") for n in range(count)])

    assert measured(ENOUGH - 1).rate == SHIPPED
    rate = measured(ENOUGH).rate
    assert (rate.per_mib, rate.low, rate.high) == pytest.approx((2.0, 2.0, 2.0))
    assert (rate.samples, rate.source) == (ENOUGH, "measured here")


def test_a_rate_counts_bytes_and_not_packages() -> None:
    rate = rate_of([(100.0, 1), (100.0, 1), (100.0, 1), (1.0, 999), (2.0, 1000), (3.0, 1000), (4.0, 1000)], "here")
    assert (rate.low, rate.per_mib, rate.high) == (2.0, 3.0, 100.0)
    assert rate.samples == 7


def test_one_large_package_does_not_hide_how_far_the_others_are_apart() -> None:
    rate = rate_of([(0.1, 10), (0.2, 10), (0.3, 10), (0.4, 10), (5.0, 10**6)], "here")
    assert (rate.per_mib, rate.low, rate.high) == (5.0, 0.2, 5.0)


def test_what_lies_in_a_cache_tells_size_target_and_flags_of_what_was_measured() -> None:
    (step,) = Costs([Step("h", "build", "p", GO, seconds=1.0)], [archive("h", flags=("-race",)), archive("g")]).steps
    assert step == Step("h", "build", "p", GO, "linux/amd64", ("-race",), 1.0, MIB)


def test_linking_costs_what_it_cost_or_else_follows_what_goes_in() -> None:
    costs = Costs([Step("l", "link", "m/cmd", GO, seconds=0.5)])
    assert costs.of_link("l", "m/cmd", GO, 0).measured
    assert costs.of_link("", "m/cmd", GO, 0).seconds == 0.5
    small, large = (costs.of_link("", "m/other", GO, size) for size in (0, 100 * MIB))
    assert not small.measured
    assert small.seconds < large.seconds


def test_a_sum_keeps_measured_and_estimated_apart() -> None:
    costs = Costs([Step("h", "build", "p", GO, seconds=3.0)])
    found = total([costs.of(archive("h")), costs.of(archive("g"))])
    assert (found.entries, found.measured, found.measured_s) == (2, 1, 3.0)
    assert found.low < found.seconds < found.high
    assert found.low > 3.0


def test_a_graph_tells_of_the_steps_that_a_tool_really_did() -> None:
    actions = [
        action(1, "build", "p [p.test]", "a", 2 * 10**9),
        action(2, "build", "q", "b", 5, ran=False),
        action(3, "link", "m", "c", 10**9),
        action(4, "vet", "p", "d", 10**9),
        action(5, "build", "net", "e", 10**9),
        action(6, "cgo run", "net", "", 10**9),
        action(7, "cgo compile x.c", "net", "", 10**8),
    ]
    steps = steps_of(actions, toolchain=f"{GO} X:synctest")
    assert {step.toolchain for step in steps} == {GO}
    assert [(step.half, step.mode, step.package, step.seconds) for step in steps] == [
        ("a", "build", "p", 2.0),
        ("c", "link", "m", 1.0),
        ("e", "build", "net", 2.1),
    ]


def test_a_package_keeps_its_name_without_the_test_that_it_is_compiled_for() -> None:
    assert [plain(name) for name in ("p", "p [q.test]", "p_test [p.test]")] == ["p", "p", "p_test"]
