"""`gocache.graph`: a listing and its action graph become packages, entries and what an edit would cost."""

from typing import Any

import pytest

from go_cache_safeguard.gocache.archive import Archive
from go_cache_safeguard.gocache.classify import Kind
from go_cache_safeguard.gocache.cost import MIB, Costs, Step
from go_cache_safeguard.gocache.graph import Edit, Found, Graph, Node, make_graph
from go_cache_safeguard.gocache.inventory import Output, Shape
from go_cache_safeguard.gotool.actiongraph import BuildAction
from go_cache_safeguard.gotool.packages import Package

GO, TARGET = "go1.27.3", "linux/amd64"


def archive(half: str, package: str, size: int = MIB) -> Output:
    about = Archive(package, "linux", "amd64", GO, (), half, "content")
    return Output(half.encode(), size, size, 0, 0o644, False, Kind.ARCHIVE, about, Shape.FILE, 1, 0)  # noqa: FBT003 - a row


def step(number: int, mode: str, package: str, half: str, *deps: int, found: bool = True) -> BuildAction:
    build_id = f"{half}/content" if found and half else ""
    return BuildAction(number, mode, package, half, build_id, True, (), 0, 0, "", "", deps)  # noqa: FBT003 - a row


def package(path: str, **more: Any) -> Package:
    return Package(path, **{"name": "p", "has_go": True, **more})


PACKAGES = (
    package("unsafe", standard=True),
    package("a", module="m", directory="/m/a"),
    package("b", module="m"),
    package("x", module="example.org/x", version="v1.2.3"),
    package("cmd", name="main", module="m"),
    package("a [a.test]", module="m"),
    package("a.test", name="main", module="m"),
    package("empty", has_go=False, error="no Go files"),
)
STEPS = (
    step(0, "", "", "", 1, 2, 3, 4, 5, 8, 9),
    step(1, "built-in package", "unsafe", ""),
    step(2, "build", "a", "A", 1),
    step(3, "build", "b", "B", 2),
    step(4, "build", "x", "X", found=False),
    step(5, "link-install", "cmd", "", 6),
    step(6, "link", "cmd", "L", 7, 2, 3, 4, found=False),
    step(7, "build", "cmd", "C", 3, 4, found=False),
    step(8, "build", "a", "AT", 1, 12),
    step(9, "link-install", "a.test", "", 10),
    step(10, "link", "a.test", "LT", 11, 8, found=False),
    step(11, "build", "a.test", "T", 8, found=False),
    step(12, "build check cache", "a", ""),
)
ARCHIVES = {half: archive(half, name) for half, name in (("A", "a"), ("B", "b"), ("AT", "a"))}


def made(costs: Costs | None = None) -> Graph:
    return make_graph(PACKAGES, STEPS, ARCHIVES, costs or Costs(), toolchain=GO, target=TARGET)


def test_each_package_is_found_missing_guessed_or_nothing() -> None:
    found = {name: (node.found, node.half) for name, node in made().nodes.items()}
    assert found == {
        "unsafe": (Found.NONE, ""),
        "a": (Found.HIT, "A"),
        "b": (Found.HIT, "B"),
        "x": (Found.MISSING, "X"),
        "cmd": (Found.GUESSED, ""),
        "a [a.test]": (Found.HIT, "AT"),
        "a.test": (Found.GUESSED, ""),
        "empty": (Found.NONE, ""),
    }


def test_edges_are_those_of_the_compilation_and_tell_tests_apart() -> None:
    graph = made()
    assert {name: node.needs for name, node in graph.nodes.items() if node.needs} == {
        "a": ("unsafe",),
        "b": ("a",),
        "cmd": ("b", "x"),
        "a [a.test]": ("unsafe",),
        "a.test": ("a [a.test]",),
    }
    assert graph.importers["a"] == ("b",)
    assert graph.dependents("unsafe") == ("a", "a [a.test]", "a.test", "b", "cmd")
    assert dict(graph.distances("a")) == {"b": 1, "cmd": 2}
    assert graph.nodes["x"].module == "example.org/x@v1.2.3"


