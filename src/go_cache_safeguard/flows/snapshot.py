"""Make a snapshot as one file, and check one.

Knows:     what is copied (a cache, a plan's entries, the module cache), what is asked before, and what stands beside the file.
Called by: the command line's `snapshot create`, `verify` and `keygen`; the repository and restore take its `Subject` and its keys.
Never:     changes a cache, overwrites a file, or calls a snapshot whole of which something could not be read.
"""

import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from threading import Event

from go_cache_safeguard.core.errors import ExitCode, Failure, PlanVoid, UsageFailure
from go_cache_safeguard.core.plan import Plan, parse_plan
from go_cache_safeguard.core.size import format_size
from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.gocache.layout import README, NotACache, is_readme
from go_cache_safeguard.gomod.layout import DOWNLOADS
from go_cache_safeguard.snapshot.archive import ArchiveUnreadable, open_archive
from go_cache_safeguard.snapshot.capture import Found, Skip, Surveyed, find, survey, walk
from go_cache_safeguard.snapshot.manifest import Kind, Manifest, ManifestBad, Skipped
from go_cache_safeguard.snapshot.memory import unit_of
from go_cache_safeguard.snapshot.outfile import complete_or_absent
from go_cache_safeguard.snapshot.pack import least_bytes, pack
from go_cache_safeguard.snapshot.pax import MANIFEST, ArchiveBad
from go_cache_safeguard.snapshot.signature import is_signed, make_keys, public_half, sign
from go_cache_safeguard.telemetry.names import SpanName
from go_cache_safeguard.telemetry.span import span
from go_cache_safeguard.tree.owner import patience
from go_cache_safeguard.tree.root import Root, open_root

SUMS, ROOT, SIGNATURE = ".sha256", ".manifest.sha256", ".manifest.sig"
"""Endings of the files beside an archive."""
_FILES = 4
"""Files that a snapshot makes at most."""
_SMALL = 16 << 10
"""bytes: no key and nothing that stands beside an archive is larger."""
_PIECE = 1 << 20
_README = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_SHOWN = 20
"""Damaged entries that a verdict names; the rest is a number."""
_SUMS = re.compile(r"([0-9a-f]{64})  ([^\n]+)\n")


class SnapshotNotWritten(Failure):
    """The snapshot could not be written."""

    id = "snapshot-not-written"
    exit_code = ExitCode.NOTHING_REMOVED
    meaning = "a snapshot could not be written, for example because the disk is full; nothing of it was left"


class SignatureBad(Failure):
    """A snapshot is not signed with the key that was given."""

    id = "signature-bad"
    exit_code = ExitCode.BLOCKED
    meaning = "a snapshot's manifest is not signed, or not with the key that was given"


@dataclass(frozen=True, slots=True)
class Subject:
    """What to copy.

    Attributes:
        kind: Which kind of cache it is in.
        path: The cache, absolute and resolved.
        identity: `device:inode` that it must have; None for any.
        names: Entries of a plan; None for the whole cache.
    """

    kind: Kind
    path: Path
    identity: str | None = None
    names: tuple[str, ...] | None = None

    def list(self, root: Root, *, skipped: Skip) -> Iterator[Found]:
        """Its files, in the order of a manifest."""
        if self.names is None:
            return walk(root, self.kind, skipped=skipped)
        return find(root, self.kind, self.names, skipped=skipped)

    def survey(self, root: Root, looks: Mapping[str, bytes], *, skipped: Skip) -> Iterator[Surveyed]:
        """The same by the names in the root, and without the files of what looks as it did; see `snapshot.capture.survey`."""
        if self.names is None:
            return survey(root, self.kind, looks, skipped=skipped)
        files = self.list(root, skipped=skipped)
        return ((name, list(some)) for name, some in groupby(files, lambda found: unit_of(found.name)))


