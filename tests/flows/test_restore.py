"""The story of a restore, on caches of few files: merge, order, journal, lock, proof."""

import os
import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from go_cache_safeguard.config.files import load_config
from go_cache_safeguard.core.errors import ExitCode
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.flows.inspect import NotAGoCache
from go_cache_safeguard.flows.prove import Proof
from go_cache_safeguard.flows.remove import Interrupted
from go_cache_safeguard.flows.restore import RestoreProofFailed, preview, restore
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.undo import undo
from go_cache_safeguard.gocache.layout import ENTRY_NAME
from go_cache_safeguard.snapshot.manifest import Entry, Kind, make_manifest
from go_cache_safeguard.snapshot.merge import Step
from go_cache_safeguard.snapshot.quarantine import open_quarantine
from go_cache_safeguard.tree.place import Locked
from go_cache_safeguard.tree.root import Root, open_root
from otherusers import NOBODY, reveal
from sources import DAY_NS, MemorySource, build_files, entry_of, files_below, index_entry, lay_out, source_of

HASH = sha256(b"x").hexdigest()
DEEP = "cache/download/example.com/deep/@v"


@pytest.fixture
def session(tmp_path: Path) -> Session:
    environ = {"HOME": str(tmp_path / "home"), "PATH": os.environ["PATH"], "GOCACHE": str(tmp_path / "cache")}
    config = load_config(
        environ=environ, cwd=tmp_path, home=tmp_path / "home", arguments={"state.dir": str(tmp_path / "state")}
    )
    return Session(config, environ, tmp_path)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def notes(session: Session) -> Iterator[tuple[str, dict[str, object]]]:
    with session.journal(read_only=True) as journal:
        yield from [(record.step, dict(record.data)) for record in journal.records()]


def test_an_absent_cache_is_made_and_filled(session: Session, cache: Path) -> None:
    files = build_files()
    said = preview(session, source_of(files), cache)
    assert said.merge.counts == {Step.WRITE: len(files)}
    assert not cache.exists(), "a preview touches nothing"
    done = restore(session, source_of(files), cache, None)
    assert done.whole
    assert len(done.written.files) == len(files)
    assert files_below(cache) == files
    assert [step for step, _ in notes(session)] == ["restore-begun", "restore-ended"]
    assert {data["restore"] for _, data in notes(session)} == {done.id}


def test_the_second_time_nothing_is_written(session: Session, cache: Path) -> None:
    files = build_files()
    restore(session, source_of(files), cache, None)
    done = restore(session, source_of(files), cache, None)
    assert (done.written.files, done.planned.merge.counts) == ([], {Step.SKIP: len(files)})


def test_index_entries_come_after_every_output(session: Session, cache: Path) -> None:
    source = source_of(build_files(pairs=20))

    def look(name: str) -> None:
        if name.endswith("-a"):
            assert len([*cache.rglob("*-d")]) == 21
        else:
            assert not list(cache.rglob("*-a"))

    source.on_each.append(look)
    restore(session, source, cache, None)


def test_an_entry_whose_output_is_bad_is_not_written(session: Session, cache: Path) -> None:
    files = build_files(pairs=3, programs=0)
    output = next(name for name in files if name.endswith("-d"))
    broken = files | {output: bytes(len(files[output]))}
    done = restore(session, MemorySource(source_of(files).manifest, broken), cache, None)
    assert not done.whole
    naming = [name for name, data in files.items() if name.endswith("-a") and output[3:67].encode() in data]
    assert [name for name, _ in done.written.failed] == [output, *naming]
    assert files_below(cache) == {name: data for name, data in files.items() if name not in {output, *naming}}


def test_a_newer_entry_is_kept_with_its_output(session: Session, cache: Path) -> None:
    files = build_files()
    lay_out(cache, build_files())
    name = next(name for name in files if name.endswith("-a"))
    newer = index_entry(name[3:67], HASH, 1, time_ns=99)
    lay_out(cache, {name: newer, f"{HASH[:2]}/{HASH}-d": b"x"})
    done = restore(session, source_of(files), cache, None)
    assert done.planned.merge.counts == {Step.KEEP: 1, Step.SKIP: len(files) - 1}
    assert (cache / name).read_bytes() == newer
    assert done.as_value()["kept"] == [[name, "the cache has another one, which is newer or damaged"]]


