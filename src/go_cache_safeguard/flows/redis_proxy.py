"""The running proxy: it listens, guards, does what was approved, watches hit rates, reads its settings again, and stops in order.

Knows:     what happens when in the life of one process; `flows.redis_workers` knows of several.
Called by: the command line's `redis proxy`.
Never:     lets a call through while something is missing; drops clients at a stop before they had time to end what they do.
"""

import asyncio
import gc
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from socket import socket
from typing import Any

import uvloop

from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.flows.observing import finish
from go_cache_safeguard.flows.redis_gate import RedisGate
from go_cache_safeguard.flows.redis_gates import GateInUse
from go_cache_safeguard.flows.redis_hitrate import EVERY_S, HitRates, OwnLookups
from go_cache_safeguard.flows.redis_metrics import Node, Numbers, Page
from go_cache_safeguard.flows.redis_metrics_server import MetricsServer
from go_cache_safeguard.flows.redis_routes import (
    Arrangement,
    Route,
    arrange,
    client_tls,
    load_certificates,
    needs_restart,
    upstream_of,
    with_fixed,
)
from go_cache_safeguard.flows.redis_sentinel import find_master, listen
from go_cache_safeguard.flows.redis_voice import Voice
from go_cache_safeguard.flows.service_notice import notify, reloading
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.redis import metrics
from go_cache_safeguard.redis.address import Address
from go_cache_safeguard.redis.proxy import Ceilings, Listen, Proxy, Upstream
from go_cache_safeguard.redis.route import Sentinels, Where
from go_cache_safeguard.telemetry.span import prepare

_APPROVED_S = 1.0
_AGAIN_S = 0.5
_FOLLOW_S = 5.0
_CLOSING_S = 5.0
_LAST_S = 0.5
_GARBAGE = 50_000
"""New objects after which cycles are looked for: bytes on their way make none."""
_OTHER_FILES = 100
Own = Callable[[str], tuple[int, int]]


@dataclass(slots=True)
class Part:
    """What one process has of the whole proxy.

    Attributes:
        session: With the settings of now.
        reopen: Reads the settings again.
        voice: Says what happens.
        bound: A socket for each place where clients come in.
        own: Where the look-ups of all processes are counted.
        numbers: Where everything else is counted.
        shown: A socket at which the numbers are shown, by the first process; None for nowhere.
        number: Of this process; the first one does what was approved, and watches hit rates.
        ready: Called when clients are let in.
        alive: Called every `alive_s` seconds, if somebody wants to know.
        life: Whose end means that the parent is gone; None without one.
        notifies: Whether this process tells the service manager.
    """

    session: Session
    reopen: Callable[[], Session]
    voice: Voice
    bound: Mapping[Where, socket]
    own: OwnLookups
    numbers: Numbers
    shown: socket | None = None
    number: int = 0
    ready: Callable[[], None] = lambda: None
    alive: Callable[[], None] = lambda: None
    alive_s: float | None = None
    life: int | None = None
    notifies: bool = False


def serve(part: Part) -> ExitCode:
    """Guard until a signal comes.

    Raises:
        ConfigBad: The settings cannot be used.
    """
    prepare()
    gc.freeze()  # what is there now stays, so nobody has to look through it again and again
    gc.set_threshold(_GARBAGE)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(_Running(part).run())
    finish(part.session)
    if any(_goes_on(thread) for thread in threading.enumerate()):
        # A call waits for a person, or for the server: the journal knows how far it came.
        sys.stderr.flush()
        os._exit(code)
    return code


