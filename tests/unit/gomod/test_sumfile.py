"""Lines of go.sum as go reads them."""

import pytest

from go_cache_safeguard.gomod.dirhash import hash1, hash_go_mod
from go_cache_safeguard.gomod.sumfile import Pin, merge, parse_sum, parse_ziphash

H1 = hash1([])


def test_lines_are_read_with_the_place_where_they_stand() -> None:
    found = parse_sum(b"a v1 h1:x\n\n a   v1/go.mod\th1:y \nb v2 h1:z", "go.sum")
    assert found.pins == {
        ("a", "v1"): (Pin("h1:x", "go.sum:1"),),
        ("a", "v1/go.mod"): (Pin("h1:y", "go.sum:3"),),
        ("b", "v2"): (Pin("h1:z", "go.sum:4"),),
    }
    assert found.malformed == ()


def test_what_go_passes_over_is_passed_over_and_what_it_refuses_is_told() -> None:
    empty = hash_go_mod(b"").encode()
    found = parse_sum(b"a v1/go.mod " + empty + b"\na v1 h2:later\nonly two\n\xff\xfe three four five\n", "go.sum")
    assert found.pins == {}
    assert found.malformed == (3, 4)


def test_contradicting_lines_are_both_kept() -> None:
    one, other = parse_sum(b"a v1 h1:x\na v1 h1:y\n", "one"), parse_sum(b"a v1 h1:z\n", "other")
    assert [pin.h1 for pin in merge([one, other])["a", "v1"]] == ["h1:x", "h1:y", "h1:z"]


@pytest.mark.parametrize(
    ("data", "read"),
    [
        (H1.encode(), H1),
        (H1.encode() + b"\n", H1),
        (b"", None),
        (b"h1:", None),
        (b"h1:AAAA", None),
        (b"\xff\xff", None),
        (H1.encode()[3:], None),
        (H1.encode() + b" " + H1.encode(), None),
    ],
)
def test_a_hash_file_holds_one_hash(data: bytes, read: str | None) -> None:
    assert parse_ziphash(data) == read
