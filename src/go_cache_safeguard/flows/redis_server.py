"""Which server, with which password, and where its captured values lie.

Knows:     how a URL of the command line or the settings becomes a connection, and that a password comes from a file or a variable.
Called by: `flows.redis_plan`, `flows.redis_removal`, `flows.redis_undo`.
Never:     puts a password into a message, the journal or a plan.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from go_cache_safeguard.config.layer import ConfigBad
from go_cache_safeguard.config.resolve import Config
from go_cache_safeguard.core.canonical import canonical, digest
from go_cache_safeguard.core.errors import Failure, PlanVoid, UsageFailure
from go_cache_safeguard.flows.private_file import password_in
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.redis.address import Address, AddressError, parse_address
from go_cache_safeguard.redis.client import Link, Server
from go_cache_safeguard.redis.client import connect as connect_to
from go_cache_safeguard.redis.cluster import open_cluster
from go_cache_safeguard.redis.info import Info
from go_cache_safeguard.redis.route import Where, parse_nodes

_NAME = "go-cache-safeguard"
_CLUSTER = "cluster:"


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
    behind = dict(nodes_of(session.config))

    def one(where: Address) -> Server:
        """The node itself, also where it announces our own proxy in front of it."""
        node = behind.get(Where(where.host, where.port), where)
        return connect_node(session, replace(node, user=node.user or where.user))

    server = one(address)
    try:
        if server.infos()[0].fields.get("cluster_enabled") == "1":
            return open_cluster(server, one)
    except Failure:
        server.close()
        raise
    return server


def connect_node(session: Session, address: Address) -> Server:
    """Open a connection to this very process, also if it is one of a cluster.

    Raises:
        ServerUnreachable: There is none, or it does not let us in.
        ConfigBad: The file with the password cannot be used.
    """
    return connect_to(
        address,
        password=_password(session),
        timeout_s=session.config.seconds("redis.timeout"),
        name=_NAME,
        ca=session.config.text("redis.ca"),
        big=session.config.size("redis.big_value"),
        least=session.config.size("redis.least_reply"),
    )


def reach(session: Session, target: str, identity: str) -> Link:
    """Open a connection to what a plan was made for: one process, or all masters of a cluster.

    Raises:
        ServerUnreachable: There is none, or it does not let us in.
        ConfigBad: The file with the password cannot be used.
    """
    address = parse_address(target)
    return connect(session, address) if identity.startswith(_CLUSTER) else connect_node(session, address)


def nodes_of(config: Config) -> tuple[tuple[Where, Address], ...]:
    """Nodes of a cluster that a proxy of ours stands in front of: where it listens, and the node.

    Raises:
        ConfigBad: They cannot be understood.
    """
    try:
        return parse_nodes(config.text("redis_proxy.nodes"))
    except AddressError as error:
        where = config.origin("redis_proxy.nodes").where
        raise ConfigBad(f"{where}: redis_proxy.nodes {error}", hint="see docs/redis.md") from error


def identity_of(infos: Sequence[Info]) -> str:
    """What tells these processes from those after a restart or a failover: run ids, of a cluster their digest.

    Raises:
        PlanVoid: A server does not say.
    """
    run_ids = sorted(info.fields.get("run_id", "") for info in infos)
    if not all(run_ids):
        raise PlanVoid("a server does not tell its run id", not_done="nothing was removed")
    return run_ids[0] if len(run_ids) == 1 else f"{_CLUSTER}{digest(canonical(run_ids))}"


def trash_folder(session: Session) -> Path:
    """Where captured values lie; made if need be."""
    return session.state_folder("trash")


def _password(session: Session) -> str:
    return password_in(session, "redis.password_file") or session.environ.get("REDISCLI_AUTH", "")
