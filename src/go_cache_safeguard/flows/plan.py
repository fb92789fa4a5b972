"""Make a plan, without touching anything.

Knows:     how what a person typed becomes a selection, and where shares and installed toolchains come from.
Called by: the command line's `plan` and `clean`.
Never:     removes; a plan file is the only thing that is written, and only where the person said.
"""

import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from go_cache_safeguard.core.errors import Failure, UsageFailure
from go_cache_safeguard.core.plan import Item, Plan
from go_cache_safeguard.core.size import Share
from go_cache_safeguard.flows.inspect import look
from go_cache_safeguard.flows.session import NoTarget, Session, now_text
from go_cache_safeguard.gocache.classify import Kind
from go_cache_safeguard.gocache.inventory import Inventory
from go_cache_safeguard.gocache.select import Selection, select
from go_cache_safeguard.tree.root import Root, open_root

KIND = "go-build-cache"
_VERSION = re.compile(r"go[0-9][^\s]*")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person typed.

    Attributes:
        everything: `--all`.
        unused_for_s: `--unused-for`, in seconds.
        max_size: `--max-size`, bytes or a share of the disk.
        min_free: `--min-free`, likewise.
        dead_toolchains: `--dead-toolchains`.
        keep_toolchains: `--keep-toolchain`, versions that count as installed.
        packages: `--package`.
        kinds: `--kind`.
        orphans: `--orphans`.
        words: The selectors as typed, for the plan.
    """

    everything: bool = False
    unused_for_s: int | None = None
    max_size: int | Share | None = None
    min_free: int | Share | None = None
    dead_toolchains: bool = False
    keep_toolchains: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    orphans: bool = False
    words: tuple[str, ...] = ()


def make_plan(session: Session, gocache: Path, wanted: Wanted) -> tuple[Plan, Inventory]:
    """Plan a removal.

    Args:
        session: Who asks.
        gocache: The cache, resolved.
        wanted: What was asked for.

    Raises:
        UsageFailure: Nothing was asked for, or `--all` together with something narrower.
        NoTarget: There is no cache yet.
    """
    _check(wanted)
    if not os.path.lexists(gocache):
        raise NoTarget(
            f"{gocache} does not exist",
            not_done="nothing was planned",
            hint="nothing was cached yet: go makes the directory when it first builds something",
        )
    with open_root(gocache) as root:
        inspection = look(session, root)
        selection = _selection(session, root, wanted)
        items = select(inspection.inventory, selection, now_ns=time.time_ns())
        return plan_of(session, root, items, wanted.words, inspection.inventory.size), inspection.inventory


def plan_of(session: Session, root: Root, items: Sequence[Item], words: tuple[str, ...], whole: int) -> Plan:
    """Put chosen items into a plan for this cache."""
    return Plan(
        kind=KIND,
        target=str(root.path),
        identity=root.identity,
        selectors=words,
        requester=session.actor,
        made_at=now_text(),
        whole=whole,
        items=tuple(items),
    )


def write_plan(plan: Plan, path: Path) -> None:
    """Write a plan where the person said; a file that is there is not overwritten.

    Raises:
        UsageFailure: The file exists or cannot be made.
    """
    try:
        with path.open("xb") as file:
            file.write(plan.data + b"\n")
    except OSError as error:
        raise UsageFailure(f"{path} cannot be written: {error.strerror}", not_done="no plan was written") from error


def _check(wanted: Wanted) -> None:
    narrower = (wanted.unused_for_s, wanted.max_size, wanted.min_free, wanted.packages, wanted.kinds)
    some = any(narrower) or wanted.unused_for_s == 0 or wanted.dead_toolchains or wanted.orphans
    if wanted.everything and some:
        raise UsageFailure("--all cannot be combined with a narrower selector", not_done="nothing was planned")
    if not wanted.everything and not some:
        raise UsageFailure(
            "say what should go",
            not_done="nothing was planned",
            hint="for example --unused-for 5d, --max-size 20GiB, --dead-toolchains, or --all",
        )


def _selection(session: Session, root: Root, wanted: Wanted) -> Selection:
    disk = os.fstatvfs(root.fd)
    capacity, free = disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize
    min_free = _bytes(wanted.min_free, capacity)
    return Selection(
        everything=wanted.everything,
        unused_for_s=wanted.unused_for_s,
        installed=installed_toolchains(session, wanted.keep_toolchains) if wanted.dead_toolchains else None,
        packages=wanted.packages,
        kinds=frozenset(_kind(text) for text in wanted.kinds),
        orphans=wanted.orphans,
        keep_bytes=_bytes(wanted.max_size, capacity),
        free_bytes=None if min_free is None else max(0, min_free - free),
    )


def _bytes(asked: int | Share | None, whole: int) -> int | None:
    return asked.of(whole) if isinstance(asked, Share) else asked


def _kind(text: str) -> Kind:
    try:
        return Kind(text)
    except ValueError:
        known = ", ".join(kind.value for kind in Kind)
        raise UsageFailure(f"{text!r} is not a kind of output", hint=f"kinds: {known}") from None


def installed_toolchains(session: Session, kept: Sequence[str] = ()) -> frozenset[str]:
    """Versions of Go that are on this machine: nothing that they made is dead.

    Looked for: the go command itself, every `go` on PATH, `~/sdk/go*`, `/usr/local/go*`, `/usr/lib/go-*`, and toolchains
    that go downloaded into the module cache (`golang.org/toolchain@v0.0.1-go1.x.y.os-arch`, since go1.21).

    Raises:
        UsageFailure: Not even one was found: then everything would look dead.
    """
    found = set(kept)
    try:
        found.add(session.go_env.version)
        modules = Path(session.go_env.modcache) / "golang.org"
        found |= {
            match[0].rsplit(".", 1)[0]
            for path in _glob(modules, "toolchain@*")
            if (match := _VERSION.search(path.name))
        }
    except Failure as failure:
        session.progress.say(f"the go command cannot be asked: {failure.what}")
    roots = [Path(folder).parent for folder in session.environ.get("PATH", "").split(os.pathsep) if folder]
    roots += [Path(os.path.realpath(root / "bin" / "go")).parents[1] for root in roots]
    roots += [*_glob(session.home / "sdk", "go*"), *_glob(Path("/usr/local"), "go*"), *_glob(Path("/usr/lib"), "go-*")]
    for root in roots:
        try:
            found |= set(_VERSION.findall((root / "VERSION").read_text("utf-8", "replace")[:64]))
        except OSError:
            continue  # no toolchain there
    if not found:
        raise UsageFailure(
            "no installed Go toolchain was found, so all of them would look dead",
            not_done="nothing was planned",
            hint="name those to keep with --keep-toolchain go1.27.3",
        )
    return frozenset(found)


def _glob(folder: Path, pattern: str) -> list[Path]:
    try:
        return list(folder.glob(pattern))
    except OSError:
        return []
