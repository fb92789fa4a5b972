"""`serve` as a real process on a free port, and people who come to it, for tests."""

import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from go_cache_safeguard.flows.progress import Silent
from go_cache_safeguard.flows.session import Session, open_session

ROOT = Path(__file__).resolve().parents[1]
COMMAND = (sys.executable, "-m", "go_cache_safeguard")
CHEAP = {"serve.password_memory": "64KiB", "serve.password_passes": "1"}
"""Passwords that cost little: what they cost is a setting."""
PASSWORD = "correct horse battery staple"  # noqa: S105 - of people in tests


@dataclass
class Served:
    """A server that runs.

    Attributes:
        url: Where.
        port: Where.
        state: Its state directory.
        settings: What it was started with.
        process: The one that watches.
        log: What it says on stderr.
    """

    url: str
    port: int
    state: Path
    settings: dict[str, str]
    log: Path
    process: "subprocess.Popen[bytes]" = field(repr=False)

    def client(self, authority: Path | None = None) -> httpx.Client:
        """A browser: it sends its Origin with what changes something."""
        tls = ssl.create_default_context(cafile=authority)
        headers = {"Origin": self.url, "Accept": "text/html,*/*"}
        return httpx.Client(base_url=self.url, timeout=30, trust_env=False, headers=headers, verify=tls)

    def csrf(self, client: httpx.Client) -> str:
        """What forms of a browser's session send back."""
        found = re.search(r'name="csrf" value="([0-9a-f]+)"', client.get("/").text)
        assert found, "no form"
        return found[1]

    def command(self, *arguments: str, input: str = "") -> "subprocess.CompletedProcess[str]":  # noqa: A002 - as in subprocess
        """Run the command with the same settings."""
        return run_command(self.state, self.settings, *arguments, input=input)

    def session(self) -> Session:
        """What flows take, with the same settings."""
        return open_session({**self.settings, "state.dir": str(self.state)}, progress=Silent())

    def steps(self) -> list[str]:
        """Of all records of the journal."""
        with self.session().journal(read_only=True) as journal:
            return [record.step for record in journal.records()]

    def start(self) -> None:
        """Start it again after it was stopped, and wait until it answers."""
        self.process = _started(self.state, self.settings, self.log)
        _wait(self)

    def stop(self) -> int:
        """End it as a person or a service manager would."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


def run_command(
    state: Path,
    settings: Mapping[str, str],
    *arguments: str,
    input: str = "",  # noqa: A002 - as in subprocess
) -> "subprocess.CompletedProcess[str]":
    """Run the command line in a state directory of its own."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env=environ(state, settings),
        input=input,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def environ(state: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """Settings as variables."""
    named = {f"GO_CACHE_SAFEGUARD_{key.replace('.', '_').upper()}": value for key, value in settings.items()}
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GO_CACHE_SAFEGUARD_")}
    return {**kept, **named, "GO_CACHE_SAFEGUARD_STATE_DIR": str(state), "PYTHONPATH": str(ROOT / "src")}


def free_port() -> int:
    """A port of the loopback that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(folder: Path, settings: Mapping[str, str] | None = None, *, port: int = 0) -> Iterator[Served]:
    """Start `serve`, wait until it answers, and stop it in the end.

    Args:
        folder: Where its state directory and its log are made.
        settings: More settings.
        port: Where; 0 for a free one.
    """
    port = port or free_port()
    all_settings = {**CHEAP, "serve.listen": f"127.0.0.1:{port}", **(settings or {})}
    state, log = folder / "state", folder / "serve.log"
    scheme = "https" if "serve.tls_cert" in all_settings else "http"
    process = _started(state, all_settings, log)
    served = Served(f"{scheme}://127.0.0.1:{port}", port, state, all_settings, log, process)
    try:
        _wait(served)
        yield served
    finally:
        if served.process.poll() is None:
            served.stop()


def _started(state: Path, settings: Mapping[str, str], log: Path) -> "subprocess.Popen[bytes]":
    with log.open("ab") as err:
        return subprocess.Popen(
            [*COMMAND, "serve"], env=environ(state, settings), stdin=subprocess.DEVNULL, stdout=err, stderr=err
        )


def _wait(served: Served) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert served.process.poll() is None, served.log.read_text()
        try:
            if httpx.get(f"{served.url}/healthz", verify=False, trust_env=False, timeout=5).status_code == 200:  # noqa: S501 - only whether it is there
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError(served.log.read_text())


def add_person(
    served: Served, name: str, *roles: str, password: str = PASSWORD, links: tuple[str, ...] = ("none",)
) -> None:
    """Let somebody in, as an administrator would but in this process, which is quicker."""
    from go_cache_safeguard.approval.voter import Role
    from go_cache_safeguard.web.opening import open_office

    with open_office(served.session(), "") as office:
        office.add(name, [Role(role) for role in roles])
        if password:
            office.set_password(name, password)
        for link in links:
            office.link(name, link)


def mint(served: Served, name: str, *scopes: str, expires_s: int = 3600) -> str:
    """An API token of somebody."""
    from go_cache_safeguard.web.opening import open_office
    from go_cache_safeguard.web.site import Scope

    kept: list[str] = []
    with open_office(served.session(), "") as office:
        office.mint(name, [Scope(scope) for scope in scopes], expires_s, kept.append)
    return kept[0]


def log_in(client: httpx.Client, name: str, password: str = PASSWORD, code: str = "") -> httpx.Response:
    """Log somebody in; the client keeps the cookie."""
    return client.post("/login", data={"name": name, "password": password, "code": code, "next": "/"})
