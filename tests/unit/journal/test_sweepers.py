"""A long journal is cut into runs that leave no row out and none twice."""

from pathlib import Path

import pytest

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.operation import operation_id
from go_cache_safeguard.journal.law import acts
from go_cache_safeguard.journal.record import Entry
from go_cache_safeguard.journal.store import open_journal
from go_cache_safeguard.journal.sweepers import parts, sweep_all, sweep_part, sweep_stream


@pytest.mark.parametrize("last", [1, 2, 7, 8, 9, 100, 12_345])
@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_every_number_is_in_one_run(last: int, count: int) -> None:
    runs = parts(last, count)
    assert runs[0][0] < 1  # where no row should be, and where one would be found
    assert runs[-1][1] == last
    assert [low for low, _ in runs[1:]] == [high + 1 for _, high in runs[:-1]]
    assert len(runs) <= count


def test_runs_of_helpers_are_those_of_one_reader(tmp_path: Path) -> None:
    path = tmp_path / "journal" / "journal.sqlite"
    with open_journal(path, actor="uid:1(a)", version="1") as journal:
        journal.write_all([Entry("progress", {"n": n}) for n in range(2500)])
        journal.catch_up()
    whole = sweep_part(path, -1, 2500)
    assert whole is not None
    runs = sweep_all(path, 2500)
    assert b"".join(run.leaves for run in runs) == whole[0].leaves
    assert [run.first for run in runs] == [low if low > 0 else 1 for low, _ in parts(2500, len(runs))]


def test_a_stream_of_rows_gives_the_same_runs_with_what_the_law_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("go_cache_safeguard.journal.sweepers._STREAMED", 3)
    path = tmp_path / "journal" / "journal.sqlite"
    with open_journal(path, actor="uid:1(a)", version="1") as journal:
        for number in range(3):
            op = operation_id(number, number)
            told: dict[str, Value] = {
                "digest": op,
                "receipt": {"digest": "d" * 64},
            }  # a digest that looks like an id is still a digest
            journal.write_all([Entry("REQUESTED", told, op), Entry("CHECKED", {"digest": "d" * 64}, op)])
        journal.catch_up()
        rows = list(journal.rows())
        expected = list(acts(journal.records()))
    runs = sweep_stream(rows)
    assert [it for run in runs for it in run.acts] == expected
    assert len(runs) == -(-len(rows) // 3)
    assert sweep_stream([*rows[:-1], rows[-1]._replace(hash=b"0" * 32)]) == []
    assert sweep_stream([]) == []


def test_one_bad_run_leaves_none(tmp_path: Path) -> None:
    path = tmp_path / "journal" / "journal.sqlite"
    with open_journal(path, actor="uid:1(a)", version="1") as journal:
        journal.note("progress", {})
        journal._db.execute("INSERT INTO record VALUES (2, NULL, x'00', x'00')")
    assert sweep_all(path, 2) == []
