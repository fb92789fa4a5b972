"""Carry a build cache from one CI job to the next: only what the last one used, signed, with times that count.

Knows:     how what a job used is told from the rest, what a parcel consists of, and how it is put back.
Called by: the command line's `ci pack` and `ci unpack`.
Never:     removes anything; believes a parcel that is not signed where a key is demanded.
Source:    cmd/go/internal/cache/cache.go `used`: go marks what it uses by its time, at most once an hour; so what `unpack` made three
           hours old and is young now was used since. go1.21 to go1.27.

A parcel is a directory: `cache.tar.zst` and what `snapshot create` writes beside it, and `times.json` with `times.json.sig`.
"""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.errors import ExitCode, Failure, UsageFailure
from go_cache_safeguard.flows.ci_times import give_back, times_of
from go_cache_safeguard.flows.inspect import look
from go_cache_safeguard.flows.interrupt import at_once
from go_cache_safeguard.flows.liveset import live_set
from go_cache_safeguard.flows.restore import Restored, open_source, restore
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.snapshot import (
    Created,
    SignatureBad,
    SnapshotNotWritten,
    Subject,
    create,
    private_key,
    read_key,
)
from go_cache_safeguard.gocache.entry import Entry
from go_cache_safeguard.gocache.filetimes import MOST, FileTime, TimesBad, read_times, write_times
from go_cache_safeguard.gocache.inventory import Inventory
from go_cache_safeguard.gocache.layout import README, TRIM, action_name, output_name
from go_cache_safeguard.snapshot.manifest import Kind
from go_cache_safeguard.snapshot.outfile import NewFolder, filled_or_absent
from go_cache_safeguard.snapshot.restore import refresh
from go_cache_safeguard.snapshot.signature import is_signed, sign
from go_cache_safeguard.tree.root import open_root

ARCHIVE, TIMES, TIMES_SIGNATURE = "cache.tar.zst", "times.json", "times.json.sig"
UNPACKED = "ci-unpacked"
"""Step of the journal's note about what was made old, and when."""
_OLD_NS = 3 * 3600 * 10**9
"""nanoseconds: more than the hour within which go does not mark again, and less than anybody's trim."""


class ParcelBad(Failure):
    """A parcel is not one that `ci pack` made."""

    id = "parcel-bad"
    exit_code = ExitCode.TARGET
    meaning = "what `ci unpack` was given is no parcel of `ci pack`, or was changed"


