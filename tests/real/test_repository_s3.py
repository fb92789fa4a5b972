"""A repository in a real S3 server, and in one that fails: a snapshot is complete or absent, and says what was not done."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flakyproxy import Fault
from go_cache_safeguard.core.errors import Failure
from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.flows import repository, repository_prune
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.snapshot import Subject
from go_cache_safeguard.snapshot.keep import Rules
from go_cache_safeguard.snapshot.store import StoreFailed
from repositories import contents_of, files_of, make_cache, put, require_whole, session_at
from s3servers import Remote, bucket_at, s3_server


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A real S3 server in a process of its own, `host:port`."""
    with s3_server() as host:
        yield host


@pytest.fixture
def remote(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Remote]:
    with bucket_at(server, monkeypatch) as found:
        yield found


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return session_at(tmp_path, snapshot__timeout="6s")


@pytest.fixture
def cache(tmp_path: Path) -> Subject:
    return make_cache(tmp_path / "cache")


def test_snapshots_live_in_s3_as_they_do_in_a_folder(session: Session, cache: Subject, remote: Remote) -> None:
    first = repository.create(session, cache, place=remote.place).record
    put(cache.path, 9, b"new" * 30_000)
    second = repository.create(session, cache, place=remote.place)
    assert second.record.parent == first.id
    assert second.objects == 4 or second.read >= 1
    assert contents_of(session, "latest", remote.place) == files_of(cache.path)
    assert require_whole(session, remote.place) == 2
    planned = repository_prune.plan(session, Rules(last=1), remote.place, grace_s=0)
    done = repository_prune.execute(session, planned.plan, remote.place)
    assert (done.snapshots, done.missing, done.changed) == (1, 0, 0)
    assert require_whole(session, remote.place) == 1
    assert repository.verify(session, None, remote.place).unneeded == 0


def test_large_contents_go_in_parts_and_come_back(
    session: Session, cache: Subject, remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("go_cache_safeguard.snapshot.deposit.IN_MEMORY", 1 << 20)
    monkeypatch.setattr("go_cache_safeguard.snapshot.depot.IN_MEMORY", 1 << 20)
    put(cache.path, 10, os.urandom(12 << 20))
    repository.create(session, cache, place=remote.place)
    assert remote.flaky.count("POST", "uploadId") == 1
    assert contents_of(session, "latest", remote.place) == files_of(cache.path)


def test_small_files_do_not_become_an_object_each(session: Session, cache: Subject, remote: Remote) -> None:
    for number in range(300):
        put(cache.path, 1000 + number, b"entry %d" % number)
    repository.create(session, cache, place=remote.place)
    assert remote.flaky.count("PUT") < 15


def every(step: int, fault: Fault) -> Callable[[int, str, str], Fault]:
    return lambda number, _method, _path: fault if number % step == step - 1 else Fault.NONE


@pytest.mark.parametrize("fault", [Fault.ERROR, Fault.BUSY, Fault.DROPPED, Fault.LOST, Fault.CUT, Fault.SLOW])
def test_what_fails_now_and_then_is_tried_again(session: Session, cache: Subject, remote: Remote, fault: Fault) -> None:
    remote.flaky.choose = every(3, fault)
    repository.create(session, cache, place=remote.place)
    assert contents_of(session, "latest", remote.place) == files_of(cache.path)
    remote.flaky.choose = every(10**9, fault)
    assert require_whole(session, remote.place) == 1
    assert not [path for _, path in remote.flaky.seen if "hush" in path]


PARTS = {
    "contents": ("PUT", "/data/"),
    "packs": ("PUT", "/packs/"),
    "the manifest": ("PUT", "/manifests/"),
    "places": ("PUT", "/places/"),
    "the record": ("PUT", "/snapshots/"),
    "the announcement": ("PUT", "/locks/"),
}


@pytest.mark.parametrize("fault", [Fault.DENIED, Fault.DROPPED])
@pytest.mark.parametrize(("method", "part"), PARTS.values(), ids=PARTS.keys())
def test_what_fails_for_good_leaves_no_snapshot_and_no_damage(
    session: Session, cache: Subject, remote: Remote, *, method: str, part: str, fault: Fault
) -> None:
    repository.create(session, cache, place=remote.place)
    put(cache.path, 11, b"new" * 30_000)
    put(cache.path, 12, b"small")
    remote.flaky.choose = lambda _number, one, path: fault if one == method and part in path else Fault.NONE
    with pytest.raises(StoreFailed) as caught:
        repository.create(session_at(session.cwd, snapshot__timeout="1s"), cache, place=remote.place)
    assert part.strip("/") in caught.value.what
    assert "hush" not in caught.value.what + caught.value.hint
    remote.flaky.choose = every(10**9, fault)
    assert require_whole(session, remote.place) == 1
    repository.create(session, cache, place=remote.place)
    assert contents_of(session, "latest", remote.place) == files_of(cache.path)


def test_a_server_that_never_answers_is_not_waited_for_for_ever(
    session: Session, cache: Subject, remote: Remote
) -> None:
    repository.create(session, cache, place=remote.place)
    remote.flaky.choose = lambda _number, _method, _path: Fault.HANGS
    impatient = session_at(session.cwd, snapshot__timeout="1s")
    with pytest.raises(StoreFailed):
        repository.list_all(impatient, remote.place)


def test_where_objects_cannot_be_read_nothing_is_called_whole(session: Session, cache: Subject, remote: Remote) -> None:
    repository.create(session, cache, place=remote.place)
    remote.flaky.choose = lambda _number, _method, path: Fault.DENIED if "/data/" in path else Fault.NONE
    verified = repository.verify(session, None, remote.place, share=1.0)
    assert [verdict.outcome for verdict in verified.verdicts] == [Outcome.PASS, Outcome.UNKNOWN]
    remote.flaky.choose = lambda _number, _method, path: Fault.DENIED if "/manifests/" in path else Fault.NONE
    verified = repository.verify(session, None, remote.place, share=1.0)
    assert [verdict.outcome for verdict in verified.verdicts] == [Outcome.UNKNOWN]


def test_a_bucket_that_is_not_there_is_a_failure(session: Session, cache: Subject, remote: Remote) -> None:
    elsewhere = remote.place.replace("bucket", "nobucket", 1)
    with pytest.raises(Failure):
        repository.create(session, cache, place=elsewhere)


def test_a_prune_that_the_store_refuses_leaves_every_snapshot_whole(
    session: Session, cache: Subject, remote: Remote
) -> None:
    for number in range(3):
        put(cache.path, 13, b"%d" % number * 40_000)
        repository.create(session, cache, place=remote.place)
    planned = repository_prune.plan(session, Rules(last=1), remote.place, grace_s=0)
    remote.flaky.choose = lambda _number, method, path: (
        Fault.DENIED if method in {"POST", "DELETE"} and "delete" in path else Fault.NONE
    )
    with pytest.raises(repository_prune.PruneStopped):
        repository_prune.execute(session, planned.plan, remote.place)
    remote.flaky.choose = every(10**9, Fault.NONE)
    assert require_whole(session, remote.place) == 3
    repository_prune.execute(session, planned.plan, remote.place)
    assert require_whole(session, remote.place) == 1
