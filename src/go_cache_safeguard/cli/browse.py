"""`browse`: walk through the cache in the terminal, mark, and leave with a plan.

Knows:     how marks become a plan file.
Called by: `cli.app`.
Never:     touches the cache.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from go_cache_safeguard.cli import options
from go_cache_safeguard.core.errors import UsageFailure
from go_cache_safeguard.core.size import format_size

if TYPE_CHECKING:
    from go_cache_safeguard.cli.browser import Browser
    from go_cache_safeguard.flows.xray import XRay


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(browse)


def browse(
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where a plan of the marks is written; a new file."),
    ] = None,
    gocache: options.GoCache = None,
    quiet: options.Quiet = False,
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """Walk through the cache by project, package, kind, toolchain, target, flags or age; mark parts, and plan their removal.

    Nothing is removed: `clean PLAN` does what the plan says, asks first, and can be undone. Needs the extra `tui`.
    """
    from go_cache_safeguard.cli.extra import need_extra
    from go_cache_safeguard.cli.look import existing
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.plan import plan_of, write_plan
    from go_cache_safeguard.flows.xray import see
    from go_cache_safeguard.gocache.walk import items_of
    from go_cache_safeguard.tree.root import open_root

    need_extra("go_cache_safeguard.cli.browser", command="browse", extra="tui")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageFailure("browse needs a terminal", hint="`status --by project --top 30` prints the same")
    if output is not None and output.exists():
        raise UsageFailure(f"{output} is there already", not_done="nothing was written", hint="name a new file")
    session = options.session(settings=settings, state_dir=state_dir, quiet=quiet)
    path = existing(session, gocache)
    seen = see(session, path, installed=frozenset())
    app = browser_of(seen, str(path))
    if not app.run():
        return
    items = items_of(seen.inventory, app.grid.marks)
    with open_root(path, identity=seen.inventory.identity) as root:
        made = plan_of(session, root, items, ("browse",), seen.inventory.size)
    screen = Screen(as_json=False, color=session.config.choice("output.color"))
    where = output or Path(f"plan-{made.digest[:8]}.json")
    write_plan(made, where)
    screen.line(f"{len(made.items):,} files, {format_size(made.total)}, written to {where}")
    screen.line(f"go-cache-safeguard clean {where}   does exactly that, asks first, and can be undone")


def browser_of(seen: "XRay", title: str) -> "Browser":
    """The browser of a cache that was just looked at."""
    from go_cache_safeguard.cli.browser import Browser
    from go_cache_safeguard.gocache.walk import ORDER, Grid
    from go_cache_safeguard.gocache.xray import namer

    namers = {facet: namer(facet, now_ns=seen.now_ns, projects=seen.projects) for facet in ORDER}
    grid = Grid(tuple(seen.inventory.outputs.values()), namers)
    return Browser(grid, title=title, size=sum(output.size for output in grid.outputs))
