"""A build cache seen from any side: what is in it, whose it is, and what only the checkout directory makes twice.

Knows:     by what a cache can be divided, which project a source directory belongs to, and what makes two archives twins.
Called by: `flows.xray`, which looks whether directories are still there; `status --by`, `report` and `browse` show it.
Never:     looks at a disk, or calls a twin a proof: the same package, compiled the same way to the same shape from two
           directories, is what -trimpath or one path would have shared, if the sources are the same.
Source:    go.dev/ref/mod (module paths, `!` for capitals and `@version` in the module cache); what an archive says about its
           directory: `gocache.archive`. Tried with go1.21.13, go1.24.11 and go1.27.3.

Bytes are apparent sizes of outputs. Index entries are not counted: each takes 175 bytes and a block of the disk.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from go_cache_safeguard.gocache.archive import GOROOT, Archive
from go_cache_safeguard.gocache.classify import Kind
from go_cache_safeguard.gocache.entry import Entry
from go_cache_safeguard.gocache.inventory import (
    UNKNOWN,
    Inventory,
    Output,
    kind_of,
    race_of,
    target_of,
    toolchain_of,
)
from go_cache_safeguard.gocache.summary import AGES, OLDEST, Amount, Part, age_of, parts_of

NO_FLAGS = "no flags"
"""Of an archive whose compiler was given no flag that changes the code."""

_VERSIONED = re.compile(r"(?P<before>.*?)@(?P<version>v[0-9][^/]*)(?P<after>/.*)?")
_MODULE_CACHE = "/pkg/mod/"
_FORGES = frozenset({"github.com", "gitlab.com", "bitbucket.org", "codeberg.org", "gitea.com", "git.sr.ht"})
"""Where a module's path has at least three elements."""
_STANDARD = re.compile(
    "(?:archive|arena|bufio|builtin|bytes|cmd|cmp|compress|container|context|crypto|database|debug|embed|encoding|errors|"
    "expvar|flag|fmt|go|hash|html|image|index|internal|io|iter|log|maps|math|mime|net|os|path|plugin|reflect|regexp|runtime|"
    "simd|slices|sort|strconv|strings|structs|sync|syscall|testing|text|time|unicode|unique|unsafe|uuid|vendor|weak)(?:/.*)?"
)
"""Import paths of the standard library; other modules' paths need no dot either."""


class Facet(StrEnum):
    """By what a cache can be divided. The value is the word that people type."""

    KIND = "kind"
    TOOLCHAIN = "toolchain"
    TARGET = "target"
    PACKAGE = "package"
    PROJECT = "project"
    AGE = "age"
    FLAGS = "flags"
    RACE = "race"


@dataclass(frozen=True, slots=True)
class Ground:
    """What became of a source directory.

    Attributes:
        exists: It is still there.
        root: The nearest directory with a go.mod, itself or above it; None when there is none.
        module: The module's path as that go.mod says; empty when it cannot be read.
    """

    exists: bool
    root: str | None = None
    module: str = ""


@dataclass(frozen=True, slots=True)
class Projects:
    """Which project each source directory belongs to.

    Attributes:
        names: From a source directory to its project: the root of a module, or `module@version` of the module cache.
        modules: From the path of a module to the only project that has it, or None when there are several.
        gone_directories: Source directories that are no more there: nobody will hit what was made of them, unless they
            come back.
        gone: Projects of which nothing is there.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    modules: Mapping[str, str | None] = field(default_factory=dict)
    gone_directories: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()


_NO_PROJECTS = Projects()


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A package that lies in the cache more than once, as far as can be seen only because of where its source was.

    Attributes:
        package: Import path.
        toolchain: `go1.27.3`.
        target: `linux/amd64`.
        flags: Compiler flags, sorted.
        directories: Where it was compiled, sorted; at least two.
        outputs: Ids of all the archives.
        size: Bytes of them.
        saved: Bytes that one directory, or -trimpath, would save at most: all but the largest directory's share.
    """

    package: str
    toolchain: str
    target: str
    flags: tuple[str, ...]
    directories: tuple[str, ...]
    outputs: tuple[bytes, ...]
    size: int
    saved: int

    @property
    def name(self) -> str:
        """The import path; of a program's main package, whose path is `main`, also the name of its directory."""
        return f"main in {self.directories[0].rpartition('/')[2]}" if self.package == "main" else self.package


