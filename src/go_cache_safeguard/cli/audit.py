"""`audit`: read, verify and export the journal; `cli.audit_sign` has the commands that write.

Knows:     how records look to a person, and how what an audit found is told.
Called by: `cli.app`.
Never:     writes to the journal.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from go_cache_safeguard.cli import audit_sign, options
from go_cache_safeguard.core.errors import ExitCode

if TYPE_CHECKING:
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.account import Checked
    from go_cache_safeguard.flows.audit import Audit

app = typer.Typer(help="The journal: log, verify, export; signed checkpoints of it.", no_args_is_help=True)
audit_sign.register(app)


@app.command()
def log(
    *,
    json: options.Json = False,
    state_dir: options.StateDir = None,
    since: Annotated[int, typer.Option("--since", metavar="SEQ", help="Only records after this number.")] = 0,
    op: Annotated[str | None, typer.Option("--op", metavar="OP", help="Only records of this operation.")] = None,
) -> None:
    """Print the journal's records, oldest first."""
    from go_cache_safeguard.cli.screen import Screen

    session = options.session(state_dir=state_dir, json=json)
    screen = Screen(as_json=json, color=session.config.choice("output.color"))
    with session.journal(read_only=True) as journal:
        records = list(journal.records(since, op=op))
    if json:
        rows = [
            {"seq": r.seq, "at": r.at, "actor": r.actor, "op": r.op, "step": r.step, "data": dict(r.data)}
            for r in records
        ]
        screen.document("log", 1, {"records": rows})
        return
    screen.table(
        ("seq", "time", "who", "operation", "step"),
        [(str(r.seq), r.at, r.actor, r.op or "", r.step) for r in records],
        right=(0,),
    )


@app.command()
def verify(
    *,
    receipt: Annotated[
        Path | None,
        typer.Option("--receipt", metavar="FILE", help="Also compare this receipt with what the journal says."),
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option(
            "--key", metavar="KEY", help="A public key, as `audit key show` prints it, that must be the journal's."
        ),
    ] = None,
    seen: Annotated[
        list[Path] | None,
        typer.Option(
            "--seen", metavar="FILE", help="A file with checkpoints that somebody kept: lines of a log or of a chat."
        ),
    ] = None,
    json: options.Json = False,
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """Check every record and the chain, signed checkpoints, witnesses, and that all that was done had been agreed to."""
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.account import check_account
    from go_cache_safeguard.flows.audit import audit, keys_in

    session = options.session(settings=settings, state_dir=state_dir, json=json)
    screen = Screen(as_json=json, color=session.config.choice("output.color"))
    pinned = keys_in(" ".join(key or ()))
    with session.journal(read_only=True) as journal:
        session.progress.phase("verifying the journal")
        found = audit(session.config, journal, pinned=pinned, seen=seen or ())
        session.progress.phase("")
        checked = None if receipt is None else check_account(journal, receipt)
    if json:
        kept = {} if checked is None else {"receipt": checked.as_value()}
        screen.document("audit", 1, {**found.as_value(), **kept})
    else:
        _tell_audit(screen, found)
        if checked is not None:
            _tell_receipt(screen, checked)
    code = found.code
    if checked is not None and checked.differences and code in {ExitCode.DONE, ExitCode.COULD_NOT_TELL}:
        code = ExitCode.JOURNAL_TAMPERED
    if code is not ExitCode.DONE:
        raise typer.Exit(code)


def _tell_audit(screen: "Screen", found: "Audit") -> None:
    for one in found.breaks:
        screen.line(f"record {one.seq}: {one.kind}: {one.text}", "bold red")
    for text in found.doubts:
        screen.line(f"unknown: {text}", "yellow")
    whole = "" if found.breaks else ": the journal is whole"
    screen.line(f"{found.records:,} records, {len(found.breaks)} breaks{whole}")
    if found.checkpoints:
        many = (
            "1 signed checkpoint" if found.checkpoints == 1 else f"{found.checkpoints:,} signed checkpoints, the newest"
        )
        screen.line(f"{many} of {found.signed:,} records, signed by {found.key}")
    if found.votes[0]:
        screen.line(
            f"{found.votes[0]:,} approvals of people, of which {found.votes[1]:,} name the evidence that was seen"
        )
    for name, size in found.agree:
        screen.line(f"witness {name} knows of {size:,} records")
    for text in found.notes:
        screen.line(f"note: {text}", "dim")


def _tell_receipt(screen: "Screen", checked: "Checked") -> None:
    for one in checked.differences:
        screen.line(f"receipt: {one.where} is {one.told}, and the journal says {one.journal}", "bold red")
    if checked.differences:
        screen.line(f"the receipt of {checked.op} is not what the journal says", "bold red")
        return
    since = "" if checked.now == checked.state else f"; since then it became {checked.now}"
    screen.line(f"the receipt of {checked.op} is what the journal says: it was {checked.state}{since}")


@app.command()
def export(
    *,
    json: options.Json = False,
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="A new file; default: stdout.")
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(
            "--bundle",
            metavar="DIR",
            help="A new directory: records, signed checkpoint, proofs, a script that checks them.",
        ),
    ] = None,
    prove: Annotated[
        list[int] | None,
        typer.Option("--prove", metavar="SEQ", help="With --bundle: a proof that this record is signed. Repeatable."),
    ] = None,
) -> None:
    """Write every record as one line with its hash, so that it can be checked without this program."""
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.audit_export import export_bundle

    if prove and bundle is None:
        raise typer.BadParameter("goes with --bundle", param_hint="--prove")
    session = options.session(settings=settings, state_dir=state_dir)
    with session.journal(read_only=True) as journal:
        if bundle is not None:
            made = export_bundle(session.config, journal, bundle, prove or ())
            if json:
                value = {"records": made.records, "signed": made.signed, "proofs": made.proofs}
                Screen(as_json=True).document("export", 1, value)
            else:
                typer.echo(
                    f"{made.records:,} records, {made.signed:,} of them signed: `bash {bundle}/check.sh`", err=True
                )
            return
        if output is None:
            count = journal.export(sys.stdout.buffer.write)
        else:
            with output.open("xb") as file:
                count = journal.export(file.write)
    typer.echo(f"{count:,} records", err=True)
