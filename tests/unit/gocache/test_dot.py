r"""`gocache.dot`: whatever a package is called, the file is a graph of these packages and nothing else."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from go_cache_safeguard.gocache.dot import dot_of, quoted
from go_cache_safeguard.gocache.graph import Found, Graph, Node

_STRING = r'"(?:[^"\\]|\\.)*"'
_ATTRIBUTE = rf"(?:[a-z]+)=(?:{_STRING}|[a-zA-Z0-9]+)"
_LINES = {
    "node": re.compile(rf"  (?P<name>{_STRING}) \[(?:{_ATTRIBUTE}, )*{_ATTRIBUTE}\];"),
    "edge": re.compile(rf"  (?P<name>{_STRING}) -> (?P<need>{_STRING});"),
    "default": re.compile(rf"  node \[(?:{_ATTRIBUTE}, )*{_ATTRIBUTE}\];"),
    "setting": re.compile(r"  rankdir=LR;"),
}
"""Every line that there may be between the first and the last: the grammar of the language, as far as we use it."""

EVIL = (
    'a"];evil[label="',
    "b\\",
    "c\\N",
    "d\n}\ndigraph x {",
    "<b>e</b>",
    "&lt;f",
    "g\u202eh",
    "i\x00",
    "\udc80",
    "p [p.test]",
)


def node(name: str, *needs: str, program: bool = False) -> Node:
    return Node(name, "", False, "m", program, True, needs, Found.HIT, "h", None, None, None, "")  # noqa: FBT003 - a row


def parsed(lines: list[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Read a file strictly: its nodes and its edges, as strings of the language."""
    assert lines[0] == "digraph packages {"
    assert lines[-1] == "}"
    nodes, edges = [], []
    for line in lines[1:-1]:
        (found,) = [(kind, match) for kind, form in _LINES.items() if (match := form.fullmatch(line))]
        kind, match = found
        if kind == "node":
            nodes.append(match["name"])
        elif kind == "edge":
            edges.append((match["name"], match["need"]))
    return nodes, edges


def test_a_graph_is_drawn_with_its_edges_labels_and_programs() -> None:
    graph = Graph([node("a"), node("b", "a", "unsafe"), node("cmd", "b", program=True), node("away", "a")])
    lines = list(dot_of(graph, ["cmd", "b", "a"], {"a": "1 KiB"}, ["b"]))
    assert parsed(lines) == (['"a"', '"b"', '"cmd"'], [('"b"', '"a"'), ('"cmd"', '"b"')])
    assert '  "a" [label="a\\n1 KiB", fillcolor="#d9ead3"];' in lines
    assert '  "b" [label="b", fillcolor="#d9ead3", penwidth=3];' in lines
    assert '  "cmd" [label="cmd", fillcolor="#d9ead3", shape=component];' in lines


@pytest.mark.parametrize("name", EVIL)
def test_an_evil_name_stays_one_name(name: str) -> None:
    graph = Graph([node(name), node("user", name)])
    nodes, edges = parsed(list(dot_of(graph, [name, "user"], {name: name}, [name])))
    assert sorted(nodes) == sorted([quoted(name), '"user"'])
    assert edges == [('"user"', quoted(name))]


@given(st.text(max_size=30))
def test_any_text_is_one_string_of_printable_characters(text: str) -> None:
    found = quoted(text)
    assert re.fullmatch(_STRING, found)
    assert found.isprintable()
    assert not re.search(r"(?<!\\)(?:\\\\)*\\[^\"\\]", found)  # no escape but that of a quote or a backslash


@given(st.lists(st.text(max_size=5), unique=True, max_size=20))
def test_different_names_stay_different(names: list[str]) -> None:
    seen = [name for name in names if name.isprintable()]
    assert len({quoted(name) for name in seen}) == len(seen)