@dataclass(frozen=True, slots=True)
class StoredTests:
    """What `go test` stored.

    Attributes:
        amount: Outputs of test runs, and logs of what they read.
        results: Runs of a package's tests that are stored.
        newest_ns: When the newest was stored, in nanoseconds since 1970-01-01 UTC; None when there is none.
    """

    amount: Amount
    results: int
    newest_ns: int | None


# Projects.


def directories(inventory: Inventory) -> frozenset[str]:
    """The source directories that archives name: those about which somebody should look what became of them."""
    sources = {output.about.source for output in inventory.outputs.values() if output.about is not None}
    return frozenset(source for source in sources if source is not None and source.startswith("/"))


def find_projects(inventory: Inventory, grounds: Mapping[str, Ground]) -> Projects:
    """Say which project each source directory belongs to.

    A project is the nearest directory with a go.mod. When that is gone it is what is left of the directory without what it has
    in common with the end of the import path.

    Args:
        inventory: What is there.
        grounds: What became of the directories, see `directories`; those that are missing count as gone.
    """
    packages = _packages(inventory)
    names: dict[str, str] = {}
    modules: dict[str, set[str]] = {}
    without: list[str] = []
    for directory, package in packages.items():
        ground = grounds.get(directory, Ground(exists=False))
        name = of_module_cache(directory, package) or _root_of(directory, package, ground)
        if name is None:
            without.append(directory)
            continue
        names[directory] = name
        if name.startswith("/") and package:
            modules.setdefault(_module_of(directory, package, name), set()).add(name)
    roots = frozenset(name for name in names.values() if name.startswith("/"))
    for directory in without:  # main packages of projects that are gone: their import path is not known
        names[directory] = next((parent for parent in _upwards(directory) if parent in roots), directory)
    lost = frozenset(directory for directory in names if not grounds.get(directory, Ground(exists=False)).exists)
    alive = {name for directory, name in names.items() if directory not in lost}
    roots_there = {ground.root for ground in grounds.values() if ground.root is not None}
    alive |= roots_there & roots
    return Projects(
        names,
        {module: next(iter(found)) if len(found) == 1 else None for module, found in modules.items()},
        lost,
        frozenset(names.values()) - alive,
    )


def _packages(inventory: Inventory) -> dict[str, str]:
    """From each source directory to the import path of what was compiled there; empty when that is only ever `main`."""
    found: dict[str, str] = {}
    for output in inventory.outputs.values():
        about = output.about
        directory = None if about is None else about.directory
        if about is None or directory is None:
            continue
        package = "" if about.package is None or about.package == "main" else about.package
        known = found.get(directory, "")
        # Of `lib` and its external test `lib_test` the shorter.
        if not known or (package and len(package) < len(known)):
            found[directory] = package
    return found


def of_module_cache(source: str, package: str | None) -> str | None:
    """`module@version` when a source lies in a module cache; None otherwise.

    Args:
        source: Its directory, or as -trimpath writes it.
        package: Import path, which tells where the module's path begins.
    """
    found = _VERSIONED.fullmatch(source)
    if found is None:
        return None
    before, after = re.sub("!([a-z])", lambda letter: letter[1].upper(), found["before"]), found["after"] or ""
    path = before.rpartition(_MODULE_CACHE)[2].lstrip("/")
    if package and package != "main":
        module = package.removesuffix("_test") if package.endswith(f"{after}_test") else package
        path = module[: len(module) - len(after)] if after and module.endswith(after) else path if after else module
    return f"{path}@{found['version']}"


def _root_of(directory: str, package: str, ground: Ground) -> str | None:
    """The root of a project outside of the module cache; None for a lost main package."""
    if ground.root is not None and (ground.exists or _fits(directory, package, ground)):
        return ground.root
    if ground.exists and ground.root is None and not package:
        return directory
    return _guess(directory, package)[0] if package else None


