"""`audit checkpoint`, `audit key` and `audit repair`: what writes beside the journal.

Knows:     what a person is shown and types.
Called by: `cli.audit`.
Never:     shows a private key; repairs anything that was not shown and agreed to.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from go_cache_safeguard.cli import options
from go_cache_safeguard.core.errors import ExitCode, UsageFailure

if TYPE_CHECKING:
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.audit_repair import Repair

key = typer.Typer(help="The key that signs checkpoints of the journal.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add these commands to `audit`."""
    app.command()(checkpoint)
    app.command()(repair)
    app.add_typer(key, name="key")


def checkpoint(
    *, json: options.Json = False, settings: options.Settings = None, state_dir: options.StateDir = None
) -> None:
    """Read the whole journal, sign it as it is now, and tell the witnesses, also of what they could not be told before."""
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.checkpoint import checkpoint as make

    session = options.session(settings=settings, state_dir=state_dir, json=json)
    screen = Screen(as_json=json, color=session.config.choice("output.color"))
    with session.journal() as journal:
        made = make(session.config, journal, thorough=True)
    if made is None:
        raise UsageFailure("the journal has no record", not_done="nothing was signed")
    found = made.seal.checkpoint
    if json:
        value = {"size": found.size, "root": found.root.hex(), "note": made.seal.note.data.decode(), "new": made.new}
        screen.document("checkpoint", 1, {**value, "told": list(made.told), "away": list(made.away)})
    else:
        screen.line(made.seal.note.data.decode().rstrip("\n"))
        screen.line(f"{found.size:,} records are signed" + ("" if made.new else ", as they were before"))
        for name in made.told:
            screen.line(f"witness {name} knows")
        for text in made.away:
            screen.line(f"unknown: {text}; it is told with the next checkpoint", "yellow")
    if made.away:
        raise typer.Exit(ExitCode.COULD_NOT_TELL)


@key.command()
def show(
    *,
    pem: Annotated[bool, typer.Option("--pem", help="As openssl reads it.")] = False,
    json: options.Json = False,
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """Print the public keys of the journal, the newest last: keep them where the journal is not."""
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.checkpoint import holders_of

    session = options.session(settings=settings, state_dir=state_dir, json=json)
    screen = Screen(as_json=json, color=session.config.choice("output.color"))
    with session.journal(read_only=True) as journal:
        holders = holders_of(journal)
    if json:
        keys = [{"since": it.seq, "key": str(it.key), "pem": it.key.pem} for it in holders]
        screen.document("keys", 1, {"keys": keys})
        return
    if not holders:
        raise UsageFailure("the journal has no key yet", hint="`go-cache-safeguard audit checkpoint` makes one")
    for it in holders:
        screen.line(it.key.pem.rstrip("\n") if pem else str(it.key))


@key.command()
def rotate(
    *,
    lost: Annotated[
        bool,
        typer.Option(
            "--lost", help="The old key is gone: nobody vouches for the new one, and auditors must be told of it."
        ),
    ] = False,
    json: options.Json = False,
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """Have a new key sign from here on; the old and the new one sign that together, in a record."""
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.checkpoint import rotate as make

    session = options.session(settings=settings, state_dir=state_dir, json=json)
    screen = Screen(as_json=json, color=session.config.choice("output.color"))
    with session.journal() as journal:
        new = make(session.config, journal, lost=lost)
    if json:
        screen.document("key", 1, {"key": str(new), "pem": new.pem})
    else:
        screen.line(str(new))


def repair(
    *,
    yes: Annotated[
        str,
        typer.Option("--yes", metavar="DIGITS", help="The first 8 digits or more of the last record's hash, as shown."),
    ] = "",
    json: options.Json = False,
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """Write a lost head file again, after you have seen where the journal ends. Nothing else is ever repaired."""
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.audit_repair import plan_repair
    from go_cache_safeguard.flows.audit_repair import repair as run

    session = options.session(settings=settings, state_dir=state_dir, json=json)
    screen = Screen(as_json=json, color=session.config.choice("output.color"))
    with session.journal() as journal:
        plan = plan_repair(session.config, journal)
        if not json:
            _show(screen, plan)
        typed = yes or ("" if json else _ask())
        if len(typed) < 8 or not plan.head.hash.startswith(typed.strip().lower()):
            raise UsageFailure(
                "not confirmed",
                not_done="nothing was repaired",
                hint=f"the last record is {plan.head.seq}, with the hash {plan.head.hash}",
            )
        run(journal, plan)
    if json:
        screen.document("repair", 1, {"seq": plan.head.seq, "hash": plan.head.hash, "signed": plan.audit.signed})
    else:
        screen.line("the head file was written, and a record about it")


def _show(screen: "Screen", plan: "Repair") -> None:
    screen.line(f"the journal ends with record {plan.head.seq}: {plan.step}, {plan.at}, by {plan.actor}")
    screen.line(f"its hash is {plan.head.hash}")
    if plan.audit.signed:
        screen.line(
            f"a signed checkpoint covers the first {plan.audit.signed} records; nobody can say whether one came after the last"
        )
    else:
        screen.line("there is no signed checkpoint: nobody can say whether the end was cut off", "yellow")
    for text in plan.audit.doubts:
        screen.line(f"unknown: {text}", "yellow")


def _ask() -> str:
    return str(
        typer.prompt(
            "Type the first 8 digits of the hash to write the head file, anything else to leave it",
            err=True,
            default="",
        )
    )
