"""Runs the server: one process that watches, one that answers.

Knows:     how granian is set up so that slow, silent and half-open clients are dropped, and what the kernel does for that.
Called by: the command line's `serve`.
Never:     answers a request itself; listens in a place that another server has.
Source:    tcp(7): TCP_USER_TIMEOUT, which accepted sockets inherit; docs/decisions/0008-granian.md for why granian, and what it
           leaves to us.
"""

import asyncio
import multiprocessing
import os
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.server import MPServer

from go_cache_safeguard.config.layer import ConfigBad
from go_cache_safeguard.config.resolve import Config
from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.flows.hooks import announcer_of
from go_cache_safeguard.flows.observing import finish, observe
from go_cache_safeguard.flows.progress import Silent
from go_cache_safeguard.flows.service_notice import notify
from go_cache_safeguard.flows.session import Session, open_session
from go_cache_safeguard.telemetry.span import prepare
from go_cache_safeguard.web.app import build
from go_cache_safeguard.web.fence import LOG, App
from go_cache_safeguard.web.opening import Place, journal_of, open_site, parse_place
from go_cache_safeguard.web.site import Site

if TYPE_CHECKING:
    from go_cache_safeguard.flows.hooks import Announcer

BACKLOG = 4096
_HEAD_BYTES = 64 << 10
_LOOK_S = 0.05
_EXPIRE_S = 2.0
_LOGS: dict[str, object] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "text": {"format": "%(asctime)s %(levelname)s %(message)s"},
        "json": {"()": "go_cache_safeguard.telemetry.logs.JsonLines"},
    },
    "loggers": {
        "_granian": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
        "go_cache_safeguard.web": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
    },
}
"""No log of requests: an address and a path say who looked at what, and the journal tells what was done."""


def logs_of(config: Config) -> dict[str, object]:
    """How we log, for `logging.config.dictConfig`."""
    form = config.choice("log.format")
    stderr = {"class": "logging.StreamHandler", "formatter": form, "stream": "ext://sys.stderr"}
    return {**_LOGS, "handlers": {"stderr": stderr}}


class NotListening(Failure):
    """Nobody can be let in there."""

    id = "serve-not-listening"
    exit_code: ClassVar[ExitCode] = ExitCode.TARGET
    meaning = "`serve` cannot listen where it was told to"


def run(session: Session, arguments: Mapping[str, str]) -> int:
    """Serve until somebody stops it: SIGTERM or Ctrl-C ends it when requests have ended, SIGHUP reads the settings again.

    Args:
        session: With the settings of now.
        arguments: Settings given on the command line; the process that answers reads all settings anew.

    Returns:
        The exit code.

    Raises:
        Failure: It cannot begin: settings, people, journal, certificate or place cannot be used.
    """
    config, place = session.config, parse_place(session.config.text("serve.listen"))
    _try_everything(session)
    _is_free(place)
    cert, key = config.text("serve.tls_cert"), config.text("serve.tls_key")
    server = MPServer(
        "go-cache-safeguard",
        address=place.host,
        port=place.port,
        interface=Interfaces.ASGI,
        loop=Loops.uvloop,
        http=HTTPModes.http1,
        websockets=False,
        backlog=BACKLOG,
        backpressure=config.count("serve.connections"),
        http1_settings=HTTP1Settings(
            header_read_timeout=config.seconds("serve.header_timeout") * 1000, max_buffer_size=_HEAD_BYTES
        ),
        log_dictconfig=logs_of(config),
        ssl_cert=Path(cert) if cert else None,
        ssl_key=Path(key) if key else None,
        respawn_failed_workers=True,
        workers_kill_timeout=max(1, config.seconds("serve.drain")),
    )
    # After the server has set its own handlers.
    server.on_startup(partial(_take_signals, server, arguments))
    try:
        server.serve(target_loader=partial(load, dict(arguments)), wrap_loader=False)
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def load(arguments: Mapping[str, str]) -> App:
    """The application, in the process that answers."""
    session = open_session(arguments, progress=Silent())
    observe(session)
    prepare()
    site = open_site(session)
    return build(site, lifespan=lambda _: _alive(session, site))


def _try_everything(session: Session) -> None:
    """Fail here, with words, and not in another process without."""
    site = open_site(session)
    try:
        build(site)
        site.people.ping()
        for front in site.urls.values():
            with journal_of(session, front.tenant)() as journal:
                _ = journal.last_seq
    finally:
        site.people.close()
    _check_tls(session.config)


