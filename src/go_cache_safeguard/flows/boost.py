"""Every trace of the services that are at risk, as long as they are: what is sampled is told to their SDKs.

Knows:     the file in the state directory that names services and until when, and the answer of Jaeger's remote sampling.
Called by: `flows.purge_waves` names services and serves the answer itself if it is asked to; `web.sampling` serves it too.
Never:     keeps a boost for ever: whoever names a service says until when, so a crash ends it as well.
Source:    Jaeger's remote sampling, `GET /sampling?service=NAME` (jaeger-idl, sampling.proto, as JSON).
"""

import json
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from go_cache_safeguard.config.resolve import Config
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.textfile import replace_text
from go_cache_safeguard.signals.strategies import strategies
from go_cache_safeguard.telemetry.rules import RulesBad, default_rules, read_rules

if TYPE_CHECKING:
    from http.server import BaseHTTPRequestHandler

PATH = "/sampling"
AFTER_S = 300
"""So long after the last wave everything is still traced."""
_FILE = Path("signals") / "boost.json"
_PATIENCE_S = 2.0
_QUIET = 1.0
"""How generous adaptive rules are when nothing happens: who samples at the head knows no budget."""


def boost(session: Session, services: Iterable[str], until_s: float) -> None:
    """Have every trace of services kept.

    Args:
        session: Whose state directory.
        services: Their names.
        until_s: Seconds since 1970; an earlier end that somebody told is put off, a later one stays.

    Raises:
        OSError: It cannot be written down.
    """
    named = {name: int(until_s) for name in services}

    def after(before: bytes) -> bytes:
        known = {name: end for name, end in _read(before).items() if end > time.time()}
        return json.dumps({**known, **{name: max(end, known.get(name, 0)) for name, end in named.items()}}).encode()

    replace_text(session.state_folder(_FILE.parent.name) / _FILE.name, after)


def strategy(config: Config, service: str) -> dict[str, object]:
    """What Jaeger's SDKs are answered: all, or what those of our rules say that can be judged by the service alone.

    Raises:
        RulesBad: The file of rules cannot be understood.
        OSError: It cannot be read.
    """
    try:
        ends = _read((Path(config.text("state.dir")) / _FILE).read_bytes())
    except OSError:
        ends = {}
    rate = 1.0 if ends.get(service, 0) > time.time() else _usual(config, service)
    return {"strategyType": "PROBABILISTIC", "probabilisticSampling": {"samplingRate": rate}}


def respond(config: Config, target: str) -> tuple[int, bytes]:
    """Status and body for the target of a GET request."""
    parts = urlsplit(target)
    if parts.path != PATH:
        return HTTPStatus.NOT_FOUND, b""
    names = parse_qs(parts.query).get("service", [])
    if len(names) != 1:
        return HTTPStatus.BAD_REQUEST, b"exactly one service has to be named\n"
    try:
        return HTTPStatus.OK, json.dumps(strategy(config, names[0])).encode()
    except (OSError, RulesBad):  # an SDK goes on with what it has; whoever runs us is told by `traces sampling`
        return HTTPStatus.SERVICE_UNAVAILABLE, b"the rules of sampling cannot be read\n"


@contextmanager
def serving(config: Config, port: int) -> Iterator[int]:
    """Answer SDKs on the loopback address. Gives the port, which is chosen if 0 is wanted.

    Raises:
        OSError: Somebody else has that port.
    """
    from http.server import BaseHTTPRequestHandler, HTTPServer  # noqa: PLC0415 - loaded where used

    class Handler(BaseHTTPRequestHandler):
        timeout = _PATIENCE_S

        def do_GET(self) -> None:
            _answer(self, *respond(config, self.path))

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
            """Say nothing."""

    with HTTPServer(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(
            target=partial(server.serve_forever, poll_interval=0.05), name="sampling", daemon=True
        )
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


def _answer(handler: "BaseHTTPRequestHandler", status: int, body: bytes) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json" if status == HTTPStatus.OK else "text/plain")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def _read(data: bytes) -> Mapping[str, int]:
    """Ends of boosts by service; none if nobody wrote this."""
    try:
        found = json.loads(data or b"{}")
        return {str(name): int(end) for name, end in found.items()}
    except (ValueError, TypeError, AttributeError):
        return {}


def _usual(config: Config, service: str) -> float:
    named = config.text("telemetry.rules")
    rules = read_rules(Path(named).read_bytes(), named) if named else default_rules()
    told = strategies(rules, _QUIET, [service])["service_strategies"]
    return float(next(one["param"] for one in told if one["service"] == service))
