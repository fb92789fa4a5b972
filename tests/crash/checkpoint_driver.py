"""Dies at every system call of one kind while a checkpoint is made, or a key is exchanged, and looks at what is left.

Works like `quarantine_driver`.
"""

import sys
from collections.abc import Callable
from pathlib import Path

from auditing import audited, session_at, write_notes
from crash.quarantine_driver import Steps, main
from dying import die_at
from go_cache_safeguard.core.errors import ExitCode
from go_cache_safeguard.flows.checkpoint import checkpoint, rotate
from go_cache_safeguard.flows.session import Session


def session_of(root: Path) -> Session:
    return session_at(root.parent, audit__witnesses=f"file:{root.parent}/kept.lines")


def begin(act: str, root: Path) -> None:
    """Make a journal; for all acts but the first, one that is signed already."""
    root.parent.mkdir(parents=True)
    session = session_of(root)
    write_notes(session, 3)
    if act != "first":
        with session.journal() as journal:
            checkpoint(session.config, journal)
    write_notes(session, 2)


def die(act: str, call: str, root: Path, k: int) -> None:
    """Sign, unless killed."""
    session = session_of(root)
    work: Callable[..., object] = rotate if act == "rotate" else checkpoint
    with session.journal() as journal:
        die_at(call, k)
        work(session.config, journal)


def look(_act: str, root: Path) -> None:
    """Nothing is broken; the next checkpoint works, and then nothing is in doubt."""
    session = session_of(root)
    found = audited(session)
    assert found.breaks == (), found.breaks
    write_notes(session, 1)
    with session.journal() as journal:
        made = checkpoint(session.config, journal, thorough=True)
    assert made is not None
    assert made.away == ()
    found = audited(session)
    assert (found.code, found.breaks, found.doubts) == (ExitCode.DONE, (), ()), found
    assert found.signed == found.records
    assert len(list((root.parent / "state" / "checkpoints").glob("*.key"))) == 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), Steps(begin, die, look)))
