"""`mod drift`: do the dependencies agree with what was recorded?

Knows:     how a record and a comparison are shown, and which options go together.
Called by: `cli.mod`.
Never:     changes go.mod or go.sum; writes over a file that a person named unless told to.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from go_cache_safeguard.cli import options
from go_cache_safeguard.cli.doctor import exit_code
from go_cache_safeguard.core.errors import UsageFailure

if TYPE_CHECKING:
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.drift import Recorded, Report


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(drift)


def drift(
    *,
    directory: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="Inside a module or a workspace; default: here.")
    ] = None,
    record: Annotated[bool, typer.Option("--record", help="Write down the present state; compare nothing.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="With --record: write it here, so that it can be committed."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="With -o: write over an earlier state.")] = False,
    against: Annotated[
        Path | None,
        typer.Option("--against", metavar="FILE", help="Compare with this file instead of the state recorded last."),
    ] = None,
    updates: Annotated[
        bool, typer.Option("--updates", help="Ask for newer, retracted and deprecated versions too; goes online.")
    ] = False,
    simulate: Annotated[
        int,
        typer.Option(
            "--simulate",
            metavar="N",
            min=0,
            help="Try the first N newer versions on a copy, and say what each changes; goes online.",
        ),
    ] = 0,
    no_tidy: Annotated[
        bool, typer.Option("--no-tidy", help="Do not ask what `go mod tidy` would change; that needs every package.")
    ] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """Say what changed in build list, module graph, go.sum and tidiness since a state was recorded, and whom that touches.

    Go is asked on copies: nothing of the module is changed. It downloads what it needs, as far as GOPROXY allows.
    """
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.drift import Wish, check_drift, record_state

    if record and (against or updates or simulate):
        raise UsageFailure("--record compares nothing", hint="record first, then compare in a second run")
    if (output and not record) or (force and not output):
        raise UsageFailure(f"{'-o' if output else '--force'} needs {'--record' if output else '--record -o FILE'}")
    session = options.session(settings=settings, state_dir=state_dir, quiet=quiet, json=json)
    screen = Screen(as_json=json, color=session.config.choice("output.color"))
    place = directory or session.cwd
    if record:
        _tell_record(screen, record_state(session, place, output, tidy=not no_tidy, force=force))
        return
    wish = Wish(against=against, tidy=not no_tidy, updates=updates, simulate=simulate)
    report = check_drift(session, place, wish)
    if json:
        screen.document("mod-drift", 1, _value(report))
    else:
        for verdict in report.verdicts:
            screen.verdict(verdict)
    raise typer.Exit(exit_code(list(report.verdicts)))


def _tell_record(screen: "Screen", recorded: "Recorded") -> None:
    state = recorded.state
    if screen.as_json:
        screen.document(
            "mod-drift-record",
            1,
            {
                "path": str(recorded.path),
                "written": recorded.fresh,
                "modules": len(state.modules),
                "requirements": len(state.edges),
                "unknown": dict(state.unknown),
            },
        )
        return
    lines = sum(len(lines) for lines in state.sums.values())
    what = f"{len(state.modules)} modules, {len(state.edges)} requirements, {lines} lines of go.sum"
    screen.line(f"recorded: {what}" if recorded.fresh else f"unchanged since it was recorded: {what}")
    screen.line(f"in {recorded.path}")
    for part, why in state.unknown.items():
        screen.line(f"not known, and not recorded: {part}: {why}", style="yellow")


def _value(report: "Report") -> dict[str, object]:
    return {
        "root": str(report.root),
        "record": str(report.record),
        "recorded": report.recorded is not None,
        "modules": len(report.state.modules),
        "changes": [change.as_value() for change in report.changes],
        "not_compared": [{"part": gap.part, "reason": gap.reason, "when_recorded": gap.then} for gap in report.gaps],
        "touched": {
            module: [touch.as_value() for touch in touches] for module, touches in sorted(report.touches.items())
        },
        "updates": None if report.answers is None else [answer.as_value() for answer in report.answers],
        "simulated": [tried.as_value() for tried in report.simulated],
        "verdicts": [verdict.as_value() for verdict in report.verdicts],
    }
