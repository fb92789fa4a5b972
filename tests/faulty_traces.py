"""Traces of three made-up systems of six services, healthy and with one fault of known place: what root causes are scored with.

The shop served for tuning. The second has other names, parallel calls, clocks that differ, work that outlives its request, and fewer
database spans; one rule was added for it. The third was made last, and nothing was changed for it.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from go_cache_safeguard.signals.selftime import CACHE_HIT
from go_cache_safeguard.signals.span import Kind, Span, Status, Value

BEGIN_NS = 1_790_000_000_000_000_000
Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Call:
    """A step of an operation: another operation, how often, and whether beside the step before."""

    place: Place
    share: float = 1.0
    times: int = 1
    beside: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """What a service does: own time in ms, then its calls."""

    own_ms: float
    calls: tuple[Call, ...] = ()
    kind: Kind = Kind.INTERNAL
    attributes: Mapping[str, Value] = field(default_factory=dict)
    outlives: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, and where."""

    name: str
    truth: Place
    slow_ms: float = 0.0
    affects: float = 1.0
    fails: float = 0.0
    times: int = 1
    share: float | None = None
    retries: int = 0
    pauses_ms: float = 0.0
    unanswered: bool = False


SQL: Mapping[str, Value] = {"db.system": "postgresql"}
REDIS: Mapping[str, Value] = {"db.system": "redis"}
SHOP: Mapping[Place, Operation] = {
    ("edge", "GET /checkout"): Operation(
        2,
        (
            Call(("edge", "resolve host dns")),
            Call(("edge", "POST cart")),
            Call(("edge", "POST pay")),
            Call(("edge", "GET product"), 0.8),
        ),
        Kind.SERVER,
    ),
    ("edge", "resolve host dns"): Operation(0.5),
    ("edge", "POST cart"): Operation(1, (Call(("cart", "cart.Get")),), Kind.CLIENT),
    ("edge", "POST pay"): Operation(1, (Call(("payment-gateway", "pay")),), Kind.CLIENT),
    ("edge", "GET product"): Operation(1, (Call(("catalog", "catalog.Get")),), Kind.CLIENT),
    ("cart", "cart.Get"): Operation(
        2, (Call(("cart", "mutex cart")), Call(("cart", "SELECT items"), times=2)), Kind.SERVER
    ),
    ("cart", "mutex cart"): Operation(0.2),
    ("cart", "SELECT items"): Operation(4, (), Kind.CLIENT, SQL),
    ("payment-gateway", "pay"): Operation(
        3,
        (
            Call(("payment-gateway", "JedisPool.getResource")),
            Call(("payment-gateway", "GET session")),
            Call(("payment-gateway", "POST fraud")),
            Call(("payment-gateway", "render receipt")),
        ),
        Kind.SERVER,
    ),
    ("payment-gateway", "JedisPool.getResource"): Operation(0.2),
    ("payment-gateway", "GET session"): Operation(1, (), Kind.CLIENT, REDIS),
    ("payment-gateway", "POST fraud"): Operation(1, (Call(("fraud", "score")),), Kind.CLIENT),
    ("payment-gateway", "render receipt"): Operation(2),
    ("fraud", "score"): Operation(8, (Call(("fraud", "SELECT rules")), Call(("fraud", "model"))), Kind.SERVER),
    ("fraud", "SELECT rules"): Operation(3, (), Kind.CLIENT, SQL),
    ("fraud", "model"): Operation(5),
    ("catalog", "catalog.Get"): Operation(
        1, (Call(("catalog", "GET product cache")), Call(("catalog", "SELECT product"), 0.04)), Kind.SERVER
    ),
    ("catalog", "GET product cache"): Operation(0.8, (), Kind.CLIENT, REDIS),
    ("catalog", "SELECT product"): Operation(25, (), Kind.CLIENT, SQL),
}
MEDIA: Mapping[Place, Operation] = {
    ("gateway", "/api/feed"): Operation(
        1,
        (
            Call(("gateway", "rpc users.Who")),
            Call(("gateway", "rpc feed.List")),
            Call(("gateway", "rpc ads.Pick"), beside=True),
            Call(("gateway", "audit"), beside=True),
        ),
        Kind.SERVER,
    ),
    ("gateway", "audit"): Operation(400, outlives=True),
    ("gateway", "rpc users.Who"): Operation(0.7, (Call(("users", "Who")),), Kind.CLIENT),
    ("gateway", "rpc feed.List"): Operation(0.7, (Call(("feed", "List")),), Kind.CLIENT),
    ("gateway", "rpc ads.Pick"): Operation(0.7, (Call(("ads", "Pick")),), Kind.CLIENT),
    ("users", "Who"): Operation(
        1,
        (Call(("users", "acquire connection")), Call(("users", "find_one users")), Call(("users", "check token"))),
        Kind.SERVER,
    ),
    ("users", "acquire connection"): Operation(0.1),
    ("users", "find_one users"): Operation(3, (), Kind.CLIENT, {"db.system": "mongodb"}),
    ("users", "check token"): Operation(1.5),
    ("feed", "List"): Operation(
        3,
        (
            Call(("feed", "memo lookup")),
            Call(("feed", "rebuild feed"), 0.05),
            Call(("feed", "rank")),
            Call(("feed", "rpc media.Url"), times=2),
        ),
        Kind.SERVER,
    ),
    ("feed", "memo lookup"): Operation(0.6, (), Kind.CLIENT),
    ("feed", "rebuild feed"): Operation(60, (), Kind.CLIENT, {"db.system.name": "cassandra"}),
    ("feed", "rank"): Operation(6),
    ("feed", "rpc media.Url"): Operation(0.5, (Call(("media", "Url")),), Kind.CLIENT),
    ("media", "Url"): Operation(1, (Call(("media", "getaddrinfo store")), Call(("media", "HEAD object"))), Kind.SERVER),
    ("media", "getaddrinfo store"): Operation(0.3),
    ("media", "HEAD object"): Operation(5, (), Kind.CLIENT),
    ("ads", "Pick"): Operation(4, (Call(("ads", "semaphore budget")), Call(("ads", "bid"))), Kind.SERVER),
    ("ads", "semaphore budget"): Operation(0.2),
    ("ads", "bid"): Operation(6),
}
BANK: Mapping[Place, Operation] = {
    ("bff", "transfer"): Operation(
        3,
        (
            Call(("bff", "auth call")),
            Call(("bff", "ledger call")),
            Call(("bff", "notify call"), beside=True),
            Call(("bff", "limits call"), beside=True),
        ),
        Kind.SERVER,
    ),
    ("bff", "auth call"): Operation(1, (Call(("auth", "verify")),), Kind.CLIENT),
    ("bff", "ledger call"): Operation(1, (Call(("ledger", "book")),), Kind.CLIENT),
    ("bff", "notify call"): Operation(1, (Call(("notify", "push")),), Kind.CLIENT),
    ("bff", "limits call"): Operation(1, (Call(("limits", "check")),), Kind.CLIENT),
    ("auth", "verify"): Operation(2, (Call(("auth", "hash")), Call(("auth", "get token"))), Kind.SERVER),
    ("auth", "hash"): Operation(12),
    ("auth", "get token"): Operation(1, (), Kind.CLIENT, REDIS),
    ("ledger", "book"): Operation(
        4,
        (
            Call(("ledger", "HikariPool.getConnection")),
            Call(("ledger", "SELECT account FOR UPDATE"), times=2),
            Call(("ledger", "INSERT entry"), times=2),
            Call(("ledger", "fx call"), 0.3),
        ),
        Kind.SERVER,
    ),
    ("ledger", "HikariPool.getConnection"): Operation(0.2),
    ("ledger", "SELECT account FOR UPDATE"): Operation(3, (), Kind.CLIENT, SQL),
    ("ledger", "INSERT entry"): Operation(2, (), Kind.CLIENT, SQL),
    ("ledger", "fx call"): Operation(1, (Call(("fx", "rate")),), Kind.CLIENT),
    ("fx", "rate"): Operation(2, (Call(("fx", "rate cache")), Call(("fx", "fetch market"), 0.1)), Kind.SERVER),
    ("fx", "rate cache"): Operation(0.5),
    ("fx", "fetch market"): Operation(30, (), Kind.CLIENT),
    ("notify", "push"): Operation(5, (Call(("notify", "template")), Call(("notify", "smtp send"))), Kind.SERVER),
    ("notify", "template"): Operation(2),
    ("notify", "smtp send"): Operation(9, (), Kind.CLIENT),
    ("limits", "check"): Operation(6, (Call(("limits", "SELECT limits")),), Kind.SERVER),
    ("limits", "SELECT limits"): Operation(4, (), Kind.CLIENT, SQL),
}
FAULTS: Mapping[str, tuple[Fault, ...]] = {
    "shop": (
        Fault("pool exhaustion", ("payment-gateway", "JedisPool.getResource"), slow_ms=2_500),
        Fault("pool exhaustion, half of them", ("payment-gateway", "JedisPool.getResource"), slow_ms=900, affects=0.5),
        Fault("slow query", ("cart", "SELECT items"), slow_ms=180),
        Fault("lock wait", ("cart", "mutex cart"), slow_ms=400, affects=0.6),
        Fault("retry storm", ("payment-gateway", "POST fraud"), fails=0.7, retries=4),
        Fault("one query for each item", ("cart", "SELECT items"), times=20),
        Fault("cold cache after a purge", ("catalog", "SELECT product"), share=0.95, slow_ms=40),
        Fault("collector pauses", ("fraud", ""), pauses_ms=300),
        Fault("slow name server", ("edge", "resolve host dns"), slow_ms=800, affects=0.4),
        Fault(
            "no answer in time",
            ("payment-gateway", "POST fraud"),
            slow_ms=1_000,
            fails=1.0,
            affects=0.7,
            unanswered=True,
        ),
        Fault("slow network", ("edge", "POST pay"), slow_ms=120),
        Fault("errors that spread", ("fraud", "SELECT rules"), fails=0.6),
        Fault("slow code", ("fraud", "model"), slow_ms=90),
    ),
    "media": (
        Fault("pool exhaustion", ("users", "acquire connection"), slow_ms=700),
        Fault("slow query", ("users", "find_one users"), slow_ms=250, affects=0.7),
        Fault("lock wait", ("ads", "semaphore budget"), slow_ms=300),
        Fault("retry storm", ("feed", "rpc media.Url"), fails=0.6, retries=3),
        Fault("one call for each item", ("feed", "rpc media.Url"), times=15),
        Fault("cold cache after a purge", ("feed", "rebuild feed"), share=0.9),
        Fault("collector pauses", ("users", ""), pauses_ms=250),
        Fault("slow name server", ("media", "getaddrinfo store"), slow_ms=400, affects=0.5),
        Fault(
            "no answer in time", ("gateway", "rpc users.Who"), slow_ms=2_000, fails=1.0, affects=0.5, unanswered=True
        ),
        Fault("slow network", ("gateway", "rpc feed.List"), slow_ms=80),
        Fault("errors that spread", ("media", "HEAD object"), fails=0.5),
        Fault("slow code", ("feed", "rank"), slow_ms=45),
    ),
    "bank": (
        Fault("pool exhaustion", ("ledger", "HikariPool.getConnection"), slow_ms=600),
        Fault("lock wait", ("ledger", "SELECT account FOR UPDATE"), slow_ms=200, affects=0.5),
        Fault("slow query", ("ledger", "INSERT entry"), slow_ms=100),
        Fault("retry storm", ("bff", "limits call"), fails=0.7, retries=5),
        Fault("one query for each item", ("limits", "SELECT limits"), times=25),
        Fault("one call for each item", ("ledger", "fx call"), times=12, share=0.9),
        Fault("cold cache after a purge", ("fx", "fetch market"), share=1.0, slow_ms=150),
        Fault("collector pauses", ("ledger", ""), pauses_ms=300),
        Fault("collector pauses elsewhere", ("auth", ""), pauses_ms=300),
        Fault("no answer in time", ("bff", "notify call"), slow_ms=1500, fails=1, affects=0.6, unanswered=True),
        Fault("slow network", ("bff", "ledger call"), slow_ms=70),
        Fault("errors that spread", ("notify", "smtp send"), fails=0.5),
        Fault("errors that spread from below", ("ledger", "INSERT entry"), fails=0.3),
        Fault("slow code", ("auth", "hash"), slow_ms=60),
        Fault("slow code beside others", ("notify", "template"), slow_ms=80),
        Fault("slow cache", ("fx", "rate cache"), slow_ms=900, affects=1),
    ),
}
SYSTEMS: Mapping[str, tuple[Mapping[Place, Operation], Place]] = {
    "shop": (SHOP, ("edge", "GET /checkout")),
    "bank": (BANK, ("bff", "transfer")),
    "media": (MEDIA, ("gateway", "/api/feed")),
}


