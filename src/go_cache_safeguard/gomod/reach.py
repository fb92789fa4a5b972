"""Which versions in a module cache some module or workspace needs.

Knows:     that go.sum and go.work.sum name every zip and every go.mod file that a build of the module may read, and which toolchains
           go.mod and go.work ask for.
Called by: `flows.mod_gc`.
Never:     runs go: what go.sum names is more than one build needs, never less. Never takes a sum file that it cannot read for an
           empty one.
Source:    cmd/go/internal/modfetch/fetch.go `checkMod`, `checkGoMod`; with `-mod=readonly`, the default since go1.16, what go.sum does
           not name is an error (`missing go.sum entry`). A replacement is named under its own path. Toolchains are no dependency:
           cmd/go/internal/gover and toolchain/select.go, `golang.org/toolchain@v0.0.1-goX.Y.Z.GOOS-GOARCH`, since go1.21.
           Without its `.info` `go mod download` fails offline for a version whose zip is there, and one that is left alone has
           `go list -m` say that a version is there whose zip is not: so it goes with the last of its version (go1.21.13, go1.27.3).
"""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from go_cache_safeguard.gomod.layout import INFO, Version
from go_cache_safeguard.gomod.sumfile import SumFile

TOOLCHAIN = "golang.org/toolchain"
_GO_MOD = "/go.mod"
_ASKS = re.compile(
    r"^\s*(?:toolchain\s+(?P<toolchain>go[0-9][^\s]*)|go\s+(?P<go>[0-9][^\s]*))\s*(?://.*)?$", re.MULTILINE
)
_REQUIRES = re.compile(r"^\s*require[\s(]", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Needs:
    """What roots need of a module cache.

    Attributes:
        zips: Path and version of what they read whole: zip, its hash and the extracted tree.
        go_mods: Path and version of what they read only the go.mod file of.
        toolchains: Such as `go1.27.3`.
    """

    zips: frozenset[tuple[str, str]]
    go_mods: frozenset[tuple[str, str]]
    toolchains: frozenset[str]


def needs_of(sums: Iterable[SumFile], files: Iterable[bytes], toolchains: Collection[str] = ()) -> Needs:
    """Put together what roots need.

    Args:
        sums: Their go.sum and go.work.sum files.
        files: Their go.mod and go.work files.
        toolchains: Versions of Go that are in use besides.
    """
    named = frozenset(key for file in sums for key in file.pins)
    zips = frozenset(key for key in named if not key[1].endswith(_GO_MOD))
    go_mods = frozenset((path, version.removesuffix(_GO_MOD)) for path, version in named)
    asked = {toolchain for data in files for toolchain in toolchains_in(data)}
    return Needs(zips, go_mods, frozenset(asked | set(toolchains)))


def toolchains_in(data: bytes) -> frozenset[str]:
    """Toolchains that a go.mod or go.work file asks for."""
    found = _ASKS.finditer(data.decode("utf-8", "replace"))
    return frozenset(match["toolchain"] or f"go{match['go']}" for match in found)


def requires_something(data: bytes) -> bool:
    """Whether a go.mod file names other modules, so that there must be a go.sum file."""
    return _REQUIRES.search(data.decode("utf-8", "replace")) is not None


def is_needed(version: Version, needs: Needs) -> bool:
    """Whether somebody reads the whole of a version."""
    if version.path == TOOLCHAIN:
        return any(version.version.startswith(f"v0.0.1-{toolchain}.") for toolchain in needs.toolchains)
    return (version.path, version.version) in needs.zips


def unneeded_names(version: Version, needs: Needs) -> Iterator[str]:
    """What nobody needs of a version, whether or not it is there, relative to GOMODCACHE."""
    if is_needed(version, needs):
        return
    yield version.tree
    yield version.download(".zip")
    yield version.download(".ziphash")
    if (version.path, version.version) not in needs.go_mods:
        yield version.download(".mod")
        yield version.download(INFO)
