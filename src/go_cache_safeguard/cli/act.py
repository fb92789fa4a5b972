"""`plan`, `clean`, `undo`, `recover`, `purge`: the commands that lead to removal, and back.

Knows:     their arguments, what a person is shown before and after, and which prompt asks what.
Called by: `cli.app`.
Never:     removes without a plan that was shown, and a decision that the journal holds.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from go_cache_safeguard.cli import options
from go_cache_safeguard.core.errors import ExitCode, UsageFailure
from go_cache_safeguard.core.operation import is_operation_id
from go_cache_safeguard.core.size import format_size

if TYPE_CHECKING:
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.core.plan import Plan
    from go_cache_safeguard.core.receipt import Receipt
    from go_cache_safeguard.core.verdict import Verdict
    from go_cache_safeguard.flows.clean import Asked, Confirm
    from go_cache_safeguard.flows.plan import Wanted
    from go_cache_safeguard.flows.remove import Manner, Snapshotter
    from go_cache_safeguard.flows.session import Session

Everything = Annotated[bool, typer.Option("--all", help="Everything that go put there; fuzz/ and foreign files stay.")]
UnusedFor = Annotated[str | None, typer.Option("--unused-for", metavar="TIME", help="Not used for so long: 5d, 12h.")]
MaxSize = Annotated[
    str | None,
    typer.Option("--max-size", metavar="SIZE", help="Longest unused first until so much is left: 20GiB, 10%."),
]
MinFree = Annotated[
    str | None,
    typer.Option("--min-free", metavar="SIZE", help="Longest unused first until so much of the disk is free."),
]
DeadToolchains = Annotated[
    bool, typer.Option("--dead-toolchains", help="Made by a Go version that is not on this machine any more.")
]
KeepToolchain = Annotated[
    list[str] | None,
    typer.Option("--keep-toolchain", metavar="VERSION", help="With --dead-toolchains: counts as installed."),
]
Package = Annotated[
    list[str] | None, typer.Option("--package", metavar="PATTERN", help="Import path, p/..., or with *.")
]
KindOption = Annotated[
    list[str] | None, typer.Option("--kind", metavar="KIND", help="Kind of output, as `status` names it.")
]
Orphans = Annotated[bool, typer.Option("--orphans", help="Outputs that no index entry names.")]
Checks = Annotated[
    str | None,
    typer.Option(
        "--checks",
        metavar="IDS",
        help="Only these checks, with commas; `all` adds those of modules, as --prove does; `none` leaves it to policy.",
    ),
]
Wait = Annotated[
    str | None, typer.Option("--wait", metavar="TIME", help="How long outputs wait for running go commands to end.")
]
ProofOption = Annotated[
    str | None,
    typer.Option(
        "--proof",
        metavar="STEPS",
        help="With commas: canary (build, rebuild and run a program), build, test, vet, symbols; or none.",
    ),
]
Prove = Annotated[
    list[str] | None,
    typer.Option(
        "--prove",
        metavar="PACKAGE",
        help="Prove this package of the module in the current directory: build it, or what --proof says. Repeatable.",
    ),
]
Snapshot = Annotated[
    bool,
    typer.Option(
        "--snapshot", help="First copy what will go into the snapshot repository; without the copy nothing goes."
    ),
]
SnapshotFile = Annotated[
    Path | None,
    typer.Option("--snapshot-file", metavar="FILE", help="Or into a new archive: before.tar, before.tar.zst."),
]
SnapshotKey = Annotated[
    Path | None,
    typer.Option("--sign", metavar="KEY", help="Sign the copy with this private key; see `snapshot keygen`."),
]
ReceiptFile = Annotated[
    Path | None,
    typer.Option(
        "--receipt", metavar="FILE", help="Write the receipt that an auditor keeps, however it ends; a new file."
    ),
]
OpArgument = Annotated[str, typer.Argument(metavar="OP", help="The operation's id; see `ops list --all`.")]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (plan, clean, undo, recover, purge):
        app.command()(command)


def plan(
    *,
    everything: Everything = False,
    unused_for: UnusedFor = None,
    max_size: MaxSize = None,
    min_free: MinFree = None,
    dead_toolchains: DeadToolchains = False,
    keep_toolchain: KeepToolchain = None,
    package: Package = None,
    kind: KindOption = None,
    orphans: Orphans = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the plan here.")] = None,
    listing: Annotated[bool, typer.Option("--list", help="Name every file that would go.")] = False,
    gocache: options.GoCache = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """Say exactly what would go, and why. Touches nothing."""
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.plan import make_plan, write_plan

    wanted = _wanted(
        everything=everything,
        unused_for=unused_for,
        max_size=max_size,
        min_free=min_free,
        dead_toolchains=dead_toolchains,
        keep_toolchain=keep_toolchain,
        package=package,
        kind=kind,
        orphans=orphans,
    )
    session = options.session(settings=settings, state_dir=state_dir, quiet=quiet, json=json)
    made, _ = make_plan(session, session.gocache(gocache), wanted)
    if output is not None:
        write_plan(made, output)
    screen = Screen(as_json=json, color=session.config.choice("output.color"))
    if json:
        screen.document("plan", 1, _plan_value(made))
        return
    show_plan(screen, made)
    if listing:
        for item in made.items:
            screen.line(f"{item.name}  {item.size}  {item.reason}")
    if output is not None:
        screen.line(f"written to {output}; `go-cache-safeguard clean {output}` does exactly that")


def clean(
    what: Annotated[
        str | None, typer.Argument(metavar="[PLAN|OP]", help="A plan file, or the id of an approved operation.")
    ] = None,
    *,
    everything: Everything = False,
    unused_for: UnusedFor = None,
    max_size: MaxSize = None,
    min_free: MinFree = None,
    dead_toolchains: DeadToolchains = False,
    keep_toolchain: KeepToolchain = None,
    package: Package = None,
    kind: KindOption = None,
    orphans: Orphans = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Check, plan and decide; touch nothing.")] = False,
    confirm: options.Confirm = False,
    confirm_hook: options.ConfirmHook = None,
    confirm_wait: options.ConfirmWait = None,
    detach: options.Detach = False,
    token_file: options.TokenFile = None,
    replaces: options.Replaces = None,
    checks: Checks = None,
    wait: Wait = None,
    proof: ProofOption = None,
    prove: Prove = None,
    snapshot: Snapshot = False,
    snapshot_file: SnapshotFile = None,
    sign: SnapshotKey = None,
    receipt: ReceiptFile = None,
    gocache: options.GoCache = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """Check, plan, decide, copy, move to quarantine, prove. Undo is instant; `purge` deletes later."""
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.account import refuse_taken
    from go_cache_safeguard.flows.clean import clean as run_clean
    from go_cache_safeguard.flows.clean import resume

    wanted = _wanted(
        everything=everything,
        unused_for=unused_for,
        max_size=max_size,
        min_free=min_free,
        dead_toolchains=dead_toolchains,
        keep_toolchain=keep_toolchain,
        package=package,
        kind=kind,
        orphans=orphans,
    )
    given = [*(settings or []), *options.of_hook(confirm_hook, confirm_wait, detach)]
    session = options.session(settings=given, state_dir=state_dir, quiet=quiet, json=json)
    manner = replace(
        _manner(session, wait, proof, prove), snapshotter=_copying(session, sign, snapshot_file, repository=snapshot)
    )
    if receipt is not None:
        refuse_taken(receipt)
    screen = Screen(as_json=json, color=session.config.choice("output.color"))
    if what is not None and is_operation_id(what):
        options.approve_first(session, what, token_file)
        done = resume(session, what, manner, account=receipt)
        tell_receipt(screen, done, copy=_copy_of(session, done.op))
        return
    if token_file is not None:
        raise UsageFailure("--token-file goes with the id of a held operation", not_done="nothing was removed")
    made = _planned(session, what, wanted, gocache)
    run = _checking(session, Path(made.target), checks, proving=bool(prove))

    if dry_run:
        _tell_dry_run(session, screen, made, run())
        return
    if not made.items:
        _tell_nothing(screen, made)
        return
    asking = _asking(screen) if options.at_terminal(session, json=json) else None
    options.somebody_to_ask(session, confirm=confirm, terminal=asking is not None)
    done = run_clean(session, made, run, manner, asking, always_ask=confirm, account=receipt, replaces=replaces or "")
    tell_receipt(screen, done, copy=_copy_of(session, done.op))


def undo(
    op: OpArgument,
    *,
    proof: ProofOption = None,
    prove: Prove = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """Put back everything that an operation moved; newer entries of the cache are kept."""
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.undo import undo as run_undo

    session = options.session(settings=settings, state_dir=state_dir, quiet=quiet, json=json)
    undone = run_undo(session, op, _manner(session, None, proof, prove).prover)
    screen = Screen(as_json=json, color=session.config.choice("output.color"))
    if json:
        screen.document("undo", 1, undone.as_value())
        return
    screen.line(f"UNDONE  {op}", "bold green")
    screen.line(f"  {undone.restored:,} files, {format_size(undone.size)} are back, in {undone.took_ms} ms")
    if undone.newer:
        screen.line(
            f"  {undone.newer:,} entries stay in quarantine: a build has made them again since; `purge` deletes ours"
        )
    for text in undone.proof:
        screen.line(f"  proof: {text}")


def recover(
    *,
    wait: Wait = None,
    proof: ProofOption = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """After a crash: finish or undo whatever was under way. Safe to run at any time, and again."""
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.recover import recover as run_recover

    session = options.session(settings=settings, state_dir=state_dir, quiet=quiet, json=json)
    manner = _manner(session, wait, proof, None)
    done = run_recover(session, manner.prover, wait_s=manner.wait_s)
    screen = Screen(as_json=json, color=session.config.choice("output.color"))
    if json:
        screen.document("recover", 1, {"operations": [one.as_value() for one in done]})
    elif not done:
        screen.line("nothing was under way")
    else:
        for one in done:
            screen.line(f"{one.op}  {one.found} -> {one.now}" + (f"  ({one.problem})" if one.problem else ""))
    if any(one.problem for one in done):
        raise typer.Exit(ExitCode.RESTORE_FAILED)


def purge(
    op: Annotated[str | None, typer.Argument(metavar="[OP]", help="Only this one, and at once.")] = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Say what would be deleted.")] = False,
    rate: Annotated[int | None, typer.Option("--rate", metavar="N", help="At most so many files each second.")] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """Really delete quarantine whose retention has ended. With OP: at once, after you type its digest."""
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.purge import purge as run_purge
    from go_cache_safeguard.flows.purge import stored

    session = options.session(settings=settings, state_dir=state_dir, quiet=quiet, json=json)
    per_second = session.config.count("quarantine.purge_rate") if rate is None else rate
    screen = Screen(as_json=json, color=session.config.choice("output.color"))
    with session.journal() as journal:
        known = stored(session, [journal.operation(op)] if op is not None else journal.operations())
        due = [one for one in known if op is not None or one.due_s <= time.time()]
        if dry_run:
            done = []
        else:
            if op is not None and due:
                _confirm_purge(due[0].op, due[0].digest, due[0].size)
            done = [run_purge(session, journal, one, per_second=per_second) for one in due]
    if json:
        rows = [one.as_value() for one in (due if dry_run else done)]
        screen.document("purge", 1, {"dry_run": dry_run, "operations": rows, "kept": len(known) - len(due)})
        return
    for one in due if dry_run else []:
        screen.line(f"{one.op}  would delete {one.files:,} files, {format_size(one.size)}")
    for gone in done:
        screen.line(
            f"{gone.op}  deleted {gone.removed:,} files, {format_size(gone.size)}"
            + (", stopped" if gone.stopped else "")
        )
    if not due:
        screen.line(f"nothing is due; {len(known)} operations are kept in quarantine")
    if any(gone.stopped for gone in done):
        raise typer.Exit(ExitCode.INTERRUPTED)


def _confirm_purge(op: str, digest: str, size: int) -> None:
    from go_cache_safeguard.approval.token import digest_matches
    from go_cache_safeguard.cli.operations import ask_digest

    if not digest_matches(ask_digest(digest, size, op), digest):
        raise UsageFailure("not confirmed", not_done="nothing was deleted")


def _wanted(
    *,
    everything: bool,
    unused_for: str | None,
    max_size: str | None,
    min_free: str | None,
    dead_toolchains: bool,
    keep_toolchain: list[str] | None,
    package: list[str] | None,
    kind: list[str] | None,
    orphans: bool,
) -> "Wanted":
    from go_cache_safeguard.flows.plan import Wanted

    typed = {
        "--all": everything,
        "--unused-for": unused_for,
        "--max-size": max_size,
        "--min-free": min_free,
        "--dead-toolchains": dead_toolchains,
        "--keep-toolchain": keep_toolchain,
        "--package": package,
        "--kind": kind,
        "--orphans": orphans,
    }
    words: list[str] = []
    for name, value in typed.items():
        if value is True:
            words.append(name)
        elif isinstance(value, list):
            words.extend(f"{name}={one}" for one in value)
        elif value:
            words.append(f"{name}={value}")
    return Wanted(
        everything=everything,
        unused_for_s=options.duration(unused_for, "--unused-for"),
        max_size=options.size(max_size, "--max-size"),
        min_free=options.size(min_free, "--min-free"),
        dead_toolchains=dead_toolchains,
        keep_toolchains=tuple(keep_toolchain or ()),
        packages=tuple(package or ()),
        kinds=tuple(kind or ()),
        orphans=orphans,
        words=tuple(words),
    )


def _manner(session: "Session", wait: str | None, proof: str | None, prove: list[str] | None) -> "Manner":
    from go_cache_safeguard.flows.packages import Wanted as Proved
    from go_cache_safeguard.flows.prove import prover_for, steps_of
    from go_cache_safeguard.flows.remove import Manner

    steps = steps_of(proof or session.config.choice("clean.proof"), packages=bool(prove))
    wait_s = options.duration(wait, "--wait")
    return Manner(
        wait_s=session.default_wait_s if wait_s is None else wait_s,
        prover=prover_for(steps, Proved(tuple(prove or ["./..."]))),
    )


def _copying(session: "Session", key: Path | None, file: Path | None, *, repository: bool) -> "Snapshotter | None":
    from go_cache_safeguard.flows.copying import copy_to_file, copy_to_repository

    if file is not None and repository:
        raise UsageFailure("--snapshot and --snapshot-file are two places for one copy", not_done="nothing was done")
    if file is not None:
        return copy_to_file(session, file, key=key)
    if repository:
        return copy_to_repository(key=key)
    if key is not None:
        raise UsageFailure("--sign needs --snapshot or --snapshot-file", not_done="nothing was done")
    return None


def _checking(session: "Session", target: Path, text: str | None, *, proving: bool) -> "Callable[[], list[Verdict]]":
    """What runs the checks that a person named: by default those of build caches, and with --prove those of modules, too."""
    from go_cache_safeguard.flows.checks import askable_in, run_checks, run_module_checks, split_ids

    if text is None:
        askable = askable_in(session, session.cwd) if proving else ()
        return lambda: [*run_checks(session, target), *run_module_checks(session, session.cwd, askable)]
    if text == "all":
        return lambda: [*run_checks(session, target), *run_module_checks(session, session.cwd)]
    names = () if text == "none" else tuple(part.strip() for part in text.split(",") if part.strip())
    of_builds, of_modules = split_ids(names)
    return lambda: [*run_checks(session, target, of_builds), *run_module_checks(session, session.cwd, of_modules)]


def _planned(session: "Session", what: str | None, wanted: "Wanted", gocache: Path | None) -> "Plan":
    from go_cache_safeguard.core.plan import parse_plan
    from go_cache_safeguard.flows.plan import make_plan

    if what is None:
        made, _ = make_plan(session, session.gocache(gocache), wanted)
        return made
    if wanted.words or gocache is not None:
        raise UsageFailure(
            "a plan file says what goes; selectors and --gocache cannot be added", not_done="nothing was removed"
        )
    try:
        return parse_plan(Path(what).read_bytes())
    except OSError as error:
        raise UsageFailure(
            f"the plan {what} cannot be read: {error.strerror}", not_done="nothing was removed"
        ) from error


def _plan_value(made: "Plan") -> dict[str, Any]:
    return {
        "digest": made.digest,
        "target": made.target,
        "selectors": list(made.selectors),
        "files": len(made.items),
        "bytes": made.total,
        "whole_bytes": made.whole,
        "items": [{"name": i.name, "bytes": i.size, "mtime_ns": i.stamp, "reason": i.reason} for i in made.items],
    }


def show_plan(screen: "Screen", made: "Plan") -> None:
    """Totals, reasons and digest of a plan."""
    entries = sum(item.name.endswith("-a") for item in made.items)
    percent = made.total * 100 / made.whole if made.whole else 0.0
    screen.line(f"plan for {made.target}", "bold")
    screen.line(f"  would move  {entries:,} index entries and {len(made.items) - entries:,} outputs")
    screen.line(f"  size        {format_size(made.total)} of {format_size(made.whole)} ({percent:.1f}%)")
    reasons: dict[str, tuple[int, int]] = {}
    for item in made.items:
        files, size = reasons.get(item.reason, (0, 0))
        reasons[item.reason] = files + 1, size + item.size
    for reason, (files, size) in sorted(reasons.items(), key=lambda pair: -pair[1][1]):
        screen.line(f"  because     {reason}: {files:,} files, {format_size(size)}")
    screen.line(f"  digest      {made.digest}")


def _asking(screen: "Screen") -> "Confirm":
    def confirm(asked: "Asked") -> str:
        from go_cache_safeguard.cli.operations import ask_digest

        show_plan(screen, asked.plan)
        for verdict in asked.verdicts:
            screen.verdict(verdict)
        for reason in asked.decision.reasons:
            screen.line(f"held: {reason}", "yellow")
        return ask_digest(asked.plan.digest, asked.plan.total, asked.op)

    return confirm


def _tell_dry_run(session: "Session", screen: "Screen", made: "Plan", verdicts: Any) -> None:
    from go_cache_safeguard.core.decision import Allow, Hold
    from go_cache_safeguard.core.policy import decide

    decision = decide(session.config.policy(), verdicts, removing=made.total, of=made.whole)
    word = "allow" if isinstance(decision, Allow) else "hold" if isinstance(decision, Hold) else "refuse"
    if screen.as_json:
        plan_value = {key: value for key, value in _plan_value(made).items() if key != "items"}
        rows = [verdict.as_value() for verdict in verdicts]
        screen.document(
            "dry-run", 1, {"plan": plan_value, "verdicts": rows, "decision": word, "reasons": decision.reasons}
        )
        return
    show_plan(screen, made)
    for verdict in verdicts:
        screen.verdict(verdict)
    screen.line(f"policy would {word} this" + (": " + "; ".join(decision.reasons) if decision.reasons else ""))
    screen.line("dry run: nothing was touched")


def _tell_nothing(screen: "Screen", made: "Plan") -> None:
    if screen.as_json:
        screen.document("clean", 1, {"op": None, "planned": 0, "moved": 0, "bytes": 0})
        return
    screen.line(f"nothing in {made.target} matches; nothing to do")


def _copy_of(session: "Session", op: str) -> dict[str, Any]:
    """The snapshot that was made before an operation removed anything; empty for none."""
    with session.journal(read_only=True) as journal:
        return dict(journal.operation(op).data.get("snapshot") or {})


def tell_receipt(screen: "Screen", receipt: "Receipt", *, copy: dict[str, Any] | None = None) -> None:
    """What was done, with the way back."""
    if screen.as_json:
        screen.document("clean", 1, receipt.as_value() | ({"snapshot": copy} if copy else {}))
        return
    screen.line(f"{receipt.state}  {receipt.op}", "bold green" if receipt.state == "DONE" else "bold yellow")
    after, size = receipt.before - receipt.size, receipt.size
    percent = size * 100 / receipt.before if receipt.before else 0.0
    screen.line(f"  {format_size(receipt.before)} => {format_size(after)} (-{format_size(size)}, -{percent:.1f}%)")
    screen.line(f"  {receipt.moved:,} of {receipt.planned:,} files are in quarantine, in {receipt.took_ms} ms")
    for count, text in (
        (receipt.changed, "were used or rewritten since the plan was made, and stay"),
        (receipt.missing, "were gone already"),
        (receipt.named_again, "are named by a new entry, and stay"),
        (receipt.waiting, "outputs wait for running go commands; `recover` moves them later"),
    ):
        if count:
            screen.line(f"  {count:,} {text}")
    for text in receipt.waited_for:
        screen.line(f"  still running: {text}")
    for name, why in receipt.failed:
        screen.line(f"  stays: {name}: {why}", "yellow")
    for text in receipt.proof:
        screen.line(f"  proof: {text}")
    if copy:
        where = copy.get("file") or f"{str(copy['id'])[:10]} in {copy['repository']}"
        screen.line(f"  copy: {copy['files']:,} files, {format_size(copy['bytes'])}: {where}")
    screen.line(f"  undo: go-cache-safeguard undo {receipt.op}")
    screen.line("  the disk gets the space back with `go-cache-safeguard purge`, after the retention")
