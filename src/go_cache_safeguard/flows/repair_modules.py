"""Move exactly what is damaged of module versions to quarantine, through the same plan and the same door as a clean.

Knows:     how findings in modules become a plan, and who says that it may be carried out.
Called by: the command line's `mod verify --repair`.
Never:     fetches anything: it says how each version comes back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from go_cache_safeguard.core.plan import Item, Plan
from go_cache_safeguard.core.receipt import Receipt
from go_cache_safeguard.core.verdict import Verdict
from go_cache_safeguard.flows.clean import How, clean
from go_cache_safeguard.flows.modules import Report
from go_cache_safeguard.flows.remove import Manner
from go_cache_safeguard.flows.session import Session, now_text
from go_cache_safeguard.flows.site import MODULES
from go_cache_safeguard.gomod.disk import measure
from go_cache_safeguard.gomod.layout import Version, version_of
from go_cache_safeguard.gomod.read import measure_entry
from go_cache_safeguard.gomod.repair import damaged, judge, ways_back
from go_cache_safeguard.tree.root import Root, open_root


@dataclass(frozen=True, slots=True)
class Repair:
    """What would go, and how it comes back.

    Attributes:
        plan: What would go; without items if there is nothing to repair.
        verdict: Whether what comes back can be proved.
        ways: One command for each module version.
    """

    plan: Plan
    verdict: Verdict
    ways: tuple[str, ...]


def plan_repair(session: Session, report: Report) -> Repair:
    """Plan the eviction of everything in the module cache that is damaged.

    Args:
        session: Who asks.
        report: Of a verification just made.

    Raises:
        UnsafePath: The module cache cannot be entered safely.
    """
    wanted = damaged(report.findings)
    with open_root(report.modcache) as root:
        items = _items(root, wanted)
        plan = Plan(
            kind=MODULES,
            target=str(root.path),
            identity=root.identity,
            selectors=("mod verify --repair",),
            requester=session.actor,
            made_at=now_text(),
            whole=_whole(session, root.path) if items else 0,
            items=items,
        )
    names: dict[Version, list[str]] = {}
    for item in items:
        if (version := version_of(item.name)) is not None:
            names.setdefault(version, []).append(item.name)
    pinned = frozenset(version for version in names if (version.path, version.version) in report.pins)
    return Repair(plan, judge(names, pinned=pinned), ways_back(names, pinned=pinned))


def carry_out(session: Session, repair: Repair, how: How | None = None) -> Receipt:
    """Ask policy, and move what the plan lists to quarantine.

    Args:
        session: Who asks, with which settings.
        repair: What would go.
        how: How it is asked for.

    Raises:
        Held: Policy holds it.
        Refused: Policy refuses it.
        ModulesBusy: A go command is at work on one of the versions; everything is where it was.
    """
    how, manner = how or How(), Manner(wait_s=0, prover=None)
    return clean(
        session,
        repair.plan,
        lambda: [repair.verdict],
        manner,
        how.confirm,
        always_ask=how.always_ask,
        replaces=how.replaces,
    )


def _items(root: Root, wanted: Mapping[str, str]) -> tuple[Item, ...]:
    found: Sequence[tuple[str, tuple[int, int] | None]] = [
        (name, measure_entry(root.fd, name)) for name in sorted(wanted)
    ]
    return tuple(Item(name, *marks, wanted[name]) for name, marks in found if marks is not None)


def _whole(session: Session, path: Path) -> int:
    session.progress.phase("measuring the module cache")
    size = measure(path, progress=session.progress.update).size
    session.progress.phase("")
    return size
