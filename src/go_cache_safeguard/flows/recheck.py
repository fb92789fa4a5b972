"""Whether what was approved is still there as it was; and how an approval ends that is about something else now.

Knows:     what makes a planned file another one, and what a person is told who wants it all the same.
Called by: `flows.clean` and `flows.redis_removal`, before an approval is used.
Never:     removes anything; lets an approval count for what nobody looked at.
"""

import os
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING

from go_cache_safeguard.core.errors import PlanVoid
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.operation import Operation
from go_cache_safeguard.core.plan import Item, Plan
from go_cache_safeguard.flows.desk import Desk, lent, rules_of
from go_cache_safeguard.flows.session import Session

if TYPE_CHECKING:
    from go_cache_safeguard.journal.records import Records


def recheck_cache(session: Session, journal: "Records", op: str, plan: Plan) -> None:
    """See that no planned file changed since people looked at the plan. Files that have gone meanwhile change nothing.

    Args:
        session: Who works, with which settings.
        journal: Open for writing.
        op: About to be carried out; only if people approved it this looks at anything.
        plan: Its plan.

    Raises:
        PlanVoid: Something changed; the approval is used up, and nothing was done.
    """
    operation = journal.operation(op)
    if operation.state is not State.APPROVED:
        return
    why = _changed_cache(plan, strict=is_strict(session))
    if why:
        raise void(session, journal, operation, why)


def is_strict(session: Session) -> bool:
    """Whether one changed item ends an approval; otherwise only that item stays."""
    return session.config.choice("approval.on_change") == "void"


def void(session: Session, journal: "Records", operation: Operation, why: str) -> PlanVoid:
    """End an approval, and say how to ask again.

    Args:
        session: Who works, with which settings.
        journal: Open for writing.
        operation: Approved.
        why: What changed.

    Returns:
        The failure to raise.
    """
    Desk(lent(journal), rules_of(session)).void(operation.id, why)
    return PlanVoid(
        f"the approval of {operation.id} is void: {why}",
        not_done="nothing was removed",
        hint="ask again, so that people see what is there now; `clean` and `redis del|unlink|flush` take"
        f" --replaces {operation.id}",
    )


def _changed_cache(plan: Plan, *, strict: bool) -> str:
    """Why a cache is not the one that people looked at; empty if it is."""
    from go_cache_safeguard.tree.root import open_root  # noqa: PLC0415 - ctypes is slow to load

    try:
        found = Path(plan.target).lstat()
    except FileNotFoundError:
        return f"{plan.target} is not there any more"
    if f"{found.st_dev}:{found.st_ino}" != plan.identity:
        return f"{plan.target} is another directory now"
    if not strict:
        return ""
    with open_root(Path(plan.target), identity=plan.identity) as root:
        changed = [item.name for item in plan.items if _is_other(root.fd, item)]
    if not changed:
        return ""
    return f"{len(changed):,} of {len(plan.items):,} files changed since it was asked for, the first is {changed[0]}"


def _is_other(root: int, item: Item) -> bool:
    """Whether a file is there and is another one than was planned; by what the door looks at, too."""
    try:
        found = os.stat(item.name, dir_fd=root, follow_symlinks=False)
    except OSError:
        return False  # gone, or unreadable: the door tells
    return found.st_mtime_ns != item.stamp or (S_ISREG(found.st_mode) and found.st_size != item.size)