@dataclass(frozen=True, slots=True)
class Created:
    """A snapshot that was made.

    Attributes:
        path: The file.
        size: Bytes of it.
        sha256: Of it; None if nobody asked for it.
        manifest: What it holds, and what it does not.
        signed: Whether a signature stands beside it.
    """

    path: Path
    size: int
    sha256: str | None
    manifest: Manifest
    signed: bool


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check of a snapshot found.

    Attributes:
        path: The file.
        manifest: What it holds; None if that cannot be known.
        verdicts: Of the file as a whole, of its contents, and of its signature.
    """

    path: Path
    manifest: Manifest | None
    verdicts: tuple[Verdict, ...]


def subject_of(
    session: Session,
    *,
    plan: Path | None = None,
    gocache: Path | None = None,
    modcache: Path | None = None,
    modules: bool = False,
) -> Subject:
    """What a person means.

    Args:
        session: Who asks.
        plan: A plan file: only its entries.
        gocache: A build cache; None for what go says.
        modcache: A module cache.
        modules: The module cache that go says.

    Raises:
        UsageFailure: More than one thing is meant.
        PlanVoid: The plan cannot be read.
        NoTarget: There is no such cache.
        GoMissing: Go had to be asked and is not there.
    """
    if sum((plan is not None, gocache is not None, modcache is not None or modules)) > 1:
        raise UsageFailure(
            "a snapshot is of one thing: a plan's entries, a build cache or the module cache",
            not_done="nothing was written",
        )
    if plan is not None:
        return of_plan(_read_plan(plan))
    if modcache is not None or modules:
        place = session.cwd / modcache if modcache is not None else Path(session.go_env.modcache)
        return Subject(Kind.MODULE, Path(os.path.realpath(place)))
    return Subject(Kind.BUILD, session.gocache(gocache))


@contextmanager
def entered(subject: Subject) -> Iterator[Root]:
    """Enter the cache of a subject.

    Raises:
        UnsafePath: It cannot be entered safely, or is not the one that a plan was made for.
        NotAGoCache: It is something else.
    """
    with open_root(subject.path, identity=subject.identity) as root:
        _refuse_other(subject, root)
        yield root


def create(
    session: Session, subject: Subject, output: Path, *, compress: bool, digest: bool = False, key: Path | None = None
) -> Created:
    """Make a snapshot.

    Args:
        session: Who asks.
        subject: What to copy.
        output: The file to write; beside it `<name>.manifest.sha256`, and `<name>.manifest.sig` when there is a key.
        compress: Whether to write it as a zstd frame.
        digest: Whether to hash the whole file, too, and write `<name>.sha256`.
        key: File with a private key to sign with.

    Raises:
        UsageFailure: The file exists, or would lie in the cache.
        BeingWritten: Another process writes it.
        SnapshotNotWritten: The disk is full or fails.
        KeyBad: The key is none.
        KeyboardInterrupt: Somebody asked to stop; nothing was left.
    """
    target = Path(os.path.realpath(output.parent)) / output.name
    private = None if key is None else private_key(session, key)
    skipped: list[Skipped] = []
    with span(SpanName.SNAPSHOT) as here, entered(subject) as root:
        _refuse_inside(root, target)
        session.progress.phase("listing the cache")
        found = list(subject.list(root, skipped=skipped.append))
        _require_room(target, least_bytes(found, compress=compress))
        session.progress.phase("writing the snapshot", total=len(found))
        try:
            with patience() as stop, _told(target), complete_or_absent(target) as out:
                packed = pack(
                    out.fd,
                    root,
                    subject.kind,
                    found,
                    skipped,
                    compress=compress,
                    digest=digest,
                    scratch=target.parent,
                    progress=session.progress.update,
                    stop=stop,
                )
                session.progress.phase("making it durable")
                out.beside(ROOT, f"{packed.manifest.root}  {MANIFEST}\n".encode())
                if packed.sha256 is not None:
                    out.beside(SUMS, f"{packed.sha256}  {target.name}\n".encode())
                if private is not None:
                    out.beside(SIGNATURE, sign(private, packed.manifest.data))
        finally:
            session.progress.phase("")
        here.set(keys=len(found), size=packed.size)
    created = Created(target, packed.size, packed.sha256, packed.manifest, private is not None)
    _note(session, subject, created)
    return created


def verify(session: Session, path: Path, *, key: Path | None = None) -> Checked:
    """Check a snapshot: every byte of it against what stands beside it and in it.

    Args:
        session: Who asks.
        path: The archive.
        key: File with the public key that must have signed it.

    Raises:
        KeyBad: The key is none.
    """
    public = None if key is None else read_key(key)
    path = session.cwd / path
    session.progress.phase("checking the snapshot")
    try:
        with ThreadPoolExecutor(1) as other, _given_up() as stop:
            whole = other.submit(_judge_file, path, stop)
            contents, manifest, data = _judge_contents(session, path)
            verdicts = [_judge_root(path, whole.result(), contents, data), contents]
    finally:
        session.progress.phase("")
    signature = None if data is None else _judge_signature(path, data, public)
    return Checked(path, manifest, (*verdicts, *([] if signature is None else [signature])))


def require_signature(path: Path, data: bytes, key: Path) -> None:
    """Demand that an archive is signed with a key, before anything is taken from it.

    Args:
        path: The archive; the signature stands beside it.
        data: The bytes of its manifest.
        key: File with the public key.

    Raises:
        SignatureBad: It is not.
        KeyBad: The key is none.
    """
    verdict = _judge_signature(path, data, read_key(key))
    if verdict is None or verdict.outcome is not Outcome.PASS:
        why = "it has no signature" if verdict is None else verdict.summary
        raise SignatureBad(f"{path} cannot be trusted: {why}", not_done="nothing was taken from it")


def make_key_files(path: Path) -> tuple[Path, Path]:
    """Make a pair of keys: the private one at this path, for its owner only, and the public one beside it, ending in `.pub`.

    Raises:
        UsageFailure: One of them exists, or cannot be written.
    """
    pair = make_keys()
    public = path.with_name(f"{path.name}.pub")
    for one in (path, public):
        if os.path.lexists(one):
            raise UsageFailure(f"{one} exists, and is never overwritten", not_done="no key was made")
    _write_new(public, pair.public, 0o644)
    _write_new(path, pair.private, 0o600)
    return path, public


def read_key(path: Path) -> bytes:
    """Content of a key file.

    Raises:
        UsageFailure: It cannot be read, or is too large for a key.
    """
    try:
        data = _read_small(path)
    except OSError as error:
        raise UsageFailure(f"the key {path} cannot be read: {error.strerror}", not_done="nothing was done") from error
    if len(data) > _SMALL:
        raise UsageFailure(f"{path} is too large for a key", not_done="nothing was done")
    return data


def _read_plan(path: Path) -> Plan:
    try:
        return parse_plan(path.read_bytes())
    except OSError as error:
        raise PlanVoid(f"{path} cannot be read: {error.strerror}", not_done="nothing was written") from error


def of_plan(plan: Plan) -> Subject:
    """The entries of a plan.

    Raises:
        PlanVoid: It is not for a build cache.
    """
    if plan.kind != Kind.BUILD:
        raise PlanVoid(f"the plan is for a {plan.kind}, not for a build cache", not_done="nothing was written")
    return Subject(Kind.BUILD, Path(plan.target), plan.identity, tuple(item.name for item in plan.items))


def _refuse_other(subject: Subject, root: Root) -> None:
    if subject.kind is Kind.MODULE:
        try:
            why = None if stat.S_ISDIR(os.stat(DOWNLOADS, dir_fd=root.fd, follow_symlinks=False).st_mode) else "is none"
        except OSError:
            why = "is not there"
        if why:
            raise _other(f"{root.path} is not a Go module cache: {DOWNLOADS} in it {why}", "modcache", "GOMODCACHE")
        return
    if _has_readme(root):
        return
    from go_cache_safeguard.gocache.disk import identify_at  # noqa: PLC0415 - heavy, and seldom needed

    identity = identify_at(root.fd)
    if isinstance(identity, NotACache):
        raise _other(f"{root.path} is not a Go build cache: {identity.because.value}", "gocache", "GOCACHE")


def _has_readme(root: Root) -> bool:
    """Whether the README is there that go writes: that alone tells a build cache."""
    try:
        with os.fdopen(os.open(README, _README, dir_fd=root.fd), "rb") as file:
            return stat.S_ISREG(os.fstat(file.fileno()).st_mode) and is_readme(file.read(_SMALL))
    except OSError:
        return False


def _other(what: str, option: str, variable: str) -> Failure:
    from go_cache_safeguard.flows.inspect import NotAGoCache  # noqa: PLC0415 - heavy, and seldom needed

    hint = f"give the cache with --{option}; `go env {variable}` names it"
    return NotAGoCache(what, not_done="nothing was written", hint=hint)


def _refuse_inside(root: Root, target: Path) -> None:
    """A snapshot in the cache would hold itself, and go with the cache."""
    for folder in target.parents:
        try:
            found = folder.stat()
        except OSError:
            continue  # then it cannot be written there either, which is said later
        if f"{found.st_dev}:{found.st_ino}" == root.identity:
            raise UsageFailure(
                f"{target} lies in the cache itself", not_done="nothing was written", hint="write it somewhere else"
            )


def _require_room(target: Path, size: int) -> None:
    try:
        disk = os.statvfs(target.parent)
    except OSError as error:
        raise UsageFailure(
            f"{target.parent} cannot be entered: {error.strerror}", not_done="nothing was written"
        ) from error
    free = disk.f_bavail * disk.f_frsize
    if free < size:
        raise SnapshotNotWritten(
            f"{target.parent} has {format_size(free)} free, and the snapshot needs {format_size(size)}",
            not_done="nothing was written",
            hint="write it to another disk, or make it smaller with --zstd",
        )
    if disk.f_files and disk.f_favail < _FILES:
        raise SnapshotNotWritten(f"{target.parent} has no room for another file", not_done="nothing was written")


@contextmanager
def _told(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SnapshotNotWritten(
            f"{target} cannot be written: {error.strerror or error}", not_done="nothing of it was left"
        ) from error


def private_key(session: Session, path: Path) -> bytes:
    """Content of a private key's file.

    Raises:
        KeyBad: It holds none.
        UsageFailure: It cannot be read.
    """
    private = read_key(path)
    public_half(private)
    if path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        session.progress.say(f"{path} can be read by others: whoever has it can sign in your name")
    return private


def _note(session: Session, subject: Subject, created: Created) -> None:
    """A snapshot takes nothing away, so it is not undone when the journal cannot be written; that is said."""
    manifest = created.manifest
    try:
        with session.journal() as journal:
            journal.note(
                "snapshot-created",
                {
                    "file": str(created.path),
                    "sha256": created.sha256,
                    "bytes": created.size,
                    "kind": str(manifest.kind),
                    "target": str(subject.path),
                    "manifest": manifest.root,
                    "content": manifest.content,
                    "files": len(manifest.entries),
                    "skipped": len(manifest.skipped),
                    "signed": created.signed,
                },
            )
    except (Failure, OSError) as problem:
        session.progress.say(f"the snapshot is complete, but could not be noted in the journal: {problem}")


@contextmanager
def _given_up() -> Iterator[Event]:
    """An event that is set when the block ends by an exception, for a thread that should not go on then."""
    stop = Event()
    try:
        yield stop
    except BaseException:
        stop.set()
        raise


def _read_small(path: Path) -> bytes:
    """The beginning of a regular file, one byte more than `_SMALL` at most."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        return file.read(_SMALL + 1)


