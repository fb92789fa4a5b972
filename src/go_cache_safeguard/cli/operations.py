"""`ops`: pending and past operations, and people's answers to them.

Knows:     how an operation is listed, shown, approved and rejected.
Called by: `cli.app`.
Never:     takes a token or a digest from the command line: it asks, or reads a file.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from go_cache_safeguard.cli import options
from go_cache_safeguard.core.errors import UsageFailure

if TYPE_CHECKING:
    from go_cache_safeguard.core.operation import Operation

app = typer.Typer(help="Pending and past operations: list, show, receipt, approve, reject.", no_args_is_help=True)

Op = Annotated[str, typer.Argument(metavar="OP", help="The operation's id.")]


def complete_operation(incomplete: str) -> list[str]:
    """Ids of operations, for the shell's completion."""
    session = options.session(quiet=True)
    with session.journal(read_only=True) as journal:
        return [operation.id for operation in journal.operations() if operation.id.startswith(incomplete)]


@app.command("list")
def list_(
    *,
    json: options.Json = False,
    state_dir: options.StateDir = None,
    everything: Annotated[bool, typer.Option("--all", help="Also those that have ended.")] = False,
) -> None:
    """List operations that wait for somebody or something; `--all` for every one."""
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.core.lifecycle import TRANSITIONS

    session = options.session(state_dir=state_dir, json=json)
    screen = Screen(as_json=json, color=session.config.choice("output.color"))
    with session.journal(read_only=True) as journal:
        operations = [found for found in journal.operations() if everything or TRANSITIONS[found.state]]
    if json:
        screen.document("ops", 1, {"operations": [as_value(found) for found in operations]})
        return
    if not operations:
        screen.line("no operations" if everything else "no operation waits; `ops list --all` shows past ones")
        return
    screen.table(
        ("operation", "state", "removes", "requester", "since", "selectors"), [_row(found) for found in operations]
    )


@app.command()
def show(
    op: Annotated[str, typer.Argument(metavar="OP", autocompletion=complete_operation)],
    *,
    json: options.Json = False,
    state_dir: options.StateDir = None,
) -> None:
    """Show one operation: its plan, verdicts, decision, receipt, and the way it took."""
    from go_cache_safeguard.cli.screen import Screen

    session = options.session(state_dir=state_dir, json=json)
    screen = Screen(as_json=json, color=session.config.choice("output.color"))
    with session.journal(read_only=True) as journal:
        operation = journal.operation(op)
    if json:
        screen.document("op", 1, as_value(operation))
        return
    _show(screen, operation)


@app.command()
def receipt(
    op: Annotated[str, typer.Argument(metavar="OP", autocompletion=complete_operation)],
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="A new file; default: stdout.")
    ] = None,
    state_dir: options.StateDir = None,
) -> None:
    """Write the receipt that an auditor keeps: all that the journal says of one operation, up to now."""
    from go_cache_safeguard.flows.account import account_of, write_account

    session = options.session(state_dir=state_dir)
    with session.journal(read_only=True) as journal:
        if output is None:
            sys.stdout.buffer.write(account_of(journal, op))
            return
        write_account(journal, op, output)
    typer.echo(f"the receipt of {op} is in {output}; `audit verify --receipt {output}` checks it", err=True)


@app.command()
def approve(
    op: Annotated[str, typer.Argument(metavar="OP", autocompletion=complete_operation)],
    *,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", metavar="FILE", help="A token minted by an approver; never given as text."),
    ] = None,
    state_dir: options.StateDir = None,
) -> None:
    """Approve a held operation by typing the digest of its plan; `clean OP` then executes it."""
    from go_cache_safeguard.flows.approve import approve_by_digest, approve_by_token

    session = options.session(state_dir=state_dir)
    with session.journal() as journal:
        if token_file is not None:
            approved = approve_by_token(session, journal, op, token_file)
        else:
            operation = journal.operation(op)
            typed = ask_digest(str(operation.data.get("digest", "")), int(operation.data.get("bytes", 0)), op)
            approved = approve_by_digest(session, journal, op, typed)
    typer.echo(f"{approved.id} is {approved.state}; {_executor(approved)} executes it")


