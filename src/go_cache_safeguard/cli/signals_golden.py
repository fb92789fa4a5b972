"""`signals golden`, `gate`: how services do, and whether what was begun may go on.

Knows:     their arguments, and how signals and rulings are shown.
Called by: `cli.signals`.
Never:     judges: `signals.gate` does.
"""

from collections.abc import Callable, Mapping
from math import isnan
from typing import TYPE_CHECKING, Annotated, Any

import typer

from go_cache_safeguard.cli import options
from go_cache_safeguard.cli.extra import need_extra
from go_cache_safeguard.core.duration import format_duration, parse_duration
from go_cache_safeguard.core.errors import ExitCode, UsageFailure

if TYPE_CHECKING:
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.golden import Source
    from go_cache_safeguard.flows.session import Session
    from go_cache_safeguard.signals.gate import Ruling
    from go_cache_safeguard.signals.golden import Golden

From = Annotated[
    str,
    typer.Option(
        "--from",
        metavar="store|URL|builds[:PLACE]",
        help="Our own store of spans, a Prometheus, or builds; default: signals.prometheus.",
    ),
]
_EXIT = {"ADVANCE": ExitCode.DONE, "PAUSE": ExitCode.HELD, "ROLL_BACK": ExitCode.BLOCKED}


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(golden)
    app.command()(gate)


@options.grouped
def golden(
    services: Annotated[
        list[str] | None, typer.Argument(metavar="SERVICE", help="Default: all that the store of spans has heard of.")
    ] = None,
    *,
    since: Annotated[str, typer.Option("--since", metavar="TIME", help="Length of the window that ends now.")] = "5m",
    source: From = "",
    common: options.Common,
) -> None:
    """Show error rate, p95 latency, traffic and saturation of services.

    Exit code 0: all are known. 13: of some nothing is, or it is in doubt; the last column says why.
    """
    from go_cache_safeguard.flows.golden import known_services, window_ns

    session = common.session()
    asked = source_for(session, source)
    names = tuple(dict.fromkeys(services or known_services(session)))
    found = asked.look(names, *window_ns(seconds(since, "--since")))
    screen = common.screen(session)
    if screen.as_json:
        screen.document("signals-golden", 1, {"services": [value_of(found[name]) for name in names]})
    else:
        print_golden(screen, [found[name] for name in names])
    known = all(not one.doubt and one.requests for one in found.values())
    raise typer.Exit(ExitCode.DONE if known and names else ExitCode.COULD_NOT_TELL)


@options.grouped
def gate(
    *,
    service: Annotated[list[str], typer.Option("--service", metavar="NAME", help="Whom to judge; repeatable.")],
    baseline: Annotated[
        str, typer.Option("--baseline", metavar="TIME", help="Length of the window to compare with, just before.")
    ] = "30m",
    since: Annotated[str, typer.Option("--since", metavar="TIME", help="Length of the window that ends now.")] = "1m",
    looks: Annotated[
        int, typer.Option("--looks", metavar="N", min=1, max=10_000, help="How often to look; the second strike ends.")
    ] = 1,
    every: Annotated[str, typer.Option("--every", metavar="TIME", help="From one look to the next.")] = "10s",
    operation: Annotated[
        str, typer.Option("--operation", metavar="ID", help="Also pause if an anomaly since points at this operation.")
    ] = "",
    source: From = "",
    common: options.Common,
) -> None:
    """Compare services with how they did before, and tell whether what was begun since may go on.

    No data are a pause. A signal beyond its limit, or worse than before and not by chance, is a strike: the first is a pause, the second
    in a row means roll back. A terrible second means that at once. Exit code 0: advance. 11: pause. 10: roll back.
    """
    from go_cache_safeguard.flows.golden import ask_gate, limits_of
    from go_cache_safeguard.signals.gate import together

    session = common.session()
    screen = common.screen(session)
    lengths = {"baseline_s": seconds(baseline, "--baseline"), "since_s": seconds(since, "--since")}
    suspect = _suspecting(session, operation, **lengths) if operation else None
    rulings: Mapping[str, Ruling] = {}
    for rulings in ask_gate(
        source_for(session, source),
        service,
        limits_of(session.config, source),
        **lengths,
        looks=looks,
        every_s=seconds(every, "--every"),
        suspect=suspect,
    ):
        if not screen.as_json:
            for name, ruling in rulings.items():
                screen.line(f"{_WORDS[ruling.verdict.name]:<10} {name}: {'; '.join(ruling.reasons)}")
    whole = together(rulings)
    if screen.as_json:
        told = {name: _ruling(ruling) for name, ruling in rulings.items()}
        screen.document("signals-gate", 1, {**_ruling(whole), "services": told})
    raise typer.Exit(_EXIT[whole.verdict.name])


