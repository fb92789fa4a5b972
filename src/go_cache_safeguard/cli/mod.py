"""`mod`: what lies in the module cache.

Knows:     how findings in modules are shown, and which exit code they mean.
Called by: `cli.app`.
Never:     changes go.mod or go.sum, or a module cache, except `verify --repair` and `gc`, which go through the same door as `clean`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from go_cache_safeguard.cli import mod_drift, mod_gc, mod_register, options, plan_diff
from go_cache_safeguard.cli.doctor import exit_code
from go_cache_safeguard.core.errors import UsageFailure
from go_cache_safeguard.core.size import format_size

if TYPE_CHECKING:
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.modules import Report
    from go_cache_safeguard.flows.repair_modules import Repair
    from go_cache_safeguard.flows.session import Session

app = typer.Typer(help="Modules: what was downloaded, and whether it is still that.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Modules: what was downloaded, and whether it is still that."""


@app.command()
@options.grouped
def verify(
    *,
    directory: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="Inside a module or a workspace; default: here.")
    ] = None,
    whole_cache: Annotated[
        bool, typer.Option("--whole-cache", help="Every zip and tree in the module cache, instead of one build list.")
    ] = False,
    against: Annotated[
        list[Path] | None,
        typer.Option(
            "--against",
            metavar="DIR",
            help="With --whole-cache: a module whose go.sum binds what it names. Repeatable; default: see `mod registered`.",
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Read and hash everything again, whatever is remembered.")
    ] = False,
    go: Annotated[
        bool | None,
        typer.Option(
            "--go/--no-go",
            help="Show what the real `go mod verify` says, which hashes everything each time. [default: for one build list]",
        ),
    ] = None,
    modcache: Annotated[
        Path | None,
        typer.Option("--modcache", metavar="DIR", help="The module cache; default: what `go env GOMODCACHE` says."),
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Move what is damaged to quarantine, and say how it comes back.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --repair: only show what would go.")] = False,
    asking: options.Asking,
    common: options.Common,
) -> None:
    """Hash every zip and every extracted tree, and compare them with go.sum and with what was downloaded.

    `go mod verify` never compares with go.sum; what it says is shown beside. Nothing is fetched, nothing is changed. What was found
    sound before and has not changed since, by inode, size and times of every file, is not read again; --all reads everything.
    """
    from go_cache_safeguard.flows.modules import verify_cache, verify_module

    if whole_cache and directory is not None:
        raise UsageFailure(
            "--whole-cache looks at all modules; a directory means one of them", hint="use --against DIR"
        )
    if against and not whole_cache:
        raise UsageFailure(
            "--against needs --whole-cache", hint="one module is named without any option: mod verify DIR"
        )
    if dry_run and not repair:
        raise UsageFailure("--dry-run needs --repair", hint="without --repair nothing is ever changed")
    session = common.session(*asking.settings)
    place = None if modcache is None else session.cwd / modcache
    report = (
        verify_cache(session, against or None, place, everything=everything, go=bool(go))
        if whole_cache
        else verify_module(session, directory or session.cwd, place, everything=everything, go=go is not False)
    )
    screen = common.screen(session)
    if common.json:
        screen.document("mod-verify", 1, _value(report))
    else:
        for verdict in report.verdicts:
            screen.verdict(verdict)
    if repair:
        _repair(session, screen, report, asking, dry_run=dry_run)
        return
    raise typer.Exit(exit_code(list(report.verdicts)))


def _repair(session: "Session", screen: "Screen", report: "Report", asking: options.Asking, *, dry_run: bool) -> None:
    from go_cache_safeguard.cli.act import person_at, tell_receipt
    from go_cache_safeguard.flows.clean import How
    from go_cache_safeguard.flows.repair_modules import carry_out, plan_repair

    made = plan_repair(session, report)
    if not screen.as_json:
        _tell_plan(screen, made)
    else:
        screen.document("mod-repair", 1, _plan_value(made))
    if dry_run or not made.plan.items:
        return
    person = options.confirming(session, screen, person_at(screen), always=asking.confirm)
    tell_receipt(screen, carry_out(session, made, How(person, asking.confirm, asking.replaces or "")))
    if not screen.as_json:
        screen.line("how they come back, in the directory of a module that needs them:", "bold")
        for way in made.ways:
            screen.line(f"  {way}")


def _tell_plan(screen: "Screen", made: "Repair") -> None:
    if not made.plan.items:
        screen.line("nothing in the module cache to repair")
        return
    screen.heading("what goes to quarantine")
    rows = [(item.name, format_size(item.size), item.reason) for item in made.plan.items]
    screen.table(("name", "size", "why"), rows, right=(1,))
    screen.verdict(made.verdict)


def _plan_value(made: "Repair") -> dict[str, object]:
    return {
        "digest": made.plan.digest,
        "bytes": made.plan.total,
        "items": [{"name": item.name, "bytes": item.size, "reason": item.reason} for item in made.plan.items],
        "verdict": made.verdict.as_value(),
        "ways_back": list(made.ways),
    }


def _value(report: "Report") -> dict[str, object]:
    totals = report.totals
    return {
        "modcache": str(report.modcache),
        "scope": report.scope,
        "go_sum": list(report.sums),
        "totals": {
            "versions": totals.versions,
            "stored": totals.stored,
            "zips": totals.zips,
            "trees": totals.trees,
            "files": totals.files,
            "bytes": totals.size,
            "unpinned": totals.unpinned,
            "unchanged": totals.unchanged,
        },
        "findings": [finding.as_value() for finding in report.findings],
        "notes": list(report.notes),
        "verdicts": [verdict.as_value() for verdict in report.verdicts],
    }


mod_register.register(app)
mod_gc.register(app)
mod_drift.register(app)
plan_diff.register(app)
