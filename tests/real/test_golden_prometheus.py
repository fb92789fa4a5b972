"""Golden signals of a real Prometheus that scrapes a real service, and the gate's ruling on them."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import isnan
from pathlib import Path
from threading import Thread

import pytest

from alerting import prometheus
from go_cache_safeguard.flows.golden import PrometheusSource, window_ns
from go_cache_safeguard.signals.gate import Limits, Verdict, judge
from go_cache_safeguard.signals.golden import Golden
from go_cache_safeguard.signals.promql import parse_metrics
from guardproxy import free_port, wait_until
from shopservice import Shop, shop

pytestmark = pytest.mark.real
SATURATION = "max by (job) (pool_used_ratio)"
FAILED = ["ab" * 16, "cd" * 16]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shop, PrometheusSource]]:
    nowhere = f"127.0.0.1:{free_port()}"
    with shop() as one:
        one.fill(0.4)
        with prometheus(tmp_path_factory.mktemp("prometheus"), one.where, nowhere, job="pay", rules=()) as where:
            yield one, PrometheusSource(f"http://{where}", parse_metrics("semconv"), SATURATION)


def _look(source: PrometheusSource, start_ns: int) -> Golden:
    return source.look(["pay"], start_ns, time.time_ns())["pay"]


def test_a_real_prometheus_tells_what_was_served_and_the_gate_judges_it(watched: tuple[Shop, PrometheusSource]) -> None:
    one, source = watched
    start_ns, _ = window_ns(5)
    wait_until("the service is scraped", lambda: _look(source, start_ns).newest_ns)
    for _ in range(20):
        one.serve(30)
        one.serve(5, ms=20)
        time.sleep(0.2)
    wait_until("all is scraped", lambda: _look(source, start_ns).requests == 700)
    calm = _look(source, start_ns)
    assert (calm.errors, calm.saturation, calm.failing, calm.doubt, calm.step_s) == (0, 0.4, (), "", 1)
    assert 10 < calm.p95_ms <= 25
    assert len(calm.latencies) <= 700
    again = replace(calm, start_ns=calm.start_ns - 60 * 10**9, end_ns=calm.start_ns)
    limits = Limits(traffic=0, stale_s=3)
    assert judge(calm, again, limits).verdict is Verdict.ADVANCE, judge(calm, again, limits).reasons

    time.sleep(0.6)
    broke_ns = time.time_ns() - 500_000_000  # a scrape is dated when it begins
    one.serve(100)
    one.serve(2, failed=FAILED[0])
    one.serve(1, ms=30, failed=FAILED[1])  # the first failures ever: `increase()` would see none of them
    wait_until("the failures are scraped", lambda: _look(source, broke_ns).errors == 3)
    one.serve(1, failed=FAILED[0])  # Prometheus 2.42 keeps no exemplar of a series' first sample
    one.serve(1, ms=30, failed=FAILED[1])
    wait_until("their traces too", lambda: set(_look(source, broke_ns).failing) == set(FAILED))
    wait_until("and the counts", lambda: _look(source, broke_ns).errors == 5)
    bad = _look(source, broke_ns)
    assert bad.requests == 105
    first = judge(bad, calm, limits)
    assert first.verdict is Verdict.PAUSE
    time.sleep(2.1)
    assert judge(_look(source, broke_ns), calm, limits, first.looks).verdict is Verdict.ROLL_BACK

    one.serve(60, failed=FAILED[1])
    wait_until("the breach is seen", lambda: judge(_look(source, broke_ns), calm, limits).breached)
    nobody = source.look(["nobody", 'a"b|c\\'], *window_ns(5))
    assert all("has no http_server" in golden.doubt for golden in nobody.values())


ANSWERS = {
    "no JSON": (b"<html>", "no JSON"),
    "an error": (b'{"status": "error", "error": "query timed out"}', "query timed out"),
    "a part": (b'{"status": "success", "warnings": ["a store is away"], "data": {"result": []}}', "not whole"),
    "nonsense": (b'{"status": "success", "data": {"result": [{"metric": 7}]}}', "form of Prometheus"),
    "nothing": (b'{"status": "success", "data": {"result": []}}', "form of Prometheus"),
    "too much": (b" " * (33 << 20), "longer than 32 MiB"),
}


@contextmanager
def _answering(body: bytes) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            pass

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(("body", "doubt"), ANSWERS.values(), ids=ANSWERS)
def test_an_answer_that_is_none_is_no_data_and_a_pause(body: bytes, doubt: str) -> None:
    with _answering(body) as url:
        found = PrometheusSource(url, parse_metrics("classic")).look(["pay"], *window_ns(60))["pay"]
    assert doubt in found.doubt
    assert isnan(found.p95_ms)
    ruling = judge(found, None)
    assert ruling.verdict is Verdict.PAUSE
    assert ruling.reasons[0] == found.doubt


def test_the_commands_show_signals_and_exit_by_the_ruling(
    watched: tuple[Shop, PrometheusSource], tmp_path: Path
) -> None:
    import contextlib
    import io

    from go_cache_safeguard.cli.app import run

    def said(*arguments: str) -> tuple[int, str]:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            code = run([*arguments, "--from", watched[1].url, "--state-dir", str(tmp_path), "--json"])
        return code, out.getvalue()

    gate = ("signals", "gate", "--service", "pay", "--service", "nobody", "--since", "1m", "--baseline", "10m")
    watched[0].serve(100)
    wait_until("the shop is known", lambda: said("signals", "golden", "pay", "--since", "1m")[0] == 0)
    assert json.loads(said("signals", "golden", "pay", "--since", "1m")[1])["services"][0]["service"] == "pay"
    watched[0].serve(60, failed=FAILED[1])
    wait_until("the breach is seen", lambda: said(*gate)[0] == 10)
    told = json.loads(said(*gate)[1])
    assert (told["verdict"], told["breached"]) == ("roll_back", True)
    assert told["services"]["nobody"]["verdict"] == "pause"
    assert said("signals", "gate", "--service", "nobody")[0] == 11
