"""Options that several commands share, each described once.

Knows:     names, help texts and types of shared options, and groups of those that belong together; how they become a session, and
           how the person at the terminal is asked.
Called by: the command files.
Never:     reads a cache.
"""

import inspect
import sys
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from go_cache_safeguard.core.duration import parse_duration
from go_cache_safeguard.core.errors import Failure, UsageFailure
from go_cache_safeguard.core.size import Share, format_size, parse_size

if TYPE_CHECKING:
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.clean import Asked, Confirm
    from go_cache_safeguard.flows.session import Session
    from go_cache_safeguard.journal.record import Record

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
ConfirmFlag = Annotated[
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


@dataclass(frozen=True)
class Telling:
    """Who is told of what is held: the group of whatever executes an operation."""

    confirm_hook: ConfirmHook = None
    confirm_wait: ConfirmWait = None
    detach: Detach = False

    @property
    def settings(self) -> list[str]:
        """As settings for this run.

        Raises:
            UsageFailure: It is to wait and not to wait.
        """
        return of_hook(self.confirm_hook, self.confirm_wait, detach=self.detach)


@dataclass(frozen=True)
class Asking(Telling):
    """Who is asked, and told: the group of every command that removes something."""

    confirm: ConfirmFlag = False
    replaces: Replaces = None


@dataclass(frozen=True)
class Common:
    """What nearly every command has."""

    json: Json = False
    quiet: Quiet = False
    settings: Settings = None
    state_dir: StateDir = None

    def session(self, *given: str) -> "Session":
        """Open a session.

        Args:
            given: Other options as settings for this run.
        """
        settings = [*(self.settings or []), *given]
        return session(settings=settings, state_dir=self.state_dir, quiet=self.quiet, json=self.json)

    def screen(self, opened: "Session") -> "Screen":
        """Where it prints."""
        from go_cache_safeguard.cli.screen import Screen

        return Screen(as_json=self.json, color=opened.config.choice("output.color"))


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Make a command of a function that takes groups: the options of each stand where the group stands."""
    parameters = inspect.signature(command).parameters
    groups: dict[str, Any] = {
        name: it.annotation
        for name, it in parameters.items()
        if isinstance(it.annotation, type) and is_dataclass(it.annotation)
    }
    spread = [one for name, it in parameters.items() for one in (_spread(groups[name]) if name in groups else [it])]

    @wraps(command)
    def run(**given: Any) -> None:
        made = {
            name: group(**{one.name: given.pop(one.name) for one in fields(group)}) for name, group in groups.items()
        }
        command(**given, **made)

    vars(run)["__signature__"] = inspect.Signature(spread)  # what inspect looks for, and typer through it
    run.__annotations__ = {one.name: one.annotation for one in spread}
    return run


def _spread(group: Any) -> list[inspect.Parameter]:
    keyword = inspect.Parameter.KEYWORD_ONLY
    return [
        inspect.Parameter(
            one.name,
            keyword,
            default=inspect.Parameter.empty if one.default is MISSING else one.default,
            annotation=one.type,
        )
        for one in fields(group)
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
    from go_cache_safeguard.flows.observing import observe
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
    observe(opened)
    return opened


def afterwards(failed: Failure | None = None) -> None:
    """When a command is over, however it ended: bring alerts and metrics up to date if it wrote to the journal, send telemetry.

    Args:
        failed: Why it failed, if it did.
    """
    while _OPENED:
        opened = _OPENED.pop()
        wanted = opened.config.text("alerts.alertmanager") or opened.config.text("metrics.textfile")
        if wanted and opened.wrote:
            from go_cache_safeguard.flows.alerts import afterwards as tell

            tell(opened, lambda text: typer.echo(text, err=True), failed)
        from go_cache_safeguard.flows.observing import finish

        finish(opened)


def of_hook(hook: str | None, wait: str | None, *, detach: bool) -> list[str]:
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
            approve_by_token(session, journal, op, token_file, barred=barred(session))
        else:
            redeem_there(link, journal, op, token_in(token_file, op, link.target.name))


def barred(session: "Session") -> "Callable[[Record], bool] | None":
    """Whether who minted a token is let in as an approver no more: people of `serve` may be on this machine."""
    if not (session.config.text("serve.database") or (session.state_dir / "people.sqlite").exists()):
        return None  # before anything heavy is loaded
    from go_cache_safeguard.cli.extra import need_extra

    need_extra("go_cache_safeguard.web.opening")
    from go_cache_safeguard.web.opening import barred_here

    return barred_here(session)


def refuse_token(token_file: Path | None) -> None:
    """Refuse `--token-file` where nothing is held yet.

    Raises:
        UsageFailure: It was given.
    """
    if token_file is not None:
        raise UsageFailure("--token-file goes with the id of a held operation", not_done="nothing was removed")


def ask_digest(digest: str, size: int, op: str) -> str:
    """Show a plan's digest and have a person type the beginning of it.

    Raises:
        UsageFailure: There is no terminal to ask at.
    """
    if not sys.stdin.isatty():
        raise UsageFailure(
            "approving asks a person, and stdin is not a terminal",
            not_done=f"{op} stays as it is",
            hint="run it in a terminal, or give a token with --token-file",
        )
    typer.echo(f"{op} removes {format_size(size)}. The digest of its plan is", err=True)
    typer.echo(f"  {digest}", err=True)
    return str(typer.prompt("Type its first 8 digits to approve, anything else to leave it", err=True, default=""))


def confirm_digest(digest: str, size: int, op: str) -> None:
    """Have a person type the beginning of a digest.

    Raises:
        UsageFailure: It was not typed, or there is nobody to ask.
    """
    from go_cache_safeguard.approval.token import digest_matches

    if not digest_matches(ask_digest(digest, size, op), digest):
        raise UsageFailure("not confirmed", not_done="nothing was deleted")


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


def confirming(session: "Session", screen: "Screen", person: "Confirm", *, always: bool) -> "Confirm | None":
    """The person at the terminal; None if nobody sits there.

    Args:
        session: With the settings of now.
        screen: Where things are shown.
        person: How they are asked.
        always: Whether somebody is to be asked even when policy allows it.

    Raises:
        UsageFailure: Somebody is to be asked, and there is neither a terminal nor a hook.
    """
    terminal = at_terminal(session, json=screen.as_json)
    somebody_to_ask(session, confirm=always, terminal=terminal)
    return person if terminal else None


def person_at(screen: "Screen", show: "Callable[[Asked], None]") -> "Confirm":
    """Whoever sits here: is shown what there is to know, and types the plan's digest."""

    def confirm(asked: "Asked") -> str:
        show(asked)
        for reason in asked.decision.reasons:
            screen.line(f"held: {reason}", "yellow")
        return ask_digest(asked.plan.digest, asked.plan.total, asked.op)

    return confirm


def no_question() -> None:
    """What a command asks that asks nothing."""


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
