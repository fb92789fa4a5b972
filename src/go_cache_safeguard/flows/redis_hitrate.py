"""How often the servers' clients find what they look for, watched all the time.

Knows:     how INFO becomes samples, which look-ups were our own, and where the history lies so that a restart does not lose it.
Called by: `flows.redis_proxy` every few seconds; `flows.redis_gate` asks for the readings.
Never:     takes a reading for the present when it is not: what was not looked at lately is not known.
"""

import json
import mmap
import os
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

from go_cache_safeguard.core.errors import Failure
from go_cache_safeguard.flows.redis_server import connect_node
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.redis.address import Address
from go_cache_safeguard.redis.client import Server
from go_cache_safeguard.redis.hitrate import HitRate, Reading, Sample, State, Tuning, observe
from go_cache_safeguard.redis.info import parse_info

EVERY_S = 5.0
_FRESH_MS = 60_000
_KEPT_MS = 3_600_000
_LIMIT = 1 << 20
Own = Callable[[str], tuple[int, int]]
_COUNTS = struct.Struct("<QQ")
_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


class OwnLookups:
    """How many look-ups the gates of all processes caused; made before they are forked. Each process writes only its own."""

    def __init__(self, servers: int, workers: int) -> None:
        self._servers, self._workers = servers, workers
        self._memory = mmap.mmap(-1, max(1, servers * workers) * _COUNTS.size)

    def of(self, worker: int, server: int) -> tuple[int, int]:
        """Hits and misses of one process at one server."""
        return cast("tuple[int, int]", _COUNTS.unpack_from(self._memory, self._at(worker, server)))

    def put(self, worker: int, server: int, counts: tuple[int, int]) -> None:
        """Say how many there were."""
        _COUNTS.pack_into(self._memory, self._at(worker, server), *counts)

    def total(self, server: int) -> tuple[int, int]:
        """Hits and misses of all processes at one server."""
        counts = [self.of(worker, server) for worker in range(self._workers)]
        return sum(hits for hits, _ in counts), sum(misses for _, misses in counts)

    def _at(self, worker: int, server: int) -> int:
        return (server * self._workers + worker) * _COUNTS.size


@dataclass(frozen=True, slots=True)
class Told:
    """A server's counters as it told them last, and how much of them was our own.

    Attributes:
        run_id: Of the server: after a restart its counters begin again.
        hits: `keyspace_hits`.
        misses: `keyspace_misses`.
        found: Hits that we caused ourselves since the counters began.
        missed: Misses, likewise.
    """

    run_id: str
    hits: int
    misses: int
    found: int = 0
    missed: int = 0


@dataclass(frozen=True, slots=True)
class Kept:
    """What lies in the file of one server.

    Attributes:
        known: What is remembered.
        at_ms: When the server was looked at last, milliseconds since 1970-01-01 UTC.
        ahead_ms: How far its clock was ahead of ours.
        ours: Its counters; None if it did not tell any.
    """

    known: HitRate
    at_ms: int
    ahead_ms: int = 0
    ours: Told | None = None


