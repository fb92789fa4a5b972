"""However a cache is divided, nothing is lost and nothing counted twice."""

from hypothesis import given
from hypothesis import strategies as st

from go_cache_safeguard.gocache.classify import Kind
from go_cache_safeguard.gocache.inventory import Output
from go_cache_safeguard.gocache.xray import (
    Facet,
    Ground,
    directories,
    duplicates,
    facet_of,
    find_projects,
    gone,
    group,
)
from xrays import NOW_NS, inventory_of, made, plain

WORDS = st.sampled_from(["a", "m", "example.com", "cmd", "github.com", "x@v1.0.0", "..", "", "é", "fmt", "_test"])
PATHS = st.lists(WORDS, max_size=5).map("/".join)
SOURCES = st.none() | PATHS | PATHS.map("/{}".format) | PATHS.map("$GOROOT/src/{}".format)
OUTPUTS = st.builds(
    made,
    st.none() | st.just("main") | PATHS,
    SOURCES,
    size=st.integers(0, 1000),
    flags=st.sampled_from([(), ("-race",)]),
    shape=st.integers(0, 2),
) | st.builds(plain, st.sampled_from(Kind), size=st.integers(0, 9))


@given(st.lists(OUTPUTS, max_size=12), st.data())
def test_every_output_is_in_exactly_one_part_and_twins_never_save_all(
    outputs: list[Output], data: st.DataObject
) -> None:
    inventory = inventory_of(outputs)
    whole = sum(output.size for output in outputs)
    names = sorted(directories(inventory))
    roots = st.none() | st.sampled_from(["/", "/a", *names])
    grounds = {name: data.draw(st.builds(Ground, st.booleans(), roots, PATHS)) for name in names}
    projects = find_projects(inventory, grounds)
    assert projects.names.keys() == set(names)
    assert projects.gone <= set(projects.names.values())
    for facet in Facet:
        parts = group(inventory, facet, now_ns=NOW_NS, projects=projects)
        assert (sum(part.amount.files for part in parts), sum(part.amount.size for part in parts)) == (
            len(outputs),
            whole,
        )
        assert {part.name for part in parts} == {
            facet_of(one, facet, now_ns=NOW_NS, projects=projects) for one in outputs
        }
    assert sum(part.amount.size for part in gone(inventory, projects)) <= whole
    twins = duplicates(inventory)
    assert all(0 <= one.saved <= one.size and len(one.directories) > 1 for one in twins)
    assert sum(len(one.outputs) for one in twins) == len({output for one in twins for output in one.outputs})
