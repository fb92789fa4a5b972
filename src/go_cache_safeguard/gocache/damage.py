"""What can be wrong with a cache, and what `go` would do with it.

Knows:     the kinds of damage, their effect on the next build, how bad each is, and what to take away to cure it.
Called by: `gocache.fsck` makes findings; flows, renderers and the door read them.
Never:     exaggerates: what heals by itself says so, and what could not be read is UNKNOWN.
Source:    effects as seen with go1.21.13, go1.24.11, go1.26.8 and go1.27.3 after damaging one file at a time;
           cmd/go/internal/cache/cache.go: `GetFile` and `GetMmap` compare sizes only, `GetBytes` compares SHA-256.
"""

from dataclasses import dataclass
from enum import StrEnum

from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.gocache.classify import Kind


class Effect(StrEnum):
    """What the next `go` command would do, worst first."""

    SILENTLY_WRONG = "go builds or runs something wrong and does not say so"
    BUILD_FAILS_FOREVER = "builds fail until the entry is taken away"
    UNKNOWN = "what go would do cannot be told"
    REBUILDS_EVERY_TIME = "go rebuilds it every time"
    HEALS_ITSELF = "go rebuilds it once"
    HARMLESS = "nothing happens"


class Wrong(StrEnum):
    """What is wrong. The value is the id that scripts see."""

    CONTENT = "content"
    REPOINTED = "repointed-entry"
    CONTENT_ID = "content-id"
    SIZE = "size"
    ENTRY = "malformed-entry"
    DANGLING = "dangling-entry"
    PROGRAM_MODE = "program-not-executable"
    PROGRAM_SHAPE = "program-directory"
    NOT_REGULAR = "not-a-regular-file"
    ORPHAN = "orphan"
    IN_PROGRESS = "in-progress"
    UNREADABLE = "unreadable"


SEVERITY = {
    Effect.SILENTLY_WRONG: Outcome.BLOCK,
    Effect.BUILD_FAILS_FOREVER: Outcome.BLOCK,
    Effect.REBUILDS_EVERY_TIME: Outcome.WARN,
    Effect.HEALS_ITSELF: Outcome.WARN,
    Effect.HARMLESS: Outcome.PASS,
    Effect.UNKNOWN: Outcome.UNKNOWN,
}
"""How bad each effect is."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        name: Path below the root of the file that is wrong.
        kind: What is wrong with it.
        package: Import path (of a cached program: its name), or None when nothing tells it.
        toolchain: `go1.27.3`, or None.
        target: `linux/amd64`, or None.
        effect: What `go` would do with it.
        severity: How bad that is.
        text: One sentence.
        evict: Paths below the root that a repair moves to quarantine, index entries before outputs; maybe none.
    """

    name: str
    kind: Wrong
    package: str | None
    toolchain: str | None
    target: str | None
    effect: Effect
    severity: Outcome
    text: str
    evict: tuple[str, ...] = ()


_VERIFIED = frozenset({Kind.EMPTY, Kind.SOURCE_LIST, Kind.TEST_OUTPUT, Kind.TEST_LOG, Kind.COMPILER, Kind.JSON})
"""Kinds that `go` reads with `GetBytes`, which compares SHA-256: damage is a miss."""
_FAILING = frozenset({Kind.INDEX, Kind.VET_FACTS})
"""Kinds that `go` decodes without comparing: most damage makes every command fail."""


def effect_of_content(kind: Kind, *, readable: bool) -> Effect:
    """What `go` does with an output of the right size and the wrong bytes.

    Args:
        kind: What the output is, or was.
        readable: Its beginning and end still are what that kind's are; an archive of zeros is not, and if nothing else
            tells, what ends in zeros was one, as 99 % of all bytes are.
    """
    if kind in _VERIFIED:
        return Effect.HEALS_ITSELF
    if kind in _FAILING or (kind in (Kind.ARCHIVE, Kind.OTHER) and not readable):
        return Effect.BUILD_FAILS_FOREVER
    return Effect.SILENTLY_WRONG
