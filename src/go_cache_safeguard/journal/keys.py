"""Whose signature counts for a journal, and from which record on.

Knows:     the notes that name a key, what hands the journal over from one key to the next, and which key was the right one when.
Called by: `flows.checkpoint` and `flows.audit`.
Never:     accepts a key that neither the key before it nor the auditor vouches for.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from go_cache_safeguard.journal.chain import Break, BreakKind
from go_cache_safeguard.journal.law import KEY, Act
from go_cache_safeguard.journal.note import Note, PrivateKey, PublicKey, is_signed, parse_note, parse_public, sign


@dataclass(frozen=True, slots=True)
class Holder:
    """One key and when it began to count.

    Attributes:
        seq: Number of the record that names it.
        key: The key.
    """

    seq: int
    key: PublicKey


def handover_text(log: str, old: PublicKey, new: PublicKey) -> str:
    """What both keys sign when a journal goes over from one to the other."""
    return f"go-cache-safeguard: from here on another key signs checkpoints\n{log}\n{old}\n{new}\n"


def handover(log: str, old: PrivateKey | None, new: PrivateKey, old_public: PublicKey) -> str:
    """The signed note of a hand-over.

    Args:
        log: Id of the journal.
        old: The key so far; None if it was lost, and then only the new one signs.
        new: The key from now on.
        old_public: The public half of the key so far.
    """
    text = handover_text(log, old_public, new.public)
    signers = [new] if old is None else [old, new]
    return Note(text, tuple(sign(text, key) for key in signers)).data.decode()


def history(log: str, acts: Iterable[Act], pinned: Collection[PublicKey] = ()) -> tuple[list[Holder], list[Break]]:
    """All keys of a journal, in order, and what is wrong with them.

    Args:
        log: Its id.
        acts: What its records say; those that are not about keys are skipped.
        pinned: Keys that the auditor knows from elsewhere; if there are any, one of them must be among the journal's.
    """
    holders: list[Holder] = []
    breaks: list[Break] = []
    for it in acts:
        if it.step != KEY:
            continue
        key = parse_public(str(it.data.get("key")))
        if key is None:
            breaks.append(Break(it.seq, BreakKind.SIGNATURE, f"record {it.seq} names a key that is none"))
            continue
        if holders and key not in pinned and not _handed_over(log, holders[-1].key, key, it.data.get("handover")):
            text = f"record {it.seq} names a new key, and the key before it did not sign that"
            breaks.append(Break(it.seq, BreakKind.SIGNATURE, text))
        holders.append(Holder(it.seq, key))
    if pinned and holders and not any(holder.key in pinned for holder in holders):
        text = f"the journal is signed with {holders[0].key.id.hex()}, and none of its keys is one that you know"
        breaks.append(Break(holders[0].seq, BreakKind.SIGNATURE, text))
    return holders, breaks


def holder_at(holders: Sequence[Holder], size: int) -> PublicKey | None:
    """The key that had to sign a checkpoint of the first `size` records; None if there was none."""
    return next((holder.key for holder in reversed(holders) if holder.seq <= size), None)


def _handed_over(log: str, old: PublicKey, new: PublicKey, data: object) -> bool:
    note = parse_note(data.encode()) if isinstance(data, str) else ""
    if isinstance(note, str) or note.text != handover_text(log, old, new):
        return False
    return is_signed(note, old) and is_signed(note, new)
