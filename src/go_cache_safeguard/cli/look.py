"""`status`, `check`, `fsck`: the commands that only look.

Knows:     what a person sees of a cache, and which exit code a finding means.
Called by: `cli.app`.
Never:     changes a cache, except `fsck --repair`, which goes through the same door as `clean`.
"""

import gc
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from go_cache_safeguard.cli import options, xray
from go_cache_safeguard.cli.doctor import exit_code
from go_cache_safeguard.core.errors import Failure, UsageFailure
from go_cache_safeguard.core.size import format_size
from go_cache_safeguard.core.verdict import Outcome

if TYPE_CHECKING:
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.core.verdict import Verdict
    from go_cache_safeguard.flows.inspect import Status
    from go_cache_safeguard.flows.session import Session
    from go_cache_safeguard.flows.xray import XRay
    from go_cache_safeguard.gocache.disk import Inspection
    from go_cache_safeguard.gocache.summary import Amount, Summary

Only = Annotated[str | None, typer.Option("--only", metavar="IDS", help="Only these checks, with commas between.")]


class Target(StrEnum):
    """What `check` asks about."""

    BUILD = "build"
    MOD = "mod"
    ALL = "all"


OfTarget = Annotated[
    Target | None,
    typer.Option(
        "--target",
        help="What to ask about: the build cache, the modules of the current directory, or both. [default: build; with --only: all]",
    ),
]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (status, check, fsck):
        app.command()(command)


