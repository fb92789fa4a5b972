"""`redis harden` and `redis watch`: close the way round the guard, and see who takes it all the same.

Knows:     their arguments, and how rules, findings and evidence are shown.
Called by: `cli.redis`; `cli.redis_keys` hands approved changes of rules to it.
Never:     changes a rule without a plan that was shown, and a decision that the journal holds.
"""

import json as json_text
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from go_cache_safeguard.cli import options
from go_cache_safeguard.core.errors import ExitCode, UsageFailure

if TYPE_CHECKING:
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.core.receipt import Receipt
    from go_cache_safeguard.flows.redis_harden import Outline, RulesBack
    from go_cache_safeguard.flows.session import Session
    from go_cache_safeguard.redis.harden import Change

Url = Annotated[
    str | None,
    typer.Option(
        "--url", metavar="URL", help="The server, as a user that may administer it; default: the setting redis.url."
    ),
]
PasswordFile = Annotated[
    str | None, typer.Option("--password-file", metavar="FILE", help="File with the password, readable by you only.")
]
Users = Annotated[
    list[str] | None,
    typer.Option(
        "--user", metavar="NAME", help="An application; default: everybody but guard, admins and you. Repeatable."
    ),
]
Guard = Annotated[str, typer.Option("--guard", metavar="NAME", help="The user that the guard itself works as.")]
Admins = Annotated[
    list[str] | None, typer.Option("--admin", metavar="NAME", help="A user that is left alone. Repeatable.")
]
_EXIT = {"WARN": ExitCode.BLOCKED, "BLOCK": ExitCode.BLOCKED, "UNKNOWN": ExitCode.COULD_NOT_TELL}
_SHOWN = 24


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(harden)
    app.command()(watch)


@options.grouped
def harden(
    *,
    url: Url = None,
    user: Users = None,
    guard: Guard = "guard",
    admin: Admins = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Deny also what removes or empties a key in one form: SET, EXPIRE, LPOP.")
    ] = False,
    behind_proxy: Annotated[
        bool,
        typer.Option("--behind-proxy", help="Applications come through the proxy; heeds the setting redis.execute."),
    ] = False,
    acl: Annotated[
        bool, typer.Option("--acl", help="Print lines for an ACL file or ACL SETUSER, without passwords.")
    ] = False,
    apply: Annotated[
        bool, typer.Option("--apply", help="Change the rules of the server's users, once approved.")
    ] = False,
    save: Annotated[bool, typer.Option("--save", help="With --apply: make them outlive a restart.")] = False,
    asking: options.Asking,
    password_file: PasswordFile = None,
    receipt: Annotated[
        Path | None,
        typer.Option("--receipt", metavar="FILE", help="Write the receipt that an auditor keeps; a new file."),
    ] = None,
    common: options.Common,
) -> None:
    """Show the rules with which a server itself refuses what the guard would hold; with --apply, set them. `redis undo` goes back."""
    from go_cache_safeguard.flows.redis_harden import Wish, outline
    from go_cache_safeguard.flows.redis_server import address_of, connect_node

    if save and not apply:
        raise UsageFailure("--save goes with --apply", not_done="nothing was changed")
    session = common.session(*asking.settings, *_given(password_file))
    wish = Wish(
        tuple(map(_latin, user or ())),
        _latin(guard),
        tuple(map(_latin, admin or ())),
        strict=strict,
        proxied=behind_proxy,
        retry=behind_proxy and _execute(session) == "retry",
        save=save,
    )
    with connect_node(session, address_of(session, url)) as server:
        found = outline(session, server, wish)
    screen = common.screen(session)
    if apply:
        _apply(session, screen, found, asking, receipt=receipt)
        return
    if acl:
        _print_lines(found)
        return
    _tell(screen, found)
    _leave(verdict.outcome for verdict in found.findings if verdict.outcome != "WARN")


