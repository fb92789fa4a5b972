"""What is wrong with a journal, told by its records alone.

Knows:     how records hang together: numbers, hashes, one journal, the lifecycle, and the head that was seen last.
Called by: `journal.store` for `verify`, and before each append for its last record.
Never:     repairs; trusts a wall clock; judges a record by a neighbour that is known to be changed, so that one edit is
           one break and not a cascade.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from go_cache_safeguard.core.canonical import canonical
from go_cache_safeguard.core.lifecycle import State, may_follow
from go_cache_safeguard.journal.record import NO_PREV, Record, leaf_hash, parse_record


class BreakKind(StrEnum):
    """What was done to the journal, as far as it can be told."""

    EDITED = "edited"
    MISSING = "missing"
    INSERTED = "inserted"
    REORDERED = "reordered"
    PREV = "prev"
    FOREIGN = "foreign"
    ILLEGAL = "illegal"
    CLOCK = "clock"
    TRUNCATED = "truncated"
    HEAD = "head"
    SWAPPED = "swapped"
    DUPLICATED = "duplicated"
    ROLLED_BACK = "rolled-back"
    FORKED = "forked"
    SIGNATURE = "signature"
    UNAPPROVED = "unapproved"
    OWN = "own-approval"
    SPENT = "token"
    DIGEST = "digest"


@dataclass(frozen=True, slots=True)
class Break:
    """One thing that is wrong.

    Attributes:
        seq: Where: the number of the row, or of the first record that is missing.
        kind: See `BreakKind`.
        text: One sentence for a person.
    """

    seq: int
    kind: BreakKind
    text: str


class Row(NamedTuple):
    """One row as stored; nothing in it is to be trusted.

    Attributes:
        seq: Its key in the table.
        op: The operation it is filed under.
        body: The record, as stored.
        hash: 32 bytes, what the writer said is the hash of `body`.
    """

    seq: int
    op: str | None
    body: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a journal as it was seen last, kept apart from it.

    Attributes:
        log: Id of the journal, as in each record.
        seq: Number of the last record; 0 before the first.
        hash: 64 hexadecimal digits, its hash; `NO_PREV` before the first.
    """

    log: str
    seq: int
    hash: str


def head_bytes(head: Head) -> bytes:
    """What a head file holds: one line."""
    return canonical({"log": head.log, "seq": head.seq, "hash": head.hash}) + b"\n"


def parse_head(data: bytes) -> Head | None:
    """Read a head file; None if these bytes are not in the form that we write."""
    try:
        value: Any = json.loads(data)
        log, seq, digest = value["log"], value["seq"], value["hash"]
        if not isinstance(log, str) or type(seq) is not int or seq < 0 or not isinstance(digest, str):
            return None
        head = Head(log, seq, digest)
        return head if head_bytes(head) == data else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A row after it was looked at alone. `record` is None if it is blamed already, and `seq` is then the row's."""

    seq: int
    row: int
    hash: str
    record: Record | None


def read_row(row: Row) -> Record | str:
    """Look at one row alone.

    Returns:
        The record, or why the row is not as we wrote it.
    """
    record = parse_record(row.body)
    if isinstance(record, str):
        return f"record {row.seq} was edited: {record}"
    if leaf_hash(row.body) != row.hash:
        return f"record {row.seq} was edited: its bytes do not have the hash that is stored beside them"
    if record.op != row.op:
        return f"record {row.seq} was edited: it is filed under {row.op}, and says {record.op}"
    return record


def bad_end(last: Row | None, at_head: Row | None, head: Head | None) -> str:
    """Why no record may be added behind `last`; empty if one may.

    A look at the end only, so that it can be had before each append; `verify_chain` looks at everything.

    Args:
        last: The row with the highest number; None if there is no row.
        at_head: The row with the number of the head; None if there is none.
        head: What the head file says; None if there is no such file.
    """
    if last is None:
        return f"the journal is empty, and had {head.seq} records" if head and head.seq else ""
    if head is None:
        return "the head file is missing, so the end is not known"
    if last.seq < head.seq:
        return f"the journal ends with record {last.seq}, and had {head.seq}: the end was cut off"
    if head.seq and at_head is None:
        return f"record {head.seq} is missing"
    if at_head and at_head.hash.hex() != head.hash:
        return f"record {head.seq} is not the one that the head file has seen"
    return next((why for why in (_bad_row(row, head) for row in (at_head, last) if row) if why), "")


