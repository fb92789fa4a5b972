"""What of a cache belongs in its snapshot, name by name."""

import pytest

from go_cache_safeguard.snapshot.manifest import Kind
from go_cache_safeguard.snapshot.scope import partial_mark, why_not

ID = "ab" + "0" * 62


@pytest.mark.parametrize(
    "name",
    ["README", "trim.txt", "testexpire.txt", "log.txt", f"ab/{ID}-a", f"ab/{ID}-d", f"ab/{ID}-d/tool", "fuzz/m/F/x"],
)
def test_what_go_writes_into_a_build_cache_belongs_in(name: str) -> None:
    assert why_not(Kind.BUILD, name, is_folder=False) is None


@pytest.mark.parametrize("name", ["ab", "fuzz", "fuzz/m", f"ab/{ID}-d"])
def test_so_do_the_directories_of_it(name: str) -> None:
    assert why_not(Kind.BUILD, name, is_folder=True) is None


@pytest.mark.parametrize(
    ("name", "is_folder"),
    [
        ("notes.txt", False),
        ("zz", True),
        ("fuzz", False),
        ("ab", False),
        ("README", True),
        (f"ab/{ID}-a", True),
        (f"ac/{ID}-a", False),
        (f"ab/{ID}-d.tmp", False),
        (f"ab/{ID}-d/deep", True),
        ("ab/x", False),
        ("ab/x", True),
    ],
)
def test_whatever_go_did_not_put_into_a_build_cache_stays_out(name: str, *, is_folder: bool) -> None:
    assert why_not(Kind.BUILD, name, is_folder=is_folder) == "go did not put it there"


@pytest.mark.parametrize(
    "name",
    [
        "cache/download/m/@v/v1.0.0.zip",
        "cache/download/m/@v/v1.0.0.mod",
        "cache/download/m/@v/v1.0.0.info",
        "cache/download/m/@v/v1.0.0.ziphash",
        "cache/download/m/@v/list",
        "cache/download/sumdb/sum.example.org/lookup/m@v1.0.0",
        "github.com/!burnt!sushi/toml@v1.5.0/yarn.lock",
        "m@v1.0.0/x.partial",
    ],
)
def test_what_go_writes_into_a_module_cache_belongs_in(name: str) -> None:
    assert why_not(Kind.MODULE, name, is_folder=False) is None
    assert why_not(Kind.MODULE, name.rpartition("/")[0], is_folder=True) is None


@pytest.mark.parametrize(
    ("name", "is_folder", "why"),
    [
        ("cache/vcs", True, "which go fetches again"),
        ("cache/lock", False, "a lock"),
        ("cache/download/m/@v/v1.0.0.lock", False, "a lock"),
        ("cache/download/m/@v/v1.0.0.partial", False, "not extracted completely"),
        ("cache/download/m/@v/v1.0.0.zip123.tmp", False, "did not end"),
        ("cache/other", True, "did not put"),
        ("cache/download", False, "did not put"),
        ("cache", False, "did not put"),
        ("notes.txt", False, "did not put"),
        ("github.com/notes.txt", False, "did not put"),
    ],
)
def test_what_means_something_only_here_and_now_stays_out_of_a_module_snapshot(
    name: str, *, is_folder: bool, why: str
) -> None:
    assert why in (why_not(Kind.MODULE, name, is_folder=is_folder) or "")


def test_the_mark_of_an_incomplete_tree_is_found() -> None:
    assert partial_mark("github.com/a/b@v1.2.3") == "cache/download/github.com/a/b/@v/v1.2.3.partial"
    for folder in ("", "github.com/a", "m@v1/sub", "cache/download/m/@v", "m@v1/x@y"):
        assert partial_mark(folder) is None, folder
