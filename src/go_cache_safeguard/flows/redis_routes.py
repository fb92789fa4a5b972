"""What a proxy is to do, made out of the settings: where it listens, what it guards, by which rules, within which limits.

Knows:     how `redis_proxy.*` and the rules of `redis.*` become the values that `redis.proxy` takes.
Called by: `flows.redis_proxy` at its start and whenever the settings are read again; the command line shows it.
Never:     opens a socket.
"""

import os
import ssl
import stat
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from go_cache_safeguard.config.layer import ConfigBad
from go_cache_safeguard.config.resolve import Config
from go_cache_safeguard.core.duration import format_duration
from go_cache_safeguard.flows.guard import load_rules
from go_cache_safeguard.flows.redis_server import nodes_of
from go_cache_safeguard.redis.address import Address, AddressError
from go_cache_safeguard.redis.checks.names import may_lose
from go_cache_safeguard.redis.conversation import Setting
from go_cache_safeguard.redis.fast import fast_calls, scan
from go_cache_safeguard.redis.proxy import Ceilings, Upstream
from go_cache_safeguard.redis.resp import Limits
from go_cache_safeguard.redis.route import Sentinels, Where, parse_listen, parse_upstream
from go_cache_safeguard.redis.tablefile import load_table

_T = TypeVar("_T")
FIXED = (
    "redis_proxy.listen",
    "redis_proxy.upstream",
    "redis_proxy.nodes",
    "redis_proxy.workers",
    "redis_proxy.header",
    "redis_proxy.deciding",
    "redis_proxy.tls_cert",
    "redis_proxy.tls_key",
    "redis_proxy.tls_client_ca",
    "redis_proxy.unix_mode",
    "redis_proxy.metrics",
    "redis.url",
    "state.dir",
)
"""Settings that a running proxy does not take over: it has to be started again. The files that they name are read again."""


