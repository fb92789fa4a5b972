"""Snapshots in a repository: make one, list, show, compare, verify.

Knows:     where the repository is, which snapshot the next one builds on, and what is asked of a repository that may be damaged.
Called by: the command line's `snapshot`; restore takes its `source`.
Never:     changes the cache; records a snapshot before everything in it is stored.
"""

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.errors import Failure
from go_cache_safeguard.core.size import format_size
from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.flows.session import Session, host_name
from go_cache_safeguard.flows.snapshot import Subject, entered, private_key, read_key
from go_cache_safeguard.snapshot.deposit import Deposited, deposit, publish
from go_cache_safeguard.snapshot.depot import Depot, RepositorySource, make_depot, open_depot, prove, sample, wanted_of
from go_cache_safeguard.snapshot.difference import Difference, compare
from go_cache_safeguard.snapshot.manifest import Kind, ManifestBad, Skipped, format_time, shown
from go_cache_safeguard.snapshot.memory import Known, Memory, known_of, read_memory, write_memory
from go_cache_safeguard.snapshot.record import SHOWN, Record, RecordBad, check_tags
from go_cache_safeguard.snapshot.repository import (
    Part,
    Snapshot,
    look_for,
    part_of,
    record_name,
    signature_name,
    users_of,
)
from go_cache_safeguard.snapshot.signature import is_signed, sign
from go_cache_safeguard.snapshot.store import NoObject, StoreFailed
from go_cache_safeguard.snapshot.turns import Turn, writing
from go_cache_safeguard.tree.owner import patience
from go_cache_safeguard.tree.root import Root

WAIT_S = 300
"""How long a snapshot waits for a prune that is under way, seconds."""
LEVELS = {"none": 0, "fast": -1, "good": 3, "small": 12}
"""Of zstd, by what the setting `snapshot.compression` says. -1, tuned as `bundle.FAST` says, takes 19 % more room than 1, and is read back 35 %
faster."""

_LISTED = 20
_NOTHING = Known({}, {})


@dataclass(frozen=True, slots=True)
class Created:
    """A new snapshot.

    Attributes:
        repository: Where it is, as a person may see it.
        record: What the repository says of it.
        read: Files that had to be read; the others are what they were at the last snapshot.
        objects: Objects that were stored for it.
        skipped: What was left out, with the reason.
        took_ms: Milliseconds.
    """

    repository: str
    record: Record
    read: int
    objects: int
    skipped: tuple[Skipped, ...]
    took_ms: int

    def as_value(self) -> dict[str, Value]:
        """For the journal and for `--json`."""
        return {
            "repository": self.repository,
            **self.record.as_value(),
            "read": self.read,
            "objects": self.objects,
            "left_out": [list(one) for one in self.skipped[:_LISTED]],
            "took_ms": self.took_ms,
        }


@dataclass(frozen=True, slots=True)
class Listing:
    """What a repository holds.

    Attributes:
        repository: Where it is.
        id: Its own id.
        append_only: Whether nothing is removed from it.
        records: Oldest first.
        bad: Ids of snapshots whose record cannot be believed, with the reason.
        size: Bytes of all its objects.
        objects: How many there are.
    """

    repository: str
    id: str
    append_only: bool
    records: tuple[Record, ...]
    bad: tuple[tuple[str, str], ...]
    size: int
    objects: int


