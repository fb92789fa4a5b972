"""Any pieces, in any order and number, have the hashes that hashlib gives them."""

from hashlib import sha256
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from go_cache_safeguard.core.digests import digests
from twins import compiled, loaded

_SIZES = st.one_of(st.integers(0, 300), st.integers(0, 9_000), st.sampled_from((55, 56, 63, 64, 119, 120, 127, 128)))
_PIECES = st.lists(st.tuples(_SIZES, st.integers(0, 255)), max_size=70)


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return loaded(compiled("core/_digests.c", tmp_path_factory.mktemp("twin")))


@settings(max_examples=150, deadline=None)
@given(_PIECES)
def test_all_kernels_say_what_hashlib_says(twin: ModuleType, drawn: list[tuple[int, int]]) -> None:
    pieces = tuple(bytes([seed]) * (size // 2) + bytes(range(256))[seed:] * (1 + size // 300) for size, seed in drawn)
    known = [sha256(piece).digest() for piece in pieces]
    assert digests(pieces) == known
    for kernel in range(1, twin.kernels() + 1):
        assert twin.many(pieces, kernel) == known