@dataclass(frozen=True, slots=True)
class Parcel:
    """What was packed.

    Attributes:
        created: The archive.
        entries: Index entries in it.
        outputs: Outputs in it.
        size: Bytes of both, before compression.
        left: Bytes of the cache that are not in it.
        files: Files of the project whose times are kept.
        how: How it is known what was used.
    """

    created: Created
    entries: int
    outputs: int
    size: int
    left: int
    files: int
    how: str

    def as_value(self) -> dict[str, Value]:
        """For `--json`."""
        return {
            "parcel": str(self.created.path.parent),
            "manifest": self.created.manifest.root,
            "signed": self.created.signed,
            "entries": self.entries,
            "outputs": self.outputs,
            "bytes": self.size,
            "packed_bytes": self.created.size,
            "left_bytes": self.left,
            "times": self.files,
            "how": self.how,
        }


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What was put back.

    Attributes:
        restored: Into the cache.
        times: Files of the project that have the time that stored tests know.
        other: Files of the table that are not there, or have another content.
    """

    restored: Restored
    times: int
    other: int

    def as_value(self) -> dict[str, Value]:
        """For `--json`."""
        return {**self.restored.as_value(), "times": self.times, "other_files": self.other}


def pack(
    session: Session,
    gocache: Path,
    parcel: Path,
    *,
    project: Path,
    commands: Sequence[tuple[str, ...]] = (),
    key: Path | None = None,
) -> Parcel:
    """Pack what was used.

    Args:
        session: Who asks.
        gocache: The cache, resolved.
        parcel: A directory that is not there yet.
        project: Whose files keep their times.
        commands: Go commands without `go`, whose needs are found by rehearsing; empty: what was used since `unpack`.
        key: File with a private key to sign with.

    Raises:
        UsageFailure: The directory is there.
        SnapshotNotWritten: The disk is full or fails; nothing is left.
    """
    if os.path.lexists(parcel):
        raise UsageFailure(f"{parcel} is there already", not_done="nothing was written", hint="name a new directory")
    with open_root(gocache) as root:
        inventory = look(session, root).inventory
        live, how = _live(session, gocache, inventory, project, commands)
        names = _names(inventory, live)
        times = write_times(times_of(root, inventory, live, project))
    small = {TIMES: times} | ({} if key is None else {TIMES_SIGNATURE: sign(private_key(session, key), times)})
    subject = Subject(Kind.BUILD, gocache, inventory.identity, names)
    with at_once(), filled_or_absent(parcel) as folder:
        _write(folder, small)
        created = create(session, subject, parcel / ARCHIVE, compress=True, key=key)  # the last to have its name
    packed = created.manifest.entries
    size = sum(entry.size for entry in packed)
    return Parcel(
        created,
        entries=sum(entry.name.endswith("-a") for entry in packed),
        outputs=sum("/" in entry.name and not entry.name.endswith("-a") for entry in packed),
        size=size,
        left=max(0, inventory.size - size),
        files=len(read_times(times)),
        how=how,
    )


def unpack(session: Session, parcel: Path, gocache: Path, *, project: Path, key: Path | None = None) -> Unpacked:
    """Put a parcel back: merge it into the cache, make what is there old enough to be marked, and give files their times.

    Args:
        session: Who asks.
        parcel: Its directory.
        gocache: The cache, resolved; made when it is not there.
        project: Whose files get their times back.
        key: File with the public key that must have signed it.

    Raises:
        SignatureBad: It must be signed, and is not.
        ParcelBad: It is none, or its table of times is none of ours.
        Failure: See `flows.restore.restore`.
    """
    table = _table(parcel, key)
    with open_source(session, str(parcel / ARCHIVE), key=key) as source:
        restored = restore(session, source, gocache, None)
        names = [entry.name for entry in source.manifest.entries if "/" in entry.name]
    old_ns = time.time_ns() - _OLD_NS
    with open_root(gocache) as root:
        refresh(root, names, now_ns=old_ns, every=True)
        noted: dict[str, Value] = {"target": str(gocache), "identity": root.identity, "old_ns": old_ns}
    with session.journal() as journal:
        journal.note(UNPACKED, {**noted, "snapshot": restored.planned.snapshot})
    given, other = give_back(project, table)
    return Unpacked(restored, given, other)


def _write(folder: NewFolder, files: Mapping[str, bytes]) -> None:
    try:
        for name, data in files.items():
            folder.write(name, data)
    except OSError as error:
        raise SnapshotNotWritten(
            f"{folder.path} cannot be written: {error.strerror}", not_done="no parcel was made"
        ) from error


def _table(parcel: Path, key: Path | None) -> tuple[FileTime, ...]:
    try:
        with (parcel / TIMES).open("rb") as file:
            table = file.read(MOST + 1)
    except OSError as error:
        raise ParcelBad(
            f"{parcel / TIMES} cannot be read: {error.strerror}", not_done="nothing was taken from it"
        ) from error
    if key is not None and not _is_signed(parcel, table, key):
        raise SignatureBad(f"{parcel / TIMES} is not signed with that key", not_done="nothing was taken from it")
    try:
        return read_times(table)
    except TimesBad as error:
        raise ParcelBad(f"{parcel / TIMES}: {error}", not_done="nothing was taken from it") from error


def _is_signed(parcel: Path, table: bytes, key: Path) -> bool:
    try:
        signature = (parcel / TIMES_SIGNATURE).read_bytes()
    except OSError:
        return False
    return is_signed(read_key(key), table, signature)


def _live(
    session: Session, gocache: Path, inventory: Inventory, project: Path, commands: Sequence[tuple[str, ...]]
) -> tuple[frozenset[bytes], str]:
    """Ids of the entries that count, and how that is known."""
    if commands:
        live: set[bytes] = set()
        for command in commands:
            live |= live_set(session, gocache, project, command).actions
        return frozenset(live), "rehearsed: " + ", ".join(f"go {' '.join(command)}" for command in commands)
    since_ns = _unpacked_ns(session, inventory.identity)
    if since_ns is None:
        return frozenset(inventory.actions), "all of it: nothing was unpacked into this cache, so a job made it all"
    used = (key for key, action in inventory.actions.items() if action.mtime_ns > since_ns + 10**9)
    return frozenset(used), "what go marked as used since it was unpacked"


def _unpacked_ns(session: Session, identity: str) -> int | None:
    if not (session.state_dir / "journal.sqlite").exists():
        return None
    with session.journal(read_only=True) as journal:
        times = [int(note.data["old_ns"]) for note in journal.notes(UNPACKED) if note.data.get("identity") == identity]
    return times[-1] if times else None


def _names(inventory: Inventory, live: frozenset[bytes]) -> tuple[str, ...]:
    """Names of live entries and of the outputs that they name."""
    names = {README, TRIM}
    for key in live:
        action = inventory.actions.get(key)
        if action is not None and isinstance(action.entry, Entry) and action.entry.output in inventory.outputs:
            names |= {action_name(key), output_name(action.entry.output)}
    return tuple(sorted(names))
