"""The hit rates of servers: what is asked, what was our own, what outlives a restart."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from go_cache_safeguard.core.errors import Failure
from go_cache_safeguard.flows.progress import Silent
from go_cache_safeguard.flows.redis_hitrate import HitRates, Kept, OwnLookups, Told, kept_bytes, parse_kept
from go_cache_safeguard.flows.session import Session, open_session
from go_cache_safeguard.redis.address import Address
from go_cache_safeguard.redis.hitrate import HitRate, Reading, Sample, State
from redisservers import BINARIES, Server, running

KNOWN = HitRate(Sample(10, 3, 4, "run"), (1.5, -0.25), 1, (0.125,), Reading(State.DROPPED, 0.5, 0.75, 4.5, 9))


@pytest.fixture(params=sorted(BINARIES))
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "server"
    folder.mkdir()
    with running(request.param, folder) as started:
        yield started


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return open_session({"state.dir": str(tmp_path / "state")}, progress=Silent())


def the_file(session: Session) -> Path:
    return next((session.state_dir / "hit-rates").glob("*.json"))


def sample_of(session: Session, rates: HitRates) -> list[object]:
    """Hits and misses without our own, at the last look."""
    assert rates.readings()
    found = json.loads(the_file(session).read_bytes())["ours"]
    return [found[1] - found[3], found[2] - found[4]]


def test_counters_and_clock_come_from_the_server_and_our_own_look_ups_do_not_count(
    server: Server, session: Session
) -> None:
    address, ours = Address(path=server.path), OwnLookups(1, 2)

    def samples(rates: HitRates) -> list[object]:
        assert rates.look() == []
        return sample_of(session, rates)

    with server.client() as client:
        rates = HitRates(session, [address], lambda _: ours.total(0))
        assert rates.readings() == {address.target: None}
        assert samples(rates) == [0, 0]
        client("SET", "a", 1)
        for key in "aaaaabb":
            client("GET", key)
        ours.put(0, 0, (2, 0))
        ours.put(1, 0, (1, 1))
        assert samples(rates) == [5 - 3, 2 - 1]
        reading = rates.readings()[address.target]
        assert reading is not None
        assert reading.state is State.LEARNING
        assert abs(rates.ahead_ms(address.target)) < 60_000
        rates.close()
        # Another process begins to count its own from zero.
        again = HitRates(session, [address])
        assert samples(again) == [2, 1]
        # The counters begin anew, and so does what is taken off.
        client("CONFIG", "RESETSTAT")
        client("GET", "a")
        assert samples(again) == [1, 0]
        again.close()


def test_a_server_that_is_gone_is_not_known_and_others_are(tmp_path: Path, session: Session) -> None:
    (tmp_path / "s").mkdir()
    with running("redis-7.0", tmp_path / "s") as server:
        gone, there = Address(path=str(tmp_path / "none")), Address(path=server.path)
        rates = HitRates(session, [gone, there])
        with pytest.raises(Failure, match="cannot be reached"):
            rates.look()
        readings = rates.readings()
        assert readings[gone.target] is None
        assert readings[there.target] is not None
        rates.move(there.target, gone)
        assert rates.readings() == {gone.target: None}
        rates.close()


def test_a_file_is_read_again_as_it_was_written() -> None:
    now = time.time_ns() // 1_000_000
    for kept in (Kept(KNOWN, now - 5, 7, Told("run", 5, 4, 3, 2)), Kept(HitRate(), now)):
        assert parse_kept(kept_bytes(kept), now) == kept


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"{}", b'{"at_ms": 1, "ahead_ms": 0}', b"\xff"])
def test_what_is_no_such_file_is_not_believed(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse_kept(data, 1)


def test_what_is_too_old_or_of_the_future_is_not_believed() -> None:
    for at_ms in (1_000_000, 5_000_001):
        with pytest.raises(ValueError, match="too old"):
            parse_kept(kept_bytes(Kept(KNOWN, at_ms)), 5_000_000)


def test_another_process_reads_what_the_first_one_has_seen(tmp_path: Path, session: Session) -> None:
    (tmp_path / "s").mkdir()
    with running("redis-7.0", tmp_path / "s") as server:
        address = Address(path=server.path)
        first, second = HitRates(session, [address]), HitRates(session, [address])
        assert second.readings() == {address.target: None}
        first.look()
        assert second.readings() == first.readings() != {address.target: None}
        the_file(session).write_bytes(b"x" * 100)
        assert HitRates(session, [address]).readings() == {address.target: None}
        first.close()


def test_counts_are_shared_with_processes_that_were_forked_later() -> None:
    counts = OwnLookups(2, 3)
    pid = os.fork()
    if not pid:
        counts.put(2, 1, (1 << 40, 7))
        os._exit(0)
    os.waitpid(pid, 0)
    counts.put(0, 1, (1, 1))
    assert counts.of(2, 1) == (1 << 40, 7)
    assert counts.total(1) == ((1 << 40) + 1, 8)
    assert counts.total(0) == (0, 0)
