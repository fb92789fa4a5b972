"""Where a go command keeps its build cache, and what of its environment may be written down.

Knows:     the answer of `go env -json`, the GOENV file, the default place of the cache, and which variables are no secret.
Called by: `gotool.run`, `gotool.processes`, and whoever reports on an environment.
Never:     reads the environment or a file itself; both are given.
Source:    cmd/go/internal/cfg/cfg.go `EnvFile`, `readEnvFile`, `Getenv`; cmd/go/internal/cache/default.go `DefaultDir`;
           os/file.go `UserCacheDir`, `UserConfigDir`; read in go1.21.13 and go1.27.3, same rules.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_FIELDS = {
    "version": "GOVERSION",
    "cache": "GOCACHE",
    "modcache": "GOMODCACHE",
    "root": "GOROOT",
    "os": "GOOS",
    "arch": "GOARCH",
    "flags": "GOFLAGS",
    "env_file": "GOENV",
    "toolchain": "GOTOOLCHAIN",
    "proxy": "GOPROXY",
    "cgo_enabled": "CGO_ENABLED",
    "cacheprog": "GOCACHEPROG",
}
KEYS = tuple(_FIELDS.values())
"""What we ask `go env` for. A version that does not know a key answers it with an empty text, which is fine."""

# Not simply GO*: GOOGLE_APPLICATION_CREDENTIALS and its like begin so, too.
_OURS = re.compile(r"(?!GOOGLE)GO[A-Z0-9]+|GO_EXTLINK_ENABLED|CGO_[A-Z_]+|CC|CXX|PATH|HOME", re.ASCII)
_USERINFO = re.compile(r"(?<=//)[^/@\s,|]+(?=@)")


@dataclass(frozen=True, slots=True)
class GoEnv:
    """What a go command says about itself.

    Attributes:
        version: Such as `go1.27.3`.
        cache: GOCACHE, an absolute path; `off` if go has none.
        modcache: GOMODCACHE.
        root: GOROOT.
        os: GOOS.
        arch: GOARCH.
        flags: GOFLAGS.
        env_file: GOENV, the file of `go env -w`; `off`, or empty in go1.21, if there is none.
        toolchain: GOTOOLCHAIN.
        proxy: GOPROXY, without user names and passwords.
        cgo_enabled: `1` or `0`.
        cacheprog: GOCACHEPROG; empty if there is none or the version has no such thing.
    """

    version: str
    cache: str
    modcache: str
    root: str
    os: str
    arch: str
    flags: str
    env_file: str
    toolchain: str
    proxy: str
    cgo_enabled: str
    cacheprog: str


def parse_go_env(data: bytes) -> GoEnv | None:
    """Read what `go env -json` printed; None if it is not that."""
    try:
        value: Any = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    texts = {field: value.get(key, "") for field, key in _FIELDS.items()}
    if not all(isinstance(text, str) for text in texts.values()) or not texts["version"]:
        return None
    return GoEnv(**(texts | {"proxy": without_passwords(texts["proxy"])}))


def evidence(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that steer a build, sorted, with passwords in addresses covered; never anything else."""
    return {name: without_passwords(environ[name]) for name in sorted(environ) if _OURS.fullmatch(name)}


def without_passwords(text: str) -> str:
    """Cover the user and password part of each address in the text."""
    return _USERINFO.sub("***", text)


def parse_environ(data: bytes) -> dict[str, str]:
    """Read `/proc/PID/environ`: `NAME=value` ended by NUL. Of a name that comes twice the last one holds, as in Go."""
    pairs = (part.partition(b"=") for part in data.split(b"\0"))
    return {_text(name): _text(value) for name, equals, value in pairs if equals and name}


def parse_env_file(data: bytes) -> dict[str, str]:
    """Read a GOENV file as go does: lines `NAME=value` that begin with a capital letter; all others are passed over."""
    pairs = (line.partition(b"=") for line in data.split(b"\n") if b"A" <= line[:1] <= b"Z")
    return {_text(name): _text(value) for name, equals, value in pairs if equals}


def env_file(environ: Mapping[str, str]) -> str | None:
    """Where this go command looks for its GOENV file; None if nowhere."""
    if chosen := environ.get("GOENV"):
        return None if chosen == "off" else chosen
    folder = _user_folder(environ, "XDG_CONFIG_HOME", ".config")
    return folder and f"{folder}/go/env"


def cache_location(environ: Mapping[str, str], *env_files: bytes) -> str | None:
    """Where a go command with this environment keeps its build cache.

    Args:
        environ: Its environment.
        env_files: Contents of its GOENV file and of GOROOT/go.env, in this order; those that there are.

    Returns:
        An absolute path, or None if it has no cache and every build of it fails (`off`, relative, no HOME).
    """
    chosen = environ.get("GOCACHE") or next(
        filter(None, (parse_env_file(file).get("GOCACHE") for file in env_files)), ""
    )
    if chosen:
        return chosen if chosen.startswith("/") else None
    folder = _user_folder(environ, "XDG_CACHE_HOME", ".cache")
    return folder and f"{folder}/go-build"


def _user_folder(environ: Mapping[str, str], variable: str, below_home: str) -> str | None:
    if chosen := environ.get(variable):
        return chosen if chosen.startswith("/") else None
    home = environ.get("HOME")
    return f"{home}/{below_home}" if home else None


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
