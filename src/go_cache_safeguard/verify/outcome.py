"""Where a fault lies: in the build cache, in the module cache, or in the source.

Knows:     what the same build says in the present cache, in an empty one, and with modules fresh from a mirror; and what each
           combination of answers means.
Called by: `flows.rollback`, which makes the builds.
Never:     says that a cache is bad because a build failed: an empty cache must do better.
Source:    builds are reproducible: with the same sources, flags, directory and toolchain an archive is the same to the last byte
           (seen with go1.21.13 to go1.27.3: the same outputs from a cold build in another GOCACHE). cmd/go/internal/load: BuildID
           and Export of `go list -export`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from go_cache_safeguard.core.verdict import Outcome, Verdict

FIELDS = "ImportPath,BuildID,Export"
CHECK = "rollback"
_SHOWN = 10
_NOT_DOWNLOADED = "module lookup disabled by GOPROXY=off"


class Case(StrEnum):
    """What is wrong."""

    NOTHING = "nothing"
    BUILD_CACHE = "build-cache"
    MODULE_CACHE = "module-cache"
    SOURCE = "source"
    ONLY_CACHED = "only-cached"
    UNCLEAR = "unclear"


_OUTCOME = {
    Case.NOTHING: Outcome.PASS,
    Case.BUILD_CACHE: Outcome.BLOCK,
    Case.MODULE_CACHE: Outcome.BLOCK,
    Case.SOURCE: Outcome.BLOCK,
    Case.ONLY_CACHED: Outcome.BLOCK,
    Case.UNCLEAR: Outcome.UNKNOWN,
}


class Export(NamedTuple):
    """A package as `go list -export` names it.

    Attributes:
        build_id: Of the archive: half of it stands for what went in, half for what came out.
        path: The archive.
    """

    build_id: str
    path: str


class Archive(NamedTuple):
    """The archive of a package, as it was read.

    Attributes:
        build_id: See `Export`.
        name: SHA-256 that its file name promises.
        sha256: That it has; None when it could not be read.
    """

    build_id: str
    name: str
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Built:
    """How one build of the packages went.

    Attributes:
        exit_code: 0 if go and, where asked for, the tests said yes; None when it did not come to an end.
        said: What go said last.
        archives: By import path; of those packages that could be built.
    """

    exit_code: int | None
    said: str = ""
    archives: Mapping[str, Archive] | None = None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The answer.

    Attributes:
        case: What is wrong.
        verdict: The same for a person.
        packages: Import paths whose archives in the present cache are not what an empty cache gives.
    """

    case: Case
    verdict: Verdict
    packages: tuple[str, ...] = ()


def parse_exports(stdout: bytes) -> dict[str, Export] | None:
    """Read `go list -export -json`: one document after the other; None when it is something else."""
    text, decoder, at = stdout.decode("utf-8", "replace"), json.JSONDecoder(), 0
    found = {}
    try:
        while at < len(text):
            if text[at].isspace():
                at += 1
                continue
            value: Any
            value, at = decoder.raw_decode(text, at)
            if value.get("Export"):
                found[str(value["ImportPath"])] = Export(str(value.get("BuildID", "")), str(value["Export"]))
    except (ValueError, KeyError, AttributeError, RecursionError):
        return None
    return found


def differences(present: Built, clean: Built) -> dict[str, str]:
    """Packages whose archive in the present cache is not the one that an empty cache gives, and in which way."""
    found = {}
    here, there = present.archives or {}, clean.archives or {}
    for path in sorted(here.keys() & there.keys()):
        ours, theirs = here[path], there[path]
        if ours.sha256 is None or theirs.sha256 is None:
            continue
        if ours.sha256 != ours.name:
            found[path] = "its archive is damaged: the content does not have the hash that names it"
        elif ours.sha256 != theirs.sha256:
            same = ours.build_id.partition("/")[0] == theirs.build_id.partition("/")[0]
            found[path] = "the same inputs gave another archive" if same else "its inputs, as go sees them, are others"
    return found


