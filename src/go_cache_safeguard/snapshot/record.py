"""What a repository says of one snapshot.

Knows:     the record (who, when, of what), its id, and where in the repository each file's content lies.
Called by: `snapshot.deposit` writes them, `snapshot.depot` reads them.
Never:     believes a record whose bytes are not exactly what we write, or whose name is not their hash.

A record's id is the SHA-256 of its bytes, so a record that was edited has no name any more. It names a manifest by its root, and a
`Places` by its hash.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

from go_cache_safeguard.core.canonical import Value, canonical, digest
from go_cache_safeguard.core.errors import ExitCode, Failure, UsageFailure
from go_cache_safeguard.snapshot.bundle import SMALL
from go_cache_safeguard.snapshot.manifest import Kind, Manifest, parse_time

FORMAT = "go-cache-safeguard/record/1"
PLACES_FORMAT = "go-cache-safeguard/places/1"
SHOWN = 10
"""Digits of an id that people see; any unique beginning is understood."""

_HASH = re.compile(r"[0-9a-f]{64}")
_BEGINNING = re.compile(r"[0-9a-f]{2,64}")
_LABEL_LIMIT = 4095
_TAG = re.compile(r"[\w.:/@+-]{1,100}")


class RecordBad(Failure):
    """A snapshot's record is not one that we wrote."""

    id = "record-bad"
    exit_code = ExitCode.BLOCKED
    meaning = "a record of a snapshot repository is damaged, was edited, or names what is not in the snapshot"


class NoSnapshot(Failure):
    """There is no such snapshot, or more than one."""

    id = "no-snapshot"
    exit_code = ExitCode.USAGE
    meaning = "the repository has no snapshot of that id, or several whose ids begin like this"


