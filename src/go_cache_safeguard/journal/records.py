"""What every journal can do, wherever its records lie.

Knows:     how notes and moves become records that are chained to those before, how operations are folded from their records, and how
           somebody decides about one with nobody in between.
Called by: `journal.store` (a file of this machine) and `journal.shared` (a database for many machines) fill in where the rows are;
           `flows` and `cli` take either.
Never:     changes or removes a record; knows where one is kept; asks for the time: whoever keeps the rows has the clock.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import ClassVar, NamedTuple, Protocol, Self, TypeVar

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.errors import ExitCode, Failure, IllegalTransition
from go_cache_safeguard.core.lifecycle import State, may_follow
from go_cache_safeguard.core.operation import Operation, follow, is_too_late, waits
from go_cache_safeguard.journal.chain import Break, BreakKind, Head, Row, read_row, verify_chain
from go_cache_safeguard.journal.law import Act, acts
from go_cache_safeguard.journal.record import Entry, Record, is_note_step, leaf_hash, record_bytes
from go_cache_safeguard.journal.sweep import Run, join

T = TypeVar("T")


class JournalUnusable(Failure):
    """The journal cannot be opened, read or written."""

    id = "journal-unusable"
    exit_code: ClassVar[ExitCode] = ExitCode.JOURNAL
    meaning = "the journal cannot be opened, read or written"


class JournalTampered(Failure):
    """The journal is not as this program left it."""

    id = "journal-tampered"
    exit_code: ClassVar[ExitCode] = ExitCode.JOURNAL_TAMPERED
    meaning = "the journal was changed by something else than this program"


class NoSuchOperation(Failure):
    """Nobody ever asked for an operation of this name."""

    id = "no-such-operation"
    exit_code: ClassVar[ExitCode] = ExitCode.USAGE
    meaning = "the journal has no operation of this name"


class Keeper(Protocol):
    """Keeps an eye on a journal that is written: see `flows.checkpoint`."""

    def wrote(self, journal: "Records", step: str) -> None:
        """A record is durable and the head knows it. `step` is empty if it is about several notes."""

    def closing(self, journal: "Records") -> None:
        """The journal is about to be closed. Nothing is raised."""


@dataclass(frozen=True, slots=True)
class Examined:
    """A whole journal, looked at.

    Attributes:
        log: Its id; empty if there is no record.
        count: How many rows there are.
        breaks: What is wrong with its chain; empty if nothing is. Only then the rest is filled.
        leaves: 32 bytes for each record, its hash.
        acts: What the law is about.
    """

    log: str
    count: int
    breaks: tuple[Break, ...] = ()
    leaves: bytes = b""
    acts: Sequence[Act] = ()


Judge = Callable[[Operation, Sequence[Record], int], Sequence[Entry]]
"""Given an operation, all its records and the time (seconds since 1970), says what is to be written, or raises why nothing is."""


@dataclass(frozen=True, slots=True)
class Writer:
    """Whose records these are: see `journal.record.Record`."""

    actor: str
    version: str
    host: str
    boot: str


class Stamp(NamedTuple):
    """When: see `journal.record.Record`."""

    at: str
    mono_ns: int


class Pen:
    """Writes records one behind the other, inside of one transaction of whoever keeps the rows.

    Attributes:
        log: Id of the journal.
        rows: What was written with it, in order. It is stored at the end of the transaction, all of it or nothing.
    """

    def __init__(
        self,
        writer: Writer,
        end: Head,
        newest: str,
        clock: Callable[[], Stamp],
        stored: Callable[[str], list[Record]],
    ) -> None:
        """Begin behind the end of a journal.

        Args:
            writer: Who writes.
            end: The last record there is.
            newest: When that was written; empty if there is none.
            clock: Tells the time.
            stored: Gives the records of an operation that are there already.
        """
        self.log = end.log
        self.rows: list[Row] = []
        self._writer = writer
        self._end = end
        self._newest = newest
        self._clock = clock
        self._stored = stored
        self._stands: dict[str, Operation | None] = {}

    def write(self, entry: Entry) -> Record:
        """Write a note, or a move that was found to be legal.

        Raises:
            ValueError, TypeError: It has not the form of a record.
        """
        end, stamp = self._end, self._clock()
        place = (end.log, end.seq + 1, end.hash, stamp.at, stamp.mono_ns, self._writer.boot)
        who = (entry.actor or self._writer.actor, self._writer.host, self._writer.version)
        body = record_bytes(Record(*place, *who, entry.op, entry.step, entry.data))
        row = Row(end.seq + 1, entry.op, body, leaf_hash(body))
        record = read_row(row)
        if isinstance(record, str):
            raise TypeError(record)
        self.rows.append(row)
        self._end = Head(end.log, row.seq, row.hash.hex())
        self._newest = record.at
        return record

    def stands(self, op: str) -> Operation | None:
        """Where an operation stands, with what was written just now."""
        if op not in self._stands:
            self._stands[op] = folded(self._stored(op)).get(op)
        return self._stands[op]

    def move(self, op: str, entry: Entry, to: State) -> Operation | IllegalTransition:
        """Write a move, if there is such an arrow; else say why it cannot be written."""
        before = self.stands(op)
        why = illegal(op, before, to) or self._too_late(before, to)
        if why is not None:
            return why
        now = moved(before, self.write(entry))
        self._stands[op] = now
        assert now is not None  # noqa: S101 - the record is a move
        return now

    def present_s(self, records: Sequence[Record]) -> int:
        """The time in seconds since 1970: not before that of the last record, nor of any of these. A clock that goes back revives nothing."""
        stamp = self._clock()
        latest = datetime.fromisoformat(max(stamp.at, self._newest)).timestamp()
        return int(max([latest, *(self._at_least(record, stamp.mono_ns) for record in records)]))

    def _at_least(self, record: Record, mono_ns: int) -> float:
        """The earliest that it can be now: when a record was written, and what has passed since, if that was since this start."""
        at_s = datetime.fromisoformat(record.at).timestamp()
        passed_ns = mono_ns - record.mono_ns if record.boot == self._writer.boot else 0
        return at_s + max(0, passed_ns) / 1e9

    def _too_late(self, before: Operation | None, to: State) -> IllegalTransition | None:
        """An approval whose time is over lets nothing on, whoever asks; it is EXPIRED, or somebody says no."""
        if before is None or not waits(before):
            return None
        if not is_too_late(before, to, self.present_s(self._stored(before.id))):
            return None
        return IllegalTransition(
            f"operation {before.id} is {before.state}, and its time is over: it cannot become {to}",
            not_done="nothing was removed, and the operation stays as it was",
            hint="ask again",
        )


class Records(ABC):
    """An open journal. Use it in a `with` statement, from one thread; several processes may have it open at once.

    Attributes:
        path: The file; of a journal in a database, where its checkpoints would lie beside it.
        read_only: Whether writing is refused.
    """

    def __init__(self, path: Path, *, read_only: bool, keeper: Keeper | None) -> None:
        self.path = path
        self.read_only = read_only
        self._keeper = keeper

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the journal. Nothing is pending: each record was durable when its call returned."""
        keeper, self._keeper = self._keeper, None
        try:
            if keeper is not None:
                keeper.closing(self)
        finally:
            self._let_go()

    # --- writing -------------------------------------------------------------------------------------------------------

    def note(self, step: str, data: Mapping[str, Value], *, op: str | None = None) -> Record:
        """Write a record that moves no operation. It is durable when this returns.

        Args:
            step: Small words joined by dashes: `config`, `token-minted`, `progress`.
            data: What there is to say, as `core.canonical` allows it.
            op: The operation that it is about. Its state and its `data` stay as they are.

        Raises:
            ValueError: `step` or `op` has not the right form.
            TypeError: `data` has no canonical form.
            JournalUnusable: The record could not be written, or is not known to be durable.
            JournalTampered: The journal is not as we left it.
        """
        if not is_note_step(step):
            raise ValueError(f"{step!r} is not the name of a note")
        record = self._write(lambda pen: pen.write(Entry(step, data, op)))
        self._told(step)
        return record

    def advance(self, op: str, to: State, data: Mapping[str, Value]) -> Operation:
        """Move an operation along one arrow of the lifecycle. It is durable when this returns.

        The arrow is looked up inside the transaction that writes it: of two processes that try the same one, one wins.

        Args:
            op: See `core.operation.operation_id`; a new name with `State.REQUESTED` starts an operation.
            to: The state to enter.
            data: What there is to say; laid over what earlier records said.

        Returns:
            The operation as it is now.

        Raises:
            IllegalTransition: There is no such arrow from where the operation stands; nothing was written.
            ValueError: `op` has not the right form.
            TypeError: `data` has no canonical form.
            JournalUnusable: The record could not be written, or is not known to be durable.
            JournalTampered: The journal is not as we left it.
        """
        now = self._write(lambda pen: _legal(pen.move(op, Entry(str(to), data, op), to)))
        self._told(str(to))
        return now

    def write_all(self, entries: Sequence[Entry]) -> list[Operation | IllegalTransition | None]:
        """Write several notes and moves in one transaction. They are durable when this returns.

        The head stays behind: call `catch_up` soon, and not for each of many.

        Args:
            entries: In order.

        Returns:
            For each: the operation as it is then, why it cannot move there (then it did not), or None for a note.

        Raises:
            ValueError, TypeError, JournalUnusable, JournalTampered: As `advance`; then none of them was written.
        """
        return self._write(lambda pen: [_entered(pen, entry) for entry in entries])

    def decide(self, op: str, judge: Judge) -> Operation:
        """Decide about an operation with nobody in between: look, judge and write are one transaction.

        Args:
            op: The operation.
            judge: Sees the operation, its records and the time of whoever keeps the rows, which is never before the time of the last
                record, nor of any of the operation. Returns what is to be written, each entry with its `op`; what it raises
                goes through, and nothing is written. A store may ask it more than once, until one transaction succeeds.

        Returns:
            The operation as it is then.

        Raises:
            NoSuchOperation: There is none of this name.
            IllegalTransition, ValueError, TypeError, JournalUnusable, JournalTampered: As `advance`; nothing was written.
        """

        def act(pen: Pen) -> tuple[Operation, Sequence[Entry]]:
            records = self._records_of(op)
            found = folded(records).get(op)
            if found is None:
                raise unknown_operation(op)
            entries = judge(found, records, pen.present_s(records))
            for entry in entries:
                answer = _entered(pen, entry)
                if isinstance(answer, IllegalTransition):
                    raise answer
            return pen.stands(op) or found, entries

        now, entries = self._write(act)
        if entries:
            self._told(*(entry.step for entry in entries))
        return now

    def begin(self, op: str, entries: Sequence[Entry]) -> Operation:
        """Write the first records of an operation, in one transaction; nothing if there is one of this name.

        Args:
            op: The operation.
            entries: REQUESTED first, each with its `op`.

        Returns:
            The operation as it is then, begun now or before.

        Raises:
            IllegalTransition, ValueError, TypeError, JournalUnusable, JournalTampered: As `advance`; nothing was written.
        """

        def act(pen: Pen) -> tuple[Operation, bool]:
            found = pen.stands(op)
            if found is not None:
                return found, False
            for entry in entries:
                answer = _entered(pen, entry)
                if isinstance(answer, IllegalTransition):
                    raise answer
            now = pen.stands(op)
            if now is None:
                raise unknown_operation(op)
            return now, True

        now, begun = self._write(act)
        if begun:
            self._told(*(entry.step for entry in entries))
        return now

    def catch_up(self) -> None:
        """Bring the head up to the last record."""
        self._told("")

    def _told(self, *steps: str) -> None:
        self._publish_head()
        if self._keeper is not None:
            for step in steps:
                self._keeper.wrote(self, step)

    # --- reading -------------------------------------------------------------------------------------------------------

    def operations(self) -> list[Operation]:
        """All operations, by their first record, newest last.

        Records that were damaged are left out here, so that a damaged journal can still be looked at; `verify` names
        them, and `operation` and `advance` refuse to build on them.
        """
        return list(folded(self.moves()).values())

    def operation(self, op: str) -> Operation:
        """One operation.

        Raises:
            NoSuchOperation: There is none of this name.
            JournalTampered: One of its records was changed.
            JournalUnusable: The journal cannot be read.
        """
        found = folded(self._records_of(op)).get(op)
        if found is None:
            raise unknown_operation(op)
        return found

    def records(self, since: int = 0, *, op: str | None = None) -> Iterator[Record]:
        """Records in order, notes as well. Damaged ones are left out; `verify` names them.

        Args:
            since: Only those with a higher number.
            op: Only those of one operation.
        """
        return _readable(self._rows(since, op=op))

    def moves(self, since: int = 0) -> Iterator[Record]:
        """Records that move operations, in order: all that `operations` is folded from. Damaged ones are left out.

        Args:
            since: Only those with a higher number.
        """
        return (record for record in _readable(self._rows(since, filed=True)) if record.state)

    def filed(self, since: int = 0) -> Iterator[Record]:
        """Records about operations, moves and notes, in order; what is about none, such as calls that passed, is left out.

        Args:
            since: Only those with a higher number.
        """
        return _readable(self._rows(since, filed=True))

    def notes(self, step: str) -> Iterator[Record]:
        """Notes of one kind, in order; damaged ones are left out."""
        found = _readable(self._rows(0, part=f'"step":"{step}"'))
        return (record for record in found if record.step == step)

    def rows(self) -> Iterator[Row]:
        """All rows as they are stored, unjudged."""
        return self._rows(-(1 << 63))

    def rows_from(self, seq: int) -> Iterator[Row]:
        """All rows from one number on, that one included, as they are stored."""
        return self._rows(seq - 1)

    @property
    def log(self) -> str:
        """Id of the journal, as its newest record says; empty if it has none that can be read."""
        last = self._last()
        record = read_row(last) if last else ""
        return record.log if isinstance(record, Record) else ""

    # --- judging -------------------------------------------------------------------------------------------------------

    def verify(self) -> list[Break]:
        """Judge the whole journal; empty if nothing is wrong. What this cannot see: `journal.store`, `journal.shared`."""
        return list(self.examine().breaks)

    def examine(self, *, headless: bool = False) -> Examined:
        """Judge the whole journal, and keep what further questions need.

        A journal that is as it should be is recognised quickly; another one is read again and each break is named.

        Args:
            headless: Do without the head: it is known to be lost. Then a missing end cannot be seen.
        """
        # Before the rows: whatever the head says must be in them.
        seen = self.lost_head() if headless else self._seen()
        if isinstance(seen, Head):
            whole = join(self._runs(), seen)
            if whole is not None:
                return Examined(whole.log, whole.last, (), whole.leaves, whole.acts)
        return self._look_closely(seen)

    def _look_closely(self, seen: Head | str | None) -> Examined:
        rows = list(self.rows())
        breaks = verify_chain(rows, seen if isinstance(seen, Head) else None)
        if not isinstance(seen, Head) and (seen or rows):
            end = rows[-1].seq if rows else 0
            breaks.append(Break(end, BreakKind.HEAD, seen or "the head is missing, so the end is not known"))
        records = [record for record in map(read_row, rows) if isinstance(record, Record)]
        log = records[-1].log if records else ""
        if breaks:
            return Examined(log, len(rows), tuple(breaks))
        return Examined(log, len(rows), (), b"".join([row.hash for row in rows]), list(acts(records)))

    def export(self, write: Callable[[bytes], object]) -> int:
        r"""Write one line for each record: its hash in hexadecimal, a space, and the record as it is stored.

        Somebody without this program can check it (records are ASCII without line ends), and each `prev` by eye:

            while read -r hash body; do
              [ "$(printf '\0%s' "$body" | sha256sum)" = "$hash  -" ] || echo "changed: $body"
            done < export.txt

        A row that is not one line of ASCII was not written by us. It is exported as `!` and hexadecimal digits, so that it
        cannot pass for other lines, and fails the check.

        Returns:
            How many lines were written.
        """
        count = 0
        for count, row in enumerate(self.rows(), 1):  # noqa: B007 - the last value is the answer
            write(export_line(row))
        return count

    def _records_of(self, op: str) -> list[Record]:
        """All records of one operation.

        Raises:
            JournalTampered: One of them was changed.
        """
        records = []
        for row in self._rows_of(op):
            record = read_row(row)
            if isinstance(record, str):
                raise self._tampered(record)
            records.append(record)
        return records

    # --- what whoever keeps the rows fills in ------------------------------------------------------------------------------

    @property
    @abstractmethod
    def is_made(self) -> bool:
        """Whether there is a journal at all; one without records was made as well."""

    @property
    @abstractmethod
    def last_seq(self) -> int:
        """Number of the newest record, 0 if there is none: it changes with whatever is written."""

    @abstractmethod
    def leaves(self) -> bytes:
        """The hashes of all records as they are stored, unjudged, 32 bytes each."""

    @abstractmethod
    def lost_head(self) -> Head | None:
        """The head that a journal would get again whose head is lost or cannot be read; None if it is not, or has no record."""

    @abstractmethod
    def restore_head(self, head: Head) -> None:
        """Write a head again that was lost.

        Args:
            head: What `lost_head` returned, and a person agreed to.

        Raises:
            JournalTampered: The journal is not as it was then.
        """

    @abstractmethod
    def _write(self, act: Callable[[Pen], T]) -> T:
        """Have something written behind the end, in one transaction; durable when this returns. It may be asked more than once."""

    @abstractmethod
    def _publish_head(self) -> None:
        """Bring the head up to the last record, if it is not written with it."""

    @abstractmethod
    def _rows(self, since: int, *, op: str | None = None, filed: bool = False, part: str = "") -> Iterator[Row]:
        """Rows after `since`, a batch at a time, so that no read transaction stays open between two of them.

        Args:
            since: A number.
            op: Only those of one operation.
            filed: Only those of any operation.
            part: Only those whose record has this ASCII text.
        """

    @abstractmethod
    def _rows_of(self, op: str) -> list[Row]:
        """All rows of one operation, read at once; inside of a transaction, as that sees them."""

    @abstractmethod
    def _last(self) -> Row | None:
        """The row with the highest number."""

    @abstractmethod
    def _runs(self) -> list[Run]:
        """All rows that are there now, swept; nothing if one of them is not surely right."""

    @abstractmethod
    def _seen(self) -> Head | str | None:
        """The head; None if there is none, text if it cannot be understood."""

    @abstractmethod
    def _tampered(self, why: str) -> JournalTampered:
        """The failure that says so, with a hint."""

    @abstractmethod
    def _let_go(self) -> None:
        """Close what is open."""


