"""Read, hash and judge module versions: all at once, and none that is known to be as it was.

Knows:     which module versions need not be read again, and that a finding is always made of what was read just now.
Called by: `flows.modules`.
Never:     judges by what is remembered alone when that is not good: then everything of the version is read.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TypeAlias

from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.gomod.buildlist import Wanted
from go_cache_safeguard.gomod.index import RACY_NS, Known, ModuleIndex
from go_cache_safeguard.gomod.layout import Version
from go_cache_safeguard.gomod.read import Marks, marks_of, read_copy
from go_cache_safeguard.gomod.readers import ZipKnown, readers
from go_cache_safeguard.gomod.sumfile import Pin
from go_cache_safeguard.gomod.verify import Copy, Finding, Totals, is_pinned, judge_copy, recall, sums_of

Pins: TypeAlias = Mapping[tuple[str, str], tuple[Pin, ...]]


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of one module version.

    Attributes:
        copy: What was read, or is remembered.
        findings: What is wrong with it.
        unchanged: Nothing of it was read, because nothing of it has changed.
    """

    copy: Copy
    findings: tuple[Finding, ...]
    unchanged: bool = False


def judge_versions(
    session: Session, root: int | None, wanted: Sequence[Wanted], pins: Pins, *, everything: bool
) -> tuple[list[Finding], Totals]:
    """Verify module versions. Their content is forgotten at once, so memory stays small.

    Args:
        session: Who asks.
        root: Open GOMODCACHE; None if there is none.
        wanted: Which ones, and why.
        pins: What the go.sum files demand.
        everything: Read every byte, whatever is remembered.
    """
    todo = list(dict.fromkeys(wanted))
    memory = _Memory(session, root, time.time_ns(), everything=everything)
    session.progress.phase("hashing modules", len(todo))
    totals = Totals()
    found: dict[int, tuple[Finding, ...]] = {}
    for at, judged in memory.judge_all(todo, pins):
        found[at] = judged.findings
        pinned = is_pinned(judged.copy.version, pins)
        totals = totals.plus(judged.copy, pinned=pinned, unchanged=judged.unchanged)
        session.progress.update(totals.versions, totals.size)
    session.progress.phase("")
    memory.save()
    return [finding for at in sorted(found) for finding in found[at]], totals


@dataclass(slots=True)
class _Memory:
    """What is known of a module cache, and what is learnt."""

    session: Session
    root: int | None
    began_ns: int
    everything: bool = field(kw_only=True)
    index: ModuleIndex | None = field(init=False, default=None)
    known: dict[Version, Known] = field(init=False, default_factory=dict)
    news: list[tuple[Version, Known]] = field(init=False, default_factory=list)
    gone: list[Version] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        if self.root is None:
            return
        found = os.fstat(self.root)
        name = sha256(f"{found.st_dev}:{found.st_ino}".encode()).hexdigest()[:16]
        try:
            folder = self.session.state_folder("modules")
        except OSError:
            return  # looking needs no state of ours: then nothing is remembered
        self.index = ModuleIndex(folder / f"{name}.sqlite", f"{found.st_dev}:{found.st_ino}")
        self.known = self.index.load()

    def judge_all(self, todo: Sequence[Wanted], pins: Pins) -> Iterator[tuple[int, Judged]]:
        """Every module version, with its place in the list: first those that need not be read."""
        to_read = []
        for at, wanted in enumerate(todo):
            judged = self._unread(wanted, pins)
            if judged is None:
                to_read.append((at, wanted))
            else:
                yield at, judged
        if self.root is not None:
            yield from self._read_all(self.root, to_read, pins)

    def _read_all(self, root: int, to_read: Sequence[tuple[int, Wanted]], pins: Pins) -> Iterator[tuple[int, Judged]]:
        with readers(root, len(to_read)) as crew:
            reading = {crew.begin(wanted.version, self._zip_known(wanted)): (at, wanted) for at, wanted in to_read}
            for done in as_completed(list(reading)):
                at, wanted = reading.pop(done)
                copy, marks = crew.end(done, wanted.version, self._zip_known(wanted))
                findings = judge_copy(copy, pins, wanted.need)
                if findings and copy.remembered:
                    copy, marks = read_copy(root, wanted.version)
                    findings = judge_copy(copy, pins, wanted.need)
                self._learn(copy, marks, self.known.get(wanted.version))
                yield at, Judged(copy, findings)

    def _unread(self, wanted: Wanted, pins: Pins) -> Judged | None:
        """A module version that needs not be read, because there is none or it is as it was and was good; None for any other."""
        if self.root is None:
            copy = Copy(wanted.version)
            return Judged(copy, judge_copy(copy, pins, wanted.need))
        known = self.known.get(wanted.version)
        if known is None or self.everything or not self._unchanged(wanted.version, known):
            return None
        copy = recall(wanted.version, known.sums)
        return None if judge_copy(copy, pins, wanted.need) else Judged(copy, (), unchanged=True)

    def _zip_known(self, wanted: Wanted) -> ZipKnown:
        known = self.known.get(wanted.version)
        return (known.sums.sha, known.sums.zip) if known and known.sums.sha and known.sums.zip else None

    def save(self) -> None:
        """Write down what was learnt."""
        if self.index is not None:
            self.index.save(self.news, self.gone)

    def _unchanged(self, version: Version, known: Known) -> bool:
        marks = None if self.root is None else marks_of(self.root, version)
        return marks is not None and marks.digest == known.marks

    def _learn(self, copy: Copy, marks: Marks | None, known: Known | None) -> None:
        sums = sums_of(copy)
        if sums is not None and marks is not None and marks.newest_ns < self.began_ns - RACY_NS:
            self.news.append((copy.version, Known(marks.digest, sums)))
        elif known is not None:
            self.gone.append(copy.version)
