"""Which action an output says it was made by.

Knows:     where in an archive, and in a program, the first half of the build ID stands.
Called by: `gocache.native`, when it proves a content.
Never:     opens a file. An output that says nothing, like a test's log, may be the answer to any action.
Source:    cmd/go/internal/work/buildid.go: that half is base64url of the first 15 bytes of the action, go1.21 to go1.27.
"""

from base64 import urlsafe_b64decode

from go_cache_safeguard.gocache.archive import build_id_at

HEAD = 4096
"""bytes that an archive's header fits into."""


def seal_of(head: bytes) -> bytes | None:
    """The first 15 bytes of the action, or None.

    Args:
        head: The first `HEAD` bytes of the output, or all.
    """
    found = build_id_at(head)
    return None if found is None else urlsafe_b64decode(found[0][:20])
