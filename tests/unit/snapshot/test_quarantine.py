"""The door, on real directories: what it moves, what it leaves, what it refuses, and what it says about it."""

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from go_cache_safeguard.core.errors import ExitCode, PlanVoid
from go_cache_safeguard.core.plan import Item
from go_cache_safeguard.snapshot.quarantine import (
    NoOperation,
    NotAllowed,
    Quarantine,
    QuarantineFailed,
    _move_new_by_link,
    open_quarantine,
)
from go_cache_safeguard.snapshot.receipt import Purged, PutBack, Stored, Taken
from go_cache_safeguard.tree.place import Locked, NoPlace
from go_cache_safeguard.tree.root import open_root
from otherusers import reveal
from smallcaches import ALLOWED, DAY_NS, NOW_NS, OLD_NS, OP, OTHER_OP, SmallCache, entries, small_cache

NOBODY = 65_534
YOUNG_NS = NOW_NS - 10**9


@pytest.fixture
def cache(tmp_path: Path) -> SmallCache:
    """Three shards with two entries and two outputs each, and one cached program."""
    return small_cache(tmp_path / "parent" / "cache")


@contextmanager
def door(cache: SmallCache, *, exclusive: bool = True) -> Iterator[Quarantine]:
    with open_root(cache.root) as root, open_quarantine(root, allowed=ALLOWED, exclusive=exclusive) as quarantine:
        yield quarantine


def stopping_after(count: int) -> Callable[[], bool]:
    answers = iter([False] * count)
    return lambda: next(answers, True)


def quarantined(cache: SmallCache, op: str = OP) -> dict[str, bytes]:
    return entries(cache.place / op / "files")


def taken(cache: SmallCache, quarantine: Quarantine) -> None:
    """Take everything, one by one."""
    plan = cache.plan()
    quarantine.prepare(OP, plan.data)
    assert quarantine.take(OP, plan.items).moved == len(plan.items)


# ---- opening


def test_while_one_works_another_may_only_look(cache: SmallCache) -> None:
    with door(cache) as first:
        taken(cache, first)
        with pytest.raises(Locked), door(cache):
            pass
        with door(cache, exclusive=False) as looking:
            assert [stored.op for stored in looking.stored()] == [OP]
            with pytest.raises(NotAllowed, match="look only"):
                looking.put_back(OP, now_ns=NOW_NS)


def test_a_cache_that_was_never_cleaned_has_no_quarantine(cache: SmallCache) -> None:
    with pytest.raises(NoPlace), open_root(cache.root) as root, open_quarantine(root, allowed=ALLOWED, create=False):
        pass


def test_another_place_on_the_same_mount_will_do(cache: SmallCache) -> None:
    place = cache.root / ".safeguard"
    plan = cache.plan()
    with open_root(cache.root) as root, open_quarantine(root, allowed=ALLOWED, place=place) as quarantine:
        quarantine.prepare(OP, plan.data)
        assert quarantine.take(OP, plan.items).moved == len(plan.items)
        assert entries(place / OP / "files") == cache.contents
        assert quarantine.put_back(OP, now_ns=NOW_NS).restored == len(plan.items)


# ---- preparing


def test_a_prepared_plan_can_be_read_and_prepared_again(cache: SmallCache) -> None:
    data = cache.plan().data
    with door(cache) as quarantine:
        quarantine.prepare(OP, data)
        quarantine.prepare(OP, data)
        assert quarantine.plan_data(OP) == data
        with pytest.raises(PlanVoid, match="another plan"):
            quarantine.prepare(OP, data + b" ")
        assert quarantine.plan_data(OP) == data


def test_what_a_killed_prepare_left_is_written_over(cache: SmallCache) -> None:
    with door(cache) as quarantine:
        (cache.place / OP).mkdir()
        (cache.place / OP / "plan.json.partial").write_bytes(b"half a plan that was longer" * 1000)
        assert quarantine.put_back(OP, now_ns=NOW_NS) == PutBack()
        quarantine.prepare(OP, b"{}")
        assert quarantine.plan_data(OP) == b"{}"


