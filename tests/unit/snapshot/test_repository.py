"""Names of objects, what is missing, and what a prune would take."""

from dataclasses import replace

import pytest

from go_cache_safeguard.snapshot.repository import (
    FORGOTTEN,
    UNFINISHED,
    UNNEEDED,
    Config,
    Part,
    RepositoryBad,
    Snapshot,
    Stored,
    data_name,
    look_for,
    manifest_name,
    pack_name,
    parse_config,
    part_of,
    places_name,
    plan_prune,
    record_name,
    removal_order,
    signature_name,
    users_of,
)
from unit.snapshot.test_record import MANIFEST, PLACES, RECORD

SNAPSHOT = Snapshot(RECORD, MANIFEST, PLACES)
CONFIG = Config("0" * 32)
ID = "a" * 64
OURS = {
    "config.json": Part.CONFIG,
    data_name(ID): Part.DATA,
    pack_name(ID): Part.PACK,
    manifest_name(ID): Part.MANIFEST,
    places_name(ID): Part.PLACES,
    record_name(ID): Part.RECORD,
    signature_name(ID): Part.SIGNATURE,
    f"locks/write-{'0' * 32}": Part.LOCK,
    f"locks/prune-{'0' * 32}": Part.LOCK,
    f"staging/{'0' * 32}/17": Part.STAGED,
}


@pytest.mark.parametrize(("name", "part"), OURS.items())
def test_every_name_of_ours_is_known(name: str, part: Part) -> None:
    assert part_of(name) is part


@pytest.mark.parametrize(
    "name",
    [
        "",
        "README",
        "data",
        f"data/{ID}",
        f"data/bb/{ID}",
        f"data/aa/{ID}/x",
        f"data/aa/{ID.upper()}",
        f"data/aa/{ID}\n",
        f"snapshots/{ID}",
        f"snapshots/../{ID}.json",
        "locks/prune",
        "staging/x/1",
        "../config.json",
    ],
)
def test_every_other_name_is_foreign(name: str) -> None:
    assert part_of(name) is None


def test_a_config_is_read_as_it_was_written() -> None:
    for config in (CONFIG, replace(CONFIG, append_only=True)):
        assert parse_config(config.data) == config


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[]", Config("x").data, CONFIG.data.replace(b"false", b"1"), CONFIG.data + b" ", b"[" * 100_000],
)
def test_another_config_is_refused(data: bytes) -> None:
    with pytest.raises(RepositoryBad):
        parse_config(data)


def listed(*, without: str = "", shorter: str = "") -> dict[str, Stored]:
    names = {name: size or 10 for name, size in SNAPSHOT.needs().items() if name != without}
    return {name: Stored(name, size - (name == shorter), 5) for name, size in names.items()}


def test_a_whole_snapshot_misses_nothing() -> None:
    assert look_for([SNAPSHOT], listed()) == []


@pytest.mark.parametrize("name", SNAPSHOT.needs())
def test_each_object_that_is_missing_is_found(name: str) -> None:
    (gone,) = look_for([SNAPSHOT, SNAPSHOT], listed(without=name))
    assert (gone.name, gone.why) == (name, "is missing")
    assert set(gone.snapshots) == {RECORD.id}


def test_an_object_that_shrank_is_found() -> None:
    name = pack_name("e" * 64)
    (gone,) = look_for([SNAPSHOT], listed(shorter=name))
    assert gone.why == "has 99 bytes instead of 100"


def test_the_files_that_need_an_object_are_named() -> None:
    assert users_of(data_name("b" * 64), [SNAPSHOT]) == [f"snapshot {RECORD.id[:10]}: b"]
    assert users_of(pack_name("e" * 64), [SNAPSHOT]) == [f"snapshot {RECORD.id[:10]}: a, c, d"]
    assert users_of(pack_name("e" * 64), [SNAPSHOT], limit=1) == [f"snapshot {RECORD.id[:10]}: a and 2 more"]
    assert users_of(manifest_name("1" * 64), [SNAPSHOT]) == []


def planned(*, forgotten: tuple[str, ...] = (), needed: tuple[str, ...] = (), before_ns: int = 10) -> dict[str, str]:
    foreign = [Stored("README", 1, 0), Stored("data/x", 1, 0)]
    plan = plan_prune(
        place="/r",
        config=CONFIG,
        listed=[*(Stored(name, 1, 5) for name in OURS), *foreign],
        needed=needed,
        forgotten=forgotten,
        before_ns=before_ns,
        rules=("--keep-last=1",),
        requester="test",
        made_at="2030-01-01T00:00:00Z",
    )
    assert plan.whole == len(OURS) + len(foreign)
    return {item.name: item.reason for item in plan.items}


def test_what_nobody_needs_goes_and_nothing_foreign_no_lock_no_config_and_no_other_record() -> None:
    assert planned() == {
        data_name(ID): UNNEEDED,
        pack_name(ID): UNNEEDED,
        manifest_name(ID): UNNEEDED,
        places_name(ID): UNNEEDED,
        signature_name(ID): UNFINISHED,
        f"staging/{'0' * 32}/17": UNFINISHED,
    }


def test_what_is_needed_or_young_stays() -> None:
    assert planned(needed=tuple(OURS)) == {}
    assert planned(before_ns=5) == {}


def test_a_forgotten_snapshot_goes_whatever_its_age() -> None:
    going = planned(forgotten=(ID,), before_ns=0)
    assert going == {record_name(ID): FORGOTTEN, signature_name(ID): FORGOTTEN}


def test_records_go_first() -> None:
    plan = plan_prune(
        place="/r",
        config=CONFIG,
        listed=[Stored(name, 1, 5) for name in OURS],
        needed=(),
        forgotten=(ID,),
        before_ns=10,
        rules=(),
        requester="test",
        made_at="2030-01-01T00:00:00Z",
    )
    parts = [part_of(item.name) for item in removal_order(plan)]
    assert parts[0] is Part.RECORD
    assert Part.RECORD not in parts[1:]
    assert len(parts) == len(plan.items)
