"""The group `signals`: what the traces and counts of services say about a cache.

Knows:     which files add commands to the group.
Called by: `cli.app`.
Never:     does anything itself.
"""

import typer

from go_cache_safeguard.cli import signals_anomalies, signals_board, signals_golden, signals_rootcause

app = typer.Typer(
    help="What services that depend on a cache say: golden signals, a gate, causes.", no_args_is_help=True
)
for part in (signals_golden, signals_board, signals_rootcause, signals_anomalies):
    part.register(app)
