"""Looking changes nothing: every route there is, asked by everybody with GET, HEAD and OPTIONS."""

import json
import sqlite3
from collections.abc import Iterator
from functools import reduce

import httpx
from starlette.routing import BaseRoute, Mount, Route

from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.flows.session import new_operation_id
from go_cache_safeguard.web.app import build
from go_cache_safeguard.web.opening import open_site
from webserver import Served, log_in, mint

LEAST = 25
"""Routes that there are at least: a test that finds none shows nothing."""


def _routes(found: list[BaseRoute], above: str = "") -> Iterator[tuple[str, frozenset[str]]]:
    for route in found:
        if isinstance(route, Mount):
            yield from _routes(list(route.routes), above + route.path)
        elif isinstance(route, Route):
            yield above + route.path, frozenset(route.methods or ())


def _all_routes(served: Served) -> list[tuple[str, frozenset[str]]]:
    site = open_site(served.session())
    fence = build(site)
    site.people.close()
    inner = getattr(fence, "_app")  # noqa: B009 - not for anybody else
    return list(_routes(inner.routes))


def _kept(served: Served) -> tuple[int, str]:
    """All that is kept: how long the journal is, and every row about people."""
    with served.session().journal(read_only=True) as journal:
        last = journal.last_seq
    with sqlite3.connect(served.state / "people.sqlite") as db:
        rows = "\n".join(db.iterdump())
    db.close()
    return last, rows


def _held(served: Served) -> str:
    op = new_operation_id()
    with served.session().journal() as journal:
        journal.advance(
            op, State.REQUESTED, {"digest": "0" * 64, "target": "/x", "selectors": [], "bytes": 1, "items": 1}
        )
        journal.advance(op, State.CHECKED, {"verdicts": []})
        journal.advance(op, State.HELD, {"reasons": ["large"]})
    return op


def test_whoever_looks_changes_nothing(served: Served) -> None:
    op = _held(served)
    tokens = [mint(served, name, "read", "request", "approve", "audit", "metrics") for name in ("alice", "rita", "ada")]
    routes = _all_routes(served)
    assert len(routes) >= LEAST, routes
    given = {"{op}": op, "{name}": "app.css", "{path:path}": "x", "{trace}": "0" * 31 + "1"}
    paths = [reduce(lambda path, part: path.replace(*part), given.items(), path) for path, _ in routes]
    assert not [path for path in paths if "{" in path]
    with served.client() as browser, served.client() as nobody:
        log_in(browser, "alice")
        for client in (browser, nobody):
            client.cookies.set("safeguard-journey", "none")
        before = _kept(served)
        statuses = set()
        for path in paths:
            for method in ("GET", "HEAD", "OPTIONS"):
                for client, headers in [
                    (nobody, {}),
                    (browser, {}),
                    (browser, {"HX-Request": "true", "X-HTTP-Method-Override": "POST"}),
                    *[(nobody, {"Authorization": f"Bearer {token}"}) for token in tokens],
                ]:
                    query = "?_method=POST&state=a&code=b&typed=00000000&csrf=x&why=y"
                    statuses.add(_status(client, method, path + query, headers))
        assert {200, 303, 401, 403, 405} <= statuses, statuses
        assert not [status for status in statuses if status >= 500]
        # A refusal of somebody who comes back from a provider may be written down; without a provider there is none.
        assert _kept(served) == before
        assert browser.get(f"/op/{op}").status_code == 200


def _status(client: httpx.Client, method: str, path: str, headers: dict[str, str]) -> int:
    """Only the head of a reply: some go on for ever."""
    with client.stream(method, path, headers=headers) as reply:
        return reply.status_code


def test_what_changes_something_is_a_post(served: Served) -> None:
    for path, methods in _all_routes(served):
        assert methods <= {"GET", "HEAD", "POST"}, path
        assert not ({"GET", "POST"} <= methods), f"{path} does both"


def test_the_journal_tells_of_every_change_to_people(served: Served) -> None:
    with served.session().journal(read_only=True) as journal:
        told = {record.step for record in journal.records()}
        whole = json.dumps([dict(record.data) for record in journal.records()], default=str)
    assert {"person-added", "person-password", "person-linked", "api-token-minted"} <= told
    assert "argon2" not in whole
    assert "gcs_" not in whole
