"""What every deletion for good does before and after: it is an operation of its own, carried out once and accounted for.

Knows:     where the kept plan lies, and that whoever holds its lock carries the operation out.
Called by: `flows.purge`, `flows.redis_purge`, `flows.repository_prune`, `flows.retention`.
Never:     deletes by itself; decides.
"""

import fcntl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.plan import Plan
from go_cache_safeguard.core.receipt import Receipt
from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.tree.place import Locked

if TYPE_CHECKING:
    from go_cache_safeguard.journal.store import Journal

_FIRST = 20


@dataclass(slots=True)
class Account:
    """What was done, while it is done.

    Attributes:
        gone: Items that are gone for good.
        size: Bytes of these.
        changed: Items that stay because they are not what the plan saw.
        missing: Items that were gone already.
        failed: Items that could not be deleted, with the reason.
        value: What else there is to say, for the journal and for `--json`.
    """

    gone: int = 0
    size: int = 0
    changed: int = 0
    missing: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    value: dict[str, Value] = field(default_factory=dict)


def kept_path(session: Session, op: str) -> Path:
    """Where the plan lies that an operation was asked with."""
    return session.state_dir / "plans" / f"{op}.json"


@contextmanager
def begun(session: Session, journal: "Journal", op: str, facts: Mapping[str, Value] | None = None) -> Iterator[int]:
    """Use the decision, once, unless this goes on with what was killed. Whoever is inside is alone: the kept plan is locked.

    Args:
        session: Who works.
        journal: Open for writing.
        op: ALLOWED or APPROVED; or PURGING, to go on.
        facts: What the journal is to know beforehand.

    Yields:
        The time, for `finish`.

    Raises:
        Locked: Another process carries it out now.
        IllegalTransition: The decision was used, or is over.
    """
    with kept_path(session, op).open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Locked(f"{op} is carried out by another process", not_done="nothing was deleted") from None
        if journal.operation(op).state is not State.PURGING:
            journal.advance(op, State.PURGING, facts or {})
        yield time.monotonic_ns()


def finish(journal: "Journal", op: str, plan: Plan, account: Account, began: int) -> Receipt:
    """Write down what was done; after this nothing more is done for this operation.

    Args:
        journal: Open for writing.
        op: The operation.
        plan: Its plan.
        account: What was done.
        began: What `begun` gave.
    """
    more = len(account.failed) - _FIRST
    receipt = Receipt(
        op,
        State.PURGED,
        plan.digest,
        len(plan.items),
        moved=account.gone,
        size=account.size,
        changed=account.changed,
        missing=account.missing,
        failed=(*account.failed[:_FIRST], *([("...", f"and {more} more")] if more > 0 else [])),
        before=plan.whole,
        took_ms=(time.monotonic_ns() - began) // 10**6,
    )
    told: dict[str, Value] = {"receipt": receipt.as_value(), "purge": account.value, "purged_s": int(time.time())}
    journal.advance(op, State.PURGED, told)
    return receipt


def time_has_come(what: str, early: Sequence[str], of: int) -> Verdict:
    """Whether all that would go has been kept long enough.

    Args:
        what: What it is: `operations in quarantine`.
        early: Names of those that have not.
        of: How many there are.
    """
    if not early:
        return Verdict("retention", Outcome.PASS, f"all {of} {what} were kept as long as they are to be kept")
    text = f"{len(early)} of {of} {what} are to be kept longer"
    return Verdict("retention", Outcome.WARN, text, tuple(early[:_FIRST]))
