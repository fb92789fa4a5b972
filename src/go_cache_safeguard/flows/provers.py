"""Which proof a plan is due: a collection shows that every root still finds everything, any other plan what a person names.

Knows:     that `roots` is a proof of collections alone, and that whoever did not see a plan made asks roots before it is carried out.
Called by: the command line's `gc`, `clean` and `recover`.
Never:     makes a proof: it says which one.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from go_cache_safeguard.core.plan import Plan
from go_cache_safeguard.flows.gc import ask, known_names, roots_prover
from go_cache_safeguard.flows.looking import read_cache
from go_cache_safeguard.flows.mod_gc import finding, mod_prover
from go_cache_safeguard.flows.packages import Wanted
from go_cache_safeguard.flows.prove import Prover, prover_for, steps_of
from go_cache_safeguard.flows.registered import registered
from go_cache_safeguard.flows.roots import roots
from go_cache_safeguard.flows.session import Session

ROOTS, NONE = "roots", "none"
_GC, _MOD_GC = ("gc",), ("mod gc",)


def prover_before(session: Session, plan: Plan, text: str | None, packages: Sequence[str] = ()) -> Prover | None:
    """The proof of a plan that is about to be carried out, and was made earlier or elsewhere.

    Args:
        session: Who carries it out.
        plan: Which; roots that go can list now must be listed after it, too.
        text: Proofs that a person names, with commas; None for those that the plan is due.
        packages: Packages that a person wants proved besides.

    Raises:
        UsageFailure: A name is none of a proof.
    """
    target = Path(plan.target)
    if plan.selectors[:1] == _MOD_GC and text != NONE:
        return mod_prover(plan, finding(session, target, registered(session)))
    if plan.selectors[:1] == _GC and ROOTS in _names(text or ROOTS):
        known = known_names(ask(session, read_cache(session, target), roots(session)))
        return gc_prover(plan, text, known, packages)
    return _due(session, plan, text, packages)


def provers_after(session: Session, text: str | None) -> Callable[[Plan], Prover | None]:
    """The proof of any plan that was carried out, but for its proof: what roots found before is not known any more.

    Args:
        session: Who goes on with it.
        text: Proofs that a person names, with commas; None for those that each plan is due.

    Raises:
        UsageFailure: A name is none of a proof.
    """
    _others(_without_roots(text or ""), ())
    return lambda plan: _due(session, plan, text, ())


def _due(session: Session, plan: Plan, text: str | None, packages: Sequence[str]) -> Prover | None:
    match plan.selectors[:1]:
        case ("mod gc",):
            return None if text == NONE else mod_prover(plan)
        case ("gc",):
            return gc_prover(plan, text, packages=packages)
        case _:
            return prover_named(session, text, packages)


def prover_named(session: Session, text: str | None, packages: Sequence[str] = ()) -> Prover | None:
    """The proof of whatever is no collection.

    Args:
        session: Who asks.
        text: Proofs that a person names, with commas; None for what the setting says.
        packages: Packages that a person wants proved besides.

    Raises:
        UsageFailure: A name is none of a proof.
    """
    return _others(text or session.config.choice("clean.proof"), packages)


def gc_prover(
    plan: Plan, text: str | None, known: frozenset[str] = frozenset(), packages: Sequence[str] = ()
) -> Prover | None:
    """The proof of a collection.

    Args:
        plan: What it takes.
        text: Proofs that a person names, with commas; None for that of roots.
        known: Names of roots that go could list before.
        packages: Packages that a person wants proved besides.

    Raises:
        UsageFailure: A name is none of a proof.
    """
    text = text or ROOTS
    others = _others(_without_roots(text), packages)
    return roots_prover(plan, others, known) if ROOTS in _names(text) else others


def _names(text: str) -> tuple[str, ...]:
    return tuple(step.strip() for step in text.split(","))


def _without_roots(text: str) -> str:
    return ",".join(name for name in _names(text) if name != ROOTS)


def _others(text: str, packages: Sequence[str]) -> Prover | None:
    return prover_for(steps_of(text, packages=bool(packages)), Wanted(tuple(packages or ("./...",))))
