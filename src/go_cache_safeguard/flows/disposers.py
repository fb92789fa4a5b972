"""Who carries out which deletion for good: once it is approved, and after a crash.

Knows:     the four kinds.
Called by: the command line's `purge OP`, and `flows.recover`.
Never:     deletes by itself; decides.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.errors import IllegalTransition
from go_cache_safeguard.core.operation import Operation
from go_cache_safeguard.core.receipt import Receipt
from go_cache_safeguard.flows import clean
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.site import FINAL, LOG, QUARANTINE, REPOSITORY, TRASH

if TYPE_CHECKING:
    from go_cache_safeguard.journal.store import Journal


def is_final(session: Session, op: str) -> bool:
    """Whether an operation deletes for good.

    Raises:
        NoSuchOperation: There is none of this name.
    """
    with session.journal(read_only=True) as journal:
        return journal.operation(op).data.get("kind") in FINAL


def resume(session: Session, op: str) -> Receipt:
    """Carry out what was held and is approved now.

    Raises:
        Held: It is still held.
        IllegalTransition: It cannot be carried out (any more).
    """
    with session.journal(read_only=True) as journal:
        kind = str(journal.operation(op).data.get("kind", ""))
    return clean.resume(session, op, executor_of(kind))


def recover(session: Session, journal: "Journal", operation: Operation) -> None:
    """Go on with what was killed: what had been decided stays decided."""
    manner = executor_of(str(operation.data["kind"]))
    manner(session, journal, operation.id, clean.kept_plan(session, operation))


def executor_of(kind: str) -> clean.Executor:
    """Who carries out plans of a kind; loaded where used, since each brings its own world.

    Raises:
        IllegalTransition: Such plans delete nothing for good.
    """
    if kind == QUARANTINE:
        from go_cache_safeguard.flows import purge  # noqa: PLC0415 - see above

        return purge.dispose
    if kind == TRASH:
        from go_cache_safeguard.flows import redis_purge  # noqa: PLC0415 - see above

        return redis_purge.dispose
    if kind == REPOSITORY:
        from go_cache_safeguard.flows import repository_prune  # noqa: PLC0415 - see above

        return repository_prune.dispose
    if kind == LOG:
        from go_cache_safeguard.flows import retention  # noqa: PLC0415 - see above

        return retention.dispose
    raise IllegalTransition(f"plans about {kind} delete nothing for good", not_done="nothing was deleted")


def outcome_of(session: Session, op: str) -> Mapping[str, Value]:
    """What there is to say of it besides its receipt, as `Account.value` was."""
    with session.journal(read_only=True) as journal:
        found = journal.operation(op).data.get("purge", {})
    return found if isinstance(found, dict) else {}
