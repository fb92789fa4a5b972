"""Source code as a tree, the same way for three languages.

Knows:     how tree-sitter is asked, how the names of an expression hang together, and where a node stands.
Called by: `debt.java`, `debt.golang`, `debt.python`.
Never:     fails on anything that is not of its language: what could not be understood has a line number.
Source:    tree-sitter: `Query`, `QueryCursor`; ERROR and MISSING nodes stand where the text is not of the language.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tree_sitter import Language, Node, Parser, Query, QueryCursor

from go_cache_safeguard.debt.finding import Api, Finding, Kind, line_hash

_LONGEST = 100
"""names of an expression; nobody writes more, and a chain of a million would take for ever."""


_DEEPEST = 300
"""levels of a tree; people write less than a tenth of that."""
_WIDEST = 20_000
"""nodes side by side. A query takes the square of depth and width, so a tree beyond either is not looked at at all."""


@dataclass(frozen=True, slots=True)
class Link:
    """How one sort of node continues a chain of names.

    Attributes:
        before: The field of what stands before; empty for none.
        name: The field of its own name; empty for none.
    """

    before: str
    name: str


@dataclass(frozen=True, slots=True)
class Grammar:
    """A language.

    Attributes:
        language: As tree-sitter knows it.
        query: What is looked for.
        links: How names hang together.
    """

    language: Language
    query: Query
    links: Mapping[str, Link]


class Source:
    """One file.

    Attributes:
        file: Its name for findings.
        root: Of the tree.
    """

    def __init__(self, grammar: Grammar, file: str, content: bytes) -> None:
        self._grammar, self._content = grammar, content
        self._lines = content.split(b"\n")
        self.file = file
        self.root = Parser(grammar.language).parse(content).root_node
        self._beyond = self._too_large()

    def matches(self) -> Iterator[tuple[str, Mapping[str, Node]]]:
        """What the query finds, in the order of the text: the name of its outermost capture, and the first node of each."""
        if self._beyond:
            return
        found = [captured for _, captured in QueryCursor(self._grammar.query).matches(self.root) if captured]
        found.sort(key=lambda captured: next(iter(captured.values()))[0].start_byte)
        for captured in found:
            yield next(iter(captured)), {name: nodes[0] for name, nodes in captured.items()}

    def text(self, node: Node) -> str:
        """What stands there."""
        return self._content[node.start_byte : node.end_byte].decode("utf-8", "replace")

    def spine(self, node: Node | None) -> tuple[str, ...]:
        """The names of an expression from left to right, without arguments: `a.b(c).d` gives a, b, d; the last ones of a very long one."""
        names: list[str] = []
        while node is not None and len(names) < _LONGEST:
            link = self._grammar.links.get(node.type)
            if link is None:
                names.append(self.text(node) if node.child_count == 0 else "?")
                break
            if link.name and (named := node.child_by_field_name(link.name)) is not None:
                names.append(self.text(named))
            node = node.child_by_field_name(link.before) if link.before else next(iter(node.named_children), None)
        return tuple(reversed(names))

    def finding(self, node: Node, api: Api, kind: Kind, symbol: str) -> Finding:
        """A finding at a node."""
        row, column = node.start_point
        line = self._lines[row]
        before = line[:column].decode("utf-8", "replace")
        return Finding(self.file, row + 1, len(before) + 1, api, kind, symbol, line_hash(line))

    def damage(self) -> int:
        """The first line that is not of the language, or beyond what is looked at, from 1; 0 if there is none."""
        return self._beyond or self._first_error()

    def _first_error(self) -> int:
        node = self.root
        if not node.has_error:
            return 0
        while not (node.is_error or node.is_missing):
            deeper = next((child for child in node.children if child.has_error or child.is_missing), None)
            if deeper is None:
                break
            node = deeper
        return node.start_point.row + 1

    def _too_large(self) -> int:
        """The first line of a tree that is too deep or too wide; 0 for none. Most of a tree has too few descendants to be either."""
        cursor, depth = self.root.walk(), 0
        while (node := cursor.node) is not None:
            if depth > _DEEPEST or node.child_count > _WIDEST:
                return node.start_point.row + 1
            if depth + node.descendant_count > _DEEPEST and cursor.goto_first_child():
                depth += 1
                continue
            while not cursor.goto_next_sibling():
                if not cursor.goto_parent():
                    return 0
                depth -= 1
        return 0
