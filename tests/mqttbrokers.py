"""Mosquitto on a free port, in a folder of its own, for tests and benchmarks."""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from certificates import Certificates

PROGRAM = shutil.which("mosquitto") or "/usr/sbin/mosquitto"


def free_port() -> int:
    """A port of this machine that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class Mosquitto:
    """A broker that can be stopped and started again; what waits for others is on its disk.

    Attributes:
        port: Without TLS.
        tls_port: With TLS; 0 without certificates.
        process: It, while it runs.
    """

    def __init__(self, folder: Path, certificates: Certificates | None = None) -> None:
        folder.mkdir(exist_ok=True)
        self.port, self.tls_port = free_port(), free_port() if certificates else 0
        self.process: subprocess.Popen[bytes] | None = None
        self._config = folder / "mosquitto.conf"
        lines = [
            f"listener {self.port} 127.0.0.1",
            "allow_anonymous true",
            "persistence true",
            f"persistence_location {folder}/",
            "max_queued_messages 0",
            *(["user root"] if os.getuid() == 0 else []),
        ]
        if certificates:
            lines += [
                f"listener {self.tls_port} 127.0.0.1",
                f"cafile {certificates.ca}",
                f"certfile {certificates.server.cert}",
                f"keyfile {certificates.server.key}",
            ]
        self._config.write_text("\n".join(lines) + "\n")

    @property
    def url(self) -> str:
        """Where it is, without TLS."""
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; it listens when this returns."""
        command = [PROGRAM, "-c", str(self._config)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                assert self.process.poll() is None, "mosquitto ended"
                assert time.monotonic() < until, "mosquitto does not listen"
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        """Stop it; what waits is on its disk."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)
            self.process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
