"""Where golden signals come from: our own store of spans, or a Prometheus.

Knows:     how each is asked, and that whatever goes wrong while asking is a doubt about the signals, never a signal.
Called by: `cli.signals_golden`, `flows.board`, and whoever removes something in waves.
Never:     raises what goes wrong with a source that is away, slow or answers half: the gate pauses for it. Follows a redirect, or heeds a
           proxy of the environment.
Source:    Prometheus HTTP API: instant queries, `query_exemplars` (docs/querying/api.md). The answer's length has no bound there, so one is
           added here, and an end of time for all of it.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self
from urllib.parse import urlsplit

from go_cache_safeguard.config.layer import ConfigBad
from go_cache_safeguard.config.resolve import Config
from go_cache_safeguard.flows.builds import build_limits, builds_of, is_builds
from go_cache_safeguard.flows.private_file import secret_in
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.signals.gate import Limits, Looks, Ruling, Verdict, judge_all, together
from go_cache_safeguard.signals.golden import Golden, absent, failing, tallied
from go_cache_safeguard.signals.heed import heeding
from go_cache_safeguard.signals.promql import (
    AHEAD_S,
    Answers,
    Metrics,
    counters,
    durations,
    failures,
    golden_of,
    parse_metrics,
    read_exemplars,
    read_series,
)
from go_cache_safeguard.signals.query import All, Comparison, Field, Operator
from go_cache_safeguard.signals.red import SECOND_NS
from go_cache_safeguard.signals.span import Status

if TYPE_CHECKING:
    from go_cache_safeguard.signals.spanstore import SpanStore

SPANS = Path("signals") / "spans.sqlite"
"""The store of spans, in the state directory."""
STORE = "store"
"""What a source is called that is this store."""
_MOST_BYTES = 32 << 20
_PATIENCE_S = 5.0
_FAILED_SPANS = 64
"""Failed spans that are looked at for three failing traces: several may be of one."""


class Source(Protocol):
    """Somebody who knows how services do."""

    def look(self, services: Sequence[str], start_ns: int, end_ns: int) -> Mapping[str, Golden]:
        """The signals of each service in a window; all are there, with a doubt where something is missing."""


def source_of(config: Config, given: str = "") -> Source:
    """The source that somebody named, or else the settings.

    Args:
        config: The settings.
        given: `store`, the URL of a Prometheus, or `builds[:PLACE]` (see `flows.builds`); empty for `signals.prometheus`, and without it the store.

    Raises:
        ConfigBad: It cannot be used.
    """
    if is_builds(given):
        return builds_of(config, given)
    chosen = given or config.text("signals.prometheus") or STORE
    if chosen == STORE:
        return StoreSource(Path(config.text("state.dir")) / SPANS, _capacities(config.text("signals.capacity")))
    try:
        metrics = parse_metrics(config.text("signals.metrics"))
    except ValueError as error:
        raise ConfigBad(f"signals.metrics cannot be read: {error}") from error
    token = secret_in(config, "signals.prometheus_token_file")
    return PrometheusSource(_address(chosen), metrics, config.text("signals.saturation_query"), token)


def limits_of(config: Config, source: str = "") -> Limits:
    """What a service has to keep, after the settings; of builds as a source, what builds have to."""
    limits = Limits(
        second_error_rate=config.share("signals.worst_second").per_million / 1e6,
        error_rate=config.share("signals.error_rate").per_million / 1e6,
        alpha=config.share("signals.alpha").per_million / 1e6,
        saturation=config.share("signals.saturation").per_million / 1e6,
        requests=config.count("signals.requests"),
        stale_s=config.seconds("signals.stale"),
    )
    return build_limits(config, limits) if is_builds(source) else limits


def window_ns(length_s: int, *, ended_s: float = 0) -> tuple[int, int]:
    """Begin and end of a window that ends now, or ended some seconds ago."""
    end_ns = time.time_ns() - int(ended_s * SECOND_NS)
    return end_ns - length_s * SECOND_NS, end_ns


def _capacities(words: str) -> dict[str, float]:
    """Read `service=requests at a time`, several of them."""
    found = {}
    for word in words.split():
        name, _, number = word.rpartition("=")
        if not name or not number.isdecimal() or not int(number):
            raise ConfigBad(f"signals.capacity: {word!r} is not SERVICE=NUMBER", hint="as in signals.capacity=pay=12")
        found[name] = float(number)
    return found


def _address(url: str) -> str:
    try:
        parts = urlsplit(url)
        wrong = parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0
    except ValueError:
        wrong = True
    else:
        wrong = wrong or "@" in parts.netloc or bool(parts.query or parts.fragment)
    if wrong:
        raise ConfigBad(
            "the address of Prometheus is not http://HOST:PORT or https://HOST without user, query or fragment",
            hint="a token goes into the file of signals.prometheus_token_file",
        )
    return url.rstrip("/")


@dataclass(frozen=True, slots=True)
class StoreSource:
    """The embedded store.

    Attributes:
        path: Its file.
        capacities: How many requests a service can work on at a time, where somebody has said so.
    """

    path: Path
    capacities: Mapping[str, float]

    def look(self, services: Sequence[str], start_ns: int, end_ns: int) -> dict[str, Golden]:
        """Add up what was counted. Opens the file each time: a look may come from any thread."""
        from go_cache_safeguard.signals.spanstore import (  # noqa: PLC0415 - sqlite: loaded where used
            SpanStore,
            SpanStoreUnusable,
        )

        try:
            with SpanStore(self.path, read_only=True) as store:
                return {name: self._one(store, name, start_ns, end_ns) for name in services}
        except SpanStoreUnusable as failure:
            return {name: absent(name, start_ns, end_ns, failure.what) for name in services}

    def _one(self, store: "SpanStore", service: str, start_ns: int, end_ns: int) -> Golden:
        parts = (
            Comparison(Field.SERVICE, "", Operator.IS, service),
            Comparison(Field.STATUS, "", Operator.IS, Status.ERROR),
        )
        failed = store.find(All(parts), limit=_FAILED_SPANS, start_ns=start_ns, end_ns=end_ns)
        return tallied(
            service,
            store.series(service, start_ns, end_ns + AHEAD_S * SECOND_NS),
            start_ns,
            end_ns,
            failing=failing(failed),
            capacity=self.capacities.get(service),
        )


@dataclass(frozen=True, slots=True, repr=False)
class PrometheusSource:
    """A Prometheus, or whatever speaks its API.

    Attributes:
        url: Without the path of the API.
        metrics: What is called how there.
        saturation: An expression whose samples carry the label of the service; empty if nothing measures it.
        token: For the header Authorization; empty for none.
    """

    url: str
    metrics: Metrics
    saturation: str = ""
    token: str = ""

    def look(self, services: Sequence[str], start_ns: int, end_ns: int) -> dict[str, Golden]:
        """Ask for all services at once."""
        if not services:
            return {}
        try:
            answers = self._ask(services, start_ns, end_ns)
            return {name: golden_of(name, answers, self.metrics, start_ns, end_ns) for name in services}
        except ValueError as error:
            return {name: absent(name, start_ns, end_ns, f"Prometheus: {error}") for name in services}

    def _ask(self, services: Sequence[str], start_ns: int, end_ns: int) -> Answers:
        metrics, length_s = self.metrics, (end_ns - start_ns) / SECOND_NS
        end_s = end_ns / SECOND_NS
        with _Asking(self.url, self.token) as asking:
            later = {"time": end_s + AHEAD_S}
            saturation = asking.series(self.saturation, time=end_s) if self.saturation else ()
            found = asking.get(
                "query_exemplars", query=failures(metrics, services), start=start_ns / SECOND_NS, end=end_s
            )
            return Answers(
                requests=asking.series(counters(metrics, services, length_s), **later),
                failed=asking.series(counters(metrics, services, length_s, failed=True), **later),
                durations=asking.series(durations(metrics, services, length_s), time=end_s),
                saturation={one.labels.get(metrics.service, ""): one.samples[-1][1] for one in saturation},
                failing=read_exemplars(found, metrics),
            )


class _Asking:
    """One conversation; what goes wrong in it is a ValueError that says what."""

    def __init__(self, url: str, token: str) -> None:
        import httpx  # noqa: PLC0415 - loaded where used

        self._url, self._wrong = url, httpx.HTTPError
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=_PATIENCE_S,
            trust_env=False,
            follow_redirects=False,
        )
        self._end = time.monotonic() + _PATIENCE_S

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def series(self, query: str, **when: float) -> Any:
        return read_series(self.get("query", query=query, **when))

    def get(self, path: str, **parameters: str | float) -> Any:
        try:
            with self._client.stream("POST", f"{self._url}/api/v1/{path}", data=parameters) as answer:
                body = bytearray()
                for chunk in answer.iter_bytes():
                    body += chunk
                    if len(body) > _MOST_BYTES:
                        raise ValueError(f"the answer is longer than {_MOST_BYTES >> 20} MiB")
                    if time.monotonic() > self._end:
                        raise ValueError(f"it did not answer within {_PATIENCE_S:g} s")
        except self._wrong as error:
            raise ValueError(f"it did not answer: {type(error).__name__}") from error
        try:
            return json.loads(body)
        except ValueError as error:
            raise ValueError(f"it answered {answer.status_code} and no JSON") from error


def ask_gate(
    source: Source,
    services: Sequence[str],
    limits: Limits,
    *,
    baseline_s: int,
    since_s: int,
    looks: int,
    every_s: float,
    suspect: Callable[[], Mapping[str, str]] | None = None,
) -> Iterator[dict[str, Ruling]]:
    """Ask the gate again and again, until it says roll back.

    Args:
        source: Who knows how services do.
        services: Which are judged, together.
        limits: What they have to keep.
        baseline_s: Length of the window that they are compared with; it ends where the first of the others begins.
        since_s: Length of the window that is judged, which ends at each look.
        looks: How often.
        every_s: Seconds from one look to the next.
        suspect: Why services speak against going on, by their names: then no ruling is ADVANCE. See `signals.event.heeding`.

    Yields:
        A ruling for each service, with its name.
    """
    start_ns, end_ns = window_ns(baseline_s, ended_s=since_s)
    baseline = source.look(services, start_ns, end_ns)
    memory: dict[str, Looks] = {}
    for number in range(looks):
        if number:
            time.sleep(every_s)
        rulings = judge_all(source.look(services, *window_ns(since_s)), baseline, services, limits, memory)
        yield heeding(rulings, suspect()) if suspect else rulings
        if together(rulings).verdict is Verdict.ROLL_BACK:
            return
        memory = {name: ruling.looks for name, ruling in rulings.items()}


def known_services(session: Session) -> tuple[str, ...]:
    """Every service that our own store has heard of.

    Raises:
        SpanStoreUnusable: There is none, or it cannot be read.
    """
    from go_cache_safeguard.signals.spanstore import SpanStore  # noqa: PLC0415 - sqlite: loaded where used

    with SpanStore(session.state_dir / SPANS, read_only=True) as store:
        return store.services()
