"""Dies at every system call of one kind that making a snapshot makes, and looks at what is left. Started under strace.

strace counts the calls of each thread apart and kills at the call numbered `LIMIT`. So each act runs in a process of its own, which
first makes `LIMIT - k` calls of that kind that fail, and then is killed at the k-th call that it makes in earnest: on the first thread,
or, in the acts that end in `_writer`, on one of those that write members of the archive.

    strace -f -e inject=CALL:signal=KILL:when=LIMIT python snapshot_driver.py ACT CALL DIRECTORY
"""

import ctypes
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import local

from archives import read_all
from go_cache_safeguard.config.files import load_config
from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.flows import snapshot
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.snapshot import pack
from go_cache_safeguard.snapshot.manifest import Entry, Kind
from smallcaches import SmallCache, small_cache

LIMIT = 400
_NOWHERE = 999
_LIBC = ctypes.CDLL(None)
_PIECE = 4096
"""bytes: small pieces make many writes of a small archive."""

IN_VAIN: dict[str, Callable[[], object]] = {
    "fchmod": lambda: os.fchmod(_NOWHERE, 0),
    "fsync": lambda: os.fsync(_NOWHERE),
    "ftruncate": lambda: os.ftruncate(_NOWHERE, 0),
    "renameat2": lambda: _LIBC.renameat2(_NOWHERE, b"x", _NOWHERE, b"x", 1),
    "write": lambda: os.write(_NOWHERE, b""),
    "pwrite64": lambda: os.pwrite(_NOWHERE, b"", 0),
}


def main(act: str, call: str, directory: Path) -> int:
    """Kill at the first, second, ... call until the act comes to its end alive. Prints how often it was killed."""
    for k in range(1, LIMIT):
        base = directory / f"{k}"
        base.mkdir()
        if run(lambda: begin(act, base)) != 0:  # noqa: B023 - run at once
            return 1
        code = run(lambda: die(act, call, base, k))  # noqa: B023 - likewise
        if code != -9:
            os.write(1, str(k - 1).encode())
            return code
        if run(lambda: look(base)) != 0:  # noqa: B023 - likewise
            os.write(2, f"after death {k}\n".encode())
            return 1
    return 1


def run(work: Callable[[], None]) -> int:
    """Work in a process of its own. Returns its exit code, -9 if it was killed."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 - the child must end here, whatever it is
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def session_at(base: Path) -> Session:
    environ = {"GO_CACHE_SAFEGUARD_STATE_DIR": f"{base / 'state'}", "PATH": "/usr/bin:/bin"}
    return Session(load_config(environ=environ, cwd=base, home=base, arguments={}), environ, base)


def cache_at(base: Path) -> SmallCache:
    return small_cache(base, shards=2, pairs=2, programs=1)


def begin(act: str, base: Path) -> None:
    """Make a cache and a key; and what a process left that died before, if the act takes it over."""
    cache_at(base / "cache")
    snapshot.make_key_files(base / "key")
    if act.startswith("take_over"):
        (base / "w.tar.partial").write_bytes(b"././@PaxHeader" + bytes(100_000))
        (base / "w.tar.sha256").write_bytes(b"old" * 100)
        (base / "w.tar.manifest.sig").write_bytes(b"old" * 100)


def create(base: Path) -> None:
    subject = snapshot.Subject(Kind.BUILD, base / "cache")
    snapshot.create(session_at(base), subject, base / "w.tar", compress=False, key=base / "key")


def die(act: str, call: str, base: Path, k: int) -> None:
    """Do the act, unless killed."""
    pack._ENOUGH = _PIECE

    def in_vain() -> None:
        for _ in range(LIMIT - k):
            with suppress(OSError):
                IN_VAIN[call]()

    if act.endswith("_writer"):
        true, done = pack._Lane.write, local()

        def write(lane: pack._Lane, portion: pack._Portion) -> list[Entry]:
            if not hasattr(done, "in_vain"):
                done.in_vain = True
                in_vain()
            return true(lane, portion)

        pack._Lane.write = write  # type: ignore[method-assign,assignment] # the writers' first calls must be made on their threads
    else:
        in_vain()
    create(base)


def look(base: Path) -> None:
    """Complete, or absent and to be had by doing it again; and the cache is as it was."""
    archive = base / "w.tar"
    if not archive.exists():
        create(base)
    assert not (base / "w.tar.partial").exists(), "something is left over"
    checked = snapshot.verify(session_at(base), archive, key=base / "key.pub")
    assert [verdict.outcome for verdict in checked.verdicts] == [Outcome.PASS] * 3, checked.verdicts
    live = {
        str(path.relative_to(base / "cache")): path.read_bytes()
        for path in (base / "cache").rglob("*")
        if path.is_file()
    }
    assert read_all(archive) == live
    assert cache_at(base / "again").contents.keys() <= {name.removesuffix("/tool") for name in live}


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
