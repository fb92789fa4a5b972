"""Runs the receiver of spans: from the settings to the last acknowledgement.

Knows:     which rules redact, when spans move to Parquet, and when they go.
Called by: `cli.traces_receive`.
Never:     begins without the redaction that the settings name; lets go of spans while there is room and their time is not over.
"""

import asyncio
import fcntl
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from go_cache_safeguard.config.layer import ConfigBad
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.traces import state_of
from go_cache_safeguard.signals.columns import Columns
from go_cache_safeguard.signals.cover import coverer
from go_cache_safeguard.signals.receive import Desk, NotReceiving, Tally, receive
from go_cache_safeguard.signals.red import SECOND_NS
from go_cache_safeguard.signals.spanstore import SpanStore
from go_cache_safeguard.telemetry.redact import Redactor
from go_cache_safeguard.telemetry.rules import RuleFile, default_rules, read_rules

_MOST_MOVES = 4
"""Parts that are written in one go: whoever sends spans waits meanwhile."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where it listens.

    Attributes:
        host: An address of this machine.
        http: Port for HTTP.
        grpc: Port for gRPC.
    """

    host: str
    http: int
    grpc: int

    @property
    def http_url(self) -> str:
        """What exporters over HTTP are told."""
        return f"http://{self._host}:{self.http}/v1/traces"

    @property
    def grpc_address(self) -> str:
        """What exporters over gRPC are told."""
        return f"{self._host}:{self.grpc}"

    @property
    def _host(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


def run_receiver(session: Session, place: Place, ready: Callable[[Place], None]) -> Tally:
    """Receive until SIGTERM or Ctrl-C; what was acknowledged is kept, what came in before is answered.

    Args:
        session: With settings and state directory.
        place: Where to listen; a port of 0 is any.
        ready: Told where it listens.

    Returns:
        What came in.

    Raises:
        NotReceiving: It cannot listen there.
        SpanStoreUnusable: The store cannot be written.
        RulesBad: The rules cannot be read.
    """
    redaction = rules_of(session).redaction
    place = Place(place.host, _free(place.host, place.http), place.grpc)
    path, parts = state_of(session)
    with SpanStore(path):
        pass  # fail here, with words
    key = session.environ.get(redaction.key_variable, "").encode()
    desk = Desk(lambda: SpanStore(path), coverer(Redactor(redaction, key)), tidier(session, Columns(parts)))
    try:
        asyncio.run(_run(desk, place, ready))
    finally:
        desk.close()
    return desk.tally


async def _run(desk: Desk[SpanStore], place: Place, ready: Callable[[Place], None]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    def told(port: int) -> None:
        ready(Place(place.host, place.http, port))

    await receive(desk, place.host, place.http, place.grpc, stop=stop, ready=told)


def _free(host: str, port: int) -> int:
    """A port that can be had; the one that was asked for, unless that is 0. With SO_REUSEPORT two would share it and never know.

    Raises:
        NotReceiving: It is taken.
    """
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            return int(probe.getsockname()[1])
    except OSError as error:
        raise NotReceiving(
            f"{host}:{port} cannot be had: {error.strerror or error}",
            not_done="nothing was started",
            hint="name another port with --http and --grpc",
        ) from error


def rules_of(session: Session) -> RuleFile:
    """The rules that the settings name, or the package's own.

    Raises:
        RulesBad: They cannot be understood.
        ConfigBad: They cannot be read.
    """
    name = session.config.text("telemetry.rules")
    if not name:
        return default_rules()
    try:
        return read_rules(Path(name).read_bytes(), name)
    except OSError as error:
        raise ConfigBad(f"telemetry.rules {name} cannot be read: {error.strerror}") from error


def tidier(session: Session, columns: Columns) -> Callable[[SpanStore], None]:
    """A function that moves what is no longer new, and lets go of what is too old or too much; one process does it at a time."""
    config = session.config
    new_s, keep_s, most = config.seconds("signals.new"), config.seconds("signals.keep"), config.size("signals.size")

    def tidy(store: SpanStore) -> None:
        folder = os.open(store.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            alone(store)
        except BlockingIOError:
            pass  # who takes spans by MQTT, or another receiver, is at it
        finally:
            os.close(folder)

    def alone(store: SpanStore) -> None:
        now_ns = time.time_ns()
        oldest_ns = now_ns - keep_s * SECOND_NS
        store.retain(oldest_ns)
        for _ in range(_MOST_MOVES):
            if not columns.move(store, now_ns - new_s * SECOND_NS):
                break
        let_go(store, columns, oldest_ns, most)

    return tidy


def let_go(store: SpanStore, columns: Columns, oldest_ns: int, most_bytes: int) -> None:
    """Let go of whole days that are over, then of the oldest days and spans until the rest has room.

    Args:
        store: New spans.
        columns: Older spans.
        oldest_ns: What ended before goes.
        most_bytes: What all may take.
    """
    parts = store.parts()
    days = sorted({part.day for part in parts if part.last_ns >= oldest_ns})
    kept = [part for part in parts if part.day in days]
    while days and store.size() + sum(part.bytes for part in kept) > most_bytes:
        kept = [part for part in kept if part.day != days[0]]
        days.pop(0)
    gone = [part for part in parts if part not in kept]
    if gone:
        columns.let_go(store, gone)
    store.shrink(max(0, most_bytes - sum(part.bytes for part in kept)))
