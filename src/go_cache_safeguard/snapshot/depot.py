"""An open repository: read, look after, take from.

Knows:     how records, manifests and contents are found and proved.
Called by: `flows.repository`; restore takes a `RepositorySource`.
Never:     believes an object: records and packs must have the hash that names them, a manifest its root, a content its SHA-256.
"""

import os
import random
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from threading import local
from typing import TypeAlias, TypeVar

from go_cache_safeguard.core.digests import digests
from go_cache_safeguard.core.errors import Failure
from go_cache_safeguard.snapshot.bundle import Buffer, ObjectBad, Opener, refuse_other
from go_cache_safeguard.snapshot.manifest import Entry, Manifest, ManifestBad, parse_manifest
from go_cache_safeguard.snapshot.record import Record, RecordBad, contents, parse_places, parse_record, resolve
from go_cache_safeguard.snapshot.repository import (
    CONFIG,
    SNAPSHOTS,
    Config,
    Part,
    RepositoryBad,
    Snapshot,
    data_name,
    id_of,
    manifest_name,
    pack_name,
    parse_config,
    part_of,
    places_name,
    record_name,
    signature_name,
)
from go_cache_safeguard.snapshot.store import NoObject, Store, open_store

IN_MEMORY = 32 << 20
"""bytes: larger contents are never in memory as a whole."""
_PIECE = 1 << 20
_AT_ONCE = 64 << 20
"""bytes of contents of a local folder that all threads together open, before they hash them side by side: each its share, and at most"""
_PORTION = 256
"""objects, so that it says now and then how far it is."""
_DOCUMENT_LIMIT = 1 << 30
"""bytes: a manifest that is larger is not unpacked."""

Progress: TypeAlias = Callable[[int, int], None]
"""Told objects and bytes done so far."""
_Asked = TypeVar("_Asked")
_Answer = TypeVar("_Answer")


class Depot:
    """A repository that is there and of a format that we know.

    Attributes:
        store: Where its objects lie.
        config: What it says of itself.
    """

    def __init__(self, store: Store, config: Config) -> None:
        self.store = store
        self.config = config

    def records(self) -> tuple[list[Record], list[tuple[str, Failure]]]:
        """All snapshots, oldest first; and the ids of those whose record is bad, with the reason.

        Raises:
            StoreFailed: The store cannot be read.
        """
        names = sorted(found.name for found in self.store.list(SNAPSHOTS) if part_of(found.name) is Part.RECORD)
        records: list[Record] = []
        bad: list[tuple[str, Failure]] = []
        for name, got in each(names, self._record, threads=self.threads):
            if isinstance(got, Record):
                records.append(got)
            elif not isinstance(got, NoObject):  # removed since it was listed
                bad.append((id_of(name), got))
        records.sort(key=lambda record: (record.made_ns, record.id))
        return records, bad

    def record(self, name: str) -> Record:
        """One snapshot, by the beginning of its id, or `latest`.

        Raises:
            NoSnapshot: None fits, or several do.
            RecordBad: It is damaged.
        """
        if len(name) == 64 and self.store.head(record_name(name)) is not None:
            return self._read_record(name)
        records, bad = self.records()
        for id_, failure in bad:
            if id_.startswith(name):
                raise failure
        return resolve(records, name)

    def snapshot(self, record: Record, alike: Snapshot | None = None) -> Snapshot:
        """A snapshot with everything that it leads to.

        Args:
            record: What the repository says of it.
            alike: One that was read already: what its manifest and this one have in common is not read again.

        Raises:
            NoObject: Its manifest, or where its contents lie, is missing.
            ObjectBad: One of them is damaged.
            ManifestBad: The manifest is not what we write.
            RecordBad: The record and what it names do not fit together.
        """
        opener = Opener()
        before = None if alike is None else alike.manifest
        if before is not None and before.root == record.manifest:
            manifest = before
        else:
            manifest = parse_manifest(self._document(opener, manifest_name(record.manifest)), before)
        if manifest.root != record.manifest:
            raise ManifestBad(f"the manifest of {record.id[:10]} is another one", not_done="nothing was read from it")
        if (manifest.kind, len(manifest.entries), manifest.size) != (record.kind, record.files, record.size):
            raise RecordBad(
                f"the record {record.id[:10]} does not fit its manifest", not_done="nothing was read from it"
            )
        if alike is not None and manifest is before and alike.record.places == record.places:
            return Snapshot(record, manifest, alike.places)
        data = self._document(opener, places_name(record.places))
        refuse_other(data, record.places)
        return Snapshot(record, manifest, parse_places(data, manifest))

    def source(self, name: str) -> "RepositorySource":
        """A snapshot from which contents can be taken.

        Raises:
            NoSnapshot: There is none of that id.
            Failure: As `snapshot`.
        """
        return RepositorySource(self.store, self.snapshot(self.record(name)))

    @property
    def threads(self) -> int:
        """How much to do at once: a disk is limited by our processors, the network by waiting."""
        return min(8, os.cpu_count() or 1) if self.store.local else 16

    def _record(self, name: str) -> Record | Failure:
        try:
            return self._read_record(id_of(name))
        except (NoObject, RecordBad) as failure:
            return failure

    def _read_record(self, id_: str) -> Record:
        return parse_record(bytes(self.store.get(record_name(id_))), id_)

    def _document(self, opener: Opener, name: str) -> bytes:
        with naming(name):
            return bytes(opener.unseal(self.store.get(name), _DOCUMENT_LIMIT))