def _check_tls(config: Config) -> None:
    """Look at certificate and key before a process without words does.

    Raises:
        ConfigBad: They cannot be used.
    """
    cert, key = config.text("serve.tls_cert"), config.text("serve.tls_key")
    if not cert:
        return
    try:
        mode, text = Path(key).stat().st_mode, Path(key).read_bytes()
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password="")
    except (OSError, ssl.SSLError) as error:
        raise ConfigBad(
            f"serve.tls_cert {cert} and serve.tls_key {key} cannot be read, or do not belong together"
        ) from error
    if mode & 0o077:
        raise ConfigBad(f"serve.tls_key {key} can be read by others", hint=f"chmod 600 {key}")
    if b"BEGIN PRIVATE KEY" not in text:
        raise ConfigBad(f"serve.tls_key {key} is not PKCS#8", hint="openssl pkcs8 -topk8 -nocrypt -in KEY -out NEW_KEY")


def _take_signals(server: MPServer, arguments: Mapping[str, str]) -> None:
    """Stop only after those who listen for news were sent away; read settings again only if they can be used."""
    interrupt: Callable[[], None] = server.signal_handler_interrupt
    start_again: Callable[[], None] = server.signal_handler_reload

    def stop(*_: object) -> None:
        for child in multiprocessing.active_children():
            if child.pid is not None:
                os.kill(child.pid, signal.SIGUSR1)
        interrupt()

    def reload(*_: object) -> None:
        try:
            _try_everything(open_session(arguments, progress=Silent()))
        except Failure as failure:
            LOG.error("settings are not taken over: %s [%s]", failure.what, failure.id)
            return
        start_again()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGHUP, reload)


def _is_free(place: Place) -> None:
    """Refuse a place that somebody has: with SO_REUSEPORT, two of one user would share it and never know.

    Raises:
        NotListening: It cannot be had.
    """
    try:
        (family, kind, proto, _, where), *_ = socket.getaddrinfo(
            place.host, place.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        with socket.socket(family, kind, proto) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
    except OSError as error:
        raise NotListening(
            f"{place.name} cannot be had: {error.strerror or error}", not_done="nothing was started"
        ) from error


@asynccontextmanager
async def _alive(session: Session, site: Site) -> AsyncIterator[None]:
    """What goes on beside requests: the kernel's part in dropping clients, and messages that are to be delivered."""
    # What stays open as long as somebody looks would otherwise keep us from ending.
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, site.closing.set)
    watch = asyncio.create_task(_begin(session))
    clock = asyncio.create_task(_expire_due(site))
    announcers = [it for it in map(partial(_announcer, session), _tenants(site)) if it is not None]
    for one in announcers:
        one.begin()
    try:
        yield
    finally:
        watch.cancel()
        clock.cancel()
        for one in announcers:
            await asyncio.to_thread(one.close)
        site.people.close()
        await asyncio.to_thread(finish, session)


async def _expire_due(site: Site) -> None:
    """Let expire what nobody looks at, so that pages say so when it happens."""
    while True:
        for tenant in _tenants(site):
            try:
                await asyncio.to_thread(site.desks(tenant).expire_due)
            except Failure as failure:
                LOG.warning("what is over could not be written down: %s", failure.id)
        await asyncio.sleep(_EXPIRE_S)


def _tenants(site: Site) -> list[str]:
    return sorted({front.tenant for front in site.urls.values()})


def _announcer(session: Session, tenant: str) -> "Announcer | None":
    return announcer_of(session, partial(LOG.warning, "%s"), journal_of(session, tenant), tenant=tenant)


async def _begin(session: Session) -> None:
    await _limit_sockets(session.config.seconds("serve.reply_timeout"))
    notify(session.environ, "READY=1")


async def _limit_sockets(reply_s: int) -> None:
    """Have the kernel drop whoever takes nothing of a reply: what it has in its buffers, nobody else can take back.

    The server makes its socket itself, a moment from now; sockets that it accepts inherit this.
    """
    while True:
        listens = [_limit(descriptor, reply_s) for descriptor in _sockets()]
        if any(listens):
            return
        await asyncio.sleep(_LOOK_S)


def _sockets() -> list[int]:
    found = []
    for path in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            if str(path.readlink()).startswith("socket:"):
                found.append(int(path.name))
    return found


def _limit(descriptor: int, reply_s: int) -> bool:
    """Whether this was the socket that listens."""
    with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as one:
        if one.family not in {socket.AF_INET, socket.AF_INET6} or one.type != socket.SOCK_STREAM:
            return False
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, reply_s * 1000)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return bool(one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    return False
