"""`stale`: what would be compiled again, and why.

Knows:     how the report is shown as a table, as JSON and as CSV.
Called by: `cli.app`.
Never:     compiles anything.
Source:    CSV: RFC 4180.
"""

import sys
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from go_cache_safeguard.cli import options
from go_cache_safeguard.core.errors import ExitCode, UsageFailure

if TYPE_CHECKING:
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.stale import Report
    from go_cache_safeguard.gotool.stale import Row


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(stale)


def stale(
    *,
    packages: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PACKAGES]...", help="As for `go build`; default: the whole module or workspace here."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Packages that come from the cache, too, and all of the standard library.")
    ] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values with a line of names.")] = False,
    gocache: options.GoCache = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """Tell what a build would compile again now, and why: in go's words and in ours. Nothing is built or changed.

    A first cause is told from its cascade: a package that is compiled only because one that it needs is may be spared.
    """
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.stale import report_stale
    from go_cache_safeguard.gotool.stale import State

    if csv and json:
        raise UsageFailure("--csv and --json exclude each other")
    session = options.session(settings=settings, state_dir=state_dir, quiet=quiet, json=json or csv)
    report = report_stale(session, session.gocache(gocache), packages or [])
    rows = [row for row in report.rows if everything or _is_worth_showing(row)]
    screen = Screen(as_json=json or csv, color=session.config.choice("output.color"))
    if csv:
        _print_csv(rows)
    elif json:
        screen.document("stale", 1, _value(report, rows))
    else:
        _print(screen, report, rows)
    if any(row.state is State.UNKNOWN for row in report.rows):
        raise typer.Exit(ExitCode.COULD_NOT_TELL)


def _is_worth_showing(row: "Row") -> bool:
    from go_cache_safeguard.gotool.stale import State

    return row.rebuilt or row.state in {State.UNKNOWN, State.LINK} or (row.go_stale and not row.standard)


def _print_csv(rows: "list[Row]") -> None:
    import csv

    from go_cache_safeguard.gotool.stale import COLUMNS

    writer = csv.writer(sys.stdout, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    writer.writerows(row.as_cells() for row in rows)


def _print_table(screen: "Screen", rows: "list[Row]") -> None:
    """A line for each package; long reasons wrap rather than being cut off."""
    cells = [
        ("package", "state", "go says", "why"),
        *((row.package, str(row.state), row.go_reason, row.why) for row in rows),
    ]
    widths = [min(max(len(cell[at]) for cell in cells), 60) for at in range(3)]
    for at, cell in enumerate(cells):
        columns = [text.ljust(width) for text, width in zip(cell, widths, strict=False)]
        screen.line("   ".join((*columns, cell[3])).rstrip(), style="dim" if not at else "")
    screen.line()


def _value(report: "Report", rows: "list[Row]") -> dict[str, object]:
    return {
        "gocache": str(report.gocache),
        "toolchain": report.toolchain,
        "patterns": list(report.patterns),
        "totals": {"packages": len(report.rows), **_totals(report)},
        "notes": list(report.notes),
        "packages": [row.as_value() for row in rows],
    }


def _totals(report: "Report") -> dict[str, int]:
    from go_cache_safeguard.gotool.stale import State

    counted = Counter(row.state for row in report.rows)
    return {str(state): counted[state] for state in State}


def _print(screen: "Screen", report: "Report", rows: "list[Row]") -> None:
    from go_cache_safeguard.gotool.stale import MEANING, REASONS, meaning_of

    if rows:
        _print_table(screen, rows)
    said = {row.go_reason.partition(":")[0] for row in rows if row.go_reason}
    for reason in sorted(said & REASONS.keys()):
        screen.line(f"`{reason}`: {meaning_of(reason)}", style="dim")
    states = Counter(row.state for row in report.rows)
    for state, meaning in MEANING.items():
        if states[state]:
            screen.line(f"{states[state]:>6} {state}: {meaning}")
    screen.line(f"{len(report.rows):>6} packages, {report.toolchain}, {report.gocache}")
    for note in report.notes:
        screen.line(f"note: {note}")
