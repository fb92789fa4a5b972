"""Dies at every system call of one kind that making a snapshot makes, on any of its threads, and looks at what is left.

Works like `quarantine_driver`.

    python snapshot_driver.py ACT CALL DIRECTORY
"""

import os
import sys
from pathlib import Path

from archives import read_all
from dying import die_at, load, run
from go_cache_safeguard.config.files import load_config
from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.flows import snapshot
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.snapshot import pack
from go_cache_safeguard.snapshot.manifest import Kind
from smallcaches import SmallCache, small_cache

LIMIT = 400
_PIECE = 4096
"""bytes: small pieces make many writes of a small archive."""


def main(act: str, call: str, directory: Path) -> int:
    """Kill at the first, second, ... call until the act comes to its end alive. Prints how often it was killed."""
    load()
    for k in range(1, LIMIT):
        base = directory / f"{k}"
        base.mkdir()
        run(lambda: begin(act, base))  # noqa: B023 - run at once
        if run(lambda: die(call, base, k)) == 0:  # noqa: B023 - likewise
            os.write(1, str(k - 1).encode())
            return 0
        if run(lambda: look(base)):  # noqa: B023 - likewise
            os.write(2, f"after death {k}\n".encode())
            return 1
    return 1


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


def die(call: str, base: Path, k: int) -> None:
    """Do the act, unless killed."""
    pack._ENOUGH = _PIECE

    die_at(call, k)
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
