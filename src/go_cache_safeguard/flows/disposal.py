"""How a deletion for good is asked for.

Knows:     that it goes the same way as a clean: before policy, and before people if somebody wants that.
Called by: the command line's `purge` and `redis trash purge`, `flows.repository_prune` and `flows.retention`.
Never:     asks differently than `flows.clean` does.
"""

from go_cache_safeguard.core.plan import Plan
from go_cache_safeguard.core.receipt import Receipt
from go_cache_safeguard.core.verdict import Verdict
from go_cache_safeguard.flows import clean
from go_cache_safeguard.flows.session import Session


def dispose(session: Session, plan: Plan, verdict: Verdict, manner: clean.Executor, how: clean.How) -> Receipt:
    """Bring a plan before policy and people, and carry it out.

    Args:
        session: Who asks, with which settings.
        plan: What would go for good.
        verdict: Whether its time has come.
        manner: Carries it out.
        how: How it is asked for.

    Raises:
        Held: People decide first; `purge OP` carries it out then.
        Refused: Policy refuses it, or a person.
    """
    return clean.clean(
        session, plan, lambda: [verdict], manner, how.confirm, always_ask=how.always_ask, replaces=how.replaces
    )
