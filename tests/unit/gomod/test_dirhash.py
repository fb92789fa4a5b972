"""`h1:` hashes, against values that go wrote."""

from hashlib import sha256

import pytest

from go_cache_safeguard.gomod.dirhash import hash1, hash_go_mod


def digest(content: bytes) -> bytes:
    return sha256(content).digest()


def test_the_hash_of_an_empty_go_mod_is_the_one_that_an_old_go_wrote_by_mistake() -> None:
    assert hash_go_mod(b"") == "h1:G7mAYYxgmS0lVkHyy2hEOLQCFB0DlQFTMLWggykrydY="


def test_no_files_have_the_hash_of_nothing() -> None:
    assert hash1([]) == "h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


def test_the_order_in_which_files_are_given_does_not_matter_and_bytes_are_what_is_sorted() -> None:
    files = [("ä".encode(), digest(b"1")), (b"a", digest(b"2")), (b"Z", digest(b"3")), (b"\xff", digest(b"4"))]
    assert hash1(files) == hash1(reversed(files))


def test_names_and_contents_matter() -> None:
    files = [(b"m@v1/a", digest(b"1")), (b"m@v1/b", digest(b"2"))]
    exchanged = [(b"m@v1/a", digest(b"2")), (b"m@v1/b", digest(b"1"))]
    assert len({hash1(files), hash1(exchanged), hash1(files[:1])}) == 3


def test_a_name_with_a_line_end_is_refused_as_go_does() -> None:
    with pytest.raises(ValueError, match="line end"):
        hash1([(b"a\nb", digest(b""))])