@app.command()
def reject(
    op: Annotated[str, typer.Argument(metavar="OP", autocompletion=complete_operation)],
    *,
    why: Annotated[str, typer.Option("--why", help="Why; kept in the journal.")] = "",
    state_dir: options.StateDir = None,
) -> None:
    """Reject a held operation, for ever."""
    from go_cache_safeguard.flows.approve import reject as say_no

    session = options.session(state_dir=state_dir)
    with session.journal() as journal:
        rejected = say_no(session, journal, op, why)
    typer.echo(f"{rejected.id} is {rejected.state}")


@app.command()
def token(
    op: Annotated[str, typer.Argument(metavar="OP", autocompletion=complete_operation)],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="A new file; only you can read it.")],
    expires: Annotated[str, typer.Option("--expires", metavar="TIME", help="How long it counts.")] = "1h",
    state_dir: options.StateDir = None,
) -> None:
    """Mint a token with which a job can approve this one operation once, in your name."""
    from go_cache_safeguard.flows.approve import mint_token

    session = options.session(state_dir=state_dir)
    lifetime_s = options.duration(expires, "--expires") or 0
    with session.journal() as journal:
        mint_token(session, journal, op, output, lifetime_s=lifetime_s)
    typer.echo(f"the token is in {output}; `ops approve {op} --token-file {output}` uses it")


def ask_digest(digest: str, size: int, op: str) -> str:
    """Show a plan's digest and have a person type the beginning of it.

    Raises:
        UsageFailure: There is no terminal to ask at.
    """
    from go_cache_safeguard.core.size import format_size

    if not sys.stdin.isatty():
        raise UsageFailure(
            "approving asks a person, and stdin is not a terminal",
            not_done=f"{op} stays as it is",
            hint="run it in a terminal, or give a token with --token-file",
        )
    typer.echo(f"{op} removes {format_size(size)}. The digest of its plan is", err=True)
    typer.echo(f"  {digest}", err=True)
    return str(typer.prompt("Type its first 8 digits to approve, anything else to leave it", err=True, default=""))


def as_value(operation: "Operation") -> dict[str, Any]:
    """For `--json`."""
    return {
        "op": operation.id,
        "state": str(operation.state),
        "requester": operation.requester,
        "at": operation.at,
        "last_at": operation.last_at,
        "states": [str(state) for state in operation.states],
        "data": dict(operation.data),
    }


def _executor(operation: "Operation") -> str:
    """Who or what does what was approved."""
    manner = operation.data.get("manner", "")
    if manner == "retry":
        return "the client that asks for it again, once,"
    on_server = operation.data.get("kind") == "redis"
    op = operation.id
    by = f"`go-cache-safeguard redis resume {op}`" if on_server else f"`go-cache-safeguard clean {op}`"
    return f"the guard, or {by}," if manner else by


def _row(operation: "Operation") -> tuple[str, ...]:
    from go_cache_safeguard.core.size import format_size

    data = operation.data
    size = format_size(int(data.get("bytes", 0)))
    return (
        operation.id,
        str(operation.state),
        size,
        operation.requester,
        operation.at,
        " ".join(data.get("selectors", ())),
    )


def _show(screen: Any, operation: "Operation") -> None:
    from go_cache_safeguard.core.size import format_size

    data = operation.data
    things = "keys" if data.get("kind") == "redis" else "files"
    screen.line(f"{operation.id}  {operation.state}", "bold")
    of_rules = data.get("kind") == "redis-access"
    for label, text in (
        ("target", data.get("target", "")),
        ("selectors", " ".join(data.get("selectors", ()))),
        ("asked by", f"{data['user']} at {data.get('client', '')}, database {data['db']}" if "call" in data else ""),
        ("removes", "" if of_rules else f"{data.get('items', 0):,} {things}, {format_size(int(data.get('bytes', 0)))}"),
        ("changes", f"the rules of {data.get('items', 0):,} users" if of_rules else ""),
        ("no way back", data.get("final", "")),
        ("plan digest", data.get("digest", "")),
        ("requester", f"{operation.requester}, {operation.at}"),
        ("approver", data.get("approver", "")),
        ("reasons", "; ".join(data.get("reasons", ()))),
        ("why", data.get("why", "")),
        ("evidence", data.get("evidence", "")),
        ("way", " -> ".join(operation.states)),
    ):
        if text:
            screen.line(f"  {label:<12} {text}")
    for verdict in data.get("verdicts", ()):
        screen.line(f"  {verdict['outcome']:<8} {verdict['check']}: {verdict['summary']}")
    for key, value in data.get("receipt", {}).items():
        if value:
            screen.line(f"  receipt      {key}: {value}")
