"""The guard of one real server, inside of a test: plan, decide, remove, undo, as the command line would."""

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from go_cache_safeguard.core.plan import Plan
from go_cache_safeguard.core.receipt import Receipt
from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.flows.approve import approve_by_digest
from go_cache_safeguard.flows.clean import Held, clean
from go_cache_safeguard.flows.progress import Silent
from go_cache_safeguard.flows.redis_plan import Survey, Wanted, judge, survey
from go_cache_safeguard.flows.redis_removal import execute, resume
from go_cache_safeguard.flows.redis_server import address_of, connect
from go_cache_safeguard.flows.session import Session, open_session
from redisservers import Client

OPEN = {
    "approval.self": "always",
    "redis.on_no_history": "warn",
    "redis.max_share": "100%",
    "policy.hold_share": "100%",
    "redis.block_ttl_threshold": "0s",
}
"""Settings with which an ordinary removal is allowed at once."""


@dataclass(frozen=True, slots=True)
class Guard:
    """One server and one state directory.

    Attributes:
        url: Of the server.
        state: The state directory.
        settings: Besides `OPEN`.
    """

    url: str
    state: Path
    settings: dict[str, str] = field(default_factory=dict)

    def session(self, **more: str) -> Session:
        given = {**OPEN, **self.settings, **{key.replace("__", "."): text for key, text in more.items()}}
        return open_session({"state.dir": str(self.state), **given}, progress=Silent())

    def look(self, wanted: Wanted, **more: str) -> tuple[Survey, list[Verdict]]:
        session = self.session(**more)
        with connect(session, address_of(session, self.url)) as server:
            found = survey(session, server, wanted)
        return found, judge(session, found.facts)

    def remove(self, wanted: Wanted, **more: str) -> Receipt:
        found, verdicts = self.look(wanted, **more)
        return clean(self.session(**more), found.plan, lambda: verdicts, execute, None)

    def outcomes(self, wanted: Wanted, **more: str) -> dict[str, Outcome]:
        return {verdict.check: verdict.outcome for verdict in self.look(wanted, **more)[1]}

    def hold(self, wanted: Wanted, **more: str) -> tuple[str, Plan]:
        """Ask for something that is held; returns the operation."""
        found, verdicts = self.look(wanted, **more)
        try:
            clean(self.session(policy__on_warn="hold", **more), found.plan, lambda: verdicts, execute, None)
        except Held:
            with self.session().journal() as journal:
                return journal.operations()[-1].id, found.plan
        raise AssertionError("it was not held")

    def approve(self, op: str, plan: Plan) -> None:
        session = self.session()
        with session.journal() as journal:
            approve_by_digest(session, journal, op, plan.digest)

    def resume(self, op: str, **more: str) -> Receipt:
        return resume(self.session(**more), op)

    def state_of(self, op: str) -> str:
        with self.session().journal(read_only=True) as journal:
            return str(journal.operation(op).state) if op else ""

    def last(self) -> str:
        """The newest operation; empty before there is one."""
        with self.session().journal() as journal:
            return next((operation.id for operation in reversed(journal.operations())), "")


def everything(client: Client) -> dict[bytes, tuple[bytes, int]]:
    """Value and end of every key, as bytes that can be compared; the end by whatever the server knows best."""
    found = {}
    for key in client.strings("KEYS", "*"):
        found[key] = client.text("DUMP", key), _end(client, key)
    return found


def _end(client: Client, key: bytes) -> int:
    if client("COMMAND", "INFO", "PEXPIRETIME") != [None]:
        return client.number("PEXPIRETIME", key)
    for words in (("MULTI",), ("PTTL", key), ("TIME",)):
        client(*words)
    left, (seconds, micros) = cast("tuple[int, tuple[bytes, bytes]]", client("EXEC"))  # both at one moment
    return left if left < 0 else left + int(seconds) * 1000 + int(micros) // 1000


@contextmanager
def dropping(path: str, front: str, word: bytes) -> Iterator[None]:
    """A proxy that passes everything on, and drops both connections instead of the reply to what holds a word."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(front)
    listener.listen()

    def serve() -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                threading.Thread(target=_relay, args=(near, path, word), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(timeout=10)


def _relay(near: socket.socket, path: str, word: bytes) -> None:
    far = socket.socket(socket.AF_UNIX)
    far.connect(path)
    with near, far, suppress(OSError):
        waiting = {near: far, far: near}
        hit = False
        near.settimeout(0.02)
        far.settimeout(0.02)
        while True:
            for source, sink in waiting.items():
                try:
                    data = source.recv(1 << 16)
                except TimeoutError:
                    continue
                if not data or (hit and source is far):
                    return
                hit |= source is near and word in data
                sink.sendall(data)


def killed_at(act: Callable[[], object], kind: type, name: str, number: int, *, after: bool) -> bool:
    """Do it in a child that is killed at its n-th call, before or after. Returns whether it was."""
    child = os.fork()
    if child:
        status = os.waitpid(child, 0)[1]
        assert status in {0, signal.SIGKILL}, "it failed instead"
        return status == signal.SIGKILL
    try:
        real, calls = getattr(kind, name), [0]

        def call(*args: Any, **named: Any) -> Any:
            calls[0] += 1
            if calls[0] == number and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            answer = real(*args, **named)
            if calls[0] == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        setattr(kind, name, call)
        act()
    except BaseException:  # noqa: BLE001 - nothing may return into the tests of the parent
        os._exit(1)
    os._exit(0)