def test_what_does_not_belong_is_refused_and_the_rest_comes_back(session: Session, cache: Path) -> None:
    files = build_files()
    evil = {"evil": b"x", "00/" + "0" * 64 + "-d": b"x", "zz/" + HASH + "-d": b"x", "00/" + "0" * 64 + "-a": b"short"}
    done = restore(session, source_of(files | evil), cache, None)
    assert {choice.entry.name for choice in done.planned.merge.of(Step.REFUSE)} == set(evil)
    assert not done.whole
    assert files_below(cache) == files


def test_what_go_keeps_for_itself_is_not_taken_from_the_snapshot(session: Session, cache: Path) -> None:
    old = {"trim.txt": b"1", "testexpire.txt": b"1\n", "fuzz/m/FuzzX/1": b"corpus"}
    assert restore(session, source_of(build_files() | old), cache, None).whole
    assert files_below(cache) == build_files()
    assert int((cache / "trim.txt").read_text()) > 1_700_000_000
    restore(session, source_of(old), cache, None, fuzz=True)
    assert (cache / "fuzz/m/FuzzX/1").read_bytes() == b"corpus"


def test_old_entries_that_were_there_count_as_used(session: Session, cache: Path) -> None:
    files = build_files()
    lay_out(cache, files)
    for path in cache.rglob("*"):
        os.utime(path, ns=(0, 10**18))
    done = restore(session, source_of(files), cache, None)
    assert done.refreshed == len(files)
    assert min(path.stat().st_mtime_ns for path in cache.rglob("??/*-[ad]") if path.is_file()) > 10**18 + DAY_NS


def test_a_directory_that_is_something_else_is_left_alone(session: Session, cache: Path) -> None:
    lay_out(cache, {"precious.txt": b"x"})
    for kind in Kind:
        with pytest.raises(NotAGoCache):
            restore(session, source_of({}, kind), cache, None)
    assert sorted(path.name for path in cache.iterdir()) == ["precious.txt"]


def test_nobody_else_works_on_the_cache_meanwhile(session: Session, cache: Path) -> None:
    cache.mkdir()
    with open_root(cache) as root, open_quarantine(root, allowed=ENTRY_NAME), pytest.raises(Locked):
        restore(session, source_of(build_files()), cache, None)
    assert files_below(cache) == {}


def test_another_users_cache_stays_theirs(session: Session, cache: Path) -> None:
    home = cache.parent / "home"
    home.mkdir()
    reveal(home)
    os.chown(home, NOBODY, NOBODY)
    target = home / "cache"
    assert restore(session, source_of(build_files()), target, None).whole
    assert files_below(target) == build_files()
    assert {path.stat().st_uid for path in [target, *target.rglob("*")]} == {NOBODY}


def test_a_stop_leaves_whole_files_and_says_so(session: Session, cache: Path) -> None:
    files = build_files(pairs=30)
    source = source_of(files)
    seen: list[str] = []

    def interrupt(name: str) -> None:
        seen.append(name)
        if len(seen) == 9:
            os.kill(os.getpid(), 2)

    source.on_each.append(interrupt)
    with pytest.raises(Interrupted, match="stopped after"):
        restore(session, source, cache, None)
    there = files_below(cache)
    assert there.items() < files.items()
    assert not [name for name in there if name.endswith("-a")]
    assert [step for step, _ in notes(session)][-1] == "restore-stopped"
    assert restore(session, source_of(files), cache, None).whole
    assert files_below(cache) == files


def failing(_session: Session, root: Root) -> Proof:
    used = next(path for path in root.path.rglob("*-d") if path.is_file())
    os.utime(used)  # as a build does
    return Proof(passed=False, evidence=("it does not build",))


