"""Which server, with which password, and where its captured values lie.

Knows:     how a URL of the command line or the settings becomes a connection, and that a password comes from a file or a variable.
Called by: `flows.redis_plan`, `flows.redis_removal`, `flows.redis_undo`.
Never:     puts a password into a message, the journal or a plan.
"""

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from go_cache_safeguard.config.layer import ConfigBad
from go_cache_safeguard.core.canonical import canonical, digest
from go_cache_safeguard.core.errors import Failure, PlanVoid, UsageFailure
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.redis.address import Address, AddressError, parse_address
from go_cache_safeguard.redis.client import Link, Server
from go_cache_safeguard.redis.client import connect as connect_to
from go_cache_safeguard.redis.cluster import open_cluster
from go_cache_safeguard.redis.info import Info

_LIMIT = 4096
_NAME = "go-cache-safeguard"


def address_of(session: Session, url: str | None) -> Address:
    """The server that a person named, or the setting `redis.url`.

    Raises:
        UsageFailure: It cannot be understood, or holds a password.
    """
    try:
        return parse_address(url or session.config.text("redis.url"))
    except AddressError as error:
        raise UsageFailure(
            f"the URL of the server {error}",
            not_done="nothing was read or removed",
            hint="the password comes from REDISCLI_AUTH, or from a file with --set redis.password_file=/path",
        ) from error


def connect(session: Session, address: Address) -> Link:
    """Open a connection; to every master if it is a node of a cluster.

    Raises:
        ServerUnreachable: There is none, or it does not let us in.
        ConfigBad: The file with the password cannot be used.
    """
    password, timeout_s = _password(session), session.config.seconds("redis.timeout")

    def one(where: Address) -> Server:
        return connect_to(where, password=password, timeout_s=timeout_s, name=_NAME)

    server = one(address)
    try:
        if server.infos()[0].fields.get("cluster_enabled") == "1":
            return open_cluster(server, one)
    except Failure:
        server.close()
        raise
    return server


def identity_of(infos: Sequence[Info]) -> str:
    """What tells these processes from those after a restart or a failover: run ids, of a cluster their digest.

    Raises:
        PlanVoid: A server does not say.
    """
    run_ids = sorted(info.fields.get("run_id", "") for info in infos)
    if not all(run_ids):
        raise PlanVoid("a server does not tell its run id", not_done="nothing was removed")
    return run_ids[0] if len(run_ids) == 1 else f"cluster:{digest(canonical(run_ids))}"


def trash_folder(session: Session) -> Path:
    """Where captured values lie; made if need be."""
    return session.state_folder("trash")


def _password(session: Session) -> str:
    named = session.config.text("redis.password_file")
    if not named:
        return session.environ.get("REDISCLI_AUTH", "")
    try:
        handle = os.open(named, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            mode = os.fstat(handle).st_mode
            text = file.read(_LIMIT)
    except OSError as error:
        raise ConfigBad(f"redis.password_file {named} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(mode) or mode & 0o077:
        raise ConfigBad(f"redis.password_file {named} can be read by others", hint=f"chmod 600 {named}")
    return text.decode("utf-8", "surrogateescape").rstrip("\r\n")
