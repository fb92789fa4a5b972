"""What `go list -json` says about packages.

Knows:     the fields that we ask for, and how a stream of JSON objects becomes packages.
Called by: `flows.looking`; `gotool.stale` and `gotool.buildplan` use the answer.
Never:     reads a file that it names.
Source:    cmd/go/internal/load/pkg.go `PackagePublic`; same fields from go1.21 to go1.27. `-json=FIELDS` since go1.19: go computes
           `Stale` only when it is asked for, and that loads every package's build action.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_BUILT = (
    "GoFiles",
    "CgoFiles",
    "CFiles",
    "CXXFiles",
    "MFiles",
    "HFiles",
    "FFiles",
    "SFiles",
    "SwigFiles",
    "SwigCXXFiles",
    "SysoFiles",
    "EmbedFiles",
)
_LEFT_OUT = ("IgnoredGoFiles", "IgnoredOtherFiles")
FIELDS = (
    "ImportPath",
    "Name",
    "Dir",
    "Standard",
    "DepOnly",
    "Module",
    "Imports",
    "Error",
    "DepsErrors",
    *_BUILT,
    *_LEFT_OUT,
)
"""What both askers need."""
STALE_FIELDS = ("Stale", "StaleReason")
"""What `stale` needs besides."""


@dataclass(frozen=True, slots=True)
class Package:
    """One package as go sees it.

    Attributes:
        path: Import path.
        name: Package name; `main` for a program, empty if it has none.
        directory: Absolute; empty if it was not found.
        standard: It is part of the toolchain.
        only_needed: Nobody asked for it; something else imports it.
        module: Path of its module; empty in the standard library.
        version: Version of that module, of the replacement if there is one; empty for a main module or a directory.
        module_directory: Absolute; empty if there is none.
        go: The go line that rules it, such as `1.21`; empty if there is none.
        files: Names relative to the directory that go would use, sorted.
        left_out: Likewise, that this environment leaves out; no tests, of which go tells only some.
        imports: Import paths that its files name.
        stale: What go says.
        reason: Why, in go's words; empty if it is not stale.
        error: Why it cannot be built, in go's words; empty if it can.
        has_go: Go has Go files of it to compile: only then it is a step of a listing's action graph.
    """

    path: str
    name: str = ""
    directory: str = ""
    standard: bool = False
    only_needed: bool = False
    module: str = ""
    version: str = ""
    module_directory: str = ""
    go: str = ""
    files: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    stale: bool = False
    reason: str = ""
    error: str = ""
    has_go: bool = False


def list_args(patterns: Sequence[str], *, graph: str = "", tests: bool = False) -> tuple[str, ...]:
    """The arguments of `go list` for packages and all that they need.

    Args:
        patterns: What to list.
        graph: Where the action graph goes; then go also says what is stale.
        tests: Also what their tests are built of: `p [p.test]`, `p_test [p.test]` and the program `p.test`.
    """
    fields = ",".join((*FIELDS, *(STALE_FIELDS if graph else ())))
    more = (f"-debug-actiongraph={graph}",) if graph else ()
    test = ("-test",) if tests else ()
    return ("list", "-e", "-deps", *test, *more, f"-json={fields}", "--", *patterns)


def parse_packages(data: bytes) -> tuple[Package, ...] | None:
    """Read what `go list -json` printed; None if it is not that."""
    try:
        return tuple(_package(value) for value in _objects(data.decode("utf-8", "replace")))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _objects(text: str) -> Iterator[Mapping[str, Any]]:
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        value, at = decoder.raw_decode(text, at)
        yield value


def _package(value: Mapping[str, Any]) -> Package:
    module: Mapping[str, Any] = value.get("Module") or {}
    real: Mapping[str, Any] = module.get("Replace") or module
    return Package(
        path=str(value["ImportPath"]),
        name=str(value.get("Name", "")),
        directory=str(value.get("Dir", "")),
        standard=bool(value.get("Standard")),
        only_needed=bool(value.get("DepOnly")),
        module=str(module.get("Path", "")),
        version=str(real.get("Version", "")),
        module_directory=str(real.get("Dir") or module.get("Dir") or ""),
        go=str(real.get("GoVersion") or module.get("GoVersion") or ""),
        files=_names(value, _BUILT),
        left_out=tuple(name for name in _names(value, _LEFT_OUT) if not name.endswith("_test.go")),
        imports=tuple(str(name) for name in value.get("Imports") or ()),
        stale=bool(value.get("Stale")),
        reason=str(value.get("StaleReason", "")),
        error=_error(value),
        has_go=bool(value.get("GoFiles") or value.get("CgoFiles")),
    )


def _names(value: Mapping[str, Any], fields: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted({str(name) for field in fields for name in value.get(field) or ()}))


def _error(value: Mapping[str, Any]) -> str:
    errors = [value["Error"]] if value.get("Error") else value.get("DepsErrors") or []
    return " ".join(str(errors[0].get("Err", "")).split()) if errors else ""