def status(
    *,
    by: xray.By = None,
    top: xray.Top = None,
    gocache: options.GoCache = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """What caches are here, how large, what is known to be wrong, what could be had back.

    With --by the build cache is seen from these sides only: by kind, toolchain, target, package, project, age, flags or race.
    """
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.inspect import status as look
    from go_cache_safeguard.flows.xray import see
    from go_cache_safeguard.flows.xray import xray as see_through

    sides = xray.facets(by)
    session = options.session(settings=settings, state_dir=state_dir, quiet=quiet, json=json)
    path = session.gocache(gocache)
    screen = Screen(as_json=json, color=session.config.choice("output.color"))
    gc.disable()  # a hundred thousand objects are made, no garbage among them, and then the process ends
    if sides and not json:
        seen = see(session, existing(session, gocache), installed=frozenset())
        screen.line(f"build cache   {path}: {format_size(seen.inventory.size)}", "bold")
        xray.tell_by(screen, seen, sides, top or xray.TOP)
        return
    installed = installed_here(session)
    found = look(session, path, installed=installed)
    through = None
    if found.inspection is not None:
        through = see_through(session, path, found.inspection.inventory, installed=installed)
    if json:
        value = {} if through is None else {"xray": xray.xray_value(through, sides, top)}
        screen.document("status", 1, {**_status_value(found), **value})
    else:
        _tell_status(screen, found, through, top or xray.TOP)


def check(
    *,
    target: OfTarget = None,
    only: Only = None,
    gocache: options.GoCache = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """Ask the checks that stand before any removal; the exit code says the worst verdict.

    The checks of modules ask about the module or workspace in the current directory.
    """
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.checks import run_checks, run_module_checks, split_ids

    session = options.session(settings=settings, state_dir=state_dir, quiet=quiet, json=json)
    build: tuple[str, ...] | None = None if target in {None, Target.BUILD, Target.ALL} else ()
    modules: tuple[str, ...] | None = None if target in {Target.MOD, Target.ALL} else ()
    if only is not None:
        build, modules = split_ids([part.strip() for part in only.split(",") if part.strip()])
        _refuse_others(target, build, modules)
    path = existing(session, gocache) if build != () else None
    verdicts = [] if path is None else run_checks(session, path, build)
    verdicts += run_module_checks(session, session.cwd, modules)
    screen = Screen(as_json=json, color=session.config.choice("output.color"))
    if json:
        values = [verdict.as_value() for verdict in verdicts]
        screen.document("check", 1, {"gocache": None if path is None else str(path), "verdicts": values})
    else:
        for verdict in verdicts:
            screen.verdict(verdict)
    raise typer.Exit(exit_code(verdicts))


def _refuse_others(target: Target | None, build: Sequence[str], modules: Sequence[str]) -> None:
    """An id that `--target` leaves out would be dropped without a word."""
    left_out = modules if target is Target.BUILD else build if target is Target.MOD else ()
    if left_out:
        raise UsageFailure(f"{left_out[0]!r} is no check of --target {target}", hint="leave --target away, or say all")


@options.grouped
def fsck(
    *,
    everything: options.AllEntries = False,
    sample: options.Sample = None,
    indexes: Annotated[
        bool, typer.Option("--indexes/--no-indexes", help="Ask go whether its package indexes agree with the source.")
    ] = True,
    repair: Annotated[bool, typer.Option("--repair", help="Evict what is damaged, through quarantine.")] = False,
    gocache: options.GoCache = None,
    asking: options.Asking,
    common: options.Common,
) -> None:
    """Hash and cross-check every entry; name each damage by package, toolchain and target.

    Files whose size, times and inode are those of an earlier good hash are trusted; --all trusts nothing.
    """
    from go_cache_safeguard.flows.checks import run_checks
    from go_cache_safeguard.flows.inspect import Effort
    from go_cache_safeguard.flows.inspect import fsck as run_fsck
    from go_cache_safeguard.gocache.disk import Level

    session = common.session(*asking.settings)
    path = existing(session, gocache)
    effort = Effort(Level.ALL if everything else Level.CHANGED, options.share(sample, "--sample"))
    inspection = run_fsck(session, path, effort)
    agreement = run_checks(session, path, ("index-agreement",)) if indexes else []
    screen = common.screen(session)
    if common.json:
        verdicts = [verdict.as_value() for verdict in agreement]
        screen.document("fsck", 1, {**_fsck_value(path, inspection), "indexes": verdicts})
    else:
        _tell_fsck(screen, path, inspection)
        for verdict in agreement:
            screen.verdict(verdict)
    if repair:
        poisoned = any(verdict.outcome is Outcome.BLOCK for verdict in agreement)
        _repair(session, screen, path, inspection, asking, indexes=poisoned)
        return
    raise typer.Exit(exit_code([_integrity(inspection), *agreement]))


def installed_here(session: "Session") -> frozenset[str]:
    """Versions of Go on this machine; empty when that is not known."""
    from go_cache_safeguard.flows.plan import installed_toolchains

    try:
        return installed_toolchains(session)
    except Failure:
        # Without any toolchain nothing can be told dead; the page says that none was found.
        return frozenset()


def existing(session: "Session", given: Path | None) -> Path:
    """The build cache to work on.

    Raises:
        NoTarget: It does not exist.
    """
    from go_cache_safeguard.flows.session import NoTarget

    path = session.gocache(given)
    if not path.exists():
        raise NoTarget(
            f"{path} does not exist",
            not_done="nothing was looked at",
            hint="nothing was cached yet: go makes the directory when it first builds something",
        )
    return path


def _integrity(inspection: "Inspection") -> "Verdict":
    from go_cache_safeguard.flows.checks import integrity_facts
    from go_cache_safeguard.gocache.checks import integrity

    return integrity.judge(integrity_facts(inspection))


def _repair(
    session: "Session",
    screen: "Screen",
    path: Path,
    inspection: "Inspection",
    asking: options.Asking,
    *,
    indexes: bool,
) -> None:
    from go_cache_safeguard.cli.act import person_at, tell_receipt
    from go_cache_safeguard.flows.checks import run_checks
    from go_cache_safeguard.flows.clean import clean
    from go_cache_safeguard.flows.remove import Manner
    from go_cache_safeguard.flows.repair import repair_plan
    from go_cache_safeguard.tree.root import open_root

    with open_root(path) as root:
        plan = repair_plan(session, root, inspection.inventory, inspection.findings, indexes=indexes)
    if not plan.items:
        if not screen.as_json:
            screen.line("nothing to repair")
        return
    # The integrity check would only say again why we are here.
    manner = Manner(wait_s=session.default_wait_s, prover=None)
    done = clean(
        session,
        plan,
        lambda: run_checks(session, path, ("permissions",)),
        manner,
        options.confirming(session, screen, person_at(screen), always=asking.confirm),
        always_ask=asking.confirm,
        replaces=asking.replaces or "",
        seen=inspection.inventory,
    )
    tell_receipt(screen, done)


def _fsck_value(path: Path, inspection: "Inspection") -> dict[str, object]:
    return {
        "gocache": str(path),
        "level": str(inspection.level),
        "files": inspection.inventory.files,
        "hashed_files": inspection.hashed_files,
        "hashed_bytes": inspection.hashed_bytes,
        "trusted_files": inspection.trusted_files,
        "unhashed_files": inspection.unhashed_files,
        "read_entries": inspection.read_entries,
        "trusted_entries": inspection.trusted_entries,
        "index": str(inspection.index),
        "milliseconds": int(inspection.seconds * 1000),
        "foreign": [{"name": one.name, "kind": one.kind, "bytes": one.size} for one in inspection.inventory.foreign],
        "findings": [
            {
                "name": one.name,
                "kind": one.kind.value,
                "package": one.package,
                "toolchain": one.toolchain,
                "target": one.target,
                "effect": one.effect.name,
                "severity": str(one.severity),
                "text": one.text,
                "evict": list(one.evict),
            }
            for one in inspection.findings
        ],
    }


def _tell_fsck(screen: "Screen", path: Path, inspection: "Inspection") -> None:
    from go_cache_safeguard.flows.checks import name_damage
    from go_cache_safeguard.gocache.fsck import is_damage

    inventory = inspection.inventory
    rate = f", {format_size(int(inspection.hashed_bytes / inspection.seconds))}/s" if inspection.hashed_bytes else ""
    screen.line(f"fsck of {path}", "bold")
    screen.line(
        f"  {len(inventory.actions):,} index entries, {len(inventory.outputs):,} outputs, {format_size(inventory.size)}"
    )
    screen.line(
        f"  {inspection.hashed_files:,} outputs hashed now ({format_size(inspection.hashed_bytes)}{rate}), "
        f"{inspection.trusted_files:,} unchanged since they were hashed; {inspection.seconds:.2f} s"
    )
    damage = [finding for finding in inspection.findings if is_damage(finding)]
    for finding in damage[:50]:
        screen.line(
            f"{finding.severity:<8} {name_damage(finding)}", "bold red" if finding.severity == "BLOCK" else "yellow"
        )
        screen.line(f"         {finding.text}; {finding.effect.value}")
    if len(damage) > 50:
        screen.line(f"         and {len(damage) - 50:,} more; --json names all")
    harmless = len(inspection.findings) - len(damage)
    if harmless:
        screen.line(f"  {harmless:,} outputs are not named by any entry: harmless, `plan --orphans` lists them")
    for one in inventory.foreign[:10]:
        screen.line(f"  foreign: {one.name} ({one.kind}, {format_size(one.size)}): reported, never touched")
    if len(inventory.foreign) > 10:
        screen.line(f"  and {len(inventory.foreign) - 10:,} more foreign files")
    if damage:
        screen.line("remedy: go-cache-safeguard fsck --repair")
    else:
        screen.line("no damage found", "green")


def _status_value(found: "Status") -> dict[str, object]:
    value: dict[str, object] = {
        "gocache": str(found.gocache),
        "exists": not found.missing,
        "go": found.go,
        "disk": {"free_bytes": found.disk_free, "bytes": found.disk_size},
        "quarantine": [one.as_value() for one in found.quarantine],
        "unfinished": list(found.unfinished),
        "held": list(found.held),
    }
    if found.modules is not None:
        modules = found.modules
        value["modules"] = {
            "path": str(modules.path),
            "exists": modules.exists,
            "versions": modules.versions,
            "files": modules.files,
            "bytes": modules.size,
            "unreadable": modules.unreadable,
        }
    if found.inspection is not None and found.summary is not None:
        value["fsck"] = _fsck_value(found.gocache, found.inspection)
        value["summary"] = _summary_value(found.summary)
    return value


def _tell_status(screen: "Screen", found: "Status", seen: "XRay | None", top: int) -> None:
    screen.line(f"build cache   {found.gocache}", "bold")
    screen.line(f"  go          {found.go or 'no go command was found; install Go 1.21 or later, or set go.command'}")
    if found.missing:
        screen.line(f"  {found.missing}")
    if seen is not None:
        _tell_cache(screen, found, seen, top)
    if found.modules is not None:
        modules = found.modules
        screen.heading(f"module cache  {modules.path}")
        if modules.exists:
            bound = "at least " if modules.unreadable else ""
            screen.line(
                f"  {modules.versions:,} module versions, {modules.files:,} files, {bound}{format_size(modules.size)}"
            )
        else:
            screen.line("  does not exist yet")
    if found.quarantine:
        screen.heading("quarantine")
        rows = [(one.op, str(one.state), f"{one.files:,}", format_size(one.size)) for one in found.quarantine]
        screen.table(("operation", "state", "files", "size"), rows, right=(2, 3))
    if found.unfinished:
        screen.line(f"\n{len(found.unfinished)} operations did not end; run `go-cache-safeguard recover`", "bold red")
    if found.held:
        screen.line(f"\n{len(found.held)} operations are held; see `go-cache-safeguard ops list`", "yellow")


def _tell_cache(screen: "Screen", found: "Status", seen: "XRay", top: int) -> None:
    from go_cache_safeguard.flows.checks import name_damage
    from go_cache_safeguard.flows.forecast import forecast_of
    from go_cache_safeguard.gocache.fsck import is_damage

    inspection, summary = found.inspection, found.summary
    if inspection is None or summary is None:
        return
    inventory = inspection.inventory
    screen.line(
        f"  holds       {format_size(inventory.size)} ({format_size(inventory.disk)} on disk): "
        f"{len(inventory.actions):,} index entries, {len(inventory.outputs):,} outputs"
    )
    screen.line(f"  disk        {format_size(found.disk_free)} free of {format_size(found.disk_size)}")
    if inventory.fuzz.files:
        screen.line(
            f"  fuzz/       {inventory.fuzz.files:,} inputs, {format_size(inventory.fuzz.size)}: yours, never touched"
        )
    if inventory.foreign:
        screen.line(f"  foreign     {len(inventory.foreign):,} files that go did not write: never touched")
    xray.tell_history(screen, seen)
    foretold = forecast_of(seen.points, free=found.disk_free, now_ns=seen.now_ns)
    if foretold is not None:
        screen.line(f"  forecast    {foretold.text}")
    for title, groups in (
        ("kind", summary.by_kind),
        ("toolchain", summary.by_toolchain),
        ("target", summary.by_target),
        ("-race", summary.by_race),
        ("last used", summary.by_age),
    ):
        xray.tell_parts(screen, title, groups, top)
    screen.heading("reclaimable")
    rows = [(name, f"{amount.files:,}", format_size(amount.size)) for name, amount in _reclaimable(summary)]
    screen.table(("what", "outputs", "size"), rows, right=(1, 2))
    xray.tell_waste(screen, seen, top)
    screen.line()
    damage = [finding for finding in inspection.findings if is_damage(finding)]
    for finding in damage[:top]:
        screen.line(f"{finding.severity:<8} {name_damage(finding)}: {finding.text}", "yellow")
    if damage:
        screen.line(f"{len(damage):,} damaged entries seen without hashing; `fsck` hashes everything")
    known = inspection.trusted_files
    screen.line(
        f"{known:,} of {known + inspection.unhashed_files:,} named outputs are known to be whole; `fsck` hashes the rest"
    )


def _reclaimable(summary: "Summary") -> "list[tuple[str, Amount]]":
    rows = [
        ("named by no entry (--orphans)", summary.orphans),
        ("not used for 5 days (--unused-for 5d)", summary.unused),
    ]
    if summary.dead is not None:
        rows.append(("made by a Go that is not installed (--dead-toolchains)", summary.dead))
    return rows


def _summary_value(summary: "Summary") -> dict[str, object]:
    tables = {
        "by_kind": summary.by_kind,
        "by_toolchain": summary.by_toolchain,
        "by_target": summary.by_target,
        "by_race": summary.by_race,
        "by_age": summary.by_age,
    }
    amounts = {
        "entries": summary.entries,
        "outputs": summary.outputs,
        "orphans": summary.orphans,
        "unused": summary.unused,
        "dead": summary.dead,
        "foreign": summary.foreign,
        "fuzz": summary.fuzz,
    }
    value: dict[str, object] = {
        name: None if amount is None else _amount_value(amount) for name, amount in amounts.items()
    }
    for name, parts in tables.items():
        value[name] = {part.name: _amount_value(part.amount) for part in parts}
    return value


def _amount_value(amount: "Amount") -> dict[str, int]:
    return {"files": amount.files, "bytes": amount.size}
