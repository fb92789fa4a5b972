"""Is every output what its name says it is?

Knows:     what each effect of damage means for whoever builds, and what to run against it.
Called by: `flows`, with the findings of `gocache.fsck` counted by effect.
Never:     hashes or reads an entry.
Source:    experiments with go1.21.13, go1.24.11, go1.27.3: go checks the size of an archive, not its content, so a flipped byte is
           linked without a word; a malformed index entry is rebuilt without a word.
"""

from dataclasses import dataclass

from go_cache_safeguard.core.check import Check
from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.gocache.checks.tally import Tally

CHECK = Check(
    id="integrity",
    title="content of every output",
    question="Does the content of every output have the SHA-256 that its name says, and does every index entry fit its output?",
    blind_spot="It proves that the bytes are those that were stored, not that whoever stored them was honest.",
)

_REPAIR = ("go-cache-safeguard fsck --repair",)
_NONE = Tally()


@dataclass(frozen=True, slots=True)
class IntegrityFacts:
    """Findings of one fsck, counted by what they do to a build.

    Attributes:
        outputs: How many outputs should have been looked at; those of a build in progress are not among them.
        hashed: How many were read and hashed now.
        trusted: How many were hashed before and have not changed since, by size, time and inode.
        wrong: Damage that go builds into a program without a word.
        failing: Damage that makes builds fail until it is removed.
        healing: Damage that go notices and rebuilds.
        unreadable: What could not be read.
    """

    outputs: int
    hashed: int
    trusted: int
    wrong: Tally = _NONE
    failing: Tally = _NONE
    healing: Tally = _NONE
    unreadable: Tally = _NONE


def judge(facts: IntegrityFacts) -> Verdict:
    """The worst effect decides; what was not looked at is not sound, it is unknown."""
    looked = f"{facts.hashed} outputs were hashed now, {facts.trusted} before and are unchanged, of {facts.outputs}"
    found = (
        (Outcome.BLOCK, facts.wrong, "entries that go would build into programs without a word", _REPAIR),
        (Outcome.BLOCK, facts.failing, "entries that make builds fail until they are removed", _REPAIR),
        (Outcome.UNKNOWN, facts.unreadable, "entries that could not be read", ("go-cache-safeguard check",)),
        (Outcome.UNKNOWN, _missed(facts), "outputs that were not looked at", ("go-cache-safeguard fsck --all",)),
        (Outcome.WARN, facts.healing, "damaged entries that go rebuilds by itself", _REPAIR),
    )
    problems = [(outcome, tally.line(what), remedy) for outcome, tally, what, remedy in found if tally]
    if not problems:
        return Verdict(CHECK.id, Outcome.PASS, "every output is what its name says", (looked,))
    return Verdict(
        check=CHECK.id,
        outcome=problems[0][0],
        summary=problems[0][1],
        evidence=(*(line for _, line, _ in problems), looked),
        remedy=tuple(dict.fromkeys(line for _, _, remedy in problems for line in remedy)),
    )


def _missed(facts: IntegrityFacts) -> Tally:
    seen = facts.hashed + facts.trusted + facts.unreadable.count
    return Tally(max(0, facts.outputs - seen))
