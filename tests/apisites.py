"""A site with its API inside of a test: two tenants, people of each role, tokens of each scope, and operations that are held."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

import httpx

from go_cache_safeguard.approval.voter import Role
from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.operation import Operation
from go_cache_safeguard.flows.desk import Desk, desk_of
from go_cache_safeguard.flows.progress import Silent
from go_cache_safeguard.flows.session import Session, new_operation_id, open_session
from go_cache_safeguard.journal.record import Entry
from go_cache_safeguard.web.app import build
from go_cache_safeguard.web.people import ApiToken, People, hashed, people_in_file
from go_cache_safeguard.web.site import COOKIE, PREFIX, Front, Scope, Site, cookie_name, csrf_of

NOBODY = ""
OTHERS = "others"
HOST = "127.0.0.1:8443"
OTHER_HOST = "localhost:8443"
DIGEST = sha256(b"a plan").hexdigest()
EVERY_SCOPE = frozenset(str(one) for one in Scope)


@dataclass
class ApiSite:
    """What a test needs of a site.

    Attributes:
        folder: Its state directory, and that of the other tenant below it.
        site: As the application gets it.
        sessions: Of each tenant.
    """

    folder: Path
    site: Site
    sessions: dict[str, Session]
    desks: dict[str, Desk]
    minted: list[str] = field(default_factory=list)

    @property
    def people(self) -> People:
        return self.site.people

    def person(self, name: str, *roles: Role, tenant: str = NOBODY, links: tuple[str, ...] = ("none@*",)) -> None:
        """Let somebody in."""
        self.people.add(tenant, name, frozenset(roles), int(time.time()))
        for link in links:
            self.people.link(tenant, name, link)

    def token(self, name: str, scopes: frozenset[str] = EVERY_SCOPE, *, tenant: str = NOBODY, canary: str = "") -> str:
        """An API token of somebody, minted if there was none."""
        secret = f"{PREFIX}{canary or sha256(f'{tenant}{name}{sorted(scopes)}'.encode()).hexdigest()}"
        if secret not in self.minted:
            now = int(time.time())
            token = ApiToken(f"t{len(self.minted):04}", name, scopes, now, now + 3600)
            self.people.mint(tenant, token, hashed(secret))
            self.minted.append(secret)
        return secret

    def session(self, name: str, *, tenant: str = NOBODY) -> tuple[str, str]:
        """Log somebody in; returns the cookie's secret, and what forms must send back."""
        secret = f"session-of-{tenant}-{name}"
        person = self.people.person(tenant, name)
        assert person is not None
        self.people.begin(tenant, hashed(secret), person, person.principal, int(time.time()), lifetime_s=3600)
        return secret, csrf_of(secret)

    def cookie(self, secret: str) -> dict[str, str]:
        return {"Cookie": f"{cookie_name(COOKIE, secure=self.site.secure)}={secret}"}

    def held(
        self, *, tenant: str = NOBODY, op: str = "", requester: str = "uid:4000(walt)", **data: Value
    ) -> Operation:
        """An operation of this machine that waits."""
        op = op or new_operation_id()
        return self.desks[tenant].file(
            op,
            requester,
            [
                Entry(str(State.REQUESTED), {**about(), **data}, op),
                Entry(str(State.CHECKED), {"verdicts": []}, op),
                Entry(str(State.HELD), {"reasons": ["70% of the cache would go"]}, op),
            ],
        )


def about(digest: str = DIGEST) -> dict[str, Value]:
    """What an operation is about."""
    return {
        "kind": "go-build-cache",
        "target": "/home/alice/.cache/go-build",
        "identity": "1:2",
        "selectors": ["--all"],
        "digest": digest,
        "items": 3,
        "bytes": 700,
        "whole": 1000,
    }


def filing(op: str = "", **more: Any) -> dict[str, Any]:
    """What a host sends."""
    value = {
        "op": op or new_operation_id(),
        "requester": "uid:1000(alice)",
        "kind": "go-build-cache",
        "target": "/home/alice/.cache/go-build",
        "digest": DIGEST,
        "items": 3,
        "bytes": 700,
        "whole_bytes": 1000,
        "reasons": ["70% of the cache would go"],
    }
    return {**value, **more}


@contextmanager
def api_site(folder: Path, settings: Mapping[str, str] | None = None) -> Iterator[ApiSite]:
    """Make one, for the length of a block."""
    given = {"approval.self": "never", "serve.api_rate": "0", **(settings or {})}
    sessions = {
        tenant: open_session({**given, "state.dir": str(folder / (tenant or "own"))}, progress=Silent())
        for tenant in (NOBODY, OTHERS)
    }
    desks = {tenant: Desk(one.journal, desk_of(one).rules, tenant=tenant) for tenant, one in sessions.items()}

    def note(tenant: str, step: str, data: Mapping[str, Value]) -> None:
        with sessions[tenant].journal() as journal:
            journal.note(step, data)

    people = people_in_file(folder / "people.sqlite")
    urls = {HOST: Front(f"http://{HOST}"), OTHER_HOST: Front(f"http://{OTHER_HOST}", OTHERS)}
    site = Site(sessions[NOBODY].config, people, desks.__getitem__, note, time.time, urls, secure=False)
    try:
        yield ApiSite(folder, site, sessions, desks)
    finally:
        people.close()


@contextmanager
def inside(site: ApiSite) -> Iterator["Calls"]:
    """Call the application without a network."""
    with Calls(build(site.site)) as calls:
        yield calls


class Calls:
    """Calls of one application, from a thread of its own loop."""

    def __init__(self, app: Any) -> None:
        from anyio.from_thread import start_blocking_portal

        self._portal = start_blocking_portal()
        self._transport = httpx.ASGITransport(app=app, raise_app_exceptions=True)

    def __enter__(self) -> Self:
        self._calls = self._portal.__enter__()
        return self

    def __exit__(self, *_about: object) -> None:
        self._portal.__exit__(None, None, None)

    def form(self, path: str, fields: Mapping[str, str], *, headers: Mapping[str, str]) -> httpx.Response:
        """Send a form of a page."""
        given = {**headers, "Content-Type": "application/x-www-form-urlencoded"}
        return self("POST", path, content=urlencode(fields).encode(), headers=given)

    def __call__(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str = "",
        host: str = HOST,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> httpx.Response:
        """One call of the API."""
        given = {**({"Authorization": f"Bearer {token}"} if token else {}), **(headers or {})}

        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=self._transport, base_url=f"http://{host}") as client:
                if content is not None:
                    return await client.request(method, path, content=content, headers=given)
                return await client.request(method, path, json=body, headers=given)

        return self._calls.call(ask)