def test_when_the_proof_fails_exactly_what_was_written_goes_again(session: Session, cache: Path) -> None:
    before = build_files(salt="before")
    lay_out(cache, before)
    files = build_files(pairs=5)
    with pytest.raises(RestoreProofFailed, match="it does not build") as raised:
        restore(session, source_of(files), cache, failing)
    assert raised.value.exit_code is ExitCode.PROOF_FAILED
    assert files_below(cache) == before
    with session.journal(read_only=True) as journal:
        (operation,) = journal.operations()
    assert operation.state is State.DONE
    undo(session, operation.id, None)
    assert files_below(cache) == before | files


def test_when_the_proof_fails_what_a_build_wrote_since_stays(session: Session, cache: Path) -> None:
    files = build_files(pairs=5)
    name = next(name for name in files if name.endswith("-a"))
    newer = index_entry(name[3:67], HASH, 1, time_ns=99)

    def prove(_session: Session, root: Root) -> Proof:
        (root.path / name).write_bytes(newer)
        return Proof(passed=False, evidence=())

    with pytest.raises(RestoreProofFailed):
        restore(session, source_of(files), cache, prove)
    assert files_below(cache) == {name: newer, "README": files["README"]}


def test_a_proof_that_passes_is_part_of_the_receipt(session: Session, cache: Path) -> None:
    done = restore(
        session, source_of(build_files()), cache, lambda _session, _root: Proof(passed=True, evidence=("it builds",))
    )
    assert done.as_value()["proof"] == ["it builds"]


MODULE = {
    "cache/download/example.com/deep/@v/list": b"v1.0.0\n",
    f"{DEEP}/v1.0.0.info": b"{}",
    f"{DEEP}/v1.0.0.mod": b"module example.com/deep\n",
    f"{DEEP}/v1.0.0.zip": b"PK",
}
ANEW = {
    f"{DEEP}/v1.0.0.ziphash": b"h1:evil",
    f"{DEEP}/v1.0.0.lock": b"",
    "cache/lock": b"",
    "example.com/deep@v1.0.0/deep.go": b"package evil",
}


def test_of_a_module_cache_only_what_go_verifies_comes_back(session: Session, cache: Path) -> None:
    done = restore(session, source_of(MODULE | ANEW, Kind.MODULE), cache, None)
    assert done.whole
    assert done.planned.merge.counts == {Step.WRITE: len(MODULE), Step.OMIT: len(ANEW)}
    assert files_below(cache) == MODULE
    assert not (cache / "trim.txt").exists()


def test_a_zip_is_not_put_beside_a_hash_that_go_would_believe(session: Session, cache: Path) -> None:
    lay_out(cache, {f"{DEEP}/v1.0.0.ziphash": b"h1:true"})
    done = restore(session, source_of(MODULE, Kind.MODULE), cache, None)
    assert [choice.entry.name for choice in done.planned.merge.of(Step.REFUSE)] == [f"{DEEP}/v1.0.0.zip"]
    assert not (cache / f"{DEEP}/v1.0.0.zip").exists()


def test_a_failure_of_the_snapshot_is_in_the_journal(session: Session, cache: Path) -> None:
    files = build_files()
    source = source_of(files)

    def vanish(_name: str) -> None:
        raise OSError(5, "Input/output error")

    source.on_each.append(vanish)
    with pytest.raises(Exception, match="Input/output error"):
        restore(session, source, cache, None)
    assert [step for step, _ in notes(session)] == ["restore-begun", "restore-failed"]
    shutil.rmtree(cache)


def test_a_manifest_that_promises_too_much_is_seen_before_anything_is_written(session: Session, cache: Path) -> None:
    giant = Entry(f"{HASH[:2]}/{HASH}-d", 1 << 60, 0o644, 0, HASH)
    source = MemorySource(make_manifest(Kind.BUILD, [entry_of("README", b"This"), giant]), {"README": b"This"})
    with pytest.raises(Exception, match="too full"):
        restore(session, source, cache, None)
    assert files_below(cache) == {}
    assert not list(notes(session))
