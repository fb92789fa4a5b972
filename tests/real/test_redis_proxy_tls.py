"""TLS on both sides of the proxy, with real servers and certificates."""

import ssl
import time
from pathlib import Path
from socket import create_connection

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as NotConnected
from redis.exceptions import ResponseError

from certificates import Certificates, Pair, certificates
from guardproxy import free_port, guarding
from redisservers import Client, running

pytestmark = pytest.mark.real


def _listening(port: int, made: Certificates) -> tuple[str, ...]:
    cert = ("--tls-cert", str(made.server.cert), "--tls-key", str(made.server.key), "--tls-client-ca", str(made.ca))
    return "--listen", f"localhost:{port}", *cert


def _client(port: int, made: Certificates, own: Pair | None = None) -> Redis:
    cert, key = (None, None) if own is None else (str(own.cert), str(own.key))
    return Redis(
        host="localhost",
        port=port,
        socket_timeout=30,
        ssl=True,
        ssl_ca_certs=str(made.ca),
        ssl_certfile=cert,
        ssl_keyfile=key,
    )


def test_clients_and_server_are_spoken_to_with_tls(tmp_path: Path) -> None:
    made = certificates(tmp_path / "certs")
    folder, back, port, front = tmp_path / "p", tmp_path / "server", free_port(), free_port()
    back.mkdir()
    tls = ("--tls-port", str(port), "--tls-cert-file", str(made.server.cert), "--tls-key-file", str(made.server.key))
    more = ("--tls-ca-cert-file", str(made.ca), "--tls-auth-clients", "no")
    settings = {"redis.protect": "user:*", "redis.ca": str(made.ca)}
    with (
        running("redis-7.0", back, *tls, *more) as server,  # the others at hand were built without TLS
        guarding(
            folder, "--upstream", f"rediss://localhost:{port}", *_listening(front, made), settings=settings
        ) as proxy,
        server.client() as direct,
    ):
        direct("SET", "user:1", "y")
        direct("SET", "page:1", "z" * 100_000)
        with _client(front, made, made.client) as client:
            assert client.get("page:1") == b"z" * 100_000
            assert client.delete("page:1") == 1
            with pytest.raises(ResponseError, match="GUARDHELD"):
                client.delete("user:1")
        op = proxy.wait_for("held")["op"]
        proxy.approve(op)
        proxy.wait_state(op, "DONE")
        assert direct("EXISTS", "user:1") == 0
        with _client(front, made) as nobody, pytest.raises(NotConnected):
            nobody.ping()
        assert proxy.stop() == 0


def test_a_handshake_that_does_not_go_on_ends(tmp_path: Path) -> None:
    made = certificates(tmp_path / "certs")
    folder, front, back = tmp_path / "p", free_port(), tmp_path / "server"
    back.mkdir()
    settings = {"redis_proxy.connect": "1s"}
    with (
        running("redis-7.0", back) as server,
        guarding(folder, "--upstream", f"unix://{server.path}", *_listening(front, made), settings=settings),
        create_connection(("127.0.0.1", front), timeout=30) as silent,
    ):
        began = time.monotonic()
        assert silent.recv(1) == b""
        assert time.monotonic() - began > 0.5


def test_a_server_whose_certificate_is_not_believed_is_not_spoken_to(tmp_path: Path) -> None:
    made, others = certificates(tmp_path / "certs"), certificates(tmp_path / "others")
    folder, back, port = tmp_path / "p", tmp_path / "server", free_port()
    back.mkdir()
    tls = ("--tls-port", str(port), "--tls-cert-file", str(made.server.cert), "--tls-key-file", str(made.server.key))
    more = ("--tls-ca-cert-file", str(made.ca), "--tls-auth-clients", "no")
    listen = ("--listen", f"unix://{folder / 'front'}")
    with (
        running("redis-7.0", back, *tls, *more),
        guarding(
            folder, "--upstream", f"rediss://localhost:{port}", *listen, settings={"redis.ca": str(others.ca)}
        ) as proxy,
    ):
        client = Client(proxy.path)
        assert "cannot reach the server" in str(client.read())
        client.close()
        assert "certificate" in proxy.wait_for("closed")["text"].lower()


def test_new_certificates_are_read_without_a_stop(tmp_path: Path) -> None:
    made = certificates(tmp_path / "certs")
    folder, back, front = tmp_path / "p", tmp_path / "server", free_port()
    back.mkdir()
    listen = ("--listen", f"localhost:{front}", "--tls-cert", str(made.server.cert), "--tls-key", str(made.server.key))
    with (
        running("redis-7.0", back) as server,
        guarding(folder, "--upstream", f"unix://{server.path}", *listen) as proxy,
    ):
        first = ssl.get_server_certificate(("127.0.0.1", front))
        certificates(tmp_path / "certs")
        proxy.child.send_signal(1)
        proxy.wait_for("reloaded")
        assert ssl.get_server_certificate(("127.0.0.1", front)) != first
