"""`cacheprog` as the go command starts it, and a go command that says only what a test wants."""

import json
import os
import shlex
import subprocess
import sys
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from gocaches import GoCache

SOURCES = str(Path(__file__).resolve().parents[1] / "src")
COMMAND = f"{sys.executable} -m go_cache_safeguard cacheprog"


def environ(state: Path, **more: str) -> dict[str, str]:
    """What `cacheprog` needs besides what go gives it."""
    return {"PYTHONPATH": SOURCES, "GO_CACHE_SAFEGUARD_STATE_DIR": str(state), **more}


def build(
    cache: GoCache, state: Path, *arguments: str, options: str = "", **more: str
) -> "subprocess.CompletedProcess[str]":
    """Run go with `cacheprog` in the place of its cache."""
    return cache.run(*arguments, GOCACHEPROG=f"{COMMAND} {options}", **environ(state, **more))


@dataclass
class Prog:
    """A running `cacheprog`.

    Attributes:
        process: Its process.
        hello: The first thing that it said.
        took: Seconds that each answer took.
    """

    process: "subprocess.Popen[bytes]"
    hello: dict[str, Any] = field(default_factory=dict)
    took: list[float] = field(default_factory=list)
    number: int = 0

    def ask(self, *, body: bytes | None = None, **fields: object) -> dict[str, Any]:
        """Send a request and wait for its answer."""
        self.send(body=body, **fields)
        began = time.monotonic()
        value = self.read()
        self.took.append(time.monotonic() - began)
        assert value["ID"] == self.number
        assert "Err" not in value
        return value

    def send(self, *, body: bytes | None = None, **fields: object) -> int:
        """Send a request; its number."""
        assert self.process.stdin is not None
        self.number += 1
        line = json.dumps({"ID": self.number, **fields}, separators=(",", ":")).encode() + b"\n\n"
        self.process.stdin.write(line + (b'"' + b64encode(body) + b'"\n' if body else b""))
        self.process.stdin.flush()
        return self.number

    def read(self) -> dict[str, Any]:
        """The next answer."""
        assert self.process.stdout is not None
        value: dict[str, Any] = json.loads(self.process.stdout.readline())
        return value

    def get(self, action: bytes) -> bytes | None:
        """What there is for an action; it is what its id says, and where the answer says."""
        value = self.ask(Command="get", ActionID=b64encode(action).decode())
        if value.get("Miss"):
            return None
        content = Path(value["DiskPath"]).read_bytes()
        assert b64decode(value["OutputID"]) == sha256(content).digest()
        assert value["Size"] == len(content)
        return content

    def put(self, action: bytes, content: bytes) -> str:
        """Put something; the path where it is now."""
        value = self.ask(
            Command="put",
            ActionID=b64encode(action).decode(),
            OutputID=b64encode(sha256(content).digest()).decode(),
            body=content,
            **({"BodySize": len(content)} if content else {}),
        )
        path = str(value["DiskPath"])
        assert Path(path).read_bytes() == content
        return path

    def close(self) -> None:
        """Say that nothing more comes, and see it end as it should."""
        assert self.ask(Command="close") == {"ID": self.number}
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(20) == 0


@contextmanager
def running(root: Path, state: Path, *options: str, **more: str) -> Iterator[Prog]:
    """Start one and read what it can do; it is killed if a test leaves it running."""
    process = subprocess.Popen(
        [*shlex.split(COMMAND), *options],
        env={"PATH": os.environ["PATH"], "HOME": str(state), "GOCACHE": str(root), **environ(state, **more)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        prog = Prog(process)
        prog.hello = prog.read()
        yield prog
    finally:
        process.kill()
        process.wait(20)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def said(prog: Prog) -> str:
    """What it said on stderr until it ended."""
    assert prog.process.stderr is not None
    return prog.process.stderr.read().decode()
