"""`ops`: pending and past operations, and people's answers to them.

Knows:     how an operation is listed and shown, and how people's answers to it are told.
Called by: `cli.app`.
Never:     takes a token or a digest from the command line: it asks, or reads a file.
"""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from go_cache_safeguard.cli import options, redis_purge

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from go_cache_safeguard.approval.ballot import Ballot
    from go_cache_safeguard.core.lifecycle import State
    from go_cache_safeguard.core.operation import Operation
    from go_cache_safeguard.flows.session import Session
    from go_cache_safeguard.journal.store import Journal

app = typer.Typer(
    help="Pending and past operations: list, show, receipt, approve, reject, cancel.", no_args_is_help=True
)

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

    session = options.session(state_dir=state_dir, json=json)
    screen = Screen(as_json=json, color=session.config.choice("output.color"))
    with session.journal(read_only=True) as journal:
        operations, ballots = _listed(journal, everything=everything)
    if json:
        screen.document("ops", 1, {"operations": [as_value(found, ballots[found.id]) for found in operations]})
        return
    if not operations:
        screen.line("no operations" if everything else "no operation waits; `ops list --all` shows past ones")
        return
    screen.table(
        ("operation", "state", "approved by", "removes", "requester", "since", "selectors"),
        [_row(found, ballots[found.id]) for found in operations],
    )


@app.command()
def show(
    op: Annotated[str, typer.Argument(metavar="OP", autocompletion=complete_operation)],
    *,
    evidence: Annotated[
        bool, typer.Option("--evidence", help="What people look at before they decide: counts, readiness, history.")
    ] = False,
    json: options.Json = False,
    state_dir: options.StateDir = None,
) -> None:
    """Show one operation: its plan, verdicts, decision, who agreed, receipt, and the way it took."""
    from go_cache_safeguard.approval.ballot import tally
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.journal.law import REVIEWED, SEEN

    session = options.session(state_dir=state_dir, json=json)
    screen = Screen(as_json=json, color=session.config.choice("output.color"))
    if evidence:
        from go_cache_safeguard.cli.evidence import show_evidence

        show_evidence(session, screen, op, json=json)
        return
    with session.journal(read_only=True) as journal:
        operation, records = journal.operation(op), list(journal.records(op=op))
    ballot = tally(operation, records)
    seen = [(str(record.data.get("approver", "")), str(record.data[SEEN])) for record in records if SEEN in record.data]
    if json:
        told = [{"approver": who, "sha256": digest} for who, digest in seen]
        waves = redis_purge.as_rows(redis_purge.waves_of(session, op)) if _in_waves(operation) else []
        screen.document("op", 1, {**as_value(operation, ballot), "seen": told, **({"waves": waves} if waves else {})})
        return
    _show(screen, operation, ballot, [record.data for record in records if record.step == REVIEWED])
    for who, digest in seen:
        screen.line(f"  {'evidence':<12} {who} had seen {digest}")
    if _in_waves(operation):
        redis_purge.tell_waves(screen, redis_purge.waves_of(session, op))


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
    evidence: Annotated[
        bool, typer.Option("--evidence", help="Show the evidence first; the journal keeps which one you have seen.")
    ] = False,
    json: options.Json = False,
    state_dir: options.StateDir = None,
) -> None:
    """Approve a held operation by typing the digest of its plan; `clean OP`, or what it says, then executes it."""
    from go_cache_safeguard.flows.approve import approve_by_digest, approve_by_token, token_in
    from go_cache_safeguard.flows.fleet import redeem_there, server_of

    session = options.session(state_dir=state_dir, json=json)
    seen = ""
    if evidence and token_file is None:
        from go_cache_safeguard.cli.evidence import show_evidence
        from go_cache_safeguard.cli.screen import Screen

        screen = Screen(as_json=False, color=session.config.choice("output.color"))
        seen = show_evidence(session, screen, op, json=False)
    with session.journal() as journal:
        if token_file is None:
            approved = approve_by_digest(session, journal, op, _typed(journal.operation(op)), seen=seen)
        elif (link := server_of(session)) is None:
            approved = approve_by_token(session, journal, op, token_file, barred=options.barred(session))
        else:
            ballot = redeem_there(link, journal, op, token_in(token_file, op, link.target.name))
            _tell_there(session, journal.operation(op), ballot, link.target.name, json=json)
            return
    _tell(session, approved, json=json)


