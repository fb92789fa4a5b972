"""What holds for every journal: it verifies, and no change of it does."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from go_cache_safeguard.core.lifecycle import TRANSITIONS, State
from go_cache_safeguard.core.operation import operation_id
from go_cache_safeguard.journal.chain import Head, Row, head_bytes, parse_head, verify_chain
from go_cache_safeguard.journal.record import NO_PREV, Record, leaf_hash, parse_record, record_bytes
from go_cache_safeguard.journal.sweep import Run, join, sweep

OPS = [operation_id(at, at) for at in range(3)]
BYTE = st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF, exclude_categories=())  # of a path that is not UTF-8
TEXT = st.text(st.characters() | BYTE, max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
DATA = st.dictionaries(TEXT, JSON, max_size=4)
Draw = Callable[..., Any]


@st.composite
def records(draw: Draw) -> Record:
    """Any record that may be written."""
    at = draw(st.datetimes()).strftime("%H:%M:%S.%f")
    step = draw(st.sampled_from([*map(str, State), "config", "token-minted"]))
    return Record(
        log=draw(st.binary(min_size=16, max_size=16)).hex(),
        seq=draw(st.integers(1, 1 << 63)),
        prev=draw(st.binary(min_size=32, max_size=32)).hex(),
        at=f"2026-01-02T{at}Z",
        mono_ns=draw(st.integers(0, 1 << 63)),
        boot=draw(TEXT),
        actor=draw(TEXT),
        host=draw(TEXT),
        version=draw(TEXT),
        op=draw(st.sampled_from(OPS)),
        step=step,
        data=draw(DATA),
    )


@st.composite
def journals(draw: Draw) -> list[Row]:
    """Rows as the store would write them: each step is an arrow that the lifecycle has, or a note."""
    stands: dict[str, State | None] = dict.fromkeys(OPS)
    rows: list[Row] = []
    for seq in range(1, draw(st.integers(2, 14)) + 1):
        op = draw(st.sampled_from(OPS))
        states = sorted(TRANSITIONS[stands[op]])
        step = draw(st.sampled_from(["progress", *states]))
        if step in states:
            stands[op] = State(step)
        prev = rows[-1].hash.hex() if rows else NO_PREV
        record = Record(
            "ab" * 16, seq, prev, "2026-01-02T03:04:05.000006Z", seq, "b", "uid:1(a)", "h", "1", op, step, {}
        )
        body = record_bytes(record)
        rows.append(Row(seq, op, body, leaf_hash(body)))
    return rows


def head_of(rows: list[Row]) -> Head:
    return Head("ab" * 16, rows[-1].seq, rows[-1].hash.hex())


@given(records())
def test_every_record_comes_back_as_it_was_written(record: Record) -> None:
    assert parse_record(record_bytes(record)) == record


@given(st.binary() | JSON.map(str).map(str.encode))
def test_bytes_that_are_no_record_are_a_reason_and_no_exception(data: bytes) -> None:
    assert isinstance(parse_record(data), str)


@given(st.binary())
def test_bytes_that_are_no_head_are_none_and_no_exception(data: bytes) -> None:
    assert parse_head(data) is None


@given(TEXT, st.integers(0), TEXT)
def test_every_head_comes_back(log: str, seq: int, digest: str) -> None:
    head = Head(log, seq, digest)
    assert parse_head(head_bytes(head)) == head


@given(journals())
def test_every_lawful_journal_verifies(rows: list[Row]) -> None:
    assert verify_chain(rows) == []
    assert verify_chain(rows, head_of(rows)) == []


@given(journals(), st.data())
def test_every_flipped_bit_is_found_at_its_record_and_nowhere_else(rows: list[Row], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(rows) - 1))
    row = rows[at]
    column = data.draw(st.sampled_from(["body", "hash"]))
    old = row.body if column == "body" else row.hash
    bit = data.draw(st.integers(0, len(old) * 8 - 1))
    new = bytearray(old)
    new[bit // 8] ^= 1 << bit % 8
    changed = row._replace(body=bytes(new)) if column == "body" else row._replace(hash=bytes(new))
    breaks = verify_chain([*rows[:at], changed, *rows[at + 1 :]], head_of(rows))
    assert [broken.seq for broken in breaks] == [row.seq]


@given(journals(), st.data())
def test_every_edit_with_a_fitting_hash_is_found_at_its_record_and_nowhere_else(
    rows: list[Row], data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(rows) - 1))
    record = parse_record(rows[at].body)
    assert isinstance(record, Record)
    step = data.draw(st.sampled_from([record.step, "config", *map(str, State)]))
    actor = data.draw(st.sampled_from([record.actor, "uid:2(b)"]))
    prev = data.draw(st.sampled_from([record.prev, "f" * 64]))
    edited = replace(record, step=step, actor=actor, prev=prev)
    assume(edited != record)
    body = record_bytes(edited)
    changed = rows[at]._replace(body=body, hash=leaf_hash(body))
    breaks = verify_chain([*rows[:at], changed, *rows[at + 1 :]], head_of(rows))
    assert {broken.seq for broken in breaks} == {rows[at].seq}


@given(journals(), st.data())
def test_every_missing_and_every_moved_row_is_found(rows: list[Row], data: st.DataObject) -> None:
    kept = data.draw(st.lists(st.sampled_from(rows), unique=True, max_size=len(rows)))
    renumbered = [row._replace(seq=seq) for seq, row in enumerate(kept, 1)]
    assume(renumbered != rows)
    assert verify_chain(renumbered, head_of(rows))


@given(journals(), journals())
def test_no_journal_goes_on_as_another(rows: list[Row], others: list[Row]) -> None:
    assume(rows[-1] not in others)
    assert verify_chain(rows[:1] + others[1:], head_of(rows))


@given(st.lists(st.builds(Row, st.integers(), TEXT | st.none(), st.binary(), st.binary()), min_size=1))
def test_rubbish_is_breaks_and_no_exception(rows: list[Row]) -> None:
    assert len(verify_chain(rows)) >= len(rows)


@given(journals(), st.data())
def test_the_quick_look_never_says_more_than_the_slow_one(rows: list[Row], data: st.DataObject) -> None:
    head, cut = head_of(rows), data.draw(st.integers(1, len(rows)))
    assert joined([rows[:cut], rows[cut:]], head) is not None
    at = data.draw(st.integers(0, len(rows) - 1))
    row, column = rows[at], data.draw(st.sampled_from(["body", "hash", "both", "gone", "twice", "moved"]))
    changed = list(rows)
    if column in {"body", "both"}:
        bit = data.draw(st.integers(0, len(row.body) * 8 - 1))
        new = bytearray(row.body)
        new[bit // 8] ^= 1 << bit % 8
        changed[at] = row._replace(body=bytes(new), hash=leaf_hash(bytes(new)) if column == "both" else row.hash)
    elif column == "hash":
        changed[at] = row._replace(hash=bytes(32))
    elif column == "gone":
        del changed[at]
    else:
        changed.insert(data.draw(st.integers(0, len(rows))), row)
    for parts in ([changed], [changed[:cut], changed[cut:]]):
        assert joined(parts, head) is None or verify_chain(changed, head) == []


@given(records())
def test_the_quick_look_takes_no_record_that_the_slow_one_does_not(record: Record) -> None:
    body = record_bytes(replace(record, seq=1))
    row = Row(1, record.op, body, leaf_hash(body))
    run = sweep([row])
    assert run is None or (run.log, run.first, run.prev) == (record.log, 1, record.prev)
    assert run is not None or any(
        not it.isprintable() or not it.isascii() or set(it) & set('"\\') for it in _names(record)
    )


@given(st.lists(st.builds(Row, st.integers(), TEXT | st.none(), st.binary(), st.binary()), min_size=1))
def test_rubbish_is_not_taken_and_is_no_exception(rows: list[Row]) -> None:
    assert sweep(rows) is None


def joined(parts: list[list[Row]], head: Head) -> Run | None:
    runs = [sweep(part) for part in parts if part]
    return None if None in runs else join([run for run in runs if run], head)


def _names(record: Record) -> tuple[str, ...]:
    return record.actor, record.boot, record.host, record.version
