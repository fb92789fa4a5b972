"""Bring a snapshot back into a cache: plan, merge, let it survive go's trim, prove.

Knows:     the order of the steps, which rules hold for which cache, and what is written into the journal before and after.
Called by: the command line's `snapshot restore`, and `flows.rollback`.
Never:     replaces a live file, takes a snapshot's word for anything, or removes by itself: when the proof fails, what was written
           goes out through the same door as everything else.
Source:    outputs before index entries, as go itself writes them (cmd/go/internal/cache/cache.go `put`, go1.21 to go1.27): no
           reader ever sees an entry without its output.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.plan import Item
from go_cache_safeguard.flows.inspect import NotAGoCache
from go_cache_safeguard.flows.interrupt import stoppable
from go_cache_safeguard.flows.plan import plan_of
from go_cache_safeguard.flows.prove import Proof, Prover
from go_cache_safeguard.flows.remove import Interrupted, Manner, execute
from go_cache_safeguard.flows.session import Session, new_operation_id
from go_cache_safeguard.gocache import member as build_member
from go_cache_safeguard.gocache.disk import identify_at
from go_cache_safeguard.gocache.layout import ENTRY_NAME, SHARDS, SPECIAL, IsCache
from go_cache_safeguard.gomod import member as mod_member
from go_cache_safeguard.gotool.trim import set_trim_time
from go_cache_safeguard.snapshot.manifest import Entry, Kind
from go_cache_safeguard.snapshot.merge import Choice, Merge, Step, plan_merge
from go_cache_safeguard.snapshot.quarantine import open_quarantine
from go_cache_safeguard.snapshot.restore import Admit, Written, look, refresh, require_room, write
from go_cache_safeguard.snapshot.source import Source
from go_cache_safeguard.telemetry.names import SpanName
from go_cache_safeguard.telemetry.span import span
from go_cache_safeguard.tree.owner import as_owner
from go_cache_safeguard.tree.root import Root, open_directory, open_root

if TYPE_CHECKING:
    from go_cache_safeguard.journal.store import Journal

_LISTED = 20
"""How many names a record of the journal holds of each kind; the rest is a number."""


class RestoreProofFailed(Failure):
    """Go did not work with what was restored."""

    id = "restore-proof-failed"
    exit_code = ExitCode.PROOF_FAILED
    meaning = "the proof after a restore failed; what was written was taken out again, into quarantine"


@dataclass(frozen=True, slots=True)
class Planned:
    """A restore that was decided on.

    Attributes:
        snapshot: SHA-256 of the manifest.
        kind: What was copied.
        target: The cache.
        merge: What happens to each file.
    """

    snapshot: str
    kind: Kind
    target: Path
    merge: Merge

    def as_value(self) -> dict[str, Value]:
        """For the journal and for `--json`."""
        counts = self.merge.counts
        return {
            "snapshot": self.snapshot,
            "kind": str(self.kind),
            "target": str(self.target),
            "files": len(self.merge.choices),
            **{str(step): counts.get(step, 0) for step in Step},
            "write_bytes": self.merge.size,
        }


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did.

    Attributes:
        id: Names this restore in the journal.
        planned: What was decided.
        written: What was done.
        refreshed: Files that were there and now count as used.
        notes: What did not work and does no harm.
        proof: What shows that go works, or None when no proof was asked for.
        took_ms: Milliseconds from the first file to the last.
    """

    id: str
    planned: Planned
    written: Written
    refreshed: int
    notes: tuple[str, ...]
    proof: Proof | None
    took_ms: int

    @property
    def whole(self) -> bool:
        """Whether everything that the snapshot lists and that belongs into the cache is there now."""
        return not self.written.failed and not self.planned.merge.counts.get(Step.REFUSE)

    def as_value(self) -> dict[str, Value]:
        """For the journal and for `--json`."""
        return {
            "restore": self.id,
            **self.planned.as_value(),
            "written": len(self.written.files),
            "written_bytes": self.written.size,
            "newer": len(self.written.newer),
            "failed": [list(pair) for pair in self.written.failed[:_LISTED]],
            "failed_files": len(self.written.failed),
            "refreshed": self.refreshed,
            "refused": _named(self.planned.merge, Step.REFUSE),
            "kept": _named(self.planned.merge, Step.KEEP),
            "notes": list(self.notes),
            "proof": [] if self.proof is None else list(self.proof.evidence),
            "took_ms": self.took_ms,
        }


