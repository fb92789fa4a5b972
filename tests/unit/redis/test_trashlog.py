"""A log of captured values, wherever its bytes lie: here they lie in memory."""

from collections.abc import Iterator, Sequence
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from go_cache_safeguard.redis.trash import Big, Captured, Frame, Header
from go_cache_safeguard.redis.trashlog import TrashLog, TrashUnusable

OP = "op_0123456789abcdef"
HEADER = Header(OP, "redis://h:6379", "a" * 40, "b" * 64)
BATCHES = st.lists(
    st.tuples(
        st.dictionaries(st.binary(max_size=2), st.lists(st.binary(min_size=1, max_size=9), max_size=4), max_size=3),
        st.sampled_from([Frame.REMOVED, Frame.STAYED, None]),
    ),
    max_size=5,
)


class Memory(TrashLog):
    """Bytes that grow, and are read in pieces of an odd length."""

    def __init__(self, data: bytes = b"") -> None:
        super().__init__("memory", lambda: None)
        self.data = bytearray(data)

    @property
    def size(self) -> int:
        return len(self.data)

    def sync(self) -> None:
        """There is no disk."""

    def _write(self, data: bytes) -> None:
        self.data += data

    def _read(self, at: int) -> Iterator[bytes]:
        for begin in range(at, len(self.data), 7):
            yield bytes(self.data[begin : begin + 7])

    def _cut(self, size: int) -> None:
        del self.data[size:]


class Torn(Memory):
    """One that a crash may have cut off."""

    may_be_torn = True


def _kept(log: TrashLog, batch: dict[bytes, list[bytes]]) -> list[Captured]:
    """Values of several pieces go as large ones, as a removal keeps them."""
    found = []
    for key, pieces in batch.items():
        if len(pieces) < 2:
            found.append(Captured(0, key, -1, b"".join(pieces)))
            continue
        at = log.size
        for piece in pieces:
            log.add_piece(piece)
        text = b"".join(pieces)
        found.append(Captured(0, key, 5, b"", Big(len(text), sha256(text).hexdigest(), at)))
    log.keep(found)
    return found


def _value(log: TrashLog, one: Captured) -> bytes:
    return one.dump if one.big is None else b"".join(log.pieces(one.big))


@given(batches=BATCHES)
def test_what_went_is_found_again_and_what_stayed_is_not(
    batches: Sequence[tuple[dict[bytes, list[bytes]], Frame | None]],
) -> None:
    log, wanted, waiting = Memory(), dict[bytes, bytes](), dict[bytes, bytes]()
    log.begin(HEADER)
    for batch, then in batches:
        _kept(log, batch)
        waiting |= {key: b"".join(pieces) for key, pieces in batch.items()}
        if then is Frame.REMOVED:
            wanted |= waiting
        if then is not None:
            log.tell(then)
            waiting = {}
    wanted |= waiting
    log.begin(HEADER)
    assert {one.key: _value(log, one) for one in log.values()} == wanted
    told = log.told()
    assert {key for _, key in (*told.removed, *told.open)} == set(wanted)
    assert {key for _, key in told.open} == set(waiting)


def _large() -> tuple[Memory, Captured]:
    log = Memory()
    log.begin(HEADER)
    (one,) = _kept(log, {b"key": [b"first", b"second", b"third"]})
    log.tell(Frame.REMOVED)
    return log, one


@given(at=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_no_changed_bit_of_a_large_value_goes_unseen(at: int, bit: int) -> None:
    log, _ = _large()
    log.data[at % len(log.data)] ^= 1 << bit
    with pytest.raises(TrashUnusable):
        log.told()


def test_pieces_that_are_not_the_value_are_refused_before_the_last_one() -> None:
    log, one = _large()
    assert one.big is not None
    wrong = [Big(one.big.size, "0" * 64, one.big.at), Big(one.big.size + 1, one.big.digest, one.big.at)]
    wrong += [Big(one.big.size - 1, one.big.digest, one.big.at), Big(one.big.size, one.big.digest, 0)]
    for big in wrong:
        given_: list[bytes] = []
        with pytest.raises(TrashUnusable):
            given_.extend(log.pieces(big))
        assert len(b"".join(given_)) < big.size


def test_half_a_frame_ends_a_log_only_where_a_crash_can_leave_one() -> None:
    whole, _ = _large()
    for length in range(1, len(whole.data)):
        torn = Torn(bytes(whole.data[:length]))
        assert torn.told().removed == {}
    zeros = Torn(bytes(whole.data) + bytes(500))
    assert zeros.told().removed == {(0, b"key"): True}
    zeros.begin(HEADER)
    assert zeros.data == whole.data
    with pytest.raises(TrashUnusable):
        Memory(bytes(whole.data[:-1])).told()


def test_a_call_is_remembered() -> None:
    log = Memory()
    log.begin(HEADER)
    assert log.call() == b""
    log.remember(b"*1\r\n$8\r\nFLUSHALL\r\n")
    assert log.call() == b"*1\r\n$8\r\nFLUSHALL\r\n"
    assert log.told().open == {}


def test_a_log_about_something_else_is_refused() -> None:
    log, _ = _large()
    with pytest.raises(TrashUnusable):
        log.begin(Header(OP, "redis://other:1", "a" * 40, "b" * 64))
    with pytest.raises(TrashUnusable):
        Memory(b"no log at all, but long enough for a frame").header()
