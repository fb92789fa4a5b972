"""The flight recorder's switch: dropped traces of the last moments are exported after all when somebody else sees that it went wrong.

Knows:     one path on the loopback address, and how whoever watches a purge asks there.
Called by: any Python service beside `telemetry.tail.install`; `flows.purge_waves` asks.
Never:     tells what is in a trace, but for its id; answers anybody on another machine.
"""

import json
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Protocol
from urllib.parse import urlsplit

PATH = "/flight-recorder"
MOST_TRACES = 100
"""Ids that are told; a recorder holds more traces than anybody looks at."""
_TRACE = re.compile(r"[0-9a-f]{32}", re.ASCII)
_MOST_BYTES = 16_384
_PATIENCE_S = 2.0


class Pulls(Protocol):
    """A sampler that remembers what it dropped; see `telemetry.tail.TailSampler`."""

    def pull(self, trace_ids: Sequence[int] | None = None) -> Mapping[int, int]:
        """Export dropped traces after all. Returns how many spans of each come, the trace that was dropped last at the end."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """What comes.

    Attributes:
        spans: How many.
        traces: Ids of their traces in hexadecimal, the one that was dropped last first; at most `MOST_TRACES`.
    """

    spans: int
    traces: tuple[str, ...]


@contextmanager
def listening(sampler: Pulls, port: int = 0) -> Iterator[int]:
    """Let whoever is on this machine pull. Gives the port, which is chosen if 0 is wanted.

    Raises:
        OSError: Somebody else has that port.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = _PATIENCE_S

        def do_POST(self) -> None:
            found = self.path == PATH
            body = json.dumps(_told(sampler.pull())).encode() if found else b""
            self.send_response(HTTPStatus.OK if found else HTTPStatus.NOT_FOUND)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
            """Say nothing."""

    with HTTPServer(("127.0.0.1", port), Handler) as server:
        run = partial(server.serve_forever, poll_interval=0.05)
        thread = threading.Thread(target=run, name="flight-recorder", daemon=True)
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


def _told(pulled: Mapping[int, int]) -> dict[str, object]:
    return {"spans": sum(pulled.values()), "traces": [f"{one:032x}" for one in list(pulled)[: -MOST_TRACES - 1 : -1]]}


def pull(url: str) -> Pulled:
    """Have a service export what it dropped a moment ago.

    Args:
        url: Such as http://127.0.0.1:9464.

    Raises:
        ValueError: It did not answer, or not so.
    """
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=_PATIENCE_S)
    try:
        connection.request("POST", PATH)
        return _read(connection.getresponse().read(_MOST_BYTES))
    except (OSError, HTTPException, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{url} did not give what it dropped: {error}") from error
    finally:
        connection.close()


def _read(body: bytes) -> Pulled:
    found = json.loads(body)
    traces = tuple(str(one) for one in found["traces"][:MOST_TRACES])
    if not all(map(_TRACE.fullmatch, traces)):
        raise ValueError("a trace has no id")
    return Pulled(int(found["spans"]), traces)
