"""Properties of a collection, on random caches: nothing that is marked goes, and a budget is met or nothing else is left."""

from hypothesis import given
from hypothesis import strategies as st

from gcinventories import NOW_NS, an_action, an_id, an_inventory, an_output
from go_cache_safeguard.gocache.budget import Budget, choose
from go_cache_safeguard.gocache.entry import Entry
from go_cache_safeguard.gocache.inventory import Inventory
from go_cache_safeguard.gocache.layout import action_name, output_name
from go_cache_safeguard.gocache.reach import Marks, Shelter, Use, mark

PAIRS = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 20), st.booleans(), st.booleans()), min_size=1, max_size=16
)
"""For each entry: which output it names, how many days ago it was used, whether a root needs it, whether it is pinned."""
SIZES = st.lists(st.integers(0, 10_000), min_size=7, max_size=7)
BUDGETS = st.builds(
    Budget,
    keep_bytes=st.none() | st.integers(0, 80_000),
    free_bytes=st.none() | st.integers(0, 80_000),
    reserve=st.integers(0, 20_000),
    evict_live=st.booleans(),
)


def build(pairs: list[tuple[int, int, bool, bool]], sizes: list[int]) -> tuple[Inventory, Marks]:
    actions = [an_action(an_id(100 + at), one[0], days=one[1]) for at, one in enumerate(pairs)]
    cache = an_inventory(actions, [an_output(key, size=size, days=3) for key, size in enumerate(sizes)])
    needed = frozenset(an_id(100 + at) for at, one in enumerate(pairs) if one[2])
    marks = mark(cache, [Use("root", needed)], (), Shelter(grace_s=86_400), names_in=lambda _output: (), now_ns=NOW_NS)
    marks.safe |= {an_id(100 + at): "pinned" for at, one in enumerate(pairs) if one[3]}
    return cache, marks


@given(PAIRS, SIZES, BUDGETS)
def test_nothing_that_stays_for_a_reason_loses_its_entry_or_its_output(
    pairs: list[tuple[int, int, bool, bool]], sizes: list[int], budget: Budget
) -> None:
    cache, marks = build(pairs, sizes)
    choice = choose(cache, marks, budget, price=lambda output: output.size / 1e6, grace_s=86_400, now_ns=NOW_NS)
    gone = {item.name for item in choice.items}
    assert len(gone) == len(choice.items)
    held = set(marks.safe) | (set() if budget.evict_live and budget.limits else set(marks.needed))
    for key in held:
        assert action_name(key) not in gone
        entry = cache.actions[key].entry
        assert isinstance(entry, Entry)
        assert output_name(entry.output) not in gone
    for key, named in cache.references.items():
        if output_name(key) in gone:
            assert all(action_name(action) in gone for action in named), "an output goes only after all its entries"


@given(PAIRS, SIZES, BUDGETS)
def test_a_budget_is_met_or_all_that_may_go_is_gone(
    pairs: list[tuple[int, int, bool, bool]], sizes: list[int], budget: Budget
) -> None:
    cache, marks = build(pairs, sizes)
    choice = choose(cache, marks, budget, price=lambda output: output.size / 1e6, grace_s=86_400, now_ns=NOW_NS)
    left = cache.size - choice.gone
    assert choice.gone == sum(item.size for item in choice.items)
    assert left >= min(budget.reserve, cache.size)
    gone = {item.name for item in choice.items}
    free = {key for key in cache.actions if key not in marks.safe and key not in marks.needed}
    wanted = budget.to_go(cache.size)
    if wanted is None:
        assert {action_name(key) for key in free} <= gone
    elif choice.gone < wanted and not budget.reserve:
        assert {action_name(key) for key in free} <= gone
        assert choice.short == wanted - choice.gone
