"""A checkpoint as it is kept beside the journal, and what it shows about a journal that is there now.

Knows:     the line that a kept checkpoint is, and how a journal that was cut, put back to an older state, rewritten or signed anew
           differs from what was signed.
Called by: `journal.sealer`, which keeps them; `flows.checkpoint`, `flows.witnesses` and `flows.audit`.
Never:     believes what a line says beside its signed note: the right edge must have the root that was signed.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from go_cache_safeguard.core.canonical import canonical
from go_cache_safeguard.journal.chain import Break, BreakKind
from go_cache_safeguard.journal.checkpoint import Checkpoint, parse_checkpoint
from go_cache_safeguard.journal.keys import Holder, holder_at
from go_cache_safeguard.journal.merkle import Frontier, Tree
from go_cache_safeguard.journal.note import Note, is_signed, parse_note

_NO_EDGE = Frontier()


@dataclass(frozen=True, slots=True)
class Seal:
    """A checkpoint with its signatures.

    Attributes:
        note: As it was signed.
        checkpoint: What its text says.
        edge: The right edge of the tree then, with which it can grow; empty if it came from a witness.
        leaf: 32 bytes, hash of the last record then; empty likewise.
    """

    note: Note
    checkpoint: Checkpoint
    edge: Frontier = _NO_EDGE
    leaf: bytes = b""


def seal_line(seal: Seal) -> bytes:
    """One line of the file of kept checkpoints."""
    edge = [root.hex() for root in seal.edge.roots]
    return canonical({"edge": edge, "leaf": seal.leaf.hex(), "note": seal.note.data.decode()}) + b"\n"


def parse_seal(line: bytes) -> Seal | str:
    """Read a line that `seal_line` wrote; or why it is none."""
    try:
        value: Any = json.loads(line)
        roots, leaf, note = value["edge"], value["leaf"], value["note"]
        edge, last = tuple(bytes.fromhex(root) for root in roots), bytes.fromhex(leaf)
        read = read_note(note.encode())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return "it is not in the form that we write"
    if isinstance(read, str):
        return read
    seal = Seal(read.note, read.checkpoint, Frontier(read.checkpoint.size, edge), last)
    if seal_line(seal) != line:
        return "it is not in the form that we write"
    if not seal.edge.whole or seal.edge.root != seal.checkpoint.root or len(last) != 32:
        return "what is beside the signed note does not fit it"
    return seal


def read_note(data: bytes) -> Seal | str:
    """Read a signed checkpoint, for example from a witness; or why it is none."""
    note = parse_note(data)
    if isinstance(note, str):
        return note
    found = parse_checkpoint(note.text)
    return found if isinstance(found, str) else Seal(note, found)


def judge_seal(seal: Seal, origin: str, holders: Sequence[Holder], tree: Tree, where: str) -> Break | None:
    """What one signed checkpoint shows about a journal whose chain is whole.

    Args:
        seal: The checkpoint.
        origin: Of the journal.
        holders: Its keys.
        tree: Over all its records.
        where: Who keeps the checkpoint, for the text.
    """
    size = seal.checkpoint.size
    if seal.checkpoint.origin != origin:
        return Break(size, BreakKind.SIGNATURE, f"a checkpoint of {where} is of another journal")
    keys = [holder.key for holder in holders]
    if size > tree.size:
        if not keys or any(is_signed(seal.note, key) for key in keys):
            text = f"the journal has {tree.size} records, and had {size} when the checkpoint of {where} was signed: it is an older state"
            return Break(tree.size + 1, BreakKind.ROLLED_BACK, text)
        return Break(
            size, BreakKind.SIGNATURE, f"the checkpoint of {where} of {size} records is signed by no key of the journal"
        )
    key, same = holder_at(holders, size), tree.root(size) == seal.checkpoint.root
    # A history in which no key signs yet, and which has other records: the one that was signed is another one.
    if same if key is None else not is_signed(seal.note, key):
        by = key.id.hex() if key else "any key that the journal names"
        text = f"the checkpoint of {where} of {size} records is not signed by {by}"
        return Break(size, BreakKind.SIGNATURE, text)
    if not same:
        text = f"the first {size} records are not those that the checkpoint of {where} was signed for: there are two histories"
        return Break(size, BreakKind.FORKED, text)
    return None
