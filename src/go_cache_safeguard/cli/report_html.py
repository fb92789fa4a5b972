"""`report`: a cache as one page for a browser.

Knows:     where the page goes, and which pieces have a section in it.
Called by: `cli.app`.
Never:     changes a cache, or writes over a file.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from go_cache_safeguard.cli import options

if TYPE_CHECKING:
    from go_cache_safeguard.flows.html_report import Section
    from go_cache_safeguard.flows.session import Session

Html = Annotated[
    Path,
    typer.Option("--html", metavar="FILE", help="The file to make; it must not be there yet. `-` prints it."),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(report)


def report(
    *,
    html: Html,
    graph: Annotated[
        bool, typer.Option("--graph/--no-graph", help="In a module, also the graph of its packages; see `graph`.")
    ] = True,
    gocache: options.GoCache = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """Show a build cache as one page for a browser: a treemap by any side, and tables. The page loads nothing from anywhere."""
    from go_cache_safeguard.cli.look import existing, installed_here
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.core.size import format_size
    from go_cache_safeguard.flows.html_report import render, write_report
    from go_cache_safeguard.flows.inspect import go_version
    from go_cache_safeguard.flows.session import host_name
    from go_cache_safeguard.flows.xray import see

    session = options.session(settings=settings, state_dir=state_dir, quiet=quiet, json=json)
    path = existing(session, gocache)
    seen = see(session, path, installed=installed_here(session))
    sections = _sections(session, path) if graph else ()
    text = render(seen, go=go_version(session), host=host_name(), sections=sections)
    if str(html) == "-":
        sys.stdout.write(text)
        return
    page = session.cwd / html
    write_report(page, text)
    screen = Screen(as_json=json, color=session.config.choice("output.color"))
    if json:
        screen.document("report", 1, {"html": str(page), "bytes": len(text.encode("utf-8"))})
    else:
        screen.line(f"{page}: {format_size(len(text.encode('utf-8')))}")


def _sections(session: "Session", gocache: Path) -> "Sequence[Section]":
    """What other pieces add."""
    from go_cache_safeguard.flows.graph_section import sections_here

    return sections_here(session, gocache)
