"""Plans of any content: read as written; and no changed byte is read as the same plan."""

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from go_cache_safeguard.core.errors import PlanVoid
from go_cache_safeguard.core.plan import Item, Plan, parse_plan

NUMBERS = st.integers(0, 2**63 - 1)
TEXT = st.text(max_size=12)
# Any text that Python can make of a path, bytes that are not UTF-8 included (surrogate escapes).
PATHS = st.binary(max_size=12).map(lambda name: name.decode("utf-8", "surrogateescape"))
ITEMS = st.lists(st.builds(Item, PATHS, NUMBERS, NUMBERS, TEXT), unique_by=lambda item: item.name, max_size=6)
PLANS = st.builds(
    Plan,
    kind=TEXT,
    target=PATHS,
    identity=TEXT,
    selectors=st.lists(TEXT, max_size=3).map(tuple),
    requester=TEXT,
    made_at=TEXT,
    whole=NUMBERS,
    items=ITEMS.map(lambda items: tuple(sorted(items, key=lambda item: item.name))),
)


@given(PLANS)
def test_a_plan_is_read_as_it_was_written(plan: Plan) -> None:
    again = parse_plan(plan.data)
    assert again == plan
    assert (again.digest, again.total) == (plan.digest, plan.total)


@given(PLANS, st.data())
def test_no_flipped_bit_is_read_as_the_same_plan(plan: Plan, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(plan.data) - 1))
    flipped = bytearray(plan.data)
    flipped[at] ^= 1 << data.draw(st.integers(0, 7))
    with contextlib.suppress(PlanVoid):
        assert parse_plan(bytes(flipped)).digest != plan.digest


@given(
    st.binary() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda value: str(value).encode())
)
def test_any_bytes_are_a_plan_or_void_and_nothing_else_is_raised(data: bytes) -> None:
    with contextlib.suppress(PlanVoid):
        parse_plan(data)


@given(PLANS, st.integers(0, 10_000))
def test_a_plan_cut_short_is_void(plan: Plan, cut: int) -> None:
    short = plan.data[: cut % len(plan.data)]
    try:
        parse_plan(short)
    except PlanVoid:
        return
    raise AssertionError(short)
