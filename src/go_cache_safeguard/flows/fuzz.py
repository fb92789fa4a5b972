"""Throw away what fuzzing found, so that it can be put back: a plan like any other, which a person always has to approve.

Knows:     where go keeps inputs that widened the coverage of a fuzz test, and that nothing makes them again.
Called by: the command line's `shim`, for `go clean -fuzzcache`.
Never:     takes what lies beside them, or follows a link.
Source:    cmd/go/internal/cache/cache.go `FuzzDir`, cmd/go/internal/clean/clean.go: go removes `$GOCACHE/fuzz` whole; go1.21 to go1.27.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from go_cache_safeguard.core.plan import Item, Plan
from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.flows.session import Session, now_text
from go_cache_safeguard.flows.site import FUZZ
from go_cache_safeguard.gocache.layout import FUZZ as FOLDER
from go_cache_safeguard.gocache.layout import FUZZ_NAME
from go_cache_safeguard.tree.root import Root, open_below, open_root

_REASON = "found by fuzzing"


def plan_fuzz(session: Session, gocache: Path) -> Plan:
    """Plan the removal of all fuzzing inputs of a build cache; without items if there are none.

    Args:
        session: Who asks.
        gocache: The cache, resolved.

    Raises:
        UnsafePath: It cannot be entered safely.
    """
    with open_root(gocache) as root:
        items = tuple(sorted(_inputs(root)))
        return Plan(
            kind=FUZZ,
            target=str(root.path),
            identity=root.identity,
            selectors=("go clean -fuzzcache",),
            requester=session.actor,
            made_at=now_text(),
            whole=sum(item.size for item in items),
            items=items,
        )


def judge_fuzz(plan: Plan) -> Verdict:
    """What speaks against it: always something."""
    return Verdict(
        "fuzz-inputs",
        Outcome.BLOCK if plan.items else Outcome.PASS,
        f"{len(plan.items):,} inputs were found by fuzzing; no build makes them again"
        if plan.items
        else "there are no fuzzing inputs",
        remedy=("keep those that matter in testdata/fuzz of their package, which is under version control",),
    )


def _inputs(root: Root) -> Iterator[Item]:
    try:
        fd = open_below(root.fd, FOLDER, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return
    try:
        for folder, _, names, at in os.fwalk(".", dir_fd=fd, follow_symlinks=False):
            below = FOLDER if folder == "." else f"{FOLDER}/{folder.removeprefix('./')}"
            for name in names:
                found = os.stat(name, dir_fd=at, follow_symlinks=False)
                path = f"{below}/{name}"
                if stat.S_ISREG(found.st_mode) and FUZZ_NAME.fullmatch(path) and path.isprintable():
                    yield Item(path, found.st_size, found.st_mtime_ns, _REASON)
    finally:
        os.close(fd)