@app.command("break-glass")
def break_glass(
    op: Annotated[str, typer.Argument(metavar="OP", autocompletion=complete_operation)],
    *,
    reason: Annotated[
        str, typer.Option("--reason", help="Why it cannot wait; kept in the journal, and told to everybody.")
    ],
    json: options.Json = False,
    state_dir: options.StateDir = None,
) -> None:
    """Go on without those who would have to approve, in an emergency; somebody else reviews it afterwards."""
    from go_cache_safeguard.flows.desk import desk_of, voter_of

    session = options.session(state_dir=state_dir, json=json)
    desk = desk_of(session)
    typed = _typed(desk.operation(op))
    desk.break_glass(op, voter_of(session), typed, reason)
    _tell(session, desk.operation(op), json=json)


@app.command()
def review(
    op: Annotated[str, typer.Argument(metavar="OP", autocompletion=complete_operation)],
    *,
    finding: Annotated[str, typer.Option("--finding", metavar="WORD", help="justified or not-justified.")],
    text: Annotated[str, typer.Option("--text", help="Why; kept in the journal.")],
    json: options.Json = False,
    state_dir: options.StateDir = None,
) -> None:
    """Say afterwards whether the glass was broken for a good reason; not for who broke it, nor for who asked."""
    from go_cache_safeguard.flows.desk import desk_of, voter_of

    session = options.session(state_dir=state_dir, json=json)
    _tell(session, desk_of(session).review(op, voter_of(session), finding, text), json=json)


@app.command()
def reject(
    op: Annotated[str, typer.Argument(metavar="OP", autocompletion=complete_operation)],
    *,
    why: Annotated[str, typer.Option("--why", help="Why; kept in the journal.")] = "",
    json: options.Json = False,
    state_dir: options.StateDir = None,
) -> None:
    """Reject a held operation, for ever."""
    from go_cache_safeguard.flows.desk import desk_of, voter_of
    from go_cache_safeguard.flows.fleet import tell_of_decision

    session = options.session(state_dir=state_dir, json=json)
    ended = desk_of(session).reject(op, voter_of(session), why)
    tell_of_decision(session)
    _tell(session, ended, json=json)


@app.command()
def cancel(
    op: Annotated[str, typer.Argument(metavar="OP", autocompletion=complete_operation)],
    *,
    why: Annotated[str, typer.Option("--why", help="Why; kept in the journal.")] = "",
    json: options.Json = False,
    state_dir: options.StateDir = None,
) -> None:
    """Take back what you asked for, or what you approved, while nothing was touched."""
    from go_cache_safeguard.flows.desk import desk_of, voter_of
    from go_cache_safeguard.flows.fleet import tell_of_decision

    session = options.session(state_dir=state_dir, json=json)
    ended = desk_of(session).cancel(op, voter_of(session), why)
    tell_of_decision(session)
    _tell(session, ended, json=json)


@app.command()
def token(
    op: Annotated[str, typer.Argument(metavar="OP", autocompletion=complete_operation)],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="A new file; only you can read it.")],
    expires: Annotated[str, typer.Option("--expires", metavar="TIME", help="How long it counts.")] = "1h",
    json: options.Json = False,
    state_dir: options.StateDir = None,
) -> None:
    """Mint a token with which a job can approve this one operation once, in your name."""
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.approve import mint_token

    session = options.session(state_dir=state_dir, json=json)
    lifetime_s = options.duration(expires, "--expires") or 0
    with session.journal() as journal:
        mint_token(session, journal, op, output, lifetime_s=lifetime_s)
    if json:
        Screen(as_json=True).document("token", 1, {"op": op, "file": str(output), "lifetime_s": lifetime_s})
    else:
        typer.echo(f"the token is in {output}; `ops approve {op} --token-file {output}` uses it")


def _in_waves(operation: "Operation") -> bool:
    return operation.data.get("kind") == "redis" and list(operation.data.get("selectors", ()))[:1] == ["purge"]


def _typed(operation: "Operation") -> str:
    data = operation.data
    return options.ask_digest(str(data.get("digest", "")), int(data.get("bytes", 0)), operation.id)


def _tell(session: "Session", operation: "Operation", *, json: bool) -> None:
    """What became of an operation that somebody has just decided about."""
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.desk import desk_of
    from go_cache_safeguard.flows.hooks import tell_decision

    tell_decision(session, operation.id)
    ballot = desk_of(session).ballot(operation.id)
    screen = Screen(as_json=json, color=session.config.choice("output.color"))
    if json:
        screen.document("op", 1, as_value(operation, ballot))
        return
    screen.line(f"{operation.id} is {operation.state}{_further(operation, operation.state, ballot)}")


