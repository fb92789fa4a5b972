"""Walking through a build cache: a place is a chain of sides and words, and what lies there can be divided and marked.

Knows:     what lies at a place, how it is divided next, and which entries go with marked outputs.
Called by: `cli.browser`, which shows it; `cli.browse` makes a plan of the marks.
Never:     touches the cache, or marks what cannot be seen at the place where the mark was set.
Source:    an output is of no use without an entry that names it, and an entry not without its output: cmd/go/internal/cache/cache.go
           `get`, go1.21 to go1.27.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from go_cache_safeguard.core.plan import Item
from go_cache_safeguard.gocache.inventory import Inventory, Output
from go_cache_safeguard.gocache.layout import action_name, output_name
from go_cache_safeguard.gocache.xray import Facet

ORDER = (
    Facet.PROJECT,
    Facet.PACKAGE,
    Facet.KIND,
    Facet.TOOLCHAIN,
    Facet.TARGET,
    Facet.FLAGS,
    Facet.RACE,
    Facet.AGE,
)
"""Which side comes next when nobody says otherwise."""
_REASON = "marked by hand"

Place = tuple[tuple[Facet, str], ...]
"""How one came here: `((PROJECT, "/src/shop"), (KIND, "archive"))`; empty at the top."""


@dataclass(frozen=True, slots=True)
class Row:
    """One part of what lies at a place.

    Attributes:
        name: The word for it.
        files: Outputs in it.
        size: Bytes, apparent.
        marked: How many of them are marked.
        used_ns: When one of them was last used.
    """

    name: str
    files: int
    size: int
    marked: int
    used_ns: int


@dataclass
class Grid:
    """All outputs with their words on every side; words of a side are made when somebody first asks for them.

    Attributes:
        outputs: In any order, which stays.
        namers: The word of an output on each side.
        marks: Ids of marked outputs.
    """

    outputs: Sequence[Output]
    namers: Mapping[Facet, Callable[[Output], str]]
    marks: set[bytes] = field(default_factory=set)
    _words: dict[Facet, list[str]] = field(default_factory=dict)

    def at(self, place: Place) -> list[int]:
        """Which outputs lie at a place, as numbers in `outputs`."""
        found: Iterable[int] = range(len(self.outputs))
        for facet, word in place:
            words = self._words_of(facet)
            found = [number for number in found if words[number] == word]
        return list(found)

    def rows(self, place: Place, facet: Facet, *, like: str = "") -> list[Row]:
        """What lies at a place, divided; the largest part first.

        Args:
            place: Where.
            facet: By what.
            like: Only parts whose word has this in it, whatever the case.
        """
        words, wanted = self._words_of(facet), like.casefold()
        parts: dict[str, list[int]] = {}
        for number in self.at(place):
            parts.setdefault(words[number], []).append(number)
        rows = [self._row(word, numbers) for word, numbers in parts.items() if wanted in word.casefold()]
        return sorted(rows, key=lambda row: (-row.size, row.name))

    def ids(self, place: Place) -> frozenset[bytes]:
        """Ids of the outputs at a place."""
        return frozenset(self.outputs[number].output for number in self.at(place))

    def toggle(self, ids: Collection[bytes]) -> None:
        """Mark all of these; if all of them are marked, take the marks away."""
        if self.marks.issuperset(ids):
            self.marks.difference_update(ids)
        else:
            self.marks.update(ids)

    def marked(self) -> tuple[int, int]:
        """How many outputs are marked, and their bytes."""
        sizes = [output.size for output in self.outputs if output.output in self.marks]
        return len(sizes), sum(sizes)

    def _row(self, word: str, numbers: Sequence[int]) -> Row:
        these = [self.outputs[number] for number in numbers]
        return Row(
            word,
            len(these),
            sum(output.size for output in these),
            sum(output.output in self.marks for output in these),
            max(output.mtime_ns for output in these),
        )

    def _words_of(self, facet: Facet) -> list[str]:
        if facet not in self._words:
            namer = self.namers[facet]
            self._words[facet] = [namer(output) for output in self.outputs]
        return self._words[facet]


def next_facet(place: Place) -> Facet | None:
    """The side by which a place is divided unless somebody says otherwise; None when all are used."""
    used = {facet for facet, _word in place}
    return next((facet for facet in ORDER if facet not in used), None)


def items_of(inventory: Inventory, marks: Collection[bytes]) -> tuple[Item, ...]:
    """What goes with marked outputs: they, and every index entry that names one of them. Sorted by name.

    Args:
        inventory: What is there.
        marks: Ids of outputs; those that are not there are passed over.
    """
    items = []
    for mark in marks:
        output = inventory.outputs.get(mark)
        if output is None:
            continue
        items.append(Item(output_name(mark), output.size, output.mtime_ns, _REASON))
        for key in inventory.references.get(mark, ()):
            action = inventory.actions[key]
            items.append(Item(action_name(key), action.size, action.mtime_ns, _REASON))
    return tuple(sorted(items))
