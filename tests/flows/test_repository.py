"""Snapshots in a local repository: what is stored, what is not stored twice, what is believed, and what goes."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from threading import Thread

import pytest

from go_cache_safeguard.core.canonical import digest
from go_cache_safeguard.core.errors import Failure, PlanVoid, UsageFailure
from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.flows import repository, repository_prune
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.snapshot import Subject, make_key_files
from go_cache_safeguard.snapshot.bundle import ObjectBad, Sealer
from go_cache_safeguard.snapshot.deposit import publish
from go_cache_safeguard.snapshot.keep import Rules
from go_cache_safeguard.snapshot.manifest import Entry, Kind, make_manifest
from go_cache_safeguard.snapshot.record import NoSnapshot, Pack, Places, Record, RecordBad
from go_cache_safeguard.snapshot.repository import (
    AppendOnly,
    Config,
    RepositoryBad,
    data_name,
    manifest_name,
    pack_name,
    places_name,
    record_name,
)
from go_cache_safeguard.snapshot.store import NoObject, StoreFailed, open_store
from go_cache_safeguard.snapshot.turns import RepositoryLocked, TurnLost, pruning, writing
from go_cache_safeguard.tree.root import UnsafePath
from otherusers import NOBODY
from repositories import contents_of, files_of, make_cache, objects_of, put, require_whole, session_at

TOKEN, OTHER_TOKEN = "0" * 32, "f" * 32


def quiet(_text: str) -> None:
    """Nobody listens."""


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return session_at(tmp_path)


@pytest.fixture
def cache(tmp_path: Path) -> Subject:
    return make_cache(tmp_path / "cache")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "state" / "repository"


# ---- making


def test_a_snapshot_holds_every_file_of_the_cache(session: Session, cache: Subject) -> None:
    created = repository.create(session, cache, tags=["one"])
    expected = files_of(cache.path)
    assert contents_of(session, "latest") == expected
    assert created.record.files == created.read == len(expected)
    assert created.record.size == sum(map(len, expected.values()))
    assert require_whole(session) == 1


def test_the_second_snapshot_reads_only_what_changed_and_stores_it_once(
    session: Session, cache: Subject, place: Path
) -> None:
    make_old(cache.path)
    repository.create(session, cache)
    before = objects_of(place)
    put(cache.path, 99, os.urandom(60_000))
    second = repository.create(session, cache)
    assert second.read == 1
    new = objects_of(place).keys() - before.keys()
    assert sorted(name.split("/")[0] for name in new) == ["data", "manifests", "places", "snapshots"]
    assert contents_of(session, "latest") == files_of(cache.path)
    assert require_whole(session) == 2


def make_old(root: Path) -> None:
    """Have the clock of the files' changes stand back by waiting for it: who wrote just now may write again unseen."""
    newest = max(path.stat().st_ctime_ns for path in root.rglob("*"))
    time.sleep(max(0, (newest + 2_100_000_000 - time.time_ns()) / 10**9))


def test_a_file_that_kept_size_and_time_but_not_its_content_is_read_again(session: Session, cache: Subject) -> None:
    make_old(cache.path)
    repository.create(session, cache)
    changed = put(cache.path, 0, b"z" * 100_000)
    assert repository.create(session, cache).read == 1
    assert contents_of(session, "latest")[f"{changed.relative_to(cache.path)}"] == b"z" * 100_000


def test_a_file_that_is_only_two_seconds_old_is_read_again(session: Session, cache: Subject) -> None:
    repository.create(session, cache)
    put(cache.path, 0, b"young")
    repository.create(session, cache)
    assert repository.create(session, cache).read >= 1


def turn_old(path: Path) -> None:
    os.utime(path, (1_600_000_000, 1_600_000_000))


def copy_content(root: Path) -> None:
    """A content that stands in a directory that does not change, and now in another one, too."""
    (root / "00" / f"00{77:062x}-d").write_bytes(max(files_of(root / "01").values(), key=len))


