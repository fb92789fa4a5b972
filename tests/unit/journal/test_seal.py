"""A kept checkpoint, and what it shows about a journal that is there now."""

import pytest

from go_cache_safeguard.journal.chain import BreakKind
from go_cache_safeguard.journal.checkpoint import Checkpoint, origin_of
from go_cache_safeguard.journal.keys import Holder
from go_cache_safeguard.journal.merkle import Tree
from go_cache_safeguard.journal.note import PLAIN, Note, PrivateKey, sign
from go_cache_safeguard.journal.seal import Seal, judge_seal, parse_seal, read_note, seal_line
from journal_rows import journal

LOG = "ab" * 16
ORIGIN = origin_of(LOG)
KEY, OTHER = PrivateKey(ORIGIN, PLAIN, bytes(32)), PrivateKey(ORIGIN, PLAIN, b"\x01" * 32)
TREE = Tree(b"".join(row.hash for row in journal()))
HOLDERS = [Holder(2, KEY.public)]


def seal_of(size: int, key: PrivateKey = KEY, tree: Tree = TREE, origin: str = ORIGIN) -> Seal:
    found = Checkpoint(origin, size, tree.root(size))
    return Seal(Note(found.text, (sign(found.text, key),)), found, tree.frontier(size), tree.leaf(size - 1))


def kind(seal: Seal, tree: Tree = TREE, holders: list[Holder] = HOLDERS) -> BreakKind | None:
    broken = judge_seal(seal, ORIGIN, holders, tree, "somebody")
    return broken.kind if broken else None


@pytest.mark.parametrize("size", range(1, TREE.size + 1))
def test_a_line_comes_back_and_fits_the_journal(size: int) -> None:
    seal = seal_of(size)
    assert parse_seal(seal_line(seal)) == seal
    assert kind(seal) is (None if size >= 2 else BreakKind.SIGNATURE)
    told = read_note(seal.note.data)
    assert isinstance(told, Seal)
    assert told.checkpoint == seal.checkpoint


def test_every_changed_character_of_a_line_is_noticed_or_harmless() -> None:
    line = seal_line(seal_of(7))
    for at in range(len(line)):
        changed = line[:at] + bytes((line[at] ^ 1,)) + line[at + 1 :]
        read = parse_seal(changed)
        assert isinstance(read, str) or kind(read) is not None or read.checkpoint == seal_of(7).checkpoint


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"[]\n",
        b"{}\n",
        b'{"edge":[],"leaf":"","note":"x"}\n',
        b'{"edge":3,"leaf":"","note":"x"}\n',
        b'{"edge":[],"leaf":"zz","note":"x"}\n',
        b'{"edge":[],"leaf":"","note":3}\n',
    ],
)
def test_what_is_no_line_is_a_reason(line: bytes) -> None:
    assert isinstance(parse_seal(line), str)


def test_an_edge_that_does_not_have_the_signed_root_is_a_reason() -> None:
    seal = seal_of(7)
    wrong = Seal(seal.note, seal.checkpoint, Tree(bytes(32 * 7)).frontier(7), seal.leaf)
    assert parse_seal(seal_line(wrong)) == "what is beside the signed note does not fit it"
    assert isinstance(parse_seal(seal_line(Seal(seal.note, seal.checkpoint, seal.edge, b""))), str)


def test_text_that_is_signed_and_no_checkpoint_is_a_reason() -> None:
    note = Note("a\nb\nc\n", (sign("a\nb\nc\n", KEY),))
    assert "number" in str(read_note(note.data))
    assert "no signatures" in str(read_note(b"a\n"))


def test_a_journal_that_is_shorter_than_what_was_signed_is_an_older_state() -> None:
    shorter = Tree(TREE.leaf(0) + TREE.leaf(1) + TREE.leaf(2))
    assert kind(seal_of(7), shorter) is BreakKind.ROLLED_BACK
    assert kind(seal_of(7), shorter, []) is BreakKind.ROLLED_BACK
    assert kind(seal_of(7, OTHER), shorter) is BreakKind.SIGNATURE


def test_a_journal_that_was_rewritten_has_another_root() -> None:
    rewritten = Tree(TREE.leaf(1) + b"".join(TREE.leaf(at) for at in range(1, TREE.size)))
    assert kind(seal_of(7), rewritten) is BreakKind.FORKED
    assert kind(seal_of(7), rewritten, []) is BreakKind.FORKED  # it went on from a state in which no key was named
    assert kind(seal_of(7, OTHER), rewritten) is BreakKind.SIGNATURE


def test_another_key_or_another_journal_is_a_matter_of_signatures() -> None:
    assert kind(seal_of(7, OTHER)) is BreakKind.SIGNATURE
    assert kind(seal_of(7, origin=origin_of("cd" * 16))) is BreakKind.SIGNATURE
    assert kind(seal_of(7), TREE, []) is BreakKind.SIGNATURE
    assert kind(seal_of(7), TREE, [*HOLDERS, Holder(5, OTHER.public)]) is BreakKind.SIGNATURE
    assert kind(seal_of(4), TREE, [*HOLDERS, Holder(5, OTHER.public)]) is None
