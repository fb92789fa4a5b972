"""A module with one of everything that is in a cache key, and a session that asks why about it.

The library packages `a` and `b` import nothing of the standard library, so a cache in which they are is made in a fraction of a
second; everything else is only planned.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from go_cache_safeguard.config.files import load_config
from go_cache_safeguard.flows.runs import keep_run
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.why import Report, question_of, report_why
from go_cache_safeguard.gocache.keyrecord import Record
from go_cache_safeguard.gomod.layout import Version
from gocaches import Toolchain
from modcaches import write_zip

_EXT = "example.com/ext"
FILES = {
    "go.mod": f"module example.com/m\n\ngo 1.20\n\nrequire {_EXT} v1.0.0\n",
    "a/a.go": "package a\n\n// A is one.\nfunc A() int { return 1 }\n",
    "a/more.go": "package a\n\nfunc More() int { return 3 }\n",
    "a/a_test.go": "package a\n",
    "a/tagged.go": "//go:build foo\n\npackage a\n\nfunc Tagged() {}\n",
    "b/b.go": 'package b\n\nimport "example.com/m/a"\n\nfunc B() int { return a.A() }\n',
    "c/c.go": 'package c\n\nimport (\n\t_ "embed"\n\n\t"example.com/m/b"\n)\n\n//go:embed text\nvar Text string\n\nvar C = b.B()\n',
    "c/text": "embedded\n",
    "cg/cg.go": 'package cg\n\n// #include "cg.h"\nimport "C"\n\nfunc G() int { return int(C.one()) }\n',
    "cg/plain.go": "//go:build !cgo\n\npackage cg\n\nfunc G() int { return 1 }\n",
    "cg/cg.h": "static int one(void) { return 1; }\n",
    "main.go": f'package main\n\nimport (\n\t"example.com/m/c"\n\t"example.com/m/cg"\n\t"{_EXT}"\n)\n\nfunc main() {{ println(c.C, cg.G(), ext.E) }}\n',
}


@dataclass
class Scratch:
    """The module with a cache, a module cache and a state directory of its own.

    Attributes:
        root: A directory of ours.
        toolchain: What plans and builds.
        module: Where the module is.
    """

    root: Path
    toolchain: Toolchain
    module: Path = field(init=False)

    def __post_init__(self) -> None:
        self.module = self.root / "m"

    @property
    def cache(self) -> Path:
        """Its GOCACHE."""
        return self.root / "cache"

    @property
    def environ(self) -> dict[str, str]:
        """What go is started with."""
        return {
            "PATH": f"{self.toolchain.go.parent}:{os.environ['PATH']}",
            "HOME": str(self.root / "home"),
            "GOCACHE": str(self.cache),
            "GOMODCACHE": str(self.root / "go" / "pkg" / "mod"),
            "GOPATH": str(self.root / "go"),
            "GOTOOLCHAIN": "local",
            "GOPROXY": "off",
            "GOSUMDB": "off",
            "GOENV": "off",
            "GOTELEMETRY": "off",
            "GOGC": "off",
            "GOFLAGS": "",
            "LC_ALL": "C",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GO_CACHE_SAFEGUARD_STATE_DIR": str(self.root / "state"),
        }

    def write(self) -> None:
        """Write the module as it is at first."""
        for name, text in FILES.items():
            path = self.module / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists() or path.read_text() != text:
                path.write_text(text)

    def restore(self) -> None:
        """Undo whatever a test did to the module."""
        wanted = {self.module / name for name in (*FILES, "go.sum")}
        for path in [path for path in self.module.rglob("*") if path.is_file() and path not in wanted]:
            if ".git" not in path.parts:
                path.unlink()
        for folder in (".git", "vendor"):
            shutil.rmtree(self.module / folder, ignore_errors=True)
        self.write()

    def go(self, *args: str, **more: str) -> str:
        """Run go in the module and demand success."""
        done = subprocess.run(
            [self.toolchain.go, *args],
            cwd=self.module,
            env=self.environ | more,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def git(self, *args: str) -> str:
        """Run git in the module and demand success."""
        identity = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.com")
        done = subprocess.run(
            ["git", *identity, *args],
            cwd=self.module,
            env=self.environ,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return done.stdout

    def session(self, **more: str) -> Session:
        """Somebody in the module."""
        environ = self.environ | more
        home = Path(environ["HOME"])
        home.mkdir(exist_ok=True)
        config = load_config(environ=environ, cwd=self.module, home=home, arguments={}, system=self.root / "none.toml")
        return Session(config, environ, self.module)

    def why(
        self,
        *words: str,
        against: Record | None = None,
        remembered: bool = True,
        environ: Mapping[str, str] = MappingProxyType({}),
    ) -> Report:
        """Ask."""
        session = self.session(**environ)
        return report_why(session, self.cache, question_of(words), against=against, remembered=remembered)

    def record(self, *words: str, environ: Mapping[str, str] = MappingProxyType({})) -> Record:
        """Ask, and remember what is."""
        record = self.why(*words, environ=environ).record
        keep_run(self.session(), record)
        return record


def make(root: Path, toolchain: Toolchain) -> Scratch:
    """Write the module, fetch what it needs from a proxy made on the spot, and compile `a` and `b`."""
    scratch = Scratch(root, toolchain)
    scratch.write()
    proxy = root / "proxy"
    for number in ("v1.0.1", "v1.0.0"):
        place = proxy / _EXT / "@v"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.info").write_text(json.dumps({"Version": number}))
        (place / f"{number}.mod").write_text(f"module {_EXT}\n\ngo 1.20\n")
        files = {"go.mod": f"module {_EXT}\n\ngo 1.20\n", "ext.go": f"package ext\n\n// {number}\n\nconst E = 1\n"}
        write_zip(place / f"{number}.zip", Version(_EXT, number), files)
        go_mod = scratch.module / "go.mod"
        go_mod.write_text(FILES["go.mod"].replace("v1.0.0", number))
        scratch.go("mod", "download", "-x", _EXT, GOPROXY=f"file://{proxy}", GOFLAGS="-mod=mod -modcacherw")
        scratch.go("list", "-deps", ".", GOPROXY=f"file://{proxy}", GOFLAGS="-mod=mod -modcacherw")
    scratch.write()
    scratch.go("build", "./a", "./b")
    return scratch
