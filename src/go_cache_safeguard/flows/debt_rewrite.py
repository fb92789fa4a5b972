"""Rewrite Python files from OpenTracing to OpenTelemetry: show it, or do it.

Knows:     what would change, as a diff, and how a file is replaced that is still what was looked at.
Called by: `cli.traces_migrate`.
Never:     writes through a link, over what somebody has changed meanwhile, or with more rights than the file's owner has.
"""

import difflib
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from go_cache_safeguard.debt.codemod import Remark, rewrite
from go_cache_safeguard.flows.debt import content_of, named, sources
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.textfile import replace_text
from go_cache_safeguard.tree.owner import as_owner

_CHANGED = "changed meanwhile, so it was left"


@dataclass(frozen=True, slots=True)
class Change:
    """What came, or would come, of one file.

    Attributes:
        file: Its name, relative to where we were started.
        diff: What changes, as a unified diff; empty for nothing.
        left: What stands in the way; the file stays as it is then.
        notes: What is to be looked at.
        problem: Why it could not be read, understood or written; empty if it could.
        written: Whether it was written.
    """

    file: str
    diff: str = ""
    left: tuple[Remark, ...] = ()
    notes: tuple[Remark, ...] = ()
    problem: str = ""
    written: bool = False


def rewrite_files(session: Session, paths: Sequence[Path], *, write: bool, vendor: bool) -> tuple[Change, ...]:
    """Rewrite, or show what would be rewritten.

    Args:
        session: Who works.
        paths: Files and directories.
        write: Whether to write.
        vendor: Also look into directories called vendor.

    Returns:
        Only files of which there is something to say.

    Raises:
        UsageFailure: A path is not there.
    """
    session.progress.phase("looking for OpenTracing in Python")
    changes = []
    for done, (path, told) in enumerate(sources([session.cwd / one for one in paths], (".py",), vendor=vendor), 1):
        change = _change(path, named(session, path), write=write) if told is None else Change(str(path), problem=told)
        if change is not None:
            changes.append(change)
        session.progress.update(done)
    session.progress.phase("")
    return tuple(changes)


def _change(path: Path, file: str, *, write: bool) -> Change | None:
    if isinstance(content := content_of(path), str):
        return Change(file, problem=content)
    if b"opentracing" not in content:
        return None
    try:
        text = content.decode("utf-8")
        done = rewrite(text)
    except (UnicodeDecodeError, SyntaxError) as error:
        return Change(file, problem=f"cannot be understood: {error}")
    if done.text == text:
        return Change(file, left=done.left) if done.left else None
    diff = "".join(
        difflib.unified_diff(
            text.splitlines(keepends=True), done.text.splitlines(keepends=True), f"a/{file}", f"b/{file}"
        )
    )
    problem = _write(path, content, done.text.encode()) if write else ""
    return Change(file, diff, notes=done.notes, problem=problem, written=write and not problem)


def _write(path: Path, before: bytes, after: bytes) -> str:
    """Replace a file as its owner. Returns why not, or nothing."""
    try:
        found = path.lstat()
    except OSError as error:
        return f"cannot be written: {error.strerror}"
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        return "it has other names or is a link, so it was left"

    def only_if_same(now: bytes) -> bytes:
        if now != before:
            raise InterruptedError(0, _CHANGED)
        return after

    def work(*_told: object) -> str:
        if content_of(path) != before:
            return _CHANGED
        try:
            replace_text(path, only_if_same, mode=stat.S_IMODE(found.st_mode))
        except OSError as error:
            return f"not written: {error.strerror or error}"
        return ""

    return str(as_owner(found.st_uid, found.st_gid, work))