def diagnose(present: Built, clean: Built, mirror: Built | None, modules: Verdict | None) -> Diagnosis:
    """Say where the fault lies.

    Args:
        present: With the cache as it is.
        clean: With an empty build cache, the same modules.
        mirror: With that build cache and an empty module cache, filled from a mirror; None if that was not tried.
        modules: What the module check says; None if it was not asked.
    """
    found = differences(present, clean)
    case, summary = _case(present, clean, mirror, modules, found)
    evidence = [*_lines("the present cache", present), *_lines("an empty build cache", clean)]
    if mirror is not None:
        evidence += _lines("an empty build cache and modules from the mirror", mirror)
    if modules is not None and modules.outcome is not Outcome.PASS:
        evidence += [f"modules: {modules.outcome}: {modules.summary}", *modules.evidence[:_SHOWN]]
    packages = tuple(found) if case is Case.BUILD_CACHE else ()
    evidence += [f"{path}: {how}" for path, how in list(found.items())[:_SHOWN]]
    if len(found) > _SHOWN:
        evidence.append(f"and {len(found) - _SHOWN} more packages")
    return Diagnosis(case, Verdict(CHECK, _OUTCOME[case], summary, tuple(evidence), _REMEDY[case]), packages)


def _case(
    present: Built, clean: Built, mirror: Built | None, modules: Verdict | None, found: Mapping[str, str]
) -> tuple[Case, str]:
    builds = mirror is not None and mirror.exit_code == 0
    tampered = modules is not None and modules.outcome is Outcome.BLOCK
    if present.exit_code is None or clean.exit_code is None:
        return Case.UNCLEAR, "a build did not come to its end, so nothing can be compared"
    if tampered:
        return Case.MODULE_CACHE, "the module cache does not hold what go.sum demands"
    if clean.exit_code == 0:
        if present.exit_code:
            return Case.BUILD_CACHE, "the build fails in the present cache and succeeds in an empty one"
        if found:
            return Case.BUILD_CACHE, "both builds succeed, but the present cache gives other archives than an empty one"
        return Case.NOTHING, "the present cache and an empty one give the same archives"
    if builds:
        return Case.MODULE_CACHE, "the build fails with the modules as they are, and succeeds with fresh ones"
    if _NOT_DOWNLOADED in clean.said:
        return Case.MODULE_CACHE, "modules are missing in the module cache, and in the mirror, too"
    if present.exit_code == 0:
        return Case.ONLY_CACHED, "only the present cache can build this: an empty one fails, so do not remove it"
    return Case.SOURCE, "the build fails in an empty cache, too: no cache is to blame"


_REMEDY = {
    Case.NOTHING: ("no cache needs to be rolled back",),
    Case.BUILD_CACHE: (
        "go-cache-safeguard rollback --restore SNAPSHOT   # move the cache to quarantine, bring a snapshot back",
        "go-cache-safeguard rollback --rebuild            # move the cache to quarantine, build again",
        "go-cache-safeguard fsck --repair                 # only what is damaged",
    ),
    Case.MODULE_CACHE: (
        "go-cache-safeguard mod verify   # names the module versions",
        "remove those versions (`go clean -modcache` removes all); go downloads them again, or a snapshot brings them back",
    ),
    Case.SOURCE: ("repair the source, its dependencies or the toolchain; a rebuild would fail, too",),
    Case.ONLY_CACHED: (
        "go-cache-safeguard snapshot create -o cache.tar.zst   # before anything else",
        "then find out why a build from nothing fails: what go says is above",
    ),
    Case.UNCLEAR: ("give the builds more time with --set go.timeout=1h",),
}


def _lines(where: str, built: Built) -> list[str]:
    if built.exit_code is None:
        return [f"with {where}: {built.said or 'no end'}"]
    count = f", {len(built.archives)} packages" if built.archives else ""
    lines = [f"with {where}: exit code {built.exit_code}{count}"]
    return (
        lines + [f"  {line}" for line in built.said.splitlines() if line.strip()][:_SHOWN] if built.exit_code else lines
    )
