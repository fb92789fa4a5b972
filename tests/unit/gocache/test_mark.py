"""Records of the table of marks: whole or not believed, and always in their bucket."""

from hypothesis import given
from hypothesis import strategies as st

from go_cache_safeguard.gocache.mark import IN_BUCKET, RECORD, SIZE, Mark, bucket, pack, place, unpack

IDS = st.binary(min_size=32, max_size=32)
NUMBERS = st.integers(0, 2**64 - 1)


@given(IDS, st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS), st.none() | st.binary(min_size=15, max_size=15))
def test_a_record_says_what_was_written(output: bytes, marks: tuple[int, int, int, int], seal: bytes | None) -> None:
    record = pack(output, Mark(marks, seal))
    mark = unpack(record, output)
    assert len(record) == RECORD
    assert mark is not None
    assert (mark.marks, mark.seal) == (marks, seal)


@given(st.integers(0, RECORD * 8 - 1))
def test_a_record_with_one_bit_flipped_is_not_believed(bit: int) -> None:
    output = bytes(range(32))
    record = bytearray(pack(output, Mark((1, 2, 3, 4), None)))
    record[bit // 8] ^= 1 << bit % 8
    assert unpack(bytes(record), output) is None


def test_half_of_one_record_and_half_of_another_is_not_believed() -> None:
    output = bytes(range(32))
    one, two = pack(output, Mark((1, 2, 3, 4), None)), pack(output, Mark((5, 6, 7, 8), None))
    assert unpack(one[:50] + two[50:], output) is None
    assert unpack(one[:-1], output) is None


def test_a_mark_fits_the_action_that_made_it_or_any_if_it_says_nothing() -> None:
    action = bytes(range(32))
    assert Mark((0, 0, 0, 0), action[:15]).fits(action)
    assert not Mark((0, 0, 0, 0), action[:15]).fits(bytes(32))
    assert Mark((0, 0, 0, 0), None).fits(bytes(32))


@given(st.lists(IDS, max_size=20, unique=True))
def test_a_new_record_takes_its_own_place_an_empty_one_or_an_old_one(outputs: list[bytes]) -> None:
    records = bytearray(IN_BUCKET * RECORD)
    for number, output in enumerate(outputs):
        at = place(bytes(records), output)
        if number < IN_BUCKET:
            assert at == number
        assert 0 <= at < IN_BUCKET
        records[at * RECORD : (at + 1) * RECORD] = pack(output, Mark((1, 2, 3, 4), None))
        assert place(bytes(records), output) == at


@given(IDS)
def test_every_bucket_is_in_the_table(output: bytes) -> None:
    assert 0 <= bucket(output) <= SIZE - IN_BUCKET * RECORD