def create(
    session: Session,
    subject: Subject,
    *,
    place: str | None = None,
    tags: Sequence[str] = (),
    append_only: bool = False,
    key: Path | None = None,
) -> Created:
    """Make a snapshot in a repository.

    Args:
        session: Who works, with which settings.
        subject: What to copy.
        place: The repository; None for the setting.
        tags: Words for it.
        append_only: If the repository is new: whether it is to take only.
        key: File with a private key that signs the record.

    Raises:
        UnsafePath: The cache or the repository cannot be entered safely.
        StoreFailed: Something could not be stored; then there is no snapshot.
        RepositoryLocked: A prune did not end in time.
        KeyboardInterrupt: Somebody asked to stop; then there is no snapshot.
    """
    began = time.monotonic_ns()
    labels = check_tags(tags)
    private = None if key is None else private_key(session, key)
    try:
        with (
            entered(subject) as root,
            patience() as stop,
            _writer(session, place, append_only=append_only) as (depot, turn),
        ):
            written = _write(session, depot, subject, root, tags=labels, stop=stop)
            session.progress.phase("recording the snapshot")
            record = written.record
            publish(depot, turn, record, None if private is None else sign(private, record.data))
    finally:
        session.progress.phase("")
    if subject.names is None:
        _remember(session, depot, written)
    done, took_ms = written.done, (time.monotonic_ns() - began) // 10**6
    created = Created(depot.store.url, record, done.read, done.objects, done.skipped, took_ms)
    _note(session, "snapshot-stored", created.as_value())
    return created


@dataclass(frozen=True, slots=True)
class _Written:
    """Everything is stored, nothing is recorded."""

    record: Record
    done: Deposited


@contextmanager
def _writer(session: Session, place: str | None, *, append_only: bool) -> Iterator[tuple[Depot, Turn]]:
    """A repository to write into, made if need be; nobody prunes it meanwhile."""
    token = secrets.token_hex(16)
    session.progress.phase("opening the repository")
    depot = make_depot(
        _place(session, place, make=True),
        cwd=session.cwd,
        session=token,
        timeout_s=session.config.seconds("snapshot.timeout"),
        append_only=append_only,
    )
    with _staging(depot), writing(depot.store, token, wait_s=WAIT_S, say=session.progress.say) as turn:
        yield depot, turn


def _write(
    session: Session, depot: Depot, subject: Subject, root: Root, *, tags: tuple[str, ...], stop: Callable[[], bool]
) -> _Written:
    made_ns, target = time.time_ns(), shown(f"{subject.path}")
    base = _base(session, depot, subject, target)
    session.progress.phase("listing files")
    left_out: list[Skipped] = []
    read_ns = time.time_ns()
    looks = base.memory.looks if base.memory else {}
    survey = list(subject.survey(root, looks, skipped=left_out.append))
    session.progress.phase("storing what is new", sum(len(files or ()) for _, files in survey))

    def progress(done: int, size: int) -> None:
        if stop():
            raise KeyboardInterrupt
        session.progress.update(done, size)

    done = deposit(
        depot,
        root,
        subject.kind,
        survey,
        skipped=left_out,
        whole=subject.names is None,
        memory=base.memory,
        known=base.known,
        level=LEVELS[session.config.choice("snapshot.compression")],
        read_ns=read_ns,
        progress=progress,
    )
    record = Record(
        made_at=format_time(made_ns),
        host=shown(host_name()),
        user=shown(session.actor),
        kind=subject.kind,
        target=target,
        whole=subject.names is None,
        tags=tags,
        manifest=done.manifest,
        places=done.places,
        files=done.stock.files,
        size=done.stock.size,
        skipped=len(done.skipped),
        parent=base.parent,
        added=done.added,
    )
    return _Written(record, done)


def source(session: Session, name: str, place: str | None = None) -> RepositorySource:
    """A snapshot to restore from.

    Args:
        session: Who asks.
        name: The beginning of its id, or `latest`.
        place: The repository; None for the setting.

    Raises:
        NoSnapshot: There is none, or several.
        Failure: It is damaged, or the repository cannot be read.
    """
    return opened(session, place).source(name)


def list_all(session: Session, place: str | None = None) -> Listing:
    """Every snapshot of a repository.

    Raises:
        Failure: The repository cannot be read.
    """
    depot = opened(session, place)
    records, bad = depot.records()
    objects = depot.store.list()
    return Listing(
        depot.store.url,
        depot.config.id,
        depot.config.append_only,
        tuple(records),
        tuple((id_, failure.what) for id_, failure in bad),
        sum(found.size for found in objects),
        len(objects),
    )


def show(session: Session, name: str, place: str | None = None) -> Snapshot:
    """One snapshot with every file in it.

    Raises:
        NoSnapshot: There is none, or several.
        Failure: It is damaged, or the repository cannot be read.
    """
    depot = opened(session, place)
    return depot.snapshot(depot.record(name))


