"""May a release be built with this cache?

Knows:     which proofs a gate asks for, and what each one proves and does not.
Called by: the command line's `gate`.
Never:     writes into the cache, except that `index-agreement` lets go list packages with it, as any go command does.
"""

from dataclasses import dataclass
from pathlib import Path

from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.flows.checks import name_damage, run_checks, run_module_checks
from go_cache_safeguard.flows.inspect import Effort, fsck
from go_cache_safeguard.flows.sampling import Population, Request, compare_sample, population_of
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.gocache.checks import index_agreement, permissions
from go_cache_safeguard.gocache.damage import Finding
from go_cache_safeguard.gocache.disk import Inspection, Level
from go_cache_safeguard.gocache.fsck import is_damage
from go_cache_safeguard.gocache.inventory import id_half
from go_cache_safeguard.gocache.layout import action_name, output_name
from go_cache_safeguard.gocache.pollution import Sampled, digest_of, judge
from go_cache_safeguard.gomod.checks import integrity as module_integrity

ENTRIES = "entries-used"
PROVES = {
    permissions.CHECK.id: "nobody but its owner can change or hide an entry of the cache",
    index_agreement.CHECK.id: "go's index of packages says what the sources say",
    ENTRIES: "every entry and output that this build would take is whole: its content is what its name and its build ID say",
    module_integrity.CHECK.id: "every module of the build list is what go.sum and its own hash say",
    "sample": "outputs of the sample are byte for byte what the sources, the toolchain and the settings of now give",
}
"""What PASS of each part means."""
NOT_PROVED = (
    "that the sources, the toolchain and the C headers on this machine are the ones that you mean",
    "anything about packages that are compiled anew, or about cached test results and vet facts",
)
"""What no part says anything about."""


@dataclass(frozen=True, slots=True)
class Gate:
    """What came out.

    Attributes:
        gocache: The cache.
        toolchain: `go1.27.3`.
        patterns: What would be built.
        digest: SHA-256 over package, key and output of all that would be taken from the cache.
        sampled: The sample.
        verdicts: One for each part.
    """

    gocache: Path
    toolchain: str
    patterns: tuple[str, ...]
    digest: str
    sampled: Sampled
    verdicts: tuple[Verdict, ...]

    @property
    def proved(self) -> tuple[str, ...]:
        """What was proved, in sentences."""
        return tuple(PROVES[one.check] for one in self.verdicts if one.outcome is Outcome.PASS)

    @property
    def open(self) -> tuple[str, ...]:
        """What was not: parts that are not PASS, and what no part proves."""
        parts = (PROVES[one.check] for one in self.verdicts if one.outcome is not Outcome.PASS)
        return *parts, *NOT_PROVED


def ask_gate(session: Session, gocache: Path, request: Request) -> Gate:
    """Ask every part.

    Raises:
        CannotPlan: Go could not say what it would build.
        NotAGoCache: The directory is something else.
        UnsafePath: The cache cannot be entered safely.
        UsageFailure: There is no module here.
    """
    checks = run_checks(session, gocache, (permissions.CHECK.id, index_agreement.CHECK.id))
    population = population_of(session, gocache, request.patterns)
    entries = _judge_entries(fsck(session, gocache, Effort(Level.ALL)), population)
    modules = run_module_checks(session, session.cwd, (module_integrity.CHECK.id,))
    sampled = compare_sample(session, population, request)
    verdicts = (*checks, entries, *modules, judge(sampled))
    return Gate(gocache, population.toolchain, population.patterns, digest_of(population.held), sampled, verdicts)


def _judge_entries(inspection: Inspection, population: Population) -> Verdict:
    """What an fsck found that this build would run into."""
    halves = {held.half for held in population.held}
    used = {action_name(action) for action in inspection.inventory.actions if id_half(action) in halves}
    used |= {output_name(held.output) for held in population.held}
    damage = [finding for finding in inspection.findings if is_damage(finding)]
    mine = [finding for finding in damage if finding.name in used]
    elsewhere = len(damage) - len(mine)
    beside = (f"{elsewhere} damaged entries that this build would not use; see fsck",) if elsewhere else ()
    counted = f"{len(population.held)} packages from the cache, {len(population.missing)} to be compiled"
    if mine:
        lines = tuple(_line(finding) for finding in mine[:10])
        worst = Outcome.BLOCK if any(one.severity is not Outcome.UNKNOWN for one in mine) else Outcome.UNKNOWN
        remedy = ("go-cache-safeguard fsck", "go-cache-safeguard plan")
        return Verdict(
            ENTRIES, worst, f"{len(mine)} entries that this build would use are damaged", (*lines, *beside), remedy
        )
    if not population.held:
        return Verdict(ENTRIES, Outcome.UNKNOWN, "the build would take nothing from the cache", (counted, *beside))
    return Verdict(ENTRIES, Outcome.PASS, "every entry that this build would use is whole", (counted, *beside))


def _line(finding: Finding) -> str:
    return f"{name_damage(finding)}: {finding.text}"