def _hash_file(path: Path, stop: Event) -> str:
    sha, buffer = sha256(), bytearray(_PIECE)
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0) as file:
        while (got := file.readinto(buffer)) and not stop.is_set():
            sha.update(memoryview(buffer)[:got])
    return sha.hexdigest()


def _judge_file(path: Path, stop: Event) -> Verdict | None:
    """The file as a whole, against the `.sha256` beside it; None when there is none."""
    beside = path.with_name(path.name + SUMS)
    expected = _expected(beside, path.name)
    if expected is None or isinstance(expected, Verdict):
        return expected
    try:
        sha = _hash_file(path, stop)
    except OSError as error:
        return Verdict("archive", Outcome.UNKNOWN, f"the file cannot be read: {error.strerror}")
    return _compared(beside, expected, sha)


def _judge_root(path: Path, whole: Verdict | None, contents: Verdict, data: bytes | None) -> Verdict:
    """The manifest, against the `.manifest.sha256` beside the archive: a manifest leaves no bit of its archive open.

    Args:
        path: The archive.
        whole: What the `.sha256` beside it says.
        contents: Whether the archive is what its manifest says.
        data: The bytes of the manifest.
    """
    beside = path.with_name(path.name + ROOT)
    expected = _expected(beside, MANIFEST)
    if expected is None:
        return whole or Verdict(
            "archive",
            Outcome.WARN,
            f"there is neither {path.name}{ROOT} nor {path.name}{SUMS}: what the file was when it was made is not known",
            remedy=("compare its manifest with one that was kept elsewhere, or demand a signature with --key",),
        )
    if whole is not None and whole.outcome is not Outcome.PASS:
        return whole
    if isinstance(expected, Verdict):
        return expected
    if data is None or contents.outcome is not Outcome.PASS:
        return whole or Verdict(
            "archive", contents.outcome, "it is not what a manifest says, so nothing vouches for it"
        )
    return _compared(beside, expected, sha256(data).hexdigest())


