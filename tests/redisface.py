"""Guarded clients of redis-py for tests: a gate that is told what to say, and what a server was really asked to do."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from go_cache_safeguard.flows.progress import Silent
from go_cache_safeguard.flows.session import Session, open_session
from go_cache_safeguard.redis.address import Address
from go_cache_safeguard.redis.call import Answer, Call, Held, Pass
from go_cache_safeguard.redis.intent import Intent
from go_cache_safeguard.redis_py import Guard
from redisservers import Client

HELD = Held("op_test", "a person decides")


@dataclass
class Gatekeeper:
    """Says the same to everything.

    Attributes:
        answer: What it says.
        asked: What it was asked.
        doors: Waits for it before it answers, if it is not None.
        gone: Whether the one who asked went away meanwhile.
        called: Set when it was asked.
    """

    answer: Answer = field(default_factory=Pass)
    asked: list[tuple[Call, Intent]] = field(default_factory=list)
    doors: threading.Event | None = None
    gone: bool = False
    called: threading.Event = field(default_factory=threading.Event)

    def decide(self, call: Call, intent: Intent, *, abandoned: Callable[[], bool] | None = None) -> Answer:
        self.asked.append((call, intent))
        self.called.set()
        if self.doors is not None:
            assert self.doors.wait(30)
            self.gone = abandoned is not None and abandoned()
        return self.answer

    def close(self) -> None:
        """Nothing is open."""


def session(state: Path, settings: dict[str, str] | None = None) -> Session:
    return open_session({"state.dir": str(state), **(settings or {})}, progress=Silent())


def guard(state: Path, gate: Gatekeeper | None = None, settings: dict[str, str] | None = None) -> Guard:
    """A guard that asks this gate, or the real one."""

    def opened(_session: Session, _address: Address) -> Gatekeeper:
        assert gate is not None
        return gate

    return Guard(session(state, settings), None if gate is None else opened)


def calls(client: Client) -> dict[str, int]:
    """How often each command was done since `counted` began, by the server's own statistics."""
    lines = client.text("INFO", "commandstats").decode().splitlines()
    found = {}
    for line in lines:
        name, _, text = line.partition(":")
        if name.startswith("cmdstat_"):
            found[name.removeprefix("cmdstat_").lower()] = int(text.split(",")[0].removeprefix("calls="))
    return {name: count for name, count in found.items() if name not in {"info", "config|resetstat", "config"}}


@contextmanager
def counted(client: Client) -> Iterator[dict[str, int]]:
    """What the server does inside, filled in at the end; not what a client says when it connects."""
    client("CONFIG", "RESETSTAT")
    found: dict[str, int] = {}
    yield found
    greetings = {"hello", "client", "client|setinfo", "client|maint_notifications", "select", "command"}
    found.update({name: count for name, count in calls(client).items() if name not in greetings})
