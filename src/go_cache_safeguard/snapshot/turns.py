"""Writers and prunes of a repository take turns.

Knows:     how a writer and a prune announce themselves in the repository, who of them waits, and when an announcement is dead.
Called by: `snapshot.deposit` for a writer, `flows.repository` for a prune.
Never:     removes the announcement of somebody who may be alive.
Source:    the order "announce, then look for the others" is Dekker's: of two who do so at the same time at least one sees the other,
           given a store that shows what was put to whoever looks next. S3 does since December 2020 (docs.aws.amazon.com, "Amazon S3 data
           consistency model"), GCS, Azure and local folders always did. Why so: docs/decisions/0005-repository-prune.md.

Many may write at once, and nobody may prune meanwhile. An announcement is an object below `locks/`; its owner renews it. It is
dead when its process is (if that ran on this machine), or when it was not renewed for half an hour by the store's own clock.
"""

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import TypeAlias

from go_cache_safeguard.core.canonical import canonical
from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.snapshot.repository import LOCKS, Stored
from go_cache_safeguard.snapshot.store import NoObject, Store, StoreFailed

DEAD_S = 1800
_RENEW_S = 300
_LOST_S = 900
_POLL_S = 0.2
_ACTIVE: set[str] = set()
"""Announcements that this process stands by; others of its own are leftovers that could not be removed."""
Say: TypeAlias = Callable[[str], None]


class RepositoryLocked(Failure):
    """Somebody else works on the repository."""

    id = "repository-locked"
    exit_code = ExitCode.LOCKED
    meaning = "a prune waits for a snapshot that is being written, or the other way round"


class TurnLost(Failure):
    """Our announcement vanished or could not be renewed."""

    id = "turn-lost"
    exit_code = ExitCode.NOTHING_REMOVED
    meaning = "this process was away for so long that others took it for dead"


class Turn:
    """Our announcement.

    Attributes:
        name: Of the object.
        now_ns: What the store's clock showed when it was made, nanoseconds since 1970-01-01 UTC.
        began_s: What ours showed then, seconds since the boot.
    """

    def __init__(self, store: Store, name: str) -> None:
        self.name = name
        self._store = store
        self.began_s = self._renewed_s = _boot_s()
        found = store.head(name)
        self.now_ns = found.changed_ns if found else time.time_ns()

    def check(self) -> None:
        """Make sure that nobody can have taken us for dead.

        Raises:
            TurnLost: Somebody can have.
        """
        if _boot_s() - self._renewed_s > _LOST_S or self._store.head(self.name) is None:
            raise TurnLost(
                "the repository took this process for dead, because it did not tell for long that it is alive",
                not_done="no snapshot was recorded and nothing more was removed",
                hint="run the command again",
            )

    def renew(self) -> None:
        """Tell that we are alive.

        Raises:
            StoreFailed: The store does not listen.
        """
        self._store.replace(self.name, _announcement())
        self._renewed_s = _boot_s()


@contextmanager
def writing(store: Store, session: str, *, wait_s: float, say: Say) -> Iterator[Turn]:
    """Announce a writer for the length of a block; before, let a running prune end.

    Args:
        store: The repository's.
        session: 32 hexadecimal digits that nobody else has.
        wait_s: How long to wait for a prune, seconds.
        say: Told whom we wait for.

    Raises:
        RepositoryLocked: The prune did not end in time.
        StoreFailed: The store cannot be read or written.
    """
    waiting = _Waiting(store, wait_s, say)
    while True:
        with _announced(store, f"{LOCKS}/write-{session}") as turn:
            prune = next(_others(store, turn, "prune"), None)
            if prune is None:
                yield turn
                return
        # Not announced while we wait: that prune waits for those who are.
        waiting.for_(prune)


@contextmanager
def pruning(store: Store, session: str, *, wait_s: float, say: Say) -> Iterator[Turn]:
    """Announce a prune for the length of a block; before, let everybody who began earlier end.

    Args:
        store: The repository's.
        session: 32 hexadecimal digits that nobody else has.
        wait_s: How long to wait for them, seconds.
        say: Told whom we wait for.

    Raises:
        RepositoryLocked: Another prune is under way, or a writer did not end in time.
        StoreFailed: The store cannot be read or written.
    """
    waiting = _Waiting(store, wait_s, say)
    with _announced(store, f"{LOCKS}/prune-{session}") as turn:
        while (other := next(_others(store, turn, ""), None)) is not None:
            if _is_prune(other.name) and other.name < turn.name:
                raise _locked("another prune is under way", _who(store, other.name))
            waiting.for_(other)
        yield turn


