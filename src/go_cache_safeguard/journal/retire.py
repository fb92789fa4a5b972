"""A log that ends, and the one that goes on from it: what is old leaves the database, and the chain is never cut.

Knows:     which operations are over for long enough, what the last record of a log and the first one of the next say of each other,
           and how what is not over is carried over.
Called by: `flows.retention`; `flows.audit` asks which earlier logs there were.
Never:     leaves out a record of anything that waits, is half done, or that somebody has to review; changes what a record says of who
           did what and when.

A chain of hashes cannot lose its middle. So the whole log is closed with a record that names the next one, and the next one begins with
a record that names this one, how many records it had, the root of the tree over them and the SHA-256 of its export.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from go_cache_safeguard.core.canonical import Value, canonical, digest
from go_cache_safeguard.core.lifecycle import PENDING, UNFINISHED, State
from go_cache_safeguard.journal.chain import Row, read_row
from go_cache_safeguard.journal.law import REVIEWED
from go_cache_safeguard.journal.merkle import Frontier
from go_cache_safeguard.journal.record import NO_PREV, Entry, Record, leaf_hash, parse_record, record_bytes
from go_cache_safeguard.journal.records import Stamp, Writer, export_line, folded

CLOSED, OPENED, CARRIED = "log-closed", "log-opened", "log-carried"
"""The last record of a log, the first one of the next, and the note behind each operation that was carried over."""

_OPEN = PENDING | UNFINISHED | {State.UNKNOWN}


@dataclass(frozen=True, slots=True)
class Ended:
    """An earlier log.

    Attributes:
        log: Its id.
        records: How many it had.
        root: 64 hexadecimal digits, of the tree over them.
        hash: 64 hexadecimal digits, of the last one.
        sha256: 64 hexadecimal digits, of its export.
    """

    log: str
    records: int
    root: str
    hash: str
    sha256: str

    def as_value(self) -> dict[str, Value]:
        """For a record and for `--json`."""
        return {
            "log": self.log,
            "records": self.records,
            "root": self.root,
            "hash": self.hash,
            "sha256": self.sha256,
        }


def over(records: Iterable[Record], cut: str) -> list[str]:
    """Operations that ended before a time, with nothing left to do about them.

    Args:
        records: All of a log, in order.
        cut: RFC 3339, as records have it.
    """
    moves, last, reviewed = [], dict[str, str](), set[str]()
    for record in records:
        if record.op is None:
            continue
        last[record.op] = max(record.at, last.get(record.op, ""))
        if record.state is not None:
            moves.append(record)
        elif record.step == REVIEWED:
            reviewed.add(record.op)
    found = folded(moves)
    return [
        op
        for op, it in found.items()
        if it.state not in _OPEN and last[op] < cut and (it.data.get("emergency") is not True or op in reviewed)
    ]


def digest_of(tenant: str, log: str, gone: Sequence[str]) -> str:
    """What a person agrees to: that of this log nothing stays in the database but what is not among these operations."""
    return digest(canonical({"tenant": tenant, "log": log, "gone": sorted(gone)}))


class Gathering:
    """A log, row by row: what its successor must know of it, and what is carried over."""

    def __init__(self, gone: Iterable[str]) -> None:
        """Nothing is gathered yet.

        Args:
            gone: Operations that are not carried over.
        """
        self._gone = frozenset(gone)
        self._edge = Frontier()
        self._export = sha256()
        self._kept: dict[str, list[Record]] = {}
        self._last = bytes(32)

    def add(self, rows: Iterable[Row]) -> None:
        """Go on.

        Raises:
            ValueError: A row is not as it was written.
        """
        for row in rows:
            record = read_row(row)
            if isinstance(record, str):
                raise ValueError(record)  # noqa: TRY004 - the row is damaged, its type is right
            self._edge = self._edge.append(row.hash)
            self._export.update(export_line(row))
            self._last = row.hash
            if record.op is not None and record.op not in self._gone:
                self._kept.setdefault(record.op, []).append(record)

    @property
    def size(self) -> int:
        """How many rows there were."""
        return self._edge.size

    @property
    def carried(self) -> list[str]:
        """Operations that are carried over."""
        return list(self._kept)

    def ended(self, log: str) -> Ended:
        """The log, if it ends here."""
        return Ended(log, self.size, self._edge.root.hex(), self._last.hex(), self._export.hexdigest())

    def begin(self, log: str, before: Sequence[Ended], writer: Writer, clock: Callable[[], Stamp]) -> list[Row]:
        """The first rows of the next log.

        Args:
            log: Its id.
            before: All earlier logs, the one that ends here last.
            writer: Who does this.
            clock: Tells the time.
        """
        rows: list[Row] = []

        def write(entry: Entry) -> None:
            place = (log, len(rows) + 1, _prev(rows), *clock(), writer.boot)
            who = (writer.actor, writer.host, writer.version)
            rows.append(_row(Record(*place, *who, entry.op, entry.step, entry.data)))

        write(Entry(OPENED, {"before": [it.as_value() for it in before]}))
        for op, records in self._kept.items():
            for record in records:
                stamp = clock()
                # What was done by whom and when stays; the clock of a boot tells when this row was written.
                moved = replace(
                    record, log=log, seq=len(rows) + 1, prev=_prev(rows), mono_ns=stamp.mono_ns, boot=writer.boot
                )
                rows.append(_row(moved))
            old: Value = [[record.seq, leaf_hash(record_bytes(record)).hex()] for record in records]
            write(Entry(CARRIED, {"log": before[-1].log, "records": old}, op))
        return rows


def earlier(first: Record | None) -> list[Ended]:
    """The logs before this one, oldest first.

    Args:
        first: The first record of a log.
    """
    if first is None or first.step != OPENED:
        return []
    told: Any = first.data.get("before")
    return [_ended(it) for it in told if isinstance(it, dict)] if isinstance(told, list) else []


def read_line(number: int, line: bytes) -> Row | str:
    """One line of an export, as a row; or why it is none.

    Args:
        number: Which line it is, from 1.
        line: With its end.
    """
    found, _, body = line.removesuffix(b"\n").partition(b" ")
    record = parse_record(body)
    if isinstance(record, str):
        return f"line {number}: {record}"
    if found != leaf_hash(body).hex().encode("ascii") or record.seq != number:
        return f"line {number} has not the hash, or not the number, that it says"
    return Row(number, record.op, body, bytes.fromhex(found.decode("ascii")))


def _ended(value: Mapping[str, Any]) -> Ended:
    words = {name: str(value.get(name, "")) for name in ("log", "root", "hash", "sha256")}
    return Ended(records=int(value.get("records", 0)), **words)


def _prev(rows: Sequence[Row]) -> str:
    return rows[-1].hash.hex() if rows else NO_PREV


def _row(record: Record) -> Row:
    body = record_bytes(record)
    return Row(record.seq, record.op, body, leaf_hash(body))
