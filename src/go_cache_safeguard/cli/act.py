"""`plan`, `clean`, `undo`, `recover`, `purge`: the commands that lead to removal, and back.

Knows:     their arguments, what a person is shown before and after, and which prompt asks what.
Called by: `cli.app`.
Never:     removes without a plan that was shown, and a decision that the journal holds.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
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
    from go_cache_safeguard.flows.clean import Asked, Confirm, How
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
_NAMED = 20
OpArgument = Annotated[str, typer.Argument(metavar="OP", help="The operation's id; see `ops list --all`.")]


@dataclass(frozen=True)
class Selectors:
    """What goes: the group of `plan` and `clean`."""

    everything: Everything = False
    unused_for: UnusedFor = None
    max_size: MaxSize = None
    min_free: MinFree = None
    dead_toolchains: DeadToolchains = False
    keep_toolchain: KeepToolchain = None
    package: Package = None
    kind: KindOption = None
    orphans: Orphans = False

    def wanted(self) -> "Wanted":
        """Read them."""
        from go_cache_safeguard.flows.plan import Wanted

        typed = {
            "--all": self.everything,
            "--unused-for": self.unused_for,
            "--max-size": self.max_size,
            "--min-free": self.min_free,
            "--dead-toolchains": self.dead_toolchains,
            "--keep-toolchain": self.keep_toolchain,
            "--package": self.package,
            "--kind": self.kind,
            "--orphans": self.orphans,
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
            everything=self.everything,
            unused_for_s=options.duration(self.unused_for, "--unused-for"),
            max_size=options.size(self.max_size, "--max-size"),
            min_free=options.size(self.min_free, "--min-free"),
            dead_toolchains=self.dead_toolchains,
            keep_toolchains=tuple(self.keep_toolchain or ()),
            packages=tuple(self.package or ()),
            kinds=tuple(self.kind or ()),
            orphans=self.orphans,
            words=tuple(words),
        )


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (plan, clean, undo, recover, purge):
        app.command()(command)


@options.grouped
def plan(
    *,
    selectors: Selectors,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the plan here.")] = None,
    listing: Annotated[bool, typer.Option("--list", help="Name every file that would go.")] = False,
    gocache: options.GoCache = None,
    common: options.Common,
) -> None:
    """Say exactly what would go, and why. Touches nothing."""
    from go_cache_safeguard.flows.plan import make_plan, write_plan

    wanted = selectors.wanted()
    session = common.session()
    made, _ = make_plan(session, session.gocache(gocache), wanted)
    if output is not None:
        write_plan(made, output)
    screen = common.screen(session)
    if common.json:
        screen.document("plan", 1, _plan_value(made))
        return
    show_plan(screen, made)
    if listing:
        for item in made.items:
            screen.line(f"{item.name}  {item.size}  {item.reason}")
    if output is not None:
        screen.line(f"written to {output}; `go-cache-safeguard clean {output}` does exactly that")


@options.grouped
def clean(
    what: Annotated[
        str | None, typer.Argument(metavar="[PLAN|OP]", help="A plan file, or the id of an approved operation.")
    ] = None,
    *,
    selectors: Selectors,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Check, plan and decide; touch nothing.")] = False,
    asking: options.Asking,
    token_file: options.TokenFile = None,
    checks: Checks = None,
    wait: Wait = None,
    proof: ProofOption = None,
    prove: Prove = None,
    snapshot: Snapshot = False,
    snapshot_file: SnapshotFile = None,
    sign: SnapshotKey = None,
    receipt: ReceiptFile = None,
    gocache: options.GoCache = None,
    common: options.Common,
) -> None:
    """Check, plan, decide, copy, move to quarantine, prove. Undo is instant; `purge` deletes later."""
    from go_cache_safeguard.flows.account import refuse_taken
    from go_cache_safeguard.flows.clean import clean as run_clean
    from go_cache_safeguard.flows.clean import resume

    wanted = selectors.wanted()
    session = common.session(*asking.settings)
    snapshotter = _copying(session, sign, snapshot_file, repository=snapshot)
    if receipt is not None:
        refuse_taken(receipt)
    screen = common.screen(session)
    if what is not None and is_operation_id(what):
        options.approve_first(session, what, token_file)
        manner = manner_of(session, plan_asked(session, what), wait, proof, prove or ())
        done = resume(session, what, replace(manner, snapshotter=snapshotter), account=receipt)
        tell_receipt(screen, done, copy=_copy_of(session, done.op))
        return
    options.refuse_token(token_file)
    made = _planned(session, what, wanted, gocache)
    run = checking(session, Path(made.target), checks, proving=bool(prove))

    if dry_run:
        tell_dry_run(session, screen, made, run())
        return
    if not made.items:
        tell_nothing(screen, made)
        return
    confirm = options.confirming(session, screen, person_at(screen), always=asking.confirm)
    done = run_clean(
        session,
        made,
        run,
        replace(manner_of(session, made, wait, proof, prove or ()), snapshotter=snapshotter),
        confirm,
        always_ask=asking.confirm,
        account=receipt,
        replaces=asking.replaces or "",
    )
    tell_receipt(screen, done, copy=_copy_of(session, done.op))


@options.grouped
def undo(
    op: OpArgument,
    *,
    proof: ProofOption = None,
    prove: Prove = None,
    common: options.Common,
) -> None:
    """Put back everything that an operation moved; newer entries of the cache are kept."""
    from go_cache_safeguard.flows.provers import prover_named
    from go_cache_safeguard.flows.undo import undo as run_undo

    session = common.session()
    undone = run_undo(session, op, prover_named(session, proof, prove or ()))
    screen = common.screen(session)
    if common.json:
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


@options.grouped
def recover(
    *,
    wait: Wait = None,
    proof: ProofOption = None,
    common: options.Common,
) -> None:
    """After a crash: finish or undo whatever was under way. Safe to run at any time, and again."""
    from go_cache_safeguard.flows.provers import provers_after
    from go_cache_safeguard.flows.recover import recover as run_recover

    session = common.session()
    done = run_recover(session, provers_after(session, proof), wait_s=waiting(session, wait))
    screen = common.screen(session)
    if common.json:
        screen.document("recover", 1, {"operations": [one.as_value() for one in done]})
    elif not done:
        screen.line("nothing was under way")
    else:
        for one in done:
            screen.line(f"{one.op}  {one.found} -> {one.now}" + (f"  ({one.problem})" if one.problem else ""))
    if any(one.problem for one in done):
        raise typer.Exit(ExitCode.RESTORE_FAILED)


@options.grouped
def purge(
    op: Annotated[
        str | None,
        typer.Argument(metavar="[OP]", help="Only this one, and at once; or what deletes for good and was approved."),
    ] = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Say what would be deleted.")] = False,
    rate: Annotated[int | None, typer.Option("--rate", metavar="N", help="At most so many files each second.")] = None,
    asking: options.Asking,
    token_file: options.TokenFile = None,
    common: options.Common,
) -> None:
    """Really delete quarantine whose retention has ended. With OP: at once, after you type its digest.

    What `purge`, `snapshot prune`, `redis trash purge` or `serve database retain` had held, it carries out once it is approved.
    """
    from go_cache_safeguard.flows import purge as flow
    from go_cache_safeguard.flows.disposal import dispose
    from go_cache_safeguard.flows.disposers import is_final, outcome_of

    session = common.session(*asking.settings, *([] if rate is None else [f"quarantine.purge_rate={rate}"]))
    screen = common.screen(session)
    if op is not None and is_final(session, op):
        carry_out(session, screen, op, token_file)
        return
    options.refuse_token(token_file)
    with session.journal() as journal:
        of = [journal.operation(op)] if op is not None else journal.operations()
        known = flow.not_purged(journal, flow.stored(session, of))
    due = [one for one in known if op is not None or one.due_s <= time.time()]
    if dry_run or not due:
        _tell_purge(screen, [one.as_value() for one in due], dry_run=dry_run, kept=len(known) - len(due))
        return
    plan = flow.plan_of(session, due, whole=sum(one.size for one in known))

    def question() -> None:
        options.confirm_digest(due[0].digest, due[0].size, due[0].op)

    how = how_to_dispose(session, screen, asking, options.no_question if op is None else question)
    receipt = dispose(session, plan, flow.verdict_of(due, time.time()), flow.dispose, how)
    rows: Any = outcome_of(session, receipt.op)["operations"]
    _tell_purge(screen, rows, dry_run=False, kept=len(known) - len(due), op=receipt.op)
    if any(row["stopped"] for row in rows):
        raise typer.Exit(ExitCode.INTERRUPTED)


def _tell_purge(
    screen: "Screen", rows: "Sequence[Mapping[str, Any]]", *, dry_run: bool, kept: int, op: str = ""
) -> None:
    if screen.as_json:
        by = {"op": op} if op else {}
        screen.document("purge", 1, {**by, "dry_run": dry_run, "operations": rows, "kept": kept})
        return
    for row in rows:
        if dry_run:
            screen.line(f"{row['op']}  would delete {row['files']:,} files, {format_size(row['bytes'])}")
        else:
            stopped = ", stopped" if row["stopped"] else ""
            screen.line(f"{row['op']}  deleted {row['removed']:,} files, {format_size(row['bytes'])}{stopped}")
    if not rows:
        screen.line(f"nothing is due; {kept} operations are kept in quarantine")


def carry_out(session: "Session", screen: "Screen", op: str, token_file: Path | None) -> None:
    """Carry out what deletes for good, was held and is approved now."""
    from go_cache_safeguard.flows.disposers import outcome_of, resume

    options.approve_first(session, op, token_file)
    receipt = resume(session, op)
    if screen.as_json:
        screen.document("purged", 1, {**receipt.as_value(), "outcome": dict(outcome_of(session, op))})
        return
    screen.line(f"{receipt.state}  {receipt.op}", "bold")
    screen.line(f"  {receipt.moved:,} of {receipt.planned:,} items, {format_size(receipt.size)}, are gone for good")
    stayed = (receipt.changed, "are not as the plan saw them, and stay"), (receipt.missing, "were gone already")
    for count, text in stayed:
        if count:
            screen.line(f"  {count:,} {text}")
    for name, why in receipt.failed:
        screen.line(f"  stays: {name}: {why}", "yellow")


def how_to_dispose(session: "Session", screen: "Screen", asking: options.Asking, question: Callable[[], None]) -> "How":
    """How a deletion for good is asked for.

    Args:
        session: With the settings of now.
        screen: Where it is shown.
        asking: What was typed.
        question: What the command itself asks before it deletes anything, if nobody else is asked; raises if the answer is no.

    Raises:
        UsageFailure: Somebody is to be asked, and there is nobody.
    """
    from go_cache_safeguard.flows.clean import How, asks_for_good, somewhere_else

    def show(asked: "Asked") -> None:
        plan = asked.plan
        screen.line(f"plan for {plan.target}", "bold")
        screen.line(f"  would delete for good  {len(plan.items):,} items, {format_size(plan.total)}")
        for item in plan.items[:_NAMED]:
            screen.line(f"  {item.name}  {format_size(item.size)}  {item.reason}")
        if len(plan.items) > _NAMED:
            screen.line(f"  and {len(plan.items) - _NAMED:,} more")
        for verdict in asked.verdicts:
            screen.verdict(verdict)

    detached = session.config.choice("approval.detach") == "yes"
    others = not options.at_terminal(session, json=screen.as_json) and (detached or somewhere_else(session) is not None)
    always = asking.confirm or (others and question is not options.no_question)
    if not always and not asks_for_good(session):
        question()
    person = options.confirming(session, screen, options.person_at(screen, show), always=always)
    return How(person, always, asking.replaces or "")


def plan_asked(session: "Session", op: str) -> "Plan":
    """The plan that an operation was asked with."""
    from go_cache_safeguard.flows.clean import kept_plan

    with session.journal(read_only=True) as journal:
        return kept_plan(session, journal.operation(op))


def manner_of(
    session: "Session", plan: "Plan", wait: str | None, proof: str | None, prove: "Sequence[str]" = ()
) -> "Manner":
    """How a plan that was made earlier is carried out: with the proof that such a plan is due, whichever command does it."""
    from go_cache_safeguard.flows.provers import prover_before
    from go_cache_safeguard.flows.remove import Manner

    return Manner(waiting(session, wait), prover_before(session, plan, proof, prove))


def waiting(session: "Session", wait: str | None) -> int:
    """How long outputs wait for running go commands, in seconds: as typed, or as usual."""
    wait_s = options.duration(wait, "--wait")
    return session.default_wait_s if wait_s is None else wait_s


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


def checking(session: "Session", target: Path, text: str | None, *, proving: bool) -> "Callable[[], list[Verdict]]":
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


def person_at(screen: "Screen") -> "Confirm":
    """Whoever sits here: is shown the plan and the verdicts, and types the digest."""

    def show(asked: "Asked") -> None:
        show_plan(screen, asked.plan)
        for verdict in asked.verdicts:
            screen.verdict(verdict)

    return options.person_at(screen, show)


def tell_dry_run(session: "Session", screen: "Screen", made: "Plan", verdicts: Any) -> None:
    """What would happen, and what policy makes of it."""
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


def tell_nothing(screen: "Screen", made: "Plan") -> None:
    """That a plan is empty."""
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
