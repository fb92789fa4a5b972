"""What may enter a build cache from outside."""

from hashlib import sha256

import pytest

from go_cache_safeguard.gocache.member import is_index, is_program, why_bad_index, why_omitted, why_refused
from sources import build_files, index_entry

DATA = b"an output"
HASH = sha256(DATA).hexdigest()
OUTPUT = f"{HASH[:2]}/{HASH}-d"
KEY = "ab" + "0" * 62
INDEX = f"ab/{KEY}-a"


def test_everything_that_go_writes_is_welcome() -> None:
    for name, data in build_files().items():
        assert why_refused(name, len(data), sha256(data).hexdigest()) is None
        assert why_omitted(name, fuzz=False) is None


@pytest.mark.parametrize(
    "name",
    [
        "go.mod",
        "log",
        "zz/x",
        "ab/cd",
        f"00/{HASH}-d",
        f"{HASH[:2]}/{HASH}-x",
        f"{HASH[:2]}/{HASH}",
        f"{HASH[:2]}/{HASH.upper()}-d",
        f"{OUTPUT}/deep/tool",
        f"{INDEX}/tool",
        f"{INDEX}\n",
        f"x/{OUTPUT}",
        "fuzz",
        "00",
    ],
)
def test_names_that_go_never_gives_are_refused(name: str) -> None:
    assert why_refused(name, len(DATA), HASH) == "go gives no such name in a build cache"


def test_an_output_whose_name_is_not_its_hash_is_refused() -> None:
    assert why_refused(OUTPUT, len(DATA), HASH) is None
    assert why_refused(OUTPUT, len(DATA), "0" * 64) == "its name is not its hash"
    assert why_refused(f"{OUTPUT}/tool", len(DATA), "0" * 64) == "its name is not its hash"


def test_an_index_entry_of_another_length_is_refused() -> None:
    assert why_refused(INDEX, 175, HASH) is None
    assert why_refused(INDEX, 174, HASH) == "an index entry has 175 bytes"


def test_a_readme_is_short() -> None:
    assert why_refused("README", 222, HASH) is None
    assert why_refused("README", 1 << 30, HASH) == "go's README is shorter"


@pytest.mark.parametrize("name", ["trim.txt", "testexpire.txt", "log.txt"])
def test_what_go_keeps_for_itself_stays_out(name: str) -> None:
    assert why_omitted(name, fuzz=True)


def test_fuzz_inputs_come_only_when_asked_for() -> None:
    assert why_omitted("fuzz/example.com/m/FuzzX/0123", fuzz=False)
    assert why_omitted("fuzz/example.com/m/FuzzX/0123", fuzz=True) is None
    assert why_refused("fuzz/example.com/m/FuzzX/0123", 3, HASH) is None


def test_index_entries_and_programs_are_told_by_their_names() -> None:
    assert is_index(INDEX)
    assert not is_index(OUTPUT)
    assert not is_index("fuzz/x-a")
    assert is_program(f"{OUTPUT}/tool")
    assert not is_program(OUTPUT)


def test_an_index_entry_needs_its_output() -> None:
    data = index_entry(KEY, HASH, len(DATA))
    sizes = {OUTPUT: len(DATA)}
    assert why_bad_index(INDEX, data, sizes.get) is None
    assert why_bad_index(INDEX, data, lambda _name: None) == "the output that it names is not in the cache"
    assert why_bad_index(INDEX, data, {OUTPUT: 1}.get) == "the output that it names has another size"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 175,
        index_entry("cd" + "0" * 62, HASH, 9),
        index_entry(KEY, HASH, -1),
        index_entry(KEY, HASH, 9)[:-1],
        index_entry(KEY, HASH, 9) + b"\n",
    ],
)
def test_an_index_entry_that_go_could_not_read_is_refused(data: bytes) -> None:
    assert why_bad_index(INDEX, data, {OUTPUT: 9}.get)


def test_what_is_no_index_entry_is_never_taken_for_one() -> None:
    assert why_bad_index("README", index_entry(KEY, HASH, 9), {OUTPUT: 9}.get) == "it is no index entry"