def test_an_edit_reaches_the_package_its_importers_or_all_that_depend_on_it_also_for_tests() -> None:
    graph = made()
    assert graph.compiled("a", Edit.COMMENT) == ("a", "a [a.test]")
    assert graph.compiled("a", Edit.BODY) == ("a", "a [a.test]", "a.test", "b")
    assert graph.compiled("a", Edit.API) == ("a", "a [a.test]", "a.test", "b", "cmd")
    assert graph.linked("a") == ("a.test", "cmd")
    assert graph.compiled("x", Edit.BODY) == ("cmd", "x")
    assert graph.compiled("unsafe", Edit.API) == ()


def test_the_blast_is_counted_in_packages_bytes_and_seconds_with_what_is_not_known_apart() -> None:
    costs = Costs([Step("A", "build", "a", GO, seconds=2.0), Step("L", "link", "cmd", GO, seconds=0.5)])
    blast = made(costs).blast("a")
    most = blast.reaches[Edit.API]
    assert (most.compiled, most.size, most.unsized, most.unpriced, most.links) == (5, 3 * MIB, 2, 2, 2)
    assert (most.cost.entries, most.cost.measured, most.cost.measured_s) == (3, 1, 2.0)
    assert most.link_cost.measured == 1
    comment = blast.reaches[Edit.COMMENT]
    assert (comment.compiled, comment.links, comment.link_cost.entries) == (2, 0, 0)
    packages, size, seconds = blast.saved
    assert (packages, size) == (1, 0)
    assert seconds == 0.0  # nobody knows what the package costs that is spared


def test_what_is_missing_is_priced_by_what_it_cost_before() -> None:
    seen = Costs([Step("X0", "build", "x", GO, TARGET, (), 4.0, MIB), Step("C", "build", "cmd", GO, seconds=9.0)])
    nodes = made(seen).nodes
    assert nodes["x"].cost == seen.of_package("x", GO, TARGET, ())
    assert nodes["cmd"].cost is None  # the planned key is a guess, so what was seen under it counts for nothing


def test_the_ranking_begins_with_what_reaches_furthest_and_leaves_out_what_nobody_compiles() -> None:
    names = [blast.package for blast in made().ranking(standard=True)]
    assert names[0] == "a"
    assert set(names) == {"a", "b", "x", "cmd", "a.test"}


def test_a_graph_of_another_form_is_read_by_names() -> None:
    graph = make_graph(PACKAGES, STEPS[1:], ARCHIVES, Costs(), toolchain=GO, target=TARGET)
    assert graph.nodes["a"].found is Found.HIT
    assert graph.nodes["a [a.test]"].found is Found.NONE
    assert graph.compiled("b", Edit.API) == ("b", "cmd")


@pytest.mark.parametrize("deps", [(99,), (0,), (2, 2)])
def test_steps_that_lead_nowhere_or_in_circles_are_no_trouble(deps: tuple[int, ...]) -> None:
    steps = (step(0, "", "", "", 1, 2), step(1, "link-install", "p", "", *deps), step(2, "link", "p", "L", 1, 2))
    graph = make_graph([package("p"), package("q")], steps, {}, Costs(), toolchain=GO, target=TARGET)
    assert {node.found for node in graph.nodes.values()} == {Found.NONE}


def test_a_cycle_ends() -> None:
    def node(name: str, *needs: str) -> Node:
        return Node(name, "", False, "m", False, True, needs, Found.HIT, "h", None, None, None, "")  # noqa: FBT003 - a row

    graph = Graph([node("a", "b"), node("b", "c"), node("c", "a"), node("d", "a", "gone")])
    assert graph.dependents("a") == ("b", "c", "d")
    assert graph.compiled("b", Edit.API) == ("a", "b", "c", "d")
    assert dict(graph.distances("a")) == {"c": 1, "d": 1, "b": 2}
