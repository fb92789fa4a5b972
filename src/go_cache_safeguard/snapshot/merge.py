"""What a restore would do with each file of a snapshot, given what the cache holds now.

Knows:     the rules of merging: the same is skipped, what lives is kept, what does not belong is refused; and how old a
           restored file may look.
Called by: `flows.restore`, which brings the manifest, what was seen in the cache, and who may enter it.
Never:     replaces anything: there is no rule that overwrites a live file, so a restore can be repeated and can run beside builds.
Source:    cmd/go/internal/cache/cache.go `Trim`, `used` (go1.21 to go1.27): what was not used for 5 days goes; an index entry
           that go wrote since the snapshot is the newer truth, as the last `Put` is for go itself.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple, TypeAlias

from go_cache_safeguard.snapshot.manifest import Entry, Manifest

_DAY_NS = 86_400 * 10**9

Rule: TypeAlias = Callable[[Entry], str | None]
"""Why an entry is not written, a few words; None when the rule has nothing against it."""


class Step(StrEnum):
    """What happens to one file of the snapshot."""

    WRITE = "write"
    SKIP = "skip"
    KEEP = "keep"
    OMIT = "omit"
    REFUSE = "refuse"


class Live(NamedTuple):
    """What stands under a name in the cache now.

    Attributes:
        size: Bytes; None when it is no plain file, or cannot be looked at.
        sha256: Of its content, 64 hexadecimal digits; None when it was not read, because its size tells enough.
    """

    size: int | None
    sha256: str | None = None


class Choice(NamedTuple):
    """What happens to one file, and why.

    Attributes:
        entry: The file, as the manifest has it.
        step: What happens.
        why: A few words; empty when it is simply written.
    """

    entry: Entry
    step: Step
    why: str = ""


@dataclass(frozen=True)
class Merge:
    """A restore that was decided on and not done.

    Attributes:
        choices: One for each entry of the manifest, in its order.
    """

    choices: tuple[Choice, ...]

    @cached_property
    def counts(self) -> Mapping[Step, int]:
        """How many files meet each fate."""
        return Counter(choice.step for choice in self.choices)

    @cached_property
    def size(self) -> int:
        """Bytes that would be written."""
        return sum(choice.entry.size for choice in self.of(Step.WRITE))

    def of(self, step: Step) -> Iterator[Choice]:
        """Those that meet one fate, in the manifest's order."""
        return (choice for choice in self.choices if choice.step is step)


def plan_merge(manifest: Manifest, live: Mapping[str, Live], *, omitted: Rule, refused: Rule) -> Merge:
    """Decide about every file of a snapshot.

    Args:
        manifest: What the snapshot says it holds.
        live: What was seen in the cache; names that are not there are free.
        omitted: What is never restored although it is sound.
        refused: What does not belong into such a cache.
    """
    return Merge(
        tuple([_choose(entry, live.get(entry.name), omitted=omitted, refused=refused) for entry in manifest.entries])
    )


def _choose(entry: Entry, live: Live | None, *, omitted: Rule, refused: Rule) -> Choice:
    if why := omitted(entry):
        return Choice(entry, Step.OMIT, why)
    if why := refused(entry):
        return Choice(entry, Step.REFUSE, why)
    if live is None:
        return Choice(entry, Step.WRITE)
    if live.size is None:
        return Choice(entry, Step.KEEP, "the cache has something else than a plain file there")
    if (live.size, live.sha256) == (entry.size, entry.sha256):
        return Choice(entry, Step.SKIP, "it is there already")
    return Choice(entry, Step.KEEP, "the cache has another one, which is newer or damaged")


def stamp_of(mtime_ns: int, now_ns: int) -> int:
    """The modification time that a restored file gets, in nanoseconds since 1970-01-01 UTC.

    Its own when that is less than a day ago; else it counts as used now, so that go's next trim leaves it.

    Args:
        mtime_ns: What it had.
        now_ns: The present.
    """
    return mtime_ns if now_ns - _DAY_NS <= mtime_ns <= now_ns else now_ns
