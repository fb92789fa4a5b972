"""A real S3 server for tests, in a process of its own, and a bucket behind a proxy that fails as it is told."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from itertools import count
from subprocess import DEVNULL, PIPE, Popen
from sys import executable

import pytest

from flakyproxy import Flaky, flaky_proxy

_SERVER = (
    "from moto.server import ThreadedMotoServer\n"
    "import sys\n"
    "server = ThreadedMotoServer(ip_address='127.0.0.1', port=0, verbose=False)\n"
    "server.start()\n"
    "print(server.get_host_and_port()[1], flush=True)\n"
    "sys.stdin.read()\n"
)
_NUMBERS = count()


@dataclass(frozen=True, slots=True)
class Remote:
    """A bucket behind a proxy.

    Attributes:
        place: As a person types it.
        flaky: The proxy.
    """

    place: str
    flaky: Flaky


@contextmanager
def s3_server() -> Iterator[str]:
    """Run one, `host:port`; it ends with its input."""
    process = Popen([executable, "-c", _SERVER], stdin=PIPE, stdout=PIPE, stderr=DEVNULL, text=True)
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        yield f"127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.stdin.close()
        process.stdout.close()
        assert process.wait(20) is not None


@contextmanager
def bucket_at(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Remote]:
    """A new bucket, with credentials for it and no others in the environment."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "GOOGLE_", "AZURE_"))]:
        monkeypatch.delenv(name)
    for name, value in {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "hush-hush"}.items():
        monkeypatch.setenv(name, value)
    bucket = f"bucket{next(_NUMBERS)}"
    with flaky_proxy(server) as flaky:
        connection = HTTPConnection(f"127.0.0.1:{flaky.port}")
        connection.request("PUT", f"/{bucket}")
        assert connection.getresponse().status == 200
        connection.close()
        flaky.seen.clear()
        yield Remote(f"s3://{bucket}/some/prefix?endpoint={flaky.endpoint}&region=us-east-1", flaky)
