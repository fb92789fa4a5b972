"""Dies at every system call of one kind that a restore makes, and looks at what is left. Works like `quarantine_driver`.

python restore_driver.py ACT CALL DIRECTORY
"""

import os
import sys
from pathlib import Path

from dying import die_at, run
from go_cache_safeguard.config.files import load_config
from go_cache_safeguard.flows.restore import restore
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.gocache.entry import Entry, parse_entry
from go_cache_safeguard.gocache.layout import output_name
from sources import MemorySource, build_files, files_below, lay_out, source_of

LIMIT = 300
FILES = build_files(pairs=3, programs=1)


def main(act: str, call: str, directory: Path) -> int:
    """Kill at the first, second, ... call until the restore comes to its end alive. Prints how often it was killed."""
    finish(directory / "warm", source_of(FILES))  # so that nothing is imported while calls are counted
    for k in range(1, LIMIT):
        base = directory / f"{k}"
        base.mkdir()
        before = begin(act, base)
        run(lambda: begin_journal(base))  # noqa: B023 - run at once
        if run(lambda: die(call, base, k)) == 0:  # noqa: B023 - run at once
            look(base, before)
            os.write(1, str(k - 1).encode())
            return 0
        look(base, before)
        # Nothing but what is whole is there; and the same command goes on to the end, though it may die, too.
        again(base)
        assert files_below(base / "cache") == before | FILES, f"after death {k}"
    return 1


def begin(act: str, base: Path) -> dict[str, bytes]:
    """An empty place, or a cache that holds other things and half of what comes."""
    if act == "empty":
        return {}
    half = dict(sorted(FILES.items())[::2]) | build_files(pairs=2, salt="other")
    lay_out(base / "cache", half)
    return half


def begin_journal(base: Path) -> None:
    """Make the journal beforehand: that is a story of its own."""
    with session_at(base).journal():
        pass


def die(call: str, base: Path, k: int) -> None:
    """Restore, unless killed."""
    source = source_of(FILES)
    session = session_at(base)
    die_at(call, k)
    restore(session, source, base / "cache", None)


def again(base: Path) -> None:
    """Run it once more, in a process of its own: what was open when we died is closed."""
    if run(lambda: finish(base, source_of(FILES))):
        raise SystemExit("it cannot be finished")


def finish(base: Path, source: MemorySource) -> None:
    """Restore to the end; every record of the journal is sound."""
    base.mkdir(exist_ok=True)
    session = session_at(base)
    assert restore(session, source, base / "cache", None).whole
    with session.journal(read_only=True) as journal:
        assert journal.verify() == []


def look(base: Path, before: dict[str, bytes]) -> None:
    """What lived lives unchanged; what came is whole; no entry names an output that is not there; nothing has an odd name."""
    cache = base / "cache"
    there = files_below(cache) if cache.exists() else {}
    assert there.items() >= before.items(), "something that lived is lost or changed"
    assert there.items() <= (before | FILES).items(), "something is half, or has an odd name"
    for name, data in there.items():
        if name.endswith("-a"):
            entry = parse_entry(data, bytes.fromhex(name[3:67]))
            assert isinstance(entry, Entry)
            output = output_name(entry.output)
            came = name not in before
            assert not came or any(other.startswith(output) for other in there), "an entry came before its output"


def session_at(base: Path) -> Session:
    """A session that keeps its journal beside the cache."""
    environ = {"HOME": f"{base}/home", "PATH": ""}
    config = load_config(environ=environ, cwd=base, home=base / "home", arguments={"state.dir": f"{base}/state"})
    return Session(config, environ, base)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