def _fits(directory: str, package: str, ground: Ground) -> bool:
    """Whether a lost directory was part of the module that is still there above it."""
    below = directory.removeprefix(ground.root or "")
    return package in {"", ground.module + below}


def _guess(directory: str, package: str) -> tuple[str, str]:
    """Root and module path when no go.mod tells them: what both have in common at the end is the path inside of the module."""
    places, words = directory.split("/"), package.split("/")
    least = 3 if words[0] in _FORGES else 2 if "." in words[0] else 1
    while len(words) > least and len(places) > 2 and words[-1] == places[-1]:
        words.pop()
        places.pop()
    return "/".join(places), "/".join(words)


def _module_of(directory: str, package: str, root: str) -> str:
    below = directory.removeprefix(root)
    return package.removesuffix(below) if below else package


def _upwards(directory: str) -> Iterable[str]:
    while directory.count("/") > 1:
        directory = directory.rpartition("/")[0]
        yield directory


def project_of(output: Output, projects: Projects = _NO_PROJECTS) -> str:
    """The project that an output was made of: a directory, `module@version`, a module's path, or `std go1.27.3`.

    Args:
        output: Anything.
        projects: What is known about directories; without, it is guessed.
    """
    about = output.about
    source = None if about is None else about.source or _importable(about)
    if about is None or source is None:
        return UNKNOWN
    if is_standard(about):
        return f"std {toolchain_of(output)}"
    if (name := projects.names.get(source)) is not None:
        return name
    module = of_module_cache(source, about.package)
    if module is not None:
        return module
    if source.startswith("/"):
        return _guess(source, about.package or "")[0] if about.package != "main" else source
    return _of_path(source, projects)


def _of_path(path: str, projects: Projects) -> str:
    """The project of an import path whose directory is not known: the only one that is known to hold it, else its module."""
    words = path.split("/")
    for end in range(len(words), 0, -1):
        module = "/".join(words[:end])
        if module in projects.modules:
            return projects.modules[module] or module
    return "/".join(words[: 3 if words[0] in _FORGES else 2 if "." in words[0] else 1])


def is_standard(about: Archive) -> bool:
    """Whether a package belongs to the toolchain itself."""
    source = about.source or _importable(about) or ""
    if source.startswith(GOROOT):
        return True
    if source.startswith("/"):
        # A distribution's toolchain may know itself by its directory.
        return about.package is not None and source.endswith(f"/src/{about.package}") and _standard(about.package)
    return _standard(source)


def _importable(about: Archive) -> str | None:
    """The import path, if it says anything: that of a program's main package does not."""
    return None if about.package == "main" else about.package


def _standard(path: str) -> bool:
    return _STANDARD.fullmatch(path) is not None


# Division.


def facet_of(output: Output, facet: Facet, *, now_ns: int, projects: Projects = _NO_PROJECTS) -> str:
    """The word for an output on one side.

    Args:
        output: Anything.
        facet: Which side.
        now_ns: The time, in nanoseconds since 1970-01-01 UTC.
        projects: What is known about directories.
    """
    return namer(facet, now_ns=now_ns, projects=projects)(output)


def namer(facet: Facet, *, now_ns: int, projects: Projects = _NO_PROJECTS) -> Callable[[Output], str]:
    """`facet_of` for many outputs."""
    if facet is Facet.AGE:
        return lambda output: age_of(output, now_ns)
    if facet is Facet.PROJECT:
        return lambda output: project_of(output, projects)
    return _NAMERS[facet]


def package_of(output: Output) -> str:
    """The import path; of a program's main package, whose path is `main`, also where it lies."""
    about = output.about
    if about is None or about.package is None:
        return UNKNOWN
    return f"main of {about.source}" if about.package == "main" and about.source else about.package


def flags_of(output: Output) -> str:
    """The compiler's flags that change the code, with spaces between."""
    if output.about is None:
        return UNKNOWN
    return " ".join(output.about.flags) or NO_FLAGS


