"""The guard inside of a Python process: the site's settings, and whom to ask.

Knows:     that the settings are those of the command line, which calls are harmless by their name and number of words, and that a
           gate belongs to one process and one server.
Called by: the guarded connections and clients.
Never:     lets a call through because it could not ask.
"""

import atexit
import os
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from go_cache_safeguard.flows.guard import load_rules
from go_cache_safeguard.flows.progress import Silent
from go_cache_safeguard.flows.session import Session, open_session
from go_cache_safeguard.redis.address import Address, parse_address
from go_cache_safeguard.redis.call import Answer, Answered, Call, Gate, Held, Pass, Refused
from go_cache_safeguard.redis.checks.names import may_lose
from go_cache_safeguard.redis.commands import Treatment
from go_cache_safeguard.redis.connection import Connection
from go_cache_safeguard.redis.fast import KeysSeen, Words, fast_calls, scan
from go_cache_safeguard.redis.intent import Intent, Terms, judge
from go_cache_safeguard.redis.resp import encode
from go_cache_safeguard.redis.tablefile import load_table
from go_cache_safeguard.redis_py.errors import GuardUnavailable, OperationHeld, OperationRefused
from go_cache_safeguard.redis_py.scripts import LIBRARY_SCRIPTS
from go_cache_safeguard.redis_py.timely import timely

_WILD, _WILD_TEXT = re.compile(rb"[*?\[\\]"), re.compile(r"[*?\[\\]")
_MULTI, _EXEC = encode((b"MULTI",)), encode((b"EXEC",))
_NAMES = re.compile(rb"\*[0-9]+\r\n\$[0-9]+\r\n(?=([^\r\n]*)\r\n)")
"""Looks at a name without going over it, so that a value that looks like a head cannot hide the head after it."""
_HEAD = re.compile(rb"\*([1-9])\r\n")
_BULK = re.compile(rb"\$(0|[1-9][0-9]{0,8})\r\n")


class Asking(Gate, Protocol):
    """A gate that may be told that nobody waits any more."""

    def decide(self, call: Call, intent: Intent, *, abandoned: Callable[[], bool] | None = None) -> Answer:
        """See `redis.call.Gate`."""

    def close(self) -> None:
        """Hang up."""


Opener = Callable[[Session, Address], Asking]


