"""`traces collector-config` and `traces sampling`: the rule file for a Collector, and for Jaeger.

Knows:     their arguments.
Called by: `cli.traces`.
Never:     starts anything, or writes over a file.
"""

from pathlib import Path
from typing import Annotated

import typer

from go_cache_safeguard.cli import options
from go_cache_safeguard.core.errors import UsageFailure

Rules = Annotated[Path, typer.Argument(metavar="RULES", help="The rule file; docs/signals/rules.yaml shows every key.")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it to a new file; default: print it.")
]
Level = Annotated[
    float,
    typer.Option(
        "--level", min=0, max=1, help="How generous adaptive rules are: 0 keeps their `least`, 1 their `most`."
    ),
]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("collector-config")(collector_config)
    app.command()(sampling)


@options.grouped
def collector_config(
    rules: Rules,
    *,
    tier: Annotated[
        str, typer.Option("--tier", metavar="one|two", help="`two` samples, also alone; `one` shares traces out to it.")
    ] = "two",
    to: Annotated[
        list[str] | None,
        typer.Option(
            "--next", metavar="HOST:PORT", help="With --tier one: a Collector of the second tier. Repeatable."
        ),
    ] = None,
    level: Level = 1.0,
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Where it listens for OTLP.")] = "127.0.0.1",
    jaeger: Annotated[
        str, typer.Option("--jaeger", metavar="URL", help="Gets traces, by OTLP over HTTP.")
    ] = "http://127.0.0.1:14318",
    loki: Annotated[
        str, typer.Option("--loki", metavar="URL", help="Gets logs, by OTLP below /otlp; default: no logs.")
    ] = "",
    prometheus: Annotated[
        str, typer.Option("--prometheus", metavar="HOST:PORT", help="Where metrics can be scraped.")
    ] = "127.0.0.1:8889",
    tenant: Annotated[
        list[str] | None,
        typer.Option("--tenant", metavar="NAME", help="A tenant whose traces go in requests of their own. Repeatable."),
    ] = None,
    validate: Annotated[
        Path | None, typer.Option("--validate", metavar="BINARY", help="Ask this Collector whether it understands it.")
    ] = None,
    output: Output = None,
    common: options.Common,
) -> None:
    """Compile a rule file into the configuration of an OpenTelemetry Collector that keeps the same traces and redacts the same."""
    from go_cache_safeguard.flows.collector import Wish, configuration
    from go_cache_safeguard.flows.collector import validate as ask
    from go_cache_safeguard.signals.collector import Places

    if tier not in {"one", "two"} or (tier == "one") != bool(to):
        raise UsageFailure(
            "--tier is `one`, with --next, or `two`, without",
            not_done="nothing was written",
            hint="see docs/collector.md",
        )
    places = Places(host, jaeger, loki, prometheus, tuple(to or ()), tuple(tenant or ()))
    text = configuration(Wish(rules, level, places))
    if validate is not None:
        ask(text, validate)
    _give(common, "traces-collector-config", text, output)


@options.grouped
def sampling(
    rules: Rules,
    *,
    service: Annotated[
        list[str] | None,
        typer.Option("--service", metavar="NAME", help="A service that rules name by `*` only. Repeatable."),
    ] = None,
    level: Level = 1.0,
    output: Output = None,
    common: options.Common,
) -> None:
    """Compile a rule file into Jaeger's remote sampling: what can be said of a trace before it has begun."""
    from go_cache_safeguard.flows.collector import sampling as compiled

    _give(common, "traces-sampling", compiled(rules, level, tuple(service or ())), output)


def _give(common: options.Common, schema: str, text: str, output: Path | None) -> None:
    """Write it to a file, or print it."""
    from go_cache_safeguard.flows.collector import write

    to_file = output is not None and str(output) != "-"
    if output is not None and to_file:
        write(output, text)
    if common.json:
        common.screen(common.session()).document(schema, 1, {"file": str(output) if to_file else None, "text": text})
    elif not to_file:
        typer.echo(text, nl=False)
