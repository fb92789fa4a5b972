"""A second level of `cacheprog` is emptied in waves, and real builds with it say whether the next wave may go: a real go, a real server."""

import os
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cacheprogs import build
from go_cache_safeguard.config.layer import ConfigBad
from go_cache_safeguard.core.receipt import Receipt
from go_cache_safeguard.flows.builds import builds_of, namespaces_of
from go_cache_safeguard.flows.clean import clean
from go_cache_safeguard.flows.golden import limits_of, source_of, window_ns
from go_cache_safeguard.flows.purge_waves import GateHolds, Watched, execute_waves, in_waves, told_waves
from go_cache_safeguard.flows.redis_plan import Wanted
from gocaches import OWN, GoCache, at, find_toolchain
from guardproxy import wait_until
from redisguard import Guard
from redisservers import Client, Server, running

pytestmark = pytest.mark.real
PACKAGES = 12
PARCELS = Wanted("UNLINK", patterns=(b"gcs:cacheprog:team/*",))
SETTINGS = {
    "signals.wave_settle": "1s",
    "signals.wave_patience": "20s",
    "signals.wave_first": "1000",
    "signals.wave_rollbacks": "1",
    "signals.builds": "2",
    "signals.build_misses": "2%",
    "redis.protect": "",
    "policy.on_block": "allow",
}


@dataclass(frozen=True, slots=True)
class Team:
    """Machines that build with one second level: each build begins with an empty cache of its own.

    Attributes:
        cache: A machine's, with a module that needs nothing of go's library.
        state: Of `cacheprog`.
        url: Of the second level.
    """

    cache: GoCache
    state: Path
    url: str

    def build(self, *packages: str, **more: str) -> None:
        shutil.rmtree(self.cache.root, ignore_errors=True)
        file = self.state / "builds.jsonl"
        before = file.read_text() if file.exists() else ""
        options = f"--remote {self.url} --namespace team --summary-file {file}"
        done = build(self.cache, self.state, "build", *packages, options=options, **more)
        assert (done.returncode, done.stderr) == (0, "")
        wait_until("it is told, which go does not wait for", lambda: file.exists() and file.read_text() != before)


def told(client: Client) -> list[str]:
    """Where builds leave their figures."""
    found: Any = client("KEYS", "gcs:builds:team:*")
    return [key.decode() for key in found]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running("redis-7.0", tmp_path_factory.mktemp("r")) as one:
        yield one


@pytest.fixture
def team(server: Server, tmp_path: Path) -> Team:
    with server.client() as client:
        client("FLUSHALL")
    cache = at(tmp_path / "go", find_toolchain(OWN))
    for kind in ("now", "then"):
        for number in range(PACKAGES):
            folder = cache.module / kind / f"p{number}"
            folder.mkdir(parents=True)
            file = folder / "p.go"
            file.write_text(f'package p{number}\n\nconst Kind = "{kind}"\n')
            os.utime(file, (1e9, 1e9))  # what is new is not indexed yet, and what is indexed is looked up, too
    (cache.module / "go.mod").write_text("module example.com/tiny\n\ngo 1.24\n")
    Path(cache.environ["HOME"]).mkdir()
    one = Team(cache, tmp_path / "state", f"unix://{server.path}")
    one.build("./now/...", "./then/...")
    (one.state / "builds.jsonl").unlink()  # of the first build everything had to be missing
    with server.client() as client:
        assert client("DEL", *told(client))
    return one


@pytest.fixture
def guard(team: Team, tmp_path: Path) -> Guard:
    for _ in range(3):
        team.build("./now/...")
    time.sleep(2.1)  # so that all of them ended before the whole second from which on is watched
    return Guard(team.url, tmp_path / "guard", {**SETTINGS, "cacheprog.remote": team.url})


def purge(guard: Guard) -> Receipt:
    found, verdicts = guard.look(PARCELS)
    plan = in_waves(found.plan, Watched("builds", ("team",)))
    return clean(guard.session(), plan, lambda: verdicts, execute_waves, None)


