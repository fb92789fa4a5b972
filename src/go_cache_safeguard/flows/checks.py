"""Ask the checks: gather the facts of each, and have it judge them.

Knows:     where the facts of each check come from. A check that cannot get them says UNKNOWN.
Called by: the command line's `check`, and `clean`.
Never:     judges: that is `gocache.checks` and `gomod.checks`.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from go_cache_safeguard.core.errors import Failure, UsageFailure
from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.flows.build_plan import ask as ask_build_plan
from go_cache_safeguard.flows.drift import ask as ask_drift_of_modules
from go_cache_safeguard.flows.drift import is_recorded
from go_cache_safeguard.flows.inspect import Effort, look
from go_cache_safeguard.flows.modules import ask as ask_integrity_of_modules
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.trial import carry_out_trial, home_of_owner
from go_cache_safeguard.gocache.checks import CHECKS, index_agreement, integrity, permissions, reuse
from go_cache_safeguard.gocache.checks.tally import Tally
from go_cache_safeguard.gocache.damage import Effect, Finding
from go_cache_safeguard.gocache.disk import Inspection, Level
from go_cache_safeguard.gocache.fsck import is_damage
from go_cache_safeguard.gocache.survey import survey
from go_cache_safeguard.gomod.checks import CHECKS as MODULE_CHECKS
from go_cache_safeguard.gomod.checks import build_plan
from go_cache_safeguard.gomod.checks import drift as module_drift
from go_cache_safeguard.gomod.checks import integrity as module_integrity
from go_cache_safeguard.gotool.complaint import printable
from go_cache_safeguard.telemetry.names import SpanName
from go_cache_safeguard.telemetry.span import span
from go_cache_safeguard.tree.root import Root, open_root


def run_checks(session: Session, gocache: Path, only: Sequence[str] | None = None) -> list[Verdict]:
    """Ask every check, or those that were named.

    Args:
        session: Who asks.
        gocache: The cache, resolved.
        only: Ids; None for all.

    Raises:
        UsageFailure: An id is not that of a check.
        UnsafePath: The cache cannot be entered safely.
    """
    chosen = _chosen([check.id for check in CHECKS], only)
    with open_root(gocache) as root:
        return [_ask(session, name, partial(_ASKING[name], session, root)) for name in chosen]


def run_module_checks(session: Session, directory: Path, only: Sequence[str] | None = None) -> list[Verdict]:
    """Ask every check of modules, or those that were named.

    Args:
        session: Who asks.
        directory: Inside a module or a workspace; where there is none, the verdicts are UNKNOWN.
        only: Ids; None for all.

    Raises:
        UsageFailure: An id is not that of a check of modules.
    """
    chosen = _chosen([check.id for check in MODULE_CHECKS], only)
    return [_ask(session, name, partial(_ASKING_MODULES[name], session, directory)) for name in chosen]


def askable_in(session: Session, directory: Path) -> tuple[str, ...]:
    """Checks of modules that can tell something about this directory: `mod-drift` only where a state was recorded."""
    recorded = is_recorded(session, directory)
    return tuple(check.id for check in MODULE_CHECKS if recorded or check.id != module_drift.CHECK.id)


def split_ids(ids: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Which ids are those of checks of a build cache, and which those of modules.

    Raises:
        UsageFailure: An id is that of no check.
    """
    modules = {check.id for check in MODULE_CHECKS}
    known = _chosen([check.id for check in (*CHECKS, *MODULE_CHECKS)], ids)
    return tuple(name for name in known if name not in modules), tuple(name for name in known if name in modules)


def _chosen(known: Sequence[str], only: Sequence[str] | None) -> Sequence[str]:
    unknown = [name for name in only or () if name not in known]
    if unknown:
        raise UsageFailure(f"{unknown[0]!r} is not a check", hint=f"checks: {', '.join(known)}")
    return [name for name in known if only is None or name in only]


