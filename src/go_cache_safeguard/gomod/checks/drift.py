"""Does a module still depend on what was recorded?

Knows:     what a change of dependencies means, when a site lets it block, and what to do about it.
Called by: `flows.drift`, with the changes that `gomod.drift` found.
Never:     takes what could not be asked for unchanged.
Source:    experiments with go1.21.13 and go1.27.3, see docs/modules.md.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from go_cache_safeguard.core.check import Check
from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.gomod.drift import TOUCHING, Change, Gap, Kind
from go_cache_safeguard.gomod.touched import Touch
from go_cache_safeguard.gomod.updates import hint_for

CHECK = Check(
    id="mod-drift",
    title="stability of dependencies",
    question="Do the build list, the module graph, go.sum and what `go mod tidy` would do still agree with the recorded state?",
    blind_spot="It compares with what somebody recorded, which may have been wrong already; and what lies in a directory that"
    " `replace` names may change without a trace.",
)
_SHOWN = 20
_SHOWN_PACKAGES = 3
_LISTED_ONE_BY_ONE = frozenset(Kind) - {Kind.EDGE_ADDED, Kind.EDGE_REMOVED, Kind.SUM_ADDED, Kind.SUM_MISSING}
_ORDER = tuple(Outcome)


@dataclass(frozen=True, slots=True)
class DriftFacts:
    """What comparing brought.

    Attributes:
        record: The file that holds the recorded state, printable.
        recorded: Whether there is one.
        changes: Every difference, worst kinds first.
        gaps: What could not be compared.
        touches: For changed modules the packages that use them.
        modules: How many modules there are now.
        notes: What a person should know besides.
        strict: Whether a change blocks: the setting drift.verdict.
    """

    record: str
    recorded: bool = True
    changes: Sequence[Change] = ()
    gaps: Sequence[Gap] = ()
    touches: Mapping[str, Sequence[Touch]] = field(default_factory=dict)
    modules: int = 0
    notes: Sequence[str] = ()
    strict: bool = False


def judge(facts: DriftFacts) -> Verdict:
    """The worst decides: another hash always blocks, what is not known comes next, then all other changes."""
    gaps = _gap_lines(facts.gaps)
    if not facts.recorded:
        summary = f"there is nothing to compare with: no state was recorded in {facts.record}"
        remedy = ("go-cache-safeguard mod drift --record", *_hints(facts.gaps))
        return Verdict(CHECK.id, Outcome.UNKNOWN, summary, (*gaps, *facts.notes), remedy)
    outcome = _worst(facts)
    real = [change for change in facts.changes if change.outcome is not Outcome.PASS]
    compared = f"compared with {facts.record}: {facts.modules} modules"
    return Verdict(
        check=CHECK.id,
        outcome=outcome,
        summary=_summary(real, facts.gaps) if real or gaps else f"nothing changed; {compared}",
        evidence=(*gaps, *_evidence(facts), *facts.notes, *([compared] if real or gaps else [])),
        remedy=tuple(dict.fromkeys((*_hints(facts.gaps), *_remedies(real)))),
    )


def _worst(facts: DriftFacts) -> Outcome:
    raised = {Outcome.WARN: Outcome.BLOCK} if facts.strict else {}
    found = [raised.get(change.outcome, change.outcome) for change in facts.changes]
    return max([*found, *([Outcome.UNKNOWN] if facts.gaps else []), Outcome.PASS], key=_ORDER.index)


def _summary(changes: Sequence[Change], gaps: Sequence[Gap]) -> str:
    counts: dict[Kind, int] = {}
    for change in changes:
        counts[change.kind] = counts.get(change.kind, 0) + 1
    changed = ", ".join(f"{_LABEL[kind]}: {count}" for kind, count in counts.items())
    if not gaps:
        return changed
    parts = ", ".join(dict.fromkeys(gap.part for gap in gaps))
    return f"not known: {parts}; {changed or 'the rest is unchanged'}"


_LABEL = {
    Kind.HASH_CHANGED: "other content under the same version",
    Kind.ADDED: "modules added",
    Kind.REMOVED: "modules removed",
    Kind.RAISED: "moved up",
    Kind.LOWERED: "moved down",
    Kind.REPLACEMENT: "replaced otherwise",
    Kind.DIRECT: "now direct",
    Kind.INDIRECT: "no longer direct",
    Kind.GO_LINE: "go lines changed",
    Kind.MAIN_ADDED: "main modules added",
    Kind.MAIN_REMOVED: "main modules removed",
    Kind.MAIN_MOVED: "main modules moved",
    Kind.EDGE_ADDED: "requirements added",
    Kind.EDGE_REMOVED: "requirements removed",
    Kind.SUM_ADDED: "go.sum lines added",
    Kind.SUM_MISSING: "go.sum lines missing",
    Kind.TIDY: "`go mod tidy` would change",
    Kind.ENVIRONMENT: "settings changed",
}


def _gap_lines(gaps: Sequence[Gap]) -> tuple[str, ...]:
    """Parts with the same trouble share a line."""
    alike: dict[str, list[str]] = {}
    for gap in gaps:
        alike.setdefault(gap.sentence, []).append(gap.part)
    return tuple(f"{', '.join(parts)}: {sentence}" for sentence, parts in alike.items())


def _evidence(facts: DriftFacts) -> Iterator[str]:
    one_by_one = [change for change in facts.changes if change.kind in _LISTED_ONE_BY_ONE]
    for change in one_by_one[:_SHOWN]:
        yield change.line()
        if change.kind in TOUCHING and change.module in facts.touches:
            yield f"  {_users(facts.touches[change.module])}"
    if len(one_by_one) > _SHOWN:
        yield f"and {len(one_by_one) - _SHOWN} more; --json has them all"
    for kind in Kind:
        alike = [change for change in facts.changes if change.kind is kind and kind not in _LISTED_ONE_BY_ONE]
        if alike:
            more = f", and {len(alike) - 1} more like it" if len(alike) > 1 else ""
            yield f"{alike[0].line()}{more}"


def _users(touches: Sequence[Touch]) -> str:
    if not touches:
        return "used by no package of yours"
    more = f" and {len(touches) - _SHOWN_PACKAGES} more" if len(touches) > _SHOWN_PACKAGES else ""
    return f"used by {', '.join(touch.line() for touch in touches[:_SHOWN_PACKAGES])}{more}"


def _hints(gaps: Sequence[Gap]) -> Iterator[str]:
    for gap in gaps:
        if gap.then:
            yield "record the state again where all of it can be told: go-cache-safeguard mod drift --record"
        elif hint := hint_for(gap.reason):
            yield hint
        if gap.part == "tidy" and not gap.then:
            yield "or leave that question out: go-cache-safeguard mod drift --no-tidy"


def _remedies(changes: Sequence[Change]) -> Iterator[str]:
    kinds = {change.kind for change in changes}
    if Kind.HASH_CHANGED in kinds:
        yield "do not build: compare go.sum with the one that is committed, and ask who published other content"
    elif kinds:
        yield "if this is meant, record it: go-cache-safeguard mod drift --record; else restore go.mod and go.sum"
