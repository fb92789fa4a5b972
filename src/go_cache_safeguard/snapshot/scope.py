"""What of a cache belongs in a snapshot of it.

Knows:     which names go itself writes into a build cache and a module cache, and which of them mean something only here and now.
Called by: `snapshot.capture` for every name that it meets.
Never:     looks at anything but a name.
Source:    build cache: cmd/go/internal/cache/cache.go and default.go, go1.21 to go1.27; a cached program is a directory `<id>-d` with
           one file (`PutExecutable`, go1.24). Module cache: cmd/go/internal/modfetch/cache.go (`lockVersion`, `SideLock`,
           `tempFile`) and fetch.go (`.partial`), and codehost.WorkDir for `cache/vcs`.
"""

import re

from go_cache_safeguard.snapshot.manifest import Kind

_SHARD = re.compile(r"[0-9a-f]{2}")
_FILE = re.compile(r"([0-9a-f]{2})/\1[0-9a-f]{62}-[ad]")
_PROGRAM = re.compile(r"([0-9a-f]{2})/\1[0-9a-f]{62}-d")
_SPECIAL = frozenset({"README", "trim.txt", "testexpire.txt", "log.txt"})
_FOREIGN = "go did not put it there"
_LEFT_OVER = {
    ".lock": "it is a lock, which means something only where go runs",
    ".partial": "it marks a module that was not extracted completely",
    ".tmp": "a download that did not end left it",
}


def why_not(kind: Kind, name: str, *, is_folder: bool) -> str | None:
    """Why something is left out of a snapshot, in a few words; None if it belongs in.

    Args:
        kind: Of which cache.
        name: Path below the root; the folders that lead there belong in.
        is_folder: Whether it is a directory.
    """
    return _not_in_build(name, is_folder) if kind is Kind.BUILD else _not_in_modules(name, is_folder)


def partial_mark(tree: str) -> str | None:
    """Where go marks an extracted module as incomplete; None if the directory is not a whole module.

    Args:
        tree: Path of a directory below the root of a module cache.
    """
    path, _, version = tree.rpartition("@")
    if not path or "/" in version or "@" in path or path.startswith("cache/"):
        return None
    return f"cache/download/{path}/@v/{version}.partial"


def _not_in_build(name: str, is_folder: bool) -> str | None:  # noqa: FBT001 - a private half of `why_not`
    top, _, rest = name.partition("/")
    if top == "fuzz":
        return None if is_folder or rest else _FOREIGN
    if not rest:
        fits = _SHARD.fullmatch(name) if is_folder else name in _SPECIAL
    elif is_folder:
        fits = _PROGRAM.fullmatch(name)
    else:
        folder, _, _ = name.rpartition("/")
        fits = _FILE.fullmatch(name) or _PROGRAM.fullmatch(folder)
    return None if fits else _FOREIGN


def _not_in_modules(name: str, is_folder: bool) -> str | None:  # noqa: FBT001 - likewise
    parts = name.split("/")
    if parts[0] != "cache":
        return None if is_folder or any("@" in part for part in parts[:-1]) else _FOREIGN
    if parts[1:2] == ["vcs"]:
        return "it is a copy of a repository, which go fetches again"
    if name == "cache/lock":
        return _LEFT_OVER[".lock"]
    if parts[1:2] not in ([], ["download"]) or (len(parts) < 3 and not is_folder):
        return _FOREIGN
    return None if is_folder else next((why for end, why in _LEFT_OVER.items() if name.endswith(end)), None)
