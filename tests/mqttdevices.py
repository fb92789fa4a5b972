"""Many gateways in one process, each with a connection of its own, for tests and benchmarks: packets of `signals.edge`, asyncio around them."""

import asyncio
import os
import time
from collections.abc import Callable, Sequence

from go_cache_safeguard.signals import edge


async def _device(port: int, name: str, gate: asyncio.Semaphore) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    async with gate:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(edge.Broker(f"mqtt://127.0.0.1:{port}").greeting(name))
        answer = await reader.readexactly(4)  # whether it knows us from before does not matter
        assert (answer[:2], answer[3]) == (b"\x20\x02", 0)
    return reader, writer


def message(topic: str, number: int, device: int) -> tuple[bytes, bytes]:
    """A PUBLISH of one span, and the span's id. It begins and ends when this is called: what follows is the way into the store."""
    span_id, now_ns = os.urandom(8), str(time.time_ns())
    span = {
        "traceId": os.urandom(16).hex(), "spanId": span_id.hex(), "name": "read sensor", "kind": 1,
        "startTimeUnixNano": now_ns, "endTimeUnixNano": now_ns,
        "attributes": [{"key": "device", "value": {"intValue": str(device)}}],
    }  # fmt: skip
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "gateway"}}]}
    body = edge.write_json({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]}).encode()
    return edge.packet(0x32, edge.text(topic) + number.to_bytes(2, "big") + body), span_id


async def publish(port: int, devices: int, messages: int, rate: float, made: Callable[[bytes], None]) -> float:
    """Connect so many devices, and have them send by turns, at a rate; every message is acknowledged when this returns.

    Args:
        port: Of the broker, or of what stands before it.
        devices: Connections.
        messages: Of all together.
        rate: Messages a second.
        made: Told the id of each span when it is sent.

    Returns:
        Messages a second that were reached.
    """
    gate = asyncio.Semaphore(100)
    lines = await asyncio.gather(*(_device(port, f"device-{at}", gate) for at in range(devices)))
    began = time.monotonic()
    acknowledged = asyncio.create_task(_acknowledged(lines, messages))
    for at in range(messages):
        ahead = at / rate - (time.monotonic() - began)
        if ahead > 0:
            await asyncio.sleep(ahead)
        device = at % devices
        sent, span_id = message(f"traces/t/{device}", at // devices + 1, device)
        made(span_id)
        lines[device][1].write(sent)
    reached = messages / (time.monotonic() - began)
    await acknowledged
    for _, writer in lines:
        writer.close()
    await asyncio.gather(*(writer.wait_closed() for _, writer in lines))
    return reached


async def _acknowledged(lines: Sequence[tuple[asyncio.StreamReader, asyncio.StreamWriter]], messages: int) -> None:
    counts = [messages // len(lines) + (at < messages % len(lines)) for at in range(len(lines))]
    pairs = zip(lines, counts, strict=True)
    answers = await asyncio.gather(*(reader.readexactly(4 * count) for (reader, _), count in pairs))
    for answer in answers:
        assert all(answer[at : at + 2] == b"\x40\x02" for at in range(0, len(answer), 4))
