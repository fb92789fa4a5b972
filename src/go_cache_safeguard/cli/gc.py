"""`gc`: collect what no root needs.

Knows:     its arguments, and how a person is shown why each package stays or goes.
Called by: `cli.app`.
Never:     removes without a plan that was shown, and a decision that the journal holds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from go_cache_safeguard.cli import act, options
from go_cache_safeguard.core.errors import UsageFailure
from go_cache_safeguard.core.operation import is_operation_id
from go_cache_safeguard.core.size import format_size

if TYPE_CHECKING:
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.core.plan import Plan
    from go_cache_safeguard.core.verdict import Verdict
    from go_cache_safeguard.flows.gc import Collection, Wanted
    from go_cache_safeguard.flows.remove import Manner
    from go_cache_safeguard.flows.session import Session


@dataclass(frozen=True)
class Limits:
    """What a collection is limited by: the group of `gc`."""

    max_size: Annotated[
        str | None,
        typer.Option("--max-size", metavar="SIZE", help="Only as much as it takes to leave so much: 20GiB, 10%."),
    ] = None
    min_free: Annotated[
        str | None,
        typer.Option("--min-free", metavar="SIZE", help="Only as much as it takes to have so much of the disk free."),
    ] = None
    reserve: Annotated[
        str | None, typer.Option("--reserve", metavar="SIZE", help="Leave at least so much, whatever else is asked.")
    ] = None
    keep_used_for: Annotated[
        str | None, typer.Option("--keep-used-for", metavar="AGE", help="Keep whatever was used within: 3d, 12h.")
    ] = None
    pin: Annotated[
        list[str] | None,
        typer.Option("--pin", metavar="PATTERN", help="Keep this package: import path, p/..., or with *. Repeatable."),
    ] = None
    evict_live: Annotated[
        bool,
        typer.Option("--evict-live", help="If that is not enough for the budget, go on with what roots need."),
    ] = False

    def wanted(self) -> "Wanted":
        """Read them."""
        from go_cache_safeguard.flows.gc import Wanted

        typed = {
            "--max-size": self.max_size,
            "--min-free": self.min_free,
            "--reserve": self.reserve,
            "--keep-used-for": self.keep_used_for,
        }
        words = [f"{name}={value}" for name, value in typed.items() if value]
        words += [f"--pin={pattern}" for pattern in self.pin or ()]
        if self.evict_live and not (self.max_size or self.min_free):
            raise UsageFailure("--evict-live goes with --max-size or --min-free", not_done="nothing was planned")
        return Wanted(
            max_size=options.size(self.max_size, "--max-size"),
            min_free=options.size(self.min_free, "--min-free"),
            reserve=options.size(self.reserve, "--reserve"),
            used_for_s=options.duration(self.keep_used_for, "--keep-used-for") or 0,
            pins=tuple(self.pin or ()),
            evict_live=self.evict_live,
            words=(*words, *(["--evict-live"] if self.evict_live else [])),
        )


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(gc)


@options.grouped
def gc(
    what: Annotated[
        str | None,
        typer.Argument(metavar="[PLAN|OP]", help="A plan that `gc -o` wrote, or the id of an approved operation."),
    ] = None,
    *,
    limits: Limits,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Check, plan and decide; touch nothing.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Only write the plan here.")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="For each package, why it stays or goes; touches nothing.")
    ] = False,
    proof: Annotated[
        str | None,
        typer.Option(
            "--proof",
            metavar="STEPS",
            help="With commas: roots (every root finds all it needs), and the proofs of `clean`; or none. [default: roots]",
        ),
    ] = None,
    checks: act.Checks = None,
    wait: act.Wait = None,
    asking: options.Asking,
    token_file: options.TokenFile = None,
    receipt: act.ReceiptFile = None,
    gocache: options.GoCache = None,
    common: options.Common,
) -> None:
    """Collect what no root needs, so that every root still finds everything: mark, plan, quarantine, prove. `undo` works.

    Roots are registered with `roots` and recorded by `trace`. With --max-size or --min-free only as much goes as that takes, best
    bargain first: the most bytes for each second of building it again.
    """
    from go_cache_safeguard.flows.account import refuse_taken
    from go_cache_safeguard.flows.clean import resume
    from go_cache_safeguard.flows.plan import write_plan

    wanted = limits.wanted()
    session = common.session(*asking.settings)
    screen = common.screen(session)
    if receipt is not None:
        refuse_taken(receipt)
    how = _How(wait, proof, checks, receipt, asking)
    if what is not None and is_operation_id(what):
        options.approve_first(session, what, token_file)
        manner = act.manner_of(session, act.plan_asked(session, what), wait, proof)
        act.tell_receipt(screen, resume(session, what, manner, account=receipt))
        return
    options.refuse_token(token_file)
    made, found = _planned(session, what, wanted, gocache)
    if output is not None:
        write_plan(made, output)
    if found is not None:
        _tell_collection(screen, found, explain=explain, quiet=not (explain or output))
    if not explain and output is None:
        _collect(session, screen, made, found, how, dry_run=dry_run)


@dataclass(frozen=True, slots=True)
class _How:
    """How a collection is carried out, as typed."""

    wait: str | None
    proof: str | None
    checks: str | None
    receipt: Path | None
    asking: options.Asking


def _collect(
    session: "Session", screen: "Screen", made: "Plan", found: "Collection | None", how: _How, *, dry_run: bool
) -> None:
    from go_cache_safeguard.flows.clean import clean

    run = act.checking(session, Path(made.target), how.checks, proving=False)
    if dry_run:
        if found is not None and screen.as_json:
            _dry_document(session, screen, found, run())
        else:
            act.tell_dry_run(session, screen, made, run())
        return
    if not made.items:
        act.tell_nothing(screen, made)
        return
    confirm = options.confirming(session, screen, act.person_at(screen), always=how.asking.confirm)
    done = clean(
        session,
        made,
        run,
        _manner(session, made, how, found),
        confirm,
        always_ask=how.asking.confirm,
        account=how.receipt,
        replaces=how.asking.replaces or "",
        seen=None if found is None else found.inventory,
    )
    act.tell_receipt(screen, done)


def _planned(
    session: "Session", what: str | None, wanted: "Wanted", gocache: Path | None
) -> "tuple[Plan, Collection | None]":
    from go_cache_safeguard.flows.gc import plan_gc

    if what is not None:
        return _given(what, wanted.words), None
    found = plan_gc(session, session.gocache(gocache), wanted)
    return found.plan, found


def _dry_document(session: "Session", screen: "Screen", found: "Collection", verdicts: "Sequence[Verdict]") -> None:
    from go_cache_safeguard.core.policy import decide

    decision = decide(session.config.policy(), verdicts, removing=found.plan.total, of=found.plan.whole)
    value = {
        **_value(found, explain=False),
        "verdicts": [verdict.as_value() for verdict in verdicts],
        "decision": type(decision).__name__.lower(),
        "reasons": list(decision.reasons),
    }
    screen.document("gc-plan", 1, value)


def _given(path: str, words: tuple[str, ...]) -> "Plan":
    if words:
        raise UsageFailure("a plan file says what goes; limits cannot be added", not_done="nothing was removed")
    return read_plan(path)


def read_plan(path: str) -> "Plan":
    """Read a plan file that somebody named.

    Raises:
        UsageFailure: It cannot be read.
        PlanVoid: It is none.
    """
    from go_cache_safeguard.core.plan import parse_plan

    try:
        return parse_plan(Path(path).read_bytes())
    except OSError as error:
        raise UsageFailure(
            f"the plan {path} cannot be read: {error.strerror}", not_done="nothing was removed"
        ) from error


def _manner(session: "Session", plan: "Plan", how: _How, found: "Collection | None") -> "Manner":
    from go_cache_safeguard.flows.gc import known_names
    from go_cache_safeguard.flows.provers import gc_prover
    from go_cache_safeguard.flows.remove import Manner

    if found is None:
        return act.manner_of(session, plan, how.wait, how.proof)
    return Manner(act.waiting(session, how.wait), gc_prover(plan, how.proof, known_names(found.asked)))


def _tell_collection(screen: "Screen", found: "Collection", *, explain: bool, quiet: bool) -> None:
    if screen.as_json:
        if not quiet:
            screen.document("gc-plan", 1, _value(found, explain=explain))
        return
    act.show_plan(screen, found.plan)
    measured, priced = _measured(found)
    how = (
        "all of it measured"
        if measured == priced
        else f"{measured:,} of {priced:,} measured, the rest estimated by size"
    )
    screen.line(f"  rebuilding  {found.choice.seconds:.1f} CPU s would make it again ({how})")
    screen.line(f"  roots       {len(found.asked)} registered, {found.traces} traced runs")
    for note in found.notes:
        screen.line(f"  note: {note}", "yellow")
    if found.forecast is not None:
        screen.line(f"  forecast    {found.forecast.text}")
    if explain:
        _tell_lines(screen, found)


def _tell_lines(screen: "Screen", found: "Collection") -> None:
    from go_cache_safeguard.flows.gc import explain

    lines = explain(found)
    rows = [
        (
            "goes" if line.goes else "stays",
            line.package,
            line.toolchain,
            line.target,
            format_size(line.size),
            f"{line.seconds:.1f}{'' if line.measured else '~'}",
            line.why,
        )
        for line in lines
    ]
    screen.heading("why each package stays or goes (~ marks an estimate)")
    screen.table(("", "package", "toolchain", "target", "size", "CPU s", "why"), rows, right=(4, 5))


def _measured(found: "Collection") -> tuple[int, int]:
    """Outputs that go: how many have a measured price, and how many there are."""
    from go_cache_safeguard.gocache.layout import parse_name

    outputs = [
        found.inventory.outputs[name[0]]
        for item in found.plan.items
        if (name := parse_name(item.name)) is not None and name[1] == "d"
    ]
    return sum(found.prices.of(output).measured for output in outputs), len(outputs)


def _value(found: "Collection", *, explain: bool) -> dict[str, object]:
    from go_cache_safeguard.flows.gc import explain as lines_of
    from go_cache_safeguard.flows.liveset import LiveSet

    measured, priced = _measured(found)
    value: dict[str, object] = {
        "target": found.plan.target,
        "digest": found.plan.digest,
        "files": len(found.plan.items),
        "bytes": found.plan.total,
        "whole_bytes": found.plan.whole,
        "short_bytes": found.choice.short,
        "evicted_bytes": found.choice.evicted,
        "rebuild_seconds": round(found.choice.seconds, 3),
        "outputs": priced,
        "measured": measured,
        "roots": [
            {
                **one.root.as_value(),
                "known": isinstance(one.found, LiveSet),
                "entries": len(one.found.actions) if isinstance(one.found, LiveSet) else None,
                "missing": list(one.found.missing) if isinstance(one.found, LiveSet) else None,
                "why": "" if isinstance(one.found, LiveSet) else one.found.why,
            }
            for one in found.asked
        ],
        "traces": found.traces,
        "notes": list(found.notes),
        "forecast": None if found.forecast is None else found.forecast.text,
    }
    if explain:
        value["packages"] = [
            {
                "package": line.package,
                "toolchain": line.toolchain,
                "target": line.target,
                "goes": line.goes,
                "why": line.why,
                "files": line.files,
                "bytes": line.size,
                "rebuild_seconds": round(line.seconds, 3),
                "measured": line.measured,
            }
            for line in lines_of(found)
        ]
    return value
