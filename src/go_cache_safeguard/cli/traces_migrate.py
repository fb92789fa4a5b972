"""`traces migrate-check` and `traces migrate`: instrumentation by hand, found and rewritten.

Knows:     their arguments, and how findings are shown.
Called by: `cli.traces`.
Never:     writes source code without `--write`.
"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from go_cache_safeguard.cli import options
from go_cache_safeguard.cli.extra import need_extra
from go_cache_safeguard.core.errors import ExitCode, UsageFailure

if TYPE_CHECKING:
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.debt import Checked

Paths = Annotated[
    list[Path] | None, typer.Argument(metavar="[PATH]...", help="Files and directories; default: the one here.")
]
Vendor = Annotated[bool, typer.Option("--vendor", help="Also look into directories called vendor.")]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("migrate-check")(migrate_check)
    app.command()(migrate)


@options.grouped
def migrate_check(
    paths: Paths = None,
    *,
    baseline: Annotated[
        Path | None, typer.Option("--baseline", metavar="FILE", help="What is known already and no news.")
    ] = None,
    write_baseline: Annotated[
        bool, typer.Option("--write-baseline", help="Write what is there now to the --baseline file.")
    ] = False,
    forbid: Annotated[
        str,
        typer.Option(
            "--forbid",
            metavar="opentracing|manual|all",
            help="What is debt: OpenTracing, spans made by hand with OpenTelemetry, or both.",
        ),
    ] = "opentracing",
    sarif: Annotated[
        Path | None, typer.Option("--sarif", metavar="FILE", help="Also write SARIF 2.1.0, for code scanning.")
    ] = None,
    vendor: Vendor = False,
    common: options.Common,
) -> None:
    """Find instrumentation by hand in Java, Go and Python. OpenTracing and OpenTelemetry are told apart; comments and texts do not count.

    Exit code 0: nothing that the baseline does not know; 10: something new; 13: a file could not be read or understood.
    """
    need_extra("go_cache_safeguard.flows.debt", command="traces migrate-check", extra="debt")
    from go_cache_safeguard.debt.finding import Forbid
    from go_cache_safeguard.flows import debt

    if forbid not in set(Forbid):
        raise UsageFailure(f"--forbid is opentracing, manual or all, not {forbid!r}", not_done="nothing was looked at")
    if write_baseline and baseline is None:
        raise UsageFailure("--write-baseline needs the file's name in --baseline", not_done="nothing was looked at")
    session = common.session()
    known = None if write_baseline else baseline
    checked = debt.check(session, paths or [], forbid=Forbid(forbid), baseline=known, vendor=vendor)
    if write_baseline and baseline is not None:
        debt.write_baseline(baseline, checked.findings)
    if sarif is not None:
        debt.write_sarif(sarif, checked)
    _show(common.screen(session), checked, written=write_baseline)
    if checked.new and not write_baseline:
        raise typer.Exit(ExitCode.BLOCKED)
    if checked.unknown:
        raise typer.Exit(ExitCode.COULD_NOT_TELL)


@options.grouped
def migrate(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Python files, or directories of them.")],
    *,
    write: Annotated[
        bool, typer.Option("--write/--dry-run", help="Write the files, or only show what would change (default).")
    ] = False,
    vendor: Vendor = False,
    common: options.Common,
) -> None:
    """Rewrite Python from OpenTracing to OpenTelemetry, where it means the same; a file is rewritten as a whole or not at all.

    Exit code 0: nothing stands in the way; 10: something does, and is named; 13: a file could not be read, understood or written.
    """
    need_extra("go_cache_safeguard.flows.debt_rewrite", command="traces migrate", extra="debt")
    from go_cache_safeguard.flows.debt_rewrite import rewrite_files

    session = common.session()
    changes = rewrite_files(session, paths, write=write, vendor=vendor)
    screen = common.screen(session)
    if common.json:
        screen.document("traces-migrate", 1, {"files": [asdict(one) for one in changes]})
    else:
        for one in changes:
            if one.diff:
                screen.line(one.diff.rstrip("\n"))
            for remark in one.left:
                screen.line(f"{one.file}:{remark.line}: left: {remark.why}", "yellow")
            for remark in one.notes:
                screen.line(f"{one.file}:{remark.line}: look at it: {remark.why}")
            if one.problem:
                screen.line(f"{one.file}: UNKNOWN: {one.problem}", "yellow")
        changed = sum(bool(one.diff) and not one.problem for one in changes)
        told = "rewritten" if write else "would be rewritten"
        screen.line(f"{changed:,} files {told}, {sum(bool(one.left) for one in changes):,} left")
    if any(one.problem for one in changes):
        raise typer.Exit(ExitCode.COULD_NOT_TELL)
    if any(one.left for one in changes):
        raise typer.Exit(ExitCode.BLOCKED)


def _show(screen: "Screen", checked: "Checked", *, written: bool) -> None:
    if screen.as_json:
        fresh = set(map(id, checked.new))
        rows = [{**one.as_value(), "new": id(one) in fresh} for one in checked.findings]
        screen.document(
            "traces-migrate-check", 1, {"files": checked.files, "findings": rows, "unknown": dict(checked.unknown)}
        )
        return
    if checked.new and not written:
        screen.table(
            ("place", "api", "kind", "symbol"),
            [(f"{one.file}:{one.line}:{one.column}", one.api, one.kind, one.symbol) for one in checked.new],
        )
    for file, why in checked.unknown.items():
        screen.line(f"{file}: UNKNOWN: {why}", "yellow")
    known = len(checked.findings) - len(checked.new)
    told = (
        f"{len(checked.findings):,} written to the baseline"
        if written
        else f"{len(checked.new):,} new, {known:,} known"
    )
    screen.line(f"{checked.files:,} files, {told}, {len(checked.unknown):,} unknown")
