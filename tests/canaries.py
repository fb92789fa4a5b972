"""Spans with secrets in every place that a span has, and the search for them in what is exported.

Every secret has the word `canary` in it or is a card's or a customer's number; `make fuzz` and the tests of redaction use this.
"""

import re
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from go_cache_safeguard.telemetry.rules import RuleFile, parse_rules
from go_cache_safeguard.telemetry.tail import TailSampler

RULES: RuleFile = parse_rules(
    {
        "sampling": [{"name": "all", "keep": "always"}],
        "redaction": {
            "drop": ["internal.*"],
            "hash": ["customer.id"],
            "mask": ["db.query.parameter.*"],
            "patterns": [{"name": "customer", "regex": "CUST-[0-9]{8}"}],
        },
    }
)
_NAMES = (
    *("http.request.header.authorization", "http.request.header.set_cookie", "http.request.header.X-Api-Key"),
    *("user.id", "enduser.id", "customer.id", "internal.note", "db.query.parameter.0", "aws_secret", "access_token"),
)
_NUMBERS = re.compile(rb"CUST-[0-9]{8}|[0-9]{16}|[0-9]{4}(?: [0-9]{4}){3}")
_HARMLESS = ("GET", "/pay/{id}", "200", "redis", "cache-1", "SELECT 1", "user 42 has 3 keys", "a=b; c=d", "GET user:42")

_SHAPES = (
    "Bearer {word}.{word}",
    "Authorization: Basic {word}=",
    '{{"password": "{word}", "user": "x"}}',
    "postgres://svc:{word}@db.example.com:5432/app",
    "https://example.com/cb?state=1&access_token={word}&x=2",
    "https://example.com/cb?code={word}#top",
    "mail {word}@example.co.uk now",
    "eyJhbGciOi{word}.eyJzdWIi.{word}",
    "set-cookie: sid={word}; Path=/",
    "ghp_{word}{word}",
    "api_key='{word} {word}'",
    "-----BEGIN RSA PRIVATE KEY-----\n{word}\n",
    "redis://:{word}@cache:6379/0",
)


def _luhn(digits: str) -> str:
    total = 0
    for at, char in enumerate(reversed(digits)):
        doubled = int(char) * (2 if at % 2 == 0 else 1)
        total += doubled - 9 * (doubled > 9)
    return digits + str(-total % 10)


class Canaries:
    """Secrets of every shape, each another."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.numbers: set[bytes] = set()

    def secret(self) -> str:
        """A text that holds a secret somewhere."""
        random = self._random
        word = f"{random.randrange(1 << 24):06x}canary{random.randrange(1 << 32):08x}"
        shape = random.randrange(len(_SHAPES) + 3)
        if shape < len(_SHAPES):
            text = _SHAPES[shape].format(word=word)
        else:
            text = (self._card, self._customer, self._key)[shape - len(_SHAPES)]()
        return f"{random.choice(_HARMLESS)} {text}" if random.random() < 0.5 else text

    def word(self) -> str:
        """A secret without a shape: only the name of its attribute tells."""
        return f"canary{self._random.randrange(1 << 40):x}"

    def _key(self) -> str:
        return f"AKIACANARY{self._random.randrange(16**10):010X}"

    def _card(self) -> str:
        number = _luhn("4" + "".join(self._random.choices("0123456789", k=14)))
        shown = " ".join(number[at : at + 4] for at in range(0, 16, 4)) if self._random.random() < 0.5 else number
        self.numbers.add(shown.encode())
        return f"card {shown}"

    def _customer(self) -> str:
        number = f"CUST-{self._random.randrange(10**8):08d}"
        self.numbers.add(number.encode())
        return f"of {number} again"

    def value(self, depth: int = 0) -> Any:
        """An attribute's value of any kind that the SDK takes."""
        kind = self._random.randrange(8 if depth < 3 else 4)
        if kind in {4, 5}:
            return tuple(self.value(depth + 1) for _ in range(2))
        if kind == 6:
            return {"inner": self.value(depth + 1), self._random.choice(_NAMES): self.word()}
        if kind == 7:
            return b"\xff\x00" + self.secret().encode()
        return self._random.choice(_HARMLESS) if kind == 0 else self.secret()

    def attributes(self) -> dict[str, Any]:
        """Attributes, some with a secret in their values, some in their names."""
        random = self._random
        found: dict[str, Any] = {
            "http.route": "/pay/{id}",
            "n": random.randrange(100),
            f"k{random.randrange(9)}": self.value(),
        }
        found[random.choice(_NAMES)] = self.word()
        if random.random() < 0.2:
            found[self.secret()] = "x"
        return found

    def span(self) -> ReadableSpan:
        """A span with a secret in some of its places."""
        random = self._random
        state = TraceState([("ot", "rv:12345678901234")] + ([("vendor", self.word())] if random.random() < 0.1 else []))
        context = SpanContext(
            random.getrandbits(128) | 1,
            random.getrandbits(64) | 1,
            is_remote=False,
            trace_flags=TraceFlags(1),
            trace_state=state,
        )
        events = [Event(self.secret(), self.attributes()) for _ in range(random.randrange(2))]
        links = [Link(context, self.attributes()) for _ in range(random.randrange(2))]
        return ReadableSpan(
            name=self.secret() if random.random() < 0.3 else "GET /pay",
            context=context,
            resource=Resource({"service.name": "pay", "x": self.secret()}, self.secret()),
            attributes=self.attributes(),
            events=events,
            links=links,
            kind=SpanKind.SERVER,
            status=Status(StatusCode.ERROR, self.secret()) if random.random() < 0.3 else Status(StatusCode.UNSET),
            start_time=1,
            end_time=2,
            instrumentation_scope=InstrumentationScope(self.secret(), self.secret(), "", self.attributes()),
        )

    def found(self, data: bytes) -> Iterator[bytes]:
        """What of it is in some bytes."""
        lower = data.lower()
        at = lower.find(b"canary")
        if at >= 0:
            yield data[max(0, at - 40) : at + 40]
        yield from self.numbers.intersection(_NUMBERS.findall(data))


class Encoding(SpanExporter):
    """Encodes spans as OTLP does, and keeps the bytes."""

    def __init__(self) -> None:
        self.spans = 0
        self.requests: list[bytes] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.spans += len(spans)
        self.requests.append(encode_spans(spans).SerializeToString())
        return SpanExportResult.SUCCESS


def leaks(seed: int, number: int, key: bytes) -> list[bytes]:
    """Send spans through a sampler that keeps all; what of their secrets came out, which should be nothing."""
    found: list[bytes] = []
    random, exporter = Random(seed), Encoding()  # noqa: S311 - no secrets but canaries
    sampler = TailSampler(exporter, RULES, key=key)
    done = 0
    while done < number and not found:
        canaries = Canaries(random)
        before = exporter.spans
        for _ in range(min(500, number - done)):
            sampler.on_end(canaries.span())
            done += 1
        sampler.force_flush()
        if exporter.spans - before != min(500, number) and done < number:
            found.append(b"spans are missing")
        for request in exporter.requests:
            found += canaries.found(request)
        exporter.requests.clear()
    sampler.shutdown()
    return found
