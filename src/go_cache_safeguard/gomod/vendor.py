"""Is what lies in a vendor directory what the modules hold that it names?

Knows:     `vendor/modules.txt`, which module each vendored file is of, and which files go copies.
Called by: `flows.vendor`, which reads the files.
Never:     reads a file; decides whether modules.txt fits go.mod: go does that, and says so.
Source:    cmd/go/internal/modload/vendor.go `readVendorList`; cmd/go/internal/modcmd/vendor.go `matchPotentialSourceFile`,
           `copyMetadata`, `ResolveEmbed`; cmd/go/internal/imports/build.go `ShouldBuild`; read in go1.21.13 and go1.27.3. Each file
           is copied as it is, so that its place below the module tells what it must be. With -mod=vendor go compares modules.txt
           with go.mod and never looks at the content of a file.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.gomod.layout import Version, make_version
from go_cache_safeguard.gomod.verify import Content, Damage, Finding, show

LIST = b"modules.txt"
_VERSION = re.compile(r"v[0-9]+\.[0-9]+\.[0-9]+[0-9A-Za-z.+-]*", re.ASCII)
_CONSTRAINT = re.compile(rb"^//(?:go:build|\s*\+build)\s.*\bignore\b", re.MULTILINE)
_STRIPPED = frozenset({b"go.mod", b"go.sum"})


@dataclass(frozen=True, slots=True)
class Vendored:
    """A module of which modules.txt names packages.

    Attributes:
        path: Where it lies below vendor.
        used: What was copied; of a replaced module the replacement. None if that is a directory or no module version.
        said: For people.
        packages: Import paths.
    """

    path: str
    used: Version | None
    said: str
    packages: tuple[str, ...]


def parse_list(text: str) -> tuple[Vendored, ...]:
    """Read modules.txt: every module of which it names a package. As go does, it passes over what it does not know."""
    found: dict[str, tuple[Version | None, str, list[str]]] = {}
    at = ""
    for line in text.split("\n"):
        words = line.split()
        if line.startswith("# "):
            at = _module(words[1:], found) or ""
        elif at and len(words) == 1 and not line.startswith("#"):
            found[at][2].append(words[0])
    return tuple(
        Vendored(path, used, said, tuple(names)) for path, (used, said, names) in sorted(found.items()) if names
    )


def _module(words: Sequence[str], found: dict[str, tuple[Version | None, str, list[str]]]) -> str | None:
    """Note the module of a line; None if it is none that can have packages."""
    if len(words) < 2 or not _VERSION.fullmatch(words[1]):
        return None
    path, version, *rest = words
    used, said = make_version(path, version), f"{path}@{version}"
    if rest[:1] == ["=>"]:
        used = make_version(rest[1], rest[2]) if len(rest) == 3 else None
        said += f" => {' '.join(rest[1:])}"
    found.setdefault(path, (used, said, []))
    return path


def share_out(
    files: Mapping[bytes, bytes], modules: Sequence[Vendored]
) -> tuple[dict[str, dict[bytes, bytes]], list[bytes]]:
    """Which vendored file is of which module: the one with the longest path that it lies below.

    Args:
        files: Name below vendor to digest.
        modules: See `parse_list`.

    Returns:
        Module path to name below the module to digest; and names that are of no module.
    """
    paths = {module.path for module in modules}
    shared: dict[str, dict[bytes, bytes]] = {path: {} for path in paths}
    strays = []
    for name, digest in files.items():
        if name == LIST:
            continue
        folders = show(name).split("/")
        owner = next(
            (path for end in range(len(folders) - 1, 0, -1) if (path := "/".join(folders[:end])) in paths), None
        )
        if owner is None:
            strays.append(name)
        else:
            shared[owner][name[len(owner.encode()) + 1 :]] = digest
    return shared, strays


def compare(
    module: Vendored, files: Mapping[bytes, bytes], source: Content, text: Callable[[bytes], bytes | None]
) -> Iterator[Finding]:
    """Compare what is vendored of a module with what the module holds.

    Args:
        module: Which one.
        files: What is vendored of it: name below the module to digest.
        source: What it holds.
        text: Gives the content of a Go file of it; None if it cannot be had.
    """
    for name in sorted(files):
        if name not in source.files:
            yield _finding(module, name, Damage.EXTRA, "it is vendored, and the module does not hold it")
        elif files[name] != source.files[name]:
            yield _finding(
                module, name, Damage.EDITED, "it is not what the module holds; go compiles it without a word"
            )
    folders = {package[len(module.path) :].lstrip("/").encode() for package in module.packages}
    for name in sorted(source.files):
        folder, _, last = name.rpartition(b"/")
        if name in files or folder not in folders or last.endswith(b"_test.go") or last in _STRIPPED or not last:
            continue
        if not last.endswith(b".go"):
            yield _finding(module, name, Damage.MISSING, "the module holds it beside a vendored package")
            continue
        content = text(name)
        if content is None:
            why = "the module holds it, and it cannot be read whether go leaves it out"
            yield _finding(module, name, Damage.MISSING, why, Outcome.UNKNOWN)
        elif not _CONSTRAINT.search(content.partition(b"\npackage ")[0]):
            yield _finding(module, name, Damage.MISSING, "the module holds it in a vendored package")


def strays_and_odd(vendor: Content, strays: Sequence[bytes]) -> Iterator[Finding]:
    """What has no place in a vendor directory at all."""
    for name in sorted(strays):
        text = "no module that modules.txt names holds it"
        yield Finding("vendor", "", f"vendor/{show(name)}", Damage.EXTRA, Outcome.BLOCK, text)
    for odd in vendor.odd:
        yield Finding("vendor", "", f"vendor/{odd.name}", Damage.ODD, Outcome.BLOCK, odd.why)


def not_coverable(module: Vendored, why: str) -> Finding:
    """A module that there is nothing sound to compare with."""
    text = f"{module.said} cannot be compared: {why}"
    outcome = Outcome.WARN if module.used is None else Outcome.UNKNOWN
    return Finding(module.path, "", f"vendor/{module.path}", Damage.NOT_COVERABLE, outcome, text)


def inconsistent(said: str) -> Iterator[Finding]:
    """What go says about modules.txt and go.mod, one finding for each module.

    Args:
        said: What `go list -mod=vendor -m` printed when it failed.
    """
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if not any("inconsistent vendoring" in line for line in lines):
        yield Finding(
            "vendor", "", "vendor", Damage.UNREADABLE, Outcome.UNKNOWN, f"go cannot use it: {' '.join(lines[:3])}"
        )
        return
    for line in lines:
        name, colon, why = line.partition(": ")
        if colon and "inconsistent vendoring" not in line and "go mod vendor" not in line:
            path, _, version = name.partition("@")
            text = f"{why}; go does not build until `go mod vendor` makes it anew"
            yield Finding(path, version, "vendor/modules.txt", Damage.VENDOR_INCONSISTENT, Outcome.BLOCK, text)


def _finding(module: Vendored, name: bytes, damage: Damage, text: str, outcome: Outcome = Outcome.BLOCK) -> Finding:
    version = module.used.version if module.used is not None else ""
    return Finding(module.path, version, f"vendor/{module.path}/{show(name)}", damage, outcome, text)
