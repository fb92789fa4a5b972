"""Options that several commands share, each described once.

Knows:     names, help texts and types of shared options; how they become a session.
Called by: the command files.
Never:     reads a cache.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from go_cache_safeguard.core.duration import parse_duration
from go_cache_safeguard.core.errors import Failure, UsageFailure
from go_cache_safeguard.core.size import Share, parse_size

if TYPE_CHECKING:
    from go_cache_safeguard.flows.session import Session

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
GoCache = Annotated[
    Path | None,
    typer.Option("--gocache", metavar="DIR", help="The build cache; default: what `go env GOCACHE` says."),
]
StateDir = Annotated[
    str | None, typer.Option("--state-dir", metavar="DIR", help="Where journal, plans and indexes of ours lie.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting for this run only; see `config show`. Repeatable."),
]
Confirm = Annotated[
    bool, typer.Option("--confirm", help="Ask a person even when policy allows it: you, here, or whom the hook tells.")
]
ConfirmHook = Annotated[
    str | None,
    typer.Option(
        "--confirm-hook",
        metavar="URL|cli-interactive",
        help="Who is told of a held operation: a URL that gets a signed message, or you, here. See docs/approvals.md.",
    ),
]
ConfirmWait = Annotated[
    str | None,
    typer.Option("--confirm-wait", metavar="TIME", help="With a URL: how long to wait for the approval; default: not."),
]
Detach = Annotated[
    bool,
    typer.Option(
        "--detach", help="If it is held: tell people, and end at once with exit code 11; `ops watch` follows it."
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file", metavar="FILE", help="Approve with this token first; `-` asks for it, or reads it from stdin."
    ),
]
Replaces = Annotated[
    str | None,
    typer.Option("--replaces", metavar="OP", help="Ask again for what this operation was about; kept in the journal."),
]
AllEntries = Annotated[bool, typer.Option("--all", help="Hash everything again, whatever the index remembers.")]
Sample = Annotated[
    str | None,
    typer.Option(
        "--sample", metavar="SHARE", help="Besides what changed, hash this share again, chosen at random: 5%."
    ),
]


_OPENED: "list[Session]" = []
"""Sessions of this run, for `afterwards`."""


def session(
    *, settings: list[str] | None = None, state_dir: str | None = None, quiet: bool = False, json: bool = False
) -> "Session":
    """Open a session from the shared options.

    Raises:
        typer.BadParameter: A `--set` is not KEY=VALUE.
    """
    from go_cache_safeguard.cli.progress import progress_for
    from go_cache_safeguard.flows.session import open_session

    arguments: dict[str, str] = {}
    for text in settings or []:
        key, equals, value = text.partition("=")
        if not equals:
            raise typer.BadParameter(f"{text!r} is not KEY=VALUE", param_hint="--set")
        arguments[key.strip()] = value.strip()
    if state_dir is not None:
        arguments["state.dir"] = state_dir
    opened = open_session(arguments, progress=progress_for(quiet=quiet or json))
    _OPENED.append(opened)
    return opened


def afterwards(failed: Failure | None = None) -> None:
    """When a command is over, however it ended: bring alerts and metrics up to date if it wrote to the journal.

    Args:
        failed: Why it failed, if it did.
    """
    while _OPENED:
        opened = _OPENED.pop()
        wanted = opened.config.text("alerts.alertmanager") or opened.config.text("metrics.textfile")
        if wanted and opened.wrote:
            from go_cache_safeguard.flows.alerts import afterwards as tell

            tell(opened, lambda text: typer.echo(text, err=True), failed)


def of_hook(hook: str | None, wait: str | None, detach: bool = False) -> list[str]:  # noqa: FBT001, FBT002 - one command hands on all three as a tuple
    """`--confirm-hook`, `--confirm-wait` and `--detach` as settings for this run.

    Raises:
        UsageFailure: It is to wait and not to wait.
    """
    if detach and wait is not None:
        raise UsageFailure("--detach and --confirm-wait exclude each other", not_done="nothing was changed")
    held = (("approval.wait", "0s"), ("approval.detach", "yes")) if detach else (("approval.wait", wait),)
    return [f"{key}={value}" for key, value in (("approval.hook", hook), *held) if value is not None]


def at_terminal(session: "Session", *, json: bool) -> bool:
    """Whether somebody sits here who can be asked."""
    return not json and sys.stdin.isatty() and session.config.choice("approval.detach") == "no"


def approve_first(session: "Session", op: str, token_file: Path | None) -> None:
    """Approve an operation with `--token-file`, if it was given; where a server decides, there.

    Raises:
        NotApproved: The token does not count.
        Trouble: The server does not help.
    """
    from go_cache_safeguard.flows.approve import approve_by_token, token_in
    from go_cache_safeguard.flows.fleet import redeem_there, server_of

    if token_file is None:
        return
    with session.journal() as journal:
        if (link := server_of(session)) is None:
            approve_by_token(session, journal, op, token_file)
        else:
            redeem_there(link, journal, op, token_in(token_file, op))


def somebody_to_ask(session: "Session", *, confirm: bool, terminal: bool) -> None:
    """Refuse `--confirm` where nobody can be asked.

    Args:
        session: With the settings of now.
        confirm: Whether it was given.
        terminal: Whether somebody sits at one.

    Raises:
        UsageFailure: There is neither a terminal nor a hook.
    """
    from go_cache_safeguard.flows.fleet import server_of
    from go_cache_safeguard.flows.hooks import hook_of

    detached = session.config.choice("approval.detach") == "yes"
    if confirm and not (terminal or detached) and server_of(session) is None and hook_of(session) is None:
        raise UsageFailure(
            "--confirm asks a person, and stdin is not a terminal",
            not_done="nothing was changed",
            hint="run it in a terminal without --json, name a URL with --confirm-hook, or hold it with --detach",
        )


def size(text: str | None, option: str) -> int | Share | None:
    """Read a size or share given to an option."""
    if text is None:
        return None
    try:
        return parse_size(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error


def duration(text: str | None, option: str) -> int | None:
    """Read a length of time given to an option, in seconds."""
    if text is None:
        return None
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error


def share(text: str | None, option: str) -> float:
    """Read a share given to an option, 0 to 1; 0 when it was not given."""
    read = size(text, option)
    if read is None:
        return 0.0
    if not isinstance(read, Share):
        raise typer.BadParameter(f"{text!r} is not a share such as 5%", param_hint=option)
    return read.per_million / 1_000_000
