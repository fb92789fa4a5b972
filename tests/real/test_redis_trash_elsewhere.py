"""Captured values in another folder, in an object store, on another server: the same removal, the same way back."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from flakyproxy import Fault
from go_cache_safeguard.config.layer import ConfigBad
from go_cache_safeguard.core.errors import Failure, IllegalTransition
from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.flows import redis_removal
from go_cache_safeguard.flows.recover import recover
from go_cache_safeguard.flows.redis_plan import Wanted
from go_cache_safeguard.flows.redis_trash import open_bin
from go_cache_safeguard.flows.redis_undo import purge, show, stored, undo
from go_cache_safeguard.journal.store import Journal
from go_cache_safeguard.redis.call import Answered, Pass, Refused
from go_cache_safeguard.redis.client import Server as Link
from go_cache_safeguard.redis.trashlog import TrashLocked, TrashUnusable
from go_cache_safeguard.redis.trashserver import ServerBin, TrashStream
from go_cache_safeguard.snapshot.store import open_store
from redisgates import asking
from redisguard import Guard, dropping, everything, killed_at
from rediskeys import build, pipeline
from redisservers import Client, Server, running
from s3servers import Remote, bucket_at, s3_server

pytestmark = pytest.mark.real

FLUSH = Wanted("FLUSHDB", everything=True)
BASE = {"policy.on_block": "allow", "redis.big_value": "100KB", "redis.timeout": "6s"}
SYNCED = ("--appendonly", "yes", "--appendfsync", "always", "--no-appendfsync-on-rewrite", "no")
_NUMBERS = count()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running("valkey-9.1", tmp_path_factory.mktemp("r")) as server:
        yield server


@pytest.fixture
def client(guarded: Server) -> Iterator[Client]:
    with guarded.client() as found:
        found("FLUSHALL")
        yield found


@pytest.fixture(scope="module")
def synced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that answers after its disk, and does not know WAITAOF."""
    with running("redis-6.2", tmp_path_factory.mktemp("r"), *SYNCED) as server:
        yield server


