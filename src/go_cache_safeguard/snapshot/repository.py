"""A repository of snapshots: what lies where, what is needed, and what could go.

Knows:     the names of objects, the repository's own description, what a snapshot needs, and how a prune is planned.
Called by: `snapshot.depot` and `flows.repository`.
Never:     reads or removes an object; calls an object with a name that we do not know anything but foreign.

    config.json                  what this is: format, id, whether it is append-only
    data/ab/<sha256>             one content, sealed
    packs/ab/<sha256>            many small contents
    manifests/<root>             a manifest, sealed
    places/<sha256>              where its contents lie, sealed
    signatures/<id>.json         a signature of a record
    snapshots/<id>.json          the record; written last, removed first
    locks/...                    who writes, who prunes
    staging/...                  in a local folder: what is not durable yet
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

from go_cache_safeguard.core.canonical import canonical
from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.core.plan import Item, Plan
from go_cache_safeguard.snapshot.manifest import Manifest
from go_cache_safeguard.snapshot.record import SHOWN, Places, Record, contents

FORMAT = "go-cache-safeguard/repository/1"
KIND = "snapshot-repository"
CONFIG, SNAPSHOTS, LOCKS, STAGING = "config.json", "snapshots", "locks", "staging"
FORGOTTEN = "no rule keeps this snapshot"
UNNEEDED = "no snapshot needs it"
UNFINISHED = "a snapshot that was not finished left it"

_HASH = "[0-9a-f]{64}"
_NAMES = re.compile(
    rf"config\.json|(?:data|packs)/(?P<shard>[0-9a-f]{{2}})/(?P=shard)[0-9a-f]{{62}}|(?:manifests|places)/{_HASH}"
    rf"|(?:signatures|snapshots)/{_HASH}\.json|locks/(?:prune|write)-[0-9a-f]{{32}}|staging/[0-9a-f]{{32}}/[0-9]+"
)
_ID = re.compile(r"[0-9a-f]{32}")


class RepositoryBad(Failure):
    """This is no repository, or not one that may be used."""

    id = "repository-bad"
    exit_code = ExitCode.TARGET
    meaning = "there is no snapshot repository at this place, or it is of a format that we do not know"


class AppendOnly(Failure):
    """Something would be removed from a repository that only takes."""

    id = "append-only"
    exit_code = ExitCode.REFUSED
    meaning = "the repository is append-only: nothing is removed from it"


class Part(Enum):
    """What an object is."""

    CONFIG = "config.json"
    DATA = "data"
    PACK = "packs"
    MANIFEST = "manifests"
    PLACES = "places"
    SIGNATURE = "signatures"
    RECORD = "snapshots"
    LOCK = "locks"
    STAGED = "staging"


class Stored(NamedTuple):
    """An object as the store lists it.

    Attributes:
        name: Below the repository.
        size: Bytes.
        changed_ns: When it was put there, by the store's clock; nanoseconds since 1970-01-01 UTC.
    """

    name: str
    size: int
    changed_ns: int


@dataclass(frozen=True, slots=True)
class Config:
    """What a repository says of itself.

    Attributes:
        id: 32 hexadecimal digits, by chance.
        append_only: Whether we refuse to remove anything.
    """

    id: str
    append_only: bool = False

    @property
    def data(self) -> bytes:
        """The one byte form."""
        return canonical({"format": FORMAT, "id": self.id, "append_only": self.append_only}) + b"\n"


@dataclass(frozen=True)
class Snapshot:
    """A record with what it leads to.

    Attributes:
        record: See `snapshot.record`.
        manifest: Every file.
        places: Where their contents lie.
    """

    record: Record
    manifest: Manifest
    places: Places

    def needs(self) -> dict[str, int | None]:
        """Objects without which it cannot be restored, with their bytes as stored where that is known."""
        names: dict[str, int | None] = {
            record_name(self.record.id): len(self.record.data),
            manifest_name(self.record.manifest): None,
            places_name(self.record.places): None,
        }
        names |= {pack_name(pack.name): pack.stored for pack in self.places.packs}
        alone = (sha for sha, at in zip(contents(self.manifest), self.places.at, strict=True) if at == 0)
        names |= {data_name(sha): stored for sha, stored in zip(alone, self.places.stored, strict=True)}
        return names


def data_name(sha256: str) -> str:
    """Where one content lies."""
    return f"data/{sha256[:2]}/{sha256}"


def pack_name(sha256: str) -> str:
    """Where a pack lies."""
    return f"packs/{sha256[:2]}/{sha256}"


def manifest_name(root: str) -> str:
    """Where a manifest lies."""
    return f"manifests/{root}"


def places_name(sha256: str) -> str:
    """Where a `Places` lies."""
    return f"places/{sha256}"


def record_name(id_: str) -> str:
    """Where a record lies."""
    return f"{SNAPSHOTS}/{id_}.json"


def signature_name(id_: str) -> str:
    """Where the signature of a record lies."""
    return f"signatures/{id_}.json"


def part_of(name: str) -> Part | None:
    """What an object is; None for what is not ours."""
    return Part(name.partition("/")[0]) if _NAMES.fullmatch(name) else None


def id_of(name: str) -> str:
    """The hash in an object's name."""
    return name.rpartition("/")[2].removesuffix(".json")


