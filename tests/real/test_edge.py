"""Gateways, a real Mosquitto, and what is left when any of them dies."""

import asyncio
import gzip
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.publish
import pytest

from certificates import Certificates, certificates
from go_cache_safeguard.flows.edge_ingest import Ingester, Onward
from go_cache_safeguard.signals import edge
from go_cache_safeguard.signals.broker import parse_broker, parse_topics
from go_cache_safeguard.signals.cover import coverer
from go_cache_safeguard.signals.otlp import decode_json
from go_cache_safeguard.signals.query import EVERYTHING
from go_cache_safeguard.signals.receive import Desk
from go_cache_safeguard.signals.span import Span, Status
from go_cache_safeguard.signals.spanstore import SpanStore, SpanStoreFull, SpanStoreUnusable
from go_cache_safeguard.telemetry.redact import DROPPED, HASHED, Redactor
from go_cache_safeguard.telemetry.rules import default_rules
from hookservers import hooked
from mqttbrokers import Mosquitto
from mqttdevices import message, publish
from receiving import environ_of, run
from safeguard import COMMAND

DEBIAN = "/usr/bin/python3"
FILE = str(Path(edge.__file__))
MOST_KIB = 12 << 10
CANARY = "canary-5b1f0c"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, keys: Certificates) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path_factory.mktemp("broker"), keys) as one:
        yield one


