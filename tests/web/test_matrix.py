"""Who may do what: every route there is, and every way of coming in, judged by the one matrix."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, combinations
from typing import Any

import pytest
from starlette.routing import Mount, Route

from apisites import DIGEST, EVERY_SCOPE, HOST, OTHERS, ApiSite, Calls, api_site, filing, inside
from go_cache_safeguard.approval.voter import Role
from go_cache_safeguard.web.api import ROUTES
from go_cache_safeguard.web.app import build
from go_cache_safeguard.web.fence import API
from go_cache_safeguard.web.site import MATRIX, Scope

OPEN = {
    "/login": {"GET", "POST"},
    "/logout": {"POST"},
    "/oidc/start": {"POST"},
    "/oidc/back": {"GET"},
    "/slack/actions": {"POST"},
    "/static/{name}": {"GET"},
    "/healthz": {"GET"},
    "/readyz": {"GET"},
    "/sampling": {"GET"},
    f"{API}/openapi.json": {"GET"},
}
"""Doors: nobody is let in yet, or nothing is behind them. Each has tests of its own."""

PAGES = {
    ("GET", "/"): "inbox",
    ("GET", "/op/{op}"): "operation",
    ("GET", "/journal"): "journal",
    ("GET", "/live"): "live",
    ("GET", "/traces/{trace}"): "evidence",
    ("GET", "/metrics"): "metrics",
    **{("POST", f"/op/{{op}}/{it}"): it for it in ("approve", "reject", "cancel", "break-glass", "review")},
}
ACTIONS = {**PAGES, **{(method, API + path): action for path, method, action, _, _ in ROUTES}}
"""Method and route to the action of the matrix."""

_BODIES: dict[str, dict[str, Any]] = {
    "request": filing(),
    "approve": {"typed": DIGEST[:8]},
    "redeem": {"token": "gcs1_" + "A" * 43},
    "break-glass": {"typed": DIGEST[:8], "reason": "it cannot wait any longer"},
    "review": {"finding": "justified", "text": "seen"},
    "consume": {"digest": DIGEST},
    "outcome": {"state": "DONE"},
}
_NOBODY_IS_THERE = "op_0000000000000000"


@dataclass(frozen=True)
class Comer:
    """A way of coming in.

    Attributes:
        roles: Of the person; None if nobody is let in like this.
        scopes: Of the token; None for a session.
        headers: What is sent.
    """

    name: str
    roles: frozenset[Role] | None
    scopes: frozenset[str] | None
    headers: dict[str, str]

    def may(self, action: str) -> bool:
        rule = MATRIX[action]
        return bool(self.roles and self.roles & rule.roles) and (self.scopes is None or rule.scope in self.scopes)


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def of_page(site: ApiSite, name: str, tenant: str = "") -> dict[str, str]:
    secret, csrf = site.session(name, tenant=tenant)
    return {**site.cookie(secret), "Origin": f"http://{HOST}", "X-CSRF-Token": csrf}


def comers(site: ApiSite) -> list[Comer]:
    """Everybody: all sets of roles by token and by session, all scopes one by one, and who is nobody."""
    found = [
        Comer("nobody", None, None, {"Origin": f"http://{HOST}"}),
        Comer("a forged token", None, None, bearer("gcs_x")),
    ]
    for roles in chain.from_iterable(combinations(Role, count) for count in range(len(Role) + 1)):
        name = "-".join(["p", *roles])
        site.person(name, *roles)
        found.append(Comer(f"token of {name}", frozenset(roles), EVERY_SCOPE, bearer(site.token(name))))
        found.append(Comer(f"session of {name}", frozenset(roles), None, of_page(site, name)))
    everybody = "-".join(["p", *Role])
    sets = [frozenset[str](), *(frozenset({str(one)}) for one in Scope), EVERY_SCOPE - {"approve"}]
    found += [Comer(f"scopes {sorted(it)}", frozenset(Role), it, bearer(site.token(everybody, it))) for it in sets]
    site.person("gone", *Role)
    gone = [bearer(site.token("gone")), of_page(site, "gone")]
    site.people.change("", "gone", active=False)
    found += [Comer("who was disabled", None, None, headers) for headers in gone]
    site.person("other", *Role, tenant=OTHERS)
    found.append(Comer("a token of others", None, None, bearer(site.token("other", tenant=OTHERS))))
    found.append(Comer("a session of others", None, None, of_page(site, "other", OTHERS)))
    return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiSite]:
    with api_site(tmp_path_factory.mktemp("site")) as found:
        yield found


@pytest.fixture(scope="module")
def calls(site: ApiSite) -> Iterator[Calls]:
    with inside(site) as found:
        yield found


def routes_of(site: ApiSite) -> set[tuple[str, str]]:
    """Every method and route of the whole application."""
    fence: Any = build(site.site)
    found = set()
    for route in fence._app.routes:
        below: list[Any] = list(route.routes) if isinstance(route, Mount) else [route]
        prefix = route.path if isinstance(route, Mount) else ""
        for one in below:
            path, methods = prefix + one.path, getattr(one, "methods", None)
            assert methods, f"{path} takes any method"
            found |= {(method, path) for method in methods - {"HEAD"}}
            assert isinstance(one, Route)
    return found


def test_every_route_has_a_row_and_every_action_a_route(site: ApiSite) -> None:
    there = routes_of(site)
    doors = {(method, path) for path, methods in OPEN.items() for method in methods}
    assert there - doors == ACTIONS.keys()
    assert set(ACTIONS.values()) == MATRIX.keys()


def test_the_matrix_lets_nobody_change_anything_who_only_looks() -> None:
    for action, rule in MATRIX.items():
        assert rule.changes == (rule.scope not in {Scope.READ, Scope.AUDIT, Scope.METRICS}), action
        assert action == "review" or not rule.changes or Role.AUDITOR not in rule.roles
    for (method, path), action in ACTIONS.items():
        assert MATRIX[action].changes == (method == "POST"), path
    deciding = {action for action, rule in MATRIX.items() if rule.scope is Scope.APPROVE}
    assert deciding == {"approve", "mint", "reject", "break-glass", "review"}
    assert all(Role.REQUESTER not in MATRIX[action].roles for action in deciding)


def test_every_route_lets_in_whom_the_matrix_names_and_nobody_else(site: ApiSite, calls: Calls) -> None:
    tried = 0
    for who in comers(site):
        for (method, path), action in ACTIONS.items():
            let_in = is_let_in(calls, who, method, path, action)
            assert let_in == who.may(action), f"{who.name}: {method} {path}"
            tried += 1
    assert tried == len(ACTIONS) * 29
    with site.sessions[""].journal(read_only=True) as journal:
        assert {one.id for one in journal.operations()} <= {_BODIES["request"]["op"]}


def is_let_in(calls: Calls, who: Comer, method: str, path: str, action: str) -> bool:
    """Whether somebody gets past the matrix; what comes after it does not matter here."""
    where = path.replace("{op}", _NOBODY_IS_THERE).replace("{trace}", "0" * 32)
    body = _BODIES.get(action, {})
    if path == "/live":
        answer = calls("HEAD", where, headers=who.headers)  # GET does not end
    elif method == "GET":
        answer = calls("GET", where, headers=who.headers)
    elif path.startswith(API):
        answer = calls("POST", where, body, headers=who.headers)
    else:
        answer = calls.form(where, body, headers=who.headers)
    refused = answer.status_code in {401, 403} or answer.headers.get("location", "").startswith("/login")
    if path.startswith(API) and refused:
        failure = answer.json()["id"]
        assert failure == ("not-let-in" if who.roles is None else "not-allowed") or who.name == "a session of others"
    return not refused


@pytest.mark.parametrize("spoiled", ["Origin", "X-CSRF-Token"])
def test_a_session_changes_nothing_from_a_page_of_somebody_else(site: ApiSite, calls: Calls, spoiled: str) -> None:
    site.person(f"victim-{spoiled.lower()}", *Role)
    headers = of_page(site, f"victim-{spoiled.lower()}")
    for (method, path), action in ACTIONS.items():
        if method == "POST":
            where = path.replace("{op}", _NOBODY_IS_THERE).replace("{trace}", "0" * 32)
            for sent in (
                {**headers, spoiled: "https://evil.example"},
                {k: v for k, v in headers.items() if k != spoiled},
            ):
                answer = calls("POST", where, _BODIES.get(action, {}), headers=sent)
                assert answer.status_code == 403, (path, answer.text)
