"""`doctor`: would everything work here?

Knows:     how the answers are shown, and which exit code they mean.
Called by: `cli.app`.
Never:     repairs anything.
"""

import typer

from go_cache_safeguard.cli import options
from go_cache_safeguard.core.errors import ExitCode
from go_cache_safeguard.core.verdict import Outcome, Verdict, worst

_EXIT = {Outcome.BLOCK: ExitCode.BLOCKED, Outcome.UNKNOWN: ExitCode.COULD_NOT_TELL}


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(doctor)


def exit_code(verdicts: list[Verdict]) -> ExitCode:
    """What a list of verdicts means to a script."""
    return _EXIT.get(worst(verdicts), ExitCode.DONE)


def doctor(
    *,
    gocache: options.GoCache = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """Look at go, cache, state and journal, and say what would stop this program."""
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.doctor import examine

    session = options.session(settings=settings, state_dir=state_dir, quiet=quiet, json=json)
    verdicts = examine(session, gocache)
    screen = Screen(as_json=json, color=session.config.choice("output.color"))
    if json:
        screen.document("doctor", 1, {"verdicts": [verdict.as_value() for verdict in verdicts]})
    else:
        for verdict in verdicts:
            screen.verdict(verdict)
    raise typer.Exit(exit_code(verdicts))
