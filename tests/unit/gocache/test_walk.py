"""Walking through a cache, and what goes with a mark."""

from hypothesis import given
from hypothesis import strategies as st

from go_cache_safeguard.gocache.classify import Kind
from go_cache_safeguard.gocache.entry import Entry
from go_cache_safeguard.gocache.inventory import Action, Inventory, Output, Shape, kind_of
from go_cache_safeguard.gocache.walk import ORDER, Grid, items_of, next_facet
from go_cache_safeguard.gocache.xray import Facet


def _output(number: int, kind: Kind = Kind.ARCHIVE, size: int = 10) -> Output:
    return Output(bytes([number]) * 32, size, 4096, 1000 + number, 0o644, is_dir=False, kind=kind, about=None, shape=Shape.FILE, ino=number, ctime_ns=0)  # fmt: skip


def _grid(*outputs: Output) -> Grid:
    namers = {facet: lambda output: str(output.size) for facet in ORDER} | {Facet.KIND: kind_of}
    return Grid(outputs, namers)


def test_a_place_is_divided_and_the_largest_part_comes_first() -> None:
    grid = _grid(_output(1), _output(2, Kind.INDEX, 30), _output(3, Kind.INDEX, 5))
    assert [(row.name, row.files, row.size) for row in grid.rows((), Facet.KIND)] == [
        ("index", 2, 35),
        ("archive", 1, 10),
    ]
    assert [row.name for row in grid.rows(((Facet.KIND, "index"),), Facet.AGE)] == ["30", "5"]
    assert [row.name for row in grid.rows((), Facet.KIND, like="ARCH")] == ["archive"]


def test_a_mark_that_is_set_twice_is_taken_away() -> None:
    grid = _grid(_output(1), _output(2, Kind.INDEX))
    index = grid.ids(((Facet.KIND, "index"),))
    grid.toggle(index)
    assert grid.marked() == (1, 10)
    assert [(row.name, row.marked) for row in grid.rows((), Facet.KIND)] == [("archive", 0), ("index", 1)]
    grid.toggle(grid.ids(()))
    assert grid.marked() == (2, 20)
    grid.toggle(index)
    assert grid.marked() == (1, 10)


def test_every_side_is_used_once() -> None:
    place: tuple[tuple[Facet, str], ...] = ()
    while (facet := next_facet(place)) is not None:
        place = (*place, (facet, "x"))
    assert [facet for facet, _ in place] == list(ORDER)


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 9)), unique_by=lambda pair: pair[0]),
    st.sets(st.integers(0, 9)),
)
def test_with_an_output_goes_every_entry_that_names_it_and_nothing_else(
    pairs: list[tuple[int, int]], marked: set[int]
) -> None:
    outputs = {bytes([number]) * 32: _output(number) for number in range(8)}
    actions = {
        bytes([100 + number]) * 32: Action(
            bytes([100 + number]) * 32,
            175,
            0,
            Entry(bytes([100 + number]) * 32, bytes([output]) * 32, 10, 0),
            0,
            0,
            4096,
        )
        for number, output in pairs
    }
    marks = {bytes([number]) * 32 for number in marked}
    items = items_of(Inventory("/c", "1:2", actions, outputs), marks)
    there = {number for number in marked if number < 8}
    gone = {item.name[3:67] for item in items if item.name.endswith("-d")}
    assert gone == {(bytes([number]) * 32).hex() for number in there}
    entries = {item.name[3:67] for item in items if item.name.endswith("-a")}
    assert entries == {(bytes([100 + number]) * 32).hex() for number, output in pairs if output in there}
    assert list(items) == sorted(items)
