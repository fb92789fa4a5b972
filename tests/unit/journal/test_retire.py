"""A log that ends and the one that goes on: nothing that is not over is lost, and each names the other."""

from itertools import count

import pytest

from go_cache_safeguard.core.operation import operation_id
from go_cache_safeguard.journal.chain import Head, Row, verify_chain
from go_cache_safeguard.journal.law import acts, judge
from go_cache_safeguard.journal.merkle import Tree
from go_cache_safeguard.journal.record import Record
from go_cache_safeguard.journal.records import Stamp, Writer, export_line, folded
from go_cache_safeguard.journal.retire import CARRIED, OPENED, Gathering, digest_of, earlier, over, read_line
from journal_rows import LOG, OP, edited, journal, record_of

NEXT = "ef" * 16
OLD, NEW, HELD = (operation_id(at, at) for at in (1, 2, 3))
WRITER = Writer("uid:0(root)", "2.0", "host", "c")
OVER = ("REQUESTED", "CHECKED", "ALLOWED", "REMOVING", "PROVING", "DONE")


def three() -> list[Row]:
    """One operation that is over, one that was over later, one that waits; a token was minted for that."""
    rows = journal([*OVER], ops=(OLD,))
    for op, steps, year in ((NEW, OVER, 2030), (HELD, ("REQUESTED", "CHECKED", "HELD", "token-minted"), 2026)):
        for step in steps:
            seq = len(rows) + 1
            at = f"{year}-01-02T03:04:05.{seq:06}Z"
            rows.append(
                edited(journal((step,), ops=(op,))[0], seq=seq, prev=rows[-1].hash.hex(), at=at, mono_ns=100 + seq)
            )
    return rows


def clock() -> Stamp:
    return Stamp("2031-01-01T00:00:00.000000Z", next(_TICKS))


_TICKS = count(5)


def gathered(rows: list[Row], gone: list[str]) -> Gathering:
    found = Gathering(gone)
    found.add(rows)
    return found


def records(rows: list[Row]) -> list[Record]:
    return [record_of(row) for row in rows]


def test_only_what_ended_before_the_time_is_over() -> None:
    assert over(records(three()), "2027") == [OLD]
    assert over(records(three()), "2031") == [OLD, NEW]
    assert over(records(three()), "2026") == []


@pytest.mark.parametrize("step", ["REQUESTED", "CHECKED", "ALLOWED", "REMOVING", "PROVING"])
def test_what_is_begun_and_not_done_is_never_over(step: str) -> None:
    rows = journal(OVER[: OVER.index(step) + 1])
    assert over(records(rows), "2031") == []


def test_what_waits_for_a_review_is_not_over_until_it_was_looked_at() -> None:
    rows = journal(OVER)
    rows[1] = edited(rows[1], data={"emergency": True})
    assert over(records(rows), "2031") == []
    assert over([*records(rows), *records(journal(("reviewed",)))], "2031") == [OP]


def test_what_a_person_agrees_to_is_which_operations_go() -> None:
    assert digest_of("main", LOG, [OLD, NEW]) == digest_of("main", LOG, [NEW, OLD])
    assert (
        len(
            {
                digest_of(*it)
                for it in (("main", LOG, [OLD]), ("main", LOG, []), ("other", LOG, [OLD]), ("main", NEXT, [OLD]))
            }
        )
        == 4
    )


def test_the_log_that_goes_on_is_whole_lawful_and_names_the_one_before() -> None:
    rows = three()
    found = gathered(rows, [OLD])
    ended = found.ended(LOG)
    tree = Tree(b"".join(row.hash for row in rows))
    assert (ended.records, ended.root, ended.hash) == (16, tree.root(16).hex(), rows[-1].hash.hex())
    begun = found.begin(NEXT, [ended], WRITER, clock)
    assert verify_chain(begun, Head(NEXT, begun[-1].seq, begun[-1].hash.hex())) == []
    assert judge(acts(records(begun)), alone=False) == []
    assert [record.step for record in records(begun)] == [
        OPENED,
        *OVER,
        CARRIED,
        "REQUESTED",
        "CHECKED",
        "HELD",
        "token-minted",
        CARRIED,
    ]
    assert earlier(record_of(begun[0])) == [ended]
    assert earlier(record_of(rows[0])) == earlier(None) == []


def test_what_is_carried_over_is_as_it_was_and_says_where_it_stood() -> None:
    rows = three()
    before, found = folded(records(rows)), gathered(rows, [OLD])
    assert found.carried == [NEW, HELD]
    begun = found.begin(NEXT, [found.ended(LOG)], WRITER, clock)
    after = folded(records(begun))
    assert after == {op: it for op, it in before.items() if op != OLD}
    carried = record_of(begun[-1])
    assert (carried.op, carried.actor, carried.data["log"]) == (HELD, WRITER.actor, LOG)
    assert carried.data["records"] == [[row.seq, row.hash.hex()] for row in rows if row.op == HELD]


def test_a_log_that_ended_twice_remembers_both() -> None:
    first = gathered(three(), [OLD]).ended(LOG)
    begun = gathered(three(), [OLD]).begin(NEXT, [first], WRITER, clock)
    second = gathered(begun, []).ended(NEXT)
    third = gathered(begun, []).begin("ab" * 16, [first, second], WRITER, clock)
    assert earlier(record_of(third[0])) == [first, second]


def test_a_damaged_row_is_not_carried_over() -> None:
    rows = three()
    rows[2] = rows[2]._replace(body=rows[2].body.replace(b"uid:1", b"uid:2"))
    with pytest.raises(ValueError, match="record 3 was edited"):
        gathered(rows, [])


def test_lines_of_an_export_are_rows_again_and_changed_ones_are_not() -> None:
    rows = three()
    assert [read_line(number, export_line(row)) for number, row in enumerate(rows, 1)] == rows
    line = export_line(rows[3])
    for bad in (line[:-10], line.replace(b"uid:1", b"uid:2"), b"", b"!" + line, line.upper(), line[1:]):
        assert isinstance(read_line(4, bad), str)
    assert isinstance(read_line(5, line), str)
