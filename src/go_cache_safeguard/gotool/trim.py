"""Go's own trim, and how it is kept from eating what must stay.

Knows:     `trim.txt`: what it says, how it is written, and that go deletes what is older than five days when it is due.
Called by: `snapshot.quarantine` after putting entries back; `flows.trial` and `flows.prove` around builds of ours.
Never:     holds go's lock: that would delay the end of a build. Never creates the file for good where there was none due.
Source:    cmd/go/internal/cache/cache.go `Trim`, go1.21 to go1.27: due when `trim.txt` is absent, unreadable, more than 24 h old
           or more than 1 h in the future; runs at the end of every build, test and vet, never of `go list`. A build of ours would
           set it off, and what go trims no quarantine holds.
"""

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager

from go_cache_safeguard.tree.place import overwrite
from go_cache_safeguard.tree.root import Root, open_below

TRIM = "trim.txt"
_LIMIT = 64
"""bytes: decimal seconds are ten; whatever is longer is not what go writes, and is not kept."""


def set_trim_time(cache: int, now_ns: int) -> list[str]:
    """Tell go that the cache was trimmed just now: for 24 hours it will not trim.

    Args:
        cache: Open directory.
        now_ns: Nanoseconds since 1970-01-01 UTC.

    Returns:
        Why it could not be done; empty when it was.
    """
    return _write(cache, f"{now_ns // 10**9}".encode(), make=True)


@contextmanager
def trim_held(root: Root) -> Iterator[list[str]]:
    """Keep go from trimming for the length of a block, and leave its own plan as it was.

    Killed inside, go trims 24 hours later than it would have: nothing is lost.

    Yields:
        Why it could not be done; empty when it was.
    """
    before = _read(root.fd)
    problems = set_trim_time(root.fd, time.time_ns())
    ours = _read(root.fd)
    if before is None and not problems:
        os.chown(TRIM, root.uid, root.gid, dir_fd=root.fd, follow_symlinks=False)
    try:
        yield problems
    finally:
        if before is not None and not problems and _read(root.fd) == ours:
            _write(root.fd, before, make=False)


def _read(cache: int) -> bytes | None:
    try:
        fd = open_below(cache, TRIM, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        return os.read(fd, _LIMIT) if stat.S_ISREG(os.fstat(fd).st_mode) else None
    except OSError:
        return None
    finally:
        os.close(fd)


def _write(cache: int, data: bytes, *, make: bool) -> list[str]:
    try:
        fd = open_below(cache, TRIM, os.O_RDWR | os.O_NONBLOCK | (os.O_CREAT if make else 0), mode=0o666)
    except OSError as error:
        return [f"{TRIM} could not be opened: {error.strerror}"]
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            return [f"{TRIM} is not a plain file and was left as it is"]
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        overwrite(fd, data)
        os.fsync(fd)
    except BlockingIOError:
        return [f"{TRIM} is locked by a running go command and was left as it is"]
    except OSError as error:
        return [f"{TRIM} could not be written: {error.strerror}"]
    finally:
        os.close(fd)
    return []
