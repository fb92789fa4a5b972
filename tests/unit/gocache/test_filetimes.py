"""Times of files that tests read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from go_cache_safeguard.gocache.filetimes import (
    FileTime,
    TimesBad,
    counted,
    deepest_first,
    named_files,
    names_digest,
    read_times,
    write_times,
)

SUM = "0" * 64
NAMES = st.lists(st.sampled_from(["a", "b", "c.txt", "ü"]), min_size=1, max_size=4).map("/".join)
ROWS = st.lists(
    st.builds(FileTime, NAMES, st.booleans(), st.integers(0, 1 << 40), st.just(SUM), st.integers(0, 1 << 62)),
    unique_by=lambda row: row.name,
)


@given(ROWS)
def test_what_is_written_is_read(rows: list[FileTime]) -> None:
    assert read_times(write_times(rows)) == tuple(sorted(rows, key=lambda row: row.name))


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a//b", "a/../../b", "", ".", "a\\u0000b"])
def test_no_table_leads_out_of_the_project(name: str) -> None:
    text = f'{{"format":"go-cache-safeguard/file-times/1","files":[["{name}",false,1,"{SUM}",5]]}}'
    with pytest.raises(TimesBad):
        read_times(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format":"x","files":[]}',
        '{"format":"go-cache-safeguard/file-times/1","files":[["a",0,1,"z",-5]]}',
    ],
)
def test_what_is_no_table_says_so(text: str) -> None:
    with pytest.raises(TimesBad):
        read_times(text.encode())


def test_a_test_log_names_what_was_opened_and_asked_about() -> None:
    log = b"# test log\ngetenv HOME\nopen testdata/a b.txt\nstat /x\nchdir /y\nopen \n"
    assert list(named_files(log)) == ["testdata/a b.txt", "/x"]


def test_only_the_same_content_gets_its_old_time() -> None:
    old = FileTime("a", folder=False, size=1, digest=SUM, mtime_ns=5)
    assert counted({"a": FileTime("a", folder=False, size=1, digest=SUM, mtime_ns=9)}, [old]) == [old]
    assert counted({"a": FileTime("a", folder=False, size=1, digest="1" * 64, mtime_ns=9)}, [old]) == []
    assert counted({"a": FileTime("a", folder=False, size=2, digest=SUM, mtime_ns=9)}, [old]) == []
    assert counted({"a": old}, [old]) == []
    assert counted({}, [old]) == []


def test_inner_directories_come_before_outer_ones_and_files_before_both() -> None:
    rows = [
        FileTime(name, folder="." not in name, size=0, digest=SUM, mtime_ns=1) for name in ("a", "a/b", "a/b/c.txt")
    ]
    assert [row.name for row in deepest_first(rows)] == ["a/b/c.txt", "a/b", "a"]


def test_the_order_of_names_in_a_directory_does_not_matter() -> None:
    assert names_digest(["b", "a"]) == names_digest(["a", "b"]) != names_digest(["ab"])