def _bad_row(row: Row, head: Head) -> str:
    record = read_row(row)
    if isinstance(record, str):
        return record
    if record.log != head.log:
        return f"record {row.seq} belongs to another journal ({record.log}, not {head.log})"
    return "" if record.seq == row.seq else f"row {row.seq} holds record {record.seq}: rows were moved"


def verify_chain(rows: Iterable[Row], head: Head | None = None) -> list[Break]:
    """Judge a whole journal.

    What this cannot see: records forged at the end by someone who also knows how to write a fitting head, and a journal
    that was rewritten from the first changed record on, together with its head.

    Args:
        rows: In the order of their keys. All are held in memory, about 1 kB each.
        head: The head, if one is known. Without it a missing tail cannot be seen.

    Returns:
        What is wrong, by number; empty if nothing is.
    """
    breaks: list[Break] = []
    leaves = _numbered(_alone(rows, breaks), breaks)
    leaves = _linked(leaves, head, breaks)
    _lawful(leaves, breaks)
    if head is not None:
        _reaches(leaves, head, breaks)
    return sorted(breaks, key=lambda broken: broken.seq)


def _alone(rows: Iterable[Row], breaks: list[Break]) -> list[_Leaf]:
    """Each row by itself: readable, hashed right, filed right, and of the same journal as most are."""
    read = [(row, read_row(row)) for row in rows]
    logs = Counter(record.log for _, record in read if isinstance(record, Record))
    log = max(logs, key=logs.__getitem__, default="")
    leaves = []
    for row, record in read:
        if isinstance(record, str):
            breaks.append(Break(row.seq, BreakKind.EDITED, record))
            leaves.append(_Leaf(row.seq, row.seq, "", None))
        elif record.log != log:
            text = f"record {row.seq} belongs to another journal ({record.log}, not {log})"
            breaks.append(Break(row.seq, BreakKind.FOREIGN, text))
            leaves.append(_Leaf(row.seq, row.seq, "", None))
        else:
            leaves.append(_Leaf(record.seq, row.seq, row.hash.hex(), record))
    return leaves


def _numbered(leaves: Sequence[_Leaf], breaks: list[Break]) -> list[_Leaf]:
    """One record for each number, in order, without holes."""
    kept = _once(leaves, breaks)
    in_order = sorted(kept, key=lambda leaf: leaf.seq)
    moved = [leaf for leaf in kept if leaf.seq != leaf.row]
    if in_order == kept:
        moved = moved[:1]  # all later ones are shifted by the same act
    places = {(leaf.row, leaf.seq) for leaf in moved}
    swapped = len(moved) == 2 and {(seq, row) for row, seq in places} == places
    kind = BreakKind.SWAPPED if swapped else BreakKind.REORDERED
    breaks += [Break(leaf.row, kind, f"row {leaf.row} holds record {leaf.seq}: rows were moved") for leaf in moved]
    expected = 1
    for leaf in in_order:
        if leaf.seq > expected:
            breaks.append(Break(expected, BreakKind.MISSING, _missing(expected, leaf.seq - 1)))
        expected = leaf.seq + 1
    return in_order


def _missing(first: int, last: int) -> str:
    return f"record {first} is missing" if first == last else f"records {first} to {last} are missing"


def _once(leaves: Sequence[_Leaf], breaks: list[Break]) -> list[_Leaf]:
    """Of several rows that claim one number, keep the one that its successor knows, else the one in its place."""
    known = {leaf.record.prev for leaf in leaves if leaf.record}
    best: dict[int, _Leaf] = {}
    for leaf in leaves:
        other = best.get(leaf.seq)
        if other is None or _worth(leaf, known) > _worth(other, known):
            best[leaf.seq] = leaf
    for leaf in leaves:
        kept = best[leaf.seq]
        if kept is not leaf and leaf.record:
            kind = BreakKind.DUPLICATED if kept.hash == leaf.hash else BreakKind.INSERTED
            text = f"row {leaf.row} was inserted: there is another record {leaf.seq}"
            breaks.append(Break(leaf.row, kind, text))
    return [leaf for leaf in leaves if best[leaf.seq] is leaf]


def _worth(leaf: _Leaf, known: set[str]) -> tuple[bool, bool, bool]:
    return leaf.record is not None, leaf.hash in known, leaf.row == leaf.seq


