"""Stand in front of go in PATH, and go away again.

Knows:     where the small `go` lies, how the real one is found, and what a cache was like when its guarding began.
Called by: the command line's `shim`; `flows.vanished` reads what was noted.
Never:     overwrites a program that is not ours, or changes PATH: it says what to put into the shell's own file.
"""

import json
import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

from go_cache_safeguard import __version__
from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.flows.inspect import look
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.gotool.complaint import GoMissing
from go_cache_safeguard.gotool.shimscript import MARK, is_ours, make_script
from go_cache_safeguard.tree.root import open_root

GUARDED = "cache-guarded"
"""Step of the journal's note about what a cache was like when its guarding began."""
_GO = "go"
_MOST = 1 << 16


class ShimInTheWay(Failure):
    """Something else is where the small `go` would be."""

    id = "shim-in-the-way"
    exit_code = ExitCode.TARGET
    meaning = "a program that is not ours stands where the shim would be, or the place cannot be written"


@dataclass(frozen=True, slots=True)
class Standing:
    """How things are.

    Attributes:
        folder: Where the shim is, or would be.
        installed: It is there.
        first: It is what the shell finds as `go` now.
        real: The go that it hands on to; None if there is none in PATH.
        current: It is as this version would write it.
    """

    folder: Path
    installed: bool
    first: bool
    real: Path | None
    current: bool

    def as_value(self) -> dict[str, Value]:
        """For `--json`."""
        return {
            "folder": str(self.folder),
            "installed": self.installed,
            "first_in_path": self.first,
            "real_go": None if self.real is None else str(self.real),
            "current": self.current,
        }


def default_folder(session: Session) -> Path:
    """Where it lies unless somebody says otherwise: with the user's own data, not in our state directory."""
    data = session.environ.get("XDG_DATA_HOME", "")
    base = Path(data) if data.startswith("/") else session.home / ".local" / "share"
    return base / "go-cache-safeguard" / "shim"


def own_command() -> tuple[str, ...]:
    """How this very program is started again; `-P` keeps the current directory out of what Python imports from."""
    return (sys.executable, "-P", "-m", "go_cache_safeguard")


def standing(session: Session, folder: Path) -> Standing:
    """Look."""
    folders = [Path(word) for word in session.environ.get("PATH", "").split(os.pathsep) if word.startswith("/")]
    programs = [one / _GO for one in folders if (one / _GO).is_file() and os.access(one / _GO, os.X_OK)]
    text = _text(folder / _GO)
    return Standing(
        folder,
        installed=is_ours(text),
        first=bool(programs) and programs[0].parent.resolve() == folder.resolve() and is_ours(text),
        real=next((one for one in programs if not (one.parent / MARK).exists()), None),
        current=text == make_script(own_command()),
    )


def install(session: Session, folder: Path) -> Standing:
    """Write the small `go`, and note what the cache is like today.

    Args:
        session: Who works.
        folder: Where, absolute; made if need be.

    Raises:
        ShimInTheWay: Another program is there, or the place cannot be written.
        GoMissing: There is no go that it could hand on to.
        JournalUnusable: It could not be written down, so nothing was written.
    """
    before = standing(session, folder)
    if before.real is None:
        raise GoMissing("no go command is in PATH", not_done="nothing was written", hint="install Go 1.21 or later")
    if not before.installed and os.path.lexists(folder / _GO):
        raise ShimInTheWay(
            f"{folder / _GO} is not a shim of ours", not_done="nothing was written", hint="choose another --dir"
        )
    _note_guarded(session)
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        _write(folder, MARK, json.dumps({"version": __version__, "command": own_command()}) + "\n", 0o644)
        _write(folder, _GO, make_script(own_command()), 0o755)
    except OSError as error:
        raise ShimInTheWay(
            f"{folder} cannot be written: {error.strerror}", not_done="the shim is not in place"
        ) from error
    return standing(session, folder)


def remove(folder: Path) -> bool:
    """Take it away. Returns whether there was one.

    Raises:
        ShimInTheWay: What is there is not ours, or cannot be removed.
    """
    if not is_ours(_text(folder / _GO)):
        if os.path.lexists(folder / _GO):
            raise ShimInTheWay(f"{folder / _GO} is not a shim of ours", not_done="nothing was removed")
        return False
    try:
        (folder / _GO).unlink()
        (folder / MARK).unlink(missing_ok=True)
    except OSError as error:
        raise ShimInTheWay(f"{folder / _GO} cannot be removed: {error.strerror}") from error
    return True


def _note_guarded(session: Session) -> None:
    """From here on a cache that is gone is missed, see `flows.vanished`."""
    gocache = session.gocache()
    if not gocache.exists():
        return
    with open_root(gocache) as root:
        inventory = look(session, root).inventory
    known: dict[str, Value] = {
        "target": str(gocache),
        "identity": inventory.identity,
        "files": inventory.files,
        "bytes": inventory.size,
        "fuzz": inventory.fuzz.files,
    }
    with session.journal() as journal:
        journal.note(GUARDED, known)


def _text(path: Path) -> str:
    """The beginning of a plain file; empty for anything else."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return ""
        with path.open("rb") as file:
            return file.read(_MOST).decode("utf-8", "replace")
    except OSError:
        return ""


def _write(folder: Path, name: str, text: str, mode: int) -> None:
    """Replace a file in one step: a shell may be reading the old one."""
    new = folder / f".{name.lstrip('.')}.new"
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        os.fchmod(handle, mode)
        file.write(text)
        file.flush()
        os.fsync(handle)
    new.replace(folder / name)
