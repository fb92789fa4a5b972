"""A cluster behind proxies, one for each node: a client that knows of nothing finds them, and nothing goes past them."""

from pathlib import Path

import pytest
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.exceptions import ResponseError
from redis.retry import Retry

from guardproxy import GuardProxy, guarding, wait_until
from rediscluster import Cluster, cluster

pytestmark = pytest.mark.real
FRONT = "127.0.0.2"
"""Nodes listen at 127.0.0.1, proxies at another address of the loopback, at the same ports."""


def _ports(nodes: Cluster) -> list[int]:
    found = []
    for server in nodes.servers:
        with server.client() as client:
            found.append(int(client.strings("CONFIG", "GET", "port")[1]))
    return found


def _announce(nodes: Cluster) -> None:
    """Tell clients another host than nodes tell each other."""
    for server in nodes.servers:
        with server.client() as client:
            client("CONFIG", "SET", "cluster-announce-hostname", FRONT)
            client("CONFIG", "SET", "cluster-preferred-endpoint-type", "hostname")


def _known_everywhere(nodes: Cluster) -> bool:
    for server in nodes.servers:
        with server.client() as client:
            for slots in client.array("CLUSTER", "SLOTS"):
                assert isinstance(slots, list)
                assert isinstance(slots[2], list)
                if slots[2][0] != FRONT.encode():
                    return False
    return True


def _nodes_of(ports: list[int]) -> list[str]:
    pairs = [f"{FRONT}:{port}=redis://127.0.0.1:{port}" for port in ports]
    return [word for pair in pairs for word in ("--node", pair)]


def _story(nodes: Cluster, proxy: GuardProxy, client: "RedisCluster", ports: list[int]) -> None:
    for number in range(60):
        assert client.set(f"page:{number}", number)
    for number in range(60):
        assert client.get(f"page:{number}") == str(number).encode()
        assert nodes.ask("SET", f"user:{number}", "precious") == b"OK"
    assert client.delete("page:1") == 1
    held = 0
    for number in range(6):
        with pytest.raises(ResponseError, match="GUARDHELD"):
            client.delete(f"user:{number}")
        held += 1
    assert len(proxy.events("held")) == held
    # Every node has a proxy of its own, and clients have spoken to nothing else.
    assert {(node.host, node.port) for node in client.nodes_manager.nodes_cache.values()} == {
        (FRONT, port) for port in ports
    }
    op = proxy.events("held")[0]["op"]
    proxy.approve(op)
    proxy.wait_state(op, "DONE")
    assert nodes.ask("GET", "user:0") is None
    assert nodes.ask("GET", "user:1") == b"precious"


@pytest.mark.parametrize("name", ["redis-7.0", "valkey-9.1"])
def test_nodes_announce_a_host_name_and_clients_find_the_proxies(name: str, tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    with cluster(name, tmp_path / "c") as nodes:
        ports = _ports(nodes)
        _announce(nodes)
        wait_until("the nodes tell each other", lambda: _known_everywhere(nodes))
        words = _nodes_of(ports)[1::2]
        settings = {"redis.protect": "user:*", "redis_proxy.nodes": " ".join(words)}
        with guarding(tmp_path / "p", settings=settings) as proxy:
            proxy.wait_for("listening", 3)
            client = RedisCluster(FRONT, ports[0], retry=Retry(NoBackoff(), 3))
            try:
                _story(nodes, proxy, client, ports)
                # On the command line the guard finds the nodes themselves, although they announce its proxies.
                url = f"redis://127.0.0.1:{ports[0]}"
                done = proxy.ask("redis", "unlink", "page:2", "page:3", "page:4", "--url", url)
                assert done["moved"] == 3
            finally:
                client.close()
            assert proxy.stop() == 0


def test_a_client_that_maps_addresses_finds_the_proxies_of_nodes_that_announce_nothing(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    with cluster("redis-7.0", tmp_path / "c") as nodes:
        ports = _ports(nodes)
        with guarding(tmp_path / "p", *_nodes_of(ports), settings={"redis.protect": "user:*"}) as proxy:
            proxy.wait_for("listening", 3)

            def remap(address: tuple[str, int]) -> tuple[str, int]:
                return FRONT, address[1]

            client = RedisCluster(FRONT, ports[0], address_remap=remap, retry=Retry(NoBackoff(), 3))
            try:
                _story(nodes, proxy, client, ports)
            finally:
                client.close()
