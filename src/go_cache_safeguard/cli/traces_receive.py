"""`traces receive`: take spans by OTLP until somebody stops it.

Knows:     its options, and how its addresses are told.
Called by: `cli.traces`.
Never:     listens beyond this machine unless somebody says so.
"""

import json as json_module
from typing import TYPE_CHECKING, Annotated

import typer

from go_cache_safeguard.cli import options
from go_cache_safeguard.cli.extra import need_extra

if TYPE_CHECKING:
    from go_cache_safeguard.flows.receiver import Place

_HTTP, _GRPC = 4318, 4317


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(receive)


@options.grouped
def receive(
    *,
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Where to listen.")] = "127.0.0.1",
    http: Annotated[
        int, typer.Option("--http", metavar="PORT", min=0, max=65535, help="For OTLP over HTTP; 0 for any.")
    ] = _HTTP,
    grpc: Annotated[
        int, typer.Option("--grpc", metavar="PORT", min=0, max=65535, help="For OTLP over gRPC; 0 for any.")
    ] = _GRPC,
    common: options.Common,
) -> None:
    """Receive spans of services by OTLP, over HTTP and gRPC, until SIGTERM or Ctrl-C.

    They are redacted, kept on disk, and acknowledged then. Older ones move to Parquet, and go after `signals.keep`.
    """
    need_extra("go_cache_safeguard.flows.receiver", command="traces receive", extra="signals")
    from go_cache_safeguard.flows.receiver import Place, run_receiver

    session = common.session()

    def ready(place: "Place") -> None:
        if common.json:
            told = {"schema": "go-cache-safeguard/traces-receive/1", "http": place.http_url, "grpc": place.grpc_address}
            typer.echo(json_module.dumps(told))
        else:
            typer.echo(f"OTLP over HTTP: {place.http_url}\nOTLP over gRPC: {place.grpc_address}")

    tally = run_receiver(session, Place(host, http, grpc), ready)
    said = f"{tally.spans:,} spans kept of {tally.requests:,} requests, {tally.rejected:,} unusable spans, {tally.refused:,} requests refused"
    if not common.quiet:
        typer.echo(said, err=True)
