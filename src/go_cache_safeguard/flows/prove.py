"""Show that go still works in a cache, and with it the packages of a person.

Knows:     which proofs there are, how each is carried out, and what is said of them in a few lines.
Called by: `flows.remove` after a clean, `flows.undo` after an undo, `flows.recover`, `flows.verify`.
Never:     takes "could not tell" for a proof.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TypeAlias

from go_cache_safeguard.core.errors import Failure, UsageFailure
from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.flows import symbols, testing
from go_cache_safeguard.flows.packages import Judged, Packages, Wanted
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.trial import carry_out_trial
from go_cache_safeguard.telemetry.names import SpanName
from go_cache_safeguard.telemetry.span import span
from go_cache_safeguard.tree.root import Root
from go_cache_safeguard.verify.canary import Proved, judge

_SHORT = 8
"""lines of evidence in a receipt; all of them are in the evidence that is kept."""


class Step(StrEnum):
    """One proof. All but the canary are about packages of a person's."""

    CANARY = "canary"
    BUILD = "build"
    TEST = "test"
    VET = "vet"
    SYMBOLS = "symbols"


@dataclass(frozen=True, slots=True)
class Proof:
    """What all proofs together showed.

    Attributes:
        passed: Every one of them passed.
        evidence: A line or more for each.
        steps: What each showed, with all that is kept of it.
    """

    passed: bool
    evidence: tuple[str, ...]
    steps: tuple[Judged, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether nothing at all is worth keeping: not even something flaky."""
        return self.passed and all(step.verdict.outcome is Outcome.PASS for step in self.steps)


_ABOUT_PACKAGES: Mapping[Step, Callable[[Packages], Judged]] = {
    Step.BUILD: testing.build,
    Step.TEST: testing.test,
    Step.VET: testing.vet,
    Step.SYMBOLS: symbols.symbols,
}

Prover: TypeAlias = Callable[[Session, Root], Proof]


@dataclass(frozen=True, slots=True)
class OfModules:
    """A proof about a module cache. No other is made there: nothing is built in one.

    Attributes:
        prover: Makes it.
    """

    prover: Prover

    def __call__(self, session: Session, root: Root) -> Proof:
        """Make it."""
        return self.prover(session, root)


def steps_of(text: str, *, packages: bool) -> tuple[Step, ...]:
    """Read the proofs that a person names.

    Args:
        text: Names with commas, or `none`.
        packages: Packages were named, too. They are built at least.

    Raises:
        UsageFailure: A name is none of a proof.
    """
    names = [part.strip() for part in text.split(",") if part.strip() not in {"", "none"}]
    try:
        steps = {Step(name) for name in names}
    except ValueError as error:
        raise UsageFailure(
            f"{text!r} names no proofs; they are {', '.join(Step)}, with commas, or none", not_done="nothing was done"
        ) from error
    if packages and not steps - {Step.CANARY}:
        steps.add(Step.BUILD)
    return tuple(step for step in Step if step in steps)


def prover_for(steps: tuple[Step, ...], wanted: Wanted | None = None) -> Prover | None:
    """The proof that was asked for; None for none.

    Args:
        steps: Which ones; they are carried out in the order of `Step`.
        wanted: What of which packages; by default all packages of the module in the current directory.

    Raises:
        UsageFailure: A package or a flag is not one.
    """
    if not steps:
        return None
    wanted = wanted or Wanted()
    wanted.check()

    def prover(session: Session, root: Root) -> Proof:
        return prove(session, root, steps, wanted)

    return prover


def prove(session: Session, root: Root, steps: tuple[Step, ...], wanted: Wanted) -> Proof:
    """Carry out proofs, all of them whatever the others show.

    Args:
        session: Who asks.
        root: The cache.
        steps: Which ones.
        wanted: What of which packages.
    """
    packages = Packages(session, root, wanted)
    carry_out = {Step.CANARY: partial(_canary, session, root)}
    carry_out |= {step: partial(work, packages) for step, work in _ABOUT_PACKAGES.items()}
    judged = tuple(_guarded(step, carry_out[step]) for step in steps)
    session.progress.phase("")
    passed = all(one.verdict.outcome in {Outcome.PASS, Outcome.WARN} for one in judged)
    return Proof(passed, tuple(line for one in judged for line in _lines(one.verdict)), judged)


def _guarded(step: Step, carry_out: Callable[[], Judged]) -> Judged:
    with span(SpanName.VERIFY, check=step) as here:
        try:
            judged = carry_out()
        except (Failure, OSError) as error:
            why = error.what if isinstance(error, Failure) else str(error)
            judged = Judged(Verdict(step, Outcome.UNKNOWN, f"the proof could not be made: {why}"))
        here.set(verdict=judged.verdict.outcome)
        return judged


def _canary(session: Session, root: Root) -> Judged:
    session.progress.phase("proving: building and running a canary")
    tried = carry_out_trial(session, root)
    proof = judge(tried.trial, first=tried.first, second=tried.second, run=tried.run)
    outcome = {Proved.PASSED: Outcome.PASS, Proved.FAILED: Outcome.BLOCK, Proved.UNKNOWN: Outcome.UNKNOWN}[
        proof.outcome
    ]
    return Judged(Verdict(Step.CANARY, outcome, proof.summary, proof.evidence))


def _lines(verdict: Verdict) -> tuple[str, ...]:
    shown = verdict.evidence if verdict.check == Step.CANARY or verdict.outcome is not Outcome.PASS else ()
    more = (f"and {len(shown) - _SHORT} more lines",) if len(shown) > _SHORT else ()
    return tuple(f"{verdict.check}: {line}" for line in (verdict.summary, *shown[:_SHORT], *more))
