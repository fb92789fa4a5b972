"""From when on test results count.

Knows:     `testexpire.txt`: what go writes there for `go clean -testcache`, and how that is taken back.
Called by: `flows.testcache`.
Never:     deletes anything: go ignores older results, and keeps them until its next trim.
Source:    cmd/go/internal/clean/clean.go (`-testcache`), cmd/go/internal/test/test.go `testCacheExpire`: decimal
           nanoseconds and a newline; without the newline, or with anything else, go ignores it. Same in go1.21.13 to go1.27.3.
"""

import fcntl
import os
import re
import stat

from go_cache_safeguard.tree.place import overwrite
from go_cache_safeguard.tree.root import open_below

NAME = "testexpire.txt"
NEVER = b"0\n"
"""What go reads as: every result counts."""
_LIMIT = 64
_SOUND = re.compile(rb"[0-9]{1,19}\n")


def read_expiry(cache: int) -> bytes:
    """What stands there, as go would count it; `NEVER` if there is nothing that go would heed.

    Args:
        cache: Open directory.

    Raises:
        OSError: It is there and cannot be read.
    """
    try:
        fd = open_below(cache, NAME, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return NEVER
    try:
        data = os.read(fd, _LIMIT) if stat.S_ISREG(os.fstat(fd).st_mode) else NEVER
    finally:
        os.close(fd)
    return data if _SOUND.fullmatch(data) else NEVER


def write_expiry(cache: int, data: bytes) -> None:
    """Write it as go does, under go's own lock.

    Raises:
        OSError: It cannot be written; a link, or a file with two names, is left as it is.
    """
    fd = open_below(cache, NAME, os.O_RDWR | os.O_NONBLOCK | os.O_CREAT, mode=0o666)
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise OSError(f"{NAME} is not a plain file and was left as it is")
        fcntl.flock(fd, fcntl.LOCK_EX)
        overwrite(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)
