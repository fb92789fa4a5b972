"""Names: what go writes, what is foreign, and what proves a cache."""

import pytest

from go_cache_safeguard.gocache.layout import (
    ENTRY_NAME,
    SHARDS,
    IsCache,
    NotACache,
    NotBecause,
    action_name,
    identify,
    is_readme,
    output_name,
    parse_file,
    parse_name,
    parse_trim,
    printable,
)

README_121 = b"""This directory holds cached build artifacts from the Go build system.
Run "go clean -cache" if the directory is getting too large.
Run "go clean -fuzzcache" to delete the fuzz cache.
See golang.org to learn more about Go.
"""
README_125 = README_121.replace(b"golang.org", b"go.dev")
ID = bytes(range(32))


def test_a_name_is_made_from_an_id_and_read_back() -> None:
    assert parse_name(action_name(ID)) == (ID, "a")
    assert parse_name(output_name(ID)) == (ID, "d")
    assert parse_file("00", action_name(ID)[3:]) == (ID, "a")
    assert action_name(ID).startswith("00/000102")


@pytest.mark.parametrize(
    "name",
    [
        "ab/" + "ab" * 31 + "-a",
        "ab/" + "cd" * 32 + "-a",
        "AB/" + "AB" * 32 + "-a",
        "ab/" + "ab" * 32 + "-c",
        "ab/" + "ab" * 32 + "-a\n",
        "ab/" + "ab" * 32,
        "/ab/" + "ab" * 32 + "-a",
        "x/ab/" + "ab" * 32 + "-a",
        "ab/" + "ab" * 32 + "-garble-x-d",
        "ab/../ab/" + "ab" * 32 + "-a",
        "fuzz",
        "",
    ],
)
def test_what_go_would_not_write_is_foreign(name: str) -> None:
    assert parse_name(name) is None
    assert ENTRY_NAME.fullmatch(name) is None


def test_a_file_in_the_wrong_shard_is_foreign() -> None:
    assert parse_file("ff", action_name(ID)[3:]) is None
    assert parse_file("00", "README") is None


@pytest.mark.parametrize("readme", [README_121, README_125])
def test_the_readme_of_every_version_proves_a_cache_even_an_empty_one(readme: bytes) -> None:
    assert is_readme(readme)
    assert identify(["README", "trim.txt"], readme) == IsCache(empty=True, missing_shards=256, readme=True)
    assert identify([*SHARDS, "README"], readme) == IsCache(empty=False, missing_shards=0, readme=True)
    assert identify([*SHARDS[1:], "README"], readme) == IsCache(empty=False, missing_shards=1, readme=True)


def test_all_shards_and_a_sound_entry_prove_a_cache_without_readme() -> None:
    assert identify(SHARDS, None, 256, has_entry=True) == IsCache(empty=False, missing_shards=0, readme=False)


@pytest.mark.parametrize(
    ("names", "readme", "shards", "because"),
    [
        ((), None, 0, NotBecause.NOTHING),
        (("README", "src"), b"# My project\n", 0, NotBecause.OTHER_README),
        (SHARDS, None, 256, NotBecause.NO_PROOF),
        (SHARDS, b"# My project\n", 256, NotBecause.NO_PROOF),
        (SHARDS[:-1], None, 255, NotBecause.FEW_SHARDS),
    ],
)
def test_anything_else_is_not_a_cache(
    names: tuple[str, ...], readme: bytes | None, shards: int, because: NotBecause
) -> None:
    assert identify(names, readme, shards) == NotACache(because)


def test_a_shard_name_that_is_a_file_does_not_count() -> None:
    assert identify(SHARDS, None, 0, has_entry=True) == NotACache(NotBecause.NOTHING)


@pytest.mark.parametrize(
    ("data", "seconds"),
    [
        (b"1795337500", 1795337500),
        (b" 1795337500\n", 1795337500),
        (b"-5", -5),
        (b"", None),
        (b"soon", None),
        (b"12 13", None),
        (b"9" * 30, None),
        (b"1_000", None),
    ],
)
def test_trim_txt_is_read_as_go_reads_it(data: bytes, seconds: int | None) -> None:
    assert parse_trim(data) == (None if seconds is None else seconds * 1_000_000_000)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain-name", "plain-name"),
        ("two\nlines", "two\\nlines"),
        ("esc\x1b[31m", "esc\\x1b[31m"),
        ("bad\udcff", "bad\\xff"),
        ("right\u202eleft", "right\\u202eleft"),
        ("naïve", "naïve"),
        ("back\\slash", "back\\\\slash"),
    ],
)
def test_names_are_shown_on_one_line_and_cannot_be_confused(name: str, shown: str) -> None:
    assert printable(name) == shown
