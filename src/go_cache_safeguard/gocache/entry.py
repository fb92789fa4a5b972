"""What one index entry of the Go build cache says.

Knows:     the 175 bytes of an `<action>-a` file, and each way they can be wrong.
Called by: `gocache.disk`, which reads the bytes; `gocache.inventory` and `gocache.fsck` hold what it answers.
Never:     opens a file, asks the time, logs.
Source:    cmd/go/internal/cache/cache.go, `get` and `putIndexEntry`; same text go1.21.13 to go1.27.3.
"""

import re
from binascii import unhexlify
from dataclasses import dataclass
from enum import Enum

ENTRY_SIZE = 175
"""bytes: `v1 ` + 64 hex + space + 64 hex + space + 20 digits + space + 20 digits + newline."""

_ENTRY = re.compile(
    rb"""v1
    [ ] (?P<action>[0-9a-fA-F]{64})
    [ ] (?P<output>[0-9a-fA-F]{64})
    [ ] (?=.{20}[ ]) [ ]*(?P<size>[+-]?[0-9]+)  # padded on the left to 20 bytes
    [ ] (?=.{20}\n) [ ]*(?P<time>[+-]?[0-9]+)   # likewise
    \n""",
    re.VERBOSE,
)
_INT64_MAX = 2**63 - 1


class Damage(Enum):
    """Why `go` would treat an entry as absent. The value is what we tell the reader."""

    EMPTY = "the file is empty"
    SHORT = f"the file ends before byte {ENTRY_SIZE}"
    LONG = f"the file goes on after byte {ENTRY_SIZE}"
    MALFORMED = "a field is not where, or not what, the format says"
    OTHER_ACTION = "the entry names another action than its file name does"
    OUT_OF_RANGE = "size or time is negative or above 2**63 - 1"


@dataclass(slots=True, unsafe_hash=True)
class Entry:
    """One action and the output it produced. Nobody changes one; see `gocache.inventory` for why it is not frozen.

    Attributes:
        action: 32 bytes, SHA-256 of everything the build step depends on.
        output: 32 bytes, SHA-256 of the content of the `<output>-d` file.
        size: Length of that file, in bytes.
        time_ns: When the entry was written, in nanoseconds since 1970-01-01 UTC.
    """

    action: bytes
    output: bytes
    size: int
    time_ns: int


def parse_entry(data: bytes, action: bytes) -> Entry | Damage:
    """Read an index entry exactly as `go` does.

    Damage is a result, not an exception: a cache with a damaged entry is a normal thing to
    look at, and `go` itself only rebuilds what the entry stood for.

    Args:
        data: The whole content of the file.
        action: 32 bytes, taken from the file's name.

    Returns:
        The entry, or the first reason for which `go` would not accept it.
    """
    if not data:
        return Damage.EMPTY
    if len(data) < ENTRY_SIZE:
        return Damage.SHORT
    if len(data) > ENTRY_SIZE:
        return Damage.LONG
    fields = _ENTRY.fullmatch(data)
    if fields is None:
        return Damage.MALFORMED
    # unhexlify, not bytes.fromhex: the latter skips spaces, which `go` does not.
    if unhexlify(fields["action"]) != action:
        return Damage.OTHER_ACTION
    size, time_ns = int(fields["size"]), int(fields["time"])
    if not (0 <= size <= _INT64_MAX and 0 <= time_ns <= _INT64_MAX):
        return Damage.OUT_OF_RANGE
    return Entry(action, unhexlify(fields["output"]), size, time_ns)
