"""2,000 gateways at one broker: is anything lost, how long does a span take into the store, and how much memory does a gateway need?

Run: `PYTHONPATH=tests python benchmarks/edge.py [--devices N] [--rate N] [--seconds N] [--delay MS] [--dry]`. One asyncio process holds
the connections; each goes through a proxy that holds every byte back for `--delay` milliseconds each way, as a network of that delay
would; broker, `traces edge-ingest` and store run as they do in earnest, all on this machine. A span begins and ends the moment it is
sent; it has arrived when a reader that asks the store every 2 ms sees it, so up to 2 ms and the time of its question are counted too.
Memory is VmHWM, the most a process ever had, after 2,000 spans that the broker acknowledged, on Debian's own Python.
"""

import argparse
import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from certificates import Certificates, certificates
from go_cache_safeguard.signals import edge
from mqttbrokers import Mosquitto
from mqttdevices import publish
from page import machine, verdict, write_section

GOAL_P95_MS = 95.0
GOAL_KIB = 12 << 10
DEBIAN = "/usr/bin/python3"
LOOK_S = 0.002


def main() -> None:
    """Measure, print, and write the section of docs/benchmarks.md."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--devices", type=int, default=2_000)
    parser.add_argument("--rate", type=int, default=1_000)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument(
        "--delay", type=float, default=60.0, help="milliseconds each way between a gateway and the broker"
    )
    parser.add_argument("--dry", action="store_true", help="print only")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edge-") as folder:
        text = section(Path(folder), Load(asked.devices, asked.rate, asked.seconds, asked.delay / 1000))
    if asked.dry:
        print(text)
    else:
        write_section("edge", text)


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent.

    Attributes:
        devices: Connections.
        rate: Messages a second, of all together.
        seconds: How long.
        delay_s: What is added each way.
    """

    devices: int
    rate: int
    seconds: int
    delay_s: float

    @property
    def messages(self) -> int:
        """Of all together."""
        return self.rate * self.seconds


