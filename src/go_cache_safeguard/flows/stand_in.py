"""A stand-in for a build cache, which go may write into while it says what it would do.

Knows:     what go looks at when it only plans: index entries, package indexes, and of an archive its size and its first page.
Called by: `flows.looking` and `flows.liveset`.
Never:     writes into the cache, or gives go a path that leads there.
Source:    measured with go1.21.13, go1.26.8 and go1.27.3: `go build -n` refreshes times, writes package indexes, with `-a` also
           source lists, and **trims** when that is due; `go list` with Stale does all of it but trim. cmd/internal/buildid
           `ReadFile` reads the first 1,024 bytes of an archive, cmd/go/internal/cache `GetFile` compares its size.

A hard link would not do: go sets times and overwrites entries in place.
"""

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.gocache.archive import HEAD
from go_cache_safeguard.gocache.classify import Kind
from go_cache_safeguard.gocache.entry import Entry
from go_cache_safeguard.gocache.inventory import Inventory, Output
from go_cache_safeguard.gocache.layout import SHARDS, TRIM, action_name, output_name
from go_cache_safeguard.tree.root import Root, open_below

NOT_NEEDED = frozenset(
    {Kind.EXECUTABLE, Kind.TEST_OUTPUT, Kind.TEST_LOG, Kind.TEST_MAIN, Kind.VET_FACTS, Kind.COVERAGE, Kind.ZIP}
)
"""Kinds of outputs that go does not look at when it plans a build."""
LARGEST = 8 << 20
"""bytes: whatever is no archive and larger than this is left out; go then makes it again, in the stand-in."""


def make_stand_in(
    session: Session,
    root: Root,
    inventory: Inventory,
    place: Path,
    *,
    made: Collection[tuple[str, str]],
    now_s: int,
    without: Collection[Kind] = NOT_NEEDED,
) -> int:
    """Fill a directory with what go needs to plan.

    Args:
        session: Who asks.
        root: The cache, open.
        inventory: What is in it.
        place: An empty directory.
        made: Pairs such as `go1.27.3` and `linux/amd64`: archives of other toolchains and targets are left out, nobody looks for them.
        now_s: The time, in seconds since 1970-01-01 UTC, so that go finds that it trimmed just now.
        without: Kinds of outputs that are left out.

    Returns:
        How many outputs could not be read: for go they are not there.
    """
    for shard in SHARDS:
        (place / shard).mkdir(exist_ok=True)  # asking go about cgo makes them
    (place / TRIM).write_text(str(now_s))
    wanted = dict(_wanted(inventory, made, without))
    session.progress.phase("copying what go looks at", len(wanted))
    unread = 0
    for done, (output, entries) in enumerate(wanted.items()):
        found = inventory.outputs[output]
        if _copy(root, found, place):
            for entry in entries:
                (place / action_name(entry.action)).write_bytes(_line(entry))
        else:
            unread += 1
        if not done % 256:
            session.progress.update(done)
    session.progress.phase("")
    return unread


def _wanted(
    inventory: Inventory, made: Collection[tuple[str, str]], without: Collection[Kind]
) -> Iterator[tuple[bytes, list[Entry]]]:
    for key, actions in inventory.references.items():
        output = inventory.outputs.get(key)
        if output is None or output.is_dir or output.kind in without or not _is_for(output, made):
            continue
        entries = (inventory.actions[action].entry for action in actions)
        yield key, [entry for entry in entries if isinstance(entry, Entry)]


def _is_for(output: Output, made: Collection[tuple[str, str]]) -> bool:
    if output.kind is not Kind.ARCHIVE:
        return output.size <= LARGEST
    return output.about is None or (output.about.version, output.about.target) in made


def _copy(root: Root, output: Output, place: Path) -> bool:
    name = output_name(output.output)
    try:
        fd = open_below(root.fd, name, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return True  # gone since it was listed: not there for go either
    except OSError:
        return False
    try:
        size = os.fstat(fd).st_size
        data = os.pread(fd, HEAD if output.kind is Kind.ARCHIVE else LARGEST, 0)
    except OSError:
        return False
    finally:
        os.close(fd)
    copy = os.open(place / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        os.write(copy, data)
        if size > len(data):
            os.pwrite(copy, b"\0", size - 1)  # a hole between: only the size matters
    finally:
        os.close(copy)
    return True


def _line(entry: Entry) -> bytes:
    return f"v1 {entry.action.hex()} {entry.output.hex()} {entry.size:20d} {entry.time_ns:20d}\n".encode("ascii")
