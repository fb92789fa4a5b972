"""`serve database`: the shared database of a fleet: its tables, its fences, exports, and what leaves it.

Knows:     arguments, how steps and plans look to a person, and how a retention is confirmed.
Called by: `cli.serve`.
Never:     takes a password from the command line; connects as the owner for anything that the service could do.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from go_cache_safeguard.cli import act, options
from go_cache_safeguard.core.errors import ExitCode, Failure, PlanVoid, UsageFailure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.audit import Audit
    from go_cache_safeguard.flows.migrate import Step
    from go_cache_safeguard.flows.retention import RetentionPlan, Retired
    from go_cache_safeguard.flows.session import Session

app = typer.Typer(help="The Postgres database that a fleet shares: tables, checks, exports.", no_args_is_help=True)

Tenant = Annotated[str, typer.Option("--tenant", metavar="NAME", help="Whose journal; default: main.")]
_TYPED = 8
_SHOWN = 20


@app.command()
def current(
    *, json: options.Json = False, settings: options.Settings = None, state_dir: options.StateDir = None
) -> None:
    """Show which steps the tables have been through."""
    from go_cache_safeguard.flows import database, migrate

    session = _session(settings, state_dir, json=json)
    engine = database.owner_engine(session, migrates=True)
    try:
        _show_steps(session, migrate.steps(engine), json=json)
    finally:
        engine.dispose()


@app.command()
def upgrade(
    *,
    to: Annotated[str, typer.Option("--to", metavar="STEP", help="The last step; default: all.")] = "head",
    json: options.Json = False,
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """Make the tables, or bring them up to date, and give the service's user what it needs and nothing else."""
    from go_cache_safeguard.flows import database, migrate

    session = _session(settings, state_dir, json=json)
    engine = database.owner_engine(session, migrates=True)
    try:
        _show_steps(session, migrate.upgrade(engine, database.service_user(session), to), json=json)
    finally:
        engine.dispose()


