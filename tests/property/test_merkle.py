"""What holds for every tree, every proof, and every signed note."""

from hypothesis import given
from hypothesis import strategies as st

from go_cache_safeguard.journal.checkpoint import Checkpoint, parse_checkpoint
from go_cache_safeguard.journal.merkle import Frontier, Tree, node_hash, verify_consistency, verify_inclusion
from go_cache_safeguard.journal.note import (
    PLAIN,
    WITNESS,
    Note,
    PrivateKey,
    is_signed,
    parse_note,
    parse_private,
    parse_public,
    sign,
    signed_by,
)
from go_cache_safeguard.journal.record import leaf_hash
from go_cache_safeguard.journal.seal import Seal, parse_seal

LEAVES = [leaf_hash(str(at).encode()) for at in range(70)]
TREE = Tree(b"".join(LEAVES))
TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")) | st.just("\n"), max_size=60).map(
    lambda text: text + "\n"
)
KEYS = st.builds(
    PrivateKey, st.just("example.com/a"), st.sampled_from([PLAIN, WITNESS]), st.binary(min_size=32, max_size=32)
)


def plainly(leaves: list[bytes]) -> bytes:
    """The root, as RFC 6962 section 2.1 says it."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(plainly(leaves[:split]), plainly(leaves[split:]))


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8 % len(data)] ^= 1 << bit % 8
    return bytes(changed)


@given(st.integers(1, 70), st.integers(0, 70))
def test_every_root_is_the_one_that_the_definition_gives_however_it_grew(size: int, cut: int) -> None:
    edge = Frontier().extend(LEAVES[: min(cut, size)]).extend(LEAVES[min(cut, size) : size])
    assert edge.root == TREE.root(size) == plainly(LEAVES[:size])
    assert edge.whole


@given(st.integers(1, 70), st.data())
def test_every_leaf_is_proved_and_no_changed_bit_is(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    path, root = TREE.inclusion(index, size), TREE.root(size)
    assert verify_inclusion(LEAVES[index], index, size, path, root)
    bit = data.draw(st.integers(0, 255))
    assert not verify_inclusion(flipped(LEAVES[index], bit), index, size, path, root)
    assert not verify_inclusion(LEAVES[index], index, size, path, flipped(root, bit))
    other = data.draw(st.integers(0, 70))
    assert verify_inclusion(LEAVES[index], other, size, path, root) is (other == index)
    if path:
        at = data.draw(st.integers(0, len(path) - 1))
        assert not verify_inclusion(
            LEAVES[index], index, size, [*path[:at], flipped(path[at], bit), *path[at + 1 :]], root
        )


@given(st.integers(1, 70), st.data())
def test_every_growth_is_proved_and_no_changed_bit_is(new: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, new))
    path, was, now = TREE.consistency(old, new), TREE.root(old), TREE.root(new)
    assert verify_consistency(old, new, was, now, path)
    bit = data.draw(st.integers(0, 255))
    assert not verify_consistency(old, new, flipped(was, bit), now, path)
    assert not verify_consistency(old, new, was, flipped(now, bit), path)
    assert not verify_consistency(old, new, was, now, [*path, was])
    if path:
        at = data.draw(st.integers(0, len(path) - 1))
        assert not verify_consistency(old, new, was, now, [*path[:at], flipped(path[at], bit), *path[at + 1 :]])
        assert not verify_consistency(old, new, was, now, path[:-1])


@given(st.integers(0, 80), st.integers(0, 80), st.lists(st.sampled_from(LEAVES), max_size=9))
def test_rubbish_proves_nothing_and_raises_nothing(one: int, other: int, path: list[bytes]) -> None:
    assert not verify_inclusion(LEAVES[0], one, other, path, bytes(32))
    assert verify_consistency(one, other, bytes(32), bytes(32), path) in {False, one == other and not path}


@given(TEXT, st.lists(KEYS, min_size=1, max_size=3), st.integers(0, 1 << 40))
def test_every_note_comes_back_and_verifies(text: str, keys: list[PrivateKey], at_s: int) -> None:
    note = Note(text, tuple(sign(text, key, at_s=at_s) for key in keys))
    assert parse_note(note.data) == note
    assert signed_by(note, [key.public for key in keys]) == [key.public for key in keys]
    for key in keys:
        assert parse_public(str(key.public)) == key.public
        assert parse_private(key.secret) == key


@given(TEXT, KEYS, st.data())
def test_no_changed_bit_of_a_note_verifies(text: str, key: PrivateKey, data: st.DataObject) -> None:
    whole = Note(text, (sign(text, key, at_s=5),))
    bit = data.draw(st.integers(0, len(whole.data) * 8 - 1))
    changed = parse_note(flipped(whole.data, bit))
    assert isinstance(changed, str) or not is_signed(changed, key.public)


@given(st.binary())
def test_rubbish_is_a_reason_and_no_exception(data: bytes) -> None:
    assert isinstance(parse_note(data), str)
    assert not isinstance(parse_seal(data), Seal)


@given(st.text())
def test_text_that_is_no_checkpoint_and_no_key_is_no_exception(text: str) -> None:
    assert parse_public(text) is None
    assert parse_private(text) is None
    found = parse_checkpoint(text)
    assert isinstance(found, str) or found.text == text


@given(st.integers(0, 1 << 60), st.binary(min_size=32, max_size=32))
def test_every_checkpoint_comes_back(size: int, root: bytes) -> None:
    found = Checkpoint("example.com/log", size, root)
    assert parse_checkpoint(found.text) == found
