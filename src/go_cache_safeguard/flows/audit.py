"""The whole audit of a journal: chain, keys, checkpoints, witnesses, histories; and what could not be found out.

Knows:     which questions are asked of a journal, in which order, and which exit code tells which kind of trouble.
Called by: the command line's `audit verify`.
Never:     changes anything; takes a witness that is away for one that agrees; blames one edit twice: as long as the chain is broken
           nothing that builds on it is judged.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from go_cache_safeguard.config.resolve import Config
from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.errors import ExitCode, Failure, UsageFailure
from go_cache_safeguard.flows.checkpoint import sealer_of
from go_cache_safeguard.flows.witness_chat import witnesses_of
from go_cache_safeguard.flows.witnesses import ELSEWHERE, WitnessAway, read_copy
from go_cache_safeguard.journal.chain import Break, BreakKind
from go_cache_safeguard.journal.checkpoint import origin_of
from go_cache_safeguard.journal.keys import Holder, history
from go_cache_safeguard.journal.law import broken_glasses, judge, votes_seen
from go_cache_safeguard.journal.merkle import Tree
from go_cache_safeguard.journal.note import PublicKey, parse_public
from go_cache_safeguard.journal.retire import earlier
from go_cache_safeguard.journal.seal import Seal, judge_seal
from go_cache_safeguard.journal.sealer import Sealer

if TYPE_CHECKING:
    from go_cache_safeguard.journal.records import Examined, Records

_BESIDE = "the journal"
_CODES = {
    BreakKind.FORKED: ExitCode.JOURNAL_FORKED,
    BreakKind.SIGNATURE: ExitCode.JOURNAL_SIGNATURE,
    BreakKind.ROLLED_BACK: ExitCode.JOURNAL_SHORTER,
    BreakKind.TRUNCATED: ExitCode.JOURNAL_SHORTER,
    BreakKind.UNAPPROVED: ExitCode.UNLAWFUL,
    BreakKind.OWN: ExitCode.UNLAWFUL,
    BreakKind.SPENT: ExitCode.UNLAWFUL,
    BreakKind.DIGEST: ExitCode.UNLAWFUL,
}
_WORST = (
    ExitCode.JOURNAL_FORKED,
    ExitCode.JOURNAL_SIGNATURE,
    ExitCode.JOURNAL_TAMPERED,
    ExitCode.JOURNAL_SHORTER,
    ExitCode.UNLAWFUL,
)


@dataclass(frozen=True, slots=True)
class Audit:
    """What came out.

    Attributes:
        records: How many there are.
        root: 64 hexadecimal digits, of the tree over them; empty if the chain is broken.
        breaks: What is wrong, by number.
        doubts: What could not be found out: none of it is a yes.
        notes: What else a person should know.
        checkpoints: How many are kept beside the journal.
        signed: How many records the newest of them covers.
        agree: Names of the witnesses that were asked, and of how many records they know.
        key: The key that signs now, as text; empty if there is none.
        votes: How many approvals of people there are, and how many of them say which evidence was seen.
    """

    records: int
    root: str
    breaks: tuple[Break, ...]
    doubts: tuple[str, ...]
    notes: tuple[str, ...]
    checkpoints: int = 0
    signed: int = 0
    agree: tuple[tuple[str, int], ...] = ()
    key: str = ""
    votes: tuple[int, int] = (0, 0)

    def as_value(self) -> dict[str, Value]:
        """For `--json`."""
        return {
            "records": self.records,
            "root": self.root,
            "breaks": [{"seq": it.seq, "kind": str(it.kind), "text": it.text} for it in self.breaks],
            "whole": not self.breaks,
            "doubts": list(self.doubts),
            "notes": list(self.notes),
            "checkpoints": self.checkpoints,
            "signed": self.signed,
            "key": self.key,
            "votes": {"all": self.votes[0], "evidence_seen": self.votes[1]},
            "witnesses": [{"name": name, "records": size} for name, size in self.agree],
        }

    @property
    def code(self) -> ExitCode:
        """The exit code for the worst of it."""
        codes = {_CODES.get(it.kind, ExitCode.JOURNAL_TAMPERED) for it in self.breaks}
        found = next((code for code in _WORST if code in codes), ExitCode.DONE)
        return ExitCode.COULD_NOT_TELL if found is ExitCode.DONE and self.doubts else found


def audit(config: Config, journal: "Records", *, pinned: Sequence[PublicKey] = (), seen: Sequence[Path] = ()) -> Audit:
    """Audit a journal.

    Args:
        config: The settings.
        journal: Open.
        pinned: Keys that the auditor knows; one of them must be the journal's.
        seen: Files with checkpoints that somebody kept: lines of a system's log, of a chat, or of a file witness.
    """
    return _audit(config, journal, journal.examine(), pinned, seen)


def audit_rest(config: Config, journal: "Records") -> Audit:
    """Audit a journal whose head is lost, as if it were not; the break that it is stays."""
    examined = journal.examine(headless=True)
    return _audit(config, journal, examined, (), ())


def _audit(
    config: Config, journal: "Records", examined: "Examined", pinned: Sequence[PublicKey], seen: Sequence[Path]
) -> Audit:
    if examined.breaks:
        doubt = "the chain is broken, so keys, checkpoints, witnesses and approvals were not judged"
        return Audit(examined.count, "", examined.breaks, (doubt,), ())
    pinned = [*pinned, *keys_in(config.text("audit.keys"))]
    before = {it.log for it in earlier(next(iter(journal.records()), None))}
    found = _Findings(examined, sealer_of(config, journal), pinned, before)
    if not journal.is_made:
        found.doubts.append(f"{str(journal.path)!r} is not there: nothing was done yet, or all of it was taken away")
    found.beside()
    found.witnesses(config, seen)
    alone = config.choice("approval.self") != "never"
    found.breaks += judge(examined.acts, alone=alone)
    found.notes += _of_glasses(examined)
    return found.audit()


def _of_glasses(examined: "Examined") -> Iterator[str]:
    """What went on in an emergency, and was not reviewed or not found good."""
    for glass in broken_glasses(examined.acts):
        text = f"{glass.op} went on in an emergency in record {glass.seq} ({glass.who}: {glass.reason})"
        if not glass.finding:
            due = datetime.fromtimestamp(glass.review_by_s, UTC).strftime("%Y-%m-%d")
            yield f"{text}: nobody has reviewed it, which was to be done by {due} (`ops review {glass.op}`)"
        elif glass.finding != "justified":
            yield f"{text}: the review found that {glass.finding.replace('-', ' ')}"


def keys_in(words: str) -> list[PublicKey]:
    """Public keys that a setting or an option names.

    Raises:
        UsageFailure: A word is none.
    """
    keys = []
    for word in words.split():
        key = parse_public(word)
        if key is None:
            raise UsageFailure(
                f"{word!r} is not a public key", not_done="nothing was verified", hint="`audit key show` prints it"
            )
        keys.append(key)
    return keys


class _Findings:
    """What is found, piece by piece, of a journal whose chain is whole."""

    def __init__(
        self, examined: "Examined", sealer: Sealer, pinned: Sequence[PublicKey], before: Collection[str]
    ) -> None:
        self._examined = examined
        self._before = before
        self._sealer = sealer
        self._tree = Tree(examined.leaves)
        self._origin = origin_of(examined.log)
        self._holders: Sequence[Holder]
        self._holders, self.breaks = history(examined.log, examined.acts, pinned)
        self.doubts: list[str] = []
        self.notes: list[str] = []
        self._kept: tuple[Seal, ...] = ()
        self._agree: list[tuple[str, int]] = []
        if pinned and not self._holders:
            self.doubts.append("the journal was never signed, so your key says nothing about it")

    def beside(self) -> None:
        """The checkpoints beside the journal."""
        try:
            kept, others = self._sealer.kept(), self._sealer.others()
        except Failure as failure:
            self.doubts.append(failure.what)
            return
        self._kept = kept.seals
        for at, why in kept.damage:
            text = f"line {at} of the kept checkpoints was changed: {why}"
            self.breaks.append(Break(0, BreakKind.SIGNATURE, text))
        self._judge(kept.seals, _BESIDE)
        if self._holders and not kept.seals:
            self.doubts.append("the journal names a key that signs it, and no checkpoint lies beside it")
        if kept.torn:
            self.notes.append("the last line of the kept checkpoints was not finished and counts for nothing")
        self.doubts += [
            f"checkpoints of another journal ({log}) lie beside this one: was that one taken away?"
            for log in others
            if log not in self._before  # the journal tells of these itself, and that they are exported
        ]

    def witnesses(self, config: Config, seen: Sequence[Path]) -> None:
        """What others have kept."""
        told = self._sealer.told()
        asked = witnesses_of(config)
        for path in seen:
            self._hear(str(path), partial(self._look, path), 0)
        copied = max((size for _, size in self._agree), default=0)
        for witness in asked:
            size = told.get(witness.name, 0)
            if not (seen and witness.name in ELSEWHERE):
                self._hear(witness.name, partial(witness.seen, self._origin), size)
            elif copied < size:
                text = f"witness {witness.name} was told of {size} records, and the files that were handed in know of {copied}"
                self.doubts.append(f"{text}: was the end not copied, or cut off?")
        if not asked and not seen:
            self.notes.append(
                "nobody but this directory knows how long the journal was: whoever can write all of it can cut or rewrite it unseen"
                " (setting audit.witnesses)"
            )

    def _look(self, path: Path) -> Sequence[Seal]:
        """Checkpoints in a copy that somebody handed in, and what was done to it."""
        copy = read_copy(path, self._origin)
        if copy.damaged:
            self.doubts.append(f"{path}: checkpoints there were cut or changed and cannot be read: {copy.damaged}")
        sizes = [seal.checkpoint.size for seal in copy.seals]
        if sizes not in (sorted(sizes), sorted(sizes, reverse=True)):
            self.notes.append(f"{path}: checkpoints there do not stand in the order in which they were signed")
        return copy.seals

    def _hear(self, name: str, ask: Callable[[], Sequence[Seal]], told: int) -> None:
        try:
            seals = ask()
        except WitnessAway as failure:
            self.doubts.append(failure.what)
            return
        known = max((seal.checkpoint.size for seal in seals), default=0)
        self._judge(seals, name)
        self._agree.append((name, known))
        if known < told:
            self.doubts.append(f"witness {name} was told of {told} records, and knows of {known}")
        elif not seals:
            self.doubts.append(f"witness {name} knows no checkpoint of this journal")

    def _judge(self, seals: Sequence[Seal], where: str) -> None:
        self.breaks += _each_kind_once(
            judge_seal(seal, self._origin, self._holders, self._tree, where) for seal in seals
        )

    def audit(self) -> Audit:
        """All of it."""
        return Audit(
            records=self._examined.count,
            root=self._tree.root(self._tree.size).hex(),
            breaks=tuple(sorted(self.breaks, key=lambda it: it.seq)),
            doubts=tuple(self.doubts),
            notes=tuple(self.notes),
            checkpoints=len(self._kept),
            signed=max((seal.checkpoint.size for seal in self._kept), default=0),
            agree=tuple(self._agree),
            key=str(self._holders[-1].key) if self._holders else "",
            votes=votes_seen(self._examined.acts),
        )


def _each_kind_once(found: Iterator[Break | None]) -> Iterator[Break]:
    """The first of each kind: all later checkpoints are wrong for the same reason."""
    told: set[BreakKind] = set()
    for it in found:
        if it is not None and it.kind not in told:
            told.add(it.kind)
            yield it
