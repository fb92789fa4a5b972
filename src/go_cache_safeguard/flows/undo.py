"""Put back what an operation moved, and prove that it is there.

Knows:     from which states there is a way back, and what is said when something newer stands in the way.
Called by: the command line's `undo`.
Never:     overwrites an entry that a build wrote since.
"""

import time
from dataclasses import dataclass

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.flows.interrupt import stoppable
from go_cache_safeguard.flows.prove import Proof, Prover
from go_cache_safeguard.flows.remove import Interrupted, merge_back, tidy
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.site import site_of
from go_cache_safeguard.snapshot.receipt import PutBack
from go_cache_safeguard.telemetry.names import SpanName
from go_cache_safeguard.telemetry.span import span


class RestoreFailed(Failure):
    """Something could not be put back."""

    id = "restore-failed"
    exit_code = ExitCode.RESTORE_FAILED
    meaning = "something could not be put back; it stays in quarantine"


@dataclass(frozen=True, slots=True)
class Undone:
    """What an undo did.

    Attributes:
        op: The operation that was undone.
        restored: Entries that are back.
        size: Bytes of those.
        newer: Entries of which the cache has a newer one; ours stay in quarantine until `purge`.
        proof: Evidence of the proof; empty when none was asked for.
        took_ms: Milliseconds from the first rename to the last.
    """

    op: str
    restored: int
    size: int
    newer: int
    proof: tuple[str, ...]
    took_ms: int

    def as_value(self) -> dict[str, Value]:
        """For the journal and for `--json`."""
        return {
            "op": self.op,
            "restored": self.restored,
            "bytes": self.size,
            "newer": self.newer,
            "proof": list(self.proof),
            "took_ms": self.took_ms,
        }


def undo(session: Session, op: str, prover: Prover | None) -> Undone:
    """Undo one operation.

    Raises:
        IllegalTransition: There is nothing to undo (any more).
        RestoreFailed: Something could not be put back.
        Interrupted: Somebody asked to stop; running it again goes on.
    """
    with (
        span(SpanName.UNDO, op=op, actor=session.actor) as here,
        session.journal() as journal,
        site_of(session, journal, journal.operation(op)) as site,
        stoppable(session.progress.say),
    ):
        journal.advance(op, State.UNDOING, {})
        began = time.monotonic_ns()
        back = merge_back(site, op)
        took_ms = (time.monotonic_ns() - began) // 10**6
        here.set(keys=back.restored, size=back.bytes)
        if back.failed or back.stopped:
            journal.advance(op, State.UNKNOWN, {"undo_failed": [list(pair) for pair in back.failed[:20]]})
            raise _failed(op, back)
        proof = (
            prover(session, site.root)
            if prover is not None and not site.of_modules
            else Proof(passed=True, evidence=())
        )
        undone = Undone(op, back.restored, back.bytes, back.newer, proof.evidence, took_ms)
        journal.advance(op, State.UNDONE, {"undo": undone.as_value(), "proved": proof.passed})
        tidy(site, op, back)
        if not proof.passed:
            raise RestoreFailed(
                f"everything of {op} is back, but the proof failed: {'; '.join(proof.evidence)}",
                not_done="nothing was removed",
                hint="run `go-cache-safeguard fsck --all`: the cache may have been damaged before",
            )
        return undone


def _failed(op: str, back: PutBack) -> Failure:
    if not back.failed:
        return Interrupted(f"stopped while undoing {op}", hint=f"`go-cache-safeguard undo {op}` goes on")
    name, why = back.failed[0]
    return RestoreFailed(
        f"{len(back.failed)} entries of {op} could not be put back, first {name}: {why}",
        not_done="they stay in quarantine; nothing is lost",
        hint=f"remove the cause, then run `go-cache-safeguard undo {op}` again",
    )
