"""Throw captured values of servers away for good: planned, decided about and accounted for as any removal.

Knows:     how what several operations keep is one plan.
Called by: the command line's `redis trash purge`, `flows.disposers` for what was approved or killed.
Never:     throws away what is not as the plan saw it, or is still needed.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.errors import Failure
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.plan import Item, Plan
from go_cache_safeguard.core.receipt import Receipt
from go_cache_safeguard.core.verdict import Verdict
from go_cache_safeguard.flows.deletion import Account, begun, finish, time_has_come
from go_cache_safeguard.flows.redis_undo import Stored, purge, stored
from go_cache_safeguard.flows.session import Session, now_text
from go_cache_safeguard.flows.site import TRASH
from go_cache_safeguard.journal.records import JournalTampered, JournalUnusable

if TYPE_CHECKING:
    from go_cache_safeguard.journal.store import Journal

_WHY = "captured values"
_NEVER = -1


def plan_of(session: Session, due: Sequence[Stored], *, whole: int) -> Plan:
    """All that is to go for good now, as one plan.

    Args:
        session: Who asks.
        due: Of which operations.
        whole: Bytes that are kept altogether.
    """
    return Plan(
        kind=TRASH,
        target=", ".join(sorted({one.target for one in due})),
        identity="",
        selectors=("redis", "trash", "purge"),
        requester=session.actor,
        made_at=now_text(),
        whole=whole,
        items=tuple(map(_item, sorted(due, key=lambda it: it.op))),
    )


def verdict_of(due: Sequence[Stored], now_s: float) -> Verdict:
    """Whether the retention of all has ended; of what is still needed it never has."""
    early = [one.op for one in due if one.due_s is None or one.due_s > now_s]
    return time_has_come("operations in the trash", early, len(due))


def dispose(session: Session, journal: "Journal", op: str, plan: Plan) -> Receipt:
    """Carry out a plan of `plan_of`.

    Args:
        session: Who works, with which settings.
        journal: Open for writing.
        op: The operation, ALLOWED or APPROVED for this plan; or PURGING, to go on.
        plan: The plan.

    Raises:
        Failure: The first that kept one of them from going; the others are gone, and the account is written.
    """
    account, rows, trouble = Account(), list[Value](), list[Failure]()
    with begun(session, journal, op) as began:
        there = {one.op: one for one in stored(session, journal)}
        for item in plan.items:
            found = there.get(item.name)
            if found is None:
                ours = journal.operation(item.name)
                gone = ours.state is State.PURGED and ours.data.get("purged_by") == op
                account.gone += gone  # we were killed after it
                account.missing += not gone
            elif (found.digest, found.size) != (item.digest, item.size):
                account.changed += 1
            else:
                try:
                    account.size += purge(session, journal, found, by=op)
                except (JournalUnusable, JournalTampered):
                    raise
                except Failure as failure:
                    account.failed.append((item.name, failure.what))
                    trouble.append(failure)
                else:
                    account.gone += 1
                    rows.append(found.as_value())
        account.value = {"operations": rows}
        receipt = finish(journal, op, plan, account, began)
    if trouble:
        raise trouble[0]
    return receipt


def _item(one: Stored) -> Item:
    return Item(one.op, one.size, _NEVER if one.due_s is None else one.due_s, _WHY, one.digest)