def watch(
    *,
    url: Url = None,
    guard: Annotated[
        str | None, typer.Option("--guard", metavar="NAME", help="The guard's user: its connections are ours.")
    ] = None,
    proxy: Annotated[
        list[str] | None,
        typer.Option(
            "--proxy",
            metavar="ADDRESS",
            help="Connections from here are let through: 10.0.0.7, 10.0.0.7:4000, /path.sock.",
        ),
    ] = None,
    seconds: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="Look for so long, such as 30s; default: until Ctrl-C.")
    ] = None,
    interval: Annotated[str, typer.Option("--interval", metavar="TIME", help="Look so often.")] = "5s",
    strict: Annotated[
        bool, typer.Option("--strict", help="Report also what removes or empties a key in one form: SET, EXPIRE, LPOP.")
    ] = False,
    password_file: PasswordFile = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document for each finding, one on a line.")
    ] = False,
    quiet: options.Quiet = False,
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """Report destructive commands that did not come through the guard. Exit code 10 if there were any, 13 if that cannot be told."""
    from go_cache_safeguard.flows.redis_server import address_of
    from go_cache_safeguard.flows.redis_watch import Told, Watched, watched
    from go_cache_safeguard.redis.bypass import Ours

    session = _session(settings, state_dir, password_file, quiet=quiet, json=json)
    screen = _screen(session, json=json)
    told: list[str] = []

    def tell(one: Told) -> None:
        told.append(one.finding.outcome)
        if json:
            sys.stdout.write(json_text.dumps(one.as_value(), ensure_ascii=True) + "\n")
            sys.stdout.flush()
            return
        finding = one.finding
        screen.line(
            f"{one.at}  {finding.outcome:<8} {finding.what}: {finding.text}",
            "bold" if finding.outcome == "BLOCK" else "",
        )
        for line in finding.evidence:
            screen.line(f"          {line}")

    wanted = Watched(
        address_of(session, url),
        Ours(None if guard is None else _latin(guard), tuple(proxy or ())),
        every_s=max(1, options.duration(interval, "--interval") or 1),
        for_s=options.duration(seconds, "--for"),
        strict=strict,
    )
    watched(session, wanted, tell)
    _leave(told)


def carry_on(session: "Session", op: str, account: Path | None, *, json: bool) -> None:
    """Execute a change of rules that was approved."""
    from go_cache_safeguard.flows.redis_harden import resume

    _tell_receipt(_screen(session, json=json), resume(session, op, account=account))


def put_back(session: "Session", op: str, *, replace: bool, json: bool) -> None:
    """Give users their former rules again."""
    from go_cache_safeguard.flows.redis_harden import undo

    _tell_back(_screen(session, json=json), undo(session, op, replace_newer=replace))


def _apply(
    session: "Session", screen: "Screen", found: "Outline", asking: options.Asking, *, receipt: Path | None
) -> None:
    from go_cache_safeguard.flows.account import refuse_taken
    from go_cache_safeguard.flows.clean import clean
    from go_cache_safeguard.flows.redis_harden import execute, judge, plan_of

    if receipt is not None:
        refuse_taken(receipt)
    plan = plan_of(session, found)
    if not plan.items:
        if screen.as_json:
            screen.document("redis-harden-applied", 1, {"op": None, "planned": 0, "moved": 0})
        else:
            screen.line("every user has these rules already; nothing to do")
        return
    confirm = options.confirming(session, screen, options.person_at(screen, lambda _: None), always=asking.confirm)
    if not screen.as_json:
        _tell_changes(screen, found)
        for verdict in found.findings:
            if verdict.outcome == "BLOCK":
                screen.verdict(verdict)
        screen.line(f"  digest        {plan.digest}")
    verdicts = judge(session, found)
    done = clean(
        session,
        plan,
        lambda: verdicts,
        execute,
        confirm,
        always_ask=asking.confirm,
        account=receipt,
        replaces=asking.replaces or "",
    )
    _tell_receipt(screen, done)


def _print_lines(found: "Outline") -> None:
    from go_cache_safeguard.redis.harden import aclfile

    sys.stdout.buffer.write(aclfile(found.changes).encode("latin-1"))
    sys.stdout.flush()
    sys.stderr.write(
        "no passwords are printed: ACL SETUSER keeps those that are there, but ACL LOAD wants them in the file (#<SHA-256>)\n"
    )


def _tell(screen: "Screen", found: "Outline") -> None:
    if screen.as_json:
        screen.document("redis-harden", 1, _value(found))
        return
    screen.line(f"rules for {found.target}, version {found.version}", "bold")
    _tell_changes(screen, found)
    if not found.changes:
        screen.line("  no application has more than it needs" if found.terms else "  nothing can be done here")
    for verdict in found.findings:
        screen.verdict(verdict)
    screen.line("nothing was changed; --acl prints the rules, --apply sets them")