def _expected(beside: Path, name: str) -> str | Verdict | None:
    """The SHA-256 in a file that stands beside an archive; None when there is no such file."""
    try:
        text = os.fsdecode(_read_small(beside))
    except FileNotFoundError:
        return None
    except OSError as error:
        return Verdict("archive", Outcome.UNKNOWN, f"{beside.name} cannot be read: {error.strerror}")
    line = _SUMS.fullmatch(text)
    if line is None or line[2] != name:
        return Verdict("archive", Outcome.UNKNOWN, f"{beside.name} is not one line for {name}")
    return line[1]


def _compared(beside: Path, expected: str, found: str) -> Verdict:
    if found == expected:
        return Verdict("archive", Outcome.PASS, f"the file is what it was when it was made: {beside.name} agrees")
    return Verdict(
        "archive",
        Outcome.BLOCK,
        f"the file is not what it was when it was made: {beside.name} does not agree",
        evidence=(f"expected {expected}", f"is       {found}"),
        remedy=("fetch it again, or use another snapshot",),
    )


def _judge_contents(session: Session, path: Path) -> tuple[Verdict, Manifest | None, bytes | None]:
    """Every member against the manifest, and both against the form that we write."""
    manifest, data = None, None
    try:
        with open_archive(path) as source:
            manifest, data = source.manifest, source.manifest_data
            session.progress.phase("hashing the snapshot", total=len(manifest.entries))
            damaged = list(source.damaged(session.progress.update))
    except (ArchiveBad, ManifestBad) as problem:
        return Verdict("contents", Outcome.BLOCK, problem.what, remedy=(_OTHER,)), manifest, data
    except ArchiveUnreadable as problem:
        return Verdict("contents", Outcome.UNKNOWN, problem.what), manifest, data
    if damaged:
        return Verdict("contents", Outcome.BLOCK, _count(damaged), _names(damaged), (_OTHER,)), manifest, data
    files = f"{len(manifest.entries):,} files, {format_size(manifest.size)}"
    return Verdict("contents", Outcome.PASS, f"{files}: every one is what the manifest says"), manifest, data