class RepositorySource:
    """A snapshot in a repository, as restore reads it: any content at any time.

    Attributes:
        manifest: What it holds.
        record: What the repository says of it.
    """

    def __init__(self, store: Store, snapshot: Snapshot) -> None:
        self.record = snapshot.record
        self._store = store
        self._snapshot = snapshot

    @property
    def manifest(self) -> Manifest:
        """What it holds, parsed strictly."""
        return self._snapshot.manifest

    def signature(self) -> bytes | None:
        """The signature of `record.data`, or None when nobody signed it.

        Raises:
            StoreFailed: The store cannot be read.
        """
        try:
            return bytes(self._store.get(signature_name(self.record.id)))
        except NoObject:
            return None

    def contents(self, wanted: Collection[str]) -> Iterator[tuple[Entry, Iterator[bytes]]]:
        """Entries with their bytes; see `snapshot.source.Source`. What is in one pack comes together.

        Raises:
            KeyError: A name is not in the manifest.
            NoObject: An object is missing.
            ObjectBad: An object is damaged.
            StoreFailed: The store cannot be read.
        """
        by_name = self._by_name
        alone: list[Entry] = []
        packed: dict[int, list[Entry]] = {}
        for name in dict.fromkeys(wanted):
            entry = by_name[name]
            at = self._at[entry.sha256]
            (packed.setdefault(at, []) if at else alone).append(entry)
        opener = Opener()
        for number, entries in sorted(packed.items()):
            pack = self._snapshot.places.packs[number - 1].name
            inside = open_pack(self._store, opener, pack)
            for entry in entries:
                if entry.sha256 not in inside:
                    raise ObjectBad(f"{pack_name(pack)} has no content {entry.sha256}", not_done=_REST)
                yield entry, iter((bytes(inside[entry.sha256]),))
        for entry in alone:
            yield entry, self._alone(opener, entry)

    def _alone(self, opener: Opener, entry: Entry) -> Iterator[bytes]:
        name = data_name(entry.sha256)
        with naming(name):
            if entry.size <= IN_MEMORY:
                yield bytes(opener.unseal(self._store.get(name), entry.size))
            else:
                yield from opener.unseal_pieces(self._store.pieces(name), entry.size)

    @cached_property
    def _by_name(self) -> dict[str, Entry]:
        return {entry.name: entry for entry in self.manifest.entries}

    @cached_property
    def _at(self) -> dict[str, int]:
        return dict(zip(contents(self.manifest), self._snapshot.places.at, strict=True))


_REST = "the rest of the snapshot was not read"


