"""Look at everything this program stands on, and say what would stop it.

Knows:     which tools, files and system calls each part needs.
Called by: the command line's `doctor`.
Never:     repairs anything; each answer names the exact step that would.
"""

import os
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path

from go_cache_safeguard.core.errors import Failure
from go_cache_safeguard.core.lifecycle import UNFINISHED
from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.flows.inspect import look
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.vanished import ask_vanished
from go_cache_safeguard.gotool.processes import scan_go_processes
from go_cache_safeguard.tree.root import open_root


def examine(session: Session, given: Path | None) -> list[Verdict]:
    """Ask every part whether it could work now.

    Args:
        session: Who asks.
        given: `--gocache`, if any.
    """
    questions: tuple[tuple[str, Callable[[], Verdict]], ...] = (
        ("python", _python),
        ("go", lambda: _go(session)),
        ("cache", lambda: _cache(session, given)),
        ("processes", lambda: _processes(session, given)),
        ("state", lambda: _state(session)),
        ("vanished", lambda: ask_vanished(session, session.gocache(given), time.time())),
        ("journal", lambda: _journal(session)),
    )
    return [_guarded(name, question) for name, question in questions]


def _guarded(name: str, question: Callable[[], Verdict]) -> Verdict:
    try:
        return question()
    except Failure as failure:
        remedy = (failure.hint,) if failure.hint else ()
        return Verdict(name, Outcome.BLOCK, failure.what, remedy=remedy)
    except OSError as error:
        return Verdict(name, Outcome.UNKNOWN, str(error))


def _python() -> Verdict:
    version = ".".join(map(str, sys.version_info[:3]))
    return Verdict(
        "python", Outcome.PASS, f"Python {version}, SQLite {sqlite3.sqlite_version}, Linux {os.uname().release}"
    )


def _go(session: Session) -> Verdict:
    found = session.go_env
    evidence = (f"GOROOT {found.root}", f"GOCACHE {found.cache}", f"GOMODCACHE {found.modcache}")
    summary = f"{found.version} at {session.go.executable}"
    if found.cacheprog:
        why = "GOCACHEPROG is set: what go builds may lie elsewhere than in the directory that is checked"
        return Verdict("go", Outcome.WARN, f"{summary}; {why}", evidence)
    return Verdict("go", Outcome.PASS, summary, evidence)


def _cache(session: Session, given: Path | None) -> Verdict:
    path = session.gocache(given)
    if not path.exists():
        return Verdict("cache", Outcome.WARN, f"{path} does not exist: nothing was cached yet")
    with open_root(path) as root:
        inspection = look(session, root)
        disk = os.fstatvfs(root.fd)
    free = disk.f_bavail * disk.f_frsize * 100 // max(1, disk.f_blocks * disk.f_frsize)
    summary = f"{path}: {inspection.inventory.files:,} files, {free}% of its disk are free"
    return Verdict("cache", Outcome.WARN if free < 5 else Outcome.PASS, summary)


def _processes(session: Session, given: Path | None) -> Verdict:
    scan = scan_go_processes(session.gocache(given))
    lines = (*(f"pid {one.pid}: {one.command}" for one in scan.found), *scan.notes)
    blind = f"; {scan.blind} processes of others hide their files" if scan.blind else ""
    return Verdict("processes", Outcome.PASS, f"{len(scan.found)} go commands use the cache now{blind}", lines)


def _state(session: Session) -> Verdict:
    folder = session.state_dir
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        remedy = (f"mkdir -p {folder}, or choose another with --state-dir or the setting state.dir",)
        return Verdict(
            "state", Outcome.BLOCK, f"{there} is not writable for you, so no journal can be kept", remedy=remedy
        )
    free = shutil.disk_usage(there).free
    outcome = Outcome.WARN if free < 64 << 20 else Outcome.PASS
    return Verdict("state", outcome, f"{folder}: writable, {free >> 20:,} MiB free")


def _journal(session: Session) -> Verdict:
    with session.journal(read_only=True) as journal:
        none, breaks = not journal.path.exists(), journal.verify()
        unfinished = [found.id for found in journal.operations() if found.state in UNFINISHED]
    if breaks:
        lines = tuple(f"record {one.seq}: {one.kind}: {one.text}" for one in breaks[:5])
        return Verdict("journal", Outcome.BLOCK, f"the journal was changed: {len(breaks)} breaks", lines)
    if unfinished:
        remedy = ("go-cache-safeguard recover",)
        return Verdict("journal", Outcome.WARN, f"{len(unfinished)} operations did not end", tuple(unfinished), remedy)
    return Verdict("journal", Outcome.PASS, "there is none yet; the first operation starts it" if none else "whole")