def _suspecting(session: "Session", op: str, *, baseline_s: int, since_s: int) -> "Callable[[], Mapping[str, str]]":
    need_extra("sklearn", command="signals gate --operation", extra="signals")
    need_extra("go_cache_safeguard.flows.traces", command="signals gate --operation", extra="signals")
    from go_cache_safeguard.flows.anomalies import suspected

    return lambda: suspected(session, op, since_s, baseline_s)


_WORDS = {"ADVANCE": "advance", "PAUSE": "pause", "ROLL_BACK": "roll back"}


def _ruling(ruling: "Ruling") -> dict[str, Any]:
    return {
        "verdict": ruling.verdict.name.lower(),
        "reasons": list(ruling.reasons),
        "breached": ruling.breached,
        "looks": ruling.looks.taken,
        "strikes": ruling.looks.strikes,
    }


def source_for(session: "Session", given: str) -> "Source":
    """The source that somebody named, or else the settings."""
    from go_cache_safeguard.flows.golden import PrometheusSource, source_of

    found = source_of(session.config, given)
    if isinstance(found, PrometheusSource):
        need_extra("httpx", command="signals", extra="signals")
    return found


def seconds(text: str, option: str) -> int:
    """A length of time that somebody gave for an option."""
    try:
        length_s = parse_duration(text)
    except ValueError as error:
        raise UsageFailure(f"{option}: {error}") from error
    if not length_s:
        raise UsageFailure(f"{option}: {text} is no length of time")
    return length_s


def value_of(one: "Golden") -> dict[str, Any]:
    """Signals as JSON; what is not known is null."""
    return {
        "service": one.service,
        "start_ns": one.start_ns,
        "end_ns": one.end_ns,
        "requests": one.requests,
        "errors": one.errors,
        "error_rate": _known(one.error_rate),
        "p95_ms": _known(one.p95_ms),
        "traffic": _known(one.traffic),
        "saturation": None if one.saturation is None else _known(one.saturation),
        "newest_ns": one.newest_ns,
        "failing": list(one.failing),
        "doubt": one.doubt,
    }


def _known(value: float) -> float | None:
    return None if isnan(value) else value


def print_golden(screen: "Screen", found: list["Golden"]) -> None:
    """A row for each service, and its newest failing traces below."""
    columns = ("service", "errors", "p95", "traffic", "saturation", "newest", "")
    screen.table(columns, [_row(one) for one in found], right=(1, 2, 3, 4))
    for one in found:
        for trace in one.failing:
            screen.line(f"failing: {one.service} {trace}")


def _row(one: "Golden") -> tuple[str, ...]:
    age = "" if one.newest_ns is None else f"{format_duration((one.end_ns - one.newest_ns) / 1e9)} ago"
    return (
        one.service,
        "?" if isnan(one.error_rate) else f"{one.error_rate:.2%}",
        "?" if isnan(one.p95_ms) else f"{one.p95_ms:.4g} ms",
        f"{one.traffic:.3g}/s",
        "?" if one.saturation is None or isnan(one.saturation) else f"{one.saturation:.0%}",
        age,
        one.doubt,
    )