@pytest.mark.parametrize("op", ["", "op_", "../../etc", "op_0123456789ABCDEF", f"{OP}/..", f"{OP}\n"])
def test_what_is_no_operation_id_never_becomes_a_path(cache: SmallCache, op: str) -> None:
    with door(cache) as quarantine:
        for act in (
            lambda: quarantine.prepare(op, b""),
            lambda: quarantine.take(op, ()),
            lambda: quarantine.put_back(op, now_ns=0),
            lambda: quarantine.purge(op, only=()),
            lambda: quarantine.plan_data(op),
            lambda: quarantine.left(op),
        ):
            with pytest.raises(NotAllowed) as caught:
                act()
            assert caught.value.exit_code is ExitCode.REFUSED


def test_a_planted_link_is_not_written_as_a_plan(cache: SmallCache, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    with door(cache) as quarantine:
        (cache.place / OP).mkdir()
        (cache.place / OP / "plan.json.partial").hardlink_to(victim)
        with pytest.raises(QuarantineFailed, match="plain file"):
            quarantine.prepare(OP, b"{}")
    assert victim.read_text() == "precious"


@pytest.mark.root
def test_a_full_disk_leaves_nothing_behind_and_nothing_moved(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    code = f"""
import subprocess
from pathlib import Path
from smallcaches import ALLOWED, OP, entries, small_cache
from go_cache_safeguard.snapshot.quarantine import QuarantineFailed, open_quarantine
from go_cache_safeguard.tree.root import open_root
disk = Path({str(tmp_path)!r}) / "disk"
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], check=True)
cache = small_cache(disk / "cache")
with open_root(cache.root) as root, open_quarantine(root, allowed=ALLOWED) as quarantine:
    try:
        quarantine.prepare(OP, b"x" * 400_000)
    except QuarantineFailed as failure:
        assert "No space" in failure.what, failure.what
    else:
        raise SystemExit("it fitted")
    assert quarantine.stored() == []
assert entries(cache.root) == cache.contents
"""
    alone(code)


def alone(code: str) -> None:
    """Run in an own mount namespace, so that no mount is seen elsewhere or survives."""
    paths = os.pathsep.join(path for path in sys.path if path)
    subprocess.run(["unshare", "-m", sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": paths})


# ---- taking


def test_everything_moves_and_everything_comes_back(cache: SmallCache) -> None:
    plan = cache.plan()
    told: list[int] = []
    with door(cache) as quarantine:
        quarantine.prepare(OP, plan.data)
        assert quarantine.take(OP, plan.items, progress=told.append) == Taken(len(plan.items), plan.total)
        assert told == sorted(told)
        assert told[-1] == len(plan.items)
        assert entries(cache.root) == {}
        assert quarantined(cache) == cache.contents
        assert quarantine.left(OP) == (len(plan.items), plan.total)
        assert quarantine.put_back(OP, now_ns=NOW_NS) == PutBack(len(plan.items), plan.total)
        assert quarantine.left(OP) == (0, 0)
    assert entries(cache.root) == cache.contents
    assert (cache.root / "README").exists()


def test_what_changed_or_went_since_is_left_and_named(cache: SmallCache) -> None:
    plan = cache.plan()
    younger, longer, gone = (item.name for item in plan.items[:3])
    os.utime(cache.root / younger, ns=(1, 1))
    (cache.root / longer).write_bytes(b"longer than it was before")
    os.utime(cache.root / longer, ns=(OLD_NS, OLD_NS))
    (cache.root / gone).unlink()
    with door(cache) as quarantine:
        quarantine.prepare(OP, plan.data)
        result = quarantine.take(OP, plan.items)
    assert set(result.changed) == {younger, longer}
    assert result.missing == (gone,)
    assert result.moved == len(plan.items) - 3
    assert set(entries(cache.root)) == {younger, longer}
    assert set(quarantined(cache)) == set(cache.contents) - {younger, longer, gone}


def test_what_is_neither_file_nor_program_stays(cache: SmallCache, tmp_path: Path) -> None:
    plan = cache.plan()
    pipe, link, odd, grown = [item.name for item in plan.items if item.name.endswith("-d")][:4]
    victim = tmp_path / "victim"
    victim.mkdir()
    for name in (pipe, link, odd, grown):
        path = cache.root / name
        if path.is_dir():
            (path / "tool").unlink()
            path.rmdir()
        else:
            path.unlink()
    os.mkfifo(cache.root / pipe)
    (cache.root / link).symlink_to(victim)
    (cache.root / odd / "inner").mkdir(parents=True)
    (cache.root / grown).mkdir()
    (cache.root / grown / "tool").write_bytes(b"another program of another size")
    for name in (pipe, link, odd, grown):
        os.utime(cache.root / name, ns=(OLD_NS, OLD_NS), follow_symlinks=False)
    with door(cache) as quarantine:
        quarantine.prepare(OP, plan.data)
        result = quarantine.take(OP, plan.items)
    assert {name for name, _ in result.failed} == {pipe, link, odd, grown}
    assert result.moved == len(plan.items) - 4
    assert {path.name for path in cache.root.glob("*/*")} == {name[3:] for name in (pipe, link, odd, grown)}


def test_a_shard_that_is_a_link_is_left_with_all_it_shows(cache: SmallCache, tmp_path: Path) -> None:
    plan = cache.plan()
    victim = tmp_path / "victim"
    (cache.root / "00").rename(victim)
    (cache.root / "00").symlink_to(victim)
    before = sorted(path.name for path in victim.iterdir())
    with door(cache) as quarantine:
        quarantine.prepare(OP, plan.data)
        result = quarantine.take(OP, plan.items)
    assert {name for name, _ in result.failed} == {name for name in cache.contents if name.startswith("00/")}
    assert sorted(path.name for path in victim.iterdir()) == before


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "00/..",
        "00/.",
        "/etc/passwd",
        "README",
        "trim.txt",
        "fuzz/x",
        "00/notes.txt",
        "00",
        "",
        "00/\0",
        "0a/0b",
    ],
)
def test_one_name_that_is_not_allowed_refuses_the_whole(cache: SmallCache, name: str) -> None:
    plan = cache.plan()
    with door(cache) as quarantine:
        quarantine.prepare(OP, plan.data)
        with pytest.raises(NotAllowed, match="not the name of a cache entry"):
            quarantine.take(OP, [*plan.items, Item(name, 1, 1, "all")])
    assert entries(cache.root) == cache.contents


def test_a_stop_gives_a_true_partial_answer(cache: SmallCache) -> None:
    plan = cache.plan()
    with door(cache) as quarantine:
        quarantine.prepare(OP, plan.data)
        result = quarantine.take(OP, plan.items, stop=stopping_after(2))
        assert result.stopped
        assert result.moved == len(quarantined(cache)) < len(plan.items)
        assert entries(cache.root) | quarantined(cache) == cache.contents
        again = quarantine.take(OP, plan.items)
        assert not again.stopped
        assert result.moved + again.moved == len(plan.items)


def test_an_operation_that_was_not_prepared_takes_nothing(cache: SmallCache) -> None:
    with door(cache) as quarantine, pytest.raises(NoOperation):
        quarantine.take(OP, cache.plan().items)
    assert entries(cache.root) == cache.contents


def test_index_entries_go_before_outputs(cache: SmallCache) -> None:
    plan = cache.plan()
    index = [name for name in cache.contents if name.endswith("-a")]
    with door(cache) as quarantine:
        quarantine.prepare(OP, plan.data)
        calls = 3 + len(index)  # asked once before each of three shards, and before each entry
        assert quarantine.take(OP, plan.items, stop=stopping_after(calls)).moved == len(index)
        assert set(quarantined(cache)) == set(index)


def test_one_of_the_same_name_in_quarantine_is_never_replaced(cache: SmallCache) -> None:
    with door(cache) as quarantine:
        taken(cache, quarantine)
        name = min(cache.contents)
        (cache.root / name).write_bytes(b"another")
        os.utime(cache.root / name, ns=(OLD_NS, OLD_NS))
        result = quarantine.take(OP, [Item(name, 7, OLD_NS, "all")])
        assert "in quarantine already" in result.failed[0][1]
    assert quarantined(cache) == cache.contents
    assert entries(cache.root) == {name: b"another"}


@pytest.mark.root
def test_what_permission_forbids_is_left_and_named(cache: SmallCache, tmp_path: Path) -> None:
    give(cache, NOBODY)
    os.chown(cache.root / "01", 0, 0)
    (cache.root / "01").chmod(0o755)
    plan = cache.plan()
    reveal(tmp_path)
    with door(cache) as quarantine:
        quarantine.prepare(OP, plan.data)
        result = quarantine.take(OP, plan.items)
    assert {name for name, _ in result.failed} == {name for name in cache.contents if name.startswith("01/")}
    assert all("EACCES" in why for _, why in result.failed)


# ---- putting back


def test_what_was_not_used_for_a_day_comes_back_as_used_now(cache: SmallCache) -> None:
    young = min(cache.contents)
    os.utime(cache.root / young, ns=(YOUNG_NS, YOUNG_NS))
    with door(cache) as quarantine:
        taken(cache, quarantine)
        quarantine.put_back(OP, now_ns=NOW_NS)
    for name in cache.contents:
        assert (cache.root / name).stat().st_mtime_ns == (YOUNG_NS if name == young else NOW_NS)
    assert (cache.root / "trim.txt").read_bytes() == str(NOW_NS // 10**9).encode()


def test_what_the_cache_has_again_is_never_overwritten(cache: SmallCache) -> None:
    entry, output = (min(name for name in cache.contents if name.endswith(kind)) for kind in ("-a", "-d"))
    with door(cache) as quarantine:
        taken(cache, quarantine)
        (cache.root / entry).write_bytes(b"newer")
        (cache.root / output).write_bytes(b"rebuilt")
        result = quarantine.put_back(OP, now_ns=NOW_NS)
        assert (result.restored, result.newer) == (len(cache.contents) - 2, 2)
        assert quarantine.put_back(OP, now_ns=NOW_NS).newer == 2
        assert quarantine.left(OP)[0] == 2
    assert entries(cache.root) == cache.contents | {entry: b"newer", output: b"rebuilt"}
    assert set(quarantined(cache)) == {entry, output}


def test_an_absent_shard_is_made_again(cache: SmallCache) -> None:
    with door(cache) as quarantine:
        taken(cache, quarantine)
        (cache.root / "00").rmdir()
        (cache.root / "01").chmod(0o700)  # not alike: its entries go one by one
        assert quarantine.put_back(OP, now_ns=NOW_NS).restored == len(cache.contents)
    assert entries(cache.root) == cache.contents


def test_some_can_be_put_back_and_the_rest_stays(cache: SmallCache) -> None:
    some = frozenset(sorted(cache.contents)[::3])
    with door(cache) as quarantine:
        taken(cache, quarantine)
        assert quarantine.put_back(OP, now_ns=NOW_NS, only=some).restored == len(some)
        assert set(entries(cache.root)) == some
        assert quarantine.put_back(OP, now_ns=NOW_NS).restored == len(cache.contents) - len(some)
    assert entries(cache.root) == cache.contents


def test_a_foreign_name_that_was_carried_along_goes_back_as_it_is(cache: SmallCache) -> None:
    with door(cache) as quarantine:
        taken(cache, quarantine)
        carried = cache.place / OP / "files" / "00" / "notes.txt"
        carried.write_text("mine")
        os.utime(carried, ns=(1, 1))
        quarantine.put_back(OP, now_ns=NOW_NS)
    assert (cache.root / "00" / "notes.txt").stat().st_mtime_ns == 1
    assert entries(cache.root) == cache.contents | {"00/notes.txt": b"mine"}


def test_a_shard_that_became_a_link_gets_nothing(cache: SmallCache, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    with door(cache) as quarantine:
        taken(cache, quarantine)
        (cache.root / "00").rmdir()
        (cache.root / "00").symlink_to(victim)
        result = quarantine.put_back(OP, now_ns=NOW_NS)
        assert {name for name, _ in result.failed} == {"00"}
    assert not list(victim.iterdir())
    assert set(quarantined(cache)) == {name for name in cache.contents if name.startswith("00/")}


def test_an_odd_name_among_the_shards_stays_and_is_named(cache: SmallCache) -> None:
    with door(cache) as quarantine:
        taken(cache, quarantine)
        (cache.place / OP / "files" / "odd").mkdir()
        assert quarantine.put_back(OP, now_ns=NOW_NS).failed == (("odd", "it is not the name of a shard"),)
    assert entries(cache.root) == cache.contents


def test_a_stopped_way_back_can_be_finished(cache: SmallCache) -> None:
    with door(cache) as quarantine:
        taken(cache, quarantine)
        for count in range(1, 5):
            result = quarantine.put_back(OP, now_ns=NOW_NS, stop=stopping_after(count))
            assert result.stopped or not quarantined(cache)
            assert entries(cache.root) | quarantined(cache) == cache.contents
        quarantine.put_back(OP, now_ns=NOW_NS)
    assert entries(cache.root) == cache.contents


def test_a_busy_or_odd_trim_time_is_left_with_a_note(cache: SmallCache, tmp_path: Path) -> None:
    trim = cache.root / "trim.txt"
    with door(cache) as quarantine:
        taken(cache, quarantine)
        with trim.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            assert "locked" in quarantine.put_back(OP, now_ns=NOW_NS).notes[0]
        (tmp_path / "other").hardlink_to(trim)
        assert "not a plain file" in quarantine.put_back(OP, now_ns=NOW_NS).notes[0]
        assert trim.read_text() == "1000000000"
        trim.unlink()
        trim.symlink_to(tmp_path / "other")
        assert "could not be opened" in quarantine.put_back(OP, now_ns=NOW_NS).notes[0]
        trim.unlink()
        assert quarantine.put_back(OP, now_ns=NOW_NS).notes == ()
    assert trim.read_text() == str(NOW_NS // 10**9)
    assert (tmp_path / "other").read_text() == "1000000000"


def test_an_operation_that_is_not_there_cannot_be_put_back(cache: SmallCache) -> None:
    with door(cache) as quarantine, pytest.raises(NoOperation):
        quarantine.put_back(OP, now_ns=NOW_NS)


# ---- looking


def test_all_operations_are_listed_and_other_names_are_not(cache: SmallCache) -> None:
    index, rest = (cache.plan([n for n in cache.contents if n.endswith("-a") is which]) for which in (True, False))
    with door(cache) as quarantine:
        for op, plan in ((OTHER_OP, rest), (OP, index)):
            quarantine.prepare(op, plan.data)
            quarantine.take(op, plan.items)
        (cache.place / "op_other").mkdir()
        assert quarantine.stored() == [
            Stored(OP, len(index.items), index.total, index.data),
            Stored(OTHER_OP, len(rest.items), rest.total, rest.data),
        ]
        (cache.place / OP / "plan.json").unlink()
        assert quarantine.stored()[0].plan_data is None
        with pytest.raises(NoOperation):
            quarantine.plan_data(OP)
        (cache.place / OP / "plan.json").mkdir()
        assert quarantine.stored()[0].plan_data is None
        (cache.place / OP / "files" / "07").touch()
        assert quarantine.left(OP) == (len(index.items) + 1, index.total)


# ---- removing for good


def test_a_purged_operation_is_gone_and_the_cache_untouched(cache: SmallCache) -> None:
    with door(cache) as quarantine:
        taken(cache, quarantine)
        (cache.root / min(cache.contents)).write_bytes(b"live")
        names = list(cache.contents)
        told: list[int] = []
        size = sum(map(len, cache.contents.values()))
        assert quarantine.purge(OP, only=names, progress=told.append) == Purged(len(names), size)
        assert told[-1] == len(names)
        assert quarantine.stored() == []
        assert quarantine.purge(OP, only=names) == Purged()
    assert entries(cache.root) == {min(cache.contents): b"live"}
    assert {path.name for path in cache.place.iterdir()} == {"lock"}


def test_a_purge_can_be_stopped_resumed_and_slowed(cache: SmallCache) -> None:
    names = sorted(cache.contents)
    with door(cache) as quarantine:
        taken(cache, quarantine)
        first = quarantine.purge(OP, only=names, stop=stopping_after(4))
        assert first.stopped
        assert 0 < first.removed < len(names)
        assert first.left == len(names) - first.removed == len(quarantined(cache))
        second = quarantine.purge(OP, only=names, per_second=1000)
        assert (second.removed, second.left) == (first.left, 0)


def test_only_names_of_the_plan_are_removed(cache: SmallCache) -> None:
    some, *others = sorted(cache.contents)
    plan = cache.plan([some])
    with door(cache) as quarantine:
        quarantine.prepare(OP, plan.data)
        quarantine.take(OP, plan.items)
        for only, why in (([some, others[0]], "not in the plan"), (["../lock"], "not the name")):
            with pytest.raises(NotAllowed, match=why):
                quarantine.purge(OP, only=only)
        (cache.place / OP / "plan.json").write_bytes(b"{}")
        with pytest.raises(PlanVoid):
            quarantine.purge(OP, only=[some])
        (cache.place / OP / "plan.json").unlink()
        with pytest.raises(PlanVoid):
            quarantine.purge(OP, only=[some])
    assert set(quarantined(cache)) == {some}


def test_what_is_unexpected_is_left_and_named(cache: SmallCache, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    names = sorted(cache.contents)
    with door(cache) as quarantine:
        taken(cache, quarantine)
        files = cache.place / OP / "files"
        link, deep = [name for name in names if (files / name).is_file() and name.endswith("-d")][:2]
        (files / link).unlink()
        (files / link).symlink_to(victim)
        (files / deep).unlink()
        (files / deep / "inner").mkdir(parents=True)
        (files / "00" / "notes.txt").write_text("mine")
        result = quarantine.purge(OP, only=names)
        assert {name for name, _ in result.failed} == {link, deep}
        assert (result.removed, result.left) == (len(names) - 2, 3)
        assert (files / "00" / "notes.txt").read_text() == "mine"
    assert victim.read_text() == "precious"


def test_an_emptied_operation_can_be_dropped_but_not_with_something_foreign_in_it(cache: SmallCache) -> None:
    with door(cache) as quarantine:
        taken(cache, quarantine)
        assert quarantine.purge(OP, only=()).left == len(cache.contents)
        quarantine.put_back(OP, now_ns=NOW_NS)
        (cache.place / OP / "foreign").touch()
        assert "could not be removed" in quarantine.purge(OP, only=()).failed[0][1]
        (cache.place / OP / "foreign").unlink()
        assert quarantine.purge(OP, only=()) == Purged()
        assert quarantine.stored() == []


# ---- as the owner


def give(cache: SmallCache, uid: int) -> None:
    for path in (cache.root.parent, cache.root, *cache.root.rglob("*")):
        os.chown(path, uid, uid)


@pytest.mark.root
def test_root_acts_as_the_owner_of_the_cache(cache: SmallCache, tmp_path: Path) -> None:
    give(cache, NOBODY)
    reveal(tmp_path)
    plan = cache.plan()
    with door(cache) as quarantine:
        quarantine.prepare(OP, plan.data)
        assert quarantine.take(OP, plan.items) == Taken(len(plan.items), plan.total)
        made = [cache.place, *cache.place.rglob("*"), *cache.root.rglob("*")]
        assert {path.lstat().st_uid for path in made} == {NOBODY}
        assert quarantine.plan_data(OP) == plan.data
        assert quarantine.put_back(OP, now_ns=NOW_NS).restored == len(plan.items)
        assert entries(cache.root) == cache.contents
        assert quarantine.purge(OP, only=()) == Purged()
    assert {path.lstat().st_uid for path in cache.root.rglob("*")} == {NOBODY}


@pytest.mark.root
def test_roots_own_file_in_somebodys_cache_is_neither_read_nor_removed(cache: SmallCache, tmp_path: Path) -> None:
    give(cache, NOBODY)
    reveal(tmp_path)
    secret = tmp_path / "secret"
    secret.mkdir(mode=0o700)
    with door(cache) as quarantine:
        taken(cache, quarantine)
        shard = cache.place / OP / "files" / "00"
        shard.rename(secret / "theirs")
        os.chown(secret / "theirs", 0, 0)
        (secret / "theirs").chmod(0o700)
        (secret / "theirs").rename(shard)
        before = sorted(path.name for path in shard.iterdir())
        result = quarantine.purge(OP, only=list(cache.contents))
        assert [name for name, _ in result.failed] == ["00"]
        assert result.left
        assert sorted(path.name for path in shard.iterdir()) == before


# ---- mounts


@pytest.mark.root
@pytest.mark.parametrize("where", ["shard", "entry", "program", "quarantined shard", "quarantined program"])
def test_a_mount_inside_stops_every_act_before_it_begins(tmp_path: Path, where: str) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim/precious").write_text("precious")
    alone(f"""
import subprocess
from pathlib import Path
from smallcaches import ALLOWED, NOW_NS, OP, OTHER_OP, entries, small_cache
from go_cache_safeguard.snapshot.quarantine import open_quarantine
from go_cache_safeguard.tree.place import MountInside
from go_cache_safeguard.tree.root import open_root
at = Path({str(tmp_path)!r})
where = {where!r}
cache = small_cache(at / "cache")
plan = cache.plan()
program = next(name for name in cache.contents if (cache.root / name).is_dir())
entry = next(name for name in cache.contents if (cache.root / name).is_file())
inside = {{"shard": "00", "entry": entry, "program": program}}
with open_root(cache.root) as root, open_quarantine(root, allowed=ALLOWED) as quarantine:
    quarantine.prepare(OP, plan.data)
    if where.startswith("quarantined"):
        quarantine.take(OP, plan.items)
        target = cache.place / OP / "files" / inside[where.split()[1]]
    else:
        target = cache.root / inside[where]
    source = at / "victim"
    if target.is_file():
        source = source / "precious"
    subprocess.run(["mount", "--bind", source, target], check=True)
    names = list(cache.contents)
    for act in (
        lambda: quarantine.take(OP, plan.items),
        lambda: quarantine.put_back(OP, now_ns=NOW_NS),
        lambda: quarantine.purge(OP, only=names),
        lambda: quarantine.prepare(OTHER_OP, b""),
    ):
        try:
            act()
        except MountInside as refused:
            assert str(target) in refused.what, refused
        else:
            raise SystemExit("it was not noticed")
    assert (at / "victim/precious").read_text() == "precious"
    subprocess.run(["umount", target], check=True)
assert entries(cache.root) | entries(cache.place / OP / "files") == cache.contents
""")


# ---- where the filesystem lacks RENAME_NOREPLACE


def test_by_link_nothing_is_replaced_either(tmp_path: Path) -> None:
    for name in ("from/file", "from/taken", "to/taken"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    for name in ("from/dir", "from/full", "to/full"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tool").write_text(name)
    source, target = (os.open(tmp_path / name, os.O_RDONLY) for name in ("from", "to"))
    for name in ("file", "dir"):
        _move_new_by_link(source, name, target)
    for name in ("taken", "full"):
        with pytest.raises(FileExistsError):
            _move_new_by_link(source, name, target)
    with pytest.raises(FileNotFoundError) as caught:
        _move_new_by_link(source, "absent", target)
    assert caught.value.errno == errno.ENOENT
    os.close(source)
    os.close(target)
    assert sorted(path.name for path in (tmp_path / "from").iterdir()) == ["full", "taken"]
    assert (tmp_path / "to/taken").read_text() == "to/taken"
    assert (tmp_path / "to/full/tool").read_text() == "to/full"


def test_a_day_is_the_length_go_leaves_alone() -> None:
    assert NOW_NS - OLD_NS > DAY_NS > NOW_NS - YOUNG_NS
