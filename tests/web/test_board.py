"""The page with the boards: who sees it, and that it shows what the store of spans says now."""

import time
from pathlib import Path

from go_cache_safeguard.flows.golden import SPANS
from go_cache_safeguard.signals.span import Kind, Span, Status
from go_cache_safeguard.signals.spanstore import SpanStore
from webserver import add_person, log_in, serving


def test_people_see_the_boards_with_links_and_nobody_else_does(tmp_path: Path) -> None:
    settings = {
        "signals.board": "pay=/srv/git/pay.git cart=/srv/git/cart.git",
        "signals.trace_url": "https://traces.example/trace/{trace}",
    }
    with serving(tmp_path, settings) as served:
        path = served.state / SPANS
        path.parent.mkdir(parents=True, exist_ok=True)
        now = time.time_ns()
        failed = Span(b"\xab" * 16, b"\1" * 8, b"", "GET", Kind.SERVER, "pay", "", now - 10**7, now, Status.ERROR)
        with SpanStore(path) as store:
            store.put([failed], observe=True)
        add_person(served, "alice", "requester")
        with served.client() as client:
            assert client.get("/board", headers={"Accept": "text/html"}).status_code == 303
            log_in(client, "alice")
            page = client.get("/board", headers={"Accept": "text/html"}).text
            assert '<a href="/board" aria-current="page">Board</a>' in client.get("/board").text
    pay, cart = page.split('id="service-')[2], page.split('id="service-')[1]
    assert '<span class="chip stop">red</span>' in pay
    assert f'href="https://traces.example/trace/{"ab" * 16}"' in pay
    assert '<span class="chip unk">unknown</span>' in cart
    assert "no data" in cart