def section(folder: Path, load: Load) -> str:
    """Let the gateways send, weigh one, and tell."""
    keys = certificates(folder / "keys")
    runs = []
    with Mosquitto(folder / "broker", keys) as broker:
        for number, one in enumerate((replace(load, delay_s=0.0), load)):
            runs.append((one.delay_s, *arrivals(broker, folder / f"state{number}", one)))
        weights = memory(broker, folder, keys)
    lines = [
        f"{load.devices:,} connections, {load.messages:,} messages of one span, {load.rate:,} a second asked for. {machine()}",
        "",
    ]
    lines += [
        "| added delay, each way | sent a second | lost | p50 ms | p95 ms | p99 ms |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for delay, reached, lost, took in runs:
        p50, p95, p99 = (part(took, share) for share in (0.5, 0.95, 0.99))
        lines.append(f"| {delay * 1000:.0f} ms | {reached:,.0f} | {lost} | {p50:.1f} | {p95:.1f} | {p99:.1f} |")
    _, _, lost, took = runs[-1]
    lines += [
        "",
        f"Goal, none lost: {verdict(-sum(run[2] for run in runs), 0)}. Goal, p95 with the delay, {GOAL_P95_MS:g} ms at most: "
        + ("met." if part(took, 0.95) <= GOAL_P95_MS else "**not met**."),
        "",
        "| a process, Debian's Python | most memory, MB |",
        "| --- | ---: |",
        *(f"| {name} | {kib / 1024:.1f} |" for name, kib in weights.items()),
        "",
        "Goal, 12 MB without TLS: "
        + ("met." if max(weights[SOURCE], weights[COMPILED]) <= GOAL_KIB else "**not met**."),
    ]
    return "\n".join(lines)


def part(values: Sequence[float], share: float) -> float:
    """What a share of the values does not exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


# --- arrivals ----------------------------------------------------------------------------------------------------------


def arrivals(broker: Mosquitto, state: Path, load: Load) -> tuple[float, int, list[float]]:
    """Messages a second that were sent, how many spans were lost, and milliseconds from each span into the store."""
    environ = {**os.environ, "GO_CACHE_SAFEGUARD_STATE_DIR": str(state)}
    command = [sys.executable, "-m", "go_cache_safeguard", "traces", "edge-ingest", "--broker", broker.url]
    command += ["--topic", "traces/{tenant}/+", "--name", state.name]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as taking:
        next(iter(taking.stdout or ()))
        reader = Reader(state / "signals" / "spans.sqlite", load.messages)
        made: list[bytes] = []
        try:
            reached = asyncio.run(delayed(broker.port, load, made))
        finally:
            reader.thread.join(30)
            reader.over = True
            taking.terminate()
    return reached, len(set(made) - set(reader.seen)), list(reader.seen.values())


async def delayed(port: int, load: Load, made: list[bytes]) -> float:
    """Send, through a proxy if there is a delay."""
    if not load.delay_s:
        return await publish(port, load.devices, load.messages, load.rate, made.append)
    command = [sys.executable, str(Path(__file__).with_name("delayproxy.py")), str(port), str(load.delay_s)]
    proxy = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    try:
        through = int(await proxy.stdout.readline()) if proxy.stdout else 0
        return await publish(through, load.devices, load.messages, load.rate, made.append)
    finally:
        proxy.terminate()
        await proxy.wait()


class Reader:
    """Asks the store what is new, again and again.

    Attributes:
        seen: Milliseconds from a span to the answer that had it first.
        over: Set to end it.
        thread: Ends by itself when all are there.
    """

    def __init__(self, path: Path, expected: int) -> None:
        self.seen: dict[bytes, float] = {}
        self.over = False
        self.thread = threading.Thread(target=self._look, args=(path, expected), daemon=True)
        self.thread.start()

    def _look(self, path: Path, expected: int) -> None:
        db, last = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=10), 0
        while not self.over and len(self.seen) < expected:
            rows = db.execute(
                "SELECT number, span, end_ns FROM spans WHERE number > ? ORDER BY number", (last,)
            ).fetchall()
            now_ns = time.time_ns()
            for last, span, end_ns in rows:  # noqa: B007 - the last one is where it goes on
                self.seen.setdefault(span, (now_ns - end_ns) / 1e6)
            time.sleep(LOOK_S)
        db.close()


# --- memory ------------------------------------------------------------------------------------------------------------

SOURCE, COMPILED, SECURE = (
    "the publisher, from its source",
    "the publisher, compiled once",
    "the publisher, compiled, with TLS",
)
PAHO = """import json, sys, time
import paho.mqtt.client as mqtt
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
client.connect("127.0.0.1", int(sys.argv[1])); client.loop_start()
for line in sys.stdin:
    client.publish("traces/t/peer", line, qos=1).wait_for_publish(10)
    print(".", end="", file=sys.stderr, flush=True)
"""


def memory(broker: Mosquitto, folder: Path, keys: Certificates) -> dict[str, int]:
    """The most that each process ever had, in KiB."""
    file = Path(edge.__file__)
    compiled = folder / "edge.pyc"
    subprocess.run(
        [DEBIAN, "-I", "-c", f"import py_compile; py_compile.compile({str(file)!r}, {str(compiled)!r})"], check=True
    )
    words = ["--topic", "traces/t/weight", "--service", "gateway", "--buffer"]
    plain = [DEBIAN, "-S", "-E", "-I"]
    tls = ["--broker", f"mqtts://localhost:{broker.tls_port}", "--ca", str(keys.ca)]
    paho = "import paho; print(next(iter(paho.__path__)))"
    where = Path(
        subprocess.run([sys.executable, "-c", paho], check=True, capture_output=True, text=True).stdout.strip()
    ).parent
    peer = f"import sys; sys.path.insert(0, {str(where)!r})\n{PAHO}"
    return {
        "an empty one": weighed([*plain, "-c", "input()"]),
        COMPILED: weighed([*plain, str(compiled), "--broker", broker.url, *words, str(folder / "b1")]),
        SOURCE: weighed([*plain, str(file), "--broker", broker.url, *words, str(folder / "b2")]),
        SECURE: weighed([*plain, str(compiled), *tls, *words, str(folder / "b3")]),
        "paho-mqtt, one message after the other, no buffer": weighed([*plain, "-c", peer, str(broker.port)]),
    }


def weighed(command: Sequence[str], spans: int = 2_000) -> int:
    """Give a process spans, wait until it rests, and weigh it; KiB."""
    span = {
        "name": "read sensor",
        "start_ns": 1_700_000_000_000_000_000,
        "end_ns": 1_700_000_000_000_000_001,
        "attributes": {"device": 7},
    }
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        if process.stdin is None:
            raise SystemExit("no pipe")
        if "input()" not in command:
            process.stdin.write((json.dumps(span) + "\n") * spans)
            process.stdin.flush()
        before = -1
        while (used := cpu_ticks(process.pid)) != before:
            before = used
            time.sleep(1.5)
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        process.terminate()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def cpu_ticks(pid: int) -> int:
    """What a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


if __name__ == "__main__":
    main()
