"""A TCP proxy that holds every byte back, each way, as a network of a certain delay would: `delayproxy.py PORT SECONDS`; prints its own port.

It adds the delay and nothing else: no loss, no limit of bandwidth, no jitter beyond that of this process. The three steps of TCP's own
greeting are not delayed.
"""

import asyncio
import sys
from collections import deque


async def main(port: int, delay_s: float) -> None:
    """Listen until somebody ends the process."""

    async def joined(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(carry(reader, far_writer, delay_s), carry(far_reader, writer, delay_s))

    server = await asyncio.start_server(joined, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float) -> None:
    """Bytes of one direction, each when its time has come."""
    loop = asyncio.get_running_loop()
    held: deque[bytes] = deque()

    def due() -> None:
        data = held.popleft()
        if data:
            writer.write(data)
        else:
            writer.close()

    while data := await reader.read(65536):
        held.append(data)
        loop.call_later(delay_s, due)
    held.append(b"")
    loop.call_later(delay_s, due)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
