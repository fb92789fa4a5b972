"""A cache of few and tiny entries, in Go's layout, made up in a moment: for tests of what moves entries, not of what reads them."""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from go_cache_safeguard.core.plan import Item, Plan

ALLOWED = re.compile(r"(?P<shard>[0-9a-f]{2})/(?P=shard)[0-9a-f]{62}-[ad]")
OP = "op_0123456789abcdef"
OTHER_OP = "op_0123456789abcdeg"
DAY_NS = 86_400 * 10**9
NOW_NS = 1_900_000_000 * 10**9
OLD_NS = NOW_NS - 3 * DAY_NS


@dataclass(frozen=True)
class SmallCache:
    """A cache on disk, and what was in it when it was made."""

    root: Path
    contents: dict[str, bytes]

    def plan(self, names: list[str] | None = None) -> Plan:
        """A plan that takes these entries, or all."""
        items = []
        for name in sorted(self.contents if names is None else names):
            found = (self.root / name).lstat()
            program = (self.root / name).is_dir()
            items.append(Item(name, len(self.contents[name]) if program else found.st_size, found.st_mtime_ns, "all"))
        where = self.root.stat()
        identity = f"{where.st_dev}:{where.st_ino}"
        return Plan(
            "go-build-cache",
            f"{self.root}",
            identity,
            ("--all",),
            "test",
            "2030-01-01T00:00:00Z",
            sum(map(len, self.contents.values())),
            tuple(items),
        )

    @property
    def place(self) -> Path:
        """Where its quarantine lies."""
        return self.root.parent / f".{self.root.name}.safeguard"


def small_cache(root: Path, *, shards: int = 3, pairs: int = 2, programs: int = 1, at_ns: int = OLD_NS) -> SmallCache:
    """Make a cache: in each shard so many index entries and outputs, and a few cached programs over all.

    Args:
        root: Directory to make.
        shards: How many shards hold something.
        pairs: Index entries, and outputs, in each of them.
        programs: Directories with a program in them, one a shard.
        at_ns: When everything was used last.
    """
    root.mkdir(parents=True)
    (root / "README").write_text("This directory holds cached build artifacts from the Go build system.\n")
    (root / "trim.txt").write_text("1000000000")
    contents: dict[str, bytes] = {}
    for shard in range(shards):
        (root / f"{shard:02x}").mkdir()
        for pair in range(pairs):
            tail = hashlib.sha256(f"{shard}.{pair}".encode()).hexdigest()[:62]
            for kind in "ad":
                contents[f"{shard:02x}/{shard:02x}{tail}-{kind}"] = f"{kind} {shard} {pair}".encode()
    for shard in range(programs):
        tail = hashlib.sha256(f"program {shard}".encode()).hexdigest()[:62]
        contents[f"{shard:02x}/{shard:02x}{tail}-d"] = b"#!program"
        (root / f"{shard:02x}/{shard:02x}{tail}-d").mkdir()
    for name, content in contents.items():
        path = root / name
        (path / "tool" if path.is_dir() else path).write_bytes(content)
        os.utime(path, ns=(at_ns, at_ns))
    return SmallCache(root, contents)


def entries(directory: Path) -> dict[str, bytes]:
    """Name and content of everything two levels down; of a cached program, the program's, or nothing when that is away."""
    found = {}
    for path in directory.glob("*/*"):
        if path.parent.is_symlink():
            continue
        inner = next(path.iterdir(), None) if path.is_dir() and not path.is_symlink() else path
        found[f"{path.parent.name}/{path.name}"] = inner.read_bytes() if inner else b""
    return found