def fuzz(root: Path) -> None:
    (root / "fuzz" / "p").mkdir(parents=True)
    (root / "fuzz" / "p" / "x").write_bytes(b"")


CHANGES: dict[str, Callable[[Path], object]] = {
    "nothing": lambda root: root,
    "a new output": lambda root: put(root, 60, b"new" * 20_000),
    "a new small file": lambda root: put(root, 61, b"small"),
    "an output that goes": lambda root: (root / "00" / f"00{0:062x}-d").unlink(),
    "a directory that goes": lambda root: shutil.rmtree(root / "02"),
    "a use": lambda root: turn_old(min((root / "01").iterdir())),
    "another mode": lambda root: min((root / "01").iterdir()).chmod(0o600),
    "a new directory": lambda root: shutil.copytree(root / "01", root / "ff" / "x"),
    "a known content in another directory": copy_content,
    "a file beside the directories": lambda root: (root / "trim.txt").write_text("1700000000"),
    "what is none of go's": lambda root: (root / "01" / "foreign").write_text("x"),
    "a link": lambda root: (root / "01" / f"01{1:062x}-d").symlink_to("/etc/passwd"),
    "a file of fuzzing": fuzz,
}


def test_what_did_not_change_is_taken_over_as_if_everything_had_been_read(tmp_path: Path) -> None:
    bases = {change: tmp_path / change for change in CHANGES}
    for base in bases.values():
        base.mkdir()
        make_cache(base / "cache")
    make_old(tmp_path)
    for change, base in bases.items():
        session, cache = session_at(base), Subject(Kind.BUILD, base / "cache")
        repository.create(session, cache)
        CHANGES[change](cache.path)
        (base / "fresh").mkdir()
        fresh = repository.create(session_at(base / "fresh"), cache)
        assert fresh.read == fresh.record.files
        for _ in range(2):
            created = repository.create(session, cache)
            assert created.read < fresh.read, change
            assert created.record.manifest == fresh.record.manifest, change
            assert created.skipped == fresh.skipped, change
            assert (created.record.files, created.record.size) == (fresh.record.files, fresh.record.size), change
        assert contents_of(session, "latest") == contents_of(session_at(base / "fresh"), "latest"), change
        assert require_whole(session) == 3, change


