"""The locks that go holds while it downloads or extracts module versions.

Knows:     which file go locks, and how.
Called by: `flows.site`, while module versions are moved.
Never:     removes a lock file: go leaves them, too. Never writes into one.
Source:    cmd/go/internal/modfetch/cache.go `lockVersion`; cmd/go/internal/lockedfile/internal/filelock/filelock_unix.go: flock(2);
           read in go1.21.13 and go1.27.3. Who merely builds from a tree takes no lock.
"""

import fcntl
import os
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.tree.owner import Progress, Stop, as_owner
from go_cache_safeguard.tree.root import Root, open_below

_NONE = os.O_NONBLOCK


class ModulesBusy(Failure):
    """A go command is at work on a module version."""

    id = "modules-busy"
    exit_code = ExitCode.LOCKED
    meaning = "a go command downloads or extracts a module version that was to be moved"


@contextmanager
def hold_module_locks(root: Root, names: Iterable[str], *, wait_s: float) -> Iterator[None]:
    """Hold go's own locks for the length of a block; the kernel frees them however we end.

    The owner makes the files; we only read them, so that a name planted there cannot make root write anywhere.

    Args:
        root: The module cache.
        names: Lock files, relative to it. Where there is no directory for one, go cannot be at work either.
        wait_s: Seconds to wait for all of them.

    Raises:
        ModulesBusy: Somebody holds one.
    """
    wanted = sorted(set(names))

    def make(_tell: Progress, _stopped: Stop) -> Value:
        for name in wanted:
            with suppress(OSError):
                os.close(open_below(root.fd, name, os.O_RDWR | os.O_CREAT | _NONE, mode=0o666))
        return None

    as_owner(root.uid, root.gid, make)
    deadline = time.monotonic() + wait_s
    with ExitStack() as held:
        for name in wanted:
            try:
                fd = open_below(root.fd, name, os.O_RDONLY | _NONE)
            except FileNotFoundError:
                continue
            held.callback(os.close, fd)
            if stat.S_ISREG(os.fstat(fd).st_mode):
                _wait(fd, name, deadline)
        yield


def _wait(fd: int, name: str, deadline: float) -> None:
    while True:
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                raise ModulesBusy(
                    f"a go command is at work on {name.removesuffix('.lock')}",
                    not_done="nothing was moved, or everything was put back",
                    hint="try again when it has ended",
                ) from error
            time.sleep(0.05)
