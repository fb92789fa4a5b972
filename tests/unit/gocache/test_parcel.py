"""Parcels: what comes out is what went in, and nothing else is believed."""

from hypothesis import given
from hypothesis import strategies as st

from go_cache_safeguard.gocache.parcel import HEAD, RAW, ZSTD, Parcel, unwrap, wrap

ACTION, OUTPUT, KEY = b"a" * 32, b"o" * 32, b"a shared secret"
LIMIT = 1000


def parcel(content: bytes = b"content", *, size: int = 7, packed: int = RAW) -> Parcel:
    return Parcel(OUTPUT, size, 5, packed, content)


@given(st.binary(max_size=100), st.sampled_from([b"", KEY]), st.sampled_from([RAW, ZSTD]))
def test_what_is_wrapped_comes_out_as_it_was(content: bytes, key: bytes, packed: int) -> None:
    data = wrap(ACTION, parcel(content, size=len(content), packed=packed), key)
    found = unwrap(ACTION, data, key=key, limit=LIMIT)
    assert found is not None
    assert (found.output, found.size, found.time_ns, found.packed, found.content) == (
        OUTPUT,
        len(content),
        5,
        packed,
        content,
    )
    assert len(data) == HEAD + len(content)


@given(st.integers(0, HEAD * 8 - 1))
def test_with_a_key_no_bit_of_the_head_can_be_changed(bit: int) -> None:
    data = bytearray(wrap(ACTION, parcel(), KEY))
    data[bit // 8] ^= 1 << bit % 8
    found = unwrap(ACTION, bytes(data), key=KEY, limit=LIMIT)
    # How the content is packed is not sealed: unpacked otherwise, its SHA-256 is another one.
    assert found is None or (found.packed != RAW and found.output == OUTPUT)


def test_a_parcel_of_another_action_another_key_or_no_key_is_refused() -> None:
    sealed, open_ = wrap(ACTION, parcel(), KEY), wrap(ACTION, parcel(), b"")
    assert unwrap(b"b" * 32, sealed, key=KEY, limit=LIMIT) is None
    assert unwrap(ACTION, sealed, key=b"another", limit=LIMIT) is None
    assert unwrap(ACTION, open_, key=KEY, limit=LIMIT) is None


def test_what_is_too_large_packed_in_a_way_unknown_or_cut_is_refused() -> None:
    assert unwrap(ACTION, wrap(ACTION, parcel(size=LIMIT + 1), b""), key=b"", limit=LIMIT) is None
    assert unwrap(ACTION, wrap(ACTION, parcel(packed=9), b""), key=b"", limit=LIMIT) is None
    assert unwrap(ACTION, wrap(ACTION, parcel(), b"")[: HEAD - 1], key=b"", limit=LIMIT) is None
    assert unwrap(ACTION, b"", key=b"", limit=LIMIT) is None


@given(st.binary(max_size=300))
def test_whatever_comes_nothing_is_raised(data: bytes) -> None:
    unwrap(ACTION, data, key=b"", limit=LIMIT)
