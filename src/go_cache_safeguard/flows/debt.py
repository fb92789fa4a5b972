"""Look through source code for instrumentation by hand, and rewrite what can be rewritten.

Knows:     which files are looked at, what is said of those that cannot be read, and how a file is replaced that nobody else changed.
Called by: `cli.traces_migrate`.
Never:     follows a symbolic link below what was named, or writes outside of it.
"""

import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from go_cache_safeguard.core.errors import UsageFailure
from go_cache_safeguard.debt import baseline as baselines
from go_cache_safeguard.debt import golang, java, python
from go_cache_safeguard.debt.finding import Finding, Forbid, Reading, is_forbidden
from go_cache_safeguard.debt.sarif import sarif
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.textfile import replace_text

_READERS: Final[Mapping[str, tuple[Callable[[str, bytes], Reading], Sequence[bytes]]]] = {
    ".java": (java.read, java.NEEDLES),
    ".go": (golang.read, golang.NEEDLES),
    ".py": (python.read, python.NEEDLES),
}
_LEFT_OUT: Final = frozenset({".git", ".hg", ".svn", "node_modules", "__pycache__"})
_MOST: Final = 4 << 20
"""bytes; a larger file takes seconds, and nobody wrote it by hand."""
_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found.

    Attributes:
        files: How many were looked at.
        findings: All that are debt, in the order of files and lines.
        new: Those that no baseline knows.
        unknown: Files that could not be told about, with the reason.
    """

    files: int
    findings: tuple[Finding, ...]
    new: tuple[Finding, ...]
    unknown: Mapping[str, str]


def check(session: Session, paths: Sequence[Path], *, forbid: Forbid, baseline: Path | None, vendor: bool) -> Checked:
    """Look.

    Args:
        session: Who works; names are relative to where it was started.
        paths: Files and directories; none: where it was started.
        forbid: What is debt.
        baseline: What is known already; None for nothing.
        vendor: Also look into directories called vendor.

    Raises:
        BaselineBad: The baseline cannot be understood.
        UsageFailure: It cannot be read, or a path is not there.
    """
    known = baselines.read(_text(baseline)) if baseline is not None else {}
    found: list[Finding] = []
    unknown: dict[str, str] = {}
    files = 0
    session.progress.phase("looking for instrumentation by hand")
    for path, told in sources([session.cwd / one for one in paths] or [session.cwd], tuple(_READERS), vendor=vendor):
        name = named(session, path)
        files += 1
        reading = _read(path, name) if told is None else told
        if isinstance(reading, str):
            unknown[name] = reading
            continue
        if reading.damage:
            unknown[name] = f"line {reading.damage} is not of the language, so what is there cannot be told"
        found += [one for one in reading.findings if is_forbidden(one, forbid)]
        session.progress.update(files)
    session.progress.phase("")
    return Checked(files, tuple(found), baselines.fresh(found, known), unknown)


def write_baseline(path: Path, findings: Sequence[Finding]) -> None:
    """Write what is there now; an older baseline is replaced.

    Raises:
        UsageFailure: It cannot be written.
    """
    _replace(path, baselines.write(baselines.baseline_of(findings)).encode())


def write_sarif(path: Path, checked: Checked) -> None:
    """Write SARIF; an older file is replaced, as every run of a job does.

    Raises:
        UsageFailure: It cannot be written.
    """
    _replace(path, (json.dumps(sarif(checked.findings, checked.new, checked.unknown), indent=2) + "\n").encode())


def sources(paths: Sequence[Path], endings: tuple[str, ...], *, vendor: bool) -> Iterator[tuple[Path, str | None]]:
    """Every file of these endings, with a reason if it is known already that it cannot be told about.

    Raises:
        UsageFailure: A path is not there.
    """
    for path in paths:
        if path.is_dir():
            yield from _below(path, endings, vendor=vendor)
        elif path.is_file():
            yield path, None if path.suffix in endings else "not a file of a language that is known here"
        else:
            raise UsageFailure(f"{path} is not there", not_done="nothing was looked at")


def _below(top: Path, endings: tuple[str, ...], *, vendor: bool) -> Iterator[tuple[Path, str | None]]:
    refused: list[OSError] = []
    for folder, folders, names in os.walk(top, onerror=refused.append):
        if "pyvenv.cfg" in names and Path(folder) != top:
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if name not in _LEFT_OUT and (vendor or name != "vendor"))
        for name in sorted(names):
            if name.endswith(endings) and not (path := Path(folder, name)).is_symlink():
                yield path, None
    for error in refused:
        yield Path(str(error.filename)), f"cannot be entered: {error.strerror}"


def named(session: Session, path: Path) -> str:
    """A file's name for findings: below where we were started, relative to it."""
    whole = Path(os.path.abspath(path))  # noqa: PTH100 - without following links, as a person named it
    return whole.relative_to(session.cwd).as_posix() if whole.is_relative_to(session.cwd) else whole.as_posix()


def content_of(path: Path) -> bytes | str:
    """A plain file's content, or why it cannot be had."""
    try:
        file = os.open(path, _FLAGS)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    with os.fdopen(file, "rb") as reader:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            return "not a plain file"
        if found.st_size > _MOST:
            return f"larger than {_MOST >> 20} MiB, so it was not looked at"
        try:
            return reader.read(_MOST)
        except OSError as error:
            return f"cannot be read: {error.strerror}"


def _read(path: Path, name: str) -> Reading | str:
    if isinstance(content := content_of(path), str):
        return content
    read, needles = _READERS[path.suffix]
    return read(name, content) if any(needle in content for needle in needles) else Reading()


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageFailure(
            f"the baseline {path} cannot be read: {error}",
            not_done="nothing was looked at",
            hint="write one with --write-baseline",
        ) from error


def _replace(path: Path, content: bytes) -> None:
    try:
        replace_text(path, lambda _before: content)
    except OSError as error:
        raise UsageFailure(
            f"{path} cannot be written: {error.strerror or error}", not_done="it is as it was"
        ) from error
