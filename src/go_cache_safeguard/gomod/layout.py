"""Where a module version lies in the module cache, and how names are written there.

Knows:     escaped names, and the places of zip, hash, go.mod and tree below GOMODCACHE.
Called by: `gomod.read`, `gomod.verify`.
Never:     asks whether anything is there.
Source:    golang.org/x/mod/module/module.go `escapeString`, `unescapeString`, `fileNameOK`, `modPathOK`;
           cmd/go/internal/modfetch/cache.go `CachePath`, `DownloadDir`; read in go1.21.13, go1.26.8 and go1.27.3, same rules.
"""

import re
from dataclasses import dataclass

DOWNLOADS = "cache/download"
SUFFIXES = (".ziphash", ".zip", ".mod", ".partial")
"""What stands for a module version beside others of the same module; the longer one of two that fit comes first."""

INFO = ".info"
"""Ending of the file that says that there is a version, and of when; by itself it stands for none, since it is written for a mere question."""
ENTRY_NAME = re.compile(
    r"(?!cache/)(?:[a-z0-9~._!-]+/)*[a-z0-9~._!-]+@v[a-z0-9~._+!-]*"
    r"|cache/download/(?:[a-z0-9~._!-]+/)+@v/v[a-z0-9~._+!-]*\.(?:zip|ziphash|mod|info)",
    re.ASCII,
)
"""What may ever be taken out of a module cache: an extracted tree, a zip, its hash, a go.mod file, and what says that there is such a version."""

_ESCAPE = re.compile("[A-Z]")
_UNESCAPE = re.compile("!([a-z])")
_PATH = re.compile(r"[A-Za-z0-9~._-]+(/[A-Za-z0-9~._-]+)*", re.ASCII)
_VERSION = re.compile(r"v[A-Za-z0-9~._+-]*", re.ASCII)
_DOTS = re.compile(r"(^|/)\.\.?(/|$)")
_TREE_MARK = "@"


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A module version.

    Attributes:
        path: Module path, such as `github.com/BurntSushi/toml`.
        version: Such as `v1.5.0`.
    """

    path: str
    version: str

    def __str__(self) -> str:
        return f"{self.path}@{self.version}"

    @property
    def tree(self) -> str:
        """The extracted tree, relative to GOMODCACHE."""
        return f"{escape(self.path)}@{escape(self.version)}"

    def download(self, suffix: str) -> str:
        """A file of the download cache, relative to GOMODCACHE.

        Args:
            suffix: One of `SUFFIXES`, or `INFO`.
        """
        return f"{self.folder}/{self.file(suffix)}"

    @property
    def folder(self) -> str:
        """Where the download cache keeps all versions of the module, relative to GOMODCACHE."""
        return f"{DOWNLOADS}/{escape(self.path)}/@v"

    def file(self, suffix: str) -> str:
        """The name of one of its files in `folder`."""
        return f"{escape(self.version)}{suffix}"


def escape(text: str) -> str:
    """Write a path or version so that it can be told apart where case does not count: `B` becomes `!b`."""
    return _ESCAPE.sub(lambda match: "!" + match[0].lower(), text)


def unescape(text: str) -> str | None:
    """Read an escaped path or version; None if go would not have written it."""
    if _ESCAPE.search(text) or "!" in _UNESCAPE.sub("", text):
        return None
    return _UNESCAPE.sub(lambda match: match[1].upper(), text)


def make_version(path: str, version: str) -> Version | None:
    """A module version, if both can be part of a file's name without leading elsewhere."""
    if not _PATH.fullmatch(path) or _DOTS.search(path) or not _VERSION.fullmatch(version):
        return None
    return Version(path, version)


def parse_download(folder: str, name: str) -> Version | None:
    """Which version a file of the download cache stands for.

    Args:
        folder: Escaped module path: what lies between `cache/download/` and `/@v`.
        name: File name.
    """
    suffix = next((suffix for suffix in SUFFIXES if name.endswith(suffix)), None)
    if suffix is None:
        return None
    return _parse(folder, name.removesuffix(suffix))


def parse_tree(name: str) -> Version | None:
    """Which version a directory holds; `name` is relative to GOMODCACHE."""
    path, _, version = name.partition(_TREE_MARK)
    return _parse(path, version)


def version_of(name: str) -> Version | None:
    """Which version a file of the download cache, or a tree, belongs to; `name` is relative to GOMODCACHE."""
    folder, _, last = name.rpartition("/")
    if folder.startswith(f"{DOWNLOADS}/") and folder.endswith("/@v"):
        escaped = folder[len(DOWNLOADS) + 1 : -3]
        return _parse(escaped, last.removesuffix(INFO)) if last.endswith(INFO) else parse_download(escaped, last)
    return parse_tree(name)


def is_tree(name: str) -> bool:
    """Whether a directory below GOMODCACHE is an extracted module, and not one on the way to it."""
    return _TREE_MARK in name.rpartition("/")[2]


def _parse(path: str, version: str) -> Version | None:
    plain_path, plain_version = unescape(path), unescape(version)
    if plain_path is None or plain_version is None:
        return None
    return make_version(plain_path, plain_version)
