"""`ops watch` and `ops deliver`: see what becomes of an operation, and have people told of what waits.

Knows:     how a record looks as a line, and what the end of an operation is worth as an exit code.
Called by: `cli.app`, beside `cli.operations`.
Never:     approves; shows a token or the path of a hook.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from go_cache_safeguard.cli import options
from go_cache_safeguard.core.errors import ExitCode, Failure

if TYPE_CHECKING:
    from go_cache_safeguard.flows.session import Session
    from go_cache_safeguard.journal.record import Record

_SAYS = ("why", "approver", "rejected_by", "cancelled_by", "reason", "hook", "finding", "text", "status", "tries")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (watch, deliver):
        app.command()(command)


def watch(
    op: Annotated[str | None, typer.Argument(metavar="[OP]", help="One operation; default: all that happens.")] = None,
    *,
    timeout: Annotated[str | None, typer.Option("--timeout", metavar="TIME", help="End after so long.")] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document for each record, one in a line.")
    ] = False,
    quiet: options.Quiet = False,
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """Follow the journal live. With OP it ends when the operation has; messages that are due are delivered meanwhile.

    The exit code says how it ended: 0 done, 12 refused, rejected, expired or cancelled, 22 put back after a failed proof, 23 nobody
    knows what is left; after --timeout 11 if it is held, 13 if somebody is at it.
    """
    from go_cache_safeguard.flows.desk import desk_of
    from go_cache_safeguard.flows.follow import follow, worth

    session = options.session(settings=settings, state_dir=state_dir, quiet=quiet, json=json)
    seconds = options.duration(timeout, "--timeout")
    desk = desk_of(session)

    def beat() -> None:
        if op is not None and _can_write(session):
            desk.expire_due()

    with session.journal(read_only=True) as journal, _delivering(session):
        for record in follow(journal, op, seconds=seconds, beat=beat):
            sys.stdout.write((_document(record) if json else _line(record)) + "\n")
            sys.stdout.flush()
        code = ExitCode.DONE if op is None else worth(journal.operation(op))
    if code:
        raise typer.Exit(code)


def deliver(
    *,
    metrics_file: Annotated[
        Path | None,
        typer.Option(
            "--metrics-file", metavar="FILE.prom", help="Write the metrics of the journal here, for node_exporter."
        ),
    ] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """Deliver the messages that are due, once; for cron or a timer. Also lets expire what is over, and updates alerts and metrics.

    Exit code 13 says that a message did not arrive, or was given up; stderr says which.
    """
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.desk import desk_of
    from go_cache_safeguard.flows.hooks import channels_of, rule_of
    from go_cache_safeguard.flows.outbox import Courier

    given = [] if metrics_file is None else [f"metrics.textfile={Path.cwd() / metrics_file}"]
    session = options.session(settings=[*(settings or []), *given], state_dir=state_dir, quiet=quiet, json=json)
    courier = Courier(channels_of(session), rule_of(session.config), _say)
    desk_of(session).expire_due()
    with session.journal() as journal:
        courier.round(journal)
        waiting = courier.waiting(journal)
    done = {name: courier.delivered[name] for name in ("sent", "failed", "given_up")}
    screen = Screen(as_json=json, color=session.config.choice("output.color"))
    if json:
        screen.document("deliver", 1, {**done, "waiting": waiting})
    elif not courier.channels:
        screen.line("the settings name nobody to tell; see docs/approvals.md")
    else:
        left = ", ".join(f"{count} for {name}" for name, count in waiting.items() if count) or "none"
        screen.line(f"{done['sent']} sent, {done['failed']} failed, {done['given_up']} given up; waiting: {left}")
    if done["failed"] or done["given_up"]:
        raise typer.Exit(ExitCode.COULD_NOT_TELL)


@contextmanager
def _delivering(session: "Session") -> Iterator[None]:
    """Deliver meanwhile, if this person may."""
    from go_cache_safeguard.flows.hooks import announcer_of

    announcer = None
    if _can_write(session):
        try:
            announcer = announcer_of(session, _say)
        except Failure as failure:
            _say(f"nobody is told from here: {failure}")
    if announcer is not None:
        announcer.begin()
    try:
        yield
    finally:
        if announcer is not None:
            announcer.close()


def _can_write(session: "Session") -> bool:
    import os

    return os.access(session.state_dir / "journal.sqlite", os.W_OK)


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _document(record: "Record") -> str:
    from go_cache_safeguard.core.canonical import canonical

    value: dict[str, Any] = {
        "schema": "go-cache-safeguard/watch/1",
        "seq": record.seq,
        "at": record.at,
        "op": record.op,
        "step": record.step,
        "state": None if record.state is None else str(record.state),
        "actor": record.actor,
        "data": dict(record.data),
    }
    return canonical(value).decode("ascii")


def _line(record: "Record") -> str:
    said = [f"{key} {record.data[key]}" for key in _SAYS if record.data.get(key)]
    reasons = "; ".join(str(one) for one in record.data.get("reasons", ()))
    parts = [
        record.at[:19] + "Z",
        record.op or "-",
        f"{record.step:<13}",
        record.actor,
        *([reasons] if reasons else []),
        *said,
    ]
    return "  ".join("".join(char if char.isprintable() else "?" for char in part) for part in parts)
