"""The `h1:` hash of a module, as it stands in go.sum and beside a zip.

Knows:     how names and digests of files become one hash.
Called by: `gomod.verify`; `gomod.read` for the hash of a `.mod` file.
Never:     reads a file: it is given names and digests.
Source:    golang.org/x/mod/sumdb/dirhash/hash.go `Hash1`; cmd/go/internal/modfetch/fetch.go `goModSum`; read in go1.21.13,
           go1.26.8 and go1.27.3, same rules. What it gives was compared with the go.sum that each of them wrote.
"""

from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha256


def hash1(files: Iterable[tuple[bytes, bytes]]) -> str:
    """The hash of a set of files.

    Args:
        files: Pairs: the whole name, `module@version/path`, and the 32 bytes of the content's SHA-256. In any order.

    Returns:
        `h1:` and 44 characters of base64.

    Raises:
        ValueError: A name holds a line end, which Go refuses, too: two sets of files could have the same hash.
    """
    total = sha256()
    for name, digest in sorted(files):
        if b"\n" in name:
            raise ValueError(f"{name!r} holds a line end")
        total.update(b"%s  %s\n" % (digest.hex().encode("ascii"), name))
    return "h1:" + b64encode(total.digest()).decode("ascii")


def hash_go_mod(content: bytes) -> str:
    """The hash of a go.mod file, as the `/go.mod` line of go.sum has it."""
    return hash1([(b"go.mod", sha256(content).digest())])
