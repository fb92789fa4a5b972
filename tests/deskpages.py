"""Held operations for the pages, and browsers that people look at them with, for tests."""

import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from playwright.sync_api import Browser, BrowserContext, Dialog, Page, Playwright, expect, sync_playwright

from go_cache_safeguard.core.operation import Operation, operation_id
from go_cache_safeguard.core.plan import Item, Plan
from go_cache_safeguard.flows.clean import _keep_plan
from go_cache_safeguard.flows.desk import Desk, desk_of
from go_cache_safeguard.flows.progress import Silent
from go_cache_safeguard.flows.session import open_session
from go_cache_safeguard.journal.record import Entry, Record
from webserver import Served, log_in

CHROMIUM = "/usr/bin/chromium"
ALICE = "uid:1000(alice)"
"""The account of who asks; the person `alice` of the pages is linked to it."""
_COUNT = itertools.count(1)


def keys(count: int = 12, *, prefixes: Sequence[str] = ("session:", "cart:")) -> tuple[Item, ...]:
    """Some keys that would go."""
    names = [f"0/{prefix}{number:04}" for prefix in prefixes for number in range(count // len(prefixes))]
    return tuple(Item(name, 100, -1, "named") for name in sorted(names))


def plan_of(
    items: Sequence[Item], *, target: str = "redis://10.2.0.17:6379", selectors: Sequence[str] = ("del",)
) -> Plan:
    """A removal from a server; no two are alike."""
    made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    whole = 10_000_000 + next(_COUNT)
    return Plan("redis", target, "run", tuple(selectors), ALICE, made, whole, tuple(items))


VERDICTS = [
    {
        "check": "redis-names",
        "outcome": "BLOCK",
        "summary": "a rule holds these names",
        "evidence": ["0/session:0001"],
        "remedy": [],
    },
    {"check": "redis-undo", "outcome": "PASS", "summary": "a copy fits", "evidence": [], "remedy": []},
]


@dataclass
class House:
    """A running server and its journal.

    Attributes:
        served: The server.
        secrets: Cookies of people who have logged in, by name.
    """

    served: Served
    secrets: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where people come."""
        return self.served.url

    def desk(self, **settings: str) -> Desk:
        """A desk on the same journal, with more settings; `approval__needed` stands for `approval.needed`."""
        named = {key.replace("__", "."): text for key, text in settings.items()}
        given = {**self.served.settings, **named, "state.dir": str(self.served.state)}
        return desk_of(open_session(given, progress=Silent()))

    def held(
        self, plan: Plan | None = None, *, expires_s: int = 3600, about: dict[str, Any] | None = None, **settings: str
    ) -> str:
        """Have alice ask for something that is held. Returns its id."""
        plan = plan or plan_of(keys())
        op = operation_id(time.time_ns() // 10**6, next(_COUNT))
        asked = {
            "kind": plan.kind,
            "target": plan.target,
            "selectors": list(plan.selectors),
            "digest": plan.digest,
            "items": len(plan.items),
            "bytes": plan.total,
            "whole": plan.whole,
            **(about or {}),
        }
        reasons = ["redis-names says BLOCK: a rule holds these names", *asked.pop("reasons", [])]
        _keep_plan(self.served.session(), op, plan)
        entries = [
            Entry("REQUESTED", asked, op),
            Entry("CHECKED", {"verdicts": asked.pop("verdicts", VERDICTS)}, op),
            Entry("HELD", {"reasons": reasons, "expires_s": int(time.time()) + expires_s}, op),
        ]
        self.desk(**settings).file(op, ALICE, entries)
        return op

    def operation(self, op: str) -> Operation:
        """As the journal has it."""
        return self.desk().operation(op)

    def records(self) -> list[Record]:
        """All of the journal."""
        with self.served.session().journal(read_only=True) as journal:
            return list(journal.records())

    def client(self, name: str = "") -> httpx.Client:
        """Somebody without a browser; nobody, if there is no name."""
        cookies = {"safeguard-session": self.secret(name)} if name else {}
        headers = {"Origin": self.url, "Accept": "text/html"}
        return httpx.Client(base_url=self.url, cookies=cookies, headers=headers, timeout=30, trust_env=False)

    def secret(self, name: str) -> str:
        """The cookie of somebody who has logged in."""
        if name not in self.secrets:
            with self.client() as client:
                assert log_in(client, name).status_code == 303
                self.secrets[name] = client.cookies["safeguard-session"]
        return self.secrets[name]


@dataclass
class Eyes:
    """One browser, in which each person has a window of their own.

    Attributes:
        browser: Chromium.
        house: What is looked at.
        complaints: What pages said on their consoles, and what no page may do.
    """

    browser: Browser
    house: House
    complaints: list[str] = field(default_factory=list)
    windows: list[BrowserContext] = field(default_factory=list)

    def window(self, name: str = "", *, width: int = 1280, height: int = 800, **more: Any) -> Page:
        """Open a window for somebody who has logged in; for nobody, if there is no name."""
        window = self.browser.new_context(viewport={"width": width, "height": height}, base_url=self.house.url, **more)
        self.windows.append(window)
        window.set_default_timeout(30_000)
        if name:
            secret = self.house.secret(name)
            window.add_cookies(
                [
                    {
                        "name": "safeguard-session",
                        "value": secret,
                        "url": self.house.url,
                        "httpOnly": True,
                        "sameSite": "Strict",
                    }
                ]
            )
        page = window.new_page()
        page.on("console", lambda message: self._heard(message.type, message.text))
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("dialog", self._asked)
        return page

    def _heard(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"} and not text.startswith("Failed to load resource: the server responded with"):
            self.complaints.append(f"{kind}: {text}")

    def _asked(self, dialog: Dialog) -> None:
        self.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def close(self) -> None:
        """Close all windows."""
        for window in self.windows:
            window.close()
        self.windows.clear()


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's browser, without a screen."""
    play: Playwright
    expect.set_options(timeout=30_000)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser
        finally:
            browser.close()
