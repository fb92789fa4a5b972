"""The graph of packages against the plainest way to say the same, for graphs of any form."""

from hypothesis import given
from hypothesis import strategies as st

from go_cache_safeguard.gocache.cost import Cost
from go_cache_safeguard.gocache.graph import Edit, Found, Graph, Node

EDGES = st.integers(1, 9).flatmap(
    lambda size: st.lists(st.sets(st.integers(0, size - 1), max_size=4), min_size=size, max_size=size)
)


def graph_of(edges: list[set[int]]) -> Graph:
    """Package `p3` imports whatever the third set says; every third is a program, every fourth has nothing to compile."""

    def node(number: int) -> Node:
        needs = tuple(f"p{need}" for need in sorted(edges[number]))
        found = Found.NONE if number % 4 == 3 else Found.HIT
        cost = Cost(2.0**number, True, 2.0**number, 2.0**number)  # noqa: FBT003 - a row
        return Node(f"p{number}", "", False, "m", number % 3 == 0, True, needs, found, "h", None, cost, cost, "")  # noqa: FBT003 - a row

    return Graph(map(node, range(len(edges))))


def reached(edges: list[set[int]], begin: int) -> set[int]:
    """Whoever needs it, by going from one to the next until nobody is new; perhaps itself."""
    found: set[int] = set()
    while True:
        more = {number for number, needs in enumerate(edges) if needs & (found | {begin})} - found
        if not more:
            return found
        found |= more


@given(EDGES)
def test_dependents_and_edits_are_what_going_step_by_step_finds(edges: list[set[int]]) -> None:
    graph = graph_of(edges)
    for number in range(len(edges)):
        name = f"p{number}"
        above = reached(edges, number)
        assert set(graph.dependents(name)) == {f"p{one}" for one in above - {number}}
        away = graph.distances(name)
        assert away.keys() == {f"p{one}" for one in above - {number}}
        assert all(distance >= 1 for distance in away.values())
        users = {one for one, needs in enumerate(edges) if number in needs}
        nothing = number % 4 == 3
        expected = {
            Edit.COMMENT: {number},
            Edit.BODY: {number} | users,
            Edit.API: {number} | above,
        }
        for edit, numbers in expected.items():
            assert set(graph.compiled(name, edit)) == (set() if nothing else {f"p{one}" for one in numbers})


@given(EDGES)
def test_each_kind_of_edit_reaches_as_far_as_the_one_before_and_sums_are_those_of_its_packages(
    edges: list[set[int]],
) -> None:
    graph = graph_of(edges)
    for blast in graph.ranking():
        reaches = [blast.reaches[edit] for edit in (Edit.COMMENT, Edit.BODY, Edit.API)]
        assert sorted(reach.compiled for reach in reaches) == [reach.compiled for reach in reaches]
        for edit, reach in blast.reaches.items():
            names = [name for name in graph.compiled(blast.package, edit) if graph.nodes[name].found is not Found.NONE]
            assert reach.compiled == len(names)
            assert reach.cost.seconds == sum(2.0 ** int(name[1:]) for name in names)
        assert blast.saved[2] == reaches[2].cost.seconds - reaches[1].cost.seconds