class Guard:
    """What all clients with the same settings share. Safe to use from several threads, and after a fork.

    Attributes:
        session: Who works here, with which settings.
        quick: Calls that are harmless whatever their words are, by name as text and as bytes.
    """

    def __init__(self, session: Session, opener: Opener | None = None) -> None:
        """Read the rules.

        Args:
            session: As the command line makes it.
            opener: Makes the gate of one server; None for the real one.

        Raises:
            ConfigBad: The settings cannot be used.
        """
        rules = load_rules(session.config)
        self.session = session
        self._rules = replace(rules, scripts=rules.scripts | frozenset(LIBRARY_SCRIPTS))
        self._table = load_table()
        self._soon_ms = session.config.seconds("redis.expire_soon") * 1000
        self._fast = fast_calls(self._table, self._rules)
        self._seen = KeysSeen(self._name_is_fine)
        self._opener = opener or _open_gate
        self._gates: dict[tuple[int, Address], Asking] = {}
        calls = self._fast.calls
        self._timely = timely(self._is_ordinary, self._soon_ms)
        self.quick: Mapping[Any, Words] = {**calls, **{name.decode("latin-1"): words for name, words in calls.items()}}
        self._losing = frozenset(name for name, words in calls.items() if words.keyed)

    @classmethod
    def load(cls, settings: Mapping[str, str] | None = None) -> "Guard":
        """Read the settings of this machine, this user and this directory, as the command line does.

        Args:
            settings: What `--set` would give, key to text.

        Raises:
            Failure: A file or a value cannot be used.
        """
        return cls(open_session(settings or {}, progress=Silent()))

    def is_fine(self, key: bytes | str) -> bool:
        """Whether something may be lost of a key of this name, as bytes or as text in UTF-8."""
        if isinstance(key, str):
            if self._fast.plain and _WILD_TEXT.search(key) is None:
                return True
            key = key.encode("utf-8", "surrogatepass")
        return (self._fast.plain and _WILD.search(key) is None) or self._seen.all_fine((key,))

    def is_timely(self, args: Sequence[Any]) -> bool:
        """Whether a call is of a form that passes unless its second word is a protected key."""
        return self._timely.knows(args)

    def glance(self, data: bytes) -> bool | None:
        """Look at whole requests without judging them.

        Returns:
            None if something has to be judged. Otherwise all may go, and it tells whether something may be lost: true rather
            once too often.
        """
        if data.startswith(_MULTI) and data.endswith(_EXEC):
            data = data[len(_MULTI) : -len(_EXEC)]
        at, risky = 0, False
        while True:
            end, keys = scan(data, self._fast, at)
            if not self._seen.all_fine(keys):
                return None
            risky = risky or not self._losing.isdisjoint(_NAMES.findall(data, at, end))
            if end == len(data):
                return risky
            words, at = _few_words(data, end)
            if not words or not self.is_timely(words) or not self.is_fine(words[1]):
                return None
            risky = True

    def judge(self, args: Sequence[bytes], state: Connection) -> Intent:
        """What a call would do now."""
        return judge(args, state, self._table, Terms(time.time_ns() // 1_000_000, self._soon_ms, self._rules.scripts))

    def treatment(self, intent: Intent) -> Treatment:
        """PASS, REFUSE, or anything else for what the gate has to be asked about."""
        wanted = self._rules.of_intent(intent)
        if wanted is Treatment.PROTECT:
            fine = all(self.is_fine(use.key) for use in self._rules.judged(intent))
            return Treatment.PASS if fine else Treatment.HOLD
        return wanted

    def decide(
        self, address: Address, call: Call, intent: Intent, *, abandoned: Callable[[], bool] | None = None
    ) -> Pass | Answered:
        """Ask the gate. May take as long as a person needs.

        Args:
            address: The server.
            call: What is wanted.
            intent: What it would do.
            abandoned: Says whether nobody waits for the answer any more.

        Raises:
            OperationHeld: Nothing was sent; a person decides.
            OperationRefused: Nothing was sent.
            GuardUnavailable: Nothing was sent, because nobody could be asked.
        """
        try:
            answer = self._gate(address).decide(call, intent, abandoned=abandoned)
        except Exception as error:
            said = str(error) or type(error).__name__
            raise GuardUnavailable(f"the guard cannot be asked: {said}; nothing was sent") from error
        match answer:
            case Pass() | Answered():
                return answer
            case Held():
                raise OperationHeld(answer.op, answer.text)
            case Refused():
                raise OperationRefused(answer.text)

    def status(self, op: str) -> str:
        """Where an operation stands, such as `HELD`.

        Raises:
            Failure: There is none of this name, or the journal cannot be read.
        """
        with self.session.journal(read_only=True) as journal:
            return str(journal.operation(op).state)

    def close(self) -> None:
        """Let go of the gates of this process; one that is needed again is opened again."""
        for key in [key for key in list(self._gates) if key[0] == os.getpid()]:
            self._gates.pop(key).close()

    def _gate(self, address: Address) -> Asking:
        # A gate holds connections and files, which a child process must not share with its parent.
        key = os.getpid(), address
        gate = self._gates.get(key)
        if gate is None:
            if not any(pid == key[0] for pid, _ in list(self._gates)):
                atexit.register(self.close)
            # No lock, which a child could inherit locked: a second gate that is never asked has opened nothing.
            gate = self._gates.setdefault(key, self._opener(self.session, address))
        return gate

    def _is_ordinary(self, args: tuple[bytes, ...]) -> bool:
        intent = self.judge(args, Connection())
        wanted = self._rules.of_intent(intent)
        losing = {use.key for use in self._rules.judged(intent)}
        return wanted is Treatment.PASS or (wanted is Treatment.PROTECT and losing <= {args[1]})

    def _name_is_fine(self, key: bytes) -> bool:
        return may_lose(key, self._rules)


_DEFAULT: list[Guard] = []
_MAKING = threading.Lock()


def default_guard() -> Guard:
    """The guard of this process, with nothing but the settings of the machine, the user and the directory.

    Raises:
        Failure: The settings cannot be used.
    """
    with _MAKING:
        if not _DEFAULT:
            _DEFAULT.append(Guard.load())
        return _DEFAULT[0]


def _open_gate(session: Session, address: Address) -> Asking:
    from go_cache_safeguard.flows.redis_gate import RedisGate  # noqa: PLC0415 - only when something has to be decided

    known = session.config.text("redis.url")
    return RedisGate(session, replace(address, user=parse_address(known).user) if known else address)


def _few_words(data: bytes, at: int) -> tuple[list[bytes], int]:
    """One canonical request of less than ten words, and where it ends; no words if it is none."""
    words: list[bytes] = []
    head = _HEAD.match(data, at)
    at = head.end() if head else at
    for _ in range(int(head[1]) if head else 0):
        bulk = _BULK.match(data, at)
        if bulk is None:
            return [], at
        at = bulk.end() + int(bulk[1]) + 2
        if data[at - 2 : at] != b"\r\n":
            return [], at
        words.append(data[bulk.end() : at - 2])
    return words, at
