"""Module caches that real go commands filled from a file proxy, and ways to make them bad."""

import base64
import json
import os
import shutil
import stat
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from go_cache_safeguard.config.files import load_config
from go_cache_safeguard.flows.modules import Report, verify_module
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.gomod.dirhash import hash1
from go_cache_safeguard.gomod.layout import Version
from gocaches import Toolchain

DEP = Version("example.com/dep", "v1.0.0")
DEEP = Version("example.com/Deep", "v0.1.0")
ALT = Version("example.com/alt", "v1.2.0")
SOURCES = {
    DEP: {
        "go.mod": f"module {DEP.path}\n\ngo 1.21\n\nrequire {DEEP.path} {DEEP.version}\n",
        "dep.go": f'package dep\n\nimport "{DEEP.path}"\n\nconst A = deep.B\n',
        "dep_test.go": "package dep\n",
        "gen.go": "//go:build ignore\n\npackage main\n",
        "LICENSE": "do what you want\n",
        "sub/sub.go": "package sub\n",
    },
    DEEP: {
        "go.mod": f"module {DEEP.path}\n\ngo 1.21\n",
        "deep.go": 'package deep\n\nimport _ "embed"\n\n//go:embed data/text\nvar Text string\n\nconst B = 2\n',
        "data/text": "embedded\n",
    },
    ALT: {
        "go.mod": f"module {ALT.path}\n\ngo 1.21\n",
        "dep.go": "package dep\n\nconst A = 3\n",
    },
}
GO_MOD = f"module example.com/m\n\ngo 1.21\n\nrequire {DEP.path} {DEP.version}\n"
MAIN = f'package main\n\nimport "{DEP.path}"\n\nfunc main() {{ println(dep.A) }}\n'


