"""Which ASGI servers drop slow clients by themselves, and how long others wait meanwhile: the numbers of decision 0008.

    python benchmarks/asgi_servers.py granian uvicorn hypercorn

Needs the named servers in the environment it runs in; two of them are not among our requirements. Every one is set up as patient
as the others: 3 seconds for whatever it has a setting for, room for 4,096 connections.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))
from certificates import Certificates, certificates  # noqa: E402 - found only by the path that was added above

PATIENT_S, LIMIT_S, HALF_OPEN, GOOD = 3, 20, 2_000, 300
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "granian": ("granian", "--interface", "asgi", "--http", "1", "--no-ws", "--backlog", "4096", "--backpressure", "4096",
                "--http1-header-read-timeout", "3000", "--host", "127.0.0.1", "--port"),
    "uvicorn": ("uvicorn", "--timeout-keep-alive", "3", "--backlog", "4096", "--limit-concurrency", "4096", "--host", "127.0.0.1", "--port"),
    "hypercorn": ("hypercorn", "--keep-alive", "3", "--read-timeout", "3", "--backlog", "4096", "--bind"),
}  # fmt: skip
TLS = {
    "granian": ("--ssl-certificate", "--ssl-keyfile"),
    "uvicorn": ("--ssl-certfile", "--ssl-keyfile"),
    "hypercorn": ("--certfile", "--keyfile"),
}
DRIPS: Mapping[str, tuple[bytes, bytes]] = {
    "nothing is sent": (b"", b""),
    "half a line": (b"GET / HT", b""),
    "a head without end": (b"GET / HTTP/1.1\r\nHost: x\r\n", b"X-A: b\r\n"),
    "nothing after a reply": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b""),
    "a body by bytes": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n", b"b"),
}
HANDSHAKE = (b"\x16\x03\x01\x02\x00\x01\x00", b"")

Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]


async def application(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    """Answers at once; a body may take as long as with us, which no server looks at."""
    if scope["type"] != "http":
        while scope["type"] == "lifespan":
            kind = (await receive())["type"]
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return
        return
    status = 200
    try:
        async with asyncio.timeout(PATIENT_S):
            while scope["method"] == "POST" and (await receive()).get("more_body"):
                pass
    except TimeoutError:
        status = 408
    headers = [(b"content-length", b"0"), *([(b"connection", b"close")] if status == 408 else [])]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def started(name: str, port: int, made: Certificates | None) -> "subprocess.Popen[bytes]":
    """A server, when it listens."""
    where = f"127.0.0.1:{port}" if name == "hypercorn" else str(port)
    tls = [] if made is None else [TLS[name][0], str(made.server.cert), TLS[name][1], str(made.server.key)]
    program = Path(sys.executable).with_name(COMMANDS[name][0])
    command = [str(program), *COMMANDS[name][1:], where, *tls, "asgi_servers:application"]
    environ = {**os.environ, "PYTHONPATH": f"{HERE}:{HERE.parent / 'tests'}"}
    process = subprocess.Popen(
        command, cwd=HERE, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    for _ in range(200):
        try:
            dial(port).close()
        except OSError:
            time.sleep(0.05)
        else:
            return process
    raise SystemExit(f"{name} does not listen")


def dial(port: int) -> socket.socket:
    """A connection."""
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def dropped_after(port: int, first: bytes, drip: bytes) -> str:
    """When the server hangs up, as a cell."""
    link, began = dial(port), time.monotonic()
    link.sendall(first)
    link.settimeout(0.25)
    while time.monotonic() - began < LIMIT_S:
        try:
            if drip:
                link.sendall(drip)
            if link.recv(4096):
                continue
        except TimeoutError:
            continue
        except OSError:
            pass
        return f"{time.monotonic() - began:.0f} s"
    return "**never**"


def good(port: int) -> str:
    """p99 of good requests, as a cell."""
    took = []
    for _ in range(GOOD):
        began = time.monotonic()
        with dial(port) as link:
            link.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            while link.recv(4096):
                pass
        took.append((time.monotonic() - began) * 1000)
        time.sleep(0.005)
    return f"{sorted(took)[int(GOOD * 0.99)]:.0f} ms"


def measured(name: str, made: Certificates) -> dict[str, str]:
    """All cells of one server."""
    cells: dict[str, str] = {}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    process = started(name, port, None)
    threads = [
        threading.Thread(target=lambda k=kind, d=drip: cells.update({k: dropped_after(port, *d)}))
        for kind, drip in DRIPS.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    links = [dial(port) for _ in range(HALF_OPEN)]
    for link in links:
        link.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-A: ")
    cells[f"p99 of others beside {HALF_OPEN:,}"] = good(port)
    for link in links:
        link.close()
    process.send_signal(signal.SIGTERM)
    process.wait()
    process = started(name, port, made)
    cells["half a TLS handshake"] = dropped_after(port, *HANDSHAKE)
    os.killpg(process.pid, signal.SIGKILL)  # some have a process that answers beside the one that watches
    process.wait()
    return cells


def main() -> None:
    """Measure and print a table."""
    names = sys.argv[1:] or list(COMMANDS)
    with tempfile.TemporaryDirectory() as folder:
        found = {name: measured(name, certificates(Path(folder) / "tls")) for name in names}
    print("| |", " | ".join(names), "|")
    print("| --- |", " | ".join("---:" for _ in names), "|")
    for kind in [*DRIPS, *(it for it in found[names[0]] if it not in DRIPS)]:
        print(f"| {kind} |", " | ".join(cells[kind] for cells in found.values()), "|")


if __name__ == "__main__":
    main()