@pytest.fixture(scope="module")
def logging_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose disk can be waited for."""
    options = ("--appendonly", "yes", "--appendfsync", "everysec")
    with running("valkey-9.1", tmp_path_factory.mktemp("r"), *options) as server:
        yield server


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server() as host:
        yield host


@pytest.fixture
def remote(s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Remote]:
    with bucket_at(s3, monkeypatch) as found:
        yield found


@pytest.fixture(params=["folder", "file", "s3", "synced", "logging"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    match request.param:
        case "folder":
            return str(tmp_path / "elsewhere")
        case "file":
            return f"file://{tmp_path}/objects"
        case "s3":
            return str(request.getfixturevalue("remote").place)
        case "synced":
            return _trash_on(request.getfixturevalue("synced"))
    return _trash_on(request.getfixturevalue("logging_server"))


def _trash_on(server: Server) -> str:
    with server.client() as client:
        client("FLUSHALL")
    return f"unix://{server.path}"


@pytest.fixture
def guard(guarded: Server, tmp_path: Path, place: str) -> Guard:
    return Guard(f"unix://{guarded.path}", tmp_path / "state", {**BASE, "redis.trash": place})


def _at(server: Server, tmp_path: Path, place: str, **more: str) -> Guard:
    settings = {key.replace("__", "."): text for key, text in more.items()}
    return Guard(f"unix://{server.path}", tmp_path / "state", {**BASE, "redis.trash": place, **settings})


def _fill(client: Client) -> None:
    build(client)
    words = [f"{n:05}" * 20 for n in range(3_000)]
    commands: list[list[bytes | str]] = [["RPUSH", "large", *words], ["PEXPIREAT", "large", "4000000000123"]]
    commands += [["SET", f"user:{n}", "v" * n] for n in range(20)]
    assert not [answer for answer in pipeline(client, commands) if isinstance(answer, Exception)]


def test_what_went_is_listed_shown_put_back_and_purged_wherever_it_lies(
    guard: Guard, client: Client, place: str
) -> None:
    _fill(client)
    before = everything(client)
    assert guard.outcomes(FLUSH)["redis-undo"] is Outcome.PASS
    receipt = guard.remove(FLUSH)
    assert (receipt.moved, receipt.failed, client("DBSIZE")) == (len(before), (), 0)
    session = guard.session()
    assert not list((guard.state / "trash").glob("*.values"))
    with session.journal() as journal:
        (one,) = stored(session, journal)
        assert (one.op, one.place, str(one.state)) == (receipt.op, place, "DONE")
        assert one.size > sum(len(dump) for dump, _ in before.values())
        assert one.due_s is not None
        assert one.due_s > time.time()
    assert {shown.name for shown in show(session, receipt.op)} == {f"0/{key.decode()}" for key in before}
    assert undo(session, receipt.op).restored == len(before)
    after = everything(client)
    assert after.keys() == before.keys()
    assert after[b"large"] == before[b"large"]
    with session.journal() as journal:
        assert purge(session, journal, stored(session, journal)[0]) == one.size
        assert stored(session, journal) == []
    assert not list((guard.state / "trash").glob("*"))


def test_after_the_setting_was_changed_older_values_are_still_found(
    guarded: Server, client: Client, tmp_path: Path, place: str
) -> None:
    client("SET", "key", "value")
    receipt = _at(guarded, tmp_path, place).remove(FLUSH)
    now = _at(guarded, tmp_path, "")
    with now.session().journal() as journal:
        assert [one.op for one in stored(now.session(), journal)] == [receipt.op]
    assert undo(now.session(), receipt.op).restored == 1
    assert client("GET", "key") == b"value"


def test_it_stops_and_goes_on_and_comes_back(guard: Guard, client: Client) -> None:
    pipeline(client, [("SET", f"key:{n}", "v") for n in range(5)])
    with pytest.raises(redis_removal.RemovalPaused):
        guard.remove(FLUSH, redis__rate="1", redis__trash_max_time="1s")
    op = guard.last()
    assert 0 < client.number("DBSIZE") < 5
    assert guard.resume(op).moved == 5
    assert undo(guard.session(), op).restored == 5


def test_one_process_at_a_time_and_a_bound_of_bytes(guard: Guard, client: Client) -> None:
    pipeline(client, [("SET", f"key:{n}", "v" * 3000) for n in range(10)])
    op, plan = guard.hold(FLUSH)
    guard.approve(op, plan)
    with open_bin(guard.session()) as home, home.open(op, new=True), pytest.raises(TrashLocked):
        guard.resume(op)
    assert client("DBSIZE") == 10
    pipeline(client, [("SET", f"odd:{n}", os.urandom(3000)) for n in range(10)])
    receipt = guard.remove(Wanted("DEL", patterns=(b"odd:*",)), redis__trash_max_bytes="10000")
    assert (receipt.moved, len(receipt.failed)) == (3, 7)


def test_a_place_that_cannot_be_reached_lets_nothing_go(guarded: Server, client: Client, tmp_path: Path) -> None:
    client("SET", "key", "value")
    (tmp_path / "file").write_text("no folder")
    open_to_all = tmp_path / "open"
    open_to_all.mkdir(mode=0o777)
    open_to_all.chmod(0o777)
    for place in (f"unix://{tmp_path}/none", "redis://127.0.0.1:1", str(tmp_path / "file"), str(open_to_all)):
        guard = _at(guarded, tmp_path, place)
        assert guard.outcomes(FLUSH)["redis-undo"] is Outcome.UNKNOWN, place
        with pytest.raises(TrashUnusable):
            guard.remove(FLUSH, policy__on_unknown="allow")
    with pytest.raises(ConfigBad):
        _at(guarded, tmp_path, "redis://user:secret@h:1").remove(FLUSH)
    assert client("GET", "key") == b"value"


def _refusal(guard: Guard) -> str:
    verdict = next(one for one in guard.look(FLUSH)[1] if one.check == "redis-undo")
    assert verdict.outcome is Outcome.UNKNOWN
    with pytest.raises(TrashUnusable):
        guard.remove(FLUSH, policy__on_unknown="allow")
    return verdict.summary


def test_a_server_that_could_lose_values_is_refused(guarded: Server, client: Client, tmp_path: Path) -> None:
    client("SET", "key", "value")
    assert "the server that is guarded" in _refusal(_at(guarded, tmp_path, f"unix://{guarded.path}?db=3"))
    folder = tmp_path / "r"
    folder.mkdir()
    with running("redis-7.0", folder) as other, other.client() as trash:
        guard = _at(guarded, tmp_path, f"unix://{other.path}")
        assert "could lose what it holds" in _refusal(guard)
        assert guard.remove(FLUSH, redis__trash_volatile="yes").moved == 1
        undo(guard.session(), guard.last())
        trash("CONFIG", "SET", "appendonly", "yes")
        assert "could lose what it holds" in _refusal(guard)  # every second, and it cannot be waited for
        trash("CONFIG", "SET", "appendfsync", "always")
        trash("CONFIG", "SET", "no-appendfsync-on-rewrite", "yes")
        assert "could lose what it holds" in _refusal(guard)
        trash("CONFIG", "SET", "no-appendfsync-on-rewrite", "no")
        assert guard.outcomes(FLUSH)["redis-undo"] is Outcome.PASS
        trash("CONFIG", "SET", "maxmemory", "100mb")
        trash("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        assert "may evict" in _refusal(guard)
        trash("CONFIG", "SET", "maxmemory-policy", "noeviction")
        assert guard.outcomes(FLUSH)["redis-undo"] is Outcome.PASS
        trash("CONFIG", "SET", "maxmemory", "1mb")
        assert guard.outcomes(FLUSH)["redis-undo"] is Outcome.BLOCK
        trash("CONFIG", "SET", "maxmemory", "0")
        trash("REPLICAOF", "127.0.0.1", "1")
        assert "replica" in _refusal(guard)
    assert client("GET", "key") == b"value"


def test_captured_values_outlive_a_crash_of_their_server(guarded: Server, client: Client, tmp_path: Path) -> None:
    client("SET", "key", "value")
    folder = tmp_path / "r"
    folder.mkdir()
    with running("redis-6.2", folder, *SYNCED) as other:
        guard = _at(guarded, tmp_path, f"unix://{other.path}")
        receipt = guard.remove(FLUSH)  # then the server is killed
    with pytest.raises(TrashUnusable):
        undo(guard.session(), receipt.op)
    assert guard.state_of(receipt.op) == "DONE"
    (folder / "s").unlink()
    with running("redis-6.2", folder, *SYNCED):
        assert undo(guard.session(), receipt.op).restored == 1
    assert client("GET", "key") == b"value"


def test_a_server_that_loses_its_connection_is_never_believed(
    guarded: Server, client: Client, synced: Server, tmp_path: Path
) -> None:
    """Cut at the first write, and at the first word of what became of a batch."""
    pipeline(client, [("SET", f"key:{n}", "v") for n in range(4)])
    before = everything(client)
    for number, word in enumerate((b"HSET", b"K\x00\x00", b"R\x00\x00\x00\x00")):
        _trash_on(synced)
        front = str(tmp_path / f"front{number}")
        guard = _at(guarded, tmp_path / str(number), f"unix://{front}")
        with dropping(synced.path, front, word):
            try:
                guard.remove(FLUSH)
            except Failure:
                assert guard.state_of(guard.last()) in {"CANCELLED", "WAITING", "UNKNOWN"}
        Path(front).unlink()
        Path(front).symlink_to(synced.path)
        if guard.state_of(guard.last()) in {"DONE", "WAITING", "UNKNOWN"}:
            undo(guard.session(), guard.last())
        assert everything(client) == before


@pytest.mark.parametrize("fault", [Fault.ERROR, Fault.DROPPED, Fault.LOST, Fault.CUT])
def test_a_store_that_fails_now_and_then_is_asked_again(
    guarded: Server, client: Client, tmp_path: Path, remote: Remote, fault: Fault
) -> None:
    _fill(client)
    before = everything(client)
    guard = _at(guarded, tmp_path, remote.place)
    remote.flaky.choose = lambda number, _method, _path: fault if number % 3 == 2 else Fault.NONE
    receipt = guard.remove(FLUSH)
    assert receipt.moved == len(before)
    assert undo(guard.session(), receipt.op).restored == len(before)
    assert everything(client).keys() == before.keys()


@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_a_store_that_fails_for_good_lets_nothing_go_that_was_not_kept(
    guarded: Server, client: Client, tmp_path: Path, remote: Remote, at: int
) -> None:
    """The n-th put is denied, and all after it: header, first batch, what became of it, second batch."""
    pipeline(client, [("SET", f"key:{n}", "v") for n in range(4)])
    before = everything(client)
    guard = _at(guarded, tmp_path, remote.place)
    found, verdicts = guard.look(FLUSH)
    puts = count()
    remote.flaky.choose = lambda _number, method, _path: (
        Fault.DENIED if method == "PUT" and next(puts) >= at else Fault.NONE
    )
    with pytest.raises(Failure):
        guard.remove(FLUSH, redis__rate="2")
    op = guard.last()
    assert guard.state_of(op) == ["CANCELLED", "WAITING", "UNKNOWN", "WAITING"][at]
    assert client("DBSIZE") == [4, 4, 2, 2][at]
    remote.flaky.choose = lambda _number, _method, _path: Fault.NONE
    if at:
        undo(guard.session(), op)
    assert everything(client) == before
    assert len(found.plan.items) == 4
    assert verdicts


def test_objects_that_somebody_removed_are_missed(
    guarded: Server, client: Client, tmp_path: Path, remote: Remote
) -> None:
    pipeline(client, [("SET", f"key:{n}", "v") for n in range(4)])
    guard = _at(guarded, tmp_path, remote.place)
    receipt = guard.remove(FLUSH, redis__rate="2")
    session = guard.session()
    store = open_store(remote.place, cwd=tmp_path, session="0" * 32)
    names = sorted(one.name for one in store.list())
    whole = {name: bytes(store.get(name)) for name in names}
    for gone in (names[-2:], names[1:2], names[:1]):
        store.delete(gone)
        with pytest.raises(Failure, match=r"missing|not in the trash any more"):
            undo(session, receipt.op)
        for name in gone:
            store.create(name, whole[name])
    undo(session, receipt.op)
    assert client("DBSIZE") == 4


def _settled(guard: Guard) -> None:
    """What a person would do after a crash: recover, and put back what went."""
    problems = [one.problem for one in recover(guard.session(), None, wait_s=0) if one.problem]
    assert problems == []
    if guard.last() and guard.state_of(guard.last()) in {"DONE", "WAITING", "UNKNOWN"}:
        undo(guard.session(), guard.last())


@pytest.fixture
def on_server(
    guarded: Server, client: Client, synced: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Guard:
    """Some keys, taken few at once, with the trash on another server."""
    monkeypatch.setattr(redis_removal, "BATCH_KEYS", 3)
    pipeline(client, [("SET", f"key:{n}", "v") for n in range(5)])
    client("RPUSH", "large", *["word" * 20] * 3_000)
    return _at(guarded, tmp_path, _trash_on(synced))


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("kind", "name"), [(TrashStream, "sync"), (ServerBin, "add"), (Link, "remove"), (Journal, "advance")]
)
def test_killed_anywhere_nothing_is_lost_with_the_trash_on_another_server(
    on_server: Guard, client: Client, synced: Server, kind: type, name: str, *, after: bool
) -> None:
    guard = on_server
    before = everything(client)
    for number in range(1, 30):
        killed = killed_at(lambda: guard.remove(FLUSH), kind, name, number, after=after)
        _settled(guard)
        assert everything(client) == before, (number, guard.state_of(guard.last()))
        if not killed:
            break
    guard.remove(FLUSH)
    killed_at(lambda: undo(guard.session(), guard.last()), Link, "restore", 1, after=after)
    _settled(guard)
    assert everything(client) == before
    session = guard.session()
    with session.journal() as journal:
        for one in stored(session, journal):
            killed_at(partial(_purged, guard, one.op), ServerBin, "throw_away", 1, after=after)
    assert [one.problem for one in recover(session, None, wait_s=0) if one.problem] == []
    with session.journal() as journal:
        for one in stored(session, journal):
            purge(session, journal, one)
        assert stored(session, journal) == []
    with synced.client() as trash:
        assert trash("DBSIZE") == 0


def _purged(guard: Guard, op: str) -> None:
    session = guard.session()
    with session.journal() as journal:
        for one in stored(session, journal):
            if one.op == op:
                purge(session, journal, one)


_DRIVER = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = [{tests!r}]
from go_cache_safeguard.flows import redis_removal
from go_cache_safeguard.flows.redis_plan import Wanted
from go_cache_safeguard.redis.trashstore import TrashObjects
from redisguard import Guard
redis_removal.BATCH_KEYS = 3
real, calls = TrashObjects.sync, [0]
def sync(self):
    calls[0] += 1
    if calls[0] == {number} and not {after}:
        os.kill(os.getpid(), signal.SIGKILL)
    real(self)
    if calls[0] == {number}:
        os.kill(os.getpid(), signal.SIGKILL)
TrashObjects.sync = sync
Guard({url!r}, Path({state!r}), {settings!r}).remove(Wanted("FLUSHDB", everything=True))
"""


