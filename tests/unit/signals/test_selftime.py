"""Self time and critical path where clocks differ, parents are missing, and work runs beside work."""

from go_cache_safeguard.signals.selftime import Node, profile, trees, walk
from go_cache_safeguard.signals.span import Kind, Span, Status

MS = 1_000_000


def span(number: int, parent: int, start_ms: int, end_ms: int, *, service: str = "s", failed: bool = False) -> Span:
    return Span(
        bytes(15) + b"\x01",
        number.to_bytes(8, "big"),
        parent.to_bytes(8, "big") if parent else b"",
        f"n{number}",
        Kind.INTERNAL,
        service,
        "",
        start_ms * MS,
        end_ms * MS,
        Status.ERROR if failed else Status.UNSET,
    )


def times(*spans: Span) -> dict[str, tuple[float, float]]:
    """Self time and time on the critical path, in ms, by name."""
    return {node.span.name: (node.self_ns / MS, node.path_ns / MS) for root in trees(spans) for node in walk(root)}


def test_children_one_after_the_other() -> None:
    assert times(span(1, 0, 0, 100), span(2, 1, 10, 40), span(3, 1, 50, 90)) == {
        "n1": (30, 30),
        "n2": (30, 30),
        "n3": (40, 40),
    }


def test_of_children_beside_each_other_the_last_is_waited_for() -> None:
    found = times(span(1, 0, 0, 100), span(2, 1, 0, 60), span(3, 1, 0, 95))
    assert found == {"n1": (5, 5), "n2": (60, 0), "n3": (95, 95)}


def test_overlapping_children_share_no_nanosecond() -> None:
    found = times(span(1, 0, 0, 100), span(2, 1, 0, 60), span(3, 1, 40, 100))
    assert found == {"n1": (0, 0), "n2": (60, 40), "n3": (60, 60)}
    assert sum(path for _, path in found.values()) == 100


def test_what_outlives_its_parent_was_not_waited_for() -> None:
    assert times(span(1, 0, 0, 100), span(2, 1, 50, 900)) == {"n1": (50, 100), "n2": (850, 0)}


def test_another_services_clock_is_set_and_so_are_those_below_it() -> None:
    found = times(span(1, 0, 0, 100), span(2, 1, 500, 580, service="b"), span(3, 2, 510, 570, service="b"))
    assert found == {"n1": (20, 20), "n2": (20, 20), "n3": (60, 60)}


def test_missing_parents_are_roots_and_circles_end() -> None:
    (orphan,) = trees([span(2, 9, 0, 10)])
    assert orphan.path_ns == 10 * MS
    circle = trees([span(1, 2, 0, 10), span(2, 1, 0, 10), span(3, 3, 0, 10)])
    assert sorted(node.span.name for root in circle for node in walk(root)) == ["n1", "n2", "n3"]


def test_an_id_that_comes_twice_and_a_clock_that_runs_back_do_no_harm() -> None:
    found = trees([span(1, 0, 0, 10), span(1, 0, 5, 10), span(2, 1, 9, 3)])
    assert [(node.span.name, node.self_ns) for node in walk(found[0])] == [("n1", 10 * MS), ("n2", 0)]


def test_a_chain_of_ten_thousand_is_walked_without_recursion() -> None:
    chain = [span(number, number - 1, number, 20_000 - number, service=f"s{number % 2}") for number in range(1, 9_000)]
    (root,) = trees(chain)
    assert len(walk(root)) == 8_999
    assert isinstance(root, Node)


def test_errors_begin_at_the_deepest_failed_span() -> None:
    found = profile([span(1, 0, 0, 10, failed=True), span(2, 1, 1, 9, failed=True), span(3, 2, 2, 8)])
    assert {name: work.failed for (_, name), work in found.works.items()} == {"n1": 0, "n2": 1, "n3": 0}
    assert (found.traces, found.failed, found.total_ns) == (1, 1, 10 * MS)
