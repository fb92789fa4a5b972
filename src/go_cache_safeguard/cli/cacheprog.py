"""`cacheprog`: what the go command starts when GOCACHEPROG names it.

Knows:     the options, for `--help` and for whoever types them wrongly.
Called by: `cli.app`; in a build `__main__` goes to `flows.cacheprog_start` at once, which reads the same options.
Never:     says anything on stdout: that belongs to the protocol.
"""

import sys
from typing import Annotated

import typer

from go_cache_safeguard.cli import options


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(cacheprog)


def cacheprog(
    *,
    gocache: Annotated[
        str | None, typer.Option("--gocache", metavar="DIR", help="The build cache; default: what go tells us.")
    ] = None,
    remote: Annotated[
        str | None,
        typer.Option("--remote", metavar="PLACE", help="Second level: redis://..., s3://..., or a folder. No secrets."),
    ] = None,
    namespace: Annotated[
        str | None, typer.Option("--namespace", metavar="NAME", help="Which part of the second level.")
    ] = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Write into no cache: neither this machine's nor the second level.")
    ] = False,
    no_upload: Annotated[bool, typer.Option("--no-upload", help="Send nothing to the second level.")] = False,
    verify: Annotated[
        str | None,
        typer.Option("--verify", metavar="marks|always", help="When contents of this machine's cache are hashed."),
    ] = None,
    summary: Annotated[bool, typer.Option("--summary", help="Say on stderr what happened, when a build ends.")] = False,
    summary_file: Annotated[
        str | None, typer.Option("--summary-file", metavar="FILE", help="Append a line of JSON for each build.")
    ] = None,
    metrics: Annotated[
        str | None, typer.Option("--metrics", metavar="FILE", help="Count in a textfile of node_exporter.")
    ] = None,
    command: Annotated[
        bool,
        typer.Option(
            "--command", help="Only print what GOCACHEPROG should be to start with these options in half the time."
        ),
    ] = False,
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """Serve the Go build cache to the go command (1.24 or newer), proved before it is used, with an optional second level.

    Not to be typed: `export GOCACHEPROG="go-cache-safeguard cacheprog"`, then build as ever. See docs/cacheprog.md.
    """
    from go_cache_safeguard.core.errors import UsageFailure
    from go_cache_safeguard.flows.cacheprog_start import start

    named = {
        "--gocache": gocache,
        "--remote": remote,
        "--namespace": namespace,
        "--verify": verify,
        "--summary-file": summary_file,
        "--metrics": metrics,
        "--state-dir": state_dir,
    }
    flags = {"--read-only": read_only, "--no-upload": no_upload, "--summary": summary}
    words = [word for name, value in named.items() if value is not None for word in (name, value)]
    words += [name for name, given in flags.items() if given]
    words += [word for text in settings or [] for word in ("--set", text)]
    if command:
        from go_cache_safeguard.flows.cacheprog_command import command_line

        typer.echo(command_line(words))
        return
    if sys.stdin.isatty():
        raise UsageFailure(
            "this is started by the go command, not by hand",
            not_done="nothing was served",
            hint='export GOCACHEPROG="go-cache-safeguard cacheprog", then build as ever',
        )
    if start(words) is None:
        raise UsageFailure("a --set is not KEY=VALUE", not_done="nothing was served")
