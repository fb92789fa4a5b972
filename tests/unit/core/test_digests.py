"""Hashes of many pieces are those of hashlib, whichever kernel makes them."""

from array import array
from collections.abc import Callable, Sequence
from hashlib import sha256
from random import Random
from types import ModuleType

import pytest

from go_cache_safeguard.core.digests import KERNEL, Buffer, digests, digests_python, trusted
from twins import compiled, loaded

Hash = Callable[[Sequence[Buffer]], list[bytes]]
KNOWN = {
    b"": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    b"abc": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq": (
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
    ),
    b"a" * 1_000_000: "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
}
"""FIPS 180-2, appendix B, and of nothing."""
SIZES = (*range(1_030), 4_096, 65_535, 65_536, 1 << 20)


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return loaded(compiled("core/_digests.c", tmp_path_factory.mktemp("twin")))


@pytest.fixture(scope="module")
def hashes(twin: ModuleType) -> dict[str, Hash]:
    """All there are: in Python, the one in use, and what this processor can do of what was compiled just now."""

    def of(kernel: int) -> Hash:
        return lambda pieces: list(twin.many(tuple(pieces), kernel))

    built = {f"kernel {kernel}": of(kernel) for kernel in range(1, twin.kernels() + 1)}
    return {"python": digests_python, "the one in use": digests, **built}


def test_known_answers_are_given_side_by_side_and_alone(hashes: dict[str, Hash]) -> None:
    for name, hashed in hashes.items():
        for message, known in KNOWN.items():
            assert hashed([message])[0].hex() == known, name
        several = list(KNOWN) * 9
        assert [one.hex() for one in hashed(several)] == list(KNOWN.values()) * 9, name


def test_every_size_is_hashed_as_hashlib_does_in_any_company(hashes: dict[str, Hash]) -> None:
    random = Random(5)  # noqa: S311 - the same messages in every run
    data = random.randbytes(1 << 20)
    messages = [data[:size] for size in SIZES]
    random.shuffle(messages)
    known = [sha256(message).digest() for message in messages]
    for name, hashed in hashes.items():
        assert hashed(messages) == known, name
        for count in (1, 2, 3, 10, 11, 15, 16, 17, 33):
            assert hashed(messages[:count]) == known[:count], (name, count)
    assert digests([]) == []


def test_whatever_shows_its_bytes_is_hashed(hashes: dict[str, Hash]) -> None:
    data = bytearray(range(256)) * 5
    shown: list[Buffer] = [bytes(data), data, memoryview(bytes(data))[3:1000], memoryview(array("q", range(50)))]
    for name, hashed in hashes.items():
        assert hashed(shown) == [sha256(one).digest() for one in shown], name
        data.append(1)  # nobody holds it any more


def test_what_shows_no_bytes_is_refused_and_nothing_is_held(hashes: dict[str, Hash]) -> None:
    data = bytearray(100)
    for hashed in hashes.values():
        with pytest.raises((TypeError, BufferError)):
            hashed([data, data, memoryview(bytes(100))[::2], data])
        data.append(1)


def test_a_kernel_that_this_processor_does_not_have_is_refused(twin: ModuleType) -> None:
    for kernel in (-1, 0, twin.kernels() + 1):
        with pytest.raises(ValueError, match="kernel"):
            twin.many((b"", b""), kernel)
    with pytest.raises(ValueError, match="tuple"):
        twin.many([b"", b""], 1)


def test_a_twin_that_is_wrong_once_is_not_used() -> None:
    def right(pieces: tuple[Buffer, ...], _kernel: int) -> list[bytes]:
        return digests_python(pieces)

    def wrong(pieces: tuple[Buffer, ...], kernel: int) -> list[bytes]:
        found = digests_python(pieces)
        return found if kernel == 1 else [*found[:-1], found[-1][:-1] + b"\0"]

    assert (trusted(2, right), trusted(1, wrong), trusted(2, wrong), trusted(0, wrong)) == (2, 1, 0, 0)
    assert KERNEL in {0, 1, 2}
