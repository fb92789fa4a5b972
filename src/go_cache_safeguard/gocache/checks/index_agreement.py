"""Does go's package index say the same as the source files?

Knows:     which fields of `go list` come from the index, how two listings are compared, and what helps when they differ.
Called by: `flows`, which runs `go list` with and without the index.
Never:     reads an index entry: its right content is what go says without it.
Source:    cmd/go/internal/modindex/read.go (`goindex`, `Module`); golang/go#69179, #73368: the index of a main-module directory is
           keyed by names, sizes and times of its files, so an edit that keeps both poisons it (go1.21.13, go1.27.3).
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from shlex import quote
from typing import Any

from go_cache_safeguard.core.check import Check
from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.gotool.complaint import cache_trouble

CHECK = Check(
    id="index-agreement",
    title="package index against source",
    question="Does `go list` say the same with the cached package index and without it?",
    blind_spot="It compares the packages that were asked for, with the build tags of this environment.",
)

FIELDS = (
    "Dir",
    "ImportPath",
    "Name",
    "GoFiles",
    "CgoFiles",
    "IgnoredGoFiles",
    "CFiles",
    "HFiles",
    "SFiles",
    "EmbedPatterns",
    "Imports",
    "TestGoFiles",
    "TestImports",
    "XTestGoFiles",
    "XTestImports",
)
"""Fields that come from the index and that every release from Go 1.21 on has."""

_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Listing:
    """One answer of `go list`.

    Attributes:
        exit_code: Of `go list`.
        said: Its standard error, printable.
        packages: Fields by import path; None if the output is not what we know.
    """

    exit_code: int
    said: str
    packages: Mapping[str, Mapping[str, Any]] | None


@dataclass(frozen=True, slots=True)
class Asked:
    """One question, answered twice.

    Attributes:
        what: `std`, or the directory of a module.
        indexed: With the index.
        plain: Without it.
    """

    what: str
    indexed: Listing
    plain: Listing


@dataclass(frozen=True, slots=True)
class IndexFacts:
    """All that was asked.

    Attributes:
        asked: One or more.
    """

    asked: tuple[Asked, ...]


def list_args(pattern: str) -> tuple[str, ...]:
    """The arguments of go for one listing; `-e`, because a poisoned index must not end it.

    Args:
        pattern: `std`, or `./...` started in the directory of a module.
    """
    return ("list", "-e", f"-json={','.join(FIELDS)}", "--", pattern)


def without_index(godebug: str) -> dict[str, str]:
    """What to lay over the environment so that go does not use the index.

    Args:
        godebug: The value of GODEBUG as it is.
    """
    return {"GODEBUG": f"{godebug},goindex=0".lstrip(",")}


def parse_listing(data: bytes) -> dict[str, dict[str, Any]] | None:
    """Read the JSON objects that `go list -json` printed one after the other; None if they are not that."""
    packages: dict[str, dict[str, Any]] = {}
    decoder = json.JSONDecoder()
    try:
        text, at = data.decode().strip(), 0
        while at < len(text):
            package, at = decoder.raw_decode(text, at)
            packages[package["ImportPath"]] = package
            while text[at : at + 1].isspace():
                at += 1
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return packages


def judge(facts: IndexFacts) -> Verdict:
    """BLOCK on any difference; PASS only if every question was answered twice and alike."""
    differences = tuple(line for asked in facts.asked for line in _differences(asked))
    if differences:
        summary = f"the package index differs from the source in {len(differences)} places: builds use the index"
        return Verdict(CHECK.id, Outcome.BLOCK, summary, differences[:_SHOWN], _remedy(facts))
    gaps = tuple(line for asked in facts.asked for line in _gaps(asked))
    if gaps or not facts.asked:
        summary = "the package index could not be compared with the source"
        return Verdict(CHECK.id, Outcome.UNKNOWN, summary, gaps, ("go list -e std",))
    count = sum(len(asked.plain.packages or ()) for asked in facts.asked)
    return Verdict(CHECK.id, Outcome.PASS, f"the package index agrees with the source of {count} packages")


def _differences(asked: Asked) -> Iterator[str]:
    if asked.indexed.exit_code and not asked.plain.exit_code:
        said = cache_trouble(asked.indexed.said) or asked.indexed.said.splitlines()[-1:]
        yield f"{asked.what}: go list fails with the index and not without it: {' '.join(said)}"
    if asked.indexed.packages is None or asked.plain.packages is None:
        return
    for name in sorted(asked.indexed.packages.keys() | asked.plain.packages.keys()):
        indexed, plain = asked.indexed.packages.get(name), asked.plain.packages.get(name)
        if indexed is None or plain is None:
            yield f"{name}: is listed only {'with' if plain is None else 'without'} the index"
            continue
        for field in FIELDS:
            if indexed.get(field) != plain.get(field):
                yield f"{name}: {field} is {_apart(indexed.get(field), plain.get(field))}"


def _gaps(asked: Asked) -> Iterator[str]:
    for how, listing in (("with", asked.indexed), ("without", asked.plain)):
        if listing.exit_code:
            yield f"{asked.what}: go list {how} the index ended with exit code {listing.exit_code}: {listing.said[-500:]}"
        elif not listing.packages:
            yield f"{asked.what}: go list {how} the index named no package"


def _remedy(facts: IndexFacts) -> tuple[str, ...]:
    """Touching the files gives a directory a new index; of a module in the module cache the index must be evicted."""
    folders = {
        str(package.get("Dir"))
        for asked in facts.asked
        if asked.indexed.packages and asked.plain.packages
        for name, package in asked.plain.packages.items()
        if asked.indexed.packages.get(name) != package and package.get("Dir")
    }
    touch = tuple(f"touch -- {quote(folder)}/*.go" for folder in sorted(folders)[:_SHOWN])
    return (
        *touch,
        "go-cache-safeguard fsck --repair",
        "GODEBUG=goindex=0 go build ./...   builds without the index until its entries are evicted",
    )


def _apart(indexed: object, plain: object) -> str:
    """What only the one and what only the other says."""
    if isinstance(indexed, list | None) and isinstance(plain, list | None):
        extra = sorted(set(map(str, indexed or ())) - set(map(str, plain or ())))
        lacking = sorted(set(map(str, plain or ())) - set(map(str, indexed or ())))
        return f"{extra} in the index and {lacking} in the source"
    return f"{indexed!r} in the index and {plain!r} in the source"
