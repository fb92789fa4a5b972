"""What `status` says of a cache seen from any side, as text and as JSON.

Knows:     how parts, twins, test results and growth look.
Called by: `cli.look`.
Never:     prints a name of somebody else as it is: what steers a terminal is written out.
"""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from go_cache_safeguard.core.errors import UsageFailure
from go_cache_safeguard.core.size import format_size
from go_cache_safeguard.gocache.layout import printable

if TYPE_CHECKING:
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.xray import XRay
    from go_cache_safeguard.gocache.summary import Part
    from go_cache_safeguard.gocache.xray import Duplicate, Facet

TOP = 8
"""Rows of a table, unless somebody asks for more."""
_DAY_NS = 86_400_000_000_000
_WORDS = "kind, toolchain, target, package, project, age, flags, race"

By = Annotated[
    list[str] | None,
    typer.Option("--by", metavar="SIDES", help=f"Divide it by {_WORDS}; with commas between, or repeated."),
]
Top = Annotated[int | None, typer.Option("--top", metavar="N", min=1, help=f"Rows of each table; default: {TOP}.")]


def facets(by: Sequence[str] | None) -> "tuple[Facet, ...]":
    """The sides that somebody asked for, each once.

    Raises:
        UsageFailure: There is no such side.
    """
    from go_cache_safeguard.gocache.xray import Facet

    words = [word.strip() for text in by or () for word in text.split(",") if word.strip()]
    known = {facet.value: facet for facet in Facet}
    wrong = next((word for word in words if word not in known), None)
    if wrong is not None:
        raise UsageFailure(f"a cache cannot be divided by {wrong!r}", hint=f"--by takes {_WORDS}")
    return tuple(dict.fromkeys(known[word] for word in words))


def tell_parts(
    screen: "Screen", title: str, parts: "Sequence[Part]", top: int, *, lost: frozenset[str] = frozenset()
) -> None:
    """Print one table: the largest parts, and what the others are together."""
    screen.line()
    rows = [(_name(part.name, lost), f"{part.amount.files:,}", format_size(part.amount.size)) for part in parts[:top]]
    if rest := parts[top:]:
        files, size = sum(part.amount.files for part in rest), sum(part.amount.size for part in rest)
        rows.append((f"{len(rest):,} others", f"{files:,}", format_size(size)))
    screen.table((title, "outputs", "size"), rows, right=(1, 2))


def _name(name: str, lost: frozenset[str]) -> str:
    return f"{printable(name)} (gone)" if name in lost else printable(name)


def tell_by(screen: "Screen", seen: "XRay", sides: "Sequence[Facet]", top: int) -> None:
    """Print the tables that somebody asked for."""
    for facet in sides:
        tell_parts(screen, facet.value, seen.by(facet), top, lost=seen.projects.gone)


def tell_waste(screen: "Screen", seen: "XRay", top: int) -> None:
    """Print what is there for nothing: dead toolchains, lost directories, twins."""
    if seen.dead:
        tell_parts(screen, "made by a Go that is not installed", seen.dead, top)
    if seen.gone:
        tell_parts(screen, "made of a directory that is gone", seen.gone, top)
    if seen.duplicates:
        _tell_duplicates(screen, seen.duplicates, top)


def _tell_duplicates(screen: "Screen", found: "Sequence[Duplicate]", top: int) -> None:
    saved, copies = sum(one.saved for one in found), sum(len(one.outputs) for one in found)
    screen.line()
    rows = [
        (
            printable(one.name),
            one.toolchain,
            one.target,
            " ".join(one.flags),
            f"{len(one.directories)}",
            format_size(one.saved),
        )
        for one in found[:top]
    ]
    screen.table(
        ("compiled in several directories", "toolchain", "target", "flags", "places", "to save"), rows, right=(4, 5)
    )
    for directory in found[0].directories[:3]:
        screen.line(f"  such as {printable(directory)}")
    screen.line(
        f"  {len(found):,} packages lie here {copies:,} times; `go build -trimpath`, or one path for every checkout, would save "
        f"at most {format_size(saved)}"
    )
    screen.line("  -trimpath also changes the paths in panics, and those by which a debugger finds the source")


def tell_history(screen: "Screen", seen: "XRay") -> None:
    """Print what tests left, and how the cache grew."""
    from go_cache_safeguard.flows.growth import per_day, sparkline

    tests = seen.tests
    if tests.newest_ns is not None:
        ago = _ago(seen.now_ns - tests.newest_ns)
        screen.line(
            f"  tests       {tests.results:,} results with logs, {format_size(tests.amount.size)}, the newest {ago}"
        )
    if len(seen.points) > 1:
        rate = per_day(seen.points)
        since = time.strftime("%Y-%m-%d", time.gmtime(seen.points[0].at_ns // 10**9))
        trend = "seen for less than a day" if rate is None else f"{_signed(rate)} a day"
        screen.line(f"  growth      {sparkline(seen.points)} {trend}, {len(seen.points):,} looks since {since}")


def _signed(rate: float) -> str:
    return f"{'-' if rate < 0 else '+'}{format_size(int(abs(rate)))}"


def _ago(age_ns: int) -> str:
    days, hours = age_ns / _DAY_NS, age_ns / _DAY_NS * 24
    return "just now" if hours < 1 else f"{hours:.0f} hours ago" if days < 2 else f"{days:.0f} days ago"


def xray_value(seen: "XRay", sides: "Sequence[Facet]", top: int | None) -> dict[str, object]:
    """As JSON.

    Args:
        seen: The cache.
        sides: By what it is divided.
        top: Longest list; None for whole lists of parts, and `TOP` packages that lie there several times.
    """
    from go_cache_safeguard.flows.growth import per_day

    projects = seen.projects
    return {
        "by": {facet.value: [_part(part, projects.gone) for part in seen.by(facet)[:top]] for facet in sides},
        "dead_toolchains": None if seen.dead is None else [_part(part) for part in seen.dead],
        "gone": [_part(part) for part in seen.gone[:top]],
        "gone_directories": len(projects.gone_directories),
        "duplicates": {
            "packages": len(seen.duplicates),
            "outputs": sum(len(one.outputs) for one in seen.duplicates),
            "bytes": sum(one.size for one in seen.duplicates),
            "saved_bytes": sum(one.saved for one in seen.duplicates),
            "largest": [_duplicate(one) for one in seen.duplicates[: top or TOP]],
        },
        "tests": {
            "files": seen.tests.amount.files,
            "bytes": seen.tests.amount.size,
            "results": seen.tests.results,
            "newest_ns": seen.tests.newest_ns,
        },
        "growth": {
            "bytes_per_day": per_day(seen.points),
            "points": [
                {"at_ns": point.at_ns, "files": point.files, "bytes": point.size, "toolchains": dict(point.toolchains)}
                for point in seen.points
            ],
        },
    }


def _part(part: "Part", lost: frozenset[str] | None = None) -> dict[str, object]:
    value: dict[str, object] = {"name": part.name, "files": part.amount.files, "bytes": part.amount.size}
    return value | {"gone": True} if lost and part.name in lost else value


def _duplicate(one: "Duplicate") -> dict[str, object]:
    return {
        "package": one.package,
        "toolchain": one.toolchain,
        "target": one.target,
        "flags": list(one.flags),
        "directories": list(one.directories),
        "outputs": [output.hex() for output in one.outputs],
        "bytes": one.size,
        "saved_bytes": one.saved,
    }
