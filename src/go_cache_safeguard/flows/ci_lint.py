"""Look at the CI files of a repository.

Knows:     where GitHub and GitLab look for them.
Called by: the command line's `ci lint`.
Never:     changes one, or looks outside of the repository.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from go_cache_safeguard.core.errors import UsageFailure
from go_cache_safeguard.gocache.cilint import Finding, lint
from go_cache_safeguard.gocache.ciworkflow import MOST, NotReadable, read_workflow
from go_cache_safeguard.gotool.shellline import Places, find_danger

_WORKFLOWS, _ACTIONS = Path(".github/workflows"), Path(".github/actions")
_GITLAB = (".gitlab-ci.yml", ".gitlab-ci.yaml")
_ENDS = {".yml", ".yaml"}


@dataclass(frozen=True, slots=True)
class Linted:
    """One file.

    Attributes:
        path: As it is shown.
        findings: What is wrong; None if it could not be read.
        caches: How many places of it keep a Go cache.
        problem: Why it could not be read; empty if it could.
    """

    path: str
    findings: tuple[Finding, ...] | None
    caches: int = 0
    problem: str = ""


def lint_files(given: Sequence[Path], cwd: Path) -> tuple[Linted, ...]:
    """Look at files, or at all that directories hold.

    Args:
        given: Files or directories; empty for the repository here.
        cwd: Where relative names begin.

    Raises:
        UsageFailure: There is no CI file where one was asked for.
    """
    files = [file for path in (given or [Path()]) for file in _files(cwd / path)]
    if not files:
        raise UsageFailure(
            "no CI file was found", hint="name one, or go to a directory with .github/workflows or .gitlab-ci.yml"
        )
    return tuple(_lint(file, cwd) for file in dict.fromkeys(files))


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for folder, depth in ((path / _WORKFLOWS, "*"), (path / _ACTIONS, "*/action.*"), (path, "action.*")):
        yield from sorted(file for file in folder.glob(depth) if file.suffix in _ENDS and file.is_file())
    yield from (path / name for name in _GITLAB if (path / name).is_file())
    yield from sorted(file for file in (path / ".gitlab").glob("**/*") if file.suffix in _ENDS and file.is_file())


def _lint(file: Path, cwd: Path) -> Linted:
    shown = os.path.relpath(file, cwd)
    try:
        with file.open("rb") as opened:
            data = opened.read(MOST + 1)
    except OSError as error:
        return Linted(shown, None, problem=error.strerror or str(error))
    gitlab = file.name.startswith(".gitlab") or ".gitlab" in file.parts
    found = read_workflow(data, gitlab=gitlab)
    if isinstance(found, NotReadable):
        return Linted(shown, None, problem=found.value)
    caches = sum(use.build or use.modules for use in found.uses)
    return Linted(shown, lint(found, _danger), caches)


def _danger(line: str) -> str:
    home = "/home/runner"
    places = Places(f"{home}/.cache/go-build", f"{home}/go/pkg/mod", home, f"{home}/work")
    found = find_danger(line, places)
    return f"{found.what}: use {found.instead}" if found else ""
