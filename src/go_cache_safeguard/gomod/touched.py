"""Which packages of a person's own modules use a given module, and through what.

Knows:     the answer of `go list -deps -test -json`, and the shortest way from a package to a module.
Called by: `flows.drift`.
Never:     starts go; says that nothing is touched when packages could not be loaded.
Source:    cmd/go/internal/load/pkg.go `PackagePublic`: a package that was compiled again for a test is called `p [q.test]`, the
           test program itself `q.test`; same in go1.21.13 and go1.27.3.
"""

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.gomod.verify import show

FIELDS = "ImportPath,Module,Imports,TestImports,XTestImports,Standard,Error"
"""What is needed of each package."""


@dataclass(frozen=True, slots=True)
class Package:
    """One package of a build.

    Attributes:
        path: Import path.
        module: Path of its module.
        own: Whether that is a main module.
        imports: Import paths, those of its tests too if it is one's own.
    """

    path: str
    module: str
    own: bool
    imports: frozenset[str]


@dataclass(frozen=True, slots=True)
class Packages:
    """All packages of a build.

    Attributes:
        known: By import path; the standard library is left out.
        problems: What go could not load, in its own words.
    """

    known: Mapping[str, Package]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class Touch:
    """A package of one's own that uses a module.

    Attributes:
        package: Its import path.
        through: The packages on the shortest way to the module, the last one being in it.
    """

    package: str
    through: tuple[str, ...]

    def line(self) -> str:
        """For a person: `p`, or `p through q`."""
        return f"{self.package} through {self.through[0]}" if len(self.through) > 1 else self.package

    def as_value(self) -> dict[str, Value]:
        """For `--json`."""
        return {"package": self.package, "through": list(self.through)}


def read_packages(listed: Iterable[Mapping[str, Any]]) -> Packages:
    """Join what go says about each package and its variants for tests.

    Args:
        listed: The objects that go printed.
    """
    known: dict[str, Package] = {}
    problems = []
    for one in listed:
        path = show(str(one.get("ImportPath", "")).encode("utf-8", "surrogateescape")).partition(" ")[0]
        if one.get("Error"):
            problems.append(f"{path}: {_said(one['Error'])}")
        module = one.get("Module")
        if one.get("Standard") or path.endswith(".test") or not isinstance(module, Mapping):
            continue
        own = bool(module.get("Main"))
        before = known[path].imports if path in known else frozenset()
        keys = ("Imports", "TestImports", "XTestImports") if own else ("Imports",)
        imports = frozenset(str(name).partition(" ")[0] for key in keys for name in one.get(key) or ())
        known[path] = Package(path, str(module.get("Path", "")), own, before | imports)
    return Packages(known, tuple(problems))


def _said(error: object) -> str:
    said = error.get("Err", "") if isinstance(error, Mapping) else error
    return " ".join(show(line.encode("utf-8", "surrogateescape")) for line in str(said).split("\n"))


def touched(packages: Packages, modules: Collection[str]) -> Mapping[str, Sequence[Touch]]:
    """For each module the packages of one's own that use it, nearest first.

    Args:
        packages: All of a build.
        modules: Module paths.
    """
    importers: dict[str, list[str]] = {}
    for package in packages.known.values():
        for path in package.imports:
            importers.setdefault(path, []).append(package.path)
    return {module: _users(packages, importers, module) for module in sorted(modules)}


def _users(packages: Packages, importers: Mapping[str, Sequence[str]], module: str) -> Sequence[Touch]:
    """Go from the module's packages to whoever imports them, level by level, so that the first way found is a shortest one."""
    next_step: dict[str, str | None] = {
        path: None for path, package in sorted(packages.known.items()) if package.module == module
    }
    waiting = deque(next_step)
    while waiting:
        path = waiting.popleft()
        for importer in sorted(importers.get(path, ())):
            if importer not in next_step:
                next_step[importer] = path
                waiting.append(importer)
    ways = (
        Touch(path, _way(next_step, path))
        for path in next_step
        if packages.known[path].own and packages.known[path].module != module
    )
    return sorted(ways, key=lambda touch: (len(touch.through), touch.package))


def _way(next_step: Mapping[str, str | None], start: str) -> tuple[str, ...]:
    way: list[str] = []
    at = next_step[start]
    while at is not None:
        way.append(at)
        at = next_step[at]
    return tuple(way)
