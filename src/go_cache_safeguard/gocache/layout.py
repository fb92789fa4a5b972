"""Which name in a Go build cache is what.

Knows:     the names of entries, shards and special files, how a cache is told from any other directory, and `trim.txt`.
Called by: `gocache.disk`, the planners and the snapshots: whatever turns an id into a name or back.
Never:     accepts a name that `go` would not write: what is not known is foreign, and foreign things are never touched.
Source:    cmd/go/internal/cache/cache.go (`Open`, `fileName`, `Trim`) and default.go (`initDefaultCache`, `cacheREADME`),
           read in go1.21.13 and go1.27.3.
"""

import re
from binascii import unhexlify
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

ENTRY_NAME = re.compile(r"(?P<shard>[0-9a-f]{2})/(?P<id>(?P=shard)[0-9a-f]{62})-(?P<suffix>[ad])")
"""A path below the root that `go` itself gives to an index entry (`a`) or an output (`d`). Use `fullmatch`."""

FUZZ_NAME = re.compile(r"fuzz/(?:[^/\0]+/)*Fuzz[^/\0]*/[0-9a-f]{16,64}")
"""A path below the root of an input that fuzzing found: import path, name of the fuzz test, and the beginning of its SHA-256
(cmd/go/internal/test/test.go `-test.fuzzcachedir`, internal/fuzz/fuzz.go `writeToCorpus`). Use `fullmatch`."""

SHARDS = tuple(f"{number:02x}" for number in range(256))
README = "README"
TRIM = "trim.txt"
TEST_EXPIRE = "testexpire.txt"
FUZZ = "fuzz"
LOG = "log.txt"
SPECIAL = frozenset({README, TRIM, TEST_EXPIRE, FUZZ, LOG})
"""Names at the top that `go` gives besides shards. `fuzz` is the user's: it cannot be rebuilt, and goes only when asked for by name."""

_README_BEGIN = b"This directory holds cached build artifacts from the Go build system.\n"
"""First line in every version; the last one names golang.org up to go1.24 and go.dev from go1.25."""
_FILE = re.compile(r"([0-9a-f]{64})-([ad])")


class NotBecause(StrEnum):
    """Why a directory is not taken for a Go build cache."""

    NOTHING = "it has neither the README that go writes nor any shard directory"
    NO_PROOF = "it has shard directories but neither the README that go writes nor one well-formed entry"
    FEW_SHARDS = "it has no README that go writes, and some of the 256 shard directories are missing"
    OTHER_README = "its README is not the one that go writes, and there is no other proof"


@dataclass(frozen=True, slots=True)
class IsCache:
    """A Go build cache.

    Attributes:
        empty: There is no shard, as after `go clean -cache`.
        missing_shards: How many of the 256 are not there; `go` makes them again when it needs them.
        readme: Whether the README is the one that go writes.
    """

    empty: bool
    missing_shards: int
    readme: bool


@dataclass(frozen=True, slots=True)
class NotACache:
    """Anything else.

    Attributes:
        because: What is missing.
    """

    because: NotBecause


Identity: TypeAlias = IsCache | NotACache


def identify(
    top_names: Collection[str], readme: bytes | None, shard_count: int | None = None, *, has_entry: bool = False
) -> Identity:
    """Tell a Go build cache from any other directory.

    Args:
        top_names: Every name directly below the root.
        readme: Content of its README (or the beginning, 256 bytes suffice); None if there is none.
        shard_count: How many of the shard names are directories; None to believe the names.
        has_entry: Whether at least one well-formed index entry was seen.
    """
    shards = sum(name in top_names for name in SHARDS) if shard_count is None else shard_count
    if readme is not None and is_readme(readme):
        return IsCache(empty=shards == 0, missing_shards=len(SHARDS) - shards, readme=True)
    if shards == len(SHARDS) and has_entry:
        return IsCache(empty=False, missing_shards=0, readme=False)
    if shards == len(SHARDS):
        return NotACache(NotBecause.NO_PROOF)
    if shards:
        return NotACache(NotBecause.FEW_SHARDS)
    return NotACache(NotBecause.NOTHING if readme is None else NotBecause.OTHER_README)


def is_readme(data: bytes) -> bool:
    """Whether this is the README that `go` writes, in any of its wordings; the first 256 bytes suffice."""
    return data.startswith(_README_BEGIN)


def action_name(action: bytes) -> str:
    """Path below the root of an index entry.

    Args:
        action: 32 bytes.
    """
    digits = action.hex()
    return f"{digits[:2]}/{digits}-a"


def output_name(output: bytes) -> str:
    """Path below the root of an output.

    Args:
        output: 32 bytes.
    """
    digits = output.hex()
    return f"{digits[:2]}/{digits}-d"


def parse_name(name: str) -> tuple[bytes, str] | None:
    """Id (32 bytes) and suffix (`a` or `d`) of a path below the root; None if it is foreign."""
    match = ENTRY_NAME.fullmatch(name)
    return None if match is None else (unhexlify(match["id"]), match["suffix"])


def parse_file(shard: str, name: str) -> tuple[bytes, str] | None:
    """The same for a name inside a shard: `parse_name` for those who look at a hundred thousand."""
    match = _FILE.fullmatch(name)
    if match is None or not name.startswith(shard):
        return None
    digits, suffix = match.groups()
    return unhexlify(digits), suffix


def parse_trim(data: bytes) -> int | None:
    """When `go` last trimmed, in nanoseconds since 1970-01-01 UTC; None if `go` could not read it either.

    Args:
        data: Content of `trim.txt`: decimal seconds, with spaces around at most.
    """
    match = re.fullmatch(rb"[+-]?[0-9]{1,18}", data.strip())
    return None if match is None else int(match[0]) * 1_000_000_000


def printable(name: str) -> str:
    """A file's name as it can be shown: control characters, blanks that are not, and what is no UTF-8 as escapes."""
    if name.isascii() and name.isprintable() and "\\" not in name:
        return name
    return "".join(_escape(char) for char in name)


def _escape(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8 (PEP 383)
        return f"\\x{code - 0xDC00:02x}"
    if char == "\\":
        return "\\\\"
    return char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
