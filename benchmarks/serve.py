"""How long good requests to `serve` take while 2,000 clients keep connections half open, and come again when they are dropped.

    python benchmarks/serve.py

Result: stdout, and between the markers in docs/benchmarks.md. The goal: p99 under 250 ms.
"""

import http.client
import multiprocessing
import selectors
import socket
import ssl
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

from page import machine, write_section

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from certificates import Certificates, certificates
from webserver import Served, add_person, log_in, serving

HALF_OPEN, GOOD, GOAL_MS = 2_000, 800, 250
PACE_S = 0.02
"""Between good requests, so that they spread over the time in which others are dropped and come again."""
FIRST = {
    "half a head": b"GET / HTTP/1.1\r\nHost: x\r\nX-A: ",
    "half a body": b"POST /login HTTP/1.1\r\nHost: {host}\r\nOrigin: {url}\r\nContent-Length: 1000\r\n\r\na",
    "nothing at all": b"",
    "half a handshake": b"\x16\x03\x01\x02\x00\x01\x00",
}


def attack(port: int, first: bytes, told: Connection) -> None:
    """Keep connections half open until told to stop; says how many were dropped and opened again."""
    waiting, again = selectors.DefaultSelector(), 0
    for _ in range(HALF_OPEN):
        waiting.register(_open(port, first), selectors.EVENT_READ)
    told.send(HALF_OPEN)
    while not told.poll():
        for key, _ in waiting.select(0.1):
            link = key.fileobj
            assert isinstance(link, socket.socket)  # noqa: S101 - nothing else was registered
            if _is_dropped(link):
                waiting.unregister(link)
                link.close()
                waiting.register(_open(port, first), selectors.EVENT_READ)
                again += 1
    told.send(again)


def _open(port: int, first: bytes) -> socket.socket:
    link = socket.create_connection(("127.0.0.1", port))
    link.sendall(first)
    return link


def _is_dropped(link: socket.socket) -> bool:
    try:
        return not link.recv(4096)
    except OSError:
        return True


def good(served: Served, made: Certificates, cookie: str) -> list[float]:
    """How long good requests took, each with a connection of its own, in ms, sorted: the log-in page and the inbox by turns."""
    tls, took = ssl.create_default_context(cafile=made.ca), []
    for at in range(GOOD):
        began = time.perf_counter()
        link: http.client.HTTPConnection = (
            http.client.HTTPSConnection("127.0.0.1", served.port, context=tls, timeout=60)
            if served.url.startswith("https")
            else http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
        )
        path, headers = ("/login", {}) if at % 2 else ("/", {"Cookie": cookie})
        link.request("GET", path, headers=headers)
        reply = link.getresponse()
        reply.read()
        took.append((time.perf_counter() - began) * 1000)
        link.close()
        if reply.status != 200:
            raise SystemExit(f"{path} was answered with {reply.status}")
        time.sleep(PACE_S)
    return sorted(took)


def under(served: Served, made: Certificates, cookie: str, first: bytes) -> tuple[list[float], int]:
    """The same while others attack; and how many of these came again."""
    host = served.url.partition("://")[2]
    first = first.replace(b"{host}", host.encode()).replace(b"{url}", served.url.encode())
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=attack, args=(served.port, first, there))
    process.start()
    here.recv()
    took = good(served, made, cookie)
    here.send(None)
    again = int(here.recv())
    process.join()
    return took, again


def row(name: str, took: list[float], again: int | None) -> str:
    """One line of the table."""
    p99 = took[int(len(took) * 0.99)]
    verdict = f"met ({GOAL_MS})" if p99 < GOAL_MS else f"**not met** ({GOAL_MS})"
    came = "" if again is None else f"{again:,}"
    return f"| {name} | {took[len(took) // 2]:.1f} | {p99:.1f} | {took[-1]:.1f} | {came} | {verdict} |"


def main() -> None:
    """Measure and write."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        made = certificates(Path(folder) / "tls")
        tls = {"serve.tls_cert": str(made.server.cert), "serve.tls_key": str(made.server.key)}
        for scheme, settings in (("HTTP", {}), ("HTTPS", tls)):
            place = Path(folder) / scheme
            place.mkdir()
            with serving(place, settings) as served:
                add_person(served, "alice", "approver")
                with served.client(authority=made.ca) as client:
                    cookie = log_in(client, "alice").headers["set-cookie"].partition(";")[0]
                good(served, made, cookie)
                rows.append(row(f"{scheme}, nobody else", good(served, made, cookie), None))
                for name, first in FIRST.items():
                    if (name == "half a handshake") == (scheme == "HTTPS"):
                        rows.append(row(f"{scheme}, {HALF_OPEN:,} with {name}", *under(served, made, cookie, first)))
    about = (
        f"`serve` with its default settings, on the loopback: {GOOD} good requests, each with a connection of its own, to the log-in"
        f" page and to the inbox by turns, while {HALF_OPEN:,} connections are kept half open by a process that opens each again as"
        f" soon as it is dropped. From connecting to the last byte, in ms. {machine()}"
    )
    lines = [
        about,
        "",
        "| | median | p99 | longest | dropped and opened again | p99 |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
        *rows,
        "",
        "Again: `python benchmarks/serve.py`. Why this server: [decision 0008](decisions/0008-granian.md).",
    ]
    write_section("serve", "\n".join(lines))


if __name__ == "__main__":
    main()
