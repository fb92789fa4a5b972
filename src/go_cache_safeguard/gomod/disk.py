"""Look at a module cache, read-only.

Knows:     where GOMODCACHE keeps zips and extracted trees.
Called by: `flows.inspect`.
Never:     writes, follows a symbolic link, or opens a file: names and sizes are enough.
Source:    `go help module-cache`; cmd/go/internal/modfetch/cache.go, go1.21 to go1.27: `cache/download/<module>/@v/
           <version>.zip`; extracted trees stand beside `cache/`.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ModuleCache:
    """Totals of a module cache.

    Attributes:
        path: GOMODCACHE.
        exists: Whether the directory is there.
        versions: Module versions of which the zip is there.
        files: Files of all kinds.
        size: Bytes, apparent.
        unreadable: Directories that could not be listed; then the totals are lower bounds.
    """

    path: Path
    exists: bool
    versions: int = 0
    files: int = 0
    size: int = 0
    unreadable: int = 0


def measure(path: Path, *, progress: Callable[[int, int], None]) -> ModuleCache:
    """Walk a module cache.

    Args:
        path: GOMODCACHE.
        progress: Told of files and bytes seen, now and then.
    """
    if not path.is_dir():
        return ModuleCache(path, exists=False)
    versions = files = size = unreadable = 0
    todo = [str(path)]
    while todo:
        try:
            with os.scandir(todo.pop()) as listing:
                for found in listing:
                    if found.is_dir(follow_symlinks=False):
                        todo.append(found.path)
                        continue
                    files += 1
                    size += found.stat(follow_symlinks=False).st_size
                    versions += found.name.endswith(".zip") and found.path.endswith(f"/@v/{found.name}")
        except OSError:
            # Said in the result: an unreadable directory makes the totals lower bounds, it does not hide the rest.
            unreadable += 1
        progress(files, size)
    return ModuleCache(path, exists=True, versions=versions, files=files, size=size, unreadable=unreadable)
