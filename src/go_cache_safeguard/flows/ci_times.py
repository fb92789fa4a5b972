"""Look at the files that tests read, and give them their times back.

Knows:     how names in test logs lead to files of a project.
Called by: `flows.ci_pack` and `flows.ci_unpack`.
Never:     leaves the project, follows a link, or touches a file whose content is another.
"""

import os
import posixpath
import stat
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path

from go_cache_safeguard.gocache.classify import Kind
from go_cache_safeguard.gocache.filetimes import FileTime, counted, deepest_first, named_files, names_digest
from go_cache_safeguard.gocache.inventory import Inventory
from go_cache_safeguard.gocache.layout import output_name
from go_cache_safeguard.tree.root import Root, open_below

_MOST_LOG = 8 << 20
_MOST_FILE = 1 << 30
_PIECE = 1 << 20
_SKIPPED = frozenset({".git", "node_modules"})


def times_of(root: Root, inventory: Inventory, live: Iterable[bytes], project: Path) -> tuple[FileTime, ...]:
    """The times of everything in a project that stored tests read.

    Args:
        root: The build cache, open.
        inventory: What is in it.
        live: Ids of the entries that count.
        project: Its directory, resolved.
    """
    names: set[str] = set()
    for log in _logs(root, inventory, live):
        names.update(named_files(log))
    wanted = {path for folder in _packages(project) for name in names for path in _below(project, folder, name)}
    fd = os.open(project, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        inside = {found.name: found for found in _look(fd, wanted)}
        within = {f"{name}/{entry}" for name, found in inside.items() if found.folder for entry in _names(fd, name)}
        return tuple((inside | {found.name: found for found in _look(fd, within - wanted)}).values())
    finally:
        os.close(fd)


def give_back(project: Path, table: Iterable[FileTime]) -> tuple[int, int]:
    """Give files their old times. Returns how many have them now, and how many of the table are not there or another.

    Args:
        project: Its directory, resolved.
        table: What had which time.
    """
    rows = list(table)
    fd = os.open(project, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = {one.name: one for one in _look(fd, [one.name for one in rows])}
        same = sum(found.get(one.name) == one for one in rows)
        given = 0
        for one in deepest_first(counted(found, rows)):
            given += _set(fd, one)
        return same + given, len(rows) - same - given
    finally:
        os.close(fd)


def _logs(root: Root, inventory: Inventory, live: Iterable[bytes]) -> Iterator[bytes]:
    seen: set[bytes] = set()
    for key in live:
        action = inventory.actions.get(key)
        output = getattr(action.entry, "output", None) if action is not None else None
        found = inventory.outputs.get(output) if output is not None else None
        if found is None or found.kind is not Kind.TEST_LOG or found.output in seen or found.size > _MOST_LOG:
            continue
        seen.add(found.output)
        try:
            fd = open_below(root.fd, output_name(found.output), os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            continue  # gone since: the test runs again
        with os.fdopen(fd, "rb") as file:
            yield file.read(_MOST_LOG)


def _packages(project: Path) -> list[str]:
    """Directories with tests, relative to the project: a log does not say whose it is, so a name is looked for in each."""
    found = []
    for folder, folders, names in os.walk(project, followlinks=False):
        folders[:] = [name for name in folders if name not in _SKIPPED]
        if any(name.endswith("_test.go") for name in names):
            found.append(os.path.relpath(folder, project))
    return found


def _below(project: Path, folder: str, name: str) -> Iterator[str]:
    path = posixpath.normpath(name if name.startswith("/") else f"{project}/{folder}/{name}")
    if path.startswith(f"{project}/") and "\n" not in path and path.isprintable():
        yield path.removeprefix(f"{project}/")


def _look(project: int, names: Iterable[str]) -> Iterator[FileTime]:
    for name in names:
        try:
            fd = open_below(project, name, os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            continue
        try:
            found = os.fstat(fd)
            if stat.S_ISDIR(found.st_mode):
                yield FileTime(name, folder=True, size=0, digest=names_digest(_listed(fd)), mtime_ns=found.st_mtime_ns)
            elif stat.S_ISREG(found.st_mode) and found.st_size <= _MOST_FILE:
                yield FileTime(name, folder=False, size=found.st_size, digest=_digest(fd), mtime_ns=found.st_mtime_ns)
        except OSError:
            continue
        finally:
            os.close(fd)


def _digest(fd: int) -> str:
    digest = sha256()
    while chunk := os.read(fd, _PIECE):
        digest.update(chunk)
    return digest.hexdigest()


def _names(project: int, folder: str) -> list[str]:
    try:
        fd = open_below(project, folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return []
    try:
        return [name for name in _listed(fd) if name.isprintable()]
    finally:
        os.close(fd)


def _listed(folder: int) -> list[str]:
    with os.scandir(folder) as items:
        return [item.name for item in items]


def _set(project: int, one: FileTime) -> bool:
    try:
        fd = open_below(project, one.name, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        os.utime(fd, ns=(one.mtime_ns, one.mtime_ns))
    except OSError:
        return False
    finally:
        os.close(fd)
    return True
