"""How one entry of the cache travels to other machines and back.

Knows:     the 92 bytes before a content, and what must be true before one is believed.
Called by: `flows.second_level`.
Never:     compresses or sends; believes a parcel of another action, of another key, or larger than it says.
Source:    the format is ours. An action's id covers all that its output depends on (cmd/go/internal/work/exec.go `buildActionID`),
           but nothing in the output proves that it belongs to that action: hence the optional seal, HMAC-SHA256 with a shared key.

A parcel: `gcs-parcel` and a zero, how it is packed (0 as it is, 1 zstd), output (32), size (8, big-endian), time in nanoseconds
(8), seal (32 bytes; zeros without a key). Then the content. The seal covers action, output, size and time, and the output's id
covers the content.
"""

from hmac import compare_digest, digest

MAGIC = b"gcs-parcel\0"
HEAD = len(MAGIC) + 1 + 32 + 8 + 8 + 32
RAW, ZSTD = 0, 1
_NO_SEAL = bytes(32)


class Parcel:
    """What came.

    Attributes:
        output: 32 bytes; the content must have this SHA-256.
        size: Of the content unpacked, in bytes.
        time_ns: When it was made.
        packed: `RAW` or `ZSTD`.
        content: As it came.
    """

    __slots__ = ("content", "output", "packed", "size", "time_ns")

    def __init__(self, output: bytes, size: int, time_ns: int, packed: int, content: bytes) -> None:
        self.output = output
        self.size = size
        self.time_ns = time_ns
        self.packed = packed
        self.content = content


def wrap(action: bytes, parcel: Parcel, key: bytes) -> bytes:
    """Make the bytes that travel.

    Args:
        action: 32 bytes.
        parcel: With its content packed already.
        key: That all machines share; empty for none.
    """
    about = parcel.output + parcel.size.to_bytes(8, "big") + parcel.time_ns.to_bytes(8, "big")
    return b"".join((MAGIC, bytes([parcel.packed]), about, _seal(action, about, key), parcel.content))


def unwrap(action: bytes, data: bytes, *, key: bytes, limit: int) -> Parcel | None:
    """Read what came; None if it is not to be believed.

    Args:
        action: 32 bytes: what was asked for.
        data: All that came.
        key: That all machines share; empty for none.
        limit: The largest content, in bytes.
    """
    if len(data) < HEAD or not data.startswith(MAGIC):
        return None
    at = len(MAGIC)
    packed, about, seal = data[at], data[at + 1 : at + 49], data[at + 49 : HEAD]
    if key and not compare_digest(seal, _seal(action, about, key)):
        return None
    size, time_ns = int.from_bytes(about[32:40], "big"), int.from_bytes(about[40:48], "big")
    if packed not in {RAW, ZSTD} or size > limit or time_ns >= 2**63:
        return None
    return Parcel(about[:32], size, time_ns, packed, data[HEAD:])


def _seal(action: bytes, about: bytes, key: bytes) -> bytes:
    return digest(key, action + about, "sha256") if key else _NO_SEAL
