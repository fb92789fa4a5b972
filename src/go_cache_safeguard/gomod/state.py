"""What a module depends on, in a form that can be recorded and compared.

Knows:     the answers of `go list -m -json all`, `go mod graph`, `go mod edit -json` and go.sum as one document, and its form in JSON.
Called by: `flows.drift` makes one, records it and reads it again; `gomod.drift` compares two.
Never:     holds a path of the machine, a time or a password: two machines with the same module write the same document.
Source:    cmd/go/internal/modinfo/info.go `ModulePublic`; `go help mod graph`; tried with go1.21.13 and go1.27.3. The nodes `go@`
           and `toolchain@` of the graph are left out: the go line of each module says the same. Go1.21 calls every module of a
           workspace indirect, so go.mod is believed instead.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from posixpath import isabs, normpath, relpath
from typing import Any

from go_cache_safeguard.gomod.sumfile import SumFile
from go_cache_safeguard.gomod.verify import Need, show

SCHEMA = "go-cache-safeguard/mod-state/1"
PARTS = ("modules", "graph", "go.sum", "tidy")
"""What a state holds; each may have been impossible to find out."""


@dataclass(frozen=True, slots=True, order=True)
class Main:
    """A main module: the one somebody works on; several in a workspace.

    Attributes:
        path: Module path.
        folder: Where it lies, relative to the module or to go.work: `.` if there.
        go: Its go line; empty if it has none.
        toolchain: Its toolchain line; empty if it has none.
    """

    path: str
    folder: str = "."
    go: str = ""
    toolchain: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Module:
    """A module of the build list that is not a main module.

    Attributes:
        path: Module path.
        version: Which version was chosen.
        direct: Whether a main module requires it without `// indirect`.
        replacement: `path@version`, or a directory relative to the module; empty if it is not replaced.
        go: Its go line; empty if it has none.
    """

    path: str
    version: str
    direct: bool = False
    replacement: str = ""
    go: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """What a module or workspace depends on.

    Attributes:
        mains: Main modules, sorted.
        modules: The rest of the build list, sorted.
        edges: Who requires whom: `path@version` twice, a main module without version; sorted.
        sums: Of each go.sum file (relative), from `path version` to the hashes that it demands.
        tidy: What `go mod tidy` would change, lines beginning with the file, then `+` or `-`; None if nobody asked.
        environment: What of the environment steers modules, and GOVERSION; passwords are covered.
        unknown: Which of `PARTS` could not be found out, and why.
    """

    mains: tuple[Main, ...] = ()
    modules: tuple[Module, ...] = ()
    edges: tuple[tuple[str, str], ...] = ()
    sums: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    tidy: tuple[str, ...] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    unknown: Mapping[str, str] = field(default_factory=dict)


def read_modules(listed: Sequence[Mapping[str, Any]], requires: Mapping[str, Need], root: str) -> tuple[Module, ...]:
    """The build list without main modules.

    Args:
        listed: See `gomod.buildlist.parse_modules`.
        requires: See `gomod.buildlist.parse_requires`.
        root: Absolute directory of the module or of go.work.
    """
    found = (
        Module(
            path=_word(module, "Path"),
            version=_word(module, "Version"),
            direct=requires.get(_word(module, "Path")) is Need.DIRECT,
            replacement=_replacement(module.get("Replace"), root),
            go=_word(module, "GoVersion"),
        )
        for module in listed
        if not module.get("Main")
    )
    return tuple(sorted(found))


def _replacement(used: object, root: str) -> str:
    if not isinstance(used, Mapping):
        return ""
    path, version = _word(used, "Path"), _word(used, "Version")
    if version:
        return f"{path}@{version}"
    return relative(path, root)


def relative(path: str, root: str) -> str:
    """A directory as go.mod could say it: `./x` or `../x`, also where go says it with the path of the machine."""
    short = relpath(path, root) if isabs(path) else normpath(path)
    return short if short in {".", ".."} or short.startswith("../") else f"./{short}"


def read_edges(data: bytes) -> tuple[tuple[str, str], ...] | None:
    """Read what `go mod graph` prints; None if it is not that."""
    edges = []
    for line in data.decode("utf-8", "backslashreplace").splitlines():
        ends = line.split()
        if len(ends) != 2:
            return None
        if not any(end.startswith(("go@", "toolchain@")) for end in ends):
            edges.append((ends[0], ends[1]))
    return tuple(sorted(set(edges)))


def read_main(data: bytes, folder: str) -> Main | None:
    """Read what `go mod edit -json` prints; None if it is not that."""
    try:
        value = json.loads(data)
        name = value["Module"]["Path"]
        return Main(_text(name), folder, _text(value.get("Go", "")), _text(value.get("Toolchain", "")))
    except (ValueError, RecursionError, AttributeError, KeyError, TypeError):
        return None


def read_sums(files: Iterable[SumFile]) -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    """What go.sum files demand, without line numbers."""
    return {
        file.path: {
            f"{path} {version}": tuple(sorted({pin.h1 for pin in pins}))
            for (path, version), pins in sorted(file.pins.items())
        }
        for file in files
    }


def read_diff(data: bytes) -> tuple[str, ...]:
    """The lines that a unified diff, such as that of `go mod tidy -diff`, adds and takes away, behind the name of their file."""
    name, found = "", []
    for line in show_lines(data):
        if line.startswith("+++ "):
            name = line.removeprefix("+++ ").rpartition("/")[2]
        elif line.startswith(("+", "-")) and not line.startswith("--- ") and line[1:].strip():
            found.append(f"{name}: {line}")
    return tuple(found)


def show_lines(data: bytes) -> list[str]:
    """Lines as they can be shown, tabs as blanks."""
    return [show(line.replace(b"\t", b" ")) for line in data.splitlines()]


def write_state(state: State) -> bytes:
    """The document: JSON with sorted keys, one thing per line, so that a version control system shows what changed."""
    value = {
        "schema": SCHEMA,
        "main": {main.path: _filled(folder=main.folder, go=main.go, toolchain=main.toolchain) for main in state.mains},
        "modules": {
            module.path: _filled(
                version=module.version, direct=module.direct, replacement=module.replacement, go=module.go
            )
            for module in state.modules
        },
        "graph": _grouped(state.edges),
        "sums": {name: {key: list(hashes) for key, hashes in lines.items()} for name, lines in state.sums.items()},
        "tidy": None if state.tidy is None else list(state.tidy),
        "environment": dict(state.environment),
        "unknown": dict(state.unknown),
    }
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=True).encode("ascii") + b"\n"


def parse_state(data: bytes) -> State | None:
    """Read such a document; None if it is not one of this version."""
    try:
        value = json.loads(data)
        return _state(value) if value["schema"] == SCHEMA else None
    except (ValueError, RecursionError, AttributeError, KeyError, TypeError):
        return None


def _state(value: Mapping[str, Any]) -> State:
    tidy = value["tidy"]
    return State(
        mains=tuple(
            sorted(
                Main(_text(path), *(_text(main.get(key, "")) for key in ("folder", "go", "toolchain")))
                for path, main in value["main"].items()
            )
        ),
        modules=tuple(sorted(_module(path, module) for path, module in value["modules"].items())),
        edges=tuple(sorted((_text(start), _text(end)) for start, ends in value["graph"].items() for end in ends)),
        sums={
            _text(name): {_text(key): tuple(_text(one) for one in hashes) for key, hashes in lines.items()}
            for name, lines in value["sums"].items()
        },
        tidy=None if tidy is None else tuple(_text(line) for line in tidy),
        environment=_texts(value["environment"]),
        unknown=_texts(value["unknown"]),
    )


def _module(path: str, value: Mapping[str, Any]) -> Module:
    direct = value.get("direct", False)
    if not isinstance(direct, bool):
        raise TypeError("direct")
    version, replacement, go = (_text(value.get(key, "")) for key in ("version", "replacement", "go"))
    return Module(path, version, direct, replacement, go)


def _texts(value: Mapping[str, Any]) -> dict[str, str]:
    return {_text(key): _text(text) for key, text in value.items()}


def _filled(**values: str | bool) -> dict[str, str | bool]:
    return {key: value for key, value in values.items() if value}


def _grouped(edges: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for start, end in sorted(edges):
        found.setdefault(start, []).append(end)
    return found


def _word(value: Mapping[str, Any], key: str) -> str:
    found = value.get(key, "")
    return show(found.encode("utf-8", "surrogateescape")) if isinstance(found, str) else ""


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value
