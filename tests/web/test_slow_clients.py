"""Slow, silent and half-open clients are dropped, whatever they are slow with, and others do not wait for them."""

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from webserver import Served, serving

_LONG_S = 40
_BIG = "/static/htmx.min.js"


def _dial(served: Served) -> socket.socket:
    return socket.create_connection(("127.0.0.1", served.port), timeout=_LONG_S)


def _answer_until_dropped(link: socket.socket, drip: bytes = b"", every_s: float = 0.2) -> bytes:
    """What came until the other side hung up; fails if it does not. Sends a drop again and again."""
    got = b""
    deadline = time.monotonic() + _LONG_S
    with link:
        link.settimeout(every_s)
        while time.monotonic() < deadline:
            try:
                if drip:
                    link.sendall(drip)
                part = link.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                return got
            if not part:
                return got
            got += part
    raise AssertionError("still connected")


def _head(extra: bytes = b"", line: bytes = b"GET / HTTP/1.1") -> bytes:
    return line + b"\r\nHost: 127.0.0.1\r\n" + extra


def _silent(served: Served) -> bytes:
    return _answer_until_dropped(_dial(served))


def _half_a_line(served: Served) -> bytes:
    link = _dial(served)
    link.sendall(b"GET / HT")
    return _answer_until_dropped(link)


def _half_a_head(served: Served) -> bytes:
    link = _dial(served)
    link.sendall(_head(b"X-A: "))
    return _answer_until_dropped(link, b"a")


def _endless_heads(served: Served) -> bytes:
    link = _dial(served)
    link.sendall(_head())
    return _answer_until_dropped(link, b"X-A: b\r\n")


def _after_a_reply(served: Served) -> bytes:
    link = _dial(served)
    link.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    return _answer_until_dropped(link)


def _body_by_bytes(served: Served) -> bytes:
    origin = f"Host: 127.0.0.1:{served.port}\r\nOrigin: {served.url}\r\nContent-Length: 1000\r\n\r\n"
    link = _dial(served)
    link.sendall(b"POST /login HTTP/1.1\r\n" + origin.encode())
    return _answer_until_dropped(link, b"a")


def _body_in_chunks(served: Served) -> bytes:
    origin = f"Host: 127.0.0.1:{served.port}\r\nOrigin: {served.url}\r\nTransfer-Encoding: chunked\r\n\r\n"
    link = _dial(served)
    link.sendall(b"POST /login HTTP/1.1\r\n" + origin.encode())
    return _answer_until_dropped(link, b"1\r\na\r\n")


KINDS = (_silent, _half_a_line, _half_a_head, _endless_heads, _after_a_reply, _body_by_bytes, _body_in_chunks)


def test_every_kind_of_slow_client_is_dropped(served: Served) -> None:
    with ThreadPoolExecutor(len(KINDS)) as pool:
        answers = dict(zip(KINDS, pool.map(lambda kind: kind(served), KINDS), strict=True))
    assert b"200 OK" in answers[_after_a_reply]
    for kind in (_body_by_bytes, _body_in_chunks):
        assert answers[kind].startswith(b"HTTP/1.1 408 "), kind
    assert not any(answers[kind] for kind in KINDS[:4])


def test_whoever_never_reads_a_reply_is_dropped_by_the_kernel(served: Served) -> None:
    link = socket.socket()
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    link.connect(("127.0.0.1", served.port))
    ask = f"GET {_BIG} HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\n\r\n".encode()
    # More replies than all buffers hold; the server reads questions no faster than it can answer.
    writer = threading.Thread(target=_send_quietly, args=(link, ask * 400), daemon=True)
    writer.start()
    _wait(lambda: not _is_connected(link, served.port), "still connected")
    writer.join(_LONG_S)
    link.close()


def _send_quietly(link: socket.socket, data: bytes) -> None:
    try:
        link.sendall(data)
    except OSError:
        return


def _is_connected(link: socket.socket, port: int) -> bool:
    """Whether the server's side still has the connection."""
    near, far = f":{port:04X}", f":{link.getsockname()[1]:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(row[1].endswith(near) and row[2].endswith(far) and row[3] == "01" for row in rows)


def _wait(until: Callable[[], bool], why: str) -> None:
    deadline = time.monotonic() + _LONG_S
    while not until():
        assert time.monotonic() < deadline, why
        time.sleep(0.1)


def test_others_are_answered_while_many_connections_are_half_open(served: Served) -> None:
    links = [_dial(served) for _ in range(300)]
    for link in links:
        link.sendall(_head(b"X-A: "))
    assert {httpx.get(f"{served.url}/healthz", trust_env=False).status_code for _ in range(20)} == {200}
    for link in links:
        link.close()


def test_when_all_connections_are_taken_the_next_one_waits_until_a_silent_one_is_dropped(tmp_path: Path) -> None:
    with serving(tmp_path, {"serve.connections": "16", "serve.header_timeout": "1s"}) as small:
        links = [_dial(small) for _ in range(40)]
        for link in links:
            link.sendall(b"GET / HT")
        assert httpx.get(f"{small.url}/healthz", trust_env=False, timeout=_LONG_S).status_code == 200
        for link in links:
            link.close()


def test_half_a_handshake_is_dropped(secured: Served) -> None:
    beginnings = (b"", b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    with ThreadPoolExecutor(len(beginnings)) as pool:
        assert not any(pool.map(lambda first: _handshake(secured, first), beginnings))


def _handshake(served: Served, first: bytes) -> bytes:
    link = _dial(served)
    link.sendall(first)
    return _answer_until_dropped(link)


@pytest.mark.parametrize("size", [70_000, 500_000])
def test_an_endless_head_is_refused(served: Served, size: int) -> None:
    link = _dial(served)
    _send_quietly(link, _head(b"X-A: " + b"a" * size))
    answer = _answer_until_dropped(link)
    assert answer == b"" or b" 431 " in answer.split(b"\r\n")[0] or b" 400 " in answer.split(b"\r\n")[0]