def write_zip(path: Path, version: Version, files: dict[str, str]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(f"{version}/{name}", text)


def serve(proxy: Path, version: Version) -> None:
    """Lay a module version out as a file proxy."""
    files = SOURCES[version]
    folder = (proxy / version.download("")).parent.relative_to(proxy / "cache" / "download")
    place = proxy / folder
    place.mkdir(parents=True, exist_ok=True)
    (place / "list").write_text(f"{version.version}\n")
    (place / f"{version.version}.info").write_text(json.dumps({"Version": version.version}))
    (place / f"{version.version}.mod").write_text(files["go.mod"])
    write_zip(place / f"{version.version}.zip", version, files)


@dataclass(frozen=True, slots=True)
class World:
    """A module with a module cache of its own that go filled from a file proxy."""

    toolchain: Toolchain
    root: Path

    @property
    def module(self) -> Path:
        return self.root / "m"

    @property
    def cache(self) -> Path:
        return self.root / "mod"

    @property
    def environ(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.root / "home"),
            "GOCACHE": str(self.root / "cache"),
            "GOPATH": str(self.root / "path"),
            "GOMODCACHE": str(self.cache),
            "GOTOOLCHAIN": "local",
            "GOPROXY": "off",
            "GOSUMDB": "off",
            "GOFLAGS": "",
            "GOENV": "off",
            "GOTELEMETRY": "off",
            "GOGC": "off",
            "LC_ALL": "C",
        }

    def go(
        self, *arguments: str, cwd: Path | None = None, before: tuple[str, ...] = (), **more: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run it, after the words of another command if there are any; failure is not raised."""
        return subprocess.run(
            [*before, str(self.toolchain.go), *arguments],
            cwd=cwd or self.module,
            env=self.environ | more,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def fetch(self, *, cwd: Path | None = None) -> None:
        """Let go download and extract what the module needs, and write go.sum."""
        for arguments in (("mod", "tidy"), ("mod", "download", "all")):
            done = self.go(*arguments, cwd=cwd, GOPROXY=f"file://{self.root}/proxy", GOFLAGS="-mod=mod")
            assert done.returncode == 0, done.stderr

    @property
    def session(self) -> Session:
        return self.session_with({})

    def session_with(self, settings: dict[str, str]) -> Session:
        """A session with more settings."""
        arguments = {
            "go.command": str(self.toolchain.go),
            "state.dir": str(self.root / "state"),
            "policy.hold_share": "100%",  # a module is half of so small a cache
            **settings,
        }
        config = load_config(environ=self.environ, cwd=self.module, home=self.root / "home", arguments=arguments)
        return Session(config, self.environ, self.module)

    def verify(self, directory: Path | None = None) -> Report:
        return verify_module(self.session, directory or self.module)

    def file(self, name: str) -> Path:
        """A file of the module cache, made writable."""
        path = self.cache / name
        for one in (path.parent, path):
            if one.exists():
                one.chmod(one.stat().st_mode | stat.S_IWUSR)
        return path

    def go_sum(self, edit: Callable[[str], str]) -> None:
        path = self.module / "go.sum"
        path.write_text("".join(edit(line) for line in path.read_text().splitlines(keepends=True)))


def copy_world(template: World, root: Path) -> World:
    """The same world elsewhere, to be damaged: fetching it anew would cost ten times as much."""
    shutil.copytree(template.root, root, symlinks=True, dirs_exist_ok=True)
    return World(template.toolchain, root)


def make_world(root: Path, toolchain: Toolchain) -> World:
    """A module with two dependencies, fetched by go from a file proxy that has a third."""
    made = World(toolchain, root)
    for version in SOURCES:
        serve(root / "proxy", version)
    for folder in (made.module, root / "home", root / "state"):
        folder.mkdir()
    (made.module / "go.mod").write_text(GO_MOD)
    (made.module / "main.go").write_text(MAIN)
    made.fetch()
    return made


def edit_tree(world: World) -> None:
    world.file(f"{DEP.tree}/dep.go").write_text("package dep\n\nconst A = 666\n")


def add_file(world: World) -> None:
    world.file(f"{DEP.tree}/evil.go").write_text("package dep\n")


def take_file_away(world: World) -> None:
    world.file(f"{DEP.tree}/sub/sub.go").unlink()


def link_in_tree(world: World) -> None:
    path = world.file(f"{DEP.tree}/dep.go")
    content = world.root / "elsewhere.go"
    content.write_text(path.read_text())
    path.unlink()
    path.symlink_to(content)


def flip_zip(world: World) -> None:
    path = world.file(DEP.download(".zip"))
    data = bytearray(path.read_bytes())
    data[len(f"{DEP}/go.mod") + 32] ^= 0x10
    path.write_bytes(data)


def empty_zip(world: World) -> None:
    world.file(DEP.download(".zip")).write_bytes(b"")


def other_zip(world: World) -> None:
    write_zip(world.file(DEP.download(".zip")), DEP, SOURCES[DEP] | {"dep.go": "package dep\n\nconst A = 666\n"})


def zip_gone(world: World) -> None:
    world.file(DEP.download(".zip")).unlink()


def hash_gone(world: World) -> None:
    world.file(DEP.download(".ziphash")).unlink()


def hash_wrong(world: World) -> None:
    world.file(DEP.download(".ziphash")).write_text(hash1([]))


def replace_together(world: World) -> None:
    edit_tree(world)
    other_zip(world)
    files = {name: (world.cache / DEP.tree / name).read_bytes() for name in SOURCES[DEP]}
    world.file(DEP.download(".ziphash")).write_text(h1_of(DEP, files))


def h1_of(version: Version, files: dict[str, bytes]) -> str:
    """Computed by the command line tools, as Go's own comment says."""
    lines = []
    for name in sorted(f"{version}/{name}" for name in files):
        said = subprocess.run(
            ["sha256sum"], input=files[name.removeprefix(f"{version}/")], capture_output=True, check=True
        )
        lines.append(f"{said.stdout.decode().split()[0]}  {name}\n")
    total = subprocess.run(["sha256sum"], input="".join(lines).encode(), capture_output=True, check=True)
    return "h1:" + base64.b64encode(bytes.fromhex(total.stdout.decode().split()[0])).decode()


def zip_gone_and_tree_edited(world: World) -> None:
    zip_gone(world)
    edit_tree(world)


def hostile_zip_with_a_hash_that_fits(world: World) -> None:
    files = {**SOURCES[DEP], "../../evil": "x"}
    write_zip(world.file(DEP.download(".zip")), DEP, files)
    digests = [(f"{DEP}/{name}".encode(), sha256(text.encode()).digest()) for name, text in files.items()]
    world.file(DEP.download(".ziphash")).write_text(hash1(digests))
    tree_gone(world)


def malformed_line(world: World) -> None:
    with (world.module / "go.sum").open("a") as file:
        file.write("two fields\n")


def delete_line(world: World) -> None:
    world.go_sum(lambda line: "" if line.startswith(f"{DEP.path} {DEP.version} ") else line)


def delete_line_of_indirect(world: World) -> None:
    world.go_sum(lambda line: "" if line.startswith(f"{DEEP.path} {DEEP.version} ") else line)


def alter_line(world: World) -> None:
    other = hash1([])
    world.go_sum(lambda line: f"{DEP.path} {DEP.version} {other}\n" if line.startswith(f"{DEP.path} v1.0.0 ") else line)


def delete_go_sum(world: World) -> None:
    (world.module / "go.sum").unlink()


def edit_mod(world: World) -> None:
    path = world.file(DEP.download(".mod"))
    path.write_text(path.read_text() + "// edited\n")


def interrupt_extraction(world: World) -> None:
    world.file(DEP.download(".partial")).write_bytes(b"")
    take_file_away(world)


def tree_gone(world: World) -> None:
    for path in (world.cache / DEP.tree, *(world.cache / DEP.tree).rglob("*")):
        path.chmod(path.stat().st_mode | stat.S_IWUSR)
    shutil.rmtree(world.cache / DEP.tree)