def _tell_changes(screen: "Screen", found: "Outline") -> None:
    for change in found.changes:
        name = _name(change)
        for head, sign, names in (("loses", "-", change.lost), ("gains", "+", change.gained)):
            if names:
                screen.line(f"user {name}: {head} {len(names)} commands: {_listed(sign, names)}")
        if change.limited:
            screen.line(
                f"user {name}: {len(change.limited)} commands only with keys that may lose something: {_listed('', change.limited)}"
            )
        if not (change.lost or change.gained or change.limited):
            screen.line(f"user {name}: no command that a later version brings")
    for text, names in found.notes:
        about = f" ({len(names)}): {_listed('', names)}" if names else ""
        screen.line(f"note: {text}{about}", "dim")


def _listed(sign: str, names: tuple[str, ...]) -> str:
    shown = ", ".join(f"{sign}{name}" for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more; --json names them"


def _value(found: "Outline") -> dict[str, Any]:
    return {
        "target": found.target,
        "run_id": found.identity,
        "version": found.version,
        "you": found.me,
        "users": [
            {
                "user": _name(change),
                "loses": list(change.lost),
                "gains": list(change.gained),
                "limited": list(change.limited),
                "rules": [_ascii(word) for word in change.words],
            }
            for change in found.changes
        ],
        "not_there": [_ascii(name) for name in found.unknown],
        "findings": [verdict.as_value() for verdict in found.findings],
        "notes": [{"text": text, "commands": list(names)} for text, names in found.notes],
    }


def _tell_receipt(screen: "Screen", receipt: "Receipt") -> None:
    if screen.as_json:
        screen.document("redis-harden-applied", 1, receipt.as_value())
        return
    screen.line(f"{receipt.state}  {receipt.op}", "bold green" if receipt.state == "DONE" else "bold yellow")
    screen.line(f"  the rules of {receipt.moved} of {receipt.planned} users are new")
    if receipt.changed:
        screen.line(f"  {receipt.changed} were changed since the plan was made, and stay")
    for text in receipt.proof:
        screen.line(f"  proof: {text}")
    screen.line(f"  undo: go-cache-safeguard redis undo {receipt.op}")


def _tell_back(screen: "Screen", back: "RulesBack") -> None:
    if screen.as_json:
        screen.document("redis-rules-undo", 1, back.as_value())
        return
    screen.line(f"UNDONE  {back.op}", "bold green")
    for names, text in (
        (back.restored, "have their former rules again"),
        (back.there, "had them already"),
        (back.newer, "were changed since, and stay; --replace overwrites that"),
        (back.gone, "are not there any more, and are not made again"),
    ):
        if names:
            screen.line(f"  {', '.join(names)}: {text}")


def _leave(outcomes: Any) -> None:
    """End with the exit code of the worst."""
    found = {str(outcome) for outcome in outcomes}
    for outcome in ("BLOCK", "WARN", "UNKNOWN"):
        if outcome in found:
            raise typer.Exit(_EXIT[outcome])


def _execute(session: "Session") -> str:
    from go_cache_safeguard.config.setting import BY_KEY

    return session.config.choice("redis.execute") if "redis.execute" in BY_KEY else "guard"


def _session(
    settings: list[str] | None, state_dir: str | None, password_file: str | None, *, quiet: bool, json: bool
) -> "Session":
    given = [*(settings or []), *_given(password_file)]
    return options.session(settings=given, state_dir=state_dir, quiet=quiet, json=json)


def _given(password_file: str | None) -> list[str]:
    return [] if password_file is None else [f"redis.password_file={Path.cwd() / password_file}"]


def _screen(session: "Session", *, json: bool) -> "Screen":
    from go_cache_safeguard.cli.screen import Screen

    return Screen(as_json=json, color=session.config.choice("output.color"))


def _name(change: "Change") -> str:
    return _ascii(change.user.name)


def _ascii(text: str) -> str:
    from go_cache_safeguard.redis.keyname import text_of

    return text_of(text.encode("latin-1"))


def _latin(name: str) -> str:
    """A name of the command line, each byte as one character."""
    return name.encode("utf-8", "surrogateescape").decode("latin-1")
