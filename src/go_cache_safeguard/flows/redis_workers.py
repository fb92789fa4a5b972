"""One process or several: who starts them, and what becomes of one that dies.

Knows:     that children are forked before anything has threads or a loop, and how signals reach them.
Called by: the command line's `redis proxy`.
Never:     carries a byte itself; starts a dead worker again faster and faster; leaves workers behind when it is gone.
"""

import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.flows.redis_hitrate import OwnLookups
from go_cache_safeguard.flows.redis_metrics import Numbers
from go_cache_safeguard.flows.redis_proxy import Part, room_for, serve
from go_cache_safeguard.flows.redis_routes import Arrangement, arrange, client_tls, with_fixed
from go_cache_safeguard.flows.redis_sockets import again, bind
from go_cache_safeguard.flows.redis_voice import Voice
from go_cache_safeguard.flows.service_notice import notify, reloading, watchdog_s
from go_cache_safeguard.flows.session import Session

_FIRST_S, _LONGEST_S, _LIVED_S = 0.1, 30.0, 60.0
_TICK_S = 0.2
_BEAT_S = 1.0
_LATE_S = 10.0
_WAITED = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD})


def run(session: Session, reopen: Callable[[], Session], voice: Voice) -> ExitCode:
    """Guard until a signal comes.

    Args:
        session: With the settings.
        reopen: Reads the settings again.
        voice: Says what happens.

    Raises:
        CannotListen: Somebody else listens there.
        ConfigBad: The settings cannot be used.
    """
    arranged = arrange(session.config)
    _make_room(arranged, voice)
    client_tls(session.config)
    session.state_folder("hit-rates")
    bound = bind(arranged.listens, unix_mode=arranged.unix_mode, shared=arranged.workers > 1)
    own = OwnLookups(len(arranged.routes), arranged.workers)
    numbers, shown = Numbers(arranged.workers), None
    if arranged.metrics is not None:
        (shown,) = bind([arranged.metrics], unix_mode=arranged.unix_mode, shared=False).values()
    if arranged.workers > 1:
        part = Part(session, reopen, voice, bound, own, numbers, shown)
        return _Parent(part, arranged).run()
    alive_s = watchdog_s(session.environ)

    def ready() -> None:
        notify(session.environ, "READY=1")

    def alive() -> None:
        notify(session.environ, "WATCHDOG=1")

    return serve(
        Part(
            session,
            reopen,
            voice,
            bound,
            own,
            numbers,
            shown,
            ready=ready,
            alive=alive,
            alive_s=alive_s,
            notifies=True,
        )
    )


