"""The packages that a person named, and those of their own that go into them.

Knows:     what `go list -deps -json` says about a package, and of which packages a binary can be made to look at.
Called by: `flows.packages` asks go, `flows.testing` and `flows.symbols` use the answer.
Never:     takes a package of the standard library or of a dependency for one of the person's own.
Source:    `go help list`; fields are chosen by name since go1.19.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

FIELDS = "ImportPath,Name,Dir,Standard,DepOnly,Module,GoFiles,CgoFiles,TestGoFiles,XTestGoFiles"


@dataclass(frozen=True, slots=True)
class Package:
    """One package.

    Attributes:
        path: Its import path.
        name: `main` for a program.
        folder: Its directory.
        named: The person named it; the others only go into those.
        own: Of a main module: not of the standard library and not of a dependency.
        module: Path of its module; empty without one.
        version: Version of that; empty for a main module.
        sources: Names of its Go files, tests too.
        tested: It has tests.
    """

    path: str
    name: str
    folder: str
    named: bool
    own: bool
    module: str
    version: str
    sources: tuple[str, ...]
    tested: bool


def parse_packages(stdout: bytes) -> tuple[Package, ...] | None:
    """Read what go prints: one document after the other; None when it is something else."""
    text, decoder, at = stdout.decode("utf-8", "replace"), json.JSONDecoder(), 0
    found = []
    try:
        while (at := _skip_space(text, at)) < len(text):
            value, at = decoder.raw_decode(text, at)
            found.append(_package(value))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return tuple(found)


def _skip_space(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _package(value: dict[str, Any]) -> Package:
    module = value.get("Module") or {}
    files = (value.get(key) or () for key in ("GoFiles", "CgoFiles", "TestGoFiles", "XTestGoFiles"))
    return Package(
        path=value["ImportPath"],
        name=value.get("Name", ""),
        folder=value.get("Dir", ""),
        named=not value.get("DepOnly", False),
        own=not value.get("Standard", False) and (not module or bool(module.get("Main"))),
        module=module.get("Path", ""),
        version=module.get("Version", ""),
        sources=tuple(name for names in files for name in names),
        tested=bool(value.get("TestGoFiles") or value.get("XTestGoFiles")),
    )


@dataclass(frozen=True, slots=True)
class Target:
    """One binary to make and look at.

    Attributes:
        package: From which package.
        test: Its test program; otherwise the program itself.
        units: Names that its own packages have in debug information.
    """

    package: str
    test: bool
    units: frozenset[str]


def targets(packages: Iterable[Package]) -> tuple[Target, ...]:
    """Every program that was named; when none was, the test program of every library that has tests."""
    packages = tuple(packages)
    own = frozenset(package.path for package in packages if package.own)
    programs = [package.path for package in packages if package.named and package.name == "main"]
    if programs:
        return tuple(Target(path, test=False, units=own - {path} | {"main"}) for path in programs)
    libraries = [package.path for package in packages if package.named and package.tested]
    return tuple(Target(path, test=True, units=own | {f"{path}_test"}) for path in libraries)
