"""Pages of a journal, the newest records first.

Knows:     how far back one page looks for records that fit.
Called by: the page `journal` of `web`.
Never:     reads a whole journal for one page; writes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from go_cache_safeguard.core.operation import is_operation_id
from go_cache_safeguard.journal.record import Record

LIMIT = 50
_WINDOW = 2_000
_MOST = 40_000
"""Records that one page looks at."""


class Leaves(Protocol):
    """The part of a journal that is read here."""

    @property
    def last_seq(self) -> int:
        """See `Journal.last_seq`."""

    def records(self, since: int = 0, *, op: str | None = None) -> Iterator[Record]:
        """See `Journal.records`."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One page.

    Attributes:
        records: The newest one first.
        older: Before which number the next page begins; 0 if there is none.
        last: Number of the newest record of the journal.
    """

    records: tuple[Record, ...]
    older: int
    last: int


def leaf_of(journal: Leaves, *, before: int = 0, limit: int = LIMIT, op: str = "", step: str = "") -> Leaf:
    """Read a page.

    Args:
        journal: To be read.
        before: Only records with a lower number; 0 for the end.
        limit: How many records.
        op: Only those of one operation; empty for all.
        step: Only those of this name; empty for all.
    """
    last = journal.last_seq
    upper = min(before or last + 1, last + 1)
    if op:
        known = journal.records(op=op) if is_operation_id(op) else iter(())
        return _leaf([one for one in known if one.seq < upper and _fits(one, step)], limit, 0, last)
    found: list[Record] = []
    lower, looked = upper, 0
    while len(found) <= limit and lower > 1 and looked < _MOST:
        since = max(0, lower - 1 - (_WINDOW if step else limit))
        found[:0] = [one for one in _between(journal, since, lower) if _fits(one, step)]
        looked += lower - since
        lower = since + 1
    return _leaf(found, limit, lower if lower > 1 else 0, last)


def _between(journal: Leaves, since: int, before: int) -> Iterator[Record]:
    for record in journal.records(since):
        if record.seq >= before:
            return
        yield record


def _leaf(found: list[Record], limit: int, unread: int, last: int) -> Leaf:
    """The newest ones of what was found; what lies below `unread` was not looked at."""
    shown = found[-limit:]
    older = shown[0].seq if len(found) > limit else unread
    return Leaf(tuple(reversed(shown)), older, last)


def _fits(record: Record, step: str) -> bool:
    return not step or record.step == step
