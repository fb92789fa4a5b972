"""While the door works, somebody swaps what it works on with a link to what it must not touch. The victim stays as it was.

The attacker exchanges a directory or an entry with a symbolic link, atomically and without pause. The victim looks like the real
thing: same names, sizes and times, so that nothing but the refusal to follow links protects it.
"""

import ctypes
import itertools
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from go_cache_safeguard.core.errors import Failure
from go_cache_safeguard.snapshot.quarantine import open_quarantine
from go_cache_safeguard.tree.root import open_root
from smallcaches import ALLOWED, NOW_NS, OP, SmallCache, small_cache

ROUNDS = 8
"""twice each of the four ways through the door; in each of them names are exchanged some hundred thousand times"""
NOBODY = 65_534
_AT_FDCWD, _EXCHANGE = -100, 2
_LIBC = ctypes.CDLL(None)

PLACE = ".cache.safeguard"
FILES = f"{PLACE}/{OP}/files"
ENTRY, OUTPUT, PROGRAM = "entry", "output", "program"
TARGETS = ["cache/00", f"cache/{ENTRY}", f"cache/{OUTPUT}", f"cache/{PROGRAM}", "cache/trim.txt"]
TARGETS += [PLACE, f"{PLACE}/lock", f"{PLACE}/{OP}", f"{PLACE}/{OP}/plan.json", FILES]
TARGETS += [f"{FILES}/00", f"{FILES}/{ENTRY}", f"{FILES}/{PROGRAM}"]


@contextmanager
def swapping(one: Path, other: Path, uid: int) -> Iterator[None]:
    """Exchange two names without pause, in a process of the given user, until the block ends."""
    child = os.fork()
    if child == 0:
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        names = os.fsencode(one), os.fsencode(other)
        while True:
            _LIBC.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _EXCHANGE)
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def act(cache: SmallCache, number: int) -> None:
    """One of the ways through the door; what the attacker makes it refuse is refused."""
    plan = cache.plan()
    with suppress(Failure), open_root(cache.root) as root, open_quarantine(root, allowed=ALLOWED) as quarantine:
        for step in (
            lambda: quarantine.prepare(OP, plan.data),
            lambda: quarantine.take(OP, plan.items),
            lambda: quarantine.left(OP),
            lambda: quarantine.purge(OP, only=list(cache.contents)) if number % 4 > 1 else None,
            lambda: quarantine.put_back(OP, now_ns=NOW_NS),
            quarantine.stored,
        ):
            with suppress(Failure):
                step()


def seen(directory: Path) -> dict[str, tuple[object, ...]]:
    """Everything about everything below, so that no touch goes unnoticed: ctime changes with all others."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted([directory, *directory.rglob("*")]):
        at = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[f"{path}"] = (
            at.st_ino,
            at.st_mode,
            at.st_uid,
            at.st_nlink,
            at.st_size,
            at.st_mtime_ns,
            at.st_ctime_ns,
            content,
        )
    return found


def contents_below(base: Path, victim: Path) -> set[bytes]:
    """The content of every file that is not the victim's, wherever the attacker carried it: each entry's is another."""
    files = (path for path in base.rglob("*") if victim not in path.parents)
    return {path.read_bytes() for path in files if path.is_file() and not path.is_symlink()}


@pytest.mark.crash
@pytest.mark.root
@pytest.mark.parametrize("uid", [0, NOBODY])
@pytest.mark.parametrize("target", TARGETS)
def test_a_victim_behind_a_link_is_never_touched(memory: Path, target: str, uid: int) -> None:
    memory.chmod(0o755)
    for number in range(ROUNDS):
        base = memory / f"{number}"
        cache = small_cache(base / "cache")
        victim = small_cache(base / "victim")
        link = base / "evil"
        link.symlink_to(base / name_in(cache, victim, target))
        assert link.exists()
        before = seen(victim.root)
        for path in (base, cache.root, *cache.root.rglob("*")):
            os.chown(path, uid, uid)
        with swapping(base / named(cache, target), link, uid):
            act(cache, number)
        assert seen(victim.root) == before
        if number % 4 <= 1 and target not in {PLACE, f"{PLACE}/{OP}"}:
            assert set(cache.contents.values()) <= contents_below(base, victim.root), "an entry is nowhere"


def named(cache: SmallCache, target: str) -> str:
    """The target with the name of a real entry in it."""
    kinds = {ENTRY: "-a", OUTPUT: "-d", PROGRAM: "-d"}
    head, _, last = target.rpartition("/")
    if last not in kinds:
        return target
    fitting = (name for name in sorted(cache.contents) if name.endswith(kinds[last]))
    return f"{head}/" + next(name for name in fitting if (cache.contents[name] == b"#!program") is (last == PROGRAM))


def name_in(cache: SmallCache, victim: SmallCache, target: str) -> str:
    """What in the victim looks like the target: the same entry, or the directory that would be taken for it."""
    name = named(cache, target)
    if target == PLACE or target.endswith((OP, "files")):
        return "victim"
    if target.endswith(("lock", "plan.json", "trim.txt")):
        return "victim/README"
    parts = tuple(itertools.dropwhile(lambda part: part not in {"cache", "files"}, Path(name).parts))
    return f"{victim.root.name}/" + "/".join(parts[1:])
