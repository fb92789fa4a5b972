"""Module versions read at once by several processes.

Knows:     that Python's threads do not help here: most files are small, and the interpreter's lock passes to and fro for each of them
           (535 versions, 100,000 files, two processors: 8.9 s alone, 6.6 s with two threads, 4.8 s with two processes).
Called by: `flows.versions`.
Never:     starts a process for a few versions, or outlives who asked: a reader dies with its parent.
Source:    prctl(2) PR_SET_PDEATHSIG. Readers are started anew (`spawn`), because a copy of a process with threads may hang.
"""

import ctypes
import os
import signal
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from go_cache_safeguard.gomod.layout import Version
from go_cache_safeguard.gomod.read import Marks, read_copy
from go_cache_safeguard.gomod.verify import Copy

MANY = 64
"""Versions from which on processes pay: to start one takes as long as reading about ten."""
_PDEATHSIG = 1
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

ZipKnown: TypeAlias = tuple[bytes, str] | None
"""See `read.read_copy`."""
Read: TypeAlias = tuple[Copy, Marks | None]
_ROOTS: list[int] = []
"""In a reader's process: the open GOMODCACHE."""


class Readers:
    """Reads module versions, several at once."""

    def __init__(self, root: int, pool: Executor, *, apart: bool) -> None:
        self._root = root
        self._pool = pool
        self._apart = apart

    def begin(self, version: Version, zip_known: ZipKnown) -> Future[Read]:
        """Have a version read; see `read.read_copy`."""
        if not self._apart:
            return self._pool.submit(read_copy, self._root, version, zip_known)
        try:
            return self._pool.submit(_read_apart, version, zip_known)
        except BrokenExecutor as error:
            broken: Future[Read] = Future()
            broken.set_exception(error)
            return broken

    def end(self, reading: Future[Read], version: Version, zip_known: ZipKnown) -> Read:
        """What was read. If the reader was killed, for example for want of memory, it is read here."""
        try:
            return reading.result()
        except BrokenExecutor:
            return read_copy(self._root, version, zip_known)


@contextmanager
def readers(root: int, count: int) -> Iterator[Readers]:
    """Get readers.

    Args:
        root: Open GOMODCACHE.
        count: How many versions there are to read.
    """
    apart = count >= MANY and _processors() > 1
    pool = _processes(root) if apart else ThreadPoolExecutor(min(2, _processors()))
    try:
        yield Readers(root, pool, apart=apart)
    finally:
        pool.shutdown(cancel_futures=True)


def _processors() -> int:
    return min(8, len(os.sched_getaffinity(0)))


def _processes(root: int) -> Executor:
    from concurrent.futures.process import ProcessPoolExecutor  # noqa: PLC0415 - heavy, and rarely needed
    from multiprocessing import get_context  # noqa: PLC0415 - likewise

    found = os.fstat(root)
    place = str(Path(f"/proc/self/fd/{root}").readlink())
    arguments = (place, found.st_dev, found.st_ino)
    return ProcessPoolExecutor(
        _processors(), mp_context=get_context("spawn"), initializer=_begin_apart, initargs=arguments
    )


def _begin_apart(place: str, device: int, inode: int) -> None:
    """In a reader's process: enter the very directory that the parent has open, and leave Ctrl-C to the parent."""
    ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    root = os.open(place, _DIRECTORY)
    found = os.fstat(root)
    if (found.st_dev, found.st_ino) != (device, inode):
        raise RuntimeError("the module cache was replaced by another directory")
    _ROOTS.append(root)


def _read_apart(version: Version, zip_known: ZipKnown) -> Read:
    return read_copy(_ROOTS[0], version, zip_known)
