"""`ci`: caches of CI jobs: carry them from job to job, and what is wrong with how they are kept.

Knows:     how parcels and findings are shown, findings also as SARIF.
Called by: `cli.app`.
Never:     changes a CI file.
Source:    SARIF 2.1.0, OASIS; the form of annotations: docs.github.com "Workflow commands".
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from go_cache_safeguard.cli import options
from go_cache_safeguard.core.errors import ExitCode
from go_cache_safeguard.core.size import format_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from go_cache_safeguard.core.canonical import Value
    from go_cache_safeguard.flows.ci_lint import Linted

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Caches in CI: carry only what a job used to the next, and find what is wrong with how they are kept."""


@app.command()
@options.grouped
def pack(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Where the parcel goes; a new directory.")
    ],
    *,
    command: Annotated[
        list[str] | None,
        typer.Option(
            "--command",
            metavar="ARGS",
            help='Instead of what was used since `ci unpack`: what `go ARGS` here would use, such as "test ./...". Repeatable.',
        ),
    ] = None,
    project: Annotated[
        Path | None, typer.Option("--project", metavar="DIR", help="Whose files keep their times; default: here.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option("--sign", metavar="KEY", help="Sign it with this private key; see `snapshot keygen`.")
    ] = None,
    gocache: options.GoCache = None,
    common: options.Common,
) -> None:
    """Pack only what this job used: at the end of a job, before the CI system saves its cache. Changes nothing."""
    import os
    import shlex

    from go_cache_safeguard.flows.ci_pack import pack as run

    session = common.session()
    commands = [tuple(shlex.split(text)) for text in command or []]
    where = Path(os.path.realpath(session.cwd / (project or "")))
    made = run(session, session.gocache(gocache), session.cwd / output, project=where, commands=commands, key=key)
    screen = common.screen(session)
    if common.json:
        screen.document("ci-pack", 1, made.as_value())
        return
    screen.line(f"{made.created.path.parent}: {made.entries:,} index entries, {made.outputs:,} outputs", "green")
    screen.line(
        f"  {format_size(made.size)}, {format_size(made.created.size)} packed; {format_size(made.left)} stay behind"
    )
    screen.line(f"  chosen: {made.how}")
    screen.line(f"  times of {made.files:,} files that tests read" + ("; signed" if made.created.signed else ""))