@dataclass(frozen=True, slots=True)
class Route:
    """One server, and where clients come in that want it.

    Attributes:
        listens: Where.
        upstream: The server, or who knows it.
    """

    listens: tuple[Where, ...]
    upstream: Address | Sentinels


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Everything that a proxy has to know before it starts.

    Attributes:
        routes: One; of a cluster one for each node.
        workers: Processes.
        setting: Rules and limits of each conversation.
        ceilings: Of each worker.
        drain_s: How long connections may go on after SIGTERM.
        header: Whether connections begin with a PROXY protocol header.
        unix_mode: Of sockets in the file system.
        metrics: Where Prometheus may ask; None for nowhere.
    """

    routes: tuple[Route, ...]
    workers: int
    setting: Setting
    ceilings: Ceilings
    drain_s: int
    header: bool
    unix_mode: int
    metrics: Where | None = None

    @property
    def listens(self) -> tuple[Where, ...]:
        """All places where clients come in."""
        return tuple(where for route in self.routes for where in route.listens)


def arrange(config: Config) -> Arrangement:
    """Read the settings.

    Raises:
        ConfigBad: One of them cannot be used, or two exclude each other.
    """
    return Arrangement(
        routes=_routes(config),
        workers=config.count("redis_proxy.workers"),
        setting=_setting(config),
        ceilings=Ceilings(
            connections=config.count("redis_proxy.connections"),
            connect_s=config.seconds("redis_proxy.connect"),
            idle_s=config.seconds("redis_proxy.idle"),
            stall_s=config.seconds("redis_proxy.stall"),
            deciding=config.count("redis_proxy.deciding"),
            held_bytes=config.size("redis_proxy.max_memory"),
        ),
        drain_s=config.seconds("redis_proxy.drain"),
        header=config.choice("redis_proxy.header") == "proxy",
        unix_mode=int(config.choice("redis_proxy.unix_mode"), 8),
        metrics=_metrics(config),
    )


PROXY_TLS = "redis_proxy.tls_"
"""How the settings for TLS with clients of the proxy begin."""


def client_tls(config: Config, settings: str = PROXY_TLS) -> ssl.SSLContext | None:
    """How TLS is spoken with clients; None for none.

    Args:
        config: The settings.
        settings: How those begin that name certificate, key and authority.

    Raises:
        ConfigBad: A file is missing, cannot be read, or the key can be read by others.
    """
    cert, key, authority = (config.text(f"{settings}{name}") for name in ("cert", "key", "client_ca"))
    if not (cert or key or authority):
        return None
    if not (cert and key):
        raise ConfigBad(f"TLS needs both {settings}cert and {settings}key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_certificates(context, config, settings)
    return context


def load_certificates(context: ssl.SSLContext, config: Config, settings: str = PROXY_TLS) -> None:
    """Read certificate, key and authority, again if need be: new connections get the new ones.

    Raises:
        ConfigBad: One of them cannot be used.
    """
    cert, key, authority = (config.text(f"{settings}{name}") for name in ("cert", "key", "client_ca"))
    _for_owner_only(key)
    try:
        context.load_cert_chain(cert, key, password=_no_password)
        if authority:
            context.load_verify_locations(authority)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise ConfigBad(f"the certificate, its key or the authority for clients cannot be used: {error}") from error


def upstream_of(address: Address, config: Config) -> Upstream:
    """The server, as `redis.proxy` takes it.

    Raises:
        ConfigBad: The file of `redis.ca` cannot be used.
    """
    tls = server_tls(config) if address.tls else None
    return Upstream(address.host, address.port, address.path, tls, address.host if tls else None)


def server_tls(config: Config) -> ssl.SSLContext:
    """How TLS is spoken with servers and Sentinels.

    Raises:
        ConfigBad: The file of `redis.ca` cannot be used.
    """
    named = config.text("redis.ca")
    try:
        return ssl.create_default_context(cafile=named or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigBad(f"redis.ca {named} cannot be used: {error}") from error


def needs_restart(before: Config, now: Config) -> list[str]:
    """Settings that changed and that a running proxy does not take over."""
    return [key for key in FIXED if before.texts[key] != now.texts[key]]


def with_fixed(before: Config, now: Config) -> Config:
    """The settings of now, but for those that a running proxy does not take over."""
    return Config(
        values={**now.values, **{key: before.values[key] for key in FIXED}},
        texts={**now.texts, **{key: before.texts[key] for key in FIXED}},
        origins={**now.origins, **{key: before.origins[key] for key in FIXED}},
    )


def told(arranged: Arrangement) -> dict[str, object]:
    """The arrangement, for people and machines."""
    ceilings, limits, rules = arranged.ceilings, arranged.setting.limits, arranged.setting.rules
    return {
        "routes": [
            {"listen": [where.name for where in route.listens], "upstream": route.upstream.target}
            for route in arranged.routes
        ],
        "workers": arranged.workers,
        "connections": ceilings.connections,
        "idle": format_duration(ceilings.idle_s),
        "stall": format_duration(ceilings.stall_s),
        "drain": format_duration(arranged.drain_s),
        "inline": limits.inline,
        "reply_off": arranged.setting.reply_off,
        "proxy_header": arranged.header,
        "metrics": "" if arranged.metrics is None else arranged.metrics.name,
        "protect": [pattern.text for pattern in rules.protect],
        "allow": [pattern.text for pattern in rules.allow],
        "treatments": {str(cls): str(treatment) for cls, treatment in rules.treatments.items()},
    }


def _routes(config: Config) -> tuple[Route, ...]:
    nodes = nodes_of(config)
    if nodes:
        if config.text("redis_proxy.upstream"):
            raise ConfigBad("redis_proxy.nodes and redis_proxy.upstream exclude each other")
        return tuple(Route((where,), address) for where, address in nodes)
    listens = _read(config, "redis_proxy.listen", lambda text: tuple(map(parse_listen, text.split())))
    if not listens:
        raise ConfigBad("redis_proxy.listen names no place", hint="--listen 127.0.0.1:6380")
    key = "redis_proxy.upstream" if config.text("redis_proxy.upstream") else "redis.url"
    return (Route(tuple(dict.fromkeys(listens)), _read(config, key, parse_upstream)),)


def _metrics(config: Config) -> Where | None:
    if not config.text("redis_proxy.metrics"):
        return None
    where = _read(config, "redis_proxy.metrics", parse_listen)
    if where.path:
        raise ConfigBad("redis_proxy.metrics is host:port: Prometheus asks nobody at a Unix socket")
    return where


def _setting(config: Config) -> Setting:
    rules, table, soon_ms = load_rules(config), load_table(), config.seconds("redis.expire_soon") * 1000
    limits = Limits(
        arguments=config.count("redis_proxy.max_arguments"),
        argument_bytes=config.size("redis_proxy.max_argument"),
        request_bytes=config.size("redis_proxy.max_request"),
        inline=config.choice("redis_proxy.inline") == "allow",
    )
    fast = fast_calls(table, rules, limits, soon_ms)
    scan(b"", fast)  # what it prepares at its first use takes a tenth of a second, for which no client is to wait
    return Setting(
        table=table,
        rules=rules,
        fast=fast,
        names_ok=partial(may_lose, rules=rules),
        soon_ms=soon_ms,
        limits=limits,
        queued_bytes=config.size("redis_proxy.max_transaction"),
        reply_off=config.choice("redis_proxy.reply_off") == "allow",
    )


def _read(config: Config, key: str, parse: Callable[[str], _T]) -> _T:
    try:
        return parse(config.text(key))
    except AddressError as error:
        raise ConfigBad(f"{config.origin(key).where or 'the defaults'}: {key} {error}") from error


def _for_owner_only(path: str) -> None:
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - the text of the setting is all there is
    except OSError as error:
        raise ConfigBad(f"redis_proxy.tls_key {path} cannot be read: {error.strerror}") from error
    if stat.S_IMODE(mode) & 0o007:
        raise ConfigBad(f"redis_proxy.tls_key {path} can be read by everybody", hint=f"chmod 600 {path}")


def _no_password() -> str:
    raise ssl.SSLError("the key is encrypted, and nobody is here to type its password")