@pytest.mark.parametrize(("number", "after"), [(1, False), (2, False), (2, True), (3, True), (4, False)])
def test_killed_anywhere_nothing_is_lost_with_the_trash_in_a_store(
    guarded: Server, client: Client, tmp_path: Path, remote: Remote, number: int, *, after: bool
) -> None:
    guard = _at(guarded, tmp_path, remote.place)
    pipeline(client, [("SET", f"key:{n}", "v") for n in range(5)])
    before = everything(client)
    program = _DRIVER.format(
        tests=str(Path(__file__).parents[1]),
        number=number,
        after=after,
        url=guard.url,
        state=str(guard.state),
        settings={**guard.settings},
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    _settled(guard)
    assert everything(client) == before
    with pytest.raises(IllegalTransition):
        undo(guard.session(), guard.last())


def test_a_user_with_the_documented_rights_and_a_password_is_enough(
    guarded: Server, client: Client, logging_server: Server, tmp_path: Path
) -> None:
    text = (Path(__file__).parents[2] / "docs/redis.md").read_text("utf-8")
    rights = text.partition("`~gcs:trash* ")[2].partition("`")[0].split()
    assert "+waitaof" in rights
    _trash_on(logging_server)
    secret = tmp_path / "secret"
    secret.write_text("pass word\n")
    secret.chmod(0o600)
    with logging_server.client() as trash:
        trash("ACL", "SETUSER", "keeper", "on", ">pass word", "~gcs:trash*", "-@all", *rights)
    guard = _at(guarded, tmp_path, f"unix://keeper@{logging_server.path}", redis__trash_password_file=str(secret))
    _fill(client)
    before = everything(client)
    receipt = guard.remove(FLUSH)
    assert undo(guard.session(), receipt.op).restored == len(before)
    _purged(guard, receipt.op)
    with logging_server.client() as trash:
        assert trash("DBSIZE") == 0
        trash("ACL", "DELUSER", "keeper")
    with pytest.raises(TrashUnusable):
        guard.remove(FLUSH, policy__on_unknown="allow")
    assert everything(client).keys() == before.keys()


def test_a_call_that_waits_for_a_person_is_kept_there_and_can_be_undone(guard: Guard, client: Client) -> None:
    client("SET", "user:1", "old", "PXAT", "4000000000123")
    with asking(guard, redis__protect="user:*") as gate:
        op = gate.held("SET", "user:1", "new")
        assert not list((guard.state / "trash").glob("*.values"))
        gate.approve(op)
        answer = gate("SET", "user:1", "new")
        assert isinstance(answer, Answered), answer
        assert (client("GET", "user:1"), gate.state(op)) == (b"new", "DONE")
        assert undo(guard.session(), op).restored == 1
    assert (client("GET", "user:1"), client("PEXPIRETIME", "user:1")) == (b"old", 4_000_000_000_123)


@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_a_call_is_not_done_before_it_is_kept_and_not_called_undone_afterwards(
    guarded: Server, client: Client, tmp_path: Path, remote: Remote, at: int
) -> None:
    """The n-th put is denied: header, the call, the value, what became of it."""
    client("SET", "user:1", "old")
    puts = count()
    remote.flaky.choose = lambda _number, method, _path: (
        Fault.DENIED if method == "PUT" and next(puts) >= at else Fault.NONE
    )
    guard = _at(guarded, tmp_path, remote.place)
    with asking(guard, redis__protect="user:*") as gate:
        if at < 2:
            assert isinstance(gate("SET", "user:1", "new"), Refused)
        else:
            op = gate.held("SET", "user:1", "new")
            gate.approve(op)
            answer = gate("SET", "user:1", "new")
            assert not isinstance(answer, Pass)
            assert not isinstance(answer, Answered) or answer.reply.startswith(b"-GUARDUNKNOWN ")
            assert gate.state(op) == ["CANCELLED", "UNKNOWN"][at - 2]
    assert client("GET", "user:1") == (b"new" if at == 3 else b"old")
    remote.flaky.choose = lambda _number, _method, _path: Fault.NONE
    if at == 3:
        assert undo(guard.session(), guard.last(), replace=True).restored == 1
        assert client("GET", "user:1") == b"old"


def test_what_a_crash_left_without_a_name_goes_after_a_day(guarded: Server, client: Client, tmp_path: Path) -> None:
    client("SET", "key", "value")
    left = [tmp_path / "objects/staging/0" / name for name in ("old", "new")]
    left[0].parent.mkdir(parents=True)
    for path in left:
        path.write_bytes(b"half a value")
    os.utime(left[0], (0, time.time() - 90_000))
    guard = _at(guarded, tmp_path, f"file://{tmp_path}/objects")
    assert guard.remove(FLUSH).moved == 1
    assert [path.exists() for path in left] == [False, True]
    assert undo(guard.session(), guard.last()).restored == 1
