"""Which files may be brought into a Go module cache from outside.

Knows:     that zip, .mod, .info and list of a module version suffice, because go makes everything else from them again.
Called by: `flows.restore` passes these rules to the merge.
Never:     lets in what go believes without looking: an extracted tree, or a `.ziphash` that says what a zip should be.
Source:    cmd/go/internal/modfetch/fetch.go `downloadZip`, `checkMod`, `hashZip`: a zip beside which a `.ziphash` lies is not
           hashed again, and an extracted tree is built as it is. Without both, go hashes the zip, compares it with go.sum, and
           extracts it (seen with go1.21.13 and go1.27.3: `cache/download` alone suffices for offline builds).
"""

from go_cache_safeguard.gomod.layout import DOWNLOADS, is_tree, parse_download

_MIDDLE = "/@v/"
_ANEW = (".ziphash", ".lock", ".partial")
_KNOWN = (".zip", ".mod", ".info")
_ZIP = ".zip"


def why_omitted(name: str) -> str | None:
    """Why a sound file stays out, or None.

    Args:
        name: Path below GOMODCACHE.
    """
    if name.startswith("cache/"):
        if name == "cache/lock" or name.startswith((f"{DOWNLOADS}/sumdb/", "cache/vcs/")) or name.endswith(_ANEW):
            return "go makes it again"
        return None
    if any(is_tree(part) for part in name.split("/")[:-1]):
        return "go extracts it again from the zip, and compares that with go.sum"
    return None


def why_refused(name: str) -> str | None:
    """Why a file has no place in a module cache, or None.

    Args:
        name: Path below GOMODCACHE; harmless as a path, see `snapshot.manifest.refusal`.
    """
    folder, middle, file = name.removeprefix(f"{DOWNLOADS}/").rpartition(_MIDDLE)
    if name.startswith(f"{DOWNLOADS}/") and middle and "/" not in file:
        suffix = next((suffix for suffix in _KNOWN if file.endswith(suffix)), None)
        stem = "v0.0.0" if file == "list" else file.removesuffix(suffix or file)
        if stem and parse_download(folder, f"{stem}.mod") is not None:
            return None
    return "go gives no such name in a module cache"


def remembered_hash(name: str) -> str | None:
    """Where go would remember the hash of this zip; None when the name is not that of a zip.

    A zip must not be put beside such a file: go would believe it unseen.
    """
    return f"{name.removesuffix(_ZIP)}.ziphash" if name.endswith(_ZIP) else None
