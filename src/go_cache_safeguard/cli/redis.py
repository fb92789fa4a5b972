"""`redis`: what the guard knows of commands; the group that guarded deletion belongs to.

Knows:     how the table of commands is shown.
Called by: `cli.app`.
Never:     talks to a server: `cli.redis_keys` has a flow do that.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from go_cache_safeguard.cli import options, redis_harden, redis_keys, redis_proxy
from go_cache_safeguard.core.errors import UsageFailure

if TYPE_CHECKING:
    from go_cache_safeguard.flows.guard import Treated
    from go_cache_safeguard.redis.commands import Class

app = typer.Typer(
    help="Redis and Valkey: what commands destroy, and what the guard does about it.", no_args_is_help=True
)


@app.callback()
def _group() -> None:
    """Redis and Valkey: what commands destroy, and what the guard does about it."""


@app.command()
def commands(
    *,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Only these, such as DEL, CONFIG or 'CONFIG|SET'.")
    ] = None,
    of_class: Annotated[
        str | None, typer.Option("--class", metavar="CLASS", help="Only of this class, such as removes or server.")
    ] = None,
    json: options.Json = False,
    settings: options.Settings = None,
) -> None:
    """Show every command with its class and what the current policy would do with it at its worst.

    A call may be less than its command: SET with NX overwrites nothing, SORT without STORE only reads.
    """
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.guard import list_commands

    session = options.session(settings=settings, quiet=True, json=json)
    found = list_commands(session, names or [], _class(of_class))
    screen = Screen(as_json=json, color=session.config.choice("output.color"))
    if json:
        screen.document("redis-commands", 1, {"commands": [_value(one) for one in found]})
        return
    # No table: cells would be cut where the screen ends.
    for one in found:
        line = f"{one.command.name:<28} {one.command.cls:<11} {one.treatment:<8} {one.command.why}"
        screen.line(line.rstrip())


redis_keys.register(app)
redis_harden.register(app)
redis_proxy.register(app)


def _class(text: str | None) -> "Class | None":
    from go_cache_safeguard.redis.commands import Class

    if text is None:
        return None
    try:
        return Class(text)
    except ValueError as error:
        raise UsageFailure(f"there is no class {text!r}", hint=f"classes: {', '.join(Class)}") from error


def _value(one: "Treated") -> dict[str, object]:
    from go_cache_safeguard.redis.commands import format_spec

    command = one.command
    return {
        "command": command.name,
        "class": command.cls,
        "policy": one.treatment,
        "policy_meaning": one.treatment.meaning,
        "rule": command.rule,
        "keys": [format_spec(spec) for spec in command.keys],
        "why": command.why,
        "undo": command.undo,
        "arity": command.arity,
        "flags": sorted(command.flags),
        "acl_categories": sorted(command.categories),
        "since": command.since,
        "seen": list(command.seen),
    }
