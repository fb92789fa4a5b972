"""The log of hashes: what proves itself is believed, whatever else is in between."""

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from go_cache_safeguard.gocache.hashlog import Block, Subkey, parse_hash_log, subkey, unquote

_LETTERS = {7: "a", 8: "b", 12: "f", 10: "n", 13: "r", 9: "t", 11: "v", 92: "\\", 34: '"'}


def quote(data: bytes) -> bytes:
    """As Go's `%q` for bytes that are no text beyond ASCII."""
    said = "".join(
        f"\\{_LETTERS[byte]}" if byte in _LETTERS else chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}"
        for byte in data
    )
    return f'"{said}"'.encode("ascii")


def lines(name: str, *writes: bytes) -> list[bytes]:
    """The lines of one block."""
    head = b"HASH[" + name.encode() + b"]"
    total = sha256(b"".join(writes)).hexdigest().encode()
    return [head, *(head + b": " + quote(text) for text in writes), head + b": " + total]


def log(*parts: list[bytes]) -> bytes:
    return b"".join(line + b"\n" for part in parts for line in part)


def block(name: str, *writes: bytes) -> Block:
    return Block(name, writes, sha256(b"".join(writes)).digest())


def test_a_block_is_read_with_what_was_hashed_and_its_sum() -> None:
    writes = (b"go1.27.3", b"compile\n", b'import "example.com/m"\n', b"\x00\xff\\\n")
    found = parse_hash_log(log(lines("build example.com/m [example.com/m.test]", *writes)))
    assert found.blocks == (block("build example.com/m [example.com/m.test]", *writes),)
    assert found.unproven == 0
    assert found.rest == b""


def test_go_writes_letters_beyond_ascii_as_they_are_or_as_escapes() -> None:
    assert unquote('"ümlaut \\u00ad \\U0001f600 \\xff"'.encode()) == "ümlaut \u00ad 😀 ".encode() + b"\xff"
    assert unquote(b'"\\a\\b\\f\\n\\r\\t\\v\\\\\\""') == b'\a\b\f\n\r\t\v\\"'
    assert unquote(b'"') is None
    assert unquote(b'a"b"') is None
    assert unquote(b'"a"b"') is None
    assert unquote(b'"\\Uffffffff"') is None


def test_a_block_whose_sum_is_another_is_not_believed() -> None:
    broken = lines("build a", b"go1.21.13", b"compile\n")
    broken[2] = b'HASH[build a]: "edited\\n"'
    found = parse_hash_log(log(broken))
    assert (found.blocks, found.unproven) == ((), 1)


def test_a_block_that_never_ends_is_counted() -> None:
    assert parse_hash_log(log(lines("build a", b"go1.21.13")[:-1])).unproven == 1


def test_a_sum_without_a_block_is_counted() -> None:
    assert parse_hash_log(b"HASH[stat]: " + b"0" * 64 + b"\n").unproven == 1


def test_blocks_of_two_names_that_mix_are_told_apart_by_name() -> None:
    one, two = lines("build a", b"s", b"1"), lines("build b", b"s", b"2")
    mixed = [line for pair in zip(one, two, strict=True) for line in pair]
    assert parse_hash_log(log(mixed)).blocks == (block("build a", b"s", b"1"), block("build b", b"s", b"2"))


def test_blocks_of_one_name_that_mix_are_told_apart_by_their_sums() -> None:
    one, two = lines("open", b"s", b"1"), lines("open", b"s", b"2")
    mixed = [line for pair in zip(one, two, strict=True) for line in pair]
    found = parse_hash_log(log(mixed))
    assert set(found.blocks) == {block("open", b"s", b"1"), block("open", b"s", b"2")}
    assert found.unproven == 0


def test_blocks_that_mix_too_thoroughly_are_counted_and_the_search_ends() -> None:
    one = lines("open", b"s", *(bytes((65 + at,)) for at in range(25)))
    two = lines("open", b"s", *(bytes((97 + at,)) for at in range(25)))
    found = parse_hash_log(log([line for pair in zip(one, two, strict=True) for line in pair]))
    assert (found.blocks, found.unproven) == ((), 2)


def test_files_are_read_with_their_content_or_what_was_wrong() -> None:
    content = sha256(b"x").hexdigest()
    found = parse_hash_log(f"HASH /m/a: b.go: {content}\nHASH /m/c.go: open /m/c.go: no such file\n".encode())
    assert found.files == {"/m/a: b.go": content, "/m/c.go": "open /m/c.go: no such file"}


def test_a_subkey_is_believed_if_it_follows_from_its_parent() -> None:
    parent = sha256(b"parent").digest()
    key = subkey(parent, "stdout")
    said = f'HASH subkey {parent.hex()} "stdout" = {key.hex()}\n'
    wrong = f'HASH subkey {parent.hex()} "stdout" = {parent.hex()}\n'
    found = parse_hash_log((said + wrong).encode())
    assert found.subkeys == (Subkey(parent, "stdout", key),)
    assert found.unproven == 1
    assert found.actions == {key}


def test_a_subkey_is_the_hash_that_go_makes() -> None:
    parent = bytes.fromhex("1f5eabb2e13e5629b4dee4db8272c50db7097c598223aaf426147fc8b635f1b4")
    assert subkey(parent, "stdout").hex() == "69618a32d2db4b740fe778a7387e2f020cf97c2555c832a7326e0514b3a50650"


def test_what_is_no_line_of_the_log_is_kept_as_it_is() -> None:
    said = b"mkdir -p $WORK/b001/\nHASHES\nHASH[build a\nHASH[build a]: neither\nHASH subkey x\nHASH x\nno newline"
    assert parse_hash_log(said).rest == said


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=8))
def test_whatever_is_hashed_is_read_again(writes: list[bytes]) -> None:
    assert parse_hash_log(log(lines("x", *writes))).blocks == (block("x", *writes),)


@given(st.binary(max_size=400))
def test_any_bytes_are_read_without_an_error(data: bytes) -> None:
    found = parse_hash_log(data)
    assert len(found.rest) <= len(data)
