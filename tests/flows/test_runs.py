"""Records of runs and of what left a cache, kept in the state directory."""

from dataclasses import replace
from pathlib import Path

import pytest

from auditing import session_at
from go_cache_safeguard.core.errors import UsageFailure
from go_cache_safeguard.flows.ghost_list import ghosts, note_back, note_gone, note_taken
from go_cache_safeguard.flows.runs import (
    RunsUnusable,
    export_run,
    keep_run,
    pack_record,
    read_run,
    record_of,
    runs,
    unpack_record,
)
from go_cache_safeguard.gocache.archive import Archive
from go_cache_safeguard.gocache.classify import Kind
from go_cache_safeguard.gocache.fsck import Memory
from go_cache_safeguard.gocache.hashlog import Block, HashLog
from go_cache_safeguard.gocache.keyrecord import NoRecord, Record
from go_cache_safeguard.gocache.layout import action_name, output_name

PROJECT = Path("/somewhere/m")
A, B, D = b"a" * 32, b"b" * 32, b"d" * 32


def record(at_ns: int, project: Path = PROJECT) -> Record:
    log = HashLog(
        (Block("build a", (b"go1.27.3", b"compile\n"), A), Block("build b", (b"go1.27.3",), B)), {}, (), 0, b""
    )
    return record_of(
        log,
        project=project,
        directory=project,
        command=("go", "build", "-ldflags=-X main.token=hunter2"),
        toolchain="go1.27.3",
        at_ns=at_ns,
        environment={"GOFLAGS": "-ldflags=-X=main.token=hunter2", "GOARM": ""},
        held={A},
    )


def test_the_newest_runs_of_a_project_are_kept(tmp_path: Path) -> None:
    session = session_at(tmp_path, why__runs="2")
    for at_ns in (1, 3, 2):
        assert keep_run(session, record(at_ns)) > 0
    keep_run(session, record(9, Path("/other")))
    assert [one.at_ns for one in runs(session, PROJECT)] == [3, 2]
    assert [one.at_ns for one in runs(session, Path("/other"))] == [9]
    assert runs(session_at(tmp_path / "state"), PROJECT) == ()


def test_a_record_says_what_was_in_the_cache_and_holds_no_secret() -> None:
    made = record(1)
    assert {key.name: key.held for key in made.keys} == {"build a": True, "build b": False}
    assert b"hunter2" not in repr(made).encode()
    assert made.environment.keys() == {"GOFLAGS"}
    assert unpack_record(pack_record(made)) == made
    assert isinstance(unpack_record(b"\x28\xb5\x2f\xfdnonsense"), NoRecord)


@pytest.mark.parametrize("name", ["run.json", "run.zst"])
def test_a_record_is_carried_in_a_file_that_is_never_overwritten(tmp_path: Path, name: str) -> None:
    made, path = record(1), tmp_path / name
    assert export_run(made, path) == path.stat().st_size
    assert read_run(path) == made
    with pytest.raises(UsageFailure):
        export_run(replace(made, at_ns=2), path)
    assert read_run(path) == made
    with pytest.raises(UsageFailure):
        read_run(tmp_path / "none")


def test_a_file_that_is_none_of_ours_is_said_to_be_unusable(tmp_path: Path) -> None:
    session = session_at(tmp_path)
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "runs.sqlite").write_bytes(b"nothing of the kind, and longer than a page" * 200)
    with pytest.raises(RunsUnusable):
        keep_run(session, record(1))
    with pytest.raises(RunsUnusable):
        runs(session, PROJECT)


def memory(action: bytes) -> Memory:
    about = Archive("m/a", "linux", "amd64", "go1.27.3", (), "x", "CONTENT")
    return Memory({D: (Kind.ARCHIVE, about)}, {action: D})


def test_who_took_an_entry_is_remembered_until_it_is_put_back(tmp_path: Path) -> None:
    session, cache = session_at(tmp_path), tmp_path / "cache"
    assert ghosts(session, cache) == {}
    note_taken(session, cache, "op-1", [action_name(A), output_name(D), "foreign"], 5)
    note_gone(session, cache, memory(A), 7)
    found = ghosts(session, cache)[A]
    assert (found.operation, found.at_ns, found.package, found.content) == ("op-1", 5, "m/a", "CONTENT")
    assert ghosts(session, tmp_path / "other") == {}
    note_back(session, cache, "op-1")
    assert ghosts(session, cache) == {}


def test_what_came_back_and_is_gone_again_is_not_told_as_ours(tmp_path: Path) -> None:
    session, cache = session_at(tmp_path), tmp_path / "cache"
    note_taken(session, cache, "op-1", [action_name(A)], 5)
    note_gone(session, cache, memory(A), 7)
    note_gone(session, cache, memory(A), 9)
    assert (ghosts(session, cache)[A].operation, ghosts(session, cache)[A].at_ns) == ("", 9)


def test_only_so_many_are_remembered_and_a_broken_list_stops_nobody(tmp_path: Path) -> None:
    session, cache = session_at(tmp_path, why__ghosts="2"), tmp_path / "cache"
    for at_ns in range(5):
        note_gone(session, cache, memory(bytes([at_ns]) * 32), at_ns)
    assert {ghost.at_ns for ghost in ghosts(session, cache).values()} <= {2, 3, 4}
    (tmp_path / "state" / "ghosts.sqlite").write_bytes(b"nothing of the kind, and longer than a page" * 200)
    note_gone(session, cache, memory(A), 9)
    assert ghosts(session, cache) == {}
