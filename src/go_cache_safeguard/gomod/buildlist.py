"""Which module versions a build uses, and which of them only look so.

Knows:     the answers of `go list -m -json all`, `go mod edit -json` and `go work edit -json`, and what `replace` does to them.
Called by: `flows.modules`.
Never:     starts go.
Source:    cmd/go/internal/modinfo/info.go `ModulePublic`; `go help mod edit`; read in go1.21.13 and go1.26.8. A replacement lies
           in the module cache and in go.sum under its own path and version.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from go_cache_safeguard.gomod.layout import Version, make_version
from go_cache_safeguard.gomod.verify import Need, show

_OFFLINE = "module lookup disabled by GOPROXY=off"
"""What go says of a version of which it does not know when it was made (cmd/go/internal/modfetch/repo.go `errProxyOff`)."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A module version that a build may use.

    Attributes:
        version: As it lies in the cache; of a replaced module the replacement.
        need: Why.
    """

    version: Version
    need: Need


@dataclass(frozen=True, slots=True)
class Local:
    """A module that is replaced by a directory, which no hash covers.

    Attributes:
        path: Module path.
        directory: As go.mod says it, printable.
    """

    path: str
    directory: str


@dataclass(frozen=True, slots=True)
class BuildList:
    """What a build uses.

    Attributes:
        wanted: To be verified.
        local: Not coverable.
        notes: One sentence for each replaced module.
        problems: What go could not find out, in its own words, and what is no module version.
    """

    wanted: tuple[Wanted, ...]
    local: tuple[Local, ...]
    notes: tuple[str, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Work:
    """A go.work file.

    Attributes:
        uses: Absolute directories of the modules in the workspace.
        text: The same file with absolute paths, so that it means the same anywhere.
    """

    uses: tuple[str, ...]
    text: str


def parse_modules(data: bytes) -> tuple[Mapping[str, Any], ...] | None:
    """Read the objects that `go list -m -json` prints one after the other; None if it is not that."""
    try:
        return tuple(_objects(data.decode("utf-8", "surrogateescape")))
    except (ValueError, TypeError, RecursionError):
        return None


def parse_requires(data: bytes) -> Mapping[str, Need] | None:
    """Module paths that a go.mod file requires, as `go mod edit -json` prints them; None if it is not that."""
    try:
        required = json.loads(data).get("Require") or ()
        return {one["Path"]: Need.LISTED if one.get("Indirect") else Need.DIRECT for one in required}
    except (ValueError, RecursionError, AttributeError, KeyError, TypeError):
        return None


def parse_work(data: bytes, folder: str) -> Work | None:
    """Read what `go work edit -json` prints; None if it is not that.

    Args:
        data: What was printed.
        folder: Absolute directory of the go.work file.
    """
    try:
        value = json.loads(data)
        uses = tuple(str(PurePosixPath(folder, one["DiskPath"])) for one in value.get("Use") or ())
        lines = [f"use {_quoted(use)}" for use in uses]
        lines += [_replace_line(one["Old"], one["New"], folder) for one in value.get("Replace") or ()]
        return Work(uses, "\n".join([*([f"go {value['Go']}"] if value.get("Go") else []), *lines, ""]))
    except (ValueError, RecursionError, AttributeError, KeyError, TypeError):
        return None


def _replace_line(old: Mapping[str, str], new: Mapping[str, str], folder: str) -> str:
    version = new.get("Version", "")
    path = new["Path"] if version else str(PurePosixPath(folder, new["Path"]))
    return f"replace {_quoted(old['Path'])} {old.get('Version', '')} => {_quoted(path)} {version}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def strongest(requires: Sequence[Mapping[str, Need]]) -> Mapping[str, Need]:
    """What several modules of a workspace require together: direct, if one of them says so."""
    merged: dict[str, Need] = {}
    for one in requires:
        for path, need in one.items():
            merged[path] = Need.DIRECT if Need.DIRECT in {need, merged.get(path)} else need
    return merged


def make_build_list(modules: Sequence[Mapping[str, Any]], requires: Mapping[str, Need]) -> BuildList:
    """Follow replacements.

    Args:
        modules: See `parse_modules`.
        requires: See `parse_requires`.
    """
    wanted, local, notes, problems = [], [], [], []
    for module in modules:
        if module.get("Main"):
            continue
        used = module.get("Replace") or module
        name = f"{_shown(module, 'Path')}@{_shown(module, 'Version')}"
        need = requires.get(_text(module, "Path"), Need.GRAPH)
        if (error := module.get("Error")) and not (need is Need.GRAPH and _text(error, "Err").endswith(_OFFLINE)):
            problems.append(f"{name}: {_shown(error, 'Err')}")
        if used is not module:
            notes.append(f"{name} is replaced by {_shown(used, 'Path')}{_at(used)}: the original is not used")
        if used is not module and not _text(used, "Version"):
            local.append(Local(_shown(module, "Path"), _shown(used, "Path")))
            continue
        version = make_version(_text(used, "Path"), _text(used, "Version"))
        if version is None:
            problems.append(f"{name} is not a module version")
        else:
            wanted.append(Wanted(version, need))
    return BuildList(tuple(wanted), tuple(local), tuple(notes), tuple(problems))


def _objects(text: str) -> Iterator[Mapping[str, Any]]:
    decoder, rest = json.JSONDecoder(), text.lstrip()
    at = 0
    while at < len(rest):
        value, end = decoder.raw_decode(rest, at)
        if not isinstance(value, dict):
            raise TypeError("not an object")
        yield value
        at = end
        while at < len(rest) and rest[at].isspace():
            at += 1


def _text(value: Mapping[str, Any], key: str) -> str:
    found = value.get(key, "")
    return found if isinstance(found, str) else ""


def _shown(value: Mapping[str, Any], key: str) -> str:
    return show(_text(value, key).encode("utf-8", "surrogateescape"))


def _at(used: Mapping[str, Any]) -> str:
    version = _text(used, "Version")
    return f"@{version}" if version else ", a directory"
