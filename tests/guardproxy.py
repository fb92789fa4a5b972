"""The proxy itself for tests, started as a service would start it, with what it says of itself."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redisservers import Client

COMMAND = (sys.executable, "-m", "go_cache_safeguard")
OPEN = {
    "approval.self": "always",
    "redis.on_no_history": "warn",
    "redis.max_share": "100%",
    "policy.hold_share": "100%",
    "policy.on_unknown": "allow",
    "redis.block_ttl_threshold": "0s",
    "redis_proxy.connections": "1000",
}
"""Settings with which an ordinary removal is allowed at once, although nobody has watched the hit rate before."""


@dataclass(slots=True)
class GuardProxy:
    """One running proxy.

    Attributes:
        folder: Its home, with its state and its sockets.
        environ: What it was started with; the same for other commands of ours.
        child: The process.
    """

    folder: Path
    environ: dict[str, str]
    child: "subprocess.Popen[bytes]"
    seen: int = field(default=0)

    @property
    def path(self) -> str:
        return str(self.folder / "front")

    def events(self, kind: str = "") -> list[dict[str, Any]]:
        """All that it has said, or all of one kind."""
        lines = (self.folder / "events").read_bytes().splitlines(keepends=True)
        found = [json.loads(line) for line in lines if line.endswith(b"\n")]
        return [one for one in found if kind in {"", one["event"]}]

    def wait_for(self, kind: str, count: int = 1) -> dict[str, Any]:
        """The last of so many events of a kind."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            found = self.events(kind)
            if len(found) >= count:
                return found[count - 1]
            assert self.child.poll() is None or kind == "stopped", self.said
            time.sleep(0.02)
        raise AssertionError((kind, self.events(), self.said))

    @property
    def said(self) -> str:
        """What went to stderr."""
        return (self.folder / "errors").read_text("utf-8", "replace")

    @property
    def workers(self) -> list[int]:
        """Process ids of its children."""
        text = Path(f"/proc/{self.child.pid}/task/{self.child.pid}/children").read_text()
        return [int(word) for word in text.split()]

    @contextmanager
    def client(self) -> Iterator[Client]:
        client = Client(self.path)
        try:
            yield client
        finally:
            client.close()

    def ask(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """Another command of ours, with the same settings."""
        done = subprocess.run(
            [*COMMAND, *arguments, "--json"],
            env=self.environ,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def approve(self, op: str) -> None:
        """As a person would, by the digest."""
        from go_cache_safeguard.flows.approve import approve_by_digest
        from go_cache_safeguard.flows.progress import Silent
        from go_cache_safeguard.flows.session import open_session

        session = open_session({"state.dir": str(self.folder / "state"), **OPEN}, progress=Silent())
        with session.journal() as journal:
            digest = str(journal.operation(op).data["digest"])
            approve_by_digest(session, journal, op, digest)

    def held(self, word: str) -> str:
        """The operation of which a word is told that waits for a person; empty if there is none."""
        found = self.ask("ops", "list")["operations"]
        return next((str(one["op"]) for one in found if word in json.dumps(one)), "")

    def state_of(self, op: str) -> str:
        """Where the journal says that an operation stands."""
        from go_cache_safeguard.flows.progress import Silent
        from go_cache_safeguard.flows.session import open_session

        session = open_session({"state.dir": str(self.folder / "state")}, progress=Silent())
        with session.journal(read_only=True) as journal:
            return str(journal.operation(op).state)

    def wait_state(self, op: str, state: str) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.state_of(op) == state:
                return
            time.sleep(0.05)
        raise AssertionError((op, self.state_of(op), state, self.events()))

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end."""
        self.child.send_signal(number)
        return self.child.wait(timeout=60)


@contextmanager
def guarding(
    folder: Path,
    *arguments: str,
    settings: dict[str, str] | None = None,
    environ: dict[str, str] | None = None,
    until: str = "listening",
    prefix: tuple[str, ...] = (),
) -> Iterator[GuardProxy]:
    """Start a proxy and wait until it listens; it is killed at the end if it is still there."""
    folder.mkdir(exist_ok=True)
    known = {
        name: text for name, text in os.environ.items() if not name.startswith(("GO_CACHE_SAFEGUARD_", "REDISCLI"))
    }
    ours = {**OPEN, "state.dir": str(folder / "state"), **(settings or {})}
    known |= {f"GO_CACHE_SAFEGUARD_{key.replace('.', '_').upper()}": text for key, text in ours.items()}
    known |= {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), **(environ or {})}
    known["PYTHONPATH"] = str(Path(__file__).parents[1] / "src")
    with (folder / "events").open("ab") as events, (folder / "errors").open("ab") as errors:
        child = subprocess.Popen(
            [*prefix, *COMMAND, "redis", "proxy", "--json", *arguments],
            env=known,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=events,
            stderr=errors,
            start_new_session=True,
        )
    started = GuardProxy(folder, known, child)
    before = len(started.events(until))
    try:
        started.wait_for(until, before + 1)
        yield started
    finally:
        children = started.workers if child.poll() is None else []
        child.kill()
        child.wait(timeout=30)
        for pid in children:
            with_end(pid)


def with_end(pid: int) -> None:
    """Kill a worker that may be gone already."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def wait_until(what: str, check: Callable[[], object], seconds: float = 30) -> None:
    """Look again and again."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if check():
            return
        time.sleep(0.02)
    raise AssertionError(what)


def free_port() -> int:
    """A port of the loopback at which nobody listens now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