def _linked(leaves: Sequence[_Leaf], head: Head | None, breaks: list[Break]) -> list[_Leaf]:
    """Each record names the hash of the one before it. Returns the leaves with the newly blamed ones marked.

    A record that was changed together with its own hash no longer fits its successor. If it fits neither neighbour, its
    `prev` was changed as well. Behind the last record stands the head; without it, or beside a hole, nobody can tell.
    """
    links = [_fits(before, after) for before, after in zip((None, *leaves), leaves, strict=False)]
    links.append(_is_head(leaves[-1], head) if leaves else None)
    blamed: set[int] = set()
    for at, leaf in enumerate(leaves):
        if links[at] is not False or (at - 1) in blamed:
            continue
        if links[at + 1] is False:
            blamed.add(at)
        elif at and links[at + 1]:
            blamed.add(at - 1)
        else:
            text = f"record {leaf.seq} does not follow record {leaf.seq - 1}: one of the two was changed"
            breaks.append(Break(leaf.row, BreakKind.PREV, text))
    for at in sorted(blamed):
        text = f"record {leaves[at].seq} was edited and hashed anew: the records beside it know another one"
        breaks.append(Break(leaves[at].row, BreakKind.EDITED, text))
    return [
        _Leaf(leaf.seq, leaf.row, leaf.hash, None if at in blamed else leaf.record) for at, leaf in enumerate(leaves)
    ]


def _fits(before: _Leaf | None, after: _Leaf) -> bool | None:
    """Whether a link holds; None if one end is missing or blamed already."""
    if after.record is None:
        return None
    if before is None:
        return after.record.prev == NO_PREV if after.seq == 1 else None
    if before.record is None or before.seq + 1 != after.seq:
        return None
    return after.record.prev == before.hash


def _is_head(last: _Leaf, head: Head | None) -> bool | None:
    if head is None or last.record is None or last.seq != head.seq:
        return None
    return last.hash == head.hash


def _lawful(leaves: Sequence[_Leaf], breaks: list[Break]) -> None:
    """Every arrow is in the lifecycle's table, and the monotonic clock of one boot does not go back.

    An arrow is judged only if every record between its two ends is there and unchanged: what is known to be broken was
    said already.
    """
    stands: dict[str, tuple[int, State]] = {}
    unknown = 0  # the last number of which nothing is known
    last: Record | None = None
    for leaf in leaves:
        if leaf.record is None or leaf.seq != (last.seq if last else unknown) + 1:
            unknown = leaf.seq - (leaf.record is not None)
            last = None
        if leaf.record is None:
            continue
        if last and last.boot == leaf.record.boot and last.mono_ns > leaf.record.mono_ns:
            text = f"record {leaf.seq} was written before record {last.seq}, says the clock of that boot"
            breaks.append(Break(leaf.row, BreakKind.CLOCK, text))
        last = leaf.record
        _arrow(leaf, leaf.record, stands, unknown, breaks)


def _arrow(
    leaf: _Leaf, record: Record, stands: dict[str, tuple[int, State]], unknown: int, breaks: list[Break]
) -> None:
    if record.op is None or record.state is None:
        return
    since, before = stands.get(record.op, (0, None))
    if since >= unknown and not may_follow(before, record.state):
        text = (
            f"record {leaf.seq} takes {record.op} from {before or 'nothing'} to {record.state}: there is no such arrow"
        )
        breaks.append(Break(leaf.row, BreakKind.ILLEGAL, text))
    stands[record.op] = leaf.seq, record.state


def _reaches(leaves: Sequence[_Leaf], head: Head, breaks: list[Break]) -> None:
    """The journal is at least as long as the head has seen, and has the same record there."""
    end = leaves[-1].seq if leaves else 0
    if end < head.seq:
        text = f"the journal ends with record {end}, and had {head.seq}: the end was cut off"
        breaks.append(Break(end + 1, BreakKind.TRUNCATED, text))
        return
    there = next((leaf for leaf in leaves if leaf.seq == max(head.seq, 1)), None)
    if there and there.record and not _agrees(there.record, there.hash, head):
        text = f"record {head.seq} is not the one that the head file has seen: one of the two was changed"
        breaks.append(Break(head.seq, BreakKind.HEAD, text))


def _agrees(record: Record, digest: str, head: Head) -> bool:
    """Whether a head that points at this record, or before record 1, is of the same journal."""
    return head.log == record.log and head.hash == (digest if head.seq else NO_PREV)