@app.command()
def downgrade(
    to: Annotated[str, typer.Argument(metavar="STEP", help="The step that is to be the last one, or `base`.")],
    *,
    json: options.Json = False,
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """Take steps back. A step that would lose records or people is refused."""
    from go_cache_safeguard.flows import database, migrate

    session = _session(settings, state_dir, json=json)
    engine = database.owner_engine(session, migrates=True)
    try:
        _show_steps(session, migrate.downgrade(engine, to), json=json)
    finally:
        engine.dispose()


@app.command()
def check(
    *,
    tenant: Tenant = "",
    thorough: Annotated[
        bool, typer.Option("--thorough", help="Also audit the tenant's journal as `audit verify` does.")
    ] = False,
    json: options.Json = False,
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """Look whether the tables are what this version asks for, and whether all fences around the records stand."""
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows import database
    from go_cache_safeguard.flows.audit import audit

    session = _session(settings, state_dir, json=json)
    screen = Screen(as_json=json, color=session.config.choice("output.color"))
    wrong = _what_is_wrong(session)
    found = None
    if thorough and not wrong:
        with database.shared_journal(session, tenant)(read_only=True) as journal:
            session.progress.phase("verifying the journal")
            found = audit(session.config, journal)
            session.progress.phase("")
    if json:
        audited = {} if found is None else {"audit": found.as_value()}
        screen.document("database-check", 1, {"database": database.place_of(session), "wrong": wrong, **audited})
    else:
        _show_check(screen, wrong, found)
    code = ExitCode.CONFIG if wrong else ExitCode.DONE if found is None else found.code
    if code is not ExitCode.DONE:
        raise typer.Exit(code)


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new folder.")],
    *,
    tenant: Tenant = "",
    plain: Annotated[
        bool, typer.Option("--plain", help="Records only, without the signed checkpoint and the script that checks it.")
    ] = False,
    json: options.Json = False,
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """Write a tenant's whole journal into a folder that can be checked without this program."""
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows import database
    from go_cache_safeguard.flows.audit_export import export_bundle
    from go_cache_safeguard.flows.retention import export_plain

    session = _session(settings, state_dir, json=json)
    screen = Screen(as_json=json, color=session.config.choice("output.color"))
    into = session.cwd / folder
    with database.shared_journal(session, tenant)(read_only=True) as journal:
        if plain:
            records, signed = export_plain(journal, into), 0
        else:
            done = export_bundle(session.config, journal, into, ())
            records, signed = done.records, done.signed
    if json:
        screen.document("database-export", 1, {"folder": str(into), "records": records, "signed": signed})
    else:
        screen.line(f"{records:,} records, of which {signed:,} are signed, are in {into}")


@app.command()
@options.grouped
def retain(
    folder: Annotated[Path | None, typer.Argument(metavar="[FOLDER]", help="A new folder for the export.")] = None,
    *,
    tenant: Tenant = "",
    older: Annotated[
        str | None,
        typer.Option(
            "--older", metavar="TIME", help="What ended longer ago goes; default: the setting serve.database_keep."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Only say what would go.")] = False,
    digest: Annotated[
        str,
        typer.Option("--digest", metavar="DIGITS", help="Do not ask: do it if the plan's digest begins with these."),
    ] = "",
    asking: options.Asking,
    common: options.Common,
) -> None:
    """Export a tenant's journal, and have what ended long ago leave the database. What is not over stays.

    The log ends with a record that names the next one, which begins with the number of records, the root and the hash of the one
    before. Its rows go when the export was read again. If it is stopped, the next call goes on from there.
    """
    from go_cache_safeguard.cli.extra import need_extra

    need_extra("go_cache_safeguard.flows.migrate")
    from go_cache_safeguard.flows import database, retention

    session = common.session(*asking.settings)
    screen = common.screen(session)
    given = options.duration(older, "--older")
    keep_s = session.config.seconds("serve.database_keep") if given is None else given
    engine = database.owner_engine(session)
    try:
        made = retention.plan(session, engine, tenant or database.MAIN, keep_s=keep_s)
        if not common.json:
            _show_plan(screen, made)
        if dry_run or made.empty:
            if common.json:
                screen.document("database-retain-plan", 1, made.as_value())
            return
        if folder is None:
            raise UsageFailure("retain needs a folder for the export", not_done="nothing was changed")
        if digest:
            _agree(made, digest)

        def question() -> None:
            _agree(made, "")

        how = act.how_to_dispose(session, screen, asking, options.no_question if digest else question)
        done = retention.retire(session, engine, made, session.cwd / folder, how)
    finally:
        engine.dispose()
    if common.json:
        screen.document("database-retain", 1, done.as_value())
    else:
        _show_done(screen, done)


def _session(settings: list[str] | None, state_dir: str | None, *, json: bool) -> "Session":
    from go_cache_safeguard.cli.extra import need_extra

    need_extra("go_cache_safeguard.flows.migrate")
    return options.session(settings=settings, state_dir=state_dir, json=json)


def _what_is_wrong(session: "Session") -> list[str]:
    from go_cache_safeguard.flows import database, migrate
    from go_cache_safeguard.web.people import METADATA

    wrong = []
    try:
        database.service_engine(session)
    except Failure as failure:
        wrong.append(failure.what)
    if session.config.text("serve.database_owner"):
        engine = database.owner_engine(session, migrates=True)
        try:
            wrong += [
                f"the tables are not what this version asks for: {it}" for it in migrate.differences(engine, [METADATA])
            ]
        finally:
            engine.dispose()
    return wrong


def _show_steps(session: "Session", steps: "Sequence[Step]", *, json: bool) -> None:
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.database import place_of

    screen = Screen(as_json=json, color=session.config.choice("output.color"))
    if json:
        value = [{"name": it.name, "what": it.what, "done": it.done} for it in steps]
        screen.document("database-steps", 1, {"database": place_of(session), "steps": value})
        return
    screen.line(place_of(session))
    screen.table(("step", "", "what"), [(it.name, "done" if it.done else "not done", it.what) for it in steps])


def _show_check(screen: "Screen", wrong: "Sequence[str]", found: "Audit | None") -> None:
    for text in wrong:
        screen.line(text, "bold red")
    if not wrong:
        screen.line("tables and fences are as they have to be")
    if found is not None:
        for it in found.breaks:
            screen.line(f"record {it.seq}: {it.kind}: {it.text}", "bold red")
        for text in found.doubts:
            screen.line(f"unknown: {text}", "yellow")
        screen.line(f"{found.records:,} records, {len(found.breaks)} breaks; {found.signed:,} are signed")


def _show_plan(screen: "Screen", made: "RetentionPlan") -> None:
    if made.unfinished:
        screen.line(
            f"the log {made.log} of {made.tenant} is closed; its {made.records:,} records are still to be exported and removed"
        )
        return
    screen.line(f"journal of {made.tenant}: {made.records:,} records")
    screen.line(f"  {len(made.gone):,} operations ended before {made.before[:19]}Z and go into the export only")
    for op in made.gone[:_SHOWN]:
        screen.line(f"    {op}")
    if len(made.gone) > _SHOWN:
        screen.line(f"    and {len(made.gone) - _SHOWN:,} more")
    screen.line(f"  {len(made.carried):,} operations stay; all notes about none go into the export only")
    screen.line(f"  digest {made.digest}")


def _agree(made: "RetentionPlan", digest: str) -> None:
    if digest:
        if len(digest) < _TYPED or not made.digest.startswith(digest.lower()):
            raise PlanVoid(
                "the plan is not the one with this digest",
                not_done="nothing was changed",
                hint=f"look at it with --dry-run, and give {_TYPED} digits or more",
            )
        return
    if not sys.stdin.isatty():
        raise UsageFailure(
            "a retention asks a person, and stdin is not a terminal",
            not_done="nothing was changed",
            hint="give --digest with the first digits of what --dry-run showed, or name a URL with --confirm-hook",
        )
    typed = typer.prompt(
        f"Type the first {_TYPED} digits of the digest to go on", default="", show_default=False, err=True
    )
    _agree(made, typed or "-")


def _show_done(screen: "Screen", done: "Retired") -> None:
    signed = "with a signed checkpoint and a script that checks it" if done.signed else "not signed"
    screen.line(f"the log {done.ended.log} ended with record {done.ended.records:,}; it is in {done.folder}, {signed}")
    screen.line(f"  root {done.ended.root}")
    screen.line(f"  sha256 of records.txt {done.ended.sha256}")
    screen.line(f"{done.removed:,} rows left the database" + (f"; the log {done.next} goes on" if done.next else ""))