def _tell_there(session: "Session", operation: "Operation", ballot: "Ballot", server: str, *, json: bool) -> None:
    """What became of it at the server of the fleet; who wants to know of it is told there."""
    from go_cache_safeguard.cli.screen import Screen

    screen = Screen(as_json=json, color=session.config.choice("output.color"))
    if json:
        there = {"name": server, "state": str(ballot.state)}
        screen.document("op", 1, {**as_value(operation, ballot), "server": there})
        return
    screen.line(f"{operation.id} is {ballot.state} at {server}{_further(operation, ballot.state, ballot)}")


def _further(operation: "Operation", state: "State", ballot: "Ballot") -> str:
    """What it takes now; empty if nothing."""
    from go_cache_safeguard.core.lifecycle import State

    if state is State.APPROVED:
        return f"; {_executor(operation)} executes it"
    return f"; {ballot.votes} have approved it" if state is State.HELD else ""


def _listed(journal: "Journal", *, everything: bool) -> "tuple[list[Operation], dict[str, Ballot]]":
    """Operations that wait for somebody or something, or all of them; and how far each is."""
    from go_cache_safeguard.approval.ballot import tally
    from go_cache_safeguard.core.lifecycle import TRANSITIONS

    found: list[Operation] = []
    ballots: dict[str, Ballot] = {}
    for operation in journal.operations():
        ballot = tally(operation, ())
        if ballot.left > 1 or ballot.emergency:  # only then what people said is in other records
            ballot = tally(operation, list(journal.records(op=operation.id)))
        if everything or TRANSITIONS[operation.state] or ballot.review_due:
            found.append(operation)
            ballots[operation.id] = ballot
    return found, ballots


def as_value(operation: "Operation", ballot: "Ballot") -> dict[str, Any]:
    """For `--json`."""
    return {
        "op": operation.id,
        "state": str(operation.state),
        "requester": operation.requester,
        "at": operation.at,
        "last_at": operation.last_at,
        "states": [str(state) for state in operation.states],
        "data": dict(operation.data),
        "ballot": {
            "needed": ballot.needed,
            "approvers": list(ballot.approvers),
            "left": ballot.left,
            "emergency": ballot.emergency,
            "reason": ballot.reason,
            "review_due": ballot.review_due,
            "review_by_s": ballot.review_by_s,
        },
    }


def _executor(operation: "Operation") -> str:
    """Who or what does what was approved."""
    from go_cache_safeguard.flows.hooks import executed_by

    manner = operation.data.get("manner", "")
    if manner == "retry":
        return "the client that asks for it again, once,"
    by = f"`{executed_by(str(operation.data.get('kind', '')), operation.id)}`"
    return f"the guard, or {by}," if manner else by


def _approved_by(ballot: "Ballot") -> str:
    """Who has approved so far, of how many; louder if the glass was broken."""
    if ballot.emergency:
        return f"NOBODY: broken glass{', review due' if ballot.review_due else ', reviewed'}"
    return ballot.votes


def _day(at_s: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d")


def _row(operation: "Operation", ballot: "Ballot") -> tuple[str, ...]:
    from go_cache_safeguard.core.operation import is_over
    from go_cache_safeguard.core.size import format_size

    data = operation.data
    size = format_size(int(data.get("bytes", 0)))
    return (
        operation.id,
        f"{operation.state}{', its time is over' if is_over(operation, time.time()) else ''}",
        _approved_by(ballot),
        size,
        operation.requester,
        operation.at,
        " ".join(data.get("selectors", ())),
    )


def _show(screen: Any, operation: "Operation", ballot: "Ballot", reviews: "Sequence[Mapping[str, Any]]") -> None:
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
        (
            "approved by",
            f"{ballot.votes}{': ' if ballot.approvers else ''}{', '.join(ballot.approvers)}" if ballot.votes else "",
        ),
        ("broken glass", f"{data.get('approver', '')}: {ballot.reason}" if ballot.emergency else ""),
        (
            "review",
            f"due {_day(ballot.review_by_s)}, by somebody else: `ops review {operation.id}`"
            if ballot.review_due
            else "",
        ),
        *(("reviewed", f"{it.get('finding')}, by {it.get('reviewer')}: {it.get('text')}") for it in reviews),
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