def rows(guard: Guard) -> list[dict[str, Any]]:
    with guard.session().journal(read_only=True) as journal:
        return [dict(row) for row in told_waves(journal, guard.last())]


def test_builds_that_begin_to_miss_have_the_wave_put_back(team: Team, guard: Guard, server: Server) -> None:
    with server.client() as client:
        before = client("DBSIZE")
        over = threading.Event()

        def work() -> None:
            while not over.wait(0.5):  # the first that misses sends what it missed: soon all others hit again
                team.build("./now/...")

        worker = threading.Thread(target=work, name="builds")
        worker.start()
        try:
            with pytest.raises(GateHolds, match="1 waves had to be put back"):
                purge(guard)
        finally:
            over.set()
            worker.join()
        (row,) = rows(guard)
        assert row["verdict"] == "ROLL_BACK"
        assert row["reasons"][0].startswith("team: errors rose from ")
        assert row["back"] >= PACKAGES  # nobody builds those of `then`; what was missed has been sent again
        assert client("DBSIZE") == before


def test_builds_are_known_by_namespace_and_without_new_ones_nothing_goes(
    team: Team, guard: Guard, server: Server
) -> None:
    source, config = source_of(guard.session().config, "builds"), guard.session().config
    found = source.look(["team", "other"], *window_ns(3_600))
    assert (found["team"].requests >= 3 * PACKAGES, found["team"].errors, len(found["team"].latencies)) == (True, 0, 3)
    assert 1 <= min(found["team"].latencies) <= max(found["team"].latencies) < 60_000
    assert found["other"].doubt == "no build that asked the second level has ended"
    in_file = builds_of(config, f"builds:{team.state}/builds.jsonl").look(["team"], *window_ns(3_600))["team"]
    assert (in_file.requests, in_file.errors) == (found["team"].requests, found["team"].errors)
    assert (limits_of(config, "builds").latencies, limits_of(config).latencies) == (2, 20)

    impatient = Guard(guard.url, guard.state, {**guard.settings, "signals.wave_patience": "2s"})
    with server.client() as client:
        before = client("DBSIZE")
        with pytest.raises(GateHolds, match="no build that asked the second level has ended"):
            purge(impatient)
        assert client("DBSIZE") == before


def test_a_build_tells_nobody_when_it_sends_nothing_and_never_fails_for_telling(
    team: Team, guard: Guard, server: Server
) -> None:
    with server.client() as client:
        keys = told(client)
        before = [client("XLEN", key) for key in keys]
        team.build("./now/...", GO_CACHE_SAFEGUARD_CACHEPROG_UPLOAD="no")
        assert [client("XLEN", key) for key in told(client)] == before
        assert client("TTL", keys[0]) in range(1, 2 * 24 * 3_600 + 1)
        key = f"gcs:builds:team:{time.time_ns() // (3_600 * 10**9)}"
        client("SET", key, "no stream")
        team.build("./now/...")
    found = source_of(guard.session().config, "builds").look(["team"], *window_ns(60))["team"]
    assert "WRONGTYPE" in found.doubt
    away = builds_of(guard.session().config, "builds:unix:///nowhere/redis.sock").look(["team"], *window_ns(60))
    assert "cannot be read" in away["team"].doubt


def test_a_place_that_cannot_tell_of_builds_is_refused_before_anything_goes(tmp_path: Path) -> None:
    config = Guard("unix:///nowhere", tmp_path).session().config
    for place, why in (("s3://bucket/x", "in a Redis only"), ("redis://:secret@h/0", "holds a password")):
        with pytest.raises(ConfigBad, match=why) as refused:
            builds_of(config, f"builds:{place}")
        assert "secret" not in str(refused.value)
    assert namespaces_of([b"gcs:cacheprog:a/1", b"gcs:cacheprog:b/2", b"gcs:cacheprog:a/3", b"x"]) == ("a", "b")
