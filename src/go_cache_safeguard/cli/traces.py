"""The group `traces`: receive, query and show what services tell about their requests, configure what else does, and find what makes spans by hand.

Knows:     which files add commands to the group.
Called by: `cli.app`.
Never:     does anything itself.
"""

import typer

from go_cache_safeguard.cli import traces_collector, traces_edge, traces_migrate, traces_receive, traces_show

app = typer.Typer(help="Traces of the services that depend on a cache: receive, query, show.", no_args_is_help=True)
for part in (traces_receive, traces_show, traces_collector, traces_edge, traces_migrate):
    part.register(app)