_OTHER = "fetch the snapshot again, or use another one; nothing in it should be believed"


def _count(damaged: list[str]) -> str:
    return "1 entry is damaged" if len(damaged) == 1 else f"{len(damaged):,} entries are damaged"


def _names(names: Iterable[str]) -> tuple[str, ...]:
    every = tuple(names)
    rest = len(every) - _SHOWN
    return (*every[:_SHOWN], f"and {rest:,} more") if rest > 0 else every


def _judge_signature(path: Path, data: bytes, public: bytes | None) -> Verdict | None:
    """The signature beside an archive; None when there is none and none was demanded."""
    beside = path.with_name(path.name + SIGNATURE)
    try:
        signature = _read_small(beside)
    except FileNotFoundError:
        if public is None:
            return None
        return Verdict("signature", Outcome.BLOCK, f"there is no {beside.name}: the snapshot is not signed")
    except OSError as error:
        return Verdict("signature", Outcome.UNKNOWN, f"{beside.name} cannot be read: {error.strerror}")
    if public is None:
        return Verdict(
            "signature",
            Outcome.WARN,
            "it is signed, and nobody looked by whom",
            remedy=("give the public key of whoever should have signed it with --key",),
        )
    if is_signed(public, data, signature):
        return Verdict("signature", Outcome.PASS, "its manifest is signed with the key that was given")
    return Verdict(
        "signature",
        Outcome.BLOCK,
        "its manifest is not signed with the key that was given",
        remedy=("ask whoever made the snapshot; do not restore it",),
    )


def _write_new(path: Path, data: bytes, mode: int) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UsageFailure(f"{path} cannot be written: {error.strerror}", not_done="no key was made") from error
