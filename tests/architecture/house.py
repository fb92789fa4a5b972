"""The source tree as the architecture tests see it: parsed, never imported."""

import ast
import functools
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "go_cache_safeguard"
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())


@dataclass(frozen=True, slots=True)
class Module:
    """One source file: its path below the package, and its text."""

    name: str
    text: str

    @property
    def tree(self) -> ast.Module:
        """Its syntax tree; parsed when a test first asks, because every process of the tests imports this."""
        return _parsed(self.text)

    @property
    def room(self) -> str:
        return self.name.split("/")[0] if "/" in self.name else ""

    @property
    def dotted(self) -> str:
        return "go_cache_safeguard." + self.name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@functools.cache
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


def _read(path: Path) -> Module:
    return Module(path.relative_to(PACKAGE).as_posix(), path.read_text())


MODULES = tuple(_read(path) for path in sorted(PACKAGE.rglob("*.py")))


def _contract(name: str) -> dict[str, list[str]]:
    contracts = SETTINGS["tool"]["importlinter"]["contracts"]
    found: dict[str, list[str]] = next(contract for contract in contracts if contract["name"] == name)
    return found


_PURE = _contract("Pure rooms never touch the world")
SHELLS = frozenset(rule.removesuffix(" -> *") for rule in _PURE["ignore_imports"] if rule.endswith(" -> *"))
"""The closed list of files inside pure rooms that may touch the world, as the import contract names them."""
PURE_ROOMS = frozenset(module.removesuffix(".*").split(".")[1] for module in _PURE["source_modules"])
PURE = tuple(module for module in MODULES if module.room in PURE_ROOMS and module.dotted not in SHELLS)


def calls(module: Module) -> Iterator[tuple[ast.Call, str, str]]:
    """Every call with the name it is called by and what stands before the dot (`os`, or nothing)."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call):
            match node.func:
                case ast.Name(id=name):
                    yield node, name, ""
                case ast.Attribute(value=ast.Name(id=owner), attr=name):
                    yield node, name, owner
                case ast.Attribute(attr=name):
                    yield node, name, "?"


def tracked_files() -> Iterator[Path]:
    """Every file of the project; what .gitignore names is left out, and so is git's own directory."""
    ignored = {line.strip("/\n") for line in (ROOT / ".gitignore").read_text().splitlines()} | {".git"}
    waiting = [ROOT]
    while waiting:
        for path in sorted(waiting.pop().iterdir()):
            if any(map(path.match, ignored)):
                continue
            if path.is_dir() and not path.is_symlink():
                waiting.append(path)
            elif path.is_file():
                yield path