@contextmanager
def open_source(session: Session, what: str, *, place: str | None = None, key: Path | None = None) -> Iterator[Source]:
    """Find a snapshot: a file, or one of the repository.

    Args:
        session: Who asks.
        what: Path of an archive; else the beginning of an id in the repository, or `latest`.
        place: The repository; None for the setting.
        key: File with the public key that must have signed it; None for the setting `snapshot.key`, which may ask for none.

    Raises:
        SignatureBad: It must be signed, and is not.
        ArchiveBad: The archive is damaged or hostile.
        Failure: The repository cannot be read, or has no such snapshot.
    """
    configured = session.config.text("snapshot.key")
    key = key or (Path(configured) if configured else None)
    path = session.cwd / what
    if path.is_file() or "/" in what:
        from go_cache_safeguard.flows.snapshot import require_signature  # noqa: PLC0415 - each way loads much
        from go_cache_safeguard.snapshot.archive import open_archive  # noqa: PLC0415 - likewise

        session.progress.phase("reading the snapshot")
        with open_archive(path, progress=session.progress.update) as archive:
            session.progress.phase("")
            if key is not None:
                require_signature(path, archive.manifest_data, key)
            yield archive
        return
    from go_cache_safeguard.flows.repository import source  # noqa: PLC0415 - likewise

    stored = source(session, what, place)
    if key is not None:
        _require_signed(what, stored.record.data, stored.signature(), key)
    yield stored


def _require_signed(what: str, data: bytes, signature: bytes | None, key: Path) -> None:
    from go_cache_safeguard.flows.snapshot import SignatureBad, read_key  # noqa: PLC0415 - likewise
    from go_cache_safeguard.snapshot.signature import is_signed  # noqa: PLC0415 - likewise

    if signature is None or not is_signed(read_key(key), data, signature):
        why = "it has no signature" if signature is None else "its signature is of another key or of something else"
        raise SignatureBad(f"snapshot {what} cannot be trusted: {why}", not_done="nothing was taken from it")


def preview(session: Session, source: Source, target: Path, *, fuzz: bool = False) -> Planned:
    """Say what a restore would do. Touches nothing; a cache that is not there counts as empty.

    Raises:
        NotAGoCache: The target is something else.
        UnsafePath: It cannot be entered safely.
    """
    manifest = source.manifest
    if not os.path.lexists(target):
        rules = _rules(manifest.kind, lambda _name: False, fuzz=fuzz)
        merge = plan_merge(manifest, {}, omitted=rules.omitted, refused=rules.refused)
        return Planned(manifest.root, manifest.kind, target, merge)
    with open_root(target) as root:
        _refuse_others(root, manifest.kind)
        return _plan(session, root, source, fuzz=fuzz)


def restore(
    session: Session, source: Source, target: Path, prover: Prover | None, *, fuzz: bool = False, wait_s: int = 0
) -> Restored:
    """Merge a snapshot into a cache and prove that go works with it.

    Args:
        session: Who works, with which settings.
        source: The snapshot.
        target: The cache, resolved; made when it is not there.
        prover: Makes the proof; None for none.
        fuzz: Whether fuzz inputs come back, too.
        wait_s: If the proof fails: how long what goes out again waits for running go commands, in seconds.

    Raises:
        NotAGoCache: The target is something else.
        NoRoom: The disk is too full; nothing was written.
        WriteFailed: The cache cannot be written.
        Interrupted: Somebody asked to stop; running it again goes on.
        RestoreProofFailed: And what was written was taken out again.
    """
    name = new_operation_id()
    with span(SpanName.RESTORE, op=name, target=target, actor=session.actor) as here, session.journal() as journal:
        _make(target)
        with open_root(target) as root, _alone(session, root):
            restored = _restore(session, journal, root, source, prover, name=name, fuzz=fuzz)
        here.set(keys=len(restored.written.files))
        if restored.proof is not None and not restored.proof.passed:
            raise _took_back(session, journal, restored, wait_s)
        return restored