def room_for(ceilings: Ceilings) -> Ceilings:
    """No more clients than files may be open, four for each; without a file nobody could be told that there are too many."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < 0:
        return ceilings
    return replace(ceilings, connections=min(ceilings.connections, max(1, (most - _OTHER_FILES) // 4)))


def _goes_on(thread: threading.Thread) -> bool:
    if thread.name.startswith(("gate", "keeper")):
        thread.join(_LAST_S)
        return thread.is_alive()
    return False


@dataclass(slots=True)
class _Front:
    """One route while it is run."""

    route: Route
    address: Address
    gates: GateInUse
    proxy: Proxy


@dataclass(frozen=True, slots=True)
class _Again:
    """Settings that were read again, and what was made of them."""

    session: Session
    changed: list[str]
    arranged: Arrangement
    upstreams: list[Upstream]
    gates: list[RedisGate]


class _Running:
    """One process."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._voice = part.voice
        self._session = part.session
        self._arranged = arrange(part.session.config)
        self._tls = client_tls(part.session.config)
        self._fronts: list[_Front] = []
        self._rates: HitRates
        self._stop = asyncio.Event()
        self._at_once = asyncio.Event()
        self._turn = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self._threads = ThreadPoolExecutor(5, thread_name_prefix="keeper")
        self._said: dict[str, str] = {}
        self._tally = part.numbers.of(part.number)
        self._metrics: MetricsServer | None = None
        self._before = [part.own.of(part.number, at) for at in range(len(self._arranged.routes))]

    async def run(self) -> ExitCode:
        """From the first listener to the last connection."""
        self._on_signals()
        try:
            if not await self._begin():
                return ExitCode.DONE
            await self._stop.wait()
            await self._end()
        finally:
            for task in self._tasks:
                task.cancel()
            await self._close()
        return ExitCode.DONE

    # Start

    def _on_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._on_reload)
        if self._part.life is not None:
            loop.add_reader(self._part.life, self._on_orphaned)

    async def _begin(self) -> bool:
        """Let clients in; False if we were stopped before."""
        addresses = [await self._found(route.upstream) for route in self._arranged.routes]
        known = [address for address in addresses if address is not None]
        if len(known) != len(addresses):
            return False
        self._rates = HitRates(self._session, known, self._own)
        for route, address in zip(self._arranged.routes, known, strict=True):
            self._fronts.append(self._front(route, address))
        for front in self._fronts:
            for where in front.route.listens:
                await self._listen(front, where)
        await self._show()
        self._part.ready()
        self._start(self._each(_APPROVED_S, "approved operations", self._execute))
        if self._part.alive_s is not None:
            self._start(self._beat(self._part.alive_s))
        for front in self._fronts:
            if isinstance(front.route.upstream, Sentinels):
                self._start(self._follow(front, front.route.upstream))
        if self._part.number == 0:
            self._start(self._each(EVERY_S, "hit rates", self._look))
        return True

    async def _show(self) -> None:
        """Show the numbers of all processes, if this is the first one and somebody wants them."""
        shown, where = self._part.shown, self._arranged.metrics
        if shown is None or where is None:
            return
        if self._part.number:
            shown.close()
            return
        page = Page(self._part.numbers, self._nodes, self._session.journal, self._tally.failed)
        loop = asyncio.get_running_loop()
        self._metrics = MetricsServer(lambda accepts: loop.run_in_executor(self._threads, page.text, accepts))
        name = await self._metrics.listen(shown)
        self._voice.tell("metrics", f"at {name}", url=name)
        if not where.is_local:
            self._voice.tell("warning", f"{name} can be read from other machines, without TLS", listen=where.name)

    def _nodes(self) -> dict[str, Node]:
        up = self._rates.reachable
        return {name: Node(name in up, reading) for name, reading in self._rates.readings().items()}

    async def _found(self, upstream: Address | Sentinels) -> Address | None:
        match upstream:
            case Address():
                return upstream
            case Sentinels():
                return await self._asked(upstream)

    async def _asked(self, sentinels: Sentinels) -> Address | None:
        """Wait until there is a master."""
        loop, said = asyncio.get_running_loop(), ""
        while not self._stop.is_set():
            try:
                return await loop.run_in_executor(self._threads, find_master, self._session, sentinels)
            except Failure as failure:
                if failure.what != said:
                    said = failure.what
                    self._voice.tell("waiting", said)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), _AGAIN_S)
        return None

    def _front(self, route: Route, address: Address) -> _Front:
        gates = GateInUse(self._gate_of(self._session, address)(), self._voice, self._tally.decided)
        upstream = upstream_of(address, self._session.config)
        arranged = self._arranged
        proxy = Proxy(
            arranged.setting, gates, upstream, room_for(arranged.ceilings), say=partial(self._voice.tell, "closed")
        )
        return _Front(route, address, gates, proxy)

    def _gate_of(self, session: Session, address: Address) -> Callable[[], RedisGate]:
        return partial(
            RedisGate,
            session,
            address,
            watcher=self._rates,
            tell=partial(self._voice.tell, "hook"),
            failed=self._tally.failed,
        )

    async def _listen(self, front: _Front, where: Where) -> None:
        tls = None if where.path else self._tls
        listen = Listen(
            where.host, where.port, where.path, tls, bound=self._part.bound[where], header=self._arranged.header
        )
        name = await front.proxy.listen(listen)
        about = {"listen": name, "upstream": front.address.target, "tls": tls is not None}
        self._voice.tell(
            "listening", f"at {name}{' with TLS' if tls else ''}, guarding {front.address.target}", **about
        )
        if not where.is_local and tls is None:
            self._voice.tell("warning", f"{name} can be reached from other machines, without TLS", listen=name)

    # What goes on all the time

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(work))

    async def _each(self, seconds: float, what: str, work: Callable[[], None]) -> None:
        """Do something in a thread now and then, whatever happens to it."""
        loop = asyncio.get_running_loop()
        while not self._stop.is_set():
            try:
                await loop.run_in_executor(self._threads, work)
                self._said.pop(what, None)
            except Exception as error:  # noqa: BLE001 - an unforeseen failure must not end the guard, nor let anything pass
                self._tally.failed(error)
                text = f"{what}: {str(error) or type(error).__name__}"
                if self._said.get(what) != text:
                    self._said[what] = text
                    self._voice.tell("error", text)
            await asyncio.sleep(seconds)

    async def _beat(self, seconds: float) -> None:
        while True:
            self._part.alive()
            await asyncio.sleep(seconds)

    def _count(self) -> None:
        counts = [front.proxy.counts for front in self._fronts]
        self._tally.put(metrics.CONNECTIONS, sum(len(front.proxy.clients) for front in self._fronts))
        self._tally.put(metrics.ACCEPTED, sum(one.connections for one in counts))
        self._tally.put(metrics.TURNED_AWAY, sum(one.turned_away for one in counts))
        self._tally.put(metrics.BROKEN, sum(one.broken for one in counts))

    def _execute(self) -> None:
        self._count()
        for at, front in enumerate(self._fronts):
            hits, misses = front.gates.lookups
            front.proxy.ahead_ms = self._rates.ahead_ms(front.address.target)
            self._part.own.put(self._part.number, at, (self._before[at][0] + hits, self._before[at][1] + misses))
        if self._part.number == 0:
            for front in self._fronts:
                front.gates.execute_approved()

    def _look(self) -> None:
        for text in self._rates.look():
            self._voice.tell("hit-rate", text)

    def _own(self, target: str) -> tuple[int, int]:
        at = next((at for at, front in enumerate(self._fronts) if front.address.target == target), None)
        return (0, 0) if at is None else self._part.own.total(at)

    # Masters that change

    async def _follow(self, front: _Front, sentinels: Sentinels) -> None:
        """Guard whichever server is the master."""
        loop, changed = asyncio.get_running_loop(), asyncio.Event()
        self._start(listen(self._session, sentinels, changed.set))
        while not self._stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), _FOLLOW_S)
            changed.clear()
            try:
                address = await loop.run_in_executor(self._threads, find_master, self._session, sentinels)
                if address != front.address:
                    self._switch(front, address)
            except Failure as failure:
                if self._said.get(sentinels.target) != failure.what:
                    self._said[sentinels.target] = failure.what
                    self._voice.tell("error", failure.what)
                await asyncio.sleep(_AGAIN_S)
                changed.set()
                continue
            self._said.pop(sentinels.target, None)

    def _switch(self, front: _Front, address: Address) -> None:
        """Another server from now on. Clients connect again: what they had said to the old one is unknown to the new one."""
        gate = self._gate_of(self._session, address)()  # nothing has changed if it cannot be made
        old, front.address = front.address, address
        self._rates.move(old.target, address)
        front.gates.change(gate, later=self._threads.submit)
        front.proxy.upstream = upstream_of(address, self._session.config)
        front.proxy.hang_up("")
        text = (
            f"from {old.target} to {address.target}; every client connects again, and what waits for a person is void"
        )
        self._voice.tell("switched", text, old=old.target, new=address.target)

    # Settings again

    def _on_reload(self) -> None:
        self._start(self._reload_in_turn())

    async def _reload_in_turn(self) -> None:
        """One after the other, so that the settings that were read last are those that count."""
        async with self._turn:
            await self._reload()

    async def _reload(self) -> None:
        loop = asyncio.get_running_loop()
        if self._part.notifies:
            reloading(self._session.environ)
        try:
            again = await loop.run_in_executor(self._threads, self._read_again)
            await loop.run_in_executor(self._threads, self._change_gates, again)
            self._take_over(again)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the new settings, the old ones go on guarding
            self._tally.reloaded(well=False)
            text = str(error) or type(error).__name__
            self._voice.tell("reload-failed", f"the settings stay as they were: {text}")
        else:
            self._tally.reloaded(well=True)
            self._voice.tell("reloaded", "the settings were read again")
        if self._part.notifies:
            notify(self._session.environ, "READY=1")

    def _read_again(self) -> "_Again":
        """Everything that may fail, before anything is taken over."""
        session = self._part.reopen()
        changed = needs_restart(self._session.config, session.config)
        session = replace(session, config=with_fixed(self._session.config, session.config))
        config = session.config
        arranged = arrange(config)
        client_tls(config)
        upstreams = [upstream_of(front.address, config) for front in self._fronts]
        gates = [self._gate_of(session, front.address)() for front in self._fronts]
        return _Again(session, changed, arranged, upstreams, gates)

    def _change_gates(self, again: "_Again") -> None:
        for front, gate in zip(self._fronts, again.gates, strict=True):
            front.gates.change(gate)

    def _take_over(self, again: "_Again") -> None:
        for key in again.changed:
            self._voice.tell("warning", f"{key} has changed; it counts from the next start on", setting=key)
        self._session, self._arranged = again.session, again.arranged
        for front, upstream in zip(self._fronts, again.upstreams, strict=True):
            front.proxy.upstream = upstream
            front.proxy.ceilings = room_for(again.arranged.ceilings)
            front.proxy.reload(again.arranged.setting)
        if self._tls is not None:
            load_certificates(self._tls, again.session.config)

    # Stop

    def _on_stop(self, number: int) -> None:
        if self._stop.is_set():
            self._at_once.set()
            return
        self._voice.tell("stopping", f"after {signal.Signals(number).name}; a second one stops at once")
        if self._part.notifies:
            notify(self._session.environ, "STOPPING=1")
        self._stop.set()

    def _on_orphaned(self) -> None:
        """The parent is gone: nobody would start us again, or stop us."""
        if self._part.life is not None:
            asyncio.get_running_loop().remove_reader(self._part.life)
        self._on_stop(signal.SIGTERM)

    async def _end(self) -> None:
        """Let clients end what they do."""
        drain_s = self._arranged.drain_s
        drains = [asyncio.ensure_future(front.proxy.drain(drain_s)) for front in self._fronts]
        hurry: asyncio.Future[Any] = asyncio.ensure_future(self._at_once.wait())
        whole: asyncio.Future[Any] = asyncio.gather(*drains)
        await asyncio.wait([whole, hurry], return_when=asyncio.FIRST_COMPLETED)
        if not whole.done():
            for front in self._fronts:
                front.proxy.hang_up("the guard stops at once")
            await asyncio.wait([whole], timeout=1)
        hurry.cancel()
        left = sum(drain.result() for drain in drains if drain.done() and not drain.cancelled())
        self._voice.tell("stopped", f"{left} connections were closed in the middle of something", left=left)

    async def _close(self) -> None:
        loop = asyncio.get_running_loop()
        if self._metrics is not None:
            self._metrics.close()
        if self._fronts:
            closes = [*(front.gates.close for front in self._fronts), self._rates.close]
            closing: asyncio.Future[Any] = asyncio.gather(
                *(loop.run_in_executor(self._threads, close) for close in closes)
            )
            with suppress(TimeoutError):
                await asyncio.wait_for(closing, _CLOSING_S)
        self._threads.shutdown(wait=False, cancel_futures=True)
