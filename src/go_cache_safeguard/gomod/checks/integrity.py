"""Is every module of a build list what go.sum demands, and what was downloaded?

Knows:     what each damage means for whoever builds, and what to run against it.
Called by: `flows.modules`, with the findings of `gomod.verify`.
Never:     hashes or reads a file.
Source:    experiments with go1.21.13, go1.26.8 and go1.27.3: go compiles an edited tree without a word; the table in docs/modules.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from go_cache_safeguard.core.check import Check
from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.gomod.verify import Damage, Finding, Totals

CHECK = Check(
    id="mod-integrity",
    title="content of modules",
    question="Is every zip and every extracted tree what go.sum demands, and what was downloaded?",
    blind_spot="A module that no go.sum names is compared with its own .ziphash only, which whoever replaced it could replace, too.",
)
_SHOWN = 20
_ORDER = tuple(Outcome)


@dataclass(frozen=True, slots=True)
class IntegrityFacts:
    """What verifying module versions brought.

    Attributes:
        findings: Of every module version.
        totals: What was looked at.
        notes: What a person should know besides, such as which module is replaced.
    """

    findings: Sequence[Finding]
    totals: Totals
    notes: Sequence[str] = ()


def judge(facts: IntegrityFacts) -> Verdict:
    """The worst finding decides; what could not be read or compared is not sound, it is unknown."""
    ranked = sorted(facts.findings, key=lambda finding: -_ORDER.index(finding.outcome))
    looked = _looked(facts.totals)
    if not ranked:
        summary = "every module is what it should be" if facts.totals.stored else "no module version to verify"
        return Verdict(CHECK.id, Outcome.PASS, summary, (looked, *facts.notes))
    modules = {(finding.module, finding.version) for finding in ranked}
    kinds = dict.fromkeys(str(finding.damage) for finding in ranked)
    more = (f"and {len(ranked) - _SHOWN} more; --json has them all",) if len(ranked) > _SHOWN else ()
    return Verdict(
        check=CHECK.id,
        outcome=ranked[0].outcome,
        summary=f"findings: {len(ranked)}, in modules: {len(modules)}; {', '.join(kinds)}",
        evidence=(*(finding.line() for finding in ranked[:_SHOWN]), *more, looked, *facts.notes),
        remedy=tuple(dict.fromkeys(line for finding in ranked if (line := _remedy(finding)))),
    )


def _remedy(finding: Finding) -> str | None:
    return _VENDOR_AGAIN if finding.file.startswith("vendor/") else _REMEDY.get(finding.damage)


def _looked(totals: Totals) -> str:
    text = (
        f"{totals.zips} zips and {totals.trees} trees of {totals.stored} stored module versions were hashed "
        f"({totals.files} files), of {totals.versions} looked for"
    )
    text += f"; {totals.unchanged} versions were hashed before and are unchanged" if totals.unchanged else ""
    return text + (f"; no go.sum names {totals.unpinned} of them" if totals.unpinned else "")


_TREE_AGAIN = "`go-cache-safeguard mod verify --repair` moves the tree to quarantine; go extracts it again from the zip"
_ALL_AGAIN = "`go-cache-safeguard mod verify --repair` moves what is bad to quarantine; `go mod download` fetches it and asks go.sum"
_SUM_AGAIN = "compare go.sum with the one that is committed; only then let `go mod tidy` add what is missing"
_VENDOR_AGAIN = "compare what is vendored with what is committed; `go mod vendor` makes it anew from sound modules"
_REMEDY = {
    Damage.VENDOR_INCONSISTENT: _VENDOR_AGAIN,
    Damage.EDITED: _TREE_AGAIN,
    Damage.EXTRA: _TREE_AGAIN,
    Damage.MISSING: _TREE_AGAIN,
    Damage.ODD: _TREE_AGAIN,
    Damage.TREE_CHANGED: _ALL_AGAIN,
    Damage.ZIP_DAMAGED: _ALL_AGAIN,
    Damage.ZIP_CHANGED: _ALL_AGAIN,
    Damage.HASH_WRONG: _ALL_AGAIN,
    Damage.SUM_MISMATCH: _ALL_AGAIN,
    Damage.UNPROVED: "name a module that uses it, whose go.sum says what it must be: `mod verify --whole-cache --against DIR`",
    Damage.ZIP_MISSING: "`go mod download` fetches the zip again",
    Damage.HASH_MISSING: "`go mod download` makes the hash file again from the zip",
    Damage.SUM_LINE_MISSING: _SUM_AGAIN,
    Damage.SUM_MALFORMED: _SUM_AGAIN,
    Damage.NO_BUILD_LIST: "`go mod download` fetches the go.mod files that are needed to compute the build list",
}
