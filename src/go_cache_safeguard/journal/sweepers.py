"""A long journal read by several processes.

Knows:     that a run of records can be checked without those before it, and put together afterwards (`journal.sweep`).
Called by: `journal.store`.
Never:     opens the journal a second time in the process that has it open (its locks would be lost); outlives who asked.
Source:    https://sqlite.org/howtocorrupt.html section 2.2; prctl(2) PR_SET_PDEATHSIG. Helpers are started anew (`spawn`): a copy of a
           process that has a database open must not use it.
"""

import ctypes
import os
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

from go_cache_safeguard.journal.law import Act
from go_cache_safeguard.journal.sweep import Run, sweep

Packed: TypeAlias = tuple[Run, list[tuple[Any, ...]]]
"""A run on its way to another process: plain tuples take a third of the time."""
_PDEATHSIG = 1
_BATCH = 1000
_FIRST = -(1 << 63)
_RUNS = 4
"""Runs for each processor, so that none has long to wait for the other."""


def sweep_all(path: Path, last: int) -> list[Run]:
    """Sweep a journal, several runs at once.

    Args:
        path: The SQLite file.
        last: Number of the last record.

    Returns:
        All runs in order; none at all if one of them is not surely right.
    """
    from concurrent.futures import BrokenExecutor  # noqa: PLC0415 - rarely needed
    from concurrent.futures.process import ProcessPoolExecutor  # noqa: PLC0415 - heavy, and rarely needed
    from multiprocessing import get_context  # noqa: PLC0415 - likewise

    workers = min(8, len(os.sched_getaffinity(0)))
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_begin) as pool:
        begun = [pool.submit(sweep_part, path, *part) for part in parts(last, workers * _RUNS)]
        try:
            runs = [part.result() for part in begun]
        except (BrokenExecutor, sqlite3.Error):
            return []  # killed, for example for want of memory: then the journal is read here, slowly
        finally:
            pool.shutdown(cancel_futures=True)
    return [_unpacked(run) for run in runs if run is not None] if None not in runs else []


def _unpacked(packed: Packed) -> Run:
    run, acts = packed
    return run._replace(acts=[Act._make(it) for it in acts])


def parts(last: int, count: int) -> list[tuple[int, int]]:
    """Cut the numbers up to `last` into so many runs; the first one begins below 1, where no row should be."""
    edges = [last * at // count for at in range(1, count + 1)]
    return [(low + 1 if low else _FIRST, high) for low, high in zip([0, *edges], edges, strict=False) if high > low]


def sweep_part(path: Path, low: int, high: int) -> Packed | None:
    """Sweep the rows of these numbers; runs in a helper process."""
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=30, isolation_level=None)
    try:
        run = sweep(rows_between(db, low, high))
        return None if run is None else (run._replace(acts=[]), [tuple(it) for it in run.acts])
    finally:
        db.close()


def rows_between(db: sqlite3.Connection, low: int, high: int) -> Iterator[tuple[int, str | None, bytes, bytes]]:
    """Rows as they are stored, a batch at a time, so that no read transaction stays open.

    Args:
        db: The journal.
        low: Number of the first row.
        high: Number of the last one.
    """
    query = "SELECT seq, op, body, hash FROM record WHERE seq >= ? AND seq <= ? ORDER BY seq LIMIT ?"
    while batch := db.execute(query, (low, high, _BATCH)).fetchall():
        yield from batch
        if len(batch) < _BATCH:
            return
        low = batch[-1][0] + 1


def _begin() -> None:
    """In a helper: die with who asked, and leave Ctrl-C to them."""
    ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
