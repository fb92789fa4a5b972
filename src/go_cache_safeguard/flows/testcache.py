"""Make go forget its test results, and take that back.

Knows:     that `go clean -testcache` deletes nothing: it writes down a time, and the journal keeps the one that stood there.
Called by: the command line's `shim`.
Never:     starts go; changes anything before the journal has it.
"""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.gotool.testexpire import read_expiry, write_expiry
from go_cache_safeguard.tree.owner import Progress, Stop, as_owner
from go_cache_safeguard.tree.root import Root, open_root

if TYPE_CHECKING:
    from go_cache_safeguard.journal.store import Journal

_EXPIRED, _BACK = "test-results-expired", "test-results-back"


class NothingToTakeBack(Failure):
    """Test results were not expired through us, or somebody expired them again since."""

    id = "nothing-to-take-back"
    exit_code = ExitCode.TARGET
    meaning = "the time from which on test results count is not one that this program wrote"


def expire_tests(session: Session, gocache: Path) -> str:
    """Let no test result count that was made before now.

    Returns:
        What go had as that time before, decimal nanoseconds since 1970-01-01 UTC.

    Raises:
        JournalUnusable: It could not be written down, so nothing was changed.
        UnsafePath: The cache cannot be entered safely.
    """
    with open_root(gocache) as root, session.journal() as journal:
        now = f"{time.time_ns()}\n".encode()
        before = _swap(journal, root, _EXPIRED, now)
    return before.decode().strip()


def take_back(session: Session, gocache: Path) -> str:
    """Undo the last `expire_tests` of this cache. Returns the time that counts again.

    Raises:
        NothingToTakeBack: There was none, or what stands there now is not what it wrote.
    """
    with open_root(gocache) as root, session.journal() as journal:
        last = [
            note.data
            for step in (_EXPIRED, _BACK)
            for note in journal.notes(step)
            if note.data.get("identity") == root.identity
        ]
        mine = [data for data in last if str(data["now"]).encode() + b"\n" == read_expiry(root.fd)]
        if not mine:
            raise NothingToTakeBack(
                "what stands in testexpire.txt was not written by this program", not_done="nothing was changed"
            )
        before = str(mine[-1]["before"])
        _swap(journal, root, _BACK, f"{before}\n".encode())
    return before


def _swap(journal: "Journal", root: Root, step: str, data: bytes) -> bytes:
    before = read_expiry(root.fd)
    words = {"before": before.decode().strip(), "now": data.decode().strip()}
    journal.note(step, {"target": str(root.path), "identity": root.identity, **words})

    def write(_progress: Progress, _stop: Stop) -> str:
        write_expiry(root.fd, data)
        return ""

    as_owner(root.uid, root.gid, write)
    return before
