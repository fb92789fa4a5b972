"""`signals board`: how services do, in the terminal, in the README of each, and kept true by an Alertmanager's hints.

Knows:     its arguments, and how boards are shown.
Called by: `cli.signals`.
Never:     judges or commits: `signals.board` and `flows.board` do.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from go_cache_safeguard.cli import options
from go_cache_safeguard.cli.signals_golden import From, print_golden, source_for, value_of
from go_cache_safeguard.core.errors import ExitCode, UsageFailure

if TYPE_CHECKING:
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.board import Board, Kept
    from go_cache_safeguard.flows.session import Session

_STYLES = {"green": "green", "red": "bold red", "unknown": "magenta"}
_EXIT = {"green": ExitCode.DONE, "unknown": ExitCode.COULD_NOT_TELL, "red": ExitCode.BLOCKED}


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(board)


@options.grouped
def board(
    services: Annotated[
        list[str] | None, typer.Argument(metavar="SERVICE", help="Default: all of signals.board.")
    ] = None,
    *,
    write: Annotated[
        bool, typer.Option("--write", help="Commit the board of each service whose state changed, and tell Slack.")
    ] = False,
    serve_hook: Annotated[
        bool,
        typer.Option("--serve-hook", help="Keep all boards true until stopped; an Alertmanager may say when to look."),
    ] = False,
    source: From = "",
    common: options.Common,
) -> None:
    """Show which services are red: above their error rate. With --write, in the README of their repository, too.

    Exit code 0: all are green. 10: one is red. 13: of one nothing is known, or its board could not be kept.
    """
    from go_cache_safeguard.flows.board import Board, Kept

    session = common.session()
    found = Board(session.config, source_for(session, source), session.progress.say)
    if not found.places:
        raise UsageFailure("no service has a board", hint="signals.board names them; see docs/signals.md")
    if unknown := set(services or ()) - set(found.places):
        raise UsageFailure(f"signals.board does not name {', '.join(sorted(unknown))}")
    if serve_hook:
        _serve(session, found)
        return
    kept = found.keep(services or ()) if write else [Kept(panel) for panel in found.panels(services or ())]
    _show(common.screen(session), kept)
    states = {one.panel.state.value for one in kept} | {"unknown" for one in kept if one.trouble}
    raise typer.Exit(next(_EXIT[state] for state in ("red", "unknown", "green") if state in states))


def _serve(session: "Session", found: "Board") -> None:
    from go_cache_safeguard.flows.board_hook import PATH, hooked
    from go_cache_safeguard.flows.interrupt import stoppable

    with stoppable(session.progress.say) as stopped, hooked(session.config, found) as where:
        session.progress.say(f"listening at {where}{PATH}")
        found.run(stopped)


def _show(screen: "Screen", kept: "list[Kept]") -> None:
    if screen.as_json:
        told = [
            {
                **value_of(one.panel.golden),
                "state": str(one.panel.state),
                "red_above": one.panel.red,
                "why": one.panel.why,
                "links": [link for _, link in one.panel.links if link],
                "commit": one.commit,
                "trouble": one.trouble,
            }
            for one in kept
        ]
        screen.document("signals-board", 1, {"services": told})
        return
    for one in kept:
        more = " - ".join(
            text for text in (one.commit and f"committed {one.commit[:12]}", one.panel.why, one.trouble) if text
        )
        screen.line(f"{one.panel.state:<8} {one.panel.golden.service}  {more}".rstrip(), _STYLES[one.panel.state])
    print_golden(screen, [one.panel.golden for one in kept])
    for one in kept:
        for _, link in one.panel.links:
            if link:
                screen.line(link)
