"""`graph` against real go commands: what it says an edit sets off is what go then does, and looking changes nothing."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from go_cache_safeguard.config.files import load_config
from go_cache_safeguard.flows.costs import costs
from go_cache_safeguard.flows.graph import Report, find_package, measure, report_graph
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.gocache.graph import Edit, Found
from go_cache_safeguard.gotool.actiongraph import BuildAction, NoGraph, parse_action_graph, tools_run
from gocaches import EVERY, GoCache, copy_cache, find_toolchain

pytestmark = pytest.mark.real

A = """package a

// Factor is seen by others.
const Factor = 2

// Sum adds a word.
//
//go:noinline
func Sum(n int) int { return n + 1 }
"""
FILES = {
    "a/a.go": A,
    "a/a_test.go": 'package a\n\nimport "testing"\n\nfunc TestSum(t *testing.T) {}\n',
    "a/x_test.go": 'package a_test\n\nimport (\n\t"testing"\n\n\t"example.com/m/b"\n)\n\nfunc TestB(t *testing.T) { b.Twice(1) }\n',
    "b/b.go": 'package b\n\nimport "example.com/m/a"\n\nfunc Twice(n int) int { return n * a.Factor }\n\nfunc More(n int) int { return a.Sum(n) }\n',
    "c/c.go": 'package c\n\nimport "example.com/m/b"\n\nfunc Thrice(n int) int { return n + b.Twice(n) }\n',
    "cmd/one/main.go": 'package main\n\nimport "example.com/m/c"\n\nfunc main() { println(c.Thrice(1)) }\n',
    "cmd/two/main.go": "package main\n\nfunc main() { println(2) }\n",
}
EDITS = {
    Edit.COMMENT: A.replace("a word", "one word"),
    Edit.BODY: A.replace("n + 1", "n + 7"),
    Edit.API: A.replace("Factor = 2", "Factor = 5"),
}
M = "example.com/m"


@dataclass(frozen=True)
class World:
    """A module of three floors, and the cache of a toolchain in which it is built."""

    cache: GoCache

    @property
    def session(self) -> Session:
        home = self.cache.root.parent / "home"
        arguments = {"go.command": str(self.cache.toolchain.go), "state.dir": str(home / "state")}
        where, environ = self.cache.module, self.cache.environ
        return Session(load_config(environ=environ, cwd=where, home=home, arguments=arguments), environ, where)

    def graph(self, *patterns: str, tests: bool = False) -> Report:
        return report_graph(self.session, self.cache.root, patterns, tests=tests)

    def build(self) -> tuple[BuildAction, ...]:
        """Build for real, and tell what go did."""
        path = self.cache.root.parent / "graph.json"
        self.cache.go("build", f"-debug-actiongraph={path}", "-o", os.devnull, "./...")
        actions = parse_action_graph(path.read_bytes())
        assert not isinstance(actions, NoGraph)
        return actions

    def names(self) -> dict[str, int]:
        """What lies in the cache, and when it was used."""
        return {str(path): path.lstat().st_mtime_ns for path in sorted(self.cache.root.rglob("*"))}


@pytest.fixture(params=EVERY)
def world(request: pytest.FixtureRequest, warm_cache: Callable[..., GoCache], tmp_path: Path) -> World:
    """One for each toolchain: built once, with a standard library that was there before."""
    cache = copy_cache(warm_cache(find_toolchain(request.param)), tmp_path)
    for name in ("main.go", "lib/lib.go", "lib/lib_test.go"):
        (cache.module / name).unlink()
    for name, text in FILES.items():
        path = cache.module / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return World(cache)


def test_what_an_edit_sets_off_is_what_go_then_does(world: World) -> None:
    before = world.build()
    names = world.names()
    report = world.graph()
    assert world.names() == names

    nodes = report.graph.nodes
    built = {action.package: action for action in before if action.mode == "build"}
    for name, node in nodes.items():
        if name in built:
            assert (node.found, node.half) == (Found.HIT, built[name].action_id), name
            assert node.output is not None
            assert node.output.about is not None
            assert built[name].build_id.endswith(node.output.about.build_content)
            entry = report.entries[node.output.output].hex()
            named = (world.cache.root / entry[:2] / f"{entry}-a").read_bytes()[68:132]
            assert named == node.output.output.hex().encode()
    assert nodes[f"{M}/b"].needs == (f"{M}/a",)
    assert report.graph.dependents(f"{M}/a") == (f"{M}/b", f"{M}/c", f"{M}/cmd/one")

    halves = {action.package: action.action_id for action in before if action.mode == "link"}
    for edit, text in EDITS.items():
        (world.cache.module / "a/a.go").write_text(text)
        done = world.build()
        assert {action.package for action in tools_run(done)} == set(report.graph.compiled(f"{M}/a", edit)), edit
        linked = {one.package for one in done if one.mode == "link" and one.action_id != halves[one.package]}
        assert linked == (set() if edit is Edit.COMMENT else set(report.graph.linked(f"{M}/a"))), edit
        (world.cache.module / "a/a.go").write_text(A)
    assert report.graph.linked(f"{M}/a") == (f"{M}/cmd/one",)

    whole = world.graph(tests=True)
    with_tests = whole.graph
    assert [find_package(whole, one, world.cache.module) for one in ("./a", "m/b", f"{M}/c")] == [
        f"{M}/{name}" for name in "abc"
    ]
    test = f" [{M}/a.test]"
    assert with_tests.importers[f"{M}/a{test}"] == (f"{M}/a.test", f"{M}/b{test}")
    assert with_tests.nodes[f"{M}/a_test{test}"].needs[0] == f"{M}/b{test}"
    assert with_tests.edited(f"{M}/a") == (f"{M}/a", f"{M}/a{test}")
    assert with_tests.linked(f"{M}/a") == (f"{M}/a.test", f"{M}/cmd/one")

    (world.cache.module / "a/a.go").write_text(EDITS[Edit.API].replace("5", "9"))
    found = {name: node.found for name, node in world.graph().graph.nodes.items() if name.startswith(M)}
    assert found == {
        f"{M}/a": Found.MISSING,
        **dict.fromkeys((f"{M}/b", f"{M}/c", f"{M}/cmd/one"), Found.GUESSED),
        f"{M}/cmd/two": Found.HIT,
    }


@pytest.mark.parametrize("world", EVERY[-1:], indirect=True)
def test_measuring_builds_elsewhere_and_is_remembered(world: World) -> None:
    names = world.names()
    found = measure(world.session, ("./a", "./b"))
    assert world.names() == names
    assert (found.steps, found.toolchain) == (2, world.cache.toolchain.version)
    measured = {step.package: step for step in costs(world.session).steps}
    assert measured.keys() == {f"{M}/a", f"{M}/b"}
    assert all(step.size > 0 and step.seconds > 0 for step in measured.values())
    world.cache.go("build", "./...")
    node = world.graph().graph.nodes[f"{M}/a"]
    assert node.cost is not None
    assert node.cost.measured
    assert node.cost.seconds == measured[f"{M}/a"].seconds
    assert measure(world.session, ("./c",), tests=True).steps == 3  # it has no test; one would compile `testing` first
