"""`redis check`, `del`, `unlink`, `flush`, `resume`, `undo`, `trash`: guarded deletion of keys, and the way back.

Knows:     their arguments, and how a plan, a receipt and the trash are shown.
Called by: `cli.redis`.
Never:     removes without a plan that was shown, and a decision that the journal holds; prints a key's odd bytes as they are.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from go_cache_safeguard.cli import act, options, redis_harden, redis_purge
from go_cache_safeguard.core.errors import ExitCode, UsageFailure
from go_cache_safeguard.core.size import format_size

if TYPE_CHECKING:
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.core.receipt import Receipt
    from go_cache_safeguard.core.verdict import Verdict
    from go_cache_safeguard.flows.clean import Asked
    from go_cache_safeguard.flows.redis_plan import Survey, Wanted
    from go_cache_safeguard.flows.redis_undo import PutBack
    from go_cache_safeguard.flows.session import Session

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="redis://user@host:port/db, rediss:// or unix:///path?db=N; the password comes from REDISCLI_AUTH or a file.",
    ),
]
PasswordFile = Annotated[
    str | None, typer.Option("--password-file", metavar="FILE", help="File with the password, readable by you only.")
]
Match = Annotated[
    list[str] | None, typer.Option("--match", metavar="PATTERN", help="Every key of this pattern, as in SCAN.")
]
Escaped = Annotated[
    bool, typer.Option("--escaped", help=r"KEY and PATTERN are written as plans write them: \x0a is one byte.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", "-n", help="Plan, check and decide; remove nothing.")]
MaxKeys = Annotated[
    int | None, typer.Option("--max-keys", metavar="N", help="More keys than this are held; 0 for any number.")
]
Threshold = Annotated[
    str | None,
    typer.Option("--block-ttl-threshold", metavar="TIME", help="Keys that end by themselves sooner are held: 5m."),
]
Rate = Annotated[int | None, typer.Option("--rate", metavar="N", help="At most so many keys each second.")]
Keys = Annotated[list[str] | None, typer.Argument(metavar="KEY", help="Names of keys.")]
Op = Annotated[str, typer.Argument(metavar="OP", help="The operation's id; see `ops list --all`.")]
ReceiptFile = Annotated[
    Path | None,
    typer.Option("--receipt", metavar="FILE", help="Write the receipt that an auditor keeps; a new file."),
]

trash = typer.Typer(help="Captured values of keys that were removed: list, show, restore, purge.", no_args_is_help=True)
_EXIT = {"BLOCK": ExitCode.BLOCKED, "UNKNOWN": ExitCode.COULD_NOT_TELL}
_SAMPLES = 10
_CLASSES = ((300, "end within 5m"), (3_600, "end within 1h"), (86_400, "end within 1d"))


@dataclass(frozen=True)
class Removing:
    """Where and how keys are removed: the group of `del`, `unlink` and `flush`."""

    url: Url = None
    dry_run: DryRun = False
    max_keys: MaxKeys = None
    rate: Rate = None
    password_file: PasswordFile = None
    receipt: ReceiptFile = None

    def settings(self, threshold: str | None) -> list[str]:
        """As settings for this run."""
        return _given(self.max_keys, threshold, self.rate, self.password_file)


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(check)
    app.command("del")(del_)
    app.command("purge")(purge_keys)
    for command in (unlink, flush, resume, undo):
        app.command()(command)
    app.add_typer(trash, name="trash")


@options.grouped
def check(
    patterns: Annotated[list[str], typer.Argument(metavar="PATTERN", help="As in SCAN; a plain name is one key.")],
    *,
    url: Url = None,
    escaped: Escaped = False,
    max_keys: MaxKeys = None,
    block_ttl_threshold: Threshold = None,
    password_file: PasswordFile = None,
    common: options.Common,
) -> None:
    """Say what removing the keys of these patterns would take, and what every check says of it. Removes nothing."""
    from go_cache_safeguard.core.verdict import worst

    session = common.session(*_given(max_keys, block_ttl_threshold, None, password_file))
    screen = common.screen(session)
    found, verdicts = _surveyed(session, url, _wanted("DEL", [], patterns, escaped=escaped))
    _tell_plan(screen, "redis-check", found, verdicts, "")
    code = _EXIT.get(worst(verdicts))
    if code is not None:
        raise typer.Exit(code)


@options.grouped
def del_(
    keys: Keys = None,
    *,
    match: Match = None,
    escaped: Escaped = False,
    block_ttl_threshold: Threshold = None,
    removing: Removing,
    asking: options.Asking,
    common: options.Common,
) -> None:
    """Remove keys: plan, check, hold or go on, capture every value, remove. `redis undo` puts them back."""
    session = common.session(*removing.settings(block_ttl_threshold), *asking.settings)
    wanted = _wanted("DEL", keys or [], match or [], escaped=escaped)
    _remove(session, common.screen(session), wanted, removing, asking)


@options.grouped
def unlink(
    keys: Keys = None,
    *,
    match: Match = None,
    escaped: Escaped = False,
    block_ttl_threshold: Threshold = None,
    removing: Removing,
    asking: options.Asking,
    common: options.Common,
) -> None:
    """As `redis del`, under the rules that the site has for UNLINK. Both free the memory in the background."""
    session = common.session(*removing.settings(block_ttl_threshold), *asking.settings)
    wanted = _wanted("UNLINK", keys or [], match or [], escaped=escaped)
    _remove(session, common.screen(session), wanted, removing, asking)


@options.grouped
def flush(
    *,
    db: Annotated[int | None, typer.Option("--db", metavar="N", help="This database; default: the URL's.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every database of the server.")] = False,
    gating: redis_purge.Gating,
    removing: Removing,
    asking: options.Asking,
    common: options.Common,
) -> None:
    """Remove every key that is there now, so that it can be undone. FLUSHDB itself is never sent; newer keys stay.

    With --gate it goes in waves, as `redis purge` does.
    """
    from go_cache_safeguard.flows.redis_plan import Wanted

    if db is not None and everything:
        raise UsageFailure("--db and --all exclude each other", not_done="nothing was removed")
    session = common.session(*removing.settings(None), *asking.settings, *gating.settings)
    wanted = Wanted("FLUSHALL" if everything else "FLUSHDB", everything=True)
    waves = None if gating.gate is None else gating
    _remove(session, common.screen(session), wanted, removing, asking, db=db, gating=waves)


@options.grouped
def purge_keys(
    patterns: Annotated[list[str], typer.Argument(metavar="PATTERN", help="As in SCAN.")],
    *,
    escaped: Escaped = False,
    block_ttl_threshold: Threshold = None,
    gating: redis_purge.Gating,
    removing: Removing,
    asking: options.Asking,
    common: options.Common,
) -> None:
    """Remove keys in waves that grow as long as the services that depend on them stay well; a wave that harms is put back.

    Every wave is judged while it goes and after it. No data are a pause; a pause that is too long stops, and `redis resume` goes on.
    """
    session = common.session(*removing.settings(block_ttl_threshold), *asking.settings, *gating.settings)
    wanted = _wanted("UNLINK", [], patterns, escaped=escaped)
    _remove(session, common.screen(session), wanted, removing, asking, gating=gating)


@options.grouped
def resume(
    op: Op,
    *,
    token_file: options.TokenFile = None,
    telling: options.Telling,
    rate: Rate = None,
    password_file: PasswordFile = None,
    receipt: ReceiptFile = None,
    common: options.Common,
) -> None:
    """Execute an approved operation, or go on with one that was stopped between two batches."""
    from go_cache_safeguard.flows.account import refuse_taken
    from go_cache_safeguard.flows.redis_call import resume as go_on
    from go_cache_safeguard.flows.redis_harden import is_about_rules

    session = common.session(*_given(None, None, rate, password_file), *telling.settings)
    if receipt is not None:
        refuse_taken(receipt)
    options.approve_first(session, op, token_file)
    if is_about_rules(session, op):
        redis_harden.carry_on(session, op, receipt, json=common.json)
        return
    _tell_receipt(session, common.screen(session), go_on(session, op, account=receipt))


@options.grouped
def undo(
    op: Op,
    *,
    replace: Annotated[
        bool, typer.Option("--replace", help="Overwrite keys that are there again; they are lost.")
    ] = False,
    password_file: PasswordFile = None,
    common: options.Common,
) -> None:
    """Put back every value that an operation took, with its expiry; keys that are there again stay as they are."""
    from go_cache_safeguard.flows.redis_harden import is_about_rules
    from go_cache_safeguard.flows.redis_undo import undo as put_back

    session = common.session(*_given(None, None, None, password_file))
    if is_about_rules(session, op):
        redis_harden.put_back(session, op, replace=replace, json=common.json)
        return
    _tell_back(common.screen(session), put_back(session, op, replace=replace))


trash.command("restore")(undo)


@trash.command("list")
@options.grouped
def list_(
    *,
    common: options.Common,
) -> None:
    """List operations whose captured values are kept."""
    from go_cache_safeguard.flows.redis_undo import stored

    session = common.session()
    screen = common.screen(session)
    with session.journal(read_only=True) as journal:
        found = stored(session, journal)
    if common.json:
        screen.document("redis-trash", 1, {"operations": [one.as_value() for one in found]})
        return
    if not found:
        screen.line("the trash is empty")
        return
    now, elsewhere = time.time(), any(one.place for one in found)
    rows = [
        (
            one.op,
            str(one.state or "?"),
            format_size(one.size),
            "needed" if one.due_s is None else "due" if one.due_s <= now else "kept",
            one.target,
            one.place or "here",
        )[: 6 if elsewhere else 5]
        for one in found
    ]
    screen.table(
        ("operation", "state", "size", "retention", "server", "kept in")[: 6 if elsewhere else 5], rows, right=(2,)
    )


@trash.command()
@options.grouped
def show(
    op: Op,
    *,
    common: options.Common,
) -> None:
    """Name the keys that an operation took; values are not shown."""
    from go_cache_safeguard.flows.redis_undo import show as keys_of

    session = common.session()
    screen = common.screen(session)
    found = keys_of(session, op)
    if common.json:
        rows = [{"name": one.name, "bytes": one.size, "expires_ms": one.expires_ms} for one in found]
        screen.document("redis-trash-keys", 1, {"op": op, "keys": rows})
        return
    for one in found:
        end = (
            "never ends"
            if one.expires_ms < 0
            else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(one.expires_ms / 1000))
        )
        screen.line(f"{one.name}  {format_size(one.size) if one.size else 'no copy'}  {end}")


@trash.command()
@options.grouped
def purge(
    op: Annotated[
        str | None, typer.Argument(metavar="[OP]", help="Only this one, and at once; or a purge that was held.")
    ] = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Say what would be deleted.")] = False,
    asking: options.Asking,
    token_file: options.TokenFile = None,
    common: options.Common,
) -> None:
    """Really delete captured values whose retention has ended. With OP: at once, after you type its digest."""
    from go_cache_safeguard.flows.disposal import dispose
    from go_cache_safeguard.flows.disposers import is_final, outcome_of
    from go_cache_safeguard.flows.redis_purge import dispose as throw_away
    from go_cache_safeguard.flows.redis_purge import plan_of, verdict_of
    from go_cache_safeguard.flows.redis_undo import stored

    session, now = common.session(*asking.settings), time.time()
    screen = common.screen(session)
    if op is not None and is_final(session, op):
        act.carry_out(session, screen, op, token_file)
        return
    options.refuse_token(token_file)
    with session.journal() as journal:
        known = stored(session, journal)
    due = [one for one in known if (one.op == op if op else one.due_s is not None and one.due_s <= now)]
    rows: Any = [one.as_value() for one in due]
    if due and not dry_run:

        def question() -> None:
            options.confirm_digest(due[0].digest, due[0].size, due[0].op)

        how = act.how_to_dispose(session, screen, asking, options.no_question if op is None else question)
        plan = plan_of(session, due, whole=sum(one.size for one in known))
        receipt = dispose(session, plan, verdict_of(due, now), throw_away, how)
        rows = outcome_of(session, receipt.op)["operations"]
    if screen.as_json:
        value = {"dry_run": dry_run, "operations": rows, "kept": len(known) - len(due)}
        screen.document("redis-purge", 1, value)
        return
    for row in rows:
        screen.line(f"{row['op']}  {'would delete' if dry_run else 'deleted'} {format_size(row['bytes'])}")
    if not due:
        screen.line(f"nothing is due; values of {len(known)} operations are kept")


def _given(
    max_keys: int | None,
    threshold: str | None,
    rate: int | None,
    password_file: str | None,
) -> list[str]:
    """Options that are settings for this run."""
    pairs = (
        ("redis.max_keys", max_keys),
        ("redis.block_ttl_threshold", threshold),
        ("redis.rate", rate),
        ("redis.password_file", None if password_file is None else str(Path.cwd() / password_file)),
    )
    return [f"{key}={value}" for key, value in pairs if value is not None]


def _wanted(command: str, keys: list[str], patterns: list[str], *, escaped: bool) -> "Wanted":
    from go_cache_safeguard.flows.redis_plan import Wanted
    from go_cache_safeguard.redis.keyname import key_of

    if not keys and not patterns:
        raise UsageFailure("no key and no pattern was given", not_done="nothing was removed")
    try:
        read = key_of if escaped else os.fsencode
        return Wanted(command, tuple(map(read, keys)), tuple(map(read, patterns)))
    except ValueError as error:
        raise UsageFailure(str(error), not_done="nothing was removed") from error


def _surveyed(
    session: "Session", url: str | None, wanted: "Wanted", db: int | None = None
) -> "tuple[Survey, list[Verdict]]":
    from dataclasses import replace

    from go_cache_safeguard.flows.redis_plan import judge, survey
    from go_cache_safeguard.flows.redis_server import address_of, connect

    address = address_of(session, url)
    with connect(session, address if db is None else replace(address, db=db)) as server:
        found = survey(session, server, wanted)
    return found, judge(session, found.facts)


def _remove(
    session: "Session",
    screen: "Screen",
    wanted: "Wanted",
    removing: Removing,
    asking: options.Asking,
    *,
    db: int | None = None,
    gating: redis_purge.Gating | None = None,
) -> None:
    from go_cache_safeguard.core.policy import decide
    from go_cache_safeguard.flows.account import refuse_taken
    from go_cache_safeguard.flows.clean import clean
    from go_cache_safeguard.flows.purge_waves import execute_waves
    from go_cache_safeguard.flows.redis_removal import execute

    if removing.receipt is not None:
        refuse_taken(removing.receipt)
    found, verdicts = _surveyed(session, removing.url, wanted, db)
    if gating is not None:
        found = redis_purge.gated(session, found, gating)
    if removing.dry_run:
        decision = decide(session.config.policy(), verdicts, removing=found.plan.total, of=found.plan.whole)
        if gating is not None and not screen.as_json:
            redis_purge.tell_forecast(screen, session, found)
        more = {} if gating is None else {"waves": redis_purge.forecast_of(session, found)}
        _tell_plan(screen, "redis-dry-run", found, verdicts, type(decision).__name__.lower(), **more)
        return
    if not found.plan.items:
        _tell_nothing(screen)
        return

    def show(asked: "Asked") -> None:
        for verdict in asked.verdicts:
            screen.verdict(verdict)

    confirm = options.confirming(session, screen, options.person_at(screen, show), always=asking.confirm)
    if not screen.as_json:
        _show(screen, found)
        if gating is not None:
            redis_purge.tell_forecast(screen, session, found)
    done = clean(
        session,
        found.plan,
        lambda: verdicts,
        execute if gating is None else execute_waves,
        confirm,
        always_ask=asking.confirm,
        account=removing.receipt,
        replaces=asking.replaces or "",
    )
    _tell_receipt(session, screen, done)


def _tell_plan(
    screen: "Screen", schema: str, found: "Survey", verdicts: "list[Verdict]", decision: str, **more: object
) -> None:
    if screen.as_json:
        rows = [verdict.as_value() for verdict in verdicts]
        value: dict[str, object] = {"plan": _plan_value(found), "verdicts": rows, **more}
        screen.document(schema, 1, {**value, "decision": decision} if decision else value)
        return
    _show(screen, found)
    for verdict in verdicts:
        screen.verdict(verdict)
    if decision:
        screen.line(f"policy would {decision} this")
    screen.line("nothing was removed")


def _plan_value(found: "Survey") -> dict[str, Any]:
    from go_cache_safeguard.redis.keyname import counted_prefixes, parse_place

    plan = found.plan
    prefixes = counted_prefixes(parse_place(item.name)[1] for item in plan.items)
    return {
        "digest": plan.digest,
        "target": plan.target,
        "run_id": plan.identity,
        "selectors": list(plan.selectors),
        "keys": len(plan.items),
        "missing": sum(left == -2 for left in found.facts.pttl.values()),
        "bytes": plan.total,
        "dump_bytes": found.facts.dumped,
        "prefixes": [{"prefix": prefix, "keys": count} for prefix, count in prefixes],
        "expiry": _expiry_classes(found),
        "samples": [item.name for item in plan.items[:_SAMPLES]],
    }


def _expiry_classes(found: "Survey") -> dict[str, int]:
    counts = dict.fromkeys([*(name for _, name in _CLASSES), "end later", "never end", "are not there"], 0)
    for left in found.facts.pttl.values():
        if left is None:
            counts["are not known"] = counts.get("are not known", 0) + 1
        elif left < 0:
            counts["are not there" if left == -2 else "never end"] += 1
        else:
            counts[next((name for limit, name in _CLASSES if left < limit * 1000), "end later")] += 1
    return {name: count for name, count in counts.items() if count}


def _show(screen: "Screen", found: "Survey") -> None:
    value = _plan_value(found)
    screen.line(f"plan for {value['target']}", "bold")
    screen.line(f"  would remove  {value['keys']:,} keys, {format_size(value['bytes'])} of memory")
    screen.line(
        "  to keep       "
        + (
            format_size(found.facts.dumped)
            if found.facts.dumped is not None
            else "not known: a value cannot be captured"
        )
    )
    for row in value["prefixes"]:
        screen.line(f"  prefix        {row['prefix']}: {row['keys']:,} keys")
    for name, count in value["expiry"].items():
        screen.line(f"  expiry        {count:,} {name}")
    for name in value["samples"]:
        screen.line(f"  such as       {name}")
    screen.line(f"  digest        {value['digest']}")


def _tell_nothing(screen: "Screen") -> None:
    if screen.as_json:
        screen.document("redis-removal", 1, {"op": None, "planned": 0, "moved": 0, "bytes": 0})
        return
    screen.line("no such key is there; nothing to do")


def _tell_receipt(session: "Session", screen: "Screen", receipt: "Receipt") -> None:
    waves = redis_purge.waves_of(session, receipt.op)
    if screen.as_json:
        told = {"waves": redis_purge.as_rows(waves)} if waves else {}
        screen.document("redis-removal", 1, {**receipt.as_value(), **told})
        return
    screen.line(f"{receipt.state}  {receipt.op}", "bold green" if receipt.state == "DONE" else "bold yellow")
    screen.line(
        f"  {receipt.moved:,} of {receipt.planned:,} keys, {format_size(receipt.size)}, are gone, in {receipt.took_ms} ms"
    )
    for count, text in (
        (receipt.changed, "were written to since the plan was made, and stay"),
        (receipt.missing, "were gone already"),
    ):
        if count:
            screen.line(f"  {count:,} {text}")
    for name, why in receipt.failed:
        screen.line(f"  stays: {name}: {why}", "yellow")
    redis_purge.tell_waves(screen, waves)
    for text in receipt.proof:
        screen.line(f"  proof: {text}")
    screen.line(f"  undo: go-cache-safeguard redis undo {receipt.op}")


def _tell_back(screen: "Screen", back: "PutBack") -> None:
    if screen.as_json:
        screen.document("redis-undo", 1, back.as_value())
        return
    screen.line(f"UNDONE  {back.op}", "bold green")
    screen.line(f"  {back.restored:,} keys, {format_size(back.size)}, are back, in {back.took_ms} ms")
    for count, text in (
        (back.there, "were there with the same value"),
        (back.newer, "are there with a newer value, which stays; --replace overwrites it"),
        (back.ended, "would have ended by now"),
        (back.no_copy, "went without a copy"),
        (back.made, "were made by the command, and stay"),
    ):
        if count:
            screen.line(f"  {count:,} {text}")