@dataclass(frozen=True)
class Record:
    """One snapshot.

    Attributes:
        made_at: RFC 3339 UTC with nanoseconds.
        host: Name of the machine.
        user: Who made it, as `core.operation` names people.
        kind: What was copied.
        target: Absolute path of the cache.
        whole: Whether it is of the whole cache; otherwise of a plan's entries only.
        tags: Words that people gave it, sorted.
        manifest: Root of its manifest.
        places: SHA-256 of its `Places`.
        files: How many are in it.
        size: Their bytes.
        skipped: How many were left out.
        parent: Id of the snapshot it was compared with; empty when there was none.
        added: Bytes that had to be stored for it.
    """

    made_at: str
    host: str
    user: str
    kind: Kind
    target: str
    whole: bool
    tags: tuple[str, ...]
    manifest: str
    places: str
    files: int
    size: int
    skipped: int
    parent: str
    added: int

    @cached_property
    def data(self) -> bytes:
        """The one byte form."""
        return canonical({"format": FORMAT, **asdict(self), "tags": list(self.tags)}) + b"\n"

    @cached_property
    def id(self) -> str:
        """64 hexadecimal digits."""
        return digest(self.data)

    @property
    def made_ns(self) -> int:
        """Nanoseconds since 1970-01-01 UTC."""
        return parse_time(self.made_at)

    @property
    def group(self) -> tuple[str, ...]:
        """Snapshots of one group follow each other."""
        return self.host, str(self.kind), self.target, "whole" if self.whole else "part"

    def as_value(self) -> dict[str, Value]:
        """For `--json`."""
        return {"id": self.id, **asdict(self), "kind": str(self.kind), "tags": list(self.tags)}


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack that a snapshot uses.

    Attributes:
        name: SHA-256 of its bytes.
        stored: Bytes as stored.
        size: Bytes of all contents in it, also of those that this snapshot does not use.
    """

    name: str
    stored: int
    size: int


@dataclass(frozen=True)
class Places:
    """Where contents lie.

    Attributes:
        packs: Packs that hold at least one of them.
        at: For each content of the manifest, in the order of `contents`: 0 for an object of its own, n for the n-th pack.
        stored: Bytes as stored of each object of its own, in the same order.
    """

    packs: tuple[Pack, ...]
    at: tuple[int, ...]
    stored: tuple[int, ...]

    @cached_property
    def data(self) -> bytes:
        """The one byte form."""
        return write_places([numbers_of(self.at)], self.packs, [numbers_of(self.stored)])

    @cached_property
    def name(self) -> str:
        """SHA-256 of `data`."""
        return digest(self.data)


def numbers_of(numbers: Iterable[int]) -> bytes:
    """Numbers as they stand in a `Places`."""
    return ",".join(map(str, numbers)).encode("ascii")


def write_places(at: Iterable[bytes], packs: Iterable[Pack], stored: Iterable[bytes]) -> bytes:
    """The byte form of a `Places`; its numbers were written by `numbers_of`, in as many pieces as is convenient."""
    listed = canonical([[pack.name, pack.stored, pack.size] for pack in packs])
    head, middle = b'{"at":[', b'],"format":%s,"packs":' % canonical(PLACES_FORMAT)
    every = b",".join(filter(None, at)), b",".join(filter(None, stored))
    return b"".join((head, every[0], middle, listed, b',"stored":[', every[1], b"]}\n"))


def contents(manifest: Manifest) -> Mapping[str, int]:
    """Every content of a snapshot once, with its size, in the order of the files that have it first."""
    return manifest.contents


def parse_record(data: bytes, name: str) -> Record:
    """Read a record; a field too many makes other bytes than we write.

    Args:
        data: Its bytes.
        name: The id under which it was found.

    Raises:
        RecordBad: The bytes are not a record of that id.
    """
    if digest(data) != name:
        raise _bad(f"the record {name[:SHOWN]} is not what its name says: it was edited or damaged")
    try:
        value = _object(data, FORMAT)
        values = {field.name: value[field.name] for field in fields(Record)}
        values["kind"] = Kind(value["kind"])
        values["tags"] = tuple(value["tags"])
        record = Record(**values)
        _refuse(record)
        same = record.data == data
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _bad(f"the record {name[:SHOWN]} is damaged: {error}") from error
    if not same:
        raise _bad(f"the record {name[:SHOWN]} is not in the form that we write")
    return record


def parse_places(data: bytes, manifest: Manifest) -> Places:
    """Read where the contents of a manifest lie.

    Raises:
        RecordBad: The bytes are not a `Places` that fits this manifest.
    """
    try:
        value = _object(data, PLACES_FORMAT)
        packs = tuple(Pack(_hash(name), _count(stored), _count(size)) for name, stored, size in value["packs"])
        at = tuple(map(_count, value["at"]))
        places = Places(packs, at, tuple(map(_count, value["stored"])))
        _refuse_places(places, manifest)
        same = places.data == data
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _bad(f"where the contents of a snapshot lie is damaged: {error}") from error
    if not same:
        raise _bad("where the contents of a snapshot lie is not in the form that we write")
    return places


def resolve(records: Sequence[Record], name: str) -> Record:
    """Find a snapshot by what a person typed.

    Args:
        records: All there are.
        name: The beginning of an id, or `latest`: the newest of a whole cache.

    Raises:
        NoSnapshot: None fits, or several do.
    """
    if name == "latest" and any(record.whole for record in records):
        return max((record for record in records if record.whole), key=lambda record: (record.made_ns, record.id))
    found = [record for record in records if _BEGINNING.fullmatch(name) and record.id.startswith(name)]
    if len(found) == 1:
        return found[0]
    if found:
        several = ", ".join(record.id[: max(SHOWN, len(name) + 4)] for record in found[:5])
        raise NoSnapshot(f"several snapshots begin with {name!r}: {several}", hint="type more of the id")
    raise NoSnapshot(
        f"there is no snapshot {name[:80]!r}", hint="`go-cache-safeguard snapshot list` shows what there is"
    )


def check_tags(tags: Sequence[str]) -> tuple[str, ...]:
    """Tags as they may be in a record: sorted, each once.

    Raises:
        UsageFailure: One has something else than letters, digits and `.:/@+_-`, or is too long.
    """
    wrong = [tag for tag in tags if not _TAG.fullmatch(tag)]
    if wrong:
        raise UsageFailure(
            f"{wrong[0][:80]!r} cannot be a tag", hint="a tag is up to 100 letters, digits and .:/@+_- without spaces"
        )
    return tuple(sorted(set(tags)))


def _refuse(record: Record) -> None:
    """Types that JSON leaves open."""
    _hash(record.manifest)
    _hash(record.places)
    if record.parent:
        _hash(record.parent)
    if type(record.whole) is not bool:
        raise ValueError("it does not say whether it is of a whole cache")
    for count in (record.files, record.size, record.skipped, record.added):
        _count(count)
    for text in (record.host, record.user, record.target, record.made_at):
        if type(text) is not str or not text.isprintable() or len(text) > _LABEL_LIMIT:
            raise ValueError("a name in it cannot be shown")
    if not all(map(_TAG.fullmatch, record.tags)) or tuple(sorted(set(record.tags))) != record.tags:
        raise ValueError("its tags are not sorted words")
    parse_time(record.made_at)


def _refuse_places(places: Places, manifest: Manifest) -> None:
    sizes = contents(manifest)
    if len(places.at) != len(sizes) or places.at.count(0) != len(places.stored):
        raise ValueError("it does not fit the manifest")
    if any(at > len(places.packs) for at in places.at):
        raise ValueError("it names a pack that it does not list")
    if any(at and size > SMALL for at, size in zip(places.at, sizes.values(), strict=True)):
        raise ValueError("a content is too large for a pack")


def _object(data: bytes, form: str) -> Mapping[str, Any]:
    value: Any = json.loads(data)
    if not isinstance(value, dict) or value.get("format") != form:
        raise ValueError("it is of no format that we know")
    return value


def _hash(text: Any) -> str:
    if type(text) is not str or not _HASH.fullmatch(text):
        raise ValueError("a hash in it is none")
    return text


def _count(number: Any) -> int:
    if type(number) is not int or number < 0:
        raise ValueError("a number in it is none")
    return number


def _bad(why: str) -> RecordBad:
    return RecordBad(why, not_done="nothing was read from the snapshot")