class HitRates:
    """The hit rates of some servers. `readings` may be called from any thread, and from processes that do not look themselves."""

    def __init__(self, session: Session, addresses: Sequence[Address], own: Own = lambda _: (0, 0)) -> None:
        """Begin with what was known before.

        Args:
            session: Whose settings and state directory count.
            addresses: The servers.
            own: Look-ups that we caused ourselves at a server, hits and misses; they are taken off the server's own counts.
        """
        self._session = session
        self._own = own
        self._lock = threading.Lock()
        self._known = {address.target: HitRate() for address in addresses}
        self._addresses = {address.target: address for address in addresses}
        self._servers: dict[str, Server] = {}
        self._looked: dict[str, int] = {}
        self._ahead: dict[str, int] = {}
        self._ours: dict[str, Told] = {}
        self._seen: dict[str, tuple[int, int]] = {}
        self._read: dict[str, tuple[int, int]] = {}
        self._folder = session.state_folder("hit-rates")
        self._refresh()

    def readings(self) -> Mapping[str, Reading | None]:
        """What is known of each server now; None of those that could not be looked at lately."""
        self._refresh()
        now_ms = _now_ms()
        with self._lock:
            return {name: self._fresh(name, now_ms) for name in self._known}

    @property
    def reachable(self) -> frozenset[str]:
        """The servers that answered when they were asked last; only the process that looks knows."""
        return frozenset(self._servers.copy())

    def ahead_ms(self, name: str) -> int:
        """How far a server's clock is ahead of ours, as far as is known."""
        with self._lock:
            return self._ahead.get(name, 0)

    def look(self) -> list[str]:
        """Ask every server once, and keep what came out. Call this from one thread of one process only.

        Returns:
            For people: what has changed.

        Raises:
            ServerUnreachable: One of them cannot be asked; all others were.
        """
        said, failed = [], None
        for name, address in tuple(self._addresses.items()):
            before = self._known[name].reading.state
            try:
                self._observe(name, self._sample(name, address))
            except Failure as failure:
                failed = failure
            after = self._known[name].reading
            if after.state is not before and State.DROPPED in {before, after.state}:
                said.append(f"{name}: the hit rate {after.state.value}")
        if failed is not None and not said:
            raise failed
        return said

    def move(self, old: str, address: Address) -> None:
        """Look at another server instead, for example after a failover; nothing is known of it yet."""
        with self._lock:
            self._known.pop(old, None)
            self._addresses.pop(old, None)
            self._known[address.target] = HitRate()
            self._addresses[address.target] = address
        server = self._servers.pop(old, None)
        if server is not None:
            server.close()

    def close(self) -> None:
        """Hang up."""
        for server in self._servers.values():
            server.close()
        self._servers.clear()

    def _sample(self, name: str, address: Address) -> Sample:
        try:
            server = self._servers.get(name) or connect_node(self._session, address)
            self._servers[name] = server
            asked_ms = _now_ms()
            text = server.ask("INFO")
        except Failure:
            lost = self._servers.pop(name, None)
            if lost is not None:
                lost.close()
            raise
        info = parse_info(text if isinstance(text, bytes) else str(text).encode())
        server_us = info.count("server_time_usec")
        if server_us is not None:
            with self._lock:
                self._ahead[name] = server_us // 1_000 - (asked_ms + _now_ms()) // 2
        hits, misses = info.count("keyspace_hits"), info.count("keyspace_misses")
        if hits is None or misses is None:
            return Sample(_now_ms(), 0, 0, "not told")
        return self._without_ours(name, Sample(_now_ms(), hits, misses, info.fields.get("run_id", "")))

    def _without_ours(self, name: str, told: Sample) -> Sample:
        """Take off what we caused ourselves since the server's counters began, this process and those before it."""
        ours, before = self._own(name), self._seen.get(name, (0, 0))
        self._seen[name] = ours
        old = self._ours.get(name)
        if old is None or old.run_id != told.run_id or told.hits < old.hits or told.misses < old.misses:
            old = Told(told.run_id, told.hits, told.misses)  # a restart, or CONFIG RESETSTAT
        else:
            found, missed = old.found + ours[0] - before[0], old.missed + ours[1] - before[1]
            old = Told(told.run_id, told.hits, told.misses, found, missed)
        self._ours[name] = old
        return Sample(told.at_ms, max(0, told.hits - old.found), max(0, told.misses - old.missed), told.run_id)

    def _observe(self, name: str, sample: Sample) -> None:
        tuning = Tuning(lookups=self._session.config.count("redis.hit_rate_lookups"))
        with self._lock:
            known = self._known[name] = observe(self._known[name], sample, tuning)
            self._looked[name] = sample.at_ms
        with suppress(OSError):
            kept = Kept(known, sample.at_ms, self.ahead_ms(name), self._ours.get(name))
            _write(self._folder, _file_of(name), kept_bytes(kept))
            self._read[name] = _stamp(self._folder / _file_of(name))

    def _refresh(self) -> None:
        """Read what another process, or one before this, has written."""
        for name in tuple(self._known):
            path = self._folder / _file_of(name)
            try:
                stamp = _stamp(path)
                if self._read.get(name) == stamp:
                    continue
                self._read[name] = stamp
                kept = parse_kept(_bounded(path), _now_ms())
            except (OSError, ValueError):
                continue
            with self._lock:
                self._known[name], self._looked[name], self._ahead[name] = kept.known, kept.at_ms, kept.ahead_ms
            if kept.ours is not None:
                self._ours[name] = kept.ours

    def _fresh(self, name: str, now_ms: int) -> Reading | None:
        """What is known now; None if nobody has looked for a while."""
        lately = abs(now_ms - self._looked.get(name, 0)) < _FRESH_MS
        return self._known[name].reading if lately else None


def kept_bytes(kept: Kept) -> bytes:
    """What is remembered of one server, as a file."""
    known, ours = kept.known, kept.ours
    last, reading = known.last, known.reading
    value = {
        "at_ms": kept.at_ms,
        "ahead_ms": kept.ahead_ms,
        "ours": None if ours is None else [ours.run_id, ours.hits, ours.misses, ours.found, ours.missed],
        "last": None if last is None else [last.at_ms, last.hits, last.misses, last.run_id],
        "history": [round(one, 6) for one in known.history],
        "low": known.low,
        "lasting": [round(one, 6) for one in known.lasting],
        "reading": [reading.state.name, reading.rate, reading.usual, reading.z, reading.since_ms],
    }
    return json.dumps(value).encode("ascii")


def parse_kept(data: bytes, now_ms: int) -> Kept:
    """Read such a file.

    Raises:
        ValueError: It is none, or too old to be of use.
    """
    try:
        value: dict[str, Any] = json.loads(data)
        at_ms = int(value["at_ms"])
        if not 0 <= now_ms - at_ms < _KEPT_MS:
            raise ValueError("too old")
        ours = value["ours"]
        told = None if ours is None else Told(str(ours[0]), *(int(ours[at]) for at in range(1, 5)))
        return Kept(_known(value), at_ms, int(value["ahead_ms"]), told)
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError("this is no history of a hit rate") from error


def _known(value: dict[str, Any]) -> HitRate:
    last, (state, rate, usual, z, since_ms) = value["last"], value["reading"]
    return HitRate(
        last=None if last is None else Sample(int(last[0]), int(last[1]), int(last[2]), str(last[3])),
        history=tuple(float(one) for one in value["history"]),
        low=int(value["low"]),
        lasting=tuple(float(one) for one in value["lasting"]),
        reading=Reading(
            State[state], _number(rate), _number(usual), float(z), None if since_ms is None else int(since_ms)
        ),
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _file_of(name: str) -> str:
    return f"{sha256(name.encode()).hexdigest()[:16]}.json"


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_ino


def _bounded(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_LIMIT)


def _write(folder: Path, name: str, data: bytes) -> None:
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with os.fdopen(os.open(f"{name}.new", _NEW, 0o600, dir_fd=directory), "wb") as file:
            file.write(data)
        os.replace(f"{name}.new", name, src_dir_fd=directory, dst_dir_fd=directory)
    finally:
        os.close(directory)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
