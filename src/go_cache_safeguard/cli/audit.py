"""`audit`: read, verify and export the journal.

Knows:     how records look to a person, and what a broken chain is called.
Called by: `cli.app`.
Never:     writes to the journal.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from go_cache_safeguard.cli import options
from go_cache_safeguard.core.errors import ExitCode

if TYPE_CHECKING:
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.account import Checked

app = typer.Typer(help="The journal: log, verify, export.", no_args_is_help=True)


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
    json: options.Json = False,
    state_dir: options.StateDir = None,
) -> None:
    """Check every record, the chain and the head: any edit, deletion, insertion or reordering is named."""
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.account import check_account

    session = options.session(state_dir=state_dir, json=json)
    screen = Screen(as_json=json, color=session.config.choice("output.color"))
    with session.journal(read_only=True) as journal:
        breaks = journal.verify()
        count = sum(1 for _ in journal.rows())
        checked = None if receipt is None else check_account(journal, receipt)
    if json:
        found = [{"seq": one.seq, "kind": str(one.kind), "text": one.text} for one in breaks]
        kept = {} if checked is None else {"receipt": checked.as_value()}
        screen.document("audit", 1, {"records": count, "breaks": found, "whole": not breaks, **kept})
    else:
        for one in breaks:
            screen.line(f"record {one.seq}: {one.kind}: {one.text}", "bold red")
        screen.line(f"{count:,} records, {len(breaks)} breaks" + ("" if breaks else ": the journal is whole"))
        if checked is not None:
            _tell_receipt(screen, checked)
    if breaks or (checked is not None and checked.differences):
        raise typer.Exit(ExitCode.JOURNAL_TAMPERED)


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
    state_dir: options.StateDir = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="A new file; default: stdout.")
    ] = None,
) -> None:
    """Write every record as one line with its hash, so that it can be checked without this program."""
    session = options.session(state_dir=state_dir)
    with session.journal(read_only=True) as journal:
        if output is None:
            count = journal.export(sys.stdout.buffer.write)
        else:
            with output.open("xb") as file:
                count = journal.export(file.write)
    typer.echo(f"{count:,} records", err=True)
