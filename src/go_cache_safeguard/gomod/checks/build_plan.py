"""Does go plan the same build as before, and if not, because of what?

Knows:     what a difference between two plans means, and what would be compiled now.
Called by: `flows.build_plan`, with the comparison of `gotool.plandiff`.
Never:     takes `-a -n` for a look at the cache: it says what a build consists of, not what is missing.
Source:    `go build -a -n` gives the same bytes with a cold and with a warm cache (go1.21.13, go1.26.8, go1.27.3), so comparing those
           two proves nothing. What is missing, `-n` without `-a` and the action graph say.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from go_cache_safeguard.core.check import Check
from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.gotool.plandiff import Cause, Change, Comparison, Difference

CHECK = Check(
    id="mod-build-plan",
    title="the plan of a build",
    question="Does go give the same instructions for every package as before, and what would it compile now?",
    blind_spot="It compares instructions and sources, not what compilers make of them; C headers outside of the packages are not seen.",
)
IGNORES = "`go build -a -n` ignores the cache: equal instructions say nothing about what is cached"
"""Said with every comparison."""
_SHOWN = 12
_WORDS = 4
_WIDTH = 80


class Against(StrEnum):
    """What the plan of now is compared with."""

    AGAIN = "a second run"
    BASELINE = "the baseline"
    OTHER = "the other toolchain or environment"


@dataclass(frozen=True, slots=True)
class Rebuild:
    """What a build would really do now.

    Attributes:
        compile: Packages without an entry for their inputs.
        cascade: Packages that need one of those.
        link: Programs that would only be linked.
        packages: How many packages there are.
        agrees: Whether the script of `go build -n` compiles exactly the packages that the action graph did not find.
    """

    compile: tuple[str, ...]
    cascade: tuple[str, ...]
    link: tuple[str, ...]
    packages: int
    agrees: bool


@dataclass(frozen=True, slots=True)
class BuildPlanFacts:
    """What planning twice brought.

    Attributes:
        against: What was compared.
        comparison: Of the instructions.
        rebuild: What would be compiled now.
        notes: What a person should know besides.
        strict: A difference forbids.
    """

    against: Against
    comparison: Comparison
    rebuild: Rebuild
    notes: Sequence[str] = ()
    strict: bool = False


def judge(facts: BuildPlanFacts) -> Verdict:
    """PASS if nothing differs. A plan that differs from itself proves nothing either way."""
    found = facts.comparison
    now = _now(facts.rebuild)
    tail = (now, *facts.notes, IGNORES)
    settings = tuple(f"{each.name}: {each.after!r} instead of {each.before!r}" for each in _settings(found))
    if not facts.rebuild.agrees:
        summary = "`go build -n` and the action graph do not agree on what would be compiled"
        return Verdict(CHECK.id, Outcome.UNKNOWN, summary, tail, ("run it again while no other build runs",))
    if not found.differences:
        summary = f"the same instructions for {found.packages} packages as {facts.against}"
        return Verdict(CHECK.id, Outcome.PASS, summary, (*settings, *tail))
    packages = len({difference.package for difference in found.differences})
    evidence = (*settings, *summarize(found.differences), *tail)
    if facts.against is Against.AGAIN:
        summary = f"two runs, one after the other, differ in {packages} packages: something changes while we look"
        return Verdict(CHECK.id, Outcome.UNKNOWN, summary, evidence, ("run it again while nobody edits the module",))
    causes = ", ".join(found.causes)
    summary = f"{packages} of {found.packages} packages differ from {facts.against}; because of: {causes}"
    outcome = Outcome.BLOCK if facts.strict else Outcome.WARN
    return Verdict(CHECK.id, outcome, summary, evidence, tuple(_REMEDY[cause] for cause in found.causes))


def summarize(differences: Sequence[Difference]) -> Iterator[str]:
    """Lines that tell the same difference of many packages once, the most telling first."""
    alike = Counter(_text(difference) for difference in differences)
    first = {_text(difference): difference.package for difference in reversed(differences)}
    for text, count in alike.most_common(_SHOWN):
        where = first[text] if count == 1 else f"{first[text]} and {count - 1} more"
        yield f"{where}: {text}"
    if len(alike) > _SHOWN:
        yield f"and {len(alike) - _SHOWN} other kinds of difference; --json has them all"


def _text(difference: Difference) -> str:
    what = f"{difference.kind} of {difference.where}" if difference.where else str(difference.kind)
    gone, new = _some(difference.gone), _some(difference.new)
    if difference.gone == difference.new:
        what += f" {new}".rstrip()
    elif gone and new:
        what += f" {gone} -> {new}"
    else:
        what += f" no longer {gone}" if gone else f" now {new}"
    causes = ", ".join(difference.causes)
    said = {Cause.PACKAGE, Cause.UNKNOWN} & {*difference.causes}
    return f"{what} [{causes}: {difference.because}]" if said else f"{what} [{causes}]"


def _some(words: Sequence[str]) -> str:
    shown = [word if len(word) <= _WIDTH else f"{word[: _WIDTH - 3]}..." for word in words[:_WORDS]]
    return ", ".join(shown) + (f" and {len(words) - _WORDS} more" if len(words) > _WORDS else "")


def _settings(found: Comparison) -> Iterator[Change]:
    if found.toolchain is not None:
        yield found.toolchain
    yield from found.environment


def _now(rebuild: Rebuild) -> str:
    parts = [
        f"{len(rebuild.compile)} of {rebuild.packages} packages would be compiled now{_names(rebuild.compile)}",
        f"{len(rebuild.cascade)} more if those come out different" if rebuild.cascade else "",
        f"{len(rebuild.link)} programs only linked" if rebuild.link else "",
    ]
    return ", ".join(filter(None, parts))


def _names(names: Sequence[str]) -> str:
    if not names:
        return ""
    return f" ({', '.join(names[:_WORDS])}{', ...' if len(names) > _WORDS else ''})"


_REMEDY = {
    Cause.ENVIRONMENT: "compare `go env -changed`, GOFLAGS and the variables of the job with those of the baseline",
    Cause.PACKAGE: "if the change is meant, record the baseline again",
    Cause.TOOLCHAIN: "if another toolchain is meant, record the baseline again; else see `go env GOVERSION GOROOT GOTOOLCHAIN`",
    Cause.UNKNOWN: "compare both plans by hand: nothing that is recorded explains the difference",
}
