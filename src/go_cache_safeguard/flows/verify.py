"""Prove a cache without changing it: the same proofs that follow a clean.

Knows:     that nothing was removed, so that nothing is rolled back.
Called by: the command line's `verify`.
Never:     removes anything, or leaves go running when it is stopped. Builds of ours add entries, as every build does.
"""

from pathlib import Path

from go_cache_safeguard.core.errors import UsageFailure
from go_cache_safeguard.flows.interrupt import at_once
from go_cache_safeguard.flows.packages import Wanted
from go_cache_safeguard.flows.prove import Proof, Step, prove
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.tree.root import open_root


def verify(session: Session, gocache: Path, steps: tuple[Step, ...], wanted: Wanted) -> Proof:
    """Carry out proofs in a cache.

    Args:
        session: Who asks; packages are those of its current directory.
        gocache: The cache, resolved.
        steps: Which proofs.
        wanted: What of which packages.

    Raises:
        UsageFailure: Nothing is to be proved, or a package or a flag is not one.
        UnsafePath: The cache cannot be entered safely.
    """
    if not steps:
        raise UsageFailure("every proof was switched off", not_done="nothing was proved")
    wanted.check()
    with open_root(gocache) as root, at_once():
        return prove(session, root, steps, wanted)
