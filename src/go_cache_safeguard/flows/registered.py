"""Modules that a person wants the module cache to be compared with.

Knows:     that they are kept as notes in the journal, so that it shows who named or forgot one, and when.
Called by: the command line's `mod register`, `mod registered` and `mod forget`; `flows.modules`.
Never:     looks into a directory: it may be away now and back tomorrow.
"""

from pathlib import Path

from go_cache_safeguard.core.errors import UsageFailure
from go_cache_safeguard.flows.session import Session

_REGISTERED, _FORGOTTEN = "module-registered", "module-forgotten"


def registered(session: Session) -> tuple[Path, ...]:
    """Directories of registered modules, in the order in which they were named.

    Raises:
        Failure: The journal cannot be read.
    """
    found: dict[str, None] = {}
    with session.journal(read_only=True) as journal:
        for record in journal.records():
            if record.step == _REGISTERED:
                found[str(record.data["directory"])] = None
            elif record.step == _FORGOTTEN:
                found.pop(str(record.data["directory"]), None)
    return tuple(map(Path, found))


def register(session: Session, directory: Path) -> bool:
    """Name a module. Returns whether it is new.

    Args:
        session: Who works.
        directory: Of its go.mod or go.work, absolute.

    Raises:
        UsageFailure: Its name is not text.
        JournalUnusable: It could not be written down.
    """
    return _note(session, _REGISTERED, directory, known=False)


def forget(session: Session, directory: Path) -> bool:
    """Forget a module. Returns whether it was registered. Raises as `register`."""
    return _note(session, _FORGOTTEN, directory, known=True)


def _note(session: Session, step: str, directory: Path, *, known: bool) -> bool:
    try:
        str(directory).encode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageFailure("the name of the directory is not text", not_done="nothing was written") from error
    if (directory in registered(session)) is not known:
        return False
    with session.journal() as journal:
        journal.note(step, {"directory": str(directory)})
    return True