def diff(session: Session, first: str, second: str, place: str | None = None) -> tuple[Record, Record, Difference]:
    """What changed from one snapshot to another.

    Raises:
        NoSnapshot: One is not there.
        Failure: One is damaged, or the repository cannot be read.
    """
    depot = opened(session, place)
    one, two = depot.record(first), depot.record(second)
    return one, two, compare(depot.snapshot(one).manifest, depot.snapshot(two).manifest)


@dataclass(frozen=True, slots=True)
class Verified:
    """What looking at a repository showed.

    Attributes:
        repository: Where it is.
        snapshots: Ids of those that were looked at.
        objects: Objects that were read and hashed.
        size: Bytes of these.
        share: How much of the contents that is, 0 to 1; 0 when only names and sizes were compared.
        seed: What the sample was drawn with.
        foreign: Names of objects that are not ours.
        unneeded: How many objects no snapshot needs.
        verdicts: The answers.
    """

    repository: str
    snapshots: tuple[str, ...]
    objects: int
    size: int
    share: float
    seed: int
    foreign: tuple[str, ...]
    unneeded: int
    verdicts: tuple[Verdict, ...]

    def as_value(self) -> dict[str, object]:
        """For `--json`."""
        return {
            "repository": self.repository,
            "snapshots": list(self.snapshots),
            "objects": self.objects,
            "bytes": self.size,
            "share": self.share,
            "seed": self.seed,
            "foreign": list(self.foreign),
            "unneeded": self.unneeded,
            "verdicts": [verdict.as_value() for verdict in self.verdicts],
        }


def verify(
    session: Session,
    name: str | None,
    place: str | None = None,
    *,
    share: float = 0.0,
    seed: int | None = None,
    key: Path | None = None,
) -> Verified:
    """Look whether snapshots are whole.

    Args:
        session: Who asks.
        name: One snapshot; None for all.
        place: The repository; None for the setting.
        share: How many of the objects that hold contents are read and hashed: 0 for none, 1 for all.
        seed: What a sample is drawn with; None for chance.
        key: File with the public key that must have signed every record.

    Raises:
        KeyBad: The key is none.
        RepositoryBad: There is no repository.
        NoSnapshot: There is no such snapshot.
    """
    seed = secrets.randbits(32) if seed is None else seed
    public = None if key is None else read_key(key)
    depot = opened(session, place)
    session.progress.phase("reading snapshots")
    try:
        verified = _verify(session, depot, name, share=share, seed=seed)
        if public is None:
            return verified
        signatures = _signatures(depot, verified.snapshots, public)
        return replace(verified, verdicts=(*verified.verdicts, signatures))
    except StoreFailed as failure:
        unread = Verdict("repository", Outcome.UNKNOWN, failure.what, remedy=(failure.hint,))
        return Verified(depot.store.url, (), 0, 0, share, seed, (), 0, (unread,))
    finally:
        session.progress.phase("")


