r"""Write a graph of packages in the language of Graphviz.

Knows:     how a name that anybody may have chosen becomes a string that means nothing else.
Called by: the command line's `graph --format dot`.
Never:     lets a name close its string, start an escape such as `\N`, name an entity such as `&lt;`, or hide what it is.
Source:    graphviz.org/doc/info/lang.html (quoted strings), shapes.html (escapes in labels).
"""

from collections.abc import Iterable, Iterator, Mapping

from go_cache_safeguard.gocache.graph import Found, Graph, Node

_COLORS = {Found.HIT: "#d9ead3", Found.MISSING: "#f4cccc", Found.GUESSED: "#fff2cc", Found.NONE: "#eeeeee"}


def dot_of(graph: Graph, names: Iterable[str], labels: Mapping[str, str], strong: Iterable[str] = ()) -> Iterator[str]:
    """The lines of a file.

    Args:
        graph: Where packages and edges come from; an edge goes from a package to what it imports.
        names: Which packages are drawn, with the edges between them.
        labels: A second line of text for some.
        strong: Drawn with a thick line.
    """
    drawn, thick = set(names), set(strong)
    yield "digraph packages {"
    yield "  rankdir=LR;"
    yield '  node [shape=box, style=filled, fontname="sans-serif"];'
    for name in sorted(drawn):
        yield _node(graph.nodes[name], labels.get(name, ""), strong=name in thick)
    for name in sorted(drawn):
        for need in graph.nodes[name].needs:
            if need in drawn:
                yield f"  {quoted(name)} -> {quoted(need)};"
    yield "}"


def quoted(text: str) -> str:
    """A string of the language that stands for these characters and no others; what cannot be seen is written as its number."""
    return f'"{"".join(map(_character, text))}"'


def _character(one: str) -> str:
    if one in '"\\':
        return f"\\{one}"
    if one == "&":
        return "&amp;"
    return one if one.isprintable() else f"\\\\u{ord(one):04x}"


def _node(node: Node, label: str, *, strong: bool) -> str:
    text = quoted(node.name)[:-1] + (f"\\n{quoted(label)[1:-1]}" if label else "") + '"'
    shape = ", shape=component" if node.program else ""
    width = ", penwidth=3" if strong else ""
    return f'  {quoted(node.name)} [label={text}, fillcolor="{_COLORS[node.found]}"{shape}{width}];'