def _restore(
    session: Session,
    journal: "Journal",
    root: Root,
    source: Source,
    prover: Prover | None,
    *,
    name: str,
    fuzz: bool,
) -> Restored:
    _refuse_others(root, source.manifest.kind)
    planned = _plan(session, root, source, fuzz=fuzz)
    chosen = [choice.entry for choice in planned.merge.of(Step.WRITE)]
    require_room(root, chosen)
    journal.note("restore-begun", {"restore": name, **planned.as_value()})
    began = time.monotonic_ns()
    try:
        restored = _merge(session, root, source, planned, name=name)
    except (Failure, OSError) as problem:
        journal.note("restore-failed", {"restore": name, "why": str(problem)})
        raise
    restored = replace(restored, took_ms=(time.monotonic_ns() - began) // 10**6)
    if restored.written.stopped:
        journal.note("restore-stopped", restored.as_value())
        raise Interrupted(
            f"stopped after {len(restored.written.files):,} of {len(chosen):,} files",
            not_done="what was written is whole and stays; nothing was replaced or removed",
            hint="run the same command again: it goes on where it ended",
        )
    if prover is not None:
        restored = replace(restored, proof=prover(session, root))
    journal.note("restore-ended", {**restored.as_value(), "proved": restored.proof is None or restored.proof.passed})
    return restored


def _merge(session: Session, root: Root, source: Source, planned: Planned, *, name: str) -> Restored:
    chosen = [choice.entry for choice in planned.merge.of(Step.WRITE)]
    now_ns = time.time_ns()
    is_build = planned.kind is Kind.BUILD
    notes = _hold_trim(root, now_ns) if is_build else []
    progress = session.progress
    with stoppable(progress.say) as stop:
        written = Written()
        for what, part in _parts(chosen, is_build=is_build):
            if not part or written.stopped:
                continue
            progress.phase(f"restoring {what}", len(part))
            admit: Admit | None = _admit if what == "index entries" else None
            written.add(
                write(
                    root,
                    source,
                    part,
                    now_ns=now_ns,
                    programs=build_member.is_program if is_build else _never_a_program,
                    in_place=is_build,
                    admit=admit,
                    progress=progress.update,
                    stop=stop,
                )
            )
        progress.phase("")
        there = [choice.entry.name for choice in planned.merge.of(Step.SKIP)] if is_build else []
        refreshed = 0 if written.stopped else refresh(root, there, now_ns=now_ns)
    return Restored(name, planned, written, refreshed, tuple(notes), None, 0)


def _parts(chosen: Sequence[Entry], *, is_build: bool) -> Iterator[tuple[str, list[Entry]]]:
    """What is written in which order. Between two parts everything is brought to the disk."""
    index = [entry for entry in chosen if is_build and build_member.is_index(entry.name)]
    late = {entry.name for entry in index}
    top = [entry for entry in chosen if "/" not in entry.name]
    yield "what tells the cache", top
    yield "outputs" if is_build else "files", [e for e in chosen if "/" in e.name and e.name not in late]
    yield "index entries", index


def _admit(entry: Entry, data: bytes, size_of: Callable[[str], int | None]) -> str | None:
    return build_member.why_bad_index(entry.name, data, size_of)


def _never_a_program(_name: str) -> bool:
    return False


# ---------------------------------------------------------------- planning


@dataclass(frozen=True, slots=True)
class _Rules:
    omitted: Callable[[Entry], str | None]
    refused: Callable[[Entry], str | None]


def _rules(kind: Kind, is_there: Callable[[str], bool], *, fuzz: bool) -> _Rules:
    if kind is Kind.BUILD:
        return _Rules(
            lambda entry: build_member.why_omitted(entry.name, fuzz=fuzz),
            lambda entry: build_member.why_refused(entry.name, entry.size, entry.sha256),
        )

    def refused(entry: Entry) -> str | None:
        remembered = mod_member.remembered_hash(entry.name)
        if remembered is not None and not is_there(entry.name) and is_there(remembered):
            return "the cache remembers its hash, so go would not check this zip against go.sum"
        return mod_member.why_refused(entry.name)

    return _Rules(lambda entry: mod_member.why_omitted(entry.name), refused)


def _plan(session: Session, root: Root, source: Source, *, fuzz: bool) -> Planned:
    manifest = source.manifest
    rules = _rules(manifest.kind, lambda name: _is_there(root, name), fuzz=fuzz)
    session.progress.phase("comparing with the cache", len(manifest.entries))
    belonging = [entry for entry in manifest.entries if not (rules.omitted(entry) or rules.refused(entry))]
    live = look(root, belonging, tell=session.progress.update)
    session.progress.phase("")
    merge = plan_merge(manifest, live, omitted=rules.omitted, refused=rules.refused)
    return Planned(manifest.root, manifest.kind, root.path, merge)


def _is_there(root: Root, name: str) -> bool:
    """Whether go would find something of this name; links on the way count as go would count them."""
    return os.path.lexists(root.path / name)


def _refuse_others(root: Root, kind: Kind) -> None:
    """Make sure that the target is such a cache, or empty.

    Raises:
        NotAGoCache: It is something else.
    """
    with os.scandir(root.fd) as items:
        names = {item.name for item in items}
    if kind is Kind.BUILD:
        # A restore that was killed may have left a few shards.
        fits = names <= {*SHARDS, *SPECIAL} or isinstance(identify_at(root.fd), IsCache)
    else:
        fits = not names or "cache" in names
    if not fits:
        raise NotAGoCache(
            f"{root.path} is neither empty nor a {str(kind).replace('-', ' ')}",
            not_done="nothing was written",
            hint="name another directory with --gocache or --modcache; one that does not exist is made",
        )


def _make(target: Path) -> None:
    """Make the cache's directory, as go does, with the rights of whoever owns the directory above it.

    Raises:
        UnsafePath: The way to it is not safe.
        NotAGoCache: It cannot be made.
    """
    if os.path.lexists(target):
        return
    parent = open_directory(target.parent)
    try:
        above = os.fstat(parent)

        def make(_tell: object, _stopped: object) -> Value:
            try:
                os.mkdir(target.name, 0o777, dir_fd=parent)
            except FileExistsError:
                return ""
            except OSError as error:
                return error.strerror or str(error)
            return ""

        why = as_owner(above.st_uid, above.st_gid, make)
    finally:
        os.close(parent)
    if why:
        raise NotAGoCache(f"{target} cannot be made: {why}", not_done="nothing was written")


@contextmanager
def _alone(session: Session, root: Root) -> Iterator[None]:
    """Hold the lock that clean, undo and purge hold, too."""
    configured = session.config.text("quarantine.dir")
    with open_quarantine(root, allowed=ENTRY_NAME, place=Path(configured) if configured else None):
        yield


def _hold_trim(root: Root, now_ns: int) -> list[str]:
    def hold(_tell: object, _stopped: object) -> Value:
        return list(set_trim_time(root.fd, now_ns))

    problems = as_owner(root.uid, root.gid, hold)
    return [str(problem) for problem in problems] if isinstance(problems, list) else []


# ---------------------------------------------------------------- when the proof fails


def _took_back(session: Session, journal: "Journal", restored: Restored, wait_s: int) -> RestoreProofFailed:
    """Take what was written out again, through the door."""
    evidence = "; ".join(restored.proof.evidence) if restored.proof else ""
    what = f"the proof failed in {restored.planned.target}: {evidence}"
    if restored.planned.kind is not Kind.BUILD:
        return RestoreProofFailed(what, not_done="what was restored stays", hint="go-cache-safeguard mod verify")
    op = new_operation_id()
    with open_root(restored.planned.target) as root:
        plan = plan_of(session, root, _items(root, restored), ("snapshot restore",), restored.written.size)
    if not plan.items:
        return RestoreProofFailed(what, not_done="nothing of what was restored is still as it was written")
    about: dict[str, Value] = {"kind": plan.kind, "target": plan.target, "identity": plan.identity}
    about |= {"selectors": list(plan.selectors), "digest": plan.digest, "items": len(plan.items), "bytes": plan.total}
    journal.advance(op, State.REQUESTED, {**about, "whole": plan.whole, "restore": restored.id})
    journal.advance(op, State.CHECKED, {"verdicts": []})
    journal.advance(op, State.ALLOWED, {"reasons": ["the proof of a restore failed: only what it wrote goes again"]})
    receipt = execute(session, journal, op, plan, Manner(wait_s=wait_s, prover=None))
    return RestoreProofFailed(
        what,
        not_done=f"{receipt.moved:,} of the {len(restored.written.files):,} files that were written are in quarantine ({op})",
        hint=f"`go-cache-safeguard undo {op}` brings them back; `go-cache-safeguard fsck --all` looks at the rest",
    )


def _items(root: Root, restored: Restored) -> list[Item]:
    """What the door may take: entries that are still what was written."""
    names = {name for name, _, _ in restored.written.files}
    entries = [choice.entry for choice in restored.planned.merge.of(Step.WRITE) if choice.entry.name in names]
    same = look(root, entries)
    items: dict[str, Item] = {}
    for entry in entries:
        live = same.get(entry.name)
        name = entry.name.rpartition("/")[0] if build_member.is_program(entry.name) else entry.name
        if live is None or live.sha256 != entry.sha256 or not ENTRY_NAME.fullmatch(name):
            continue
        stamp = os.stat(name, dir_fd=root.fd, follow_symlinks=False).st_mtime_ns
        items[name] = Item(name, entry.size, stamp, "restored, and the proof failed")
    return [items[name] for name in sorted(items)]


def _named(merge: Merge, step: Step) -> list[Value]:
    found: list[Choice] = list(merge.of(step))
    return [[choice.entry.name, choice.why] for choice in found[:_LISTED]]
