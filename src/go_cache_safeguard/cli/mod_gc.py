"""`mod gc`: collect module versions that no registered module or workspace needs.

Knows:     its arguments, and how what goes is shown.
Called by: `cli.mod`.
Never:     removes without a plan that was shown, and a decision that the journal holds.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from go_cache_safeguard.cli import act, gc, options
from go_cache_safeguard.core.errors import UsageFailure
from go_cache_safeguard.core.operation import is_operation_id
from go_cache_safeguard.core.size import format_size

if TYPE_CHECKING:
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.core.plan import Plan
    from go_cache_safeguard.flows.clean import Asked
    from go_cache_safeguard.flows.mod_gc import ModCollection, Wanted
    from go_cache_safeguard.flows.remove import Manner
    from go_cache_safeguard.flows.session import Session

_SHOWN = 40


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command("gc")(collect)


@options.grouped
def collect(
    what: Annotated[
        str | None,
        typer.Argument(metavar="[PLAN|OP]", help="A plan that `mod gc -o` wrote, or the id of an approved operation."),
    ] = None,
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Every module version, as `go clean -modcache` takes it, whoever needs it.")
    ] = False,
    pin: Annotated[
        list[str] | None,
        typer.Option("--pin", metavar="PATTERN", help="Keep this module: path, p/..., or with *. Repeatable."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Plan and decide; touch nothing.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Only write the plan here.")
    ] = None,
    proof: Annotated[
        str, typer.Option("--proof", metavar="roots|none", help="Every root still finds all its packages offline.")
    ] = "roots",
    asking: options.Asking,
    token_file: options.TokenFile = None,
    receipt: act.ReceiptFile = None,
    modcache: Annotated[
        Path | None,
        typer.Option("--modcache", metavar="DIR", help="The module cache; default: what `go env GOMODCACHE` says."),
    ] = None,
    common: options.Common,
) -> None:
    """Collect zips and trees that no go.sum of a registered module or workspace names: plan, quarantine, prove. `undo` works."""
    from go_cache_safeguard.flows.account import refuse_taken
    from go_cache_safeguard.flows.clean import resume
    from go_cache_safeguard.flows.mod_gc import Wanted
    from go_cache_safeguard.flows.plan import write_plan

    if proof not in {"roots", "none"}:
        raise UsageFailure(f"{proof!r} is no proof here: roots or none", not_done="nothing was planned")
    session = common.session(*asking.settings)
    screen = common.screen(session)
    if receipt is not None:
        refuse_taken(receipt)
    if what is not None and is_operation_id(what):
        options.approve_first(session, what, token_file)
        manner = act.manner_of(session, act.plan_asked(session, what), None, proof)
        act.tell_receipt(screen, resume(session, what, manner, account=receipt))
        return
    options.refuse_token(token_file)
    words = (*(["--all"] if everything else []), *(f"--pin={pattern}" for pattern in pin or ()))
    if what is not None and words:
        raise UsageFailure("a plan file says what goes; nothing can be added", not_done="nothing was removed")
    found = _planned(session, what, modcache, Wanted(everything, tuple(pin or ()), words))
    if output is not None:
        write_plan(found.plan, output)
    if not common.json or output is not None or dry_run:
        _tell(session, screen, found, dry_run=dry_run)
    if output is None and not dry_run:
        _collect(session, screen, found, proof=proof, asking=asking, receipt=receipt)


def _planned(session: "Session", what: str | None, modcache: Path | None, wanted: "Wanted") -> "ModCollection":
    from go_cache_safeguard.flows.mod_gc import of_plan, plan_mod_gc

    return plan_mod_gc(session, modcache, wanted) if what is None else of_plan(session, gc.read_plan(what))


def _collect(
    session: "Session",
    screen: "Screen",
    found: "ModCollection",
    *,
    proof: str,
    asking: options.Asking,
    receipt: Path | None,
) -> None:
    from go_cache_safeguard.flows.clean import clean

    if not found.plan.items:
        act.tell_nothing(screen, found.plan)
        return

    def show(asked: "Asked") -> None:
        for verdict in asked.verdicts:
            screen.verdict(verdict)

    person = options.person_at(screen, show)
    done = clean(
        session,
        found.plan,
        lambda: [found.verdict],
        _manner(found.plan, proof, found.known),
        options.confirming(session, screen, person, always=asking.confirm),
        always_ask=asking.confirm,
        account=receipt,
        replaces=asking.replaces or "",
    )
    act.tell_receipt(screen, done)


def _manner(plan: "Plan", proof: str, known: frozenset[Path]) -> "Manner":
    from go_cache_safeguard.flows.mod_gc import mod_prover
    from go_cache_safeguard.flows.remove import Manner

    return Manner(wait_s=0, prover=None if proof == "none" else mod_prover(plan, known))


def _tell(session: "Session", screen: "Screen", found: "ModCollection", *, dry_run: bool) -> None:
    from go_cache_safeguard.core.policy import decide

    plan = found.plan
    decision = decide(session.config.policy(), [found.verdict], removing=plan.total, of=plan.whole)
    word = type(decision).__name__.lower()
    if screen.as_json:
        screen.document("mod-gc-plan", 1, {**_value(found), "decision": word, "reasons": list(decision.reasons)})
        return
    screen.line(f"plan for {plan.target}", "bold")
    percent = plan.total * 100 / plan.whole if plan.whole else 0.0
    screen.line(f"  would move  {len(plan.items):,} zips, hashes, go.mod files and trees of {found.gone:,} versions")
    screen.line(f"  size        {format_size(plan.total)} of {format_size(plan.whole)} ({percent:.1f}%)")
    screen.line(f"  roots       {len(found.folders)} modules and workspaces; {found.kept:,} versions stay")
    largest = sorted(plan.items, key=lambda item: (-item.size, item.name))
    screen.table(
        ("name", "size", "why"),
        [(item.name, format_size(item.size), item.reason) for item in largest[:_SHOWN]],
        right=(1,),
    )
    if len(largest) > _SHOWN:
        screen.line(f"  and {len(largest) - _SHOWN:,} smaller ones")
    for note in found.notes:
        screen.line(f"  note: {note}", "yellow")
    screen.line(f"  digest      {plan.digest}")
    screen.verdict(found.verdict)
    if dry_run:
        screen.line(f"policy would {word} this" + (": " + "; ".join(decision.reasons) if decision.reasons else ""))
        screen.line("dry run: nothing was touched")


def _value(found: "ModCollection") -> dict[str, object]:
    return {
        "target": found.plan.target,
        "digest": found.plan.digest,
        "bytes": found.plan.total,
        "whole_bytes": found.plan.whole,
        "roots": [str(folder) for folder in found.folders],
        "kept_versions": found.kept,
        "gone_versions": found.gone,
        "items": [{"name": item.name, "bytes": item.size, "reason": item.reason} for item in found.plan.items],
        "verdict": found.verdict.as_value(),
        "notes": list(found.notes),
    }