def _verify(session: Session, depot: Depot, name: str | None, *, share: float, seed: int) -> Verified:
    snapshots, damaged = _snapshots(depot, name)
    listed = {found.name: found for found in depot.store.list()}
    gone = look_for(snapshots, listed)
    evidence = [f"{shown(one.name)} {one.why}" for one in gone]
    for one in gone:
        evidence += [f"  needed by {line}" for line in users_of(one.name, snapshots)]
    foreign = tuple(sorted(shown(found) for found in listed if part_of(found) is None))
    whole = not damaged and not gone
    if not whole:
        _forget(session, depot, snapshots)
    structure = Verdict(
        "repository",
        Outcome.BLOCK if not whole else Outcome.WARN if foreign else Outcome.PASS,
        f"{len(snapshots):,} snapshots, {len(listed):,} objects: "
        + ("everything they need is there" if whole else f"{len(damaged) + len(gone)} things are damaged or missing"),
        (*damaged, *evidence, *(f"{text} is none of ours; it is left alone" for text in foreign[:_LISTED])),
        () if whole else (_REPAIR,),
    )
    verdicts = [structure]
    missing = {one.name for one in gone if one.name not in listed}
    names = [found for found in wanted_of(snapshots) if found not in missing]
    objects = size = 0
    if share > 0:
        chosen = sample(names, share, seed) if share < 1 else names
        session.progress.phase("reading and hashing objects", len(chosen))
        proved = prove(depot, snapshots, chosen, session.progress.update)
        objects, size = proved.objects, proved.size
        verdicts.append(_contents(snapshots, proved.bad, proved.unread, objects, size, part=(share, seed)))
    needed = {found for snapshot in snapshots for found in snapshot.needs()} if name is None else set()
    ours = [found for found in listed if part_of(found) in {Part.DATA, Part.PACK, Part.MANIFEST, Part.PLACES}]
    unneeded = sum(found not in needed for found in ours) if name is None and not damaged else 0
    ids = tuple(snapshot.record.id for snapshot in snapshots)
    return Verified(depot.store.url, ids, objects, size, share, seed, foreign, unneeded, tuple(verdicts))


_REPAIR = (
    "remove a damaged object by hand; `snapshot create` of the same cache then stores again what it still has,"
    " and the rest is lost with the files that are named"
)


def _contents(
    snapshots: Sequence[Snapshot],
    bad: Sequence[tuple[str, str]],
    unread: Sequence[tuple[str, str]],
    objects: int,
    size: int,
    *,
    part: tuple[float, int],
) -> Verdict:
    share, seed = part
    evidence: list[str] = []
    for name, why in (*bad, *unread):
        evidence.append(f"{name}: {why}")
        evidence += [f"  needed by {line}" for line in users_of(name, snapshots)]
    outcome = Outcome.BLOCK if bad else Outcome.UNKNOWN if unread else Outcome.PASS
    of = "all contents" if share >= 1 else f"a sample of {share:.2%} (seed {seed})"
    said = {
        Outcome.PASS: "is what it should be",
        Outcome.UNKNOWN: f"could not be read whole: {len(unread):,} objects",
    }.get(outcome, f"has {len(bad):,} damaged objects")
    return Verdict(
        "contents",
        outcome,
        f"{of}, {objects:,} objects, {format_size(size)}: {said}",
        tuple(evidence),
        (_REPAIR,) if bad else (),
    )


def _signatures(depot: Depot, ids: Sequence[str], public: bytes) -> Verdict:
    """Whether the owner of a key signed every record."""
    evidence = []
    for id_ in ids:
        try:
            signature = bytes(depot.store.get(signature_name(id_)))
            good = is_signed(public, depot.record(id_).data, signature)
        except NoObject:
            evidence.append(f"snapshot {id_[:SHOWN]} is not signed")
            continue
        if not good:
            evidence.append(f"snapshot {id_[:SHOWN]} is signed with another key, or was changed")
    if evidence:
        return Verdict(
            "signature", Outcome.BLOCK, "not every snapshot is signed with the key that was given", tuple(evidence)
        )
    return Verdict("signature", Outcome.PASS, f"{len(ids):,} snapshots are signed with the key that was given")


def _snapshots(depot: Depot, name: str | None) -> tuple[list[Snapshot], list[str]]:
    """Snapshots that can be read, and what is wrong with the others."""
    if name is not None:
        records, damaged = [depot.record(name)], []
    else:
        records, bad = depot.records()
        damaged = [f"snapshots/{id_}.json: {failure.what}" for id_, failure in bad]
    snapshots: list[Snapshot] = []
    read: dict[str, Snapshot] = {}
    for record in records:
        try:
            alike = read.get(record.manifest) or (snapshots[-1] if snapshots else None)
            snapshots.append(depot.snapshot(record, alike))
            read[record.manifest] = snapshots[-1]
        except StoreFailed:
            raise
        except Failure as failure:
            damaged.append(f"snapshot {record.id[:SHOWN]} of {record.target}, {record.made_at}: {failure.what}")
    return snapshots, damaged


