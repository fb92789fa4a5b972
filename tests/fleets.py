"""A fleet inside of a test: one real `serve`, a proxy in front of it that loses what it is told to, and hosts that ask."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from flakyproxy import Flaky, flaky_proxy
from go_cache_safeguard.core.operation import Operation
from go_cache_safeguard.core.receipt import Receipt
from go_cache_safeguard.flows.clean import Held, clean, resume
from go_cache_safeguard.flows.progress import Silent
from go_cache_safeguard.flows.remove import Manner
from go_cache_safeguard.flows.session import Session, open_session
from smallcaches import SmallCache, entries, small_cache
from webserver import Served, add_person, environ, free_port, mint, serving

MANNER = Manner(0, None)


@dataclass
class Fleet:
    """The server's side.

    Attributes:
        served: The server.
        flaky: The way to it.
        bob: The API token of somebody who approves.
    """

    served: Served
    flaky: Flaky
    bob: str
    tokens: dict[str, str] = field(default_factory=dict)

    def host(self, folder: Path, name: str, **settings: str) -> "Host":
        """A host with a cache, a state directory and an API token of its own."""
        if name not in self.tokens:
            add_person(self.served, name, "requester", password="", links=())
            self.tokens[name] = mint(self.served, name, "read", "request")
        folder.mkdir(exist_ok=True)
        token = folder / "api-token"
        token.touch(mode=0o600)
        token.write_text(self.tokens[name] + "\n")
        given = {
            "approval.server": self.flaky.endpoint,
            "approval.server_token_file": str(token),
            "approval.server_timeout": "20s",
            "approval.self": "always",
            **{key.replace("__", "."): text for key, text in settings.items()},
        }
        return Host(name, folder, small_cache(folder / "cache"), given)

    def call(self, method: str, path: str, body: object = None, *, token: str = "") -> dict[str, Any]:
        """Ask the server as the approver, past the proxy."""
        answer = httpx.request(
            method,
            f"{self.served.url}/api/v1{path}",
            json=body,
            headers={"Authorization": f"Bearer {token or self.bob}"},
            timeout=30,
            trust_env=False,
        )
        value: dict[str, Any] = answer.json()
        assert answer.status_code in {200, 201}, value
        return value

    def approve(self, op: str) -> None:
        """Somebody looks at the plan and agrees."""
        digest = str(self.call("GET", f"/operations/{op}")["digest"])
        assert self.call("POST", f"/operations/{op}/approve", {"typed": digest[:12]})["state"] == "APPROVED"

    def standing(self, op: str) -> tuple[str, str | None]:
        """Where an operation stands at the server, and what its host told of it."""
        found = self.call("GET", f"/operations/{op}")
        return str(found["state"]), found["outcome"]


@dataclass
class Host:
    """A machine of the fleet."""

    name: str
    folder: Path
    cache: SmallCache
    settings: dict[str, str]

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def session(self) -> Session:
        return open_session({**self.settings, "state.dir": str(self.state)}, progress=Silent())

    def ask(self) -> Receipt:
        """Clean everything: policy holds that."""
        return clean(self.session(), self.cache.plan(), tuple, MANNER, None)

    def hold(self) -> str:
        """The same, when nobody answers at once; returns the operation."""
        try:
            self.ask()
        except Held as held:
            self.said = str(held)
            return self.operations()[-1].id
        raise AssertionError("it was not held")

    def resume(self, op: str) -> Receipt:
        """What `clean OP` does."""
        return resume(self.session(), op, MANNER)

    def still_held(self, op: str) -> str:
        """Resuming does not help; returns what was said."""
        try:
            self.resume(op)
        except Held as held:
            assert self.operation(op).state == "HELD"
            assert self.whole
            return str(held)
        raise AssertionError("it went on")

    @property
    def whole(self) -> bool:
        """Whether nothing is gone."""
        return len(entries(self.cache.root)) == len(self.cache.contents)

    def operations(self) -> list[Operation]:
        with self.session().journal(read_only=True) as journal:
            return journal.operations()

    def operation(self, op: str) -> Operation:
        with self.session().journal(read_only=True) as journal:
            return journal.operation(op)

    def steps(self, op: str) -> list[str]:
        with self.session().journal(read_only=True) as journal:
            return [record.step for record in journal.records(op=op)]

    def start(self, *arguments: str, stdin: str = "") -> "subprocess.Popen[str]":
        """The command itself; what it reads on stdin is short."""
        with tempfile.TemporaryFile("w+") as given:
            given.write(stdin)
            given.seek(0)
            return subprocess.Popen(
                [sys.executable, "-m", "go_cache_safeguard", *arguments],
                env=environ(self.state, self.settings),
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )

    def run(self, *arguments: str) -> tuple[int, str]:
        """The same to its end: exit code, and all that it said."""
        with self.start(*arguments) as child:
            out, err = child.communicate(timeout=120)
        return child.returncode, out + err


@contextmanager
def fleet(folder: Path, settings: Mapping[str, str] | None = None) -> Iterator[Fleet]:
    """Run a server with a proxy before it."""
    port = free_port()
    with flaky_proxy(f"127.0.0.1:{port}") as flaky:
        names = {"serve.url": f"http://127.0.0.1:{port} {flaky.endpoint}", "serve.api_rate": "0"}
        with serving(folder, {**names, **(settings or {})}, port=port) as served:
            add_person(served, "bob", "approver", password="", links=("none", "none@*"))
            yield Fleet(served, flaky, mint(served, "bob", "read", "approve"))