class _Maker:
    def __init__(self, system: str, seed: int, fault: Fault | None) -> None:
        self.operations, self.root = SYSTEMS[system]
        self.chance = random.Random(seed)  # noqa: S311 - a load, no secret
        self.fault = fault
        services = sorted({service for service, _ in self.operations})
        self.skew = {
            name: self.chance.randrange(-30_000_000, 30_000_000) if system == "media" else 0 for name in services
        }
        self.spans: list[Span] = []
        self.trace_id = b""

    def trace(self, begin: int) -> None:
        self.trace_id = self.chance.randbytes(16)
        self.run(self.root, b"", begin)

    def run(self, place: Place, parent: bytes, begin: int) -> tuple[int, bool]:
        """Do an operation; when it ended, and whether it failed."""
        operation, fault = self.operations[place], self.fault
        struck = fault is not None and fault.truth == place and self.chance.random() < fault.affects
        span_id, now = self.chance.randbytes(8), begin + self.took(operation.own_ms / 2)
        failed, until = False, now
        if struck and fault is not None:
            now += self.took(fault.slow_ms) if fault.slow_ms else 0
            failed = self.chance.random() < fault.fails
        if fault and fault.pauses_ms and place[0] == fault.truth[0] and self.chance.random() < 0.35:
            now += self.took(fault.pauses_ms)
        if not (failed and fault and (fault.unanswered or fault.retries)):
            for call in operation.calls:
                start = until if call.beside else now
                until = start
                ended, wrong = self.call(call, span_id, start)
                now = max(now, ended) if not self.operations[call.place].outlives else now
                failed = failed or (wrong and self.chance.random() < 0.9)
        now += self.took(operation.own_ms / 2)
        self.keep(place, span_id, parent, begin, now, failed=failed)
        return now, failed

    def call(self, call: Call, parent: bytes, start: int) -> tuple[int, bool]:
        fault = self.fault if self.fault and self.fault.truth == call.place else None
        share = fault.share if fault and fault.share is not None else call.share
        now, failed = start, False
        for _ in range(fault.times if fault and fault.times > 1 else call.times):
            if self.chance.random() >= share:
                continue
            now, failed = self.run(call.place, parent, now)
            for _ in range(fault.retries if fault else 0):
                if not failed:
                    break
                now, failed = self.run(call.place, parent, now + self.took(20))
        return now, failed

    def keep(self, place: Place, span_id: bytes, parent: bytes, begin: int, end: int, *, failed: bool) -> None:
        operation, skew = self.operations[place], self.skew[place[0]]
        attributes = dict(operation.attributes)
        if place == ("catalog", "GET product cache"):
            missed = self.fault is not None and self.fault.share is not None
            attributes[CACHE_HIT] = self.chance.random() >= (0.95 if missed else 0.04)
        status = Status.ERROR if failed else Status.UNSET
        self.spans.append(
            Span(
                self.trace_id, span_id, parent, place[1], operation.kind, place[0], "", begin + skew, end + skew, status,
                attributes=attributes,
            )
        )  # fmt: skip

    def took(self, mean_ms: float) -> int:
        return int(self.chance.lognormvariate(-0.08, 0.4) * mean_ms * 1e6)


def made(system: str, count: int, seed: int, fault: Fault | None = None) -> list[Span]:
    """Traces of a system.

    Args:
        system: `shop`, `media` or `bank`.
        count: How many requests.
        seed: Of chance.
        fault: What is wrong; None for healthy ones.
    """
    maker = _Maker(system, seed, fault)
    for number in range(count):
        maker.trace(BEGIN_NS + number * 1_000_000_000)
    return maker.spans
