"""Dies at every system call of one kind that one act of the door makes, and looks at what is left.

Each act runs in a process of its own, which is killed at its k-th such call: see `dying`.

    python quarantine_driver.py ACT CALL DIRECTORY
"""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dying import die_at, load, run
from go_cache_safeguard.snapshot.quarantine import Quarantine, open_quarantine
from go_cache_safeguard.tree.root import open_root
from smallcaches import ALLOWED, NOW_NS, OP, SmallCache, entries, small_cache

LIMIT = 300
"""more calls than any act makes"""


@dataclass(frozen=True, slots=True)
class Steps:
    """What is done around each death: make a cache, do the act, look at what is left."""

    begin: Callable[[str, Path], None]
    die: Callable[[str, str, Path, int], None]
    look: Callable[[str, Path], None]


def main(act: str, call: str, directory: Path, steps: Steps) -> int:
    """Kill at the first, second, ... call until the act comes to its end alive. Prints how often it was killed."""
    load()
    for k in range(1, LIMIT):
        cache = directory / f"{k}" / "cache"
        run(lambda: steps.begin(act, cache))  # noqa: B023 - run at once
        if run(lambda: steps.die(act, call, cache, k)) == 0:  # noqa: B023 - likewise
            os.write(1, str(k - 1).encode())
            return 0
        if run(lambda: steps.look(act, cache)):  # noqa: B023 - likewise
            os.write(2, f"after death {k}\n".encode())
            return 1
    return 1


def begin(act: str, root: Path) -> None:
    """Make a cache, and bring it to where the act begins."""
    cache = small_cache(root, shards=2, pairs=2)
    if act.startswith("take"):
        return
    with open_root(root) as opened, open_quarantine(opened, allowed=ALLOWED) as quarantine:
        take(quarantine, cache)
    if act == "merge":
        # A build was here meanwhile: the shards are not empty, and one entry is there again.
        for shard in ("00", "01"):
            (root / shard / ("f" * 64 + "-a")).write_bytes(b"newer")


def take(quarantine: Quarantine, cache: SmallCache) -> None:
    plan = cache.plan()
    quarantine.prepare(OP, plan.data)
    assert quarantine.take(OP, plan.items).moved == len(plan.items)


def die(act: str, call: str, root: Path, k: int) -> None:
    """Do the act, unless killed."""
    contents = known(root)
    planned = sorted(contents)[1:] if act == "take_most" else None
    plan = SmallCache(root, contents).plan(planned) if act.startswith("take") else None
    with open_root(root) as opened, open_quarantine(opened, allowed=ALLOWED) as quarantine:
        die_at(call, k)
        if plan:
            quarantine.prepare(OP, plan.data)
            quarantine.take(OP, plan.items)
        elif act == "purge":
            quarantine.purge(OP, only=list(contents))
        else:
            quarantine.put_back(OP, now_ns=NOW_NS)


def known(root: Path) -> dict[str, bytes]:
    """What `begin` put into the cache, apart from what the build brought: the same in every cache of these options."""
    whole = entries(root) | entries(root.parent / ".cache.safeguard" / OP / "files")
    return {name: content for name, content in whole.items() if content != b"newer"}


def look(act: str, root: Path) -> None:
    """Every entry in exactly one place with its content; no lock left; and the act, or its undoing, can be finished."""
    expected = small_cache(root.parent / "again", shards=2, pairs=2).contents
    place = root.parent / ".cache.safeguard"
    live = {name: content for name, content in entries(root).items() if content != b"newer"}
    away = entries(place / OP / "files")
    assert not set(live) & set(away), "an entry is in both places"
    with open_root(root) as opened, open_quarantine(opened, allowed=ALLOWED) as quarantine:
        if act == "purge":
            assert live == {}
            assert all(expected[name] == content for name, content in away.items() if content)
            quarantine.purge(OP, only=list(expected))
            assert quarantine.stored() == []
            return
        assert live | away == expected, "an entry is lost or damaged"
        if not (place / OP).exists():
            return
        quarantine.put_back(OP, now_ns=NOW_NS)
        assert quarantine.left(OP) == (0, 0)
        assert quarantine.purge(OP, only=()).failed == ()
    live = {name: content for name, content in entries(root).items() if content != b"newer"}
    assert live == expected, "putting back lost something"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), Steps(begin, die, look)))
