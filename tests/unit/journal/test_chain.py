"""What is wrong with a journal, found from its rows alone."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from go_cache_safeguard.journal.chain import (
    Break,
    BreakKind,
    Head,
    Row,
    bad_end,
    head_bytes,
    parse_head,
    read_row,
    verify_chain,
)
from go_cache_safeguard.journal.record import NO_PREV
from journal_rows import LOG, OP, OTHER_LOG, WAY, edited, head_of, journal, record_of, row_of


def found(rows: Sequence[Row], head: Head | None = None) -> list[tuple[int, BreakKind]]:
    return [(broken.seq, broken.kind) for broken in verify_chain(rows, head)]


GOOD = journal()


@pytest.mark.parametrize("length", range(len(GOOD) + 1))
def test_a_good_journal_of_any_length_has_no_break(length: int) -> None:
    rows = GOOD[:length]
    assert verify_chain(rows) == []
    assert verify_chain(rows, head_of(rows) if rows else Head(LOG, 0, NO_PREV)) == []


@pytest.mark.parametrize("seen", range(len(GOOD)))
def test_a_head_may_be_behind(seen: int) -> None:
    head = head_of(GOOD[:seen]) if seen else Head(LOG, 0, NO_PREV)
    assert verify_chain(GOOD, head) == []


@pytest.mark.parametrize("at", range(len(GOOD)))
@pytest.mark.parametrize("head", [None, head_of(GOOD)])
def test_an_edited_body_is_one_break(at: int, head: Head | None) -> None:
    rows = list(GOOD)
    rows[at] = rows[at]._replace(body=edited(rows[at], actor="uid:2(mallory)").body)
    (broken,) = verify_chain(rows, head)
    assert (broken.seq, broken.kind) == (at + 1, BreakKind.EDITED)
    assert "do not have the hash" in broken.text


@pytest.mark.parametrize("at", range(len(GOOD)))
def test_bytes_that_are_no_record_are_one_break(at: int) -> None:
    rows = list(GOOD)
    rows[at] = rows[at]._replace(body=b"\x00garbage")
    assert found(rows, head_of(GOOD)) == [(at + 1, BreakKind.EDITED)]


@pytest.mark.parametrize("at", range(len(GOOD)))
def test_a_changed_hash_is_one_break(at: int) -> None:
    rows = list(GOOD)
    rows[at] = rows[at]._replace(hash=bytes(32))
    assert found(rows, head_of(GOOD)) == [(at + 1, BreakKind.EDITED)]


@pytest.mark.parametrize("at", range(len(GOOD)))
@pytest.mark.parametrize("op", [None, "op_0000000000000002"])
def test_a_record_filed_under_another_operation_is_one_break(at: int, op: str | None) -> None:
    rows = list(GOOD)
    rows[at] = rows[at]._replace(op=op)
    assert found(rows, head_of(GOOD)) == [(at + 1, BreakKind.EDITED)]


@pytest.mark.parametrize("at", range(len(GOOD) - 1))
@pytest.mark.parametrize(
    "fields", [{"actor": "uid:2(m)"}, {"step": "progress"}, {"step": "UNKNOWN"}, {"mono_ns": 10**9}]
)
def test_an_edited_body_with_a_fitting_hash_is_one_break(at: int, fields: dict[str, object]) -> None:
    rows = list(GOOD)
    rows[at] = edited(rows[at], **fields)
    assert found(rows, head_of(GOOD)) == [(at + 1, BreakKind.EDITED)]


@pytest.mark.parametrize("at", range(len(GOOD) - 1))
def test_an_edit_that_also_changes_prev_is_one_break(at: int) -> None:
    rows = list(GOOD)
    rows[at] = edited(rows[at], prev="f" * 64)
    assert found(rows) == [(at + 1, BreakKind.EDITED)]


def test_the_last_record_edited_and_hashed_differs_from_the_head() -> None:
    rows = [*GOOD[:-1], edited(GOOD[-1], actor="uid:2(m)")]
    assert found(rows, head_of(GOOD)) == [(9, BreakKind.HEAD)]
    rows = [*GOOD[:-1], edited(GOOD[-1], prev="f" * 64)]
    assert found(rows, head_of(GOOD)) == [(9, BreakKind.EDITED)]
    assert found(rows) == [(9, BreakKind.PREV)]


def test_the_record_before_the_last_is_blamed_if_the_head_knows_the_last() -> None:
    rows = list(GOOD)
    rows[7] = edited(rows[7], actor="uid:2(m)")
    assert found(rows, head_of(GOOD)) == [(8, BreakKind.EDITED)]
    assert found(rows) == [(9, BreakKind.PREV)]


def test_a_link_beside_a_hole_blames_nobody_alone() -> None:
    rows = list(GOOD)
    rows[3] = edited(rows[3], actor="uid:2(m)")
    del rows[5]
    assert found(rows, head_of(GOOD)) == [(5, BreakKind.PREV), (6, BreakKind.MISSING)]


def test_a_first_record_with_a_predecessor_is_a_break() -> None:
    assert found([edited(GOOD[0], prev="f" * 64)]) == [(1, BreakKind.PREV)]
    rows = list(GOOD)
    rows[0] = edited(rows[0], prev="f" * 64)
    assert found(rows) == [(1, BreakKind.EDITED)]


def test_two_edits_are_two_breaks() -> None:
    for first, second in ((1, 2), (1, 3), (2, 6)):
        rows = list(GOOD)
        for at in (first, second):
            rows[at] = edited(rows[at], actor="uid:2(m)", prev="e" * 64)
        assert found(rows) == [(first + 1, BreakKind.EDITED), (second + 1, BreakKind.EDITED)]


@pytest.mark.parametrize("at", range(len(GOOD) - 1))
def test_a_hole_is_named(at: int) -> None:
    rows = GOOD[:at] + GOOD[at + 1 :]
    assert verify_chain(rows, head_of(GOOD)) == [
        Break(at + 1, BreakKind.MISSING, f"record {at + 1} is missing"),
    ]


def test_a_wide_hole_is_one_break() -> None:
    assert verify_chain(GOOD[:2] + GOOD[6:]) == [Break(3, BreakKind.MISSING, "records 3 to 6 are missing")]


@pytest.mark.parametrize("at", range(1, len(GOOD) - 1))
def test_a_hole_that_was_closed_by_renumbering_is_named(at: int) -> None:
    rows = GOOD[:at] + [row._replace(seq=row.seq - 1) for row in GOOD[at + 1 :]]
    assert set(found(rows, head_of(GOOD))) == {(at + 1, BreakKind.MISSING), (at + 1, BreakKind.REORDERED)}


@pytest.mark.parametrize("left", range(len(GOOD)))
def test_a_cut_end_is_found_with_the_head(left: int) -> None:
    assert found(GOOD[:left], head_of(GOOD)) == [(left + 1, BreakKind.TRUNCATED)]
    assert found(GOOD[:left]) == []


@pytest.mark.parametrize(("one", "other"), [(0, 1), (2, 6), (0, 8), (7, 8)])
def test_two_rows_that_changed_places_are_both_named(one: int, other: int) -> None:
    rows = list(GOOD)
    rows[one], rows[other] = (
        rows[other]._replace(seq=rows[one].seq),
        rows[one]._replace(seq=rows[other].seq),
    )
    assert found(rows, head_of(GOOD)) == [(one + 1, BreakKind.SWAPPED), (other + 1, BreakKind.SWAPPED)]


def test_a_copy_of_a_record_is_named() -> None:
    assert found([*GOOD, GOOD[4]._replace(seq=10)], head_of(GOOD)) == [(10, BreakKind.DUPLICATED)]


@pytest.mark.parametrize("at", range(len(GOOD)))
def test_a_forged_record_pushed_in_between_is_named(at: int) -> None:
    forged = edited(GOOD[at], actor="uid:2(m)")
    rows = [*GOOD[:at], forged, *(row._replace(seq=row.seq + 1) for row in GOOD[at:])]
    breaks = found(rows, head_of(GOOD))
    assert (at + 1, BreakKind.INSERTED) in breaks or (at + 2, BreakKind.INSERTED) in breaks
    assert len(breaks) <= 2


def test_a_damaged_row_gives_way_to_the_good_record_of_the_same_number() -> None:
    rows = [*GOOD[:4], GOOD[4]._replace(body=b"?"), *(row._replace(seq=row.seq + 1) for row in GOOD[4:])]
    assert found(rows) == [(5, BreakKind.EDITED), (6, BreakKind.REORDERED)]


@pytest.mark.parametrize("at", range(len(GOOD)))
def test_a_record_of_another_journal_is_one_break(at: int) -> None:
    rows = list(GOOD)
    rows[at] = journal(log=OTHER_LOG)[at]
    (broken,) = verify_chain(rows, head_of(GOOD))
    assert (broken.seq, broken.kind) == (at + 1, BreakKind.FOREIGN)
    assert OTHER_LOG in broken.text


def test_a_record_of_another_journal_at_the_end_is_one_break() -> None:
    rows = [*GOOD, journal((*WAY, "progress"), log=OTHER_LOG)[-1]]
    assert found(rows, head_of(GOOD)) == [(10, BreakKind.FOREIGN)]


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (Head(LOG, 9, "f" * 64), BreakKind.HEAD),
        (Head(LOG, 4, "f" * 64), BreakKind.HEAD),
        (Head(OTHER_LOG, 9, GOOD[-1].hash.hex()), BreakKind.HEAD),
        (Head(LOG, 0, "f" * 64), BreakKind.HEAD),
        (Head(OTHER_LOG, 0, NO_PREV), BreakKind.HEAD),
    ],
)
def test_an_edited_head_is_one_break(head: Head, kind: BreakKind) -> None:
    assert found(GOOD, head) == [(head.seq, kind)]


def test_a_head_that_claims_more_is_a_cut_end() -> None:
    assert found(GOOD, Head(LOG, 20, "f" * 64)) == [(10, BreakKind.TRUNCATED)]


def test_an_arrow_that_the_lifecycle_does_not_have_is_named_once() -> None:
    (broken,) = verify_chain(journal(("REQUESTED", "REMOVING", "PROVING", "DONE")))
    assert broken == Break(
        2, BreakKind.ILLEGAL, f"record 2 takes {OP} from REQUESTED to REMOVING: there is no such arrow"
    )
    (broken,) = verify_chain(journal(("config", "APPROVED", "REMOVING")))
    assert broken.text == f"record 2 takes {OP} from nothing to APPROVED: there is no such arrow"


def test_a_second_approval_is_named() -> None:
    rows = journal(("REQUESTED", "CHECKED", "HELD", "APPROVED", "REMOVING", "PROVING", "DONE", "APPROVED"))
    assert found(rows) == [(8, BreakKind.ILLEGAL)]


def test_operations_are_judged_apart() -> None:
    two = ("op_0000000000000001", "op_0000000000000002")
    assert verify_chain(journal(("REQUESTED", "REQUESTED", "CHECKED", "CHECKED", "HELD", "ALLOWED"), ops=two)) == []
    assert found(journal(("REQUESTED", "REQUESTED", "CHECKED", "DONE"), ops=two)) == [(4, BreakKind.ILLEGAL)]


def test_arrows_beyond_a_hole_are_judged_again() -> None:
    rows = journal(("REQUESTED", "config", "CHECKED", "DONE"))
    del rows[1]
    assert found(rows) == [(2, BreakKind.MISSING), (4, BreakKind.ILLEGAL)]


def test_a_clock_that_goes_back_within_one_boot_is_named() -> None:
    rows = journal(("config", "config"))
    late = record_of(rows[0])
    rows[0] = row_of(replace(late, mono_ns=1000))
    rows[1] = edited(rows[1], prev=rows[0].hash.hex())
    assert found(rows) == [(2, BreakKind.CLOCK)]
    rows[1] = edited(rows[1], boot="another")
    assert found(rows) == []


def test_wall_clocks_are_not_judged() -> None:
    rows = journal(("config",))
    later = edited(GOOD[1], prev=rows[0].hash.hex(), at="1999-01-01T00:00:00.000000Z")
    assert found([*rows, later]) == []


def test_a_row_says_what_is_wrong_with_it() -> None:
    assert read_row(GOOD[0]) == record_of(GOOD[0])
    assert read_row(GOOD[0]._replace(body=b"{}")) == "record 1 was edited: the fields are not those of a record"
    assert read_row(GOOD[0]._replace(op=None)) == f"record 1 was edited: it is filed under None, and says {OP}"


@pytest.mark.parametrize("head", [Head(LOG, 0, NO_PREV), head_of(GOOD), Head("", 1 << 70, "")])
def test_a_head_comes_back_as_it_was_written(head: Head) -> None:
    assert parse_head(head_bytes(head)) == head


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b"1",
        b"\xff",
        b"[" * 100_000,
        b'{"hash":"","log":"","seq":1}',
        b'{"log":"","hash":"","seq":1}\n',
        b'{"hash":"","log":"","seq":-1}\n',
        b'{"hash":"","log":"","seq":true}\n',
        b'{"hash":"","log":1,"seq":1}\n',
        b'{"hash":1,"log":"","seq":1}\n',
        b'{"hash":"","log":"","more":1,"seq":1}\n',
    ],
)
def test_nothing_else_is_a_head(data: bytes) -> None:
    assert parse_head(data) is None


def test_a_sound_end_may_be_added_to() -> None:
    head = head_of(GOOD)
    assert bad_end(None, None, None) == ""
    assert bad_end(None, None, Head(LOG, 0, NO_PREV)) == ""
    assert bad_end(GOOD[-1], GOOD[-1], head) == ""
    assert bad_end(GOOD[-1], GOOD[3], head_of(GOOD[:4])) == ""
    assert bad_end(GOOD[-1], None, Head(LOG, 0, NO_PREV)) == ""


FORGED = journal(log=OTHER_LOG)[-1]


@pytest.mark.parametrize(
    ("last", "at_head", "head", "why"),
    [
        (None, None, head_of(GOOD), "the journal is empty, and had 9 records"),
        (GOOD[-1], None, None, "the head file is missing"),
        (GOOD[7], None, head_of(GOOD), "ends with record 8, and had 9"),
        (GOOD[-1], None, head_of(GOOD[:4]), "record 4 is missing"),
        (GOOD[-1], GOOD[-1], Head(LOG, 9, "f" * 64), "not the one that the head file has seen"),
        (GOOD[-1]._replace(body=b"{}"), GOOD[3], head_of(GOOD[:4]), "record 9 was edited"),
        (GOOD[-1], GOOD[3]._replace(body=b"{}"), head_of(GOOD[:4]), "record 4 was edited"),
        (GOOD[-1]._replace(seq=12), GOOD[3], head_of(GOOD[:4]), "row 12 holds record 9"),
        (FORGED, GOOD[3], head_of(GOOD[:4]), "record 9 belongs to another journal"),
    ],
)
def test_an_end_that_is_not_as_we_left_it_is_not_added_to(
    last: Row | None, at_head: Row | None, head: Head | None, why: str
) -> None:
    assert why in bad_end(last, at_head, head)


def test_rows_may_come_from_an_iterator() -> None:
    assert verify_chain(iter(GOOD)) == []