def local_ids(session: Session) -> list[str]:
    """Ids of all snapshots where looking costs nothing: in a local repository, if there is one."""
    folder = Path(_place(session, None)) / "snapshots"
    return sorted(path.stem for path in folder.glob("*.json")) if folder.is_absolute() else []


def opened(session: Session, place: str | None) -> Depot:
    """Open a repository to read.

    Raises:
        RepositoryBad: There is none.
        Failure: It cannot be read.
    """
    return open_depot(
        _place(session, place),
        cwd=session.cwd,
        session=secrets.token_hex(16),
        timeout_s=session.config.seconds("snapshot.timeout"),
    )


def _place(session: Session, given: str | None, *, make: bool = False) -> str:
    """Where the repository is: as given, as set, or a folder in our own state directory."""
    text = given or session.config.text("snapshot.repository")
    if text:
        return text
    return f"{session.state_folder('repository') if make else session.state_dir / 'repository'}"


@dataclass(frozen=True, slots=True)
class _Base:
    """What the next snapshot builds on."""

    memory: Memory | None
    known: Known
    parent: str


def _base(session: Session, depot: Depot, subject: Subject, target: str) -> _Base:
    """The snapshot whose contents need not be stored again. While we are announced nobody prunes, so it stays."""
    kind = subject.kind
    memory = _remembered(session, depot, kind, target)
    if memory is not None and depot.store.head(record_name(memory.record)) is not None:
        return _Base(memory, _NOTHING, memory.record)
    records, _ = depot.records()
    group = (shown(host_name()), str(kind), target, "whole")
    alike = [record for record in records if record.kind is kind and record.whole]
    for record in sorted(alike, key=lambda record: (record.group == group, record.made_ns), reverse=True)[:1]:
        with suppress(NoObject, RecordBad, ManifestBad):  # what is damaged is no base; `verify` tells
            snapshot = depot.snapshot(record)
            parent = record.id if record.group == group else ""
            there = {found.name for part in ("data", "packs") for found in depot.store.list(part)}
            if all(name in there for name in wanted_of([snapshot])):
                return _Base(None, known_of(snapshot.manifest, snapshot.places), parent)
    return _Base(None, _NOTHING, "")


@contextmanager
def _staging(depot: Depot) -> Iterator[None]:
    """Throw away what was put aside and did not get its name."""
    try:
        yield
    finally:
        with suppress(StoreFailed):  # a prune finds it
            depot.store.discard()


def _memory_path(session: Session, depot: Depot, kind: Kind, target: str) -> Path:
    name = sha256(f"{depot.config.id} {kind} {target}".encode()).hexdigest()[:24]
    return session.state_dir / "snapshot-memory" / f"{name}.json"


def _remembered(session: Session, depot: Depot, kind: Kind, target: str) -> Memory | None:
    try:
        data = _memory_path(session, depot, kind, target).read_bytes()
    except OSError:
        return None
    return read_memory(data, depot.config.id)


def _remember(session: Session, depot: Depot, written: _Written) -> None:
    record, done = written.record, written.done
    data = write_memory(depot.config.id, record.id, done.stock)
    try:
        session.state_folder("snapshot-memory")
        _memory_path(session, depot, record.kind, record.target).write_bytes(data)
    except OSError as error:
        session.progress.say(f"the next snapshot will read everything again: {error}")


def _forget(session: Session, depot: Depot, snapshots: Sequence[Snapshot]) -> None:
    """Have the next snapshots of these caches look what is really there."""
    for record in {snapshot.record for snapshot in snapshots}:
        path = _memory_path(session, depot, record.kind, record.target)
        with suppress(OSError):  # not ours to change: then it is not ours to use, either
            if path.exists():
                path.write_bytes(b"")


def _note(session: Session, step: str, value: dict[str, Value]) -> None:
    """Tell the journal. A snapshot that is made is not taken back because it could not be told of."""
    try:
        with session.journal() as journal:
            journal.note(step, value)
    except Failure as failure:
        session.progress.say(f"the journal does not know of it: {failure.what}")
