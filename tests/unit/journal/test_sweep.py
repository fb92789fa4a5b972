"""A journal that is right is recognised quickly; whatever is not surely right is not."""

from collections.abc import Callable

import pytest

from go_cache_safeguard.journal.chain import Head, Row
from go_cache_safeguard.journal.law import act
from go_cache_safeguard.journal.merkle import Tree
from go_cache_safeguard.journal.record import NO_PREV, Record, leaf_hash
from go_cache_safeguard.journal.sweep import Run, join, sweep
from journal_rows import LOG, OP, OTHER_LOG, WAY, edited, head_of, journal, row_of

GOOD = journal()


def swept(rows: list[Row]) -> Run:
    run = sweep(rows)
    assert run is not None
    return run


def test_a_good_journal_is_recognised_in_one_run_or_in_many() -> None:
    whole = join([swept(GOOD)], head_of(GOOD))
    assert whole is not None
    assert (whole.log, whole.first, whole.last, whole.hash) == (LOG, 1, len(GOOD), GOOD[-1].hash.hex())
    assert Tree(whole.leaves).leaf(3) == GOOD[3].hash
    assert [it.step for it in whole.acts] == [step for step in WAY if step != "config"]
    for cut in range(1, len(GOOD)):
        assert join([swept(GOOD[:cut]), swept(GOOD[cut:])], head_of(GOOD)) == whole


@pytest.mark.parametrize("seen", range(len(GOOD)))
def test_a_head_may_be_behind(seen: int) -> None:
    assert join([swept(GOOD)], head_of(GOOD[:seen]) if seen else Head(LOG, 0, NO_PREV)) is not None


def test_a_head_that_is_ahead_or_knows_another_record_or_journal_is_not_right() -> None:
    run = swept(GOOD)
    head = head_of(GOOD)
    for wrong in (
        Head(LOG, head.seq + 1, head.hash),
        Head(LOG, head.seq, "f" * 64),
        Head(OTHER_LOG, head.seq, head.hash),
        Head(LOG, 0, "f" * 64),
    ):
        assert join([run], wrong) is None
    assert join([], head) is None
    assert sweep([]) is None


def test_runs_that_do_not_go_on_from_each_other_are_not_a_journal() -> None:
    one, two = swept(GOOD[:4]), swept(GOOD[4:])
    assert join([two], head_of(GOOD)) is None
    assert join([one, swept(GOOD[5:])], head_of(GOOD)) is None
    assert join([one, two._replace(prev="f" * 64)], head_of(GOOD)) is None
    assert join([one, two._replace(log=OTHER_LOG)], head_of(GOOD)) is None
    assert join([one, two._replace(begins=(one.ends[0], one.ends[1] - 1))], head_of(GOOD)) is None
    assert join([one, two._replace(begins=("another boot", 0))], head_of(GOOD)) is not None


def test_an_arrow_that_the_lifecycle_does_not_have_is_not_right() -> None:
    rows = journal(("REQUESTED", "REMOVING"))
    assert join([swept(rows)], head_of(rows)) is None


@pytest.mark.parametrize("at", range(len(GOOD)))
@pytest.mark.parametrize(
    "change",
    [
        lambda row: row._replace(body=row.body.replace(b'"n":', b'"n": ')),
        lambda row: row._replace(body=row.body + b" "),
        lambda row: row._replace(hash=bytes(32)),
        lambda row: row._replace(op=None),
        lambda row: row._replace(op="op_0000000000000002"),
        lambda row: row._replace(seq=row.seq + 100),
        lambda row: edited(row, prev="f" * 64),
        lambda row: edited(row, log=OTHER_LOG),
        lambda row: edited(row, seq=row.seq + 1),
        lambda row: edited(row, actor="uid:2(mallory)"),
    ],
)
def test_every_change_of_a_row_is_not_right(at: int, change: Callable[[Row], Row]) -> None:
    rows = list(GOOD)
    rows[at] = change(rows[at])
    run = sweep(rows)
    assert run is None or join([run], head_of(GOOD)) is None


def rehashed(body: bytes) -> Row:
    return Row(1, OP, body, leaf_hash(body))


BODY = journal(("REQUESTED",), ops=(OP,))[0].body


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'{"n":1}', b'{"n": 1}'),
        (b'{"n":1}', b'{"n":1.0}'),
        (b'{"n":1}', b'{"n":NaN}'),
        (b'{"n":1}', b'{"n":-0}'),
        (b'{"n":1}', b'{"n":1,"n":2}'),
        (b'{"n":1}', b'{"n":1,"a":2}'),
        (b'{"n":1}', b'{"n":"\\u0041"}'),
        (b'{"n":1}', b'{"n":"\xc3\xa4"}'),
        (b'{"n":1}', b'{"n":[}'),
        (b'{"n":1}', b'{"n":1}}'),
        (b'{"n":1}', b"[1]"),
        (b'"v":1', b'"v":2'),
        (b'"step":"REQUESTED"', b'"step":"Requested"'),
        (b'"step":"REQUESTED"', b'"step":"a--b"'),
        (b'"mono_ns":101', b'"mono_ns":0101'),
        (b'"mono_ns":101', b'"mono_ns":-1'),
        (b'"seq":1', b'"seq":01'),
        (b'"host":"h"', b'"host":"h","host":"i"'),
        (b'"at":"2026', b'"at":"26'),
    ],
)
def test_what_is_not_in_our_one_form_is_not_right(old: bytes, new: bytes) -> None:
    assert sweep([rehashed(BODY)]) is not None
    assert old in BODY
    assert sweep([rehashed(BODY.replace(old, new))]) is None


def test_a_state_without_an_operation_is_not_right() -> None:
    body = BODY.replace(f'"op":"{OP}"'.encode(), b'"op":null')
    assert sweep([Row(1, None, body, leaf_hash(body))]) is None


def test_what_looks_like_the_end_of_a_record_inside_it_does_not_mislead() -> None:
    data = {"x": {}, "z": ',"host":"', "host": '","log":"', "y": {"host": "h", "log": LOG}}
    record = Record(LOG, 1, NO_PREV, "2026-01-02T03:04:05.000006Z", 1, "b", "uid:1(a)", "h", "1", None, "config", data)
    assert sweep([row_of(record)]) is not None


def test_names_with_escapes_are_left_to_the_slow_look() -> None:
    record = Record(LOG, 1, NO_PREV, "2026-01-02T03:04:05.000006Z", 1, "b", 'a"\\', "h", "1", None, "config", {})
    assert sweep([row_of(record)]) is None


def test_the_clock_of_one_boot_does_not_go_back() -> None:
    late = edited(GOOD[0], mono_ns=10**9)
    second = edited(GOOD[1], prev=late.hash.hex())
    assert sweep([late, second]) is None
    assert sweep([late, edited(second, boot="another")]) is not None


def test_only_what_is_judged_is_kept_of_a_record() -> None:
    kept = act(1, OP, "DONE", "a", {"digest": "d", "verdicts": [], "receipt": {"digest": "e", "moved": 1}})
    assert kept.data == {"digest": "d", "done": "e"}
