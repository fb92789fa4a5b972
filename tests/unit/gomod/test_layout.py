"""Places and names in the module cache."""

import pytest

from go_cache_safeguard.gomod.layout import (
    ENTRY_NAME,
    INFO,
    Version,
    escape,
    is_tree,
    make_version,
    parse_download,
    parse_tree,
    unescape,
    version_of,
)

TOML = Version("github.com/BurntSushi/toml", "v1.5.0-RC1")


def test_a_version_lies_where_go_puts_it() -> None:
    assert str(TOML) == "github.com/BurntSushi/toml@v1.5.0-RC1"
    assert TOML.tree == "github.com/!burnt!sushi/toml@v1.5.0-!r!c1"
    assert TOML.download(".zip") == "cache/download/github.com/!burnt!sushi/toml/@v/v1.5.0-!r!c1.zip"


@pytest.mark.parametrize("suffix", [".zip", ".ziphash", ".mod", ".partial"])
def test_a_place_is_read_back(suffix: str) -> None:
    folder, _, name = TOML.download(suffix).removeprefix("cache/download/").partition("/@v/")
    assert parse_download(folder, name) == TOML
    assert parse_tree(TOML.tree) == TOML


@pytest.mark.parametrize("name", ["list", "v1.0.0.info", "v1.0.0.lock", "v1.0.0.zip123.tmp", "..zip", ".zip"])
def test_other_files_stand_for_no_version(name: str) -> None:
    assert parse_download("example.com/m", name) is None


@pytest.mark.parametrize("text", ["Upper", "!", "!!a", "!1", "a!", "!A"])
def test_what_go_would_not_have_escaped_so_is_refused(text: str) -> None:
    assert unescape(text) is None


def test_escaping_changes_nothing_but_upper_case() -> None:
    assert escape("a.b/c-d_e~1") == "a.b/c-d_e~1"
    assert escape("AbC") == "!ab!c"
    assert unescape("!ab!c") == "AbC"


@pytest.mark.parametrize(
    ("path", "version"),
    [
        ("../up", "v1"),
        ("a/../b", "v1"),
        ("/abs", "v1"),
        ("a//b", "v1"),
        ("a/", "v1"),
        ("", "v1"),
        ("a\nb", "v1"),
        ("a@b", "v1"),
        ("a", ""),
        ("a", "../v1"),
        ("a", "v1/x"),
        ("a", "v1\n"),
        ("ä", "v1"),
    ],
)
def test_a_name_that_leads_elsewhere_is_no_version(path: str, version: str) -> None:
    assert make_version(path, version) is None


def test_trees_are_told_from_directories_on_the_way_to_them() -> None:
    assert is_tree("cloud.google.com/go@v0.1.0")
    assert not is_tree("cloud.google.com/go")
    assert not is_tree("odd@v1/inside")


@pytest.mark.parametrize("name", [TOML.tree, *(TOML.download(suffix) for suffix in (".zip", ".ziphash", ".mod", INFO))])
def test_what_may_be_taken_belongs_to_a_version(name: str) -> None:
    assert ENTRY_NAME.fullmatch(name)
    assert version_of(name) == TOML


@pytest.mark.parametrize(
    "name",
    [
        "cache/lock",
        "cache/download/sumdb/example.org/latest",
        "cache/download/example.com/m/@v/list",
        "cache/download/example.com/m/@v/v1.0.0.lock",
        "cache/vcs/0123",
        "example.com",
        "example.com/m@v1.0.0/m.go",
        "example.com/M@v1.0.0",
        "example.com/m@v1.0.0\n",
    ],
)
def test_nothing_else_may_be_taken(name: str) -> None:
    assert not ENTRY_NAME.fullmatch(name)