class naming:  # noqa: N801 - reads as a sentence: with naming(...)
    """Adds the name of an object to what is wrong with it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ObjectBad) and not error.what.startswith(self._name):
            raise ObjectBad(f"{self._name}: {error.what}", not_done=error.not_done or _REST) from error


def open_pack(store: Store, opener: Opener, name: str) -> dict[str, Buffer]:
    """The contents of a pack whose bytes are what its name says.

    Raises:
        NoObject: It is missing.
        ObjectBad: It is damaged.
    """
    data = store.get(pack_name(name))
    with naming(pack_name(name)):
        refuse_other(data, name)
        return opener.unpack(data)


# ---------------------------------------------------------------- opening


def open_depot(place: str, *, cwd: Path, session: str, timeout_s: int) -> Depot:
    """Open a repository to read.

    Raises:
        RepositoryBad: There is none.
        Failure: As `open_store`.
    """
    try:
        store = open_store(place, cwd=cwd, session=session, timeout_s=timeout_s)
        return Depot(store, parse_config(bytes(store.get(CONFIG))))
    except NoObject as error:
        raise RepositoryBad(
            f"there is no snapshot repository at {place.partition('?')[0]}",
            not_done="nothing was read",
            hint="`go-cache-safeguard snapshot create` makes one; --repo names another place",
        ) from error


def make_depot(place: str, *, cwd: Path, session: str, timeout_s: int, append_only: bool) -> Depot:
    """Open a repository to write; make one if there is none.

    Args:
        place: Where.
        cwd: Where a relative path begins.
        session: 32 hexadecimal digits that nobody else has.
        timeout_s: Seconds that one object may take.
        append_only: What a new one is to be; one that is there stays what it is.

    Raises:
        RepositoryBad: There is something else at this place.
        Failure: As `open_store`.
    """
    store = open_store(place, cwd=cwd, session=session, create=True, timeout_s=timeout_s)
    try:
        return Depot(store, parse_config(bytes(store.get(CONFIG))))
    except NoObject:
        pass
    foreign = [found.name for found in store.list() if part_of(found.name) is None]
    if foreign:
        raise RepositoryBad(
            f"{store.url} is no snapshot repository, and holds other things: {', '.join(sorted(foreign)[:3])}",
            not_done="nothing was stored",
            hint="give an empty place with --repo",
        )
    store.stage(CONFIG, Config(session, append_only).data)
    store.flush()  # if somebody else was faster, theirs counts
    return Depot(store, parse_config(bytes(store.get(CONFIG))))


# ---------------------------------------------------------------- proving


@dataclass(frozen=True, slots=True)
class Proved:
    """What reading objects showed.

    Attributes:
        objects: How many were read.
        size: Bytes as stored.
        bad: Names of objects with what is wrong with them.
        unread: Names of objects that could not be read, with the reason.
    """

    objects: int
    size: int
    bad: tuple[tuple[str, str], ...]
    unread: tuple[tuple[str, str], ...]


def wanted_of(snapshots: Iterable[Snapshot]) -> dict[str, int]:
    """Every object that holds contents, with the bytes that must be inside: for `prove`."""
    wanted: dict[str, int] = {}
    for snapshot in snapshots:
        wanted |= {pack_name(pack.name): pack.size for pack in snapshot.places.packs}
        places = zip(contents(snapshot.manifest).items(), snapshot.places.at, strict=True)
        wanted |= {data_name(sha): size for (sha, size), at in places if at == 0}
    return wanted


def packed_in(snapshots: Iterable[Snapshot]) -> dict[str, set[str]]:
    """For each pack the contents that snapshots look for in it."""
    wanted: dict[str, set[str]] = {}
    for snapshot in snapshots:
        names = [pack_name(pack.name) for pack in snapshot.places.packs]
        for sha, at in zip(contents(snapshot.manifest), snapshot.places.at, strict=True):
            if at:
                wanted.setdefault(names[at - 1], set()).add(sha)
    return wanted


def sample(names: Collection[str], share: float, seed: int) -> list[str]:
    """A share of the names, at least one, chosen by chance that can be repeated."""
    count = min(len(names), max(1, round(len(names) * share)))
    return random.Random(seed).sample(sorted(names), count) if names else []  # noqa: S311 - chance, not secrecy


def prove(depot: Depot, snapshots: Sequence[Snapshot], names: Collection[str], progress: Progress) -> Proved:
    """Read objects, open them, hash every content in them.

    Args:
        depot: The repository.
        snapshots: What needs them.
        names: Of data objects and packs that these need.
        progress: Told how far it is.
    """
    sizes, packed = wanted_of(snapshots), packed_in(snapshots)
    provers = local()
    share = _AT_ONCE // depot.threads if depot.store.local else 0
    bad, unread, done, size = [], [], 0, 0

    def ask(some: Sequence[str]) -> list[tuple[str, int | Failure]]:
        own: _Prover | None = getattr(provers, "own", None)
        if own is None:
            own = provers.own = _Prover(depot.store, sizes, packed, share)
        return own.prove(some)

    portions = _portions(names, sizes, share)
    for _, answers in each(portions, ask, threads=depot.threads):
        for name, got in answers:
            done += 1
            if isinstance(got, int):
                size += got
            elif isinstance(got, ObjectBad | NoObject):
                bad.append((name, got.what))
            else:
                unread.append((name, got.what))
        progress(done, size)
    return Proved(done, size, tuple(sorted(bad)), tuple(sorted(unread)))


def _portions(names: Iterable[str], sizes: Mapping[str, int], at_once: int) -> Iterator[list[str]]:
    """Objects that one thread proves together, alike in size and the largest first: they are hashed side by side."""
    portion: list[str] = []
    size = 0
    for name in sorted(names, key=lambda name: (-sizes[name], name)):
        if portion and (size + sizes[name] > at_once or len(portion) >= _PORTION):
            yield portion
            portion, size = [], 0
        portion.append(name)
        size += sizes[name]
    if portion:
        yield portion


class _Prover:
    """What one thread proves objects with.

    Args:
        store: Where they lie.
        sizes: By name of an object the bytes that must be inside.
        packed: By name of a pack the contents that snapshots look for in it.
        room: Bytes of memory for contents that are proved together; what needs more gets it for itself.
    """

    def __init__(
        self, store: Store, sizes: Mapping[str, int], packed: Mapping[str, Collection[str]], room: int
    ) -> None:
        self._store, self._sizes, self._packed = store, sizes, packed
        self._opener = Opener()
        self._memory = memoryview(bytearray(room))
        self._used = 0

    def prove(self, names: Iterable[str]) -> list[tuple[str, int | Failure]]:
        """Prove some objects. Of each its bytes as stored, or what is wrong."""
        self._used = 0
        answers: dict[str, int | Failure] = {}
        claims: list[tuple[str, str, Buffer]] = []
        for name in names:
            try:
                answers[name], claimed = self._open(name)
                claims += ((name, sha, content) for sha, content in claimed)
            except Failure as failure:
                answers[name] = failure
        for (name, sha, content), digest in zip(claims, digests([claim[2] for claim in claims]), strict=True):
            if digest.hex() != sha:
                try:
                    refuse_other(content, sha)  # nothing is said to be damaged before it was hashed twice
                except ObjectBad as failure:
                    answers[name] = failure
        return list(answers.items())

    def _open(self, name: str) -> tuple[int, Iterable[tuple[str, Buffer]]]:
        """An object's bytes as stored, and what it claims to hold, as far as that still must be proved."""
        if part_of(name) is Part.PACK:
            data = self._store.get(name)
            refuse_other(data, id_of(name))
            inside = self._opener.unpack(data)
            missing = [sha for sha in self._packed.get(name, ()) if sha not in inside]
            if missing:
                raise ObjectBad(f"it has no content {min(missing)}")
            return len(data), inside.items()
        if self._sizes[name] > IN_MEMORY:
            return self._prove_large(name), ()
        data = self._store.get(name)
        return len(data), [(id_of(name), self._opener.unseal(data, self._sizes[name], self._room))]

    def _prove_large(self, name: str) -> int:
        """Prove a content that is too large for memory; as stored it may not be. Returns its bytes as stored."""
        hashed, stored = sha256(), 0

        def counted() -> Iterator[Buffer]:
            nonlocal stored
            for piece in self._store.pieces(name):
                stored += len(piece)
                yield piece

        found, pieces = self._store.head(name), None
        if found is not None and found.size <= IN_MEMORY:
            data = self._store.get(name)
            stored = len(data)
            pieces = self._opener.unseal_through(data, self._sizes[name], memoryview(bytearray(_PIECE)))
        for piece in pieces or self._opener.unseal_pieces(counted(), self._sizes[name]):
            hashed.update(piece)
        if hashed.hexdigest() != id_of(name):
            raise ObjectBad(f"its content has the SHA-256 {hashed.hexdigest()}")
        return stored

    def _room(self, size: int) -> memoryview:
        """Memory that is used again for the next portion: new memory costs nearly half as much as hashing what is put there."""
        room = self._memory[self._used : self._used + size]
        self._used += len(room)
        return room if len(room) == size else memoryview(bytearray(size))


def each(
    names: Iterable[_Asked], ask: Callable[[_Asked], _Answer], *, threads: int
) -> Generator[tuple[_Asked, _Answer], None, None]:
    """Ask several at once, never many more than there are threads; answers come as they are ready.

    Whatever an answer raises comes out here, after those that were asked have ended.
    """
    waiting: dict[Future[_Answer], _Asked] = {}
    with ThreadPoolExecutor(threads) as pool:
        for name in names:
            waiting[pool.submit(ask, name)] = name
            if len(waiting) >= 3 * threads:
                yield from _ready(waiting)
        while waiting:
            yield from _ready(waiting)


def _ready(waiting: dict[Future[_Answer], _Asked]) -> Iterator[tuple[_Asked, _Answer]]:
    done, _ = wait(waiting, return_when=FIRST_COMPLETED)
    for future in done:
        name = waiting.pop(future)
        yield name, future.result()