def test_much_is_made_durable_and_named_while_the_rest_is_read(
    session: Session, cache: Subject, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("go_cache_safeguard.snapshot.store._MUCH", 50_000)
    for number in range(40):
        put(cache.path, number, os.urandom(40_000))
    repository.create(session, cache)
    assert contents_of(session, "latest") == files_of(cache.path)
    assert not [path for path in (place / "staging").rglob("*") if path.is_file()]
    assert require_whole(session) == 1


def test_the_same_content_is_stored_once_whatever_its_name(session: Session, cache: Subject, place: Path) -> None:
    for number in range(50, 60):
        put(cache.path, number, b"the same" * 10_000)
    repository.create(session, cache)
    assert len(list(place.glob("data/*/*"))) == 3


def test_another_machine_stores_nothing_that_is_there(tmp_path: Path, session: Session, cache: Subject) -> None:
    place = str(tmp_path / "shared")
    repository.create(session, cache, place=place)
    (tmp_path / "other").mkdir()
    elsewhere = session_at(tmp_path / "other")
    moved = tmp_path / "other" / "cache"
    shutil.copytree(cache.path, moved)
    created = repository.create(elsewhere, Subject(Kind.BUILD, moved), place=place)
    assert created.read == created.record.files
    assert not [name for name in created.as_value() if name == "objects" and created.objects > 2]
    assert require_whole(session, place) == 2


def test_small_packs_do_not_pile_up(session: Session, cache: Subject, place: Path) -> None:
    make_old(cache.path)
    for number in range(20):
        put(cache.path, 200 + number, b"%d" % number)
        repository.create(session, cache)
    shown = repository.show(session, "latest")
    assert len(shown.places.packs) <= 17
    assert len(list(place.glob("packs/*/*"))) > len(shown.places.packs)
    assert require_whole(session) == 20


def test_a_plans_entries_alone_can_be_copied(session: Session, cache: Subject) -> None:
    names = sorted(name for name in files_of(cache.path) if name.startswith("01/"))
    part = repository.create(session, replace(cache, names=(*names, "01/not-there"))).record
    assert contents_of(session, part.id).keys() == set(names)
    assert len(repository.show(session, part.id).manifest.skipped) == 1
    with pytest.raises(NoSnapshot):
        repository.show(session, "latest")


def test_a_large_file_is_never_in_memory_and_comes_back(
    session: Session, cache: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("go_cache_safeguard.snapshot.deposit.IN_MEMORY", 1 << 20)
    monkeypatch.setattr("go_cache_safeguard.snapshot.depot.IN_MEMORY", 1 << 20)
    for number, data in enumerate((os.urandom(3 << 20), b"shrinks" * (1 << 19))):
        put(cache.path, 300 + number, data)
    repository.create(session, cache)
    assert contents_of(session, "latest") == files_of(cache.path)
    assert require_whole(session) == 1


def test_nothing_is_left_aside(session: Session, cache: Subject, place: Path) -> None:
    repository.create(session, cache)
    assert not list(place.glob("locks/*"))
    assert not [path for path in place.glob("staging/**/*") if path.is_file()]


def test_a_signed_snapshot_is_known_by_its_key(tmp_path: Path, session: Session, cache: Subject, place: Path) -> None:
    private, public = make_key_files(tmp_path / "key")
    _, stranger = make_key_files(tmp_path / "stranger")
    created = repository.create(session, cache, key=private)
    assert repository.source(session, "latest").signature() is not None
    assert repository.verify(session, None, key=public).verdicts[-1].outcome is Outcome.PASS
    assert repository.verify(session, None, key=stranger).verdicts[-1].outcome is Outcome.BLOCK
    (place / f"signatures/{created.record.id}.json").unlink()
    assert repository.verify(session, None, key=public).verdicts[-1].outcome is Outcome.BLOCK


# ---- looking


def test_snapshots_are_listed_found_and_compared(session: Session, cache: Subject) -> None:
    first = repository.create(session, cache, tags=["b", "a"]).record
    put(cache.path, 77, b"new")
    second = repository.create(session, cache).record
    listing = repository.list_all(session)
    assert listing.records == (first, second)
    assert first.tags == ("a", "b")
    assert second.parent == first.id
    _, _, found = repository.diff(session, first.id[:12], "latest")
    assert [entry.size for entry in found.added] == [3]
    assert repository.local_ids(session) == sorted([first.id, second.id])
    with pytest.raises(NoSnapshot):
        repository.show(session, "ffffffffff")


def test_where_there_is_no_repository_that_is_said(session: Session, tmp_path: Path) -> None:
    for place in (None, str(tmp_path / "nowhere"), "file:///nowhere/at/all"):
        with pytest.raises(RepositoryBad, match="no snapshot repository"):
            repository.list_all(session, place)


def test_a_folder_with_other_things_does_not_become_a_repository(
    session: Session, cache: Subject, tmp_path: Path
) -> None:
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "thesis.txt").write_text("dear")
    with pytest.raises(RepositoryBad, match=r"thesis\.txt"):
        repository.create(session, cache, place=str(tmp_path / "documents"))
    assert objects_of(tmp_path / "documents") == {"thesis.txt": b"dear"}


@pytest.mark.parametrize(
    "text",
    [
        "ftp://host/x",
        "file://host/x",
        "s3://",
        "s3://user:secret@bucket/x",
        "s3://bucket/x?secret_access_key=hush",
        "az://container/x?sas=hush",
        "gs://bucket/x?key=hush",
        "s3://bucket/x#part",
    ],
)
def test_what_cannot_be_a_place_is_refused_without_repeating_a_secret(session: Session, text: str) -> None:
    with pytest.raises(UsageFailure) as caught:
        repository.list_all(session, text)
    assert "hush" not in caught.value.what + caught.value.hint
    assert "secret@" not in caught.value.what


def test_a_readable_repository_that_cannot_be_written_can_be_read_and_gets_nothing(
    tmp_path: Path, session: Session, cache: Subject
) -> None:
    place = tmp_path / "shared"
    repository.create(session, cache, place=str(place))
    subprocess.run(["mount", "--bind", place, place], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", place], check=True)
        assert contents_of(session, "latest", str(place)) == files_of(cache.path)
        assert require_whole(session, str(place)) == 1
        with pytest.raises(StoreFailed):
            repository.create(session, cache, place=str(place))
        with pytest.raises(StoreFailed):
            prune(session, Rules(last=1), place=str(place))
    finally:
        subprocess.run(["umount", place], check=True)
    assert require_whole(session, str(place)) == 1


def test_root_does_not_write_where_somebody_else_can_lead_it(tmp_path: Path, session: Session, cache: Subject) -> None:
    place = tmp_path / "shared"
    place.mkdir()
    os.chown(place, NOBODY, NOBODY)
    with pytest.raises(UnsafePath):
        repository.create(session, cache, place=str(place))
    assert list(place.iterdir()) == []


# ---- damage


def damage(path: Path, how: Callable[[bytes], bytes]) -> None:
    path.write_bytes(how(path.read_bytes()))


def flip(data: bytes) -> bytes:
    at = len(data) // 2
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def test_a_damaged_content_is_found_and_the_files_that_need_it_are_named(
    session: Session, cache: Subject, place: Path
) -> None:
    repository.create(session, cache)
    for found in (next(place.glob("data/*/*")), next(place.glob("packs/*/*"))):
        kept = found.read_bytes()
        damage(found, flip)
        verified = repository.verify(session, "latest", share=1.0)
        assert [verdict.outcome for verdict in verified.verdicts] == [Outcome.PASS, Outcome.BLOCK]
        evidence = "\n".join(verified.verdicts[1].evidence)
        assert found.name in evidence
        assert "-d" in evidence
        with pytest.raises(ObjectBad, match=found.name):
            require_sound(session)
        found.write_bytes(kept)
    assert require_whole(session) == 1


def require_sound(session: Session) -> None:
    """Read as restore does: it hashes what it gets."""
    source = repository.source(session, "latest")
    for entry, chunks in source.contents([entry.name for entry in source.manifest.entries]):
        if sha256(b"".join(chunks)).hexdigest() != entry.sha256:
            raise ObjectBad(f"{entry.sha256} is damaged")


@pytest.mark.parametrize("part", ["data", "packs", "manifests", "places"])
def test_a_missing_object_is_found_without_reading_contents_and_made_good_by_the_next_snapshot(
    session: Session, cache: Subject, place: Path, part: str
) -> None:
    repository.create(session, cache)
    next(path for path in place.glob(f"{part}/**/*") if path.is_file()).unlink()
    verified = repository.verify(session, None)
    assert verified.verdicts[0].outcome is Outcome.BLOCK
    repository.create(session, cache)
    assert contents_of(session, "latest") == files_of(cache.path)


@pytest.mark.parametrize("part", ["snapshots", "manifests", "places"])
@pytest.mark.parametrize("how", [flip, lambda data: data[:-1], lambda _: b""], ids=["flip", "short", "empty"])
def test_a_damaged_document_is_found_and_never_believed(
    session: Session, cache: Subject, place: Path, part: str, how: Callable[[bytes], bytes]
) -> None:
    created = repository.create(session, cache)
    damage(next(place.glob(f"{part}/*")), how)
    assert repository.verify(session, None).verdicts[0].outcome is Outcome.BLOCK
    with pytest.raises(Failure):
        repository.source(session, created.record.id)
    with pytest.raises(RecordBad):
        prune(session, Rules(last=1))


def test_a_sample_reads_a_part_and_says_with_which_seed(session: Session, cache: Subject) -> None:
    for number in range(30):
        put(cache.path, 400 + number, os.urandom(40_000))
    repository.create(session, cache)
    verified = repository.verify(session, None, share=0.1, seed=7)
    assert 0 < verified.objects < 10
    assert "seed 7" in verified.verdicts[1].summary
    assert repository.verify(session, None, share=0.1, seed=7).size == verified.size


def test_foreign_objects_are_named_and_left(session: Session, cache: Subject, place: Path) -> None:
    repository.create(session, cache)
    (place / "notes.txt").write_text("mine")
    (place / "data" / "zz").mkdir()
    (place / "data" / "zz" / "x").write_text("mine")
    verified = repository.verify(session, None)
    assert verified.foreign == ("data/zz/x", "notes.txt")
    assert verified.verdicts[0].outcome is Outcome.WARN
    prune(session, Rules(last=1))
    assert (place / "notes.txt").exists()
    assert (place / "data" / "zz" / "x").exists()


# ---- hostile repositories


def plant(place: Path, entries: list[Entry], places: Places, **changes: object) -> Record:
    """Write a snapshot by hand, with consistent hashes."""
    manifest = make_manifest(Kind.BUILD, entries)
    record = Record(
        made_at="2030-01-01T00:00:00.000000000Z",
        host="h",
        user="u",
        kind=Kind.BUILD,
        target="/c",
        whole=True,
        tags=(),
        manifest=manifest.root,
        places=places.name,
        files=len(entries),
        size=manifest.size,
        skipped=0,
        parent="",
        added=0,
    )
    record = replace(record, **changes)  # type: ignore[arg-type]  # what a test changes is up to it
    sealer = Sealer(1)
    for name, data in (
        ("config.json", Config(TOKEN).data),
        (manifest_name(record.manifest), sealer.seal(manifest.data)),
        (places_name(record.places), sealer.seal(places.data)),
        (record_name(record.id), record.data),
    ):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)
    return record


ENTRY = Entry("00/a", 3, 0o644, 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
"""SHA-256 of `abc`."""


def test_a_record_that_counts_wrong_is_refused(session: Session, tmp_path: Path) -> None:
    for change in ({"files": 7}, {"size": 7}, {"kind": Kind.MODULE}):
        place = tmp_path / f"hostile-{next(iter(change))}"
        plant(place, [ENTRY], Places((), (0,), (10,)), **change)
        with pytest.raises(RecordBad):
            repository.show(session, "latest", str(place))


def test_a_content_of_another_hash_or_size_is_refused(session: Session, tmp_path: Path) -> None:
    place = tmp_path / "hostile"
    plant(place, [ENTRY], Places((), (0,), (13,)))
    target = place / data_name(ENTRY.sha256)
    target.parent.mkdir(parents=True)
    for content in (b"abd", b"abcd", b"a" * (1 << 20)):
        target.write_bytes(Sealer(1).seal(content))
        verified = repository.verify(session, None, str(place), share=1.0)
        assert verified.verdicts[1].outcome is Outcome.BLOCK


def test_a_pack_that_lacks_what_is_said_of_it_is_refused(session: Session, tmp_path: Path) -> None:
    place = tmp_path / "hostile"
    for inside in ({"f" * 64: b"abc"}, {ENTRY.sha256: b"abd"}, {}):
        data = Sealer(1).pack(inside)
        pack = Pack(digest(data), len(data), 3)
        record = plant(place, [ENTRY], Places((pack,), (1,), ()))
        (place / pack_name(pack.name)).parent.mkdir(parents=True, exist_ok=True)
        (place / pack_name(pack.name)).write_bytes(data)
        verified = repository.verify(session, record.id, str(place), share=1.0)
        assert verified.verdicts[1].outcome is Outcome.BLOCK, inside
        assert "00/a" in "\n".join(verified.verdicts[1].evidence)


def test_a_link_in_a_repository_leads_nobody_out(session: Session, cache: Subject, place: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(Sealer(0).seal(b"abc"))
    repository.create(session, cache)
    planted = place / data_name(ENTRY.sha256)
    planted.parent.mkdir(parents=True, exist_ok=True)
    planted.symlink_to(secret)
    prune(session, Rules(last=1), grace_s=0)
    assert secret.exists()


# ---- pruning


def prune(
    session: Session, rules: Rules, *, grace_s: int = 0, place: str | None = None, wait_s: float = 0
) -> repository_prune.Pruned:
    planned = repository_prune.plan(session, rules, place, grace_s=grace_s)
    return repository_prune.execute(session, planned.plan, place, wait_s=wait_s)


def test_what_no_rule_keeps_goes_and_what_is_shared_stays(session: Session, cache: Subject, place: Path) -> None:
    changing = put(cache.path, 5, b"first" * 20_000)
    repository.create(session, cache)
    changing.write_bytes(b"second" * 20_000)
    second = repository.create(session, cache).record
    objects = len(objects_of(place))
    done = prune(session, Rules(last=1))
    assert (done.snapshots, done.removed) == (1, objects - len(objects_of(place)))
    assert [record.id for record in repository.list_all(session).records] == [second.id]
    assert contents_of(session, "latest") == files_of(cache.path)
    assert require_whole(session) == 1
    assert repository.verify(session, None).unneeded == 0


def test_a_dry_plan_touches_nothing(session: Session, cache: Subject, place: Path) -> None:
    repository.create(session, cache)
    repository.create(session, cache)
    before = objects_of(place)
    planned = repository_prune.plan(session, Rules(last=1), grace_s=0)
    assert (len(planned.kept), len(planned.forgotten)) == (1, 1)
    assert objects_of(place) == before


def test_without_rules_no_snapshot_is_forgotten(session: Session, cache: Subject, place: Path) -> None:
    repository.create(session, cache)
    repository.create(session, cache)
    (place / "data" / "aa").mkdir(exist_ok=True)
    (place / data_name("a" * 64)).write_bytes(b"left by somebody who was killed")
    done = prune(session, Rules())
    assert (done.removed, done.snapshots) == (1, 0)
    assert require_whole(session) == 2


def test_what_is_younger_than_the_grace_stays(session: Session, cache: Subject, place: Path) -> None:
    changing = put(cache.path, 5, b"first" * 20_000)
    repository.create(session, cache)
    changing.write_bytes(b"second" * 20_000)
    repository.create(session, cache)
    planned = repository_prune.plan(session, Rules(last=1), grace_s=3600)
    assert planned.young > 0
    assert {item.name.split("/")[0] for item in planned.plan.items} == {"snapshots"}
    assert place.exists()


def test_rules_that_would_keep_nothing_of_a_cache_are_refused(session: Session, cache: Subject) -> None:
    repository.create(session, cache)
    with pytest.raises(repository_prune.NothingKept):
        repository_prune.plan(session, Rules(tags=("release",)), grace_s=0)


def test_a_plan_is_executed_once_and_only_where_it_was_made(session: Session, cache: Subject, tmp_path: Path) -> None:
    repository.create(session, cache)
    repository.create(session, cache)
    planned = repository_prune.plan(session, Rules(last=1), grace_s=0)
    repository_prune.write_plan(planned.plan, tmp_path / "plan.json")
    again = repository_prune.read_plan((tmp_path / "plan.json").read_bytes())
    assert again.digest == planned.plan.digest
    repository.create(session, cache, place=str(tmp_path / "other"))
    with pytest.raises(PlanVoid, match="another repository"):
        repository_prune.execute(session, again, str(tmp_path / "other"))
    repository_prune.execute(session, again)
    with pytest.raises(PlanVoid, match="executed already"):
        repository_prune.execute(session, again)
    assert require_whole(session) == 1


def test_what_is_needed_again_since_the_plan_stays(session: Session, cache: Subject) -> None:
    changing = put(cache.path, 5, b"first" * 20_000)
    repository.create(session, cache)
    changing.write_bytes(b"second" * 20_000)
    repository.create(session, cache)
    planned = repository_prune.plan(session, Rules(last=1), grace_s=0)
    changing.write_bytes(b"first" * 20_000)
    repository.create(session, cache)
    done = repository_prune.execute(session, planned.plan)
    assert done.needed >= 1
    assert contents_of(session, "latest") == files_of(cache.path)
    assert require_whole(session) == 2


def test_an_append_only_repository_takes_and_never_gives(session: Session, cache: Subject, place: Path) -> None:
    repository.create(session, cache, append_only=True)
    repository.create(session, cache)
    for _ in range(2):
        with pytest.raises(AppendOnly):
            repository_prune.plan(session, Rules(last=1), grace_s=0)
    assert repository.list_all(session).append_only
    assert len(list(place.glob("snapshots/*"))) == 2


def test_a_prune_is_told_to_the_journal_before_and_after(session: Session, cache: Subject) -> None:
    repository.create(session, cache)
    prune(session, Rules(last=1))
    with session.journal(read_only=True) as journal:
        steps = [record.step for record in journal.records()]
    assert [step for step in steps if step.isupper()] == ["REQUESTED", "CHECKED", "ALLOWED", "PURGING", "PURGED"]


# ---- taking turns


def test_a_prune_waits_for_a_writer_and_gives_up(session: Session, cache: Subject, place: Path) -> None:
    repository.create(session, cache)
    store = open_store(str(place), cwd=place, session=TOKEN)
    with writing(store, TOKEN, wait_s=0, say=quiet), pytest.raises(RepositoryLocked, match="a snapshot on"):
        prune(session, Rules(last=1))
    prune(session, Rules(last=1))


def test_a_writer_waits_for_a_prune(session: Session, cache: Subject, place: Path) -> None:
    repository.create(session, cache)
    store = open_store(str(place), cwd=place, session=TOKEN)
    with pruning(store, TOKEN, wait_s=0, say=quiet):
        with pytest.raises(RepositoryLocked, match="a prune on"), writing(store, OTHER_TOKEN, wait_s=0, say=quiet):
            pass
        waiting = Thread(target=lambda: repository.create(session, cache))
        waiting.start()
        waiting.join(0.5)
        assert waiting.is_alive()
        assert len(list(place.glob("snapshots/*"))) == 1
    waiting.join()
    assert require_whole(session) == 2


def test_of_two_prunes_one_gives_way(session: Session, cache: Subject, place: Path) -> None:
    repository.create(session, cache)
    store = open_store(str(place), cwd=place, session=TOKEN)
    with pruning(store, TOKEN, wait_s=0, say=quiet), pytest.raises(RepositoryLocked, match="prune"):
        prune(session, Rules(last=1))


def test_the_announcement_of_a_dead_process_is_removed(session: Session, cache: Subject, place: Path) -> None:
    repository.create(session, cache)
    script = (
        "import os, sys\nfrom pathlib import Path\n"
        "from go_cache_safeguard.snapshot.store import open_store\n"
        "from go_cache_safeguard.snapshot.turns import pruning, writing\n"
        "store = open_store(sys.argv[1], cwd=Path('/'), session='1' * 32)\n"
        "with {}(store, '1' * 32, wait_s=0, say=print):\n    os.kill(os.getpid(), 9)\n"
    )
    for kind in ("writing", "pruning"):
        subprocess.run(
            [sys.executable, "-c", script.format(kind), str(place)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            check=False,
        )
        assert len(list(place.glob("locks/*"))) == 1
        repository.create(session, cache)
        prune(session, Rules(last=1))
        assert not list(place.glob("locks/*"))


def test_an_announcement_that_nobody_can_judge_dies_of_age(session: Session, cache: Subject, place: Path) -> None:
    repository.create(session, cache)
    (place / "locks").mkdir(exist_ok=True)
    lock = place / f"locks/write-{TOKEN}"
    lock.write_bytes(b"from another machine")
    with pytest.raises(RepositoryLocked):
        prune(session, Rules(last=1))
    old_s = time.time() - 1801
    os.utime(lock, (old_s, old_s))
    prune(session, Rules(last=1))
    assert not lock.exists()


def test_who_was_taken_for_dead_records_nothing(session: Session, cache: Subject, place: Path) -> None:
    record = repository.create(session, cache).record
    depot = repository.opened(session, None)
    other = replace(record, tags=("late",))
    with writing(depot.store, TOKEN, wait_s=0, say=quiet) as turn:
        (place / f"locks/write-{TOKEN}").unlink()
        with pytest.raises(TurnLost):
            publish(depot, turn, other, None)
    assert not (place / record_name(other.id)).exists()
    assert require_whole(session) == 1


def test_two_processes_write_into_one_repository_at_once(tmp_path: Path, session: Session, cache: Subject) -> None:
    place = str(tmp_path / "shared")
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from repositories import session_at\n"
        "from go_cache_safeguard.flows import repository\n"
        "from go_cache_safeguard.flows.snapshot import Subject\n"
        "from go_cache_safeguard.snapshot.manifest import Kind\n"
        "session = session_at(Path(sys.argv[1]))\n"
        "for _ in range(5):\n    repository.create(session, Subject(Kind.BUILD, Path(sys.argv[2])), place=sys.argv[3])\n"
    )
    other = make_cache(tmp_path / "other-cache")
    put(other.path, 700, b"only here" * 10_000)
    runs = []
    for name, subject in (("a", cache), ("b", other)):
        (tmp_path / name).mkdir()
        runs.append(
            subprocess.Popen(
                [sys.executable, "-c", script, str(tmp_path / name), str(subject.path), place],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            )
        )
    assert [run.wait() for run in runs] == [0, 0]
    assert require_whole(session, place) == 10
    listing = repository.list_all(session, place)
    for subject in (cache, other):
        newest = [record for record in listing.records if record.target == str(subject.path)][-1]
        assert contents_of(session, newest.id, place) == files_of(subject.path)


def test_writers_and_prunes_go_on_beside_each_other(tmp_path: Path, session: Session, cache: Subject) -> None:
    place = str(tmp_path / "shared")
    repository.create(session, cache, place=place)
    failed: list[BaseException] = []

    def write() -> None:
        try:
            (tmp_path / "writer").mkdir()
            mine = session_at(tmp_path / "writer")
            for number in range(12):
                put(cache.path, 5, b"%d" % (number % 2) * 50_000)
                repository.create(mine, cache, place=place)
        except BaseException as error:  # noqa: BLE001 - told to the test
            failed.append(error)

    writer = Thread(target=write)
    writer.start()
    pruned = 0
    while writer.is_alive():
        try:
            pruned += prune(session, Rules(last=1), place=place, wait_s=5).removed
        except (PlanVoid, RepositoryLocked):
            continue  # nothing left of the plan, or the writer was in time
    writer.join()
    assert failed == []
    assert require_whole(session, place) >= 1
    assert contents_of(session, "latest", place) == files_of(cache.path)


def test_an_object_that_is_gone_is_no_trouble_to_remove(place: Path, session: Session, cache: Subject) -> None:
    repository.create(session, cache)
    store = open_store(str(place), cwd=place, session=TOKEN)
    store.delete([data_name("a" * 64), data_name("b" * 64)])
    with pytest.raises(NoObject):
        store.get(data_name("a" * 64))


def test_what_was_made_is_for_its_owner_only(session: Session, cache: Subject, place: Path) -> None:
    repository.create(session, cache)
    assert place.stat().st_mode & 0o777 == 0o700


def test_a_snapshot_of_a_few_files_stores_nothing_again_and_forgets_nothing(
    session: Session, cache: Subject, place: Path
) -> None:
    make_old(cache.path)
    repository.create(session, cache)
    before = {name for name in objects_of(place) if name.startswith(("data", "packs"))}
    few = tuple(sorted(files_of(cache.path))[2:5])
    repository.create(session, replace(cache, names=few))
    assert {name for name in objects_of(place) if name.startswith(("data", "packs"))} == before
    assert repository.create(session, cache).read == 0
