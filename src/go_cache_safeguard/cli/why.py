"""`why`: why packages or test results are not in the cache, and what changed.

Knows:     how causes, packages and proofs are shown as text and as JSON.
Called by: `cli.app`.
Never:     compiles or runs anything.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from go_cache_safeguard.cli import options
from go_cache_safeguard.core.errors import UsageFailure

if TYPE_CHECKING:
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.why import Report
    from go_cache_safeguard.gocache.why import Group

_MANY = 8


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(why)


def why(
    *,
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PACKAGES]... | test PACKAGES... | -- go build ...",
            help="Packages, tests of packages, or after `--` a whole go command; default: the module or workspace here.",
        ),
    ] = None,
    record: Annotated[bool, typer.Option("--record", help="Remember the keys of now, to compare with later.")] = False,
    against: Annotated[
        Path | None,
        typer.Option("--against", metavar="FILE", help="Compare with this record, of another machine, and no other."),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option("--export", metavar="FILE", help="Write the record of now to a file, for `--against`."),
    ] = None,
    no_baseline: Annotated[
        bool, typer.Option("--no-baseline", help="Compare with no record: look for old keys in the cache only.")
    ] = False,
    everything: Annotated[bool, typer.Option("--all", help="Name every package that a cause reaches.")] = False,
    gocache: options.GoCache = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """Tell why packages would be compiled, or tests be run, again: what changed in their keys, and where that began.

    A cause is `proved` if the old key is in the cache and differs by nothing else, a `recorded difference` if a run that was
    recorded had another input, or `not known`. Nothing is built or changed.
    """
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.runs import export_run, keep_run, read_run
    from go_cache_safeguard.flows.why import question_of, report_why

    if against is not None and no_baseline:
        raise UsageFailure("--against and --no-baseline exclude each other")
    session = options.session(settings=settings, state_dir=state_dir, quiet=quiet, json=json)
    other = None if against is None else read_run(session.cwd / against)
    question = question_of(what or [])
    report = report_why(session, session.gocache(gocache), question, against=other, remembered=not no_baseline)
    kept = keep_run(session, report.record) if record else 0
    written = 0 if export is None else export_run(report.record, session.cwd / export)
    screen = Screen(as_json=json, color=session.config.choice("output.color"))
    if json:
        screen.document("why", 1, {**_value(report), "recorded_bytes": kept, "exported_bytes": written})
        return
    _print(screen, report, everything=everything)
    if kept:
        screen.line(f"recorded: {len(report.record.keys)} keys in {kept} bytes")
    if written:
        screen.line(f"written: {export}, {written} bytes")


def _value(report: "Report") -> dict[str, object]:
    return {
        "gocache": str(report.gocache),
        "toolchain": report.toolchain,
        "project": str(report.project),
        "command": list(report.command),
        "totals": {
            "packages": report.packages,
            "found": report.found,
            "missed": report.packages - report.found,
        },
        "compared_with": [_when(at_ns) for at_ns in report.compared],
        "causes": [_cause(group) for group in report.groups],
        "packages": [
            {
                "step": row.name,
                "key": row.key.hex(),
                "state": str(row.state),
                "own": [first.text for first in row.own],
                "through": list(row.through),
                "begins": sorted(row.begins),
                "spared_if_unchanged": row.spared,
            }
            for row in report.rows
        ],
        "tests": [
            {
                "package": test.package,
                "state": test.state,
                "text": test.text,
                "looked_at": test.looked,
                "causes": [
                    {"cause": str(first.cause), "basis": str(first.basis), "text": first.text, "proof": first.key}
                    for first in test.own
                ],
                "begins": sorted(test.begins),
            }
            for test in report.tests
        ],
        "notes": list(report.notes),
    }


def _cause(group: "Group") -> dict[str, object]:
    first = group.first
    return {
        "cause": str(first.cause),
        "basis": str(first.basis),
        "text": first.text,
        "sign": first.sign,
        "changes": [change.as_value() for change in first.changes],
        "proof": first.key,
        "from": first.told,
        "begins_in": list(group.direct),
        "cascade": list(group.cascade),
        "missed": group.missed,
    }


def _when(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns / 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _print(screen: "Screen", report: "Report", *, everything: bool) -> None:
    for group in report.groups:
        _print_group(screen, group, everything=everything)
    for test in report.tests:
        screen.line(f"test {test.package}: {test.state}: {test.text}", style="" if test.state == "cached" else "bold")
        for sign in sorted(test.begins):
            screen.line(f"    because of: {sign}")
        for first in test.own:
            screen.line(f"    {first.basis}" + (f", key {first.key[:16]}" if first.key else ""), style="dim")
    missed = report.packages - report.found
    screen.line(f"{missed} of {report.packages} packages would be compiled, {report.toolchain}, {report.gocache}")
    spared = sum(row.spared for row in report.rows)
    if spared:
        screen.line(
            f"{spared} of them are in the cache for what they imported before: spared if that comes out as it was"
        )
    if report.compared:
        screen.line(f"compared with {len(report.compared)} recorded runs, the last of {_when(report.compared[0])}")
    elif missed:
        screen.line("no recorded run to compare with: `why --record` makes one")
    for note in report.notes:
        screen.line(f"note: {note}")


def _print_group(screen: "Screen", group: "Group", *, everything: bool) -> None:
    first = group.first
    screen.line(first.text, style="bold")
    proof = f"; key {first.key[:16]} of the cache differs by nothing else" if first.changes and first.key else ""
    told = f"; old text from {first.told}" if first.told else ""
    screen.line(f"    {first.basis}{proof}{told}", style="dim")
    screen.line(f"    begins in {_names(group.direct, everything=everything)}")
    if group.cascade:
        screen.line(f"    and reaches {len(group.cascade)} more: {_names(group.cascade, everything=everything)}")


def _names(names: tuple[str, ...], *, everything: bool) -> str:
    shown = [name.removeprefix("build ") for name in (names if everything else names[:_MANY])]
    more = f" and {len(names) - len(shown)} more" if len(shown) < len(names) else ""
    return f"{', '.join(shown)}{more}"
