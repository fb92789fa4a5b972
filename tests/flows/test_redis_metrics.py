"""Numbers of several processes: each writes its own, they outlive it, and whoever asks gets all of them."""

import asyncio
import os
from collections.abc import Callable
from typing import NoReturn

import pytest

from go_cache_safeguard.core.errors import Failure
from go_cache_safeguard.flows.redis_gates import GateInUse
from go_cache_safeguard.flows.redis_metrics import Numbers, Page
from go_cache_safeguard.flows.redis_metrics_server import MOST, Asked, MetricsServer, answer, parse_request
from go_cache_safeguard.flows.redis_voice import Voice
from go_cache_safeguard.journal.store import JournalUnusable
from go_cache_safeguard.redis.call import Answer, Answered, Call, Pass
from go_cache_safeguard.redis.client import ServerUnreachable
from go_cache_safeguard.redis.commands import Class
from go_cache_safeguard.redis.intent import Certainty, Intent
from go_cache_safeguard.redis.metrics import ACCEPTED, CALLS, CONNECTIONS, DECISION, FAILURES, RELOADED, merged


def test_a_worker_goes_on_counting_where_the_one_before_it_died() -> None:
    numbers = Numbers(2)
    for counted in (5, 7):
        pid = os.fork()
        if not pid:
            tally = numbers.of(1)
            tally.put(ACCEPTED, counted)
            tally.put(CONNECTIONS, counted)
            tally.decided(Class.REMOVES, "passed", 0.02)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
    numbers.of(0).put(ACCEPTED, 100)
    assert merged(ACCEPTED, (), numbers.rows()) == [112]
    assert merged(CONNECTIONS, (), numbers.rows()) == [7]
    assert merged(CALLS, ("removes", "passed"), numbers.rows()) == [2]
    assert merged(DECISION, (), numbers.rows())[-1] == pytest.approx(0.04)
    numbers.forget(1)
    assert merged(CONNECTIONS, (), numbers.rows()) == [0]
    assert merged(ACCEPTED, (), numbers.rows()) == [112]


def test_failures_are_told_apart_and_settings_count_until_one_worker_has_none() -> None:
    numbers = Numbers(2)
    one, two = numbers.of(0), numbers.of(1)
    assert merged(RELOADED, (), numbers.rows()) == [1]
    for error in (JournalUnusable("x"), ServerUnreachable("x"), OSError(28, "full"), Failure("x")):
        one.failed(error)
    assert [merged(FAILURES, (kind,), numbers.rows()) for kind in ("journal", "server", "other")] == [[1], [1], [2]]
    one.reloaded(well=True)
    two.reloaded(well=False)
    assert merged(RELOADED, (), numbers.rows()) == [0]
    two.reloaded(well=True)
    assert merged(RELOADED, (), numbers.rows()) == [1]


def test_what_the_journal_would_tell_is_left_out_when_it_cannot_be_read() -> None:
    def broken() -> NoReturn:
        raise JournalUnusable("not now")

    numbers = Numbers(1)
    failed = numbers.of(0).failed
    page = Page(numbers, dict, broken, failed)
    _, text = page.text("text/plain")
    assert b"held_operations" not in text
    assert b"go_cache_safeguard_redis_connections 0.0" in text
    assert merged(FAILURES, ("journal",), numbers.rows()) == [1]


class _Gate:
    def __init__(self, given: Answer) -> None:
        self.given = given
        self.lookups = (0, 0)

    def decide(self, call: Call, intent: Intent, *, abandoned: Callable[[], bool] | None = None) -> Answer:
        del call, intent, abandoned
        return self.given

    def execute_approved(self) -> None:
        """Nothing is."""

    def close(self) -> None:
        """Nothing is open."""


def test_every_answer_of_the_gate_is_counted_by_its_class() -> None:
    told: list[tuple[Class, str]] = []
    gates = GateInUse(_Gate(Pass()), Voice(), lambda cls, name, _: told.append((cls, name)))
    intent = Intent("DEL", Class.REMOVES, Certainty.SURE)
    gates.decide(Call(((b"DEL", b"a"),)), intent)
    gates.change(_Gate(Answered(b"+OK\r\n")))
    gates.decide(Call(((b"DEL", b"a"),)), intent)
    assert told == [(Class.REMOVES, "passed"), (Class.REMOVES, "answered")]


def test_a_request_is_read_when_its_head_is_whole_wherever_it_was_cut() -> None:
    data = b"GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\naccept: text/plain\r\n\r\n"
    for end in range(len(data)):
        assert parse_request(data[:end]) is None
    assert parse_request(data) == Asked(200, "GET", "text/plain")
    assert parse_request(b"x" * 9000) == Asked(431)
    assert answer(Asked(405, "POST")).startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")
    assert answer(Asked(200, "HEAD"), "t", b"body").endswith(
        b"Content-Length: 4\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
    )


def test_many_who_ask_at_once_cost_one_text() -> None:
    made: list[str] = []

    async def text(accepts: str) -> tuple[str, bytes]:
        made.append(accepts)
        await asyncio.sleep(0)
        return "t", b"numbers"

    async def ask() -> None:
        server = MetricsServer(text)
        await asyncio.gather(*(server.text("*/*") for _ in range(MOST)))
        await server.text("application/openmetrics-text;version=0.0.1,text/plain;q=0.5")

    asyncio.run(ask())
    assert made == ["text/plain", "application/openmetrics-text; version=1.0.0"]
