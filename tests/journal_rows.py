"""Rows of a journal as the store would write them, for tests of what judges journals."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from go_cache_safeguard.journal.chain import Head, Row
from go_cache_safeguard.journal.record import NO_PREV, Record, leaf_hash, parse_record, record_bytes

LOG, OTHER_LOG = "ab" * 16, "cd" * 16
OP = "op_0000000000000001"
WAY = ("config", "REQUESTED", "CHECKED", "HELD", "token-minted", "APPROVED", "REMOVING", "PROVING", "DONE")


def row_of(record: Record) -> Row:
    body = record_bytes(record)
    return Row(record.seq, record.op, body, leaf_hash(body))


def record_of(row: Row) -> Record:
    record = parse_record(row.body)
    assert isinstance(record, Record)
    return record


def journal(steps: Sequence[str] = WAY, *, log: str = LOG, ops: Sequence[str] = (OP,), boot: str = "b") -> list[Row]:
    """Rows as the store would write them; operations take turns."""
    rows: list[Row] = []
    for seq, step in enumerate(steps, 1):
        prev = rows[-1].hash.hex() if rows else NO_PREV
        at = f"2026-01-02T03:04:05.{seq:06}Z"
        op = ops[seq % len(ops)]
        record = Record(log, seq, prev, at, 100 + seq, boot, "uid:1(a)", "h", "0.1", op, step, {"n": seq})
        rows.append(row_of(record))
    return rows


def head_of(rows: Sequence[Row]) -> Head:
    return Head(LOG, rows[-1].seq, rows[-1].hash.hex())


def edited(row: Row, **fields: Any) -> Row:
    """The row as somebody would leave it who also knows how to hash."""
    return row_of(replace(record_of(row), **fields))