def export_line(row: Row) -> bytes:
    """One line of an export: see `Records.export`."""
    plain = row.body.isascii() and row.body.decode("ascii").isprintable()
    body = row.body if plain else b"!" + row.body.hex().encode("ascii")
    return row.hash.hex().encode("ascii") + b" " + body + b"\n"


def folded(records: Iterator[Record] | Sequence[Record]) -> dict[str, Operation]:
    """Operations by their ids, in the order of their first records; a note changes nothing."""
    found: dict[str, Operation] = {}
    for record in records:
        if record.op and (now := moved(found.get(record.op), record)):
            found[record.op] = now
    return found


def illegal(op: str, before: Operation | None, to: State) -> IllegalTransition | None:
    """Why an operation cannot enter a state; None if it can."""
    state = before.state if before else None
    if may_follow(state, to):
        return None
    return IllegalTransition(
        f"operation {op} is {state or 'not known'} and cannot become {to}",
        not_done="nothing was removed, and the operation stays as it was",
        hint="see where it stands with `go-cache-safeguard ops list`",
    )


def moved(before: Operation | None, record: Record) -> Operation | None:
    """The operation after a record; None if that moves none."""
    if record.op is None or record.state is None:
        return None
    return follow(before, op=record.op, state=record.state, actor=record.actor, at=record.at, data=record.data)


def unknown_operation(op: str) -> NoSuchOperation:
    """The failure that says so."""
    return NoSuchOperation(
        f"there is no operation {op!r}",
        not_done="nothing was removed",
        hint="`go-cache-safeguard ops list` names them all",
    )


def _entered(pen: Pen, entry: Entry) -> Operation | IllegalTransition | None:
    to = entry.to
    if to is None:
        pen.write(entry)
        return None
    return pen.move(entry.op or "", entry, to)


def _legal(found: Operation | IllegalTransition) -> Operation:
    if isinstance(found, IllegalTransition):
        raise found
    return found


def _readable(rows: Iterator[Row]) -> Iterator[Record]:
    return (record for record in map(read_row, rows) if isinstance(record, Record))
