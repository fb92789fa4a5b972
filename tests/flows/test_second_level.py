"""What many machines share: it comes back proved, and whatever it does no build waits for it or fails."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from threading import Thread

import pytest

from cacheprogs import Prog, build, running, said
from flakyproxy import Fault
from go_cache_safeguard.gocache.parcel import HEAD
from gocaches import PINNED, GoCache, Toolchain, copy_cache, find_toolchain
from redisservers import Server
from redisservers import running as redis_running
from s3servers import bucket_at, s3_server

CONTENTS = {sha256(bytes([number])).digest(): bytes([number]) * 5000 for number in range(6)}
LIMIT_S = 2.5
"""seconds: two, and what a busy machine adds."""


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with redis_running("redis-7.0", tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server() as server:
        yield server


@pytest.fixture
def place(redis: Server) -> str:
    with redis.client() as client:
        client("FLUSHALL")
    return f"unix://{redis.path}?db=0"


@contextmanager
def machine(tmp_path: Path, name: str, place: str, *options: str, **more: str) -> Iterator[Prog]:
    """A machine with a cache of its own that shares a second level."""
    root = tmp_path / name
    root.mkdir(exist_ok=True)
    with running(root, tmp_path / f"{name}-state", "--remote", place, *options, **more) as prog:
        yield prog


def fill(tmp_path: Path, place: str, *options: str, **more: str) -> None:
    """Let one machine build everything and send it."""
    with machine(tmp_path, "first", place, *options, "--set", "cacheprog.drain=20s", **more) as prog:
        for action, content in CONTENTS.items():
            prog.put(action, content)
        prog.close()
        assert said(prog) == ""


def names(root: Path) -> set[str]:
    return {path.name for path in root.glob("??/*")}


def keys_of(server: Server) -> list[bytes]:
    with server.client() as client:
        return sorted(client.strings("KEYS", "*"))


def test_what_one_machine_built_another_one_has_in_its_own_cache(tmp_path: Path, place: str, redis: Server) -> None:
    fill(tmp_path, place)
    assert keys_of(redis) == sorted(f"gcs:cacheprog:default/{action.hex()}".encode() for action in CONTENTS)
    with redis.client() as client:
        sizes = [client.number("STRLEN", key) for key in keys_of(redis)]
        assert all(0 < client.number("TTL", key) <= 7 * 86_400 for key in keys_of(redis))
    assert max(sizes) < HEAD + 500, "packed"
    with machine(tmp_path, "second", place, "--summary") as prog:
        assert all(prog.get(action) == content for action, content in CONTENTS.items())
        assert prog.get(b"?" * 32) is None
        prog.close()
        assert "7 lookups: 0 hits, 6 from the second level, 1 misses" in said(prog)
    assert names(tmp_path / "second") == names(tmp_path / "first")
    with machine(tmp_path, "second", "unix:///nowhere?db=0") as prog:
        assert all(prog.get(action) == content for action, content in CONTENTS.items())
        prog.close()


def test_namespaces_are_apart_and_nothing_is_sent_if_nothing_is_to_be(
    tmp_path: Path, place: str, redis: Server
) -> None:
    fill(tmp_path, place, "--namespace", "team")
    action = next(iter(CONTENTS))
    for options in (("--no-upload",), ("--read-only",)):
        with machine(tmp_path, f"with{options[0]}", place, *options) as prog:
            assert prog.get(action) is None
            if "--read-only" not in options:
                prog.put(action, CONTENTS[action])
            prog.close()
    with machine(tmp_path, "reader", place, "--read-only", "--namespace", "team") as prog:
        assert prog.hello["KnownCommands"] == ["get", "close"]
        assert prog.get(action) == CONTENTS[action]
        prog.close()
    assert names(tmp_path / "reader") == set()
    assert all(key.startswith(b"gcs:cacheprog:team/") for key in keys_of(redis))
    assert len(keys_of(redis)) == len(CONTENTS)
    with machine(tmp_path, "third", place, "--namespace", "../x") as prog:
        assert prog.get(action) is None
        prog.close()
        assert "there is no second level" in said(prog)


def test_a_parcel_that_was_changed_is_refused(tmp_path: Path, place: str, redis: Server) -> None:
    fill(tmp_path, place)
    actions = list(CONTENTS)
    with redis.client() as client:
        parcels = {action: client.text("GET", f"gcs:cacheprog:default/{action.hex()}") for action in actions}
        damaged = {
            actions[0]: parcels[actions[0]][:-1] + bytes([parcels[actions[0]][-1] ^ 1]),
            actions[1]: parcels[actions[1]][: HEAD + 3],
            actions[2]: b"",
            actions[3]: parcels[actions[3]][:12] + parcels[actions[4]][12:44] + parcels[actions[3]][44:],
            actions[4]: parcels[actions[4]][:44] + b"\x7f" * 8 + parcels[actions[4]][52:],
            actions[5]: os.urandom(500),
        }
        for action, data in damaged.items():
            client("SET", f"gcs:cacheprog:default/{action.hex()}", data)
    with machine(tmp_path, "second", place) as prog:
        assert [prog.get(action) for action in actions] == [None] * 6
        prog.close()
    assert names(tmp_path / "second") == set()


def test_with_a_shared_key_only_those_who_have_it_are_believed(tmp_path: Path, place: str) -> None:
    key, other = tmp_path / "key", tmp_path / "other"
    for path in (key, other):
        path.write_text(f"a secret of {path.name}")
        path.chmod(0o600)
    fill(tmp_path, place, GO_CACHE_SAFEGUARD_CACHEPROG_KEY_FILE=str(key))
    action = next(iter(CONTENTS))
    for name, file, expected in (("a", key, CONTENTS[action]), ("b", other, None)):
        with machine(tmp_path, name, place, GO_CACHE_SAFEGUARD_CACHEPROG_KEY_FILE=str(file)) as prog:
            assert prog.get(action) == expected
            prog.close()


@contextmanager
def silent_server() -> Iterator[int]:
    """A server that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    held.append(server.accept()[0])
                except OSError:
                    return

        thread = Thread(target=accept, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        for one in held:
            one.close()
    thread.join(10)


def test_a_server_that_hangs_costs_a_few_seconds_and_no_build(tmp_path: Path) -> None:
    with silent_server() as port, machine(tmp_path, "one", f"redis://127.0.0.1:{port}/0", "--summary") as prog:
        began = time.monotonic()
        assert [prog.get(sha256(bytes([number])).digest()) for number in range(40)] == [None] * 40
        for action, content in CONTENTS.items():
            prog.put(action, content)
        assert time.monotonic() - began < 3 * LIMIT_S, "after three failures it is left alone"
        assert max(prog.took) < LIMIT_S
        prog.close()
        assert max(prog.took) < LIMIT_S
        assert "40 misses" in said(prog)


def test_a_server_that_is_killed_in_the_middle_costs_no_build(tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    with redis_running("redis-7.0", tmp_path / "server") as server:
        place = f"unix://{server.path}?db=0"
        fill(tmp_path, place)
        first, *others = CONTENTS
        with machine(tmp_path, "second", place) as prog:
            assert prog.get(first) == CONTENTS[first]
            os.kill(server.pid, signal.SIGKILL)
            assert [prog.get(action) for action in others] == [None] * 5
            for action in others:
                prog.put(action, CONTENTS[action])
            prog.close()
            assert max(prog.took) < LIMIT_S


@pytest.mark.parametrize("options", [("--set", "cacheprog.nonsense=1"), ("--remote", "gopher://x")])
def test_settings_that_make_no_sense_cost_the_second_level_and_no_build(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    root = tmp_path / "cache"
    root.mkdir()
    with running(root, tmp_path / "state", *options) as prog:
        prog.put(b"a" * 32, b"content")
        assert prog.get(b"a" * 32) == b"content"
        prog.close()
        assert "settings are not used" in said(prog)


def test_an_object_store_serves_as_well_and_fails_as_harmlessly(
    tmp_path: Path, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bucket_at(s3, monkeypatch) as remote:
        secrets = {name: os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
        fill(tmp_path, remote.place, **secrets)
        first, second, third, *others = CONTENTS
        with machine(tmp_path, "second", remote.place, **secrets) as prog:
            assert prog.get(first) == CONTENTS[first]
            assert prog.get(b"?" * 32) is None
            remote.flaky.hang_s = 5.0
            remote.flaky.choose = lambda _number, _method, path: (
                Fault.HANGS if second.hex() in path else Fault.CUT if third.hex() in path else Fault.ERROR
            )
            assert [prog.get(action) for action in (second, third, *others)] == [None] * 5
            assert max(prog.took) < LIMIT_S
            prog.close()


def test_a_folder_serves_as_well_and_counts_are_kept_over_builds(tmp_path: Path) -> None:
    metrics, line = tmp_path / "cacheprog.prom", tmp_path / "builds.jsonl"
    options = ("--metrics", str(metrics), "--summary-file", str(line))
    fill(tmp_path, str(tmp_path / "shared"), *options)
    with machine(tmp_path, "second", str(tmp_path / "shared"), *options) as prog:
        assert all(prog.get(action) == content for action, content in CONTENTS.items())
        prog.close()
    text = metrics.read_text()
    assert "go_cache_safeguard_cacheprog_builds_total 2" in text
    assert 'go_cache_safeguard_cacheprog_lookups_total{result="fetched"} 6' in text
    assert "go_cache_safeguard_cacheprog_puts_total 6" in text
    assert len(line.read_text().splitlines()) == 2


def test_a_machine_with_nothing_builds_from_what_another_one_shared(
    tmp_path: Path, place: str, warm_cache: Callable[[Toolchain], GoCache]
) -> None:
    warm = copy_cache(warm_cache(find_toolchain(PINNED[-1])), tmp_path / "warm")
    warm.go("build", "./...")
    with machine(tmp_path, "sender", place, "--set", "cacheprog.drain=60s") as prog:
        for entry in warm.root.glob("??/*-a"):
            digits = entry.read_bytes()[68:132].decode()
            output = warm.root / digits[:2] / f"{digits}-d"
            if output.is_file():
                prog.put(bytes.fromhex(entry.name[:64]), output.read_bytes())
        prog.close()
    options = f"--summary --remote {place}"
    arguments = ("build", "-x", "-o", "program", ".")
    done = build(warm, tmp_path / "state", *arguments, options=options, GOCACHE=str(tmp_path / "empty"))
    assert done.returncode == 0, done.stderr
    assert "/compile -o" not in done.stderr
    assert "/link -o" in done.stderr
    assert " 0 hits, " in done.stderr
    assert "/compile -o" not in warm.run("build", "-n", "./...", GOCACHE=str(tmp_path / "empty")).stderr
