"""Golden signals of our own store of spans."""

from pathlib import Path

import pytest

from go_cache_safeguard.config.layer import ConfigBad
from go_cache_safeguard.flows.golden import (
    SPANS,
    PrometheusSource,
    StoreSource,
    ask_gate,
    limits_of,
    source_of,
    window_ns,
)
from go_cache_safeguard.flows.progress import Silent
from go_cache_safeguard.flows.session import open_session
from go_cache_safeguard.signals.gate import Limits, Verdict
from go_cache_safeguard.signals.span import Kind, Span, Status
from go_cache_safeguard.signals.spanstore import SpanStore

_S = 1_000_000_000


def _span(number: int, end_ns: int, *, failed: bool) -> Span:
    ids = number.to_bytes(16), number.to_bytes(8)
    status = Status.ERROR if failed else Status.OK
    return Span(*ids, b"", "GET", Kind.SERVER, "pay", "", end_ns - 10_000_000, end_ns, status)


def _store(folder: Path, spans: list[Span]) -> Path:
    (folder / SPANS).parent.mkdir()
    with SpanStore(folder / SPANS) as store:
        store.put(spans, observe=True)
    return folder / SPANS


def test_our_own_store_tells_signals_and_saturation_by_the_requests_in_flight(tmp_path: Path) -> None:
    path = _store(tmp_path, [_span(n + 1, 100 * _S + n * _S // 20, failed=n in {7, 90}) for n in range(200)])
    found = StoreSource(path, {"pay": 0.5}).look(["pay", "cart"], 100 * _S, 110 * _S)
    one = found["pay"]
    assert (one.requests, one.errors, one.traffic, one.newest_ns) == (200, 2, 20, 109 * _S)
    assert one.p95_ms == pytest.approx(10, rel=0.05)
    assert one.saturation == pytest.approx(0.4, rel=0.05)  # 20 a second, 10 ms each, of half a request at a time
    assert one.failing == ((91).to_bytes(16).hex(), (8).to_bytes(16).hex())
    assert (found["cart"].requests, found["cart"].saturation) == (0, None)


def test_a_store_that_is_not_there_is_a_pause_and_the_second_look_at_trouble_a_roll_back(tmp_path: Path) -> None:
    def asked(path: Path, looks: int) -> list[Verdict]:
        told = ask_gate(
            StoreSource(path, {}), ["pay"], Limits(traffic=0), baseline_s=60, since_s=20, looks=looks, every_s=1.1
        )
        return [rulings["pay"].verdict for rulings in told]

    assert asked(tmp_path / "none", 1) == [Verdict.PAUSE]
    _, now_ns = window_ns(1)
    spans = [_span(n + 1, now_ns - (n - 30) * _S // 10, failed=n < 200 and n % 20 == 0) for n in range(700)]
    assert asked(_store(tmp_path, spans), 9) == [Verdict.PAUSE, Verdict.ROLL_BACK]


def test_settings_name_the_source_and_the_limits(tmp_path: Path) -> None:
    settings = {"state.dir": str(tmp_path), "signals.error_rate": "2%", "signals.capacity": "pay=12"}
    session = open_session(settings, progress=Silent())
    assert limits_of(session.config).error_rate == 0.02
    assert source_of(session.config) == StoreSource(tmp_path / SPANS, {"pay": 12.0})
    assert isinstance(source_of(session.config, "http://127.0.0.1:9090/"), PrometheusSource)
    for bad in ("ftp://x", "http://user:secret@x", "http://", "http://x?a=b", "nonsense"):
        with pytest.raises(ConfigBad, match="address of Prometheus"):
            source_of(session.config, bad)
    with pytest.raises(ConfigBad, match="capacity"):
        source_of(open_session({**settings, "signals.capacity": "pay=many"}, progress=Silent()).config)
