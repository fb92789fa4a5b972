"""`traces edge` and `traces edge-ingest`: spans of gateways, by way of a broker of MQTT.

Knows:     the options of both, and how what came is told.
Called by: `cli.traces`.
Never:     takes a password as an option, where every process can read it.
"""

import json as json_module
import sys
from pathlib import Path
from typing import Annotated

import typer

from go_cache_safeguard.cli import options
from go_cache_safeguard.cli.extra import need_extra


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("edge")(edge)
    app.command("edge-ingest")(edge_ingest)


@options.grouped
def edge(
    *,
    output: Annotated[bool, typer.Option("--print", help="Write the publisher to stdout, one file of Python.")] = False,
    common: options.Common,
) -> None:
    """The publisher of spans for gateways: one file that needs nothing but Python 3.11, to be copied there."""
    from go_cache_safeguard import signals

    file = Path(signals.__file__).with_name("edge.py")
    if output:
        sys.stdout.write(file.read_text("utf-8"))
    elif common.json:
        typer.echo(json_module.dumps({"schema": "go-cache-safeguard/traces-edge/1", "file": str(file)}))
    else:
        typer.echo(str(file))


@options.grouped
def edge_ingest(
    *,
    broker: Annotated[
        str,
        typer.Option(
            "--broker",
            metavar="URL",
            help="mqtt[s]://[USER@]HOST[:PORT]; a password is read from GO_CACHE_SAFEGUARD_MQTT_PASSWORD.",
        ),
    ],
    topic: Annotated[
        str, typer.Option("--topic", metavar="FILTER", help="Which messages; a level `{tenant}` says whose they are.")
    ] = "traces/#",
    otlp: Annotated[
        str, typer.Option("--otlp", metavar="URL", help="Send spans on to this URL by OTLP, and keep none here.")
    ] = "",
    name: Annotated[
        str,
        typer.Option("--name", metavar="NAME", help="Of the session that the broker keeps; one process for each name."),
    ] = "go-cache-safeguard",
    ca: Annotated[
        Path | None,
        typer.Option(
            "--ca",
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="Who signed the broker's certificate; else who this machine trusts.",
        ),
    ] = None,
    common: options.Common,
) -> None:
    """Take spans of gateways from a broker of MQTT until SIGTERM or Ctrl-C.

    They are redacted and kept as those of `traces receive`, or sent on; only then the broker is told that they have arrived.
    """
    need_extra("go_cache_safeguard.flows.edge_ingest", command="traces edge-ingest", extra="signals")
    from go_cache_safeguard.flows.edge_ingest import Asked, run_ingest
    from go_cache_safeguard.signals.broker import parse_broker, parse_topics

    asked = Asked(parse_broker(broker), parse_topics(topic), name, str(ca or ""), otlp)

    def ready() -> None:
        if common.json:
            typer.echo(json_module.dumps({"schema": "go-cache-safeguard/traces-edge-ingest/1", "taking": topic}))
        else:
            typer.echo(f"taking {topic} from {asked.broker.host}:{asked.broker.port}")

    came = run_ingest(common.session(), asked, ready)
    if not common.quiet:
        said = f"{came.spans:,} spans of {came.messages:,} messages kept, {came.twice:,} messages came twice, {came.unusable:,} unusable messages, {came.rejected:,} unusable spans"
        typer.echo(said, err=True)