_NAMERS: Mapping[Facet, Callable[[Output], str]] = {
    Facet.KIND: kind_of,
    Facet.TOOLCHAIN: toolchain_of,
    Facet.TARGET: target_of,
    Facet.PACKAGE: package_of,
    Facet.FLAGS: flags_of,
    Facet.RACE: race_of,
}


def group(inventory: Inventory, facet: Facet, *, now_ns: int, projects: Projects = _NO_PROJECTS) -> tuple[Part, ...]:
    """Divide a cache: all outputs are in exactly one part. Largest first; ages from young to old."""
    parts = parts_of(inventory.outputs.values(), namer(facet, now_ns=now_ns, projects=projects))
    if facet is Facet.AGE:
        order = [*(name for name, _limit in AGES), OLDEST]
        return tuple(sorted(parts, key=lambda part: order.index(part.name)))
    return parts


# What is there for nothing.


def dead(inventory: Inventory, installed: Collection[str]) -> tuple[Part, ...]:
    """What toolchains made that are not installed any more, by toolchain, largest first.

    Args:
        inventory: What is there.
        installed: Toolchains that are there, such as `go1.27.3`.
    """
    kept = {*installed, UNKNOWN}
    return parts_of((one for one in inventory.outputs.values() if toolchain_of(one) not in kept), toolchain_of)


def gone(inventory: Inventory, projects: Projects) -> tuple[Part, ...]:
    """What was made of source directories that are no more there, by project, largest first."""
    lost = projects.gone_directories
    outputs = (one for one in inventory.outputs.values() if one.about is not None and one.about.directory in lost)
    return parts_of(outputs, lambda output: project_of(output, projects))


def duplicates(inventory: Inventory) -> tuple[Duplicate, ...]:
    """Packages that were compiled the same way to the same shape from several directories; what saves most comes first.

    Main packages are compared with those in directories of the same name only.
    """
    twins: dict[tuple[object, ...], list[Output]] = {}
    for output in inventory.outputs.values():
        about = output.about
        if about is None or not about.shape or about.package is None:
            continue
        directory = about.directory
        if directory is not None:
            name = directory.rpartition("/")[2] if about.package == "main" else about.package
            key = (about.package, name, about.version, about.target, about.flags, about.shape)
            twins.setdefault(key, []).append(output)
    found = [_duplicate(outputs) for outputs in twins.values() if len(outputs) > 1]
    return tuple(sorted(filter(None, found), key=lambda one: (-one.saved, one.package, one.outputs)))


def _duplicate(outputs: list[Output]) -> Duplicate | None:
    shares: dict[str, int] = {}
    for output in outputs:
        directory = None if output.about is None else output.about.directory
        if directory is not None:
            shares[directory] = shares.get(directory, 0) + output.size
    about = outputs[0].about
    if about is None or about.package is None or len(shares) < 2:
        return None
    return Duplicate(
        about.package,
        about.version,
        about.target,
        about.flags,
        tuple(sorted(shares)),
        tuple(sorted(output.output for output in outputs)),
        sum(shares.values()),
        sum(shares.values()) - max(shares.values()),
    )


def stored_tests(inventory: Inventory) -> StoredTests:
    """What `go test` stored, and when it did so last."""
    stored = [one for one in inventory.outputs.values() if one.kind in {Kind.TEST_OUTPUT, Kind.TEST_LOG}]
    results = [one for one in stored if one.kind is Kind.TEST_OUTPUT]
    times = [_stored_ns(inventory, one) for one in results]
    return StoredTests(
        Amount(len(stored), sum(one.size for one in stored)), len(results), max(filter(None, times), default=None)
    )


def _stored_ns(inventory: Inventory, output: Output) -> int:
    """When the newest entry that names an output was written; 0 when none does."""
    entries = (inventory.actions[action].entry for action in inventory.references.get(output.output, ()))
    return max((entry.time_ns for entry in entries if isinstance(entry, Entry)), default=0)
