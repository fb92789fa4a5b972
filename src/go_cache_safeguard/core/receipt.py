"""What an executed plan really did.

Knows:     the numbers a person and an auditor ask for afterwards.
Called by: `flows` fill one in, the journal keeps it, the command line shows it.
Never:     promises: every number was counted while acting.
"""

from dataclasses import dataclass
from typing import Any

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.lifecycle import State


@dataclass(frozen=True, slots=True)
class Receipt:
    """The account of one operation.

    Attributes:
        op: Its id.
        state: Where it stands now.
        digest: Of the plan that was executed.
        planned: How many items the plan lists.
        moved: How many of them are in quarantine.
        size: Bytes of those.
        changed: Items that were used or rewritten since the plan was made; they stayed.
        missing: Items that were gone already.
        named_again: Outputs that an entry names again; they stayed.
        waiting: Outputs that stay until running go commands end.
        failed: Items that could not be moved, with the reason; they stayed.
        waited_for: Go commands that were still running.
        before: Bytes in the cache before.
        proof: Outcome of the proof and its evidence; empty when none was asked for.
        took_ms: Milliseconds from the first rename to the last.
    """

    op: str
    state: State
    digest: str
    planned: int
    moved: int = 0
    size: int = 0
    changed: int = 0
    missing: int = 0
    named_again: int = 0
    waiting: int = 0
    failed: tuple[tuple[str, str], ...] = ()
    waited_for: tuple[str, ...] = ()
    before: int = 0
    proof: tuple[str, ...] = ()
    took_ms: int = 0

    def as_value(self) -> dict[str, Value]:
        """For the journal and for `--json`."""
        return {
            "op": self.op,
            "state": str(self.state),
            "digest": self.digest,
            "planned": self.planned,
            "moved": self.moved,
            "bytes": self.size,
            "changed": self.changed,
            "missing": self.missing,
            "named_again": self.named_again,
            "waiting": self.waiting,
            "failed": [list(pair) for pair in self.failed],
            "waited_for": list(self.waited_for),
            "before": self.before,
            "proof": list(self.proof),
            "took_ms": self.took_ms,
        }


def parse_receipt(value: dict[str, Any]) -> Receipt:
    """Read a receipt back from the journal.

    Raises:
        KeyError: A field is missing.
    """
    return Receipt(
        op=value["op"],
        state=State(value["state"]),
        digest=value["digest"],
        planned=value["planned"],
        moved=value["moved"],
        size=value["bytes"],
        changed=value["changed"],
        missing=value["missing"],
        named_again=value["named_again"],
        waiting=value["waiting"],
        failed=tuple((name, why) for name, why in value["failed"]),
        waited_for=tuple(value["waited_for"]),
        before=value["before"],
        proof=tuple(value["proof"]),
        took_ms=value["took_ms"],
    )