def _make_room(arranged: Arrangement, voice: Voice) -> None:
    """Let this process have as many open files as it may."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    wanted, room = arranged.ceilings.connections, room_for(arranged.ceilings).connections
    if room < wanted:
        text = f"at most {room} clients are let in at once, not {wanted}: only {most} files may be open"
        voice.tell("warning", f"{text} (ulimit -n, or LimitNOFILE of the service)")


@dataclass(slots=True)
class _Worker:
    """One child.

    Attributes:
        pid: 0 while there is none.
        since: When it was started, monotonic.
        due: When it is to be started, monotonic.
        delay_s: How long the next start waits.
        beat: When it last said that it is alive; 0 before it was ready.
    """

    pid: int = 0
    since: float = 0
    due: float = 0
    delay_s: float = _FIRST_S
    beat: float = 0


class _Parent:
    """Starts workers, and tells them what it is told."""

    def __init__(self, part: Part, arranged: Arrangement) -> None:
        self._part = part
        self._workers = [_Worker() for _ in range(arranged.workers)]
        self._beats = os.pipe()  # children write their number
        self._life = os.pipe()  # children see its end when we are gone
        os.set_blocking(self._beats[0], False)
        self._stopping = False
        self._ready = False
        self._code = ExitCode.DONE
        self._alive_s = watchdog_s(part.session.environ)
        self._told_alive = 0.0

    def run(self) -> ExitCode:
        """Until the last child has ended."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _WAITED)
        while True:
            self._start_due()
            got = signal.sigtimedwait(_WAITED, _TICK_S)
            if got is not None:
                self._on_signal(got.si_signo)
            self._reap()
            self._hear()
            if self._stopping and not any(worker.pid for worker in self._workers):
                return self._code

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGHUP:
            reloading(self._part.session.environ)
            self._forward(signal.SIGHUP)
            self._read_again()
            notify(self._part.session.environ, "READY=1")
        elif number in {signal.SIGTERM, signal.SIGINT}:
            notify(self._part.session.environ, "STOPPING=1")
            self._stopping = True
            self._forward(signal.SIGTERM)

    def _read_again(self) -> None:
        """What a worker that is started later begins with. Each worker says itself what it thinks of the settings."""
        try:
            session = self._part.reopen()
            kept = replace(session, config=with_fixed(self._part.session.config, session.config))
            arrange(kept.config)
            client_tls(kept.config)
        except Failure:
            return
        self._part.session = kept

    def _forward(self, number: int) -> None:
        for worker in self._workers:
            if worker.pid:
                os.kill(worker.pid, number)

    def _start_due(self) -> None:
        now = time.monotonic()
        for number, worker in enumerate(self._workers):
            if not worker.pid and not self._stopping and now >= worker.due:
                worker.since, worker.beat = now, 0
                worker.pid = self._fork(number)

    def _reap(self) -> None:
        for number, worker in enumerate(self._workers):
            if not worker.pid:
                continue
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                worker.pid = 0
                self._part.numbers.forget(number)
                self._ended(number, worker, os.waitstatus_to_exitcode(status))

    def _ended(self, number: int, worker: _Worker, code: int) -> None:
        if self._stopping:
            self._code = max(self._code, ExitCode(code) if code in set(ExitCode) else ExitCode.BUG)
            return
        if not self._ready and code > 0:
            # It could not even begin: trying again would end the same way.
            self._stopping, self._code = True, ExitCode(code) if code in set(ExitCode) else ExitCode.BUG
            self._forward(signal.SIGTERM)
            return
        now = time.monotonic()
        worker.delay_s = _FIRST_S if now - worker.since > _LIVED_S else min(_LONGEST_S, worker.delay_s * 2)
        worker.due = now + worker.delay_s
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        text = f"worker {number} ended with {how}; another one starts in {worker.delay_s:.1f}s"
        self._part.voice.tell("worker-ended", text, worker=number, code=code)

    def _hear(self) -> None:
        """See who is alive, and tell the service manager."""
        now = time.monotonic()
        try:
            for number in os.read(self._beats[0], 4096):
                self._workers[number].beat = now
        except BlockingIOError:
            pass
        if not self._ready and all(worker.beat for worker in self._workers):
            self._ready = True
            notify(self._part.session.environ, "READY=1")
        beating = all(not worker.beat or now - worker.beat < _LATE_S for worker in self._workers)
        if self._alive_s is not None and beating and now - self._told_alive >= self._alive_s:
            self._told_alive = now
            notify(self._part.session.environ, "WATCHDOG=1")

    def _fork(self, number: int) -> int:
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            return pid
        code = int(ExitCode.BUG)
        try:
            code = self._child(number)
        finally:
            os._exit(code)

    def _child(self, number: int) -> int:
        """Be a worker."""
        os.setpgid(0, 0)  # Ctrl-C at a terminal is for the parent, which tells us
        os.close(self._life[1])
        os.close(self._beats[0])
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WAITED)
        voice = Voice(self._part.voice.as_json, number, self._part.voice.log_json)
        bound = {where: one if where.path else again(one) for where, one in self._part.bound.items()}

        def beat() -> None:
            os.write(self._beats[1], bytes([number]))

        try:
            return serve(
                Part(
                    self._part.session,
                    self._part.reopen,
                    voice,
                    bound,
                    self._part.own,
                    self._part.numbers,
                    self._part.shown,
                    number=number,
                    ready=beat,
                    alive=beat,
                    alive_s=_BEAT_S,
                    life=self._life[0],
                )
            )
        except Failure as failure:
            voice.tell("error", failure.what, id=failure.id)
            return failure.exit_code
        except Exception as error:  # noqa: BLE001 - the top of a process: there is no other place where it would be said
            voice.tell("error", f"{type(error).__name__}: {error}")
            return ExitCode.BUG