@app.command()
@options.grouped
def unpack(
    parcel: Annotated[Path, typer.Argument(metavar="DIR", help="What `ci pack` made.")],
    *,
    project: Annotated[
        Path | None, typer.Option("--project", metavar="DIR", help="Whose files get their times back; default: here.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option("--key", metavar="PUB", help="Demand that the owner of this public key signed it.")
    ] = None,
    gocache: options.GoCache = None,
    common: options.Common,
) -> None:
    """Put a parcel into the build cache: at the beginning of a job. What is there stays; a second time writes nothing.

    Go's own trim is held, entries count as unused until go uses them, and files with the same content as before get the time that
    stored test results know.
    """
    import os

    from go_cache_safeguard.flows.ci_pack import unpack as run

    session = common.session()
    where = Path(os.path.realpath(session.cwd / (project or "")))
    done = run(session, session.cwd / parcel, session.gocache(gocache), project=where, key=key)
    screen = common.screen(session)
    if common.json:
        screen.document("ci-unpack", 1, done.as_value())
    else:
        written = done.restored.written
        screen.line(f"{len(written.files):,} files, {format_size(written.size)} are in the cache now", "green")
        for name, why in written.failed[:10]:
            screen.line(f"  not written: {name}: {why}", "yellow")
        screen.line(
            f"  {done.times:,} files have the time that stored tests know; {done.other:,} are not there or another"
        )
    if not done.restored.whole:
        raise typer.Exit(ExitCode.RESTORE_FAILED)


@app.command()
@options.grouped
def lint(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILES]...", help="Files or repositories; default: the one here.")
    ] = None,
    *,
    sarif: Annotated[bool, typer.Option("--sarif", help="Print SARIF 2.1.0 on stdout, for code scanning.")] = False,
    annotate: Annotated[bool, typer.Option("--github", help="Print annotations for a GitHub job.")] = False,
    common: options.Common,
) -> None:
    """Find frozen keys, modules kept five times, entries of dead compilers and the like in GitHub and GitLab files.

    Exit code 10: something is wrong; 13: a file could not be read. Notes alone count as nothing wrong.
    """
    from go_cache_safeguard.flows.ci_lint import lint_files
    from go_cache_safeguard.gocache.cilint import RULES, Grade

    session = common.session()
    found = lint_files(files or [], session.cwd)
    screen = common.screen(session)
    if sarif:
        import json

        typer.echo(json.dumps(_sarif(found), indent=2))
    elif common.json:
        screen.document("ci-lint", 1, {"files": [_value(one) for one in found]})
    else:
        for one in found:
            if one.problem:
                screen.line(f"{one.path}: UNKNOWN: {one.problem}", "yellow")
            for finding in one.findings or ():
                rule = RULES[finding.rule]
                if annotate:
                    told = f"{rule.meaning}. Instead: {rule.instead}".replace("%", "%25")
                    word = "notice" if rule.grade is Grade.NOTE else rule.grade.value
                    screen.line(f"::{word} file={one.path},line={finding.line},title={rule.id}::{told}")
                    continue
                color = {"error": "bold red", "warning": "yellow"}.get(rule.grade.value, "")
                screen.line(f"{one.path}:{finding.line}: {rule.grade}: {rule.id} [{finding.job}]", color)
                screen.line(f"    {finding.text}")
                screen.line(f"    {rule.meaning}")
                screen.line(f"    instead: {rule.instead}")
        total = sum(len(one.findings or ()) for one in found)
        kept = sum(one.caches for one in found)
        screen.line(f"{len(found)} files, {kept} places that keep a Go cache, {total} findings")
    grades = {RULES[finding.rule].grade for one in found for finding in one.findings or ()}
    if grades & {Grade.ERROR, Grade.WARNING}:
        raise typer.Exit(ExitCode.BLOCKED)
    if any(one.problem for one in found):
        raise typer.Exit(ExitCode.COULD_NOT_TELL)


def _value(one: "Linted") -> "dict[str, Value]":
    from go_cache_safeguard.gocache.cilint import RULES

    rows: list[Value] = [
        {
            "rule": finding.rule,
            "grade": RULES[finding.rule].grade.value,
            "line": finding.line,
            "job": finding.job,
            "text": finding.text,
            "meaning": RULES[finding.rule].meaning,
            "instead": RULES[finding.rule].instead,
        }
        for finding in one.findings or ()
    ]
    return {"path": one.path, "caches": one.caches, "problem": one.problem, "findings": rows}


def _sarif(found: "Sequence[Linted]") -> "dict[str, Value]":
    from go_cache_safeguard import __version__
    from go_cache_safeguard.gocache.cilint import RULES

    rules: list[Value] = [
        {
            "id": rule.id,
            "shortDescription": {"text": rule.meaning},
            "help": {"text": f"Instead: {rule.instead}. Seen: {rule.seen}"},
            "defaultConfiguration": {"level": rule.grade.value},
        }
        for rule in RULES.values()
    ]
    results: list[Value] = [
        {
            "ruleId": finding.rule,
            "level": RULES[finding.rule].grade.value,
            "message": {
                "text": f"{finding.text}: {RULES[finding.rule].meaning}. Instead: {RULES[finding.rule].instead}"
            },
            "locations": [
                {"physicalLocation": {"artifactLocation": {"uri": one.path}, "region": {"startLine": finding.line}}}
            ],
        }
        for one in found
        for finding in one.findings or ()
    ]
    driver: dict[str, Value] = {"name": "go-cache-safeguard ci lint", "version": __version__, "rules": rules}
    return {"version": "2.1.0", "$schema": _SCHEMA, "runs": [{"tool": {"driver": driver}, "results": results}]}


_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
