"""Signed checkpoints of the journal: made, handed to witnesses, and the key that signs them.

Knows:     when one is made, what must hold before it is signed, and how the journal goes over from one key to the next.
Called by: the command line's `audit checkpoint` and `audit key`, and `flows.session` at the end of what changed something.
Never:     signs a journal that is shorter than, or does not go on from, the last one that was signed.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from go_cache_safeguard.config.resolve import Config
from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.flows.progress import Progress
from go_cache_safeguard.flows.witness_chat import witnesses_of
from go_cache_safeguard.flows.witnesses import Grown
from go_cache_safeguard.journal.checkpoint import Checkpoint, origin_of
from go_cache_safeguard.journal.keys import Holder, handover, history
from go_cache_safeguard.journal.law import KEY, acts
from go_cache_safeguard.journal.merkle import Frontier, Tree
from go_cache_safeguard.journal.note import PLAIN, SEED, Note, PrivateKey, PublicKey, is_signed, sign
from go_cache_safeguard.journal.seal import Seal
from go_cache_safeguard.journal.sealer import Sealer
from go_cache_safeguard.journal.sweep import Run, sweep

if TYPE_CHECKING:
    from go_cache_safeguard.journal.records import Records

ENDS = frozenset({State.DONE, State.ROLLED_BACK, State.UNKNOWN, State.UNDONE, State.PURGED, State.PASSED})
"""States at which an operation has changed something and is over, for now."""


class CheckpointRefused(Failure):
    """This journal is not signed."""

    id = "checkpoint-refused"
    exit_code = ExitCode.JOURNAL_TAMPERED
    meaning = "the journal does not go on from its last signed checkpoint, so no new one was signed"


@dataclass(frozen=True, slots=True)
class Made:
    """What became of a checkpoint.

    Attributes:
        seal: The newest one.
        new: Whether it was signed just now.
        away: For each witness that could not be told: what is wrong. It is told with the next one.
        told: Names of those that have it.
    """

    seal: Seal
    new: bool
    away: tuple[str, ...]
    told: tuple[str, ...]


def sealer_of(config: Config, journal: "Records") -> Sealer:
    """The checkpoints of an open journal."""
    configured = config.text("audit.key")
    return Sealer(journal.path, journal.log, Path(configured) if configured else None)


def checkpoint(config: Config, journal: "Records", *, thorough: bool = False) -> Made | None:
    """Sign the journal as it is now, and tell the witnesses.

    Args:
        config: The settings.
        journal: Open for writing: the first checkpoint writes down which key signs.
        thorough: Also read everything again that was signed before; else only what came since.

    Returns:
        What became of it; None if there is no record to sign.

    Raises:
        CheckpointRefused: The journal does not go on from what was signed.
        JournalUnusable, SigningKeyBad: It could not be signed.
    """
    if not journal.last_seq:
        return None
    if thorough and (breaks := journal.verify()):
        raise _refused(f"{len(breaks)} breaks, the first: {breaks[0].text}")
    sealer = sealer_of(config, journal)
    with sealer.alone() as book:
        last = book.last()
        key = _current(sealer, journal, last)
        run = _since(journal, last)
        if thorough and last is not None:
            _same(journal, last)
        seal, new = (last, False) if run is None and last is not None else (_sign(key, last, run), True)
        if new:
            book.append(seal)
        return _tell(config, journal, sealer, seal, new=new)


def _same(journal: "Records", last: Seal) -> None:
    tree = Tree(journal.leaves())
    if tree.root(last.checkpoint.size) != last.checkpoint.root:
        raise _refused(f"the first {last.checkpoint.size} records are not those that were signed")


def _since(journal: "Records", last: Seal | None) -> Run | None:
    """The records after the last checkpoint; None if there are none.

    Raises:
        CheckpointRefused: They do not go on from it.
    """
    size = last.checkpoint.size if last else 0
    rows = journal.rows_from(max(size, 1))
    if last is not None:
        there = next(rows, None)
        if there is None or there.seq != size or there.hash != last.leaf:
            end = journal.last_seq
            shorter = f"the journal has {end} records, and had {size} when it was signed last"
            raise _refused(shorter if end < size else f"record {size} is not the one that was signed")
    first = next(rows, None)
    if first is None:
        return None
    run = sweep(chain((first,), rows))
    if run is None or run.first != size + 1 or (last is not None and run.prev != last.leaf.hex()):
        raise _refused(f"what follows record {size} is not as it was written")
    return run


def _sign(key: PrivateKey, last: Seal | None, run: Run | None) -> Seal:
    if run is None:
        raise _refused("there is no record")
    leaves = [run.leaves[at : at + 32] for at in range(0, len(run.leaves), 32)]
    edge = (last.edge if last else Frontier()).extend(leaves)
    found = Checkpoint(origin_of(run.log), edge.size, edge.root)
    return Seal(Note(found.text, (sign(found.text, key),)), found, edge, leaves[-1])


def _current(sealer: Sealer, journal: "Records", last: Seal | None) -> PrivateKey:
    """The key that signs now. The first one is made here, and a rotation that was cut short is finished.

    Raises:
        CheckpointRefused: There is none where one was.
    """
    keys = sealer.keys()
    if len(keys) > 1:
        named = _named(journal)
        keys = [next((key for key in keys if key.public == named), keys[0])]
        sealer.write_keys(*keys)
    if not keys:
        if last is not None:
            raise CheckpointRefused(
                f"the private key {str(sealer.key_path)!r} is gone",
                not_done="no checkpoint was signed; the journal is as it was",
                hint="bring it back, or make a new one that nobody vouches for: `audit key rotate --lost`",
            )
        keys = [PrivateKey(origin_of(journal.log), PLAIN, secrets.token_bytes(SEED))]
        sealer.write_keys(*keys)
    (key,) = keys
    if last is None or not is_signed(last.note, key.public):
        _name_first(journal, key.public)
    return key


def _name_first(journal: "Records", key: PublicKey) -> None:
    """Have the journal name its key, once.

    Raises:
        CheckpointRefused: It names another one.
    """
    named = _named(journal)
    if named is None:
        journal.note(KEY, {"key": str(key)})
    elif named != key:
        raise _refused(f"the journal is signed with the key {named.id.hex()}, and here is {key.id.hex()}")


def holders_of(journal: "Records") -> list[Holder]:
    """The keys that the journal names, in order; whether they were handed over rightly, an audit says."""
    return history(journal.log, acts(journal.notes(KEY)))[0]


def _keys(journal: "Records") -> list[PublicKey]:
    return [holder.key for holder in holders_of(journal)]


def _named(journal: "Records") -> PublicKey | None:
    """The key that the journal names last."""
    return next(reversed(_keys(journal)), None)


def _tell(config: Config, journal: "Records", sealer: Sealer, seal: Seal, *, new: bool) -> Made:
    """Tell each witness of all that it was not told yet."""
    told = dict(sealer.told())
    away: list[str] = []
    good: list[str] = []
    asked = witnesses_of(config)
    kept: Sequence[Seal] = sealer.kept().seals if asked else ()
    for witness in asked:
        rest = [it for it in kept if it.checkpoint.size > told.get(witness.name, 0)]
        try:
            if rest:
                witness.tell(rest, lambda: Grown(_keys(journal), Tree(journal.leaves()).consistency))
        except Failure as failure:
            away.append(failure.what)
        else:
            told[witness.name] = seal.checkpoint.size
            good.append(witness.name)
    if asked and told != sealer.told():
        sealer.tell(told)
    return Made(seal, new, tuple(away), tuple(good))


def rotate(config: Config, journal: "Records", *, lost: bool = False) -> PublicKey:
    """Have another key sign from here on.

    The old key signs all there is, then both sign the hand-over, which becomes a record, and the new key signs the journal with it.

    Args:
        config: The settings.
        journal: Open for writing.
        lost: The old key is gone, so only the new one signs the hand-over. Auditors must be told of it in another way.

    Raises:
        CheckpointRefused: The journal is not sound, or has no key yet.
    """
    if not lost:
        checkpoint(config, journal, thorough=True)
    sealer = sealer_of(config, journal)
    with sealer.alone() as book:
        old = None if lost else _current(sealer, journal, book.last())
        before = _named(journal)
        if before is None:
            raise CheckpointRefused("the journal has no key yet", not_done="no key was made", hint="`audit checkpoint`")
        new = PrivateKey(origin_of(journal.log), PLAIN, secrets.token_bytes(SEED))
        sealer.write_keys(*([new] if old is None else [old, new]))
        journal.note(KEY, {"key": str(new.public), "handover": handover(journal.log, old, new, before)})
        sealer.write_keys(new)
    checkpoint(config, journal)
    return new.public


class AutoKeeper:
    """Makes checkpoints while others write: at the end of what changed something, and after so many records."""

    def __init__(self, config: Config, progress: Progress) -> None:
        """Nothing is read yet."""
        self._config = config
        self._say = progress.say
        self._every = config.count("audit.every")
        self._ended = False
        self._base: int | None = None

    def wrote(self, journal: "Records", step: str) -> None:
        """Count. See `journal.store.Keeper`."""
        if step == KEY:
            return
        self._ended |= step in ENDS or not step  # of several at once it is not told what they are
        if not self._every:
            return
        last = journal.last_seq
        if self._base is None:
            self._base = sealer_of(self._config, journal).size()
        if last - self._base >= self._every:
            self._base = last
            self._make(journal)

    def closing(self, journal: "Records") -> None:
        """Sign what was done."""
        if self._ended and self._config.choice("audit.checkpoint") == "operations":
            self._make(journal)

    def _make(self, journal: "Records") -> None:
        """What was done was done: that it could not be signed is said, and tried again the next time."""
        self._ended = False
        try:
            made = checkpoint(self._config, journal)
        except Failure as failure:
            self._say(f"no checkpoint of the journal was signed: {failure.what}{_then(failure.hint)}")
        except KeyboardInterrupt:
            self._say(
                "no checkpoint of the journal was signed: interrupted; `go-cache-safeguard audit checkpoint` makes one"
            )
        else:
            for text in made.away if made is not None else ():
                self._say(f"{text}; it is told with the next checkpoint")


def _then(hint: str) -> str:
    return f"; {hint}" if hint else ""


def _refused(why: str) -> CheckpointRefused:
    return CheckpointRefused(
        f"the journal is not signed: {why}",
        not_done="no checkpoint was made; the journal is as it was",
        hint="see `go-cache-safeguard audit verify`",
    )