def _wait(until: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not until():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def _line(number: int, **more: Any) -> str:
    span = {
        "name": f"read {number}",
        "start_ns": 1_700_000_000_000_000_000,
        "end_ns": 1_700_000_000_000_000_000 + number,
    }
    return (
        json.dumps({**span, "attributes": {"number": number, "authorization": CANARY, "meter_id": CANARY}, **more})
        + "\n"
    )


def _gateway(url: str, buffer: Path, *more: str, program: str = FILE) -> "subprocess.Popen[str]":
    """The publisher as it runs on a gateway: Debian's Python, nothing installed."""
    words = [
        "--broker",
        url,
        "--topic",
        "traces/blue/gw",
        "--service",
        "gateway",
        "--buffer",
        str(buffer),
        "--drop",
        "meter-*",
    ]
    return subprocess.Popen(
        [DEBIAN, "-S", "-E", "-I", program, *words, *more],
        stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={},
    )  # fmt: skip


def _told(gateway: "subprocess.Popen[str]", lines: str = "") -> dict[str, Any]:
    """Give it its last lines; what it says at its end."""
    _, said = gateway.communicate(lines, timeout=40)
    told: dict[str, Any] = json.loads(said.splitlines()[-1])
    return told


def _most_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


@contextmanager
def _ingesting(url: str, topic: str, desk: Desk[Any], *, name: str, authority: str = "") -> Iterator[Ingester]:
    """An ingester that has subscribed, in a thread of this process."""
    ready = threading.Event()
    one = Ingester(parse_broker(url), parse_topics(topic), name, desk, password="", authority=authority)
    thread = threading.Thread(target=one.run, args=(ready.set,))
    thread.start()
    try:
        assert ready.wait(20)
        yield one
    finally:
        one.stop()
        thread.join(60)
        desk.close()


def _desk(path: Path) -> Desk[SpanStore]:
    return Desk(lambda: SpanStore(path), coverer(Redactor(default_rules().redaction)), lambda _: None)


def _kept(path: Path) -> Sequence[Span]:
    try:
        with SpanStore(path, read_only=True) as store:
            return store.find(EVERYTHING, limit=100_000)
    except SpanStoreUnusable:  # it is being made
        return ()


def test_spans_of_a_gateway_arrive_whole_whoever_dies_on_the_way_and_twelve_megabytes_are_enough(
    tmp_path: Path,
) -> None:
    state, environ = tmp_path / "state", environ_of(tmp_path / "state")
    store = state / "signals" / "spans.sqlite"

    def ingester(broker: Mosquitto) -> "subprocess.Popen[str]":
        command = [*COMMAND, "traces", "edge-ingest", "--broker", broker.url, "--topic", "traces/{tenant}/+"]
        process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline().startswith("taking traces/{tenant}/+")
        return process

    with Mosquitto(tmp_path / "broker") as broker:
        taking = ingester(broker)
        gateway = _gateway(broker.url, tmp_path / "buffer")
        assert gateway.stdin is not None
        gateway.stdin.write("".join(_line(number) for number in range(1, 1_001)) + "no span\n")
        gateway.stdin.flush()
        _wait(lambda: len(_kept(store)) >= 100)
        taking.kill()
        taking.communicate(timeout=20)
        gateway.stdin.write("".join(_line(number) for number in range(1_001, 1_501)))
        gateway.stdin.flush()
        broker.stop()
        gateway.stdin.write("".join(_line(number) for number in range(1_501, 2_001)))
        gateway.stdin.flush()
        broker.start()
        taking = ingester(broker)
        _wait(lambda: len(_kept(store)) == 2_000)
        assert _most_kib(gateway.pid) <= MOST_KIB
        told = _told(gateway, _line(2_001, error="no answer", kind="client", parent_id="00000000000000aa"))
        _wait(lambda: len(_kept(store)) == 2_001)
        taking.terminate()
        _, said = taking.communicate(timeout=30)
    assert (gateway.returncode, told["waiting"], told["dropped"], told["refused"]) == (0, 0, 0, 0)
    assert (told["bad_lines"], told["connections"]) == (1, 2)
    assert (taking.returncode, "0 unusable messages" in said) == (0, True)
    spans = {span.attributes["number"]: span for span in _kept(store)}
    assert sorted(spans) == list(range(1, 2_002))
    last = spans[2_001]
    assert (last.service, last.tenant, last.kind.name, last.parent_id.hex()) == (
        "gateway",
        "blue",
        "CLIENT",
        "00000000000000aa",
    )
    assert (last.status, last.message, last.duration_ns) == (Status.ERROR, "no answer", 2_001)
    files = [
        path
        for folder in (state, tmp_path / "buffer", tmp_path / "broker")
        for path in folder.rglob("*")
        if path.is_file()
    ]
    assert not [path for path in files if CANARY.encode() in path.read_bytes()]
    assert [path.name for path in (tmp_path / "buffer").iterdir()] == ["client"]


def test_a_full_buffer_survives_kill_9_and_a_torn_end(tmp_path: Path, broker: Mosquitto) -> None:
    buffer, store = tmp_path / "buffer", tmp_path / "spans.sqlite"
    gateway = _gateway("mqtt://127.0.0.1:9", buffer, "--batch", "1")
    assert gateway.stdin is not None
    gateway.stdin.write("".join(_line(number) for number in range(1, 801)))
    gateway.stdin.flush()
    _wait(lambda: b"read 800" in b"".join(path.read_bytes() for path in buffer.glob("*.spans")))
    gateway.send_signal(signal.SIGKILL)
    gateway.communicate(timeout=20)
    file = next(buffer.glob("*.spans"))
    data = bytearray(file.read_bytes())
    data[data.index(b"read 400") + 5 : data.index(b"read 400") + 8] = b"xxx"  # one frame is damaged
    file.write_bytes(data[:-5])  # the last one is torn
    with _ingesting(broker.url, "traces/blue/+", _desk(store), name="torn"):
        told = _told(_gateway(broker.url, buffer), _line(801))
        _wait(lambda: len(_kept(store)) == 799)
    assert (told["acknowledged"], told["waiting"], told["damaged"]) == (799, 0, 2)
    assert {span.attributes["number"] for span in _kept(store)} == {*range(1, 802)} - {400, 800}


def test_with_tls_the_broker_is_known_by_its_certificate_and_compiled_it_takes_less(
    tmp_path: Path, broker: Mosquitto, keys: Certificates
) -> None:
    compiled, store = str(tmp_path / "edge.pyc"), tmp_path / "spans.sqlite"
    code = f"import py_compile; py_compile.compile({FILE!r}, {compiled!r})"
    subprocess.run([DEBIAN, "-I", "-c", code], check=True, timeout=30)
    url = f"mqtts://localhost:{broker.tls_port}"
    strangers = _told(_gateway(url, tmp_path / "buffer", "--linger", "1"), _line(1))
    assert (strangers["acknowledged"], strangers["waiting"]) == (0, 1)
    assert "certificate" in strangers["trouble"].lower()
    with _ingesting(url, "traces/+/gw", _desk(store), name="tls", authority=str(keys.ca)):
        secure = _gateway(url, tmp_path / "buffer", "--ca", str(keys.ca), program=compiled)
        plain = _gateway(broker.url, tmp_path / "other", program=compiled)
        assert secure.stdin is not None
        assert plain.stdin is not None
        for gateway, numbers in ((secure, range(2, 500)), (plain, range(500, 1_000))):
            assert gateway.stdin is not None
            gateway.stdin.write("".join(map(_line, numbers)))
            gateway.stdin.flush()
        _wait(lambda: len(_kept(store)) == 999)
        assert _most_kib(plain.pid) <= 10.5 * 1024
        assert _most_kib(secure.pid) <= 20 * 1024
        assert (_told(secure)["waiting"], _told(plain)["waiting"]) == (0, 0)


def test_hostile_messages_are_counted_and_what_follows_arrives(tmp_path: Path, broker: Mosquitto) -> None:
    store, packet = tmp_path / "spans.sqlite", message("x", 1, 1)[0]
    good = packet[packet.index(b"{") :]
    hostile = [
        ("traces/blue/x", b""), ("traces/blue/x", b"\xff" * 1_000), ("traces/blue/x", b"{" * 50_000), ("traces/blue/x", b"[1]"),
        ("traces/blue/x", b'{"resourceSpans": ' + b"[" * 50_000), ("traces/blue/x", gzip.compress(bytes(64 << 20))),
        ("traces/bl\u00fce/x", good), ("traces//x", good), ("traces/blue/x", good.replace(b"gateway", b"\xff\xfe")),
    ]  # fmt: skip
    with _ingesting(broker.url, "traces/{tenant}/x", _desk(store), name="hostile") as one:
        messages: list[Any] = [
            (topic, body, 1, False) for topic, body in [*hostile, ("traces/red/x", good), ("traces/red/x", good)]
        ]
        messages.append(("traces/red/x", b" " * (2 << 20), 1, False))  # more than we let the broker send
        paho.mqtt.publish.multiple(messages, "127.0.0.1", broker.port)
        _wait(lambda: one.came.twice == 1)
        _wait(lambda: one.came.messages == 2)  # one of them is an empty request, which is OTLP
        assert one.came.unusable == len(hostile) - 1
    assert [(span.tenant, span.name) for span in _kept(store)] == [("red", "read sensor")]


class _Full(SpanStore):
    """A store whose disk is full at first."""

    tries = 0

    def put(self, spans: Sequence[Span], *, observe: bool = False) -> int:
        _Full.tries += 1
        if _Full.tries == 1:
            raise SpanStoreFull("no room")
        return super().put(spans, observe=observe)


def test_what_could_not_be_kept_was_not_acknowledged_and_comes_again(tmp_path: Path, broker: Mosquitto) -> None:
    store = tmp_path / "spans.sqlite"
    desk = Desk(lambda: _Full(store), lambda spans: spans, lambda _: None)
    with _ingesting(broker.url, "traces/full", desk, name="full"):
        paho.mqtt.publish.multiple(
            [("traces/full", body[body.index(b"{") :], 1, False) for body, _ in (message("x", 1, at) for at in range(20))],
            "127.0.0.1", broker.port,
        )  # fmt: skip
        _wait(lambda: len(_kept(store)) == 20)
    assert _Full.tries > 1


def test_spans_are_sent_on_and_sent_again_until_they_are_taken(broker: Mosquitto) -> None:
    with hooked(503, 200) as receiver:
        desk = Desk(lambda: Onward(receiver.url), lambda spans: spans, lambda _: None)
        with _ingesting(broker.url, "on/{tenant}", desk, name="onward") as one:
            body = message("x", 1, 1)[0]
            paho.mqtt.publish.single("on/green", body[body.index(b"{") :], 1, hostname="127.0.0.1", port=broker.port)
            _wait(lambda: one.came.messages == 1)
    assert [request.headers["x-tenant-id"] for request in receiver.received] == ["green", "green"]


def test_two_hundred_gateways_lose_nothing(tmp_path: Path, broker: Mosquitto) -> None:
    store, made = tmp_path / "spans.sqlite", list[bytes]()
    with _ingesting(broker.url, "traces/{tenant}/+", _desk(store), name="many") as one:
        asyncio.run(publish(broker.port, 200, 1_000, 2_000.0, made.append))
        _wait(lambda: one.came.messages == 1_000)
    assert {span.span_id for span in _kept(store)} == set(made)


def test_a_full_buffer_lets_the_oldest_go_and_says_how_many(tmp_path: Path) -> None:
    buffer = edge.Buffer(str(tmp_path), 512 << 10)
    for number in range(2_000):
        buffer.put(b"%04d" % number * 100)
    with pytest.raises(BlockingIOError):
        edge.Buffer(str(tmp_path), 512 << 10)
    assert buffer.size <= 512 << 10
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 512 << 10
    assert buffer.waiting + buffer.dropped == 2_000
    found = []
    while taken := buffer.take():
        segment, at, held = taken
        found.append(int(held[:4]))
        if len(found) <= 500:
            buffer.done(segment, at)
    assert found == list(range(buffer.dropped, 2_000))
    waiting = buffer.waiting
    buffer.close()
    again = edge.Buffer(str(tmp_path), 512 << 10)
    assert (again.waiting, again.damaged) == (waiting, 0)
    first = again.take()
    assert first is not None
    assert int(first[2][:4]) == found[500]
    again.close()


def _frames(folder: Path) -> list[bytes]:
    """What waits in a buffer that nobody has."""
    buffer, found = edge.Buffer(str(folder), 1 << 20), list[bytes]()
    while taken := buffer.take():
        found.append(taken[2])
    buffer.close()
    return found


def test_a_program_gives_spans_and_errors_to_a_publisher_that_never_waits(tmp_path: Path) -> None:
    buffer = edge.Buffer(str(tmp_path), 1 << 20)
    publisher = edge.Publisher(
        edge.Broker("mqtt://127.0.0.1:9"), "t", buffer, service="pump", resource={"site": "n", "user.id": CANARY}
    )
    with pytest.raises(KeyError), publisher.timed("outer") as outer, publisher.timed("inner", parent=outer.context):
        raise KeyError
    nested: dict[str, Any] = {"deep": [{"password": CANARY, "half": "\ud83d"}], "huge": 1 << 70, "none": float("nan")}
    publisher.span("odd", 1, 2, nested)
    publisher.span("large", 1, 2, {"text": "x" * edge.MOST})
    with pytest.raises(ValueError, match="nanoseconds"):
        publisher.span("wrong", -1, 2)
    for _ in range(20):
        nested = {"deep": [nested]}
    with pytest.raises(ValueError, match="deeply"):
        publisher.span("deep", 1, 2, nested)
    assert (buffer.waiting, publisher.refused) == (3, 1)
    assert not publisher.close(0.1)
    assert "refused" in publisher.trouble
    written = b"".join(path.read_bytes() for path in tmp_path.glob("*.spans"))
    assert written.count(b'"message":"KeyError"') == 2
    assert f'"parentSpanId":"{outer.context[1]}"'.encode() in written
    assert CANARY.encode() not in written
    (odd,) = (span for line in _frames(tmp_path) for span in decode_json(line) if span.name == "odd")
    assert odd.attributes == {"deep": ((("half", "?"),),), "huge": str(1 << 70), "none": "nan"}


def test_what_a_gateway_always_leaves_out_is_what_the_package_leaves_out_or_hashes() -> None:
    assert set(edge.LEFT_OUT) == {glob.text for glob in (*DROPPED, *HASHED)}


def test_the_publisher_is_printed_as_one_file_that_runs(tmp_path: Path) -> None:
    printed = tmp_path / "edge.py"
    printed.write_text(run({**environ_of(tmp_path), "COLUMNS": "200"}, "traces", "edge", "--print"))
    assert printed.read_bytes() == Path(FILE).read_bytes()
    done = subprocess.run(
        [DEBIAN, "-S", "-E", "-I", printed], capture_output=True, text=True, check=False, env={}, timeout=20
    )
    assert (done.returncode, "--broker is missing" in done.stderr) == (2, True)
    assert "password has no place" in run(dict(os.environ), "traces", "edge-ingest", "--broker", "mqtt://a:b@c", code=2)
