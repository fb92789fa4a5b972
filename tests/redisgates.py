"""The gate of one real server, inside of a test: a client's words in, an answer out, people at hand."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from go_cache_safeguard.core.operation import Operation
from go_cache_safeguard.flows.approve import approve_by_digest
from go_cache_safeguard.flows.desk import desk_of, voter_of
from go_cache_safeguard.flows.redis_gate import HitRates, RedisGate
from go_cache_safeguard.flows.redis_server import address_of
from go_cache_safeguard.journal.record import Record
from go_cache_safeguard.redis.call import Answer, Call, Held
from go_cache_safeguard.redis.connection import Connection
from go_cache_safeguard.redis.intent import Intent, Terms, judge
from go_cache_safeguard.redis.tablefile import load_table
from redisguard import Guard

Words = Sequence[bytes | str]


def intent_of(call: Call) -> Intent:
    """What a call would do, as the proxy finds out."""
    connection = Connection(db=call.db, before=call.db, queued=call.commands if call.transaction else None)
    words = (b"EXEC",) if call.transaction else call.commands[0]
    return judge(words, connection, load_table(), Terms(time.time_ns() // 10**6))


def call_of(
    *words: bytes | str, db: int | None = 0, client: str = "10.0.0.1", user: str = "default", resp: int = 2
) -> Call:
    """One call of a client."""
    command = tuple(word if isinstance(word, bytes) else word.encode() for word in words)
    return Call((command,), db=db, client=client, user=user, resp=resp)


def transaction_of(*commands: str, db: int | None = 0) -> Call:
    """MULTI, these, EXEC."""
    return Call(tuple(tuple(word.encode() for word in one.split()) for one in commands), transaction=True, db=db)


@dataclass(frozen=True, slots=True)
class Asking:
    """One gate, with the people who answer for it."""

    guard: Guard
    gate: RedisGate

    def call(self, call: Call, abandoned: Callable[[], bool] | None = None) -> Answer:
        return self.gate.decide(call, intent_of(call), abandoned=abandoned)

    def __call__(self, *words: bytes | str) -> Answer:
        return self.call(call_of(*words))

    def held(self, *words: bytes | str) -> str:
        return self.held_call(call_of(*words))

    def held_call(self, call: Call) -> str:
        answer = self.call(call)
        assert isinstance(answer, Held), answer
        return answer.op

    def retry(self, op: str, call: Call) -> Answer:
        return self.gate.decide_retry(op, call, intent_of(call))

    def operation(self, op: str) -> Operation:
        with self.guard.session().journal(read_only=True) as journal:
            return journal.operation(op)

    def state(self, op: str) -> str:
        return str(self.operation(op).state)

    def approve(self, op: str) -> None:
        session = self.guard.session()
        with session.journal() as journal:
            approve_by_digest(session, journal, op, str(journal.operation(op).data["digest"]))

    def reject(self, op: str) -> None:
        session = self.guard.session()
        desk_of(session).reject(op, voter_of(session), "no")

    def records(self) -> list[Record]:
        with self.guard.session().journal(read_only=True) as journal:
            return list(journal.records())

    def operations(self) -> list[Operation]:
        with self.guard.session().journal() as journal:
            return journal.operations()


@contextmanager
def asking(guard: Guard, **more: str) -> Iterator[Asking]:
    """Open a gate with more settings."""
    with watching(guard, None, **more) as found:
        yield found


@contextmanager
def watching(guard: Guard, watcher: HitRates | None, **more: str) -> Iterator[Asking]:
    """The same with somebody who watches the hit rate."""
    session = guard.session(**more)
    gate = RedisGate(session, address_of(session, guard.url), watcher=watcher)
    try:
        yield Asking(guard, gate)
    finally:
        gate.close()
