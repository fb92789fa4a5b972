"""Lanes on real sockets, and what may happen to them: so that both twins can be played the same and compared."""

import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from random import Random
from types import ModuleType
from typing import Any, NamedTuple, TypeAlias

from go_cache_safeguard.redis.fast import Fast, Scanner, scan_python
from go_cache_safeguard.redis.lane import Lane, LanePython, Send, SenderPython
from go_cache_safeguard.redis.resp import encode
from redisstreams import Forms, stream


@dataclass
class Transport:
    """Keeps what it is given, until told to send it."""

    one: socket.socket
    closing: bool = False
    kept: bytearray = field(default_factory=bytearray)

    def waiting(self) -> int:
        return len(self.kept)

    def is_closing(self) -> bool:
        return self.closing

    def later(self, data: bytes) -> None:
        self.kept += data

    def drain(self) -> None:
        try:
            taken = self.one.send(self.kept)
        except BlockingIOError:
            return
        del self.kept[:taken]

    def sender(self, made: Callable[..., Send]) -> Send:
        return made(self.one.fileno(), self.waiting, self.is_closing, self.later)


def read_up_to(one: socket.socket, size: int) -> bytes:
    """What has come, and is no more than that."""
    try:
        return one.recv(size) if size else b""
    except BlockingIOError:
        return b""


class Twin(NamedTuple):
    """One of both.

    Attributes:
        lane: Makes a lane.
        sender: Makes a sender.
        scanner: Makes what a lane asks.
    """

    lane: Callable[[Callable[[bytes], None], Callable[[bytes], None]], Lane]
    sender: Callable[..., Send]
    scanner: Callable[[Fast], Scanner]


def python_scanner(fast: Fast) -> Scanner:
    """The scan with nothing compiled."""

    def scanner(data: bytes, start: int = 0, /) -> tuple[int, list[bytes]]:
        return scan_python(data, fast, start)

    return scanner


PYTHON = Twin(LanePython, SenderPython, python_scanner)


def compiled(module: ModuleType) -> Twin:
    """The twin that is in a module."""
    return Twin(module.Lane, module.Sender, lambda fast: module.Scanner(*fast.compiled))


Step: TypeAlias = tuple[str, Any]
_SIDES = ("client", "server")
_HARMLESS = tuple(
    encode(words) for words in ((b"GET", b"k"), (b"SET", b"key:1", b"v" * 40), (b"get", b"session:1"), (b"PING",))
)


def steps(random: Random, forms: Forms, rules: int) -> list[Step]:
    """What happens to a lane; most of the time it is open."""
    found: list[Step] = [("quick", True), ("plain", True), ("scanner", 0), ("fine", b"session:"), ("opened", True)]
    for _ in range(random.randrange(1, 14)):
        match random.randrange(12):
            case 0:
                found.append((random.choice(("quick", "plain", "traffic")), random.random() < 0.6))
            case 1:
                found.append(("scanner", random.choice((None, *range(rules)))))
            case 2:
                found.append(("fine", random.choice((None, b"", b"session:", b"k"))))
            case 3:
                found.append(("opened", random.random() < 0.8))
            case 4:
                found.append(random.choice((("close", "client"), ("close", "server"), ("behind TLS", None))))
            case 5 | 6:
                found.append((random.choice(("drain", "read")), (random.choice(_SIDES), random.randrange(1, 90_000))))
            case 7 | 8:
                found.append((_way(random, "server"), random.randbytes(random.choice((0, 1, 20, 5_000, 90_000)))))
            case 9:
                found.append((_way(random, "client"), stream(random, forms)))
            case _:
                found.append((_way(random, "client"), random.choice(_HARMLESS) * random.choice((1, 16, 1_500))))
    return found


def _way(random: Random, side: str) -> str:
    return random.choice((side, f"socket of the {side}"))


class Played(NamedTuple):
    """What came of it.

    Attributes:
        got: What arrived at the client, and at the server.
        handed: What had to be looked at, and who had sent it.
        heard: Both flags, and whether the client was noted, after every step.
        ended: What was said of sockets that ended.
    """

    got: tuple[bytes, bytes]
    handed: list[tuple[str, bytes]]
    heard: list[tuple[bool, bool, bool]]
    ended: list[int]


def play(twin: Twin, happens: Sequence[Step], rules: Sequence[Fast]) -> Played:
    """Let it happen."""
    with ExitStack() as stack:
        stage = _Stage(twin, rules, stack)
        heard = [stage.heard_after(what, value) for what, value in happens]
        for side in _SIDES:
            stage.empty(side)
    return Played((bytes(stage.got["client"]), bytes(stage.got["server"])), stage.handed, heard, stage.ended)


class _Stage:
    """A lane between two sockets."""

    def __init__(self, twin: Twin, rules: Sequence[Fast], stack: ExitStack) -> None:
        self.handed: list[tuple[str, bytes]] = []
        self.ended: list[int] = []
        self.got = {side: bytearray() for side in _SIDES}
        self._transports: dict[str, Transport] = {}
        self._ends: dict[str, socket.socket] = {}
        for side in _SIDES:
            ours, self._ends[side] = map(stack.enter_context, socket.socketpair())
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8_192)
            ours.settimeout(0)
            self._ends[side].settimeout(0)
            self._transports[side] = Transport(ours)
        self._senders = {side: transport.sender(twin.sender) for side, transport in self._transports.items()}
        self._scanners = [twin.scanner(fast) for fast in rules]
        self._lane = twin.lane(
            lambda data: self.handed.append(("client", data)), lambda data: self.handed.append(("server", data))
        )

    def heard_after(self, what: str, value: Any) -> tuple[bool, bool, bool]:
        """Let one thing happen, and see what was noted of it."""
        lane = self._lane
        lane.last = 0.0
        match what:
            case "client":
                lane.client_sent(value)
            case "server":
                lane.server_sent(value)
            case "socket of the client":
                self._ends["client"].send(value)
                lane.client_ready(self._transports["client"].one.fileno(), self.ended.append)
            case "socket of the server":
                self._ends["server"].send(value)
                lane.server_ready(self._transports["server"].one.fileno(), self.ended.append)
            case "drain":
                self._transports[value[0]].drain()
            case "read":
                self._read(*value)
            case "close":
                self._transports[value].closing = True
            case _:
                self._set(what, value)
        return lane.heard, lane.traffic, lane.last > 0

    def _set(self, what: str, value: Any) -> None:
        lane = self._lane
        match what:
            case "scanner":
                lane.scanner = None if value is None else self._scanners[value]
            case "fine":
                lane.fine = None if value is None else _fine(value)
            case "opened":
                lane.to_client = self._senders["client"]
                lane.to_server = self._senders["server"] if value else None
            case "behind TLS":
                lane.to_client = self._transports["client"].later
            case _:
                setattr(lane, what, value)

    def empty(self, side: str) -> None:
        """Let everything arrive."""
        while self._transports[side].kept:
            self._transports[side].drain()
            self._read(side, 1 << 20)
        self._read(side, 1 << 20)

    def _read(self, side: str, size: int) -> None:
        self.got[side] += read_up_to(self._ends[side], size)


def _fine(protected: bytes) -> Callable[[list[bytes]], bool]:
    return lambda keys: not any(key.startswith(protected) for key in keys)