def _ask(session: Session, name: str, ask: Callable[[], Verdict]) -> Verdict:
    session.progress.phase(f"checking {name}")
    with span(SpanName.CHECK, check=name) as here:
        try:
            verdict = ask()
        except (Failure, OSError) as problem:
            verdict = Verdict(name, Outcome.UNKNOWN, f"the facts could not be had: {problem}")
        finally:
            session.progress.phase("")
        here.set(verdict=verdict.outcome)
        return verdict


def _permissions(_session: Session, root: Root) -> Verdict:
    return permissions.judge(survey(root.fd, root.path, uid=os.geteuid()))


def _integrity(session: Session, root: Root) -> Verdict:
    return integrity.judge(integrity_facts(look(session, root, Effort(Level.CHANGED))))


def integrity_facts(inspection: Inspection) -> integrity.IntegrityFacts:
    """Count the findings of an fsck by what they do to a build."""
    damage = [finding for finding in inspection.findings if is_damage(finding)]

    def tally(*effects: Effect) -> Tally:
        found = Tally()
        for finding in damage:
            if finding.effect in effects:
                found = found.plus(name_damage(finding))
        return found

    return integrity.IntegrityFacts(
        outputs=inspection.hashed_files + inspection.trusted_files + inspection.unhashed_files,
        hashed=inspection.hashed_files,
        trusted=inspection.trusted_files,
        wrong=tally(Effect.SILENTLY_WRONG),
        failing=tally(Effect.BUILD_FAILS_FOREVER, Effect.REBUILDS_EVERY_TIME),
        healing=tally(Effect.HEALS_ITSELF),
        unreadable=tally(Effect.UNKNOWN),
    )


def name_damage(finding: Finding) -> str:
    """What is damaged, as a person would say it: package, toolchain, target, file."""
    words = (finding.package, finding.toolchain, finding.target)
    about = " ".join(word for word in words if word)
    return f"{about} ({finding.name})" if about else finding.name


def _reuse(session: Session, root: Root) -> Verdict:
    tried = carry_out_trial(session, root)
    return reuse.judge(reuse.ReuseFacts(tried.first, tried.second))


def _index_agreement(session: Session, root: Root) -> Verdict:
    module = _module_of(session.cwd)
    questions = [("std", "std", Path(session.go_env.root)), *([(str(module), "./...", module)] if module else [])]
    go = session.go_for(root.uid, root.gid)
    environ = {"GOCACHE": str(root.path), "GOPROXY": "off", **home_of_owner(root)}
    plain = index_agreement.without_index(session.environ.get("GODEBUG", ""))

    def listing(pattern: str, cwd: Path, extra: Mapping[str, str]) -> index_agreement.Listing:
        ran = go.run(index_agreement.list_args(pattern), cwd=cwd, extra_env={**environ, **extra})
        return index_agreement.Listing(ran.exit_code, printable(ran.stderr), index_agreement.parse_listing(ran.stdout))

    asked = tuple(
        index_agreement.Asked(what, listing(pattern, cwd, {}), listing(pattern, cwd, plain))
        for what, pattern, cwd in questions
    )
    return index_agreement.judge(index_agreement.IndexFacts(asked))


def _module_of(cwd: Path) -> Path | None:
    """The module that the person stands in, if any."""
    return next((folder for folder in (cwd, *cwd.parents) if (folder / "go.mod").is_file()), None)


_ASKING: Mapping[str, Callable[[Session, Root], Verdict]] = {
    permissions.CHECK.id: _permissions,
    integrity.CHECK.id: _integrity,
    reuse.CHECK.id: _reuse,
    index_agreement.CHECK.id: _index_agreement,
}

_ASKING_MODULES: Mapping[str, Callable[[Session, Path], Verdict]] = {
    module_integrity.CHECK.id: ask_integrity_of_modules,
    module_drift.CHECK.id: ask_drift_of_modules,
    build_plan.CHECK.id: ask_build_plan,
    # A new check of modules goes here: its id, and `ask(session, directory) -> Verdict` of its file in `flows`.
}