def parse_config(data: bytes) -> Config:
    """Read what a repository says of itself.

    Raises:
        RepositoryBad: It is of no format that we know, or was edited.
    """
    try:
        value: Any = json.loads(data)
        config = Config(value["id"], value["append_only"])
        known = config.data == data and _ID.fullmatch(config.id) is not None and type(config.append_only) is bool
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _unknown() from error
    if not known:
        raise _unknown()
    return config


def _unknown() -> RepositoryBad:
    return RepositoryBad(
        "its config.json is damaged or of a format that we do not know",
        not_done="nothing was read or stored",
        hint="a newer go-cache-safeguard may know it; give another place with --repo",
    )


@dataclass(slots=True)
class Gone:
    """A needed object that is missing or has another size.

    Attributes:
        name: Of the object.
        why: What is wrong.
        snapshots: Ids of those that need it.
    """

    name: str
    why: str
    snapshots: list[str] = field(default_factory=list)


def look_for(snapshots: Iterable[Snapshot], listed: Mapping[str, Stored]) -> list[Gone]:
    """Needed objects that are missing or have another size than when they were stored."""
    gone: dict[str, Gone] = {}
    for snapshot in snapshots:
        for name, size in snapshot.needs().items():
            found = listed.get(name)
            if found is None or size not in {None, found.size}:
                why = "is missing" if found is None else f"has {found.size} bytes instead of {size}"
                gone.setdefault(name, Gone(name, why)).snapshots.append(snapshot.record.id)
    return [gone[name] for name in sorted(gone)]


def plan_prune(
    *,
    place: str,
    config: Config,
    listed: Iterable[Stored],
    needed: Iterable[str],
    forgotten: Iterable[str],
    before_ns: int,
    rules: tuple[str, ...],
    requester: str,
    made_at: str,
) -> Plan:
    """Plan what goes: forgotten records, and every object of ours that no other record needs and that is old enough.

    Args:
        place: The repository, without secrets.
        config: What it says of itself.
        listed: Every object in it.
        needed: Names that the snapshots need which stay.
        forgotten: Ids of the snapshots that do not stay.
        before_ns: What was stored later stays: somebody may be about to need it.
        rules: As typed.
        requester: Who asks.
        made_at: RFC 3339 UTC.
    """
    stay = set(needed)
    going = dict.fromkeys(forgotten, FORGOTTEN)
    items, whole = [], 0
    for name, size, changed_ns in listed:
        whole += size
        part = part_of(name)
        if name in stay or part in {None, Part.CONFIG, Part.LOCK}:
            continue
        if part in {Part.RECORD, Part.SIGNATURE}:
            reason = going.get(id_of(name))
            if reason is None and part is Part.SIGNATURE and record_name(id_of(name)) not in stay:
                reason = UNFINISHED if changed_ns < before_ns else None
        else:
            reason = None if changed_ns >= before_ns else UNFINISHED if part is Part.STAGED else UNNEEDED
        if reason is not None:
            items.append(Item(name, size, changed_ns, reason))
    return Plan(KIND, place, config.id, rules, requester, made_at, whole, tuple(sorted(items)))


def removal_order(plan: Plan) -> list[Item]:
    """Records first: whatever ends us in between, what is left of a snapshot has no name any more."""
    return sorted(plan.items, key=lambda item: (part_of(item.name) is not Part.RECORD, item.name))


def users_of(name: str, snapshots: Iterable[Snapshot], *, limit: int = 5) -> list[str]:
    """Which files of which snapshots need a content or a pack: lines for a person."""
    lines: list[str] = []
    for snapshot in snapshots:
        at = _shas_in(name, snapshot)
        found = [entry.name for entry in snapshot.manifest.entries if entry.sha256 in at]
        if found:
            more = f" and {len(found) - limit:,} more" if len(found) > limit else ""
            lines.append(f"snapshot {snapshot.record.id[:SHOWN]}: {', '.join(found[:limit])}{more}")
    return lines


def _shas_in(name: str, snapshot: Snapshot) -> set[str]:
    match part_of(name):
        case Part.DATA:
            return {id_of(name)}
        case Part.PACK:
            numbers = {n for n, pack in enumerate(snapshot.places.packs, 1) if pack.name == id_of(name)}
            pairs = zip(contents(snapshot.manifest), snapshot.places.at, strict=True)
            return {sha for sha, at in pairs if at in numbers}
        case _:
            return set()