class _Waiting:
    """Somebody who waits, but not for ever, and says once for whom."""

    def __init__(self, store: Store, wait_s: float, say: Say) -> None:
        self._store, self._until, self._say = store, time.monotonic() + wait_s, say
        self._told = False

    def for_(self, other: Stored) -> None:
        who = _who(self._store, other.name)
        if time.monotonic() >= self._until:
            raise _locked("the repository is in use", who)
        if not self._told:
            self._say(f"waiting for {who}")
            self._told = True
        time.sleep(_POLL_S)


@contextmanager
def _announced(store: Store, name: str) -> Iterator[Turn]:
    ended = Event()
    _ACTIVE.add(name)
    try:
        store.create(name, _announcement())
        turn = Turn(store, name)

        def renew() -> None:
            while not ended.wait(_RENEW_S):
                with suppress(StoreFailed):  # `check` sees that it did not succeed
                    turn.renew()

        renewer = Thread(target=renew, name="renew", daemon=True)
        renewer.start()
        try:
            yield turn
        finally:
            ended.set()
            renewer.join()
    finally:
        _ACTIVE.discard(name)
        with suppress(StoreFailed):  # it dies with us, or by its age
            store.delete([name])


def _others(store: Store, turn: Turn, kind: str) -> Iterator[Stored]:
    """Announcements of others who are alive; those of the dead are removed. Names are unique, so the dead stay dead."""
    for lock in sorted(store.list(LOCKS)):
        if lock.name == turn.name or not lock.name.startswith(f"{LOCKS}/{kind}"):
            continue
        now_ns = turn.now_ns + int((_boot_s() - turn.began_s) * 10**9)
        if _is_dead(store, lock, now_ns):
            with suppress(StoreFailed):  # somebody who may not remove it can still go on
                store.delete([lock.name])
        else:
            yield lock


def _is_prune(name: str) -> bool:
    return name.startswith(f"{LOCKS}/prune")


def _is_dead(store: Store, lock: Stored, now_ns: int) -> bool:
    if now_ns - lock.changed_ns > DEAD_S * 10**9:
        return True
    try:
        value = json.loads(bytes(store.get(lock.name)))
        pid = int(value["pid"])
        same = bool(value["boot"]) and (value["boot"], value["namespace"]) == _machine()
        if same and pid == os.getpid():
            return lock.name not in _ACTIVE
        return same and _started(pid) != value["started"]
    except NoObject:
        return True  # it ended just now
    except (ValueError, TypeError, KeyError):
        return False  # not ours to judge: its age decides


def _who(store: Store, name: str) -> str:
    kind = "a prune" if _is_prune(name) else "a snapshot"
    try:
        value = json.loads(bytes(store.get(name)))
        return (
            f"{kind} on {str(value['host'])[:100]!a} (process {int(value['pid'])}, since {str(value['since'])[:30]!a})"
        )
    except (NoObject, ValueError, TypeError, KeyError):
        return kind


def _locked(why: str, who: str) -> RepositoryLocked:
    return RepositoryLocked(
        f"{why}: {who}",
        not_done="nothing was stored or removed",
        hint="try again when it has ended; what was killed on another machine counts as dead after half an hour",
    )


def _announcement() -> bytes:
    boot, namespace = _machine()
    return canonical(
        {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "boot": boot,
            "namespace": namespace,
            "started": _started(os.getpid()),
            "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
    )


def _machine() -> tuple[str, str]:
    """This boot, and the namespace in which a process number means something; empty where /proc does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(
            "ascii"
        ).strip(), f"{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return "", ""


def _started(pid: int) -> str:
    """When a process began, in ticks since the boot; empty when there is none, or only what is left of a dead one."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    except (OSError, IndexError):
        return ""


def _boot_s() -> float:
    """Seconds since the boot, sleep included: what was asleep may have been taken for dead."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
