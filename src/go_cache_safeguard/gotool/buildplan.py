"""What a build consists of, on any machine: the instructions and sources of each package, the toolchain and the environment.

Knows:     the shape of a plan, its file, and which settings of go's environment steer a build.
Called by: `flows.build_plan` makes, stores and reads plans; `gotool.plandiff` compares two.
Never:     holds an absolute path, a build ID or a time: two machines with the same module and toolchain write the same bytes.
Source:    `go help environment`; the settings are those that cmd/go/internal/work/exec.go `buildActionID`, `printLinkerConfig` and
           cmd/go/internal/envcmd name.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from go_cache_safeguard.core.canonical import Value, canonical
from go_cache_safeguard.gotool.environment import without_passwords
from go_cache_safeguard.gotool.instructions import Instructions, Places, Step
from go_cache_safeguard.gotool.packages import Package

SCHEMA = "go-cache-safeguard/build-plan/1"
UNREAD = "unreadable"
"""Stands for the digest of a file that could not be read."""

STEERING = (
    "GOOS",
    "GOARCH",
    "GO386",
    "GOAMD64",
    "GOARM",
    "GOARM64",
    "GOMIPS",
    "GOMIPS64",
    "GOPPC64",
    "GORISCV64",
    "GOWASM",
    "GOFLAGS",
    "GOEXPERIMENT",
    "GOFIPS140",
    "GO111MODULE",
    "CGO_ENABLED",
    "CGO_CFLAGS",
    "CGO_CPPFLAGS",
    "CGO_CXXFLAGS",
    "CGO_FFLAGS",
    "CGO_LDFLAGS",
    "CC",
    "CXX",
    "FC",
    "AR",
    "GCCGO",
    "PKG_CONFIG",
)
"""What is asked of `go env`."""
_YOUNGER = frozenset({"GOARM64", "GORISCV64", "GOFIPS140"})
"""Settings that came after go1.21 and are never empty where they mean anything: empty says that this go does not know them."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One package in a plan.

    Attributes:
        standard: It is part of the toolchain.
        module: Path of its module; empty in the standard library.
        version: Version of that module; empty for a main module or a directory.
        go: The go line that rules it.
        imports: Import paths that its files name, sorted.
        sources: From each file in its directory that go looked at, used or left out, to the SHA-256 of its content.
        steps: What is done for it; nothing for a package such as `unsafe`.
        config: Lines of its import configurations.
    """

    standard: bool
    module: str
    version: str
    go: str
    imports: tuple[str, ...]
    sources: Mapping[str, str]
    steps: tuple[Step, ...]
    config: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole build.

    Attributes:
        toolchain: What `go env GOVERSION` says.
        environment: Of `STEERING`, what go knows, with places named and passwords covered.
        patterns: The packages that were asked for.
        units: By import path.
    """

    toolchain: str
    environment: Mapping[str, str]
    patterns: tuple[str, ...]
    units: Mapping[str, Unit]


@dataclass(frozen=True, slots=True)
class NoPlan:
    """The bytes are no plan.

    Attributes:
        reason: Why not, for a person.
    """

    reason: str


def name_places(
    packages: Iterable[Package], *, start: str, goroot: str, modcache: str, gocache: str, home: str
) -> Places:
    """What the absolute directories of this machine are called in a plan: `$GOROOT`, `$(example.org/m)`, ..."""
    names = {home: "$HOME", gocache: "$GOCACHE", modcache: "$GOMODCACHE", goroot: "$GOROOT"}
    for package in packages:
        if package.module_directory and not package.module_directory.startswith(f"{modcache}/"):
            names.setdefault(package.module_directory, f"$({package.module})")
    return Places(start, {directory: name for directory, name in names.items() if directory})


def make_plan(
    *,
    environment: Mapping[str, str],
    patterns: tuple[str, ...],
    packages: Iterable[Package],
    instructions: Mapping[str, Instructions],
    sources: Mapping[str, Mapping[str, str]],
    places: Places,
) -> Plan:
    """Put a plan together.

    Args:
        environment: What `go env -json` says.
        patterns: The packages that were asked for.
        packages: What `go list -deps` says about them.
        instructions: What `go build -a -n` says about them.
        sources: By import path, the digest of each file.
        places: What absolute directories are called.
    """
    known = {package.path: package for package in packages}
    nothing = Instructions((), ())
    units = {}
    for path in sorted({*known, *instructions}):
        package, done = known.get(path, Package(path)), instructions.get(path, nothing)
        units[path] = Unit(
            standard=package.standard,
            module=package.module,
            version=package.version,
            go=package.go,
            imports=tuple(sorted(package.imports)),
            sources=dict(sorted(sources.get(path, {}).items())),
            steps=done.steps,
            config=done.config,
        )
    steering = {
        name: places.name(without_passwords(environment[name]))
        for name in sorted(STEERING)
        if name in environment and (environment[name] or name not in _YOUNGER)
    }
    return Plan(environment.get("GOVERSION", ""), steering, patterns, units)


def write_plan(plan: Plan) -> bytes:
    """The bytes of a plan's file."""
    document: dict[str, Value] = {
        "schema": SCHEMA,
        "toolchain": plan.toolchain,
        "environment": dict(plan.environment),
        "patterns": list(plan.patterns),
        "packages": {path: _unit_value(unit) for path, unit in plan.units.items()},
    }
    return canonical(document, known=True) + b"\n"


def read_plan(data: bytes) -> Plan | NoPlan:
    """Read a plan's file; whatever is not exactly one is not half believed."""
    try:
        value: Any = json.loads(data)
    except (ValueError, RecursionError) as error:
        return NoPlan(f"it is not JSON: {error}")
    schema = value.get("schema") if isinstance(value, dict) else None
    if schema != SCHEMA:
        return NoPlan(f"its schema is {schema!r}, not {SCHEMA!r}")
    try:
        return Plan(
            _text(value["toolchain"]),
            {_text(name): _text(text) for name, text in value["environment"].items()},
            _texts(value["patterns"]),
            {_text(path): _unit(unit) for path, unit in value["packages"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return NoPlan(f"a field is missing or has another form than we know: {error}")


def _unit_value(unit: Unit) -> dict[str, Value]:
    steps: list[Value] = [
        {"tool": step.tool, "flags": list(step.flags), "inputs": list(step.inputs)} for step in unit.steps
    ]
    return {
        "standard": unit.standard,
        "module": unit.module,
        "version": unit.version,
        "go": unit.go,
        "imports": list(unit.imports),
        "sources": dict(unit.sources),
        "steps": steps,
        "config": list(unit.config),
    }


def _unit(value: Mapping[str, Any]) -> Unit:
    if not isinstance(value["standard"], bool):
        raise TypeError("standard is neither true nor false")
    return Unit(
        standard=value["standard"],
        module=_text(value["module"]),
        version=_text(value["version"]),
        go=_text(value["go"]),
        imports=_texts(value["imports"]),
        sources={_text(name): _text(digest) for name, digest in value["sources"].items()},
        steps=tuple(
            Step(_text(step["tool"]), _texts(step["flags"]), _texts(step["inputs"])) for step in value["steps"]
        ),
        config=_texts(value["config"]),
    )


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError("not a list")
    return tuple(_text(item) for item in value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value
