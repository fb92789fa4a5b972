"""`mod`: what lies in the module cache.

Knows:     how findings in modules are shown, and which exit code they mean.
Called by: `cli.app`.
Never:     changes a module cache, go.mod or go.sum.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from go_cache_safeguard.cli import options
from go_cache_safeguard.cli.doctor import exit_code
from go_cache_safeguard.core.errors import UsageFailure

if TYPE_CHECKING:
    from go_cache_safeguard.flows.modules import Report

app = typer.Typer(help="Modules: what was downloaded, and whether it is still that.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Modules: what was downloaded, and whether it is still that."""


@app.command()
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
            help="With --whole-cache: a module whose go.sum binds what it names. Repeatable.",
        ),
    ] = None,
    modcache: Annotated[
        Path | None,
        typer.Option("--modcache", metavar="DIR", help="The module cache; default: what `go env GOMODCACHE` says."),
    ] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """Hash every zip and every extracted tree, and compare them with go.sum and with what was downloaded.

    `go mod verify` never compares with go.sum; what it says is shown beside. Nothing is fetched, nothing is changed.
    """
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.modules import verify_cache, verify_module

    if whole_cache and directory is not None:
        raise UsageFailure(
            "--whole-cache looks at all modules; a directory means one of them", hint="use --against DIR"
        )
    if against and not whole_cache:
        raise UsageFailure(
            "--against needs --whole-cache", hint="one module is named without any option: mod verify DIR"
        )
    session = options.session(settings=settings, state_dir=state_dir, quiet=quiet, json=json)
    place = None if modcache is None else session.cwd / modcache
    report = (
        verify_cache(session, against or [], place)
        if whole_cache
        else verify_module(session, directory or session.cwd, place)
    )
    screen = Screen(as_json=json, color=session.config.choice("output.color"))
    if json:
        screen.document("mod-verify", 1, _value(report))
    else:
        for verdict in report.verdicts:
            screen.verdict(verdict)
    raise typer.Exit(exit_code(list(report.verdicts)))


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
        },
        "findings": [finding.as_value() for finding in report.findings],
        "notes": list(report.notes),
        "verdicts": [verdict.as_value() for verdict in report.verdicts],
    }
