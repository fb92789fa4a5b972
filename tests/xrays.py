"""Inventories made up in a moment, and checkouts that compile in one, for tests of what is said about a cache."""

import itertools
import subprocess
from collections.abc import Sequence
from pathlib import Path

from go_cache_safeguard.gocache.archive import Archive
from go_cache_safeguard.gocache.classify import Kind
from go_cache_safeguard.gocache.entry import Entry
from go_cache_safeguard.gocache.inventory import Action, Inventory, Output, Shape
from gocaches import GoCache

NOW_NS = 1_900_000_000 * 10**9
_COUNT = itertools.count(1)


def made(
    package: str | None,
    source: str | None,
    *,
    size: int = 100,
    version: str = "go1.27.3",
    flags: tuple[str, ...] = (),
    shape: int = 7,
    age_ns: int = 0,
) -> Output:
    """An archive; no two are the same output."""
    about = Archive(package, "linux", "amd64", version, flags, "a" * 20, "c" * 20, source, shape)
    return plain(Kind.ARCHIVE, size=size, about=about, age_ns=age_ns)


def plain(kind: Kind, *, size: int = 10, about: Archive | None = None, age_ns: int = 0) -> Output:
    """Any output."""
    key = next(_COUNT).to_bytes(32, "big")
    return Output(key, size, 4096, NOW_NS - age_ns, 0o644, False, kind, about, Shape.FILE, 1, 0)  # noqa: FBT003 - a row


def inventory_of(outputs: Sequence[Output], *, stored_ns: int = NOW_NS) -> Inventory:
    """A cache in which each output is named by one entry."""
    actions = [
        Action(
            bytes([255]) + one.output[1:], 175, NOW_NS, Entry(one.output, one.output, one.size, stored_ns), 1, 0, 4096
        )
        for one in outputs
    ]
    return Inventory(
        "/cache", "1:2", {action.action: action for action in actions}, {one.output: one for one in outputs}
    )


CHECKOUT = {
    "app/go.mod": "module example.com/app\n\ngo 1.21\n\nrequire example.com/dep v1.0.0\n\nreplace example.com/dep => ../dep\n",
    "app/app.go": 'package app\n\nimport "example.com/dep"\n\nfunc One() int { return dep.Small(1) }\n',
    "app/lib/lib.go": 'package lib\n\nimport "example.com/dep/sub"\n\nfunc Two() string { return sub.Name() }\n',
    "dep/go.mod": "module example.com/dep\n\ngo 1.21\n",
    "dep/dep.go": "package dep\n\nfunc Small(a int) int { return a + 1 }\n",
    "dep/sub/sub.go": 'package sub\n\nfunc Name() string { return "sub" }\n',
}
"""A module that needs another one; without imports of the standard library nothing of that is compiled: a build takes a moment."""


def write(root: Path) -> Path:
    """Write both modules; gives the directory of the first."""
    for name, text in CHECKOUT.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root / "app"


def build(cache: GoCache, module: Path, *flags: str) -> None:
    """Build all packages of a module, with file names in the archives unless a flag says otherwise."""
    subprocess.run(
        [cache.toolchain.go, "build", *flags, "./..."],
        cwd=module,
        env={**cache.environ, "GOFLAGS": ""},
        check=True,
        capture_output=True,
        timeout=120,
    )
