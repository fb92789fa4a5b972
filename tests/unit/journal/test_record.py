"""Records and their bytes."""

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest

from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.journal.record import NO_PREV, Record, is_note_step, leaf_hash, parse_record, record_bytes

OP = "op_0000000000000001"
GOOD = Record(
    log="ab" * 16,
    seq=1,
    prev=NO_PREV,
    at="2026-01-02T03:04:05.000006Z",
    mono_ns=7,
    boot="a-boot",
    actor="uid:1000(alice)",
    host="h",
    version="0.1",
    op=OP,
    step="REQUESTED",
    data={"plan": [1, "two", None, True], "path": "/caf\udce9"},
)


def changed(**fields: Any) -> bytes:
    """The good record with some fields replaced, in canonical form all the same."""
    value = json.loads(record_bytes(GOOD)) | fields
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def test_a_record_comes_back_as_it_was_written() -> None:
    data = record_bytes(GOOD)
    assert parse_record(data) == GOOD
    assert data.startswith(b'{"actor":"uid:1000(alice)","at":"2026-01-02T03:04:05.000006Z","boot":')
    assert data.isascii()


def test_a_note_comes_back_too() -> None:
    note = replace(GOOD, op=None, step="token-minted", data={})
    assert parse_record(record_bytes(note)) == note
    assert note.state is None


def test_a_step_that_is_a_state_is_one() -> None:
    assert GOOD.state is State.REQUESTED


def test_the_hash_is_that_of_a_zero_byte_and_the_stored_bytes() -> None:
    assert leaf_hash(b"abc") == hashlib.sha256(b"\0abc").digest()
    assert leaf_hash(b"") == bytes.fromhex("6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "the bytes are not canonical JSON"),
        (b"{", "the bytes are not canonical JSON"),
        (b"\xff\xfe", "the bytes are not canonical JSON"),
        (b"1.5", "the bytes are not canonical JSON"),
        (b"NaN", "the bytes are not canonical JSON"),
        (b"[" * 100_000, "the bytes are not canonical JSON"),
        (b" 1", "the bytes are not in the form that we write"),
        (record_bytes(GOOD) + b"\n", "the bytes are not in the form that we write"),
        (record_bytes(GOOD).replace(b'"v":1', b'"v":1,"v":1'), "the bytes are not in the form that we write"),
        (b"[]", "the fields are not those of a record"),
        (b"{}", "the fields are not those of a record"),
        (changed(more=1), "the fields are not those of a record"),
        (changed(v=2), "the format of the record is not one that we know"),
        (changed(v=True), "the format of the record is not one that we know"),
        (changed(seq=0), "seq is not a number of 1 or more"),
        (changed(seq=True), "seq is not a number of 1 or more"),
        (changed(seq="1"), "seq is not a number of 1 or more"),
        (changed(mono_ns=-1), "mono_ns is not a number of 0 or more"),
        (changed(log="AB" * 16), "log has not the form that we write"),
        (changed(log=1), "log has not the form that we write"),
        (changed(prev="0" * 63), "prev has not the form that we write"),
        (changed(at="2026-01-02T03:04:05Z"), "at has not the form that we write"),
        (changed(at="2026-01-02T03:04:05.000006Z\n"), "at has not the form that we write"),
        (changed(boot=1), "boot is not text"),
        (changed(actor=None), "actor is not text"),
        (changed(host=[]), "host is not text"),
        (changed(version=1), "version is not text"),
        (changed(step=1), "step is not text"),
        (changed(data=[]), "data is not an object"),
        (changed(op="op_1"), "op is not the name of an operation"),
        (changed(op=1), "op is not the name of an operation"),
        (changed(op=""), "op is not the name of an operation"),
        (changed(op=None), "a state without an operation"),
        (changed(step="FINISHED"), "step is neither a state nor a word that we would write"),
    ],
)
def test_damage_is_named(data: bytes, why: str) -> None:
    assert parse_record(data) == why


@pytest.mark.parametrize("at", range(len(record_bytes(GOOD))))
def test_no_flipped_bit_leaves_the_same_record_with_the_same_hash(at: int) -> None:
    data = record_bytes(GOOD)
    for bit in range(8):
        flipped = data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
        assert parse_record(flipped) != GOOD
        assert leaf_hash(flipped) != leaf_hash(data)


def test_what_could_not_be_read_back_is_not_written() -> None:
    with pytest.raises(ValueError, match="op is not the name"):
        record_bytes(replace(GOOD, op="op_1"))
    with pytest.raises(TypeError, match="no canonical form"):
        record_bytes(replace(GOOD, data={"share": 0.5}))


@pytest.mark.parametrize("step", ["config", "token-minted", "wave-2", "a1"])
def test_small_words_are_names_of_notes(step: str) -> None:
    assert is_note_step(step)


@pytest.mark.parametrize("step", ["", "DONE", "Done", "-a", "a-", "a--b", "a b", "1a", "a\n", "\u0430", *State])
def test_states_and_other_text_are_not(step: str) -> None:
    assert not is_note_step(step)
