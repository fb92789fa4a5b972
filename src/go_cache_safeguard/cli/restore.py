"""`snapshot restore`: a snapshot back into a cache.

Knows:     its arguments, and what a person is shown before and after.
Called by: `cli.snapshot` puts it into its group.
Never:     decides what is written.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from go_cache_safeguard.cli import act, options
from go_cache_safeguard.core.errors import ExitCode, UsageFailure
from go_cache_safeguard.core.size import format_size

if TYPE_CHECKING:
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.prove import Prover
    from go_cache_safeguard.flows.restore import Planned, Restored
    from go_cache_safeguard.flows.session import Session
    from go_cache_safeguard.snapshot.manifest import Kind

Repository = Annotated[
    str | None,
    typer.Option("--repo", metavar="PLACE", help="The repository; default: the setting snapshot.repository."),
]
Key = Annotated[
    Path | None,
    typer.Option(
        "--key", metavar="PUB", help="The public key that must have signed it; default: the setting snapshot.key."
    ),
]
_SHOWN = 10


def restore(
    what: Annotated[
        str,
        typer.Argument(
            metavar="SNAPSHOT", help="An archive, or the beginning of an id in the repository, or `latest`."
        ),
    ],
    *,
    gocache: options.GoCache = None,
    modcache: Annotated[
        Path | None,
        typer.Option("--modcache", metavar="DIR", help="The module cache; default: what `go env GOMODCACHE` says."),
    ] = None,
    repository: Repository = None,
    key: Key = None,
    fuzz: Annotated[bool, typer.Option("--fuzz", help="Fuzz inputs, too.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Say what would happen; touch nothing.")] = False,
    proof: act.ProofOption = None,
    prove: act.Prove = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """Merge a snapshot into a cache. What is there stays as it is; every file is verified before it gets its name."""
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.restore import open_source, preview
    from go_cache_safeguard.flows.restore import restore as run_restore

    session = options.session(settings=settings, state_dir=state_dir, quiet=quiet, json=json)
    prover = prover_of(session, proof, prove)
    screen = Screen(as_json=json, color=session.config.choice("output.color"))
    with open_source(session, what, place=repository, key=key) as source:
        kind = source.manifest.kind
        target = target_of(session, kind, gocache, modcache)
        if dry_run:
            _tell_plan(screen, preview(session, source, target, fuzz=fuzz))
            return
        done = run_restore(
            session, source, target, prover_for_kind(kind, prover), fuzz=fuzz, wait_s=session.default_wait_s
        )
    tell_restored(screen, done)
    if not done.whole:
        raise typer.Exit(ExitCode.RESTORE_FAILED)


def prover_of(session: "Session", proof: str | None, packages: list[str] | None) -> "Prover | None":
    """The proof that the options ask for.

    Raises:
        UsageFailure: There is no such proof.
    """
    from go_cache_safeguard.flows.packages import Wanted
    from go_cache_safeguard.flows.prove import prover_for, steps_of

    steps = steps_of(proof or session.config.choice("clean.proof"), packages=bool(packages))
    return prover_for(steps, Wanted(tuple(packages or ["./..."])))


def prover_for_kind(kind: "Kind", prover: "Prover | None") -> "Prover | None":
    """A canary proves a build cache; of modules go proves each one itself when it first uses it."""
    return prover if str(kind) == "go-build-cache" else None


def target_of(session: "Session", kind: "Kind", gocache: Path | None, modcache: Path | None) -> Path:
    """The cache that a snapshot of this kind goes into.

    Raises:
        UsageFailure: The option is for the other kind.
    """
    from go_cache_safeguard.flows.modules import modcache_of

    is_build = str(kind) == "go-build-cache"
    if (modcache if is_build else gocache) is not None:
        raise UsageFailure(
            f"this is a snapshot of a {str(kind).replace('-', ' ')}",
            not_done="nothing was written",
            hint=f"name the place with {'--gocache' if is_build else '--modcache'}",
        )
    return (
        session.gocache(gocache)
        if is_build
        else modcache_of(session, None if modcache is None else session.cwd / modcache)
    )


def _tell_plan(screen: "Screen", planned: "Planned") -> None:
    from go_cache_safeguard.snapshot.merge import Step

    if screen.as_json:
        odd = [choice for step in (Step.REFUSE, Step.KEEP) for choice in planned.merge.of(step)]
        rows = [{"name": one.entry.name, "step": str(one.step), "why": one.why} for one in odd]
        screen.document("restore-plan", 1, {**planned.as_value(), "choices": rows})
        return
    screen.line(f"restore into {planned.target}", "bold")
    _tell_merge(screen, planned)
    screen.line("dry run: nothing was touched")


def _tell_merge(screen: "Screen", planned: "Planned") -> None:
    from go_cache_safeguard.snapshot.merge import Step

    meaning = {
        Step.WRITE: f"to write, {format_size(planned.merge.size)}",
        Step.SKIP: "are there already",
        Step.KEEP: "stay as they are in the cache: newer, or damaged (`go-cache-safeguard fsck --repair` moves those away)",
        Step.OMIT: "are not brought back",
        Step.REFUSE: "are refused: they do not belong into such a cache",
    }
    for step, text in meaning.items():
        count = planned.merge.counts.get(step, 0)
        if count:
            screen.line(f"  {count:,} {text}", "yellow" if step is Step.REFUSE else "")
        for choice in [*planned.merge.of(step)][:_SHOWN] if step in {Step.REFUSE, Step.KEEP} else []:
            screen.line(f"    {choice.entry.name}: {choice.why}")
    reasons = {choice.why for choice in planned.merge.of(Step.OMIT)}
    for why in sorted(reasons):
        screen.line(f"    {why}")


def tell_restored(screen: "Screen", done: "Restored") -> None:
    """What was done."""
    if screen.as_json:
        screen.document("restore", 1, done.as_value())
        return
    screen.line(f"RESTORED  {done.id}", "bold green" if done.whole else "bold yellow")
    screen.line(f"  into {done.planned.target}")
    _tell_merge(screen, done.planned)
    screen.line(
        f"  {len(done.written.files):,} files, {format_size(done.written.size)} were written in {done.took_ms} ms"
    )
    if done.written.newer:
        screen.line(f"  {len(done.written.newer):,} files came into being meanwhile, and stay")
    if done.refreshed:
        screen.line(f"  {done.refreshed:,} files that were there count as used now, so that go's trim leaves them")
    for name, why in done.written.failed[:_SHOWN]:
        screen.line(f"  not restored: {name}: {why}", "yellow")
    if len(done.written.failed) > _SHOWN:
        screen.line(f"  not restored: {len(done.written.failed) - _SHOWN:,} more", "yellow")
    for text in (*done.notes, *(f"proof: {line}" for line in (done.proof.evidence if done.proof else ()))):
        screen.line(f"  {text}")
