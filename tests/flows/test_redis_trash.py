"""What lies between a plan and its removal: batches, sameness, and a file that crashes may have cut off anywhere."""

from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.operation import Operation
from go_cache_safeguard.core.plan import Item, Plan, parse_plan
from go_cache_safeguard.flows.redis_plan import removed_lately, sooner
from go_cache_safeguard.flows.redis_removal import BATCH_BYTES, batches, is_same
from go_cache_safeguard.redis.client import Looked
from go_cache_safeguard.redis.keyname import place_name
from go_cache_safeguard.redis.trash import Captured, Frame, Header
from go_cache_safeguard.redis.trashfile import kept, open_trash, throw_away
from go_cache_safeguard.redis.trashlog import TrashLocked, TrashUnusable

OP = "op_0123456789abcdef"
HEADER = Header(OP, "redis://h:6379", "a" * 40, "b" * 64)
ITEMS = st.lists(
    st.builds(
        lambda db, key, size: Item(place_name(db, key), size, -1, "named"),
        st.integers(0, 3),
        st.binary(max_size=4),
        st.sampled_from([1, 100, BATCH_BYTES // 2, BATCH_BYTES * 2]),
    ),
    unique_by=lambda item: item.name,
)


@given(items=ITEMS, most=st.integers(1, 5), slots=st.integers(1, 3))
def test_every_item_is_in_one_batch_of_its_own_database_and_slot(items: list[Item], most: int, slots: int) -> None:
    found = list(batches(items, most, lambda key: len(key) % slots))
    assert sorted(item.name for _, batch in found for item in batch.values()) == sorted(item.name for item in items)
    for db, batch in found:
        assert len(batch) <= most
        assert len({len(key) % slots for key in batch}) == 1
        assert all(item.name == place_name(db, key) for key, item in batch.items())
        assert len(batch) == 1 or sum(item.size for item in batch.values()) <= BATCH_BYTES


@pytest.mark.parametrize(
    ("stamp", "end", "dump", "same"),
    [
        (-1, -1, b"d", True),
        (-1, -1, b"e", False),
        (-1, 5_000, b"d", False),
        (5_000, -1, b"d", False),
        (5_000, 5_004, b"d", True),
        (5_000, 6_000, b"d", False),
        (-1, -1, None, False),
        (-1, None, b"d", False),
    ],
)
def test_a_key_is_what_was_approved_only_with_the_same_value_and_end(
    stamp: int, end: int | None, dump: bytes | None, *, same: bool
) -> None:
    assert is_same(Item("0/k", 1, stamp, "named", sha256(b"d").hexdigest()), Looked(b"k", end, dump)) is same
    assert not is_same(Item("0/k", 1, stamp, "named"), Looked(b"k", end, dump))


def test_of_two_keys_of_one_name_the_worse_is_told() -> None:
    assert [sooner(5, 9), sooner(-1, 9), sooner(-2, -1), sooner(None, 5), sooner(-2, -2)] == [5, 9, -1, None, -2]


def test_only_keys_of_servers_of_the_same_person_and_minute_are_counted() -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    data: dict[str, object] = {"kind": "redis", "receipt": {"moved": 7}}

    def one(who: str, at: str, known: dict[str, object]) -> Operation:
        return Operation(OP, State.DONE, who, at, at, known)

    recent, old = "2026-01-02T03:03:30.000000Z", "2026-01-02T03:00:00.000000Z"
    known = [
        one("a", recent, data),
        one("a", old, data),
        one("b", recent, data),
        one("a", recent, {"receipt": {"moved": 9}}),
    ]
    assert removed_lately(known, "a", now) == 7


def test_a_plan_of_keys_keeps_the_digests_of_values_and_old_plans_stay_what_they_were() -> None:
    items = (Item("0/a", 1, -1, "named", "d" * 64), Item("0/b", 1, -1, "named"))
    plan = Plan("redis", "redis://h:1", "run", (), "me", "now", 2, items)
    assert parse_plan(plan.data).items == items
    assert b'["0/b",1,-1,0]' in plan.data
    for bad in (b'["0/b",1,-1,0,1]', b'["0/b",1,-1,0,"x","y"]', b'["0/b",1,-1,0,""]'):
        with pytest.raises(Exception, match=r"damaged|edited"):
            parse_plan(plan.data.replace(b'["0/b",1,-1,0]', bad))


def _written(folder: Path) -> bytes:
    with open_trash(folder, OP, new=True) as file:
        file.begin(HEADER)
        file.keep([Captured(0, b"a", -1, b"first"), Captured(0, b"b", 5, b"")])
        file.tell(Frame.REMOVED)
        file.keep([Captured(1, b"a", -1, b"second")])
        file.tell(Frame.STAYED)
        file.keep([Captured(1, b"a", -1, b"third")])
        file.tell(Frame.REMOVED)
        path = file.path
    return path.read_bytes()


@pytest.mark.parametrize("zeros", [0, 1, 500])
def test_a_file_that_a_crash_cut_off_anywhere_tells_what_it_has_and_goes_on(tmp_path: Path, zeros: int) -> None:
    whole = _written(tmp_path)
    for length in range(len(whole) + 1):
        path = tmp_path / f"{OP}.values"
        path.write_bytes(whole[:length] + bytes(zeros if length < len(whole) else 0))
        with open_trash(tmp_path, OP) as file:
            try:
                told = file.told()
            except TrashUnusable:
                assert zeros  # half a frame, and then the zeros of a lost block: that is damage
                continue
            assert not told.removed.keys() - {(0, b"a"), (0, b"b"), (1, b"a")}
            if file.size and told.removed:
                file.begin(HEADER)
                file.tell(Frame.STAYED)
                file.keep([Captured(2, b"new", -1, b"value")])
                file.tell(Frame.REMOVED)
                assert (2, b"new") in file.told().removed


def test_of_two_copies_of_a_key_the_last_is_put_back(tmp_path: Path) -> None:
    _written(tmp_path)
    with open_trash(tmp_path, OP) as file:
        assert [(one.db, one.key, one.dump) for one in file.values()] == [
            (0, b"a", b"first"),
            (0, b"b", b""),
            (1, b"a", b"third"),
        ]


def test_a_file_is_of_one_operation_and_one_process(tmp_path: Path) -> None:
    _written(tmp_path)
    with open_trash(tmp_path, OP) as file:
        with pytest.raises(TrashLocked):
            open_trash(tmp_path, OP)
        with pytest.raises(TrashLocked):
            throw_away(tmp_path, OP)
        with pytest.raises(TrashUnusable):
            file.begin(Header(OP, "redis://other:1", "a" * 40, "b" * 64))
    assert (tmp_path / f"{OP}.values").stat().st_mode & 0o777 == 0o600
    assert [one.op for one in kept(tmp_path)] == [OP]
    assert throw_away(tmp_path, OP) > 0
    assert (kept(tmp_path), throw_away(tmp_path, OP)) == ([], 0)
    with pytest.raises(TrashUnusable):
        open_trash(tmp_path, "../etc", new=True)
