"""Show that go still works in a cache.

Knows:     which proofs there are and how each is carried out.
Called by: `flows.remove` after a clean, `flows.undo` after an undo, `flows.recover`.
Never:     takes "could not tell" for a proof.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from go_cache_safeguard.core.errors import Failure
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.trial import carry_out_trial, home_of_owner
from go_cache_safeguard.gotool.complaint import last_lines
from go_cache_safeguard.gotool.trim import trim_held
from go_cache_safeguard.tree.root import Root
from go_cache_safeguard.verify.canary import Proved, judge


@dataclass(frozen=True, slots=True)
class Proof:
    """What all proofs together showed.

    Attributes:
        passed: Every one of them passed.
        evidence: A line or more for each.
    """

    passed: bool
    evidence: tuple[str, ...]


Prover: TypeAlias = Callable[[Session, Root], Proof]


def prover_for(*, canary: bool, packages: tuple[str, ...]) -> Prover | None:
    """The proof that was asked for; None for none.

    Args:
        canary: Build a throw-away program twice and run it.
        packages: Build these packages of the module in the current directory.
    """
    if not canary and not packages:
        return None

    def prove(session: Session, root: Root) -> Proof:
        proofs = []
        if canary:
            session.progress.phase("proving: building and running a canary")
            proofs.append(_guarded(lambda: _canary(session, root)))
        if packages:
            session.progress.phase(f"proving: building {' '.join(packages)}")
            proofs.append(_guarded(lambda: _packages(session, root, packages)))
        session.progress.phase("")
        return Proof(all(proof.passed for proof in proofs), tuple(line for proof in proofs for line in proof.evidence))

    return prove


def _guarded(prove: Callable[[], Proof]) -> Proof:
    try:
        return prove()
    except Failure as failure:
        return Proof(passed=False, evidence=(f"the proof could not be made: {failure.what}",))


def _canary(session: Session, root: Root) -> Proof:
    tried = carry_out_trial(session, root)
    proof = judge(tried.trial, first=tried.first, second=tried.second, run=tried.run)
    return Proof(proof.outcome is Proved.PASSED, tuple(f"canary: {line}" for line in (proof.summary, *proof.evidence)))


def _packages(session: Session, root: Root, packages: tuple[str, ...]) -> Proof:
    environ = {"GOCACHE": str(root.path), **home_of_owner(root)}
    # Of one program the result is thrown away: it must not land in the person's module.
    args = ("build", "-o", os.devnull, "--", *packages)
    with trim_held(root):
        ran = session.go_for(root.uid, root.gid).run(args, cwd=session.cwd, extra_env=environ)
    line = f"go build {' '.join(packages)}: exit code {ran.exit_code}, {ran.cpu_ns / 1e9:.1f} CPU s {last_lines(ran.stderr, 5)}"
    return Proof(ran.exit_code == 0, (line.strip(),))
