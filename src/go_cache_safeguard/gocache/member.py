"""Which files may be brought into a Go build cache from outside.

Knows:     names that go gives, what such a name promises about its content, and what is better made anew than brought back.
Called by: `flows.restore` passes these rules to the merge.
Never:     believes a name: an output whose hash is not its name is no output.
Source:    cmd/go/internal/cache/cache.go `fileName`, `PutExecutable`, `putIndexEntry`; default.go `initDefaultCache`; read in
           go1.21.13 and go1.27.3. Programs lie in `<id>-d/<name>` from go1.24.
"""

import re
from collections.abc import Callable

from go_cache_safeguard.gocache.entry import ENTRY_SIZE, Damage, parse_entry
from go_cache_safeguard.gocache.layout import (
    ENTRY_NAME,
    FUZZ,
    LOG,
    README,
    TEST_EXPIRE,
    TRIM,
    output_name,
    parse_name,
)

_PROGRAM = re.compile(r"(?P<output>[0-9a-f]{2}/[0-9a-f]{64}-d)/[^/]+")
_README_LIMIT = 4096
"""bytes: go's README has about 220."""

_OWN = {
    TRIM: "a restored cache gets a new one",
    TEST_EXPIRE: "go keeps it, and an old one would bring expired test results back",
    LOG: "no go that we know writes it",
}


def why_omitted(name: str, *, fuzz: bool) -> str | None:
    """Why a sound file stays out, or None.

    Args:
        name: Path below the root of the cache.
        fuzz: Whether fuzz inputs were asked for.
    """
    if name.startswith(f"{FUZZ}/") and not fuzz:
        return "fuzz inputs come back only when asked for"
    return _OWN.get(name)


def why_refused(name: str, size: int, sha256: str) -> str | None:
    """Why a file has no place in a build cache, or None.

    Args:
        name: Path below the root of the cache; harmless as a path, see `snapshot.manifest.refusal`.
        size: Bytes that it is said to have.
        sha256: Hash that it is said to have, 64 lower-case hexadecimal digits.
    """
    if name == README:
        return None if size <= _README_LIMIT else "go's README is shorter"
    if name.startswith(f"{FUZZ}/"):
        return None
    program = _PROGRAM.fullmatch(name)
    entry = ENTRY_NAME.fullmatch(program["output"] if program else name)
    if entry is None:
        return "go gives no such name in a build cache"
    if entry["suffix"] == "d":
        return None if entry["id"] == sha256 else "its name is not its hash"
    return None if size == ENTRY_SIZE else f"an index entry has {ENTRY_SIZE} bytes"


def is_index(name: str) -> bool:
    """Whether a name is that of an index entry: those come last, after the outputs that they name."""
    return name.endswith("-a") and ENTRY_NAME.fullmatch(name) is not None


def is_program(name: str) -> bool:
    """Whether a name is that of a cached program, which must be executable."""
    return _PROGRAM.fullmatch(name) is not None


def why_bad_index(name: str, data: bytes, size_of: Callable[[str], int | None]) -> str | None:
    """Why an index entry must not be written, or None.

    Args:
        name: Its path below the root, see `is_index`.
        data: Its content.
        size_of: Bytes of an output (of a cached program: of the program) in the cache now; None when it is not there.
    """
    parsed = parse_name(name)
    if parsed is None:
        return "it is no index entry"
    entry = parse_entry(data, parsed[0])
    if isinstance(entry, Damage):
        return entry.value
    found = size_of(output_name(entry.output))
    if found is None:
        return "the output that it names is not in the cache"
    return None if found == entry.size else "the output that it names has another size"
