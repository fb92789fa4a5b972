"""A scratch place in which go may build whatever it likes: a module of ours or a copy of somebody's, and caches of its own.

Knows:     how a module is put there, how go is started so that it uses nothing of the person's but the toolchain, modules that are
           downloaded already, and, for a copy, their settings.
Called by: `flows.matrix` and `flows.pollution`.
Never:     writes outside of the place; reaches the network; removes a file: the place goes as a whole when the work ends.
"""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

from go_cache_safeguard.core.errors import ExitCode, Failure, UsageFailure
from go_cache_safeguard.flows.interrupt import at_once
from go_cache_safeguard.flows.looking import cannot, quiet_flags
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.trial import home_of
from go_cache_safeguard.gocache.matrix import Ran as Tested
from go_cache_safeguard.gomod.dirhash import hash1
from go_cache_safeguard.gotool.actiongraph import BuildAction, NoGraph, parse_action_graph
from go_cache_safeguard.gotool.complaint import last_lines
from go_cache_safeguard.gotool.packages import Package, list_args, parse_packages
from go_cache_safeguard.gotool.run import Go, Ran, find_go
from go_cache_safeguard.gotool.sample import (
    EXTERNAL,
    PACKAGES,
    VERSIONS,
    dependent_files,
    external_files,
    sample_files,
    subject_files,
)
from go_cache_safeguard.tree.owner import must_drop

OLD_NS = 1_577_836_800_000_000_000
"""When our files say that they were changed last, 2020-01-01: go indexes no directory with a file of the last two seconds."""
MOST_FILES, MOST_BYTES = 20_000, 1 << 30
"""Of a module that is copied."""

_CACHED = re.compile(rb"^ok\s+\S+\s+\(cached\)", re.MULTILINE)
_PLAIN = dict.fromkeys(
    (
        "GODEBUG",
        "GOCACHEPROG",
        "GOEXPERIMENT",
        "GOOS",
        "GOARCH",
        "GOAMD64",
        "CGO_ENABLED",
        "CGO_CFLAGS",
        "CGO_CPPFLAGS",
        "CGO_CXXFLAGS",
        "CGO_LDFLAGS",
        "GO111MODULE",
        "GOPRIVATE",
        "GONOPROXY",
        "GONOSUMDB",
        "GOINSECURE",
        "GOFIPS140",
    ),
    "",
)
"""What could make the sample another one than it is."""
_GIT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "safeguard",
    "GIT_AUTHOR_EMAIL": "safeguard@matrix.invalid",
    "GIT_COMMITTER_NAME": "safeguard",
    "GIT_COMMITTER_EMAIL": "safeguard@matrix.invalid",
}


class CannotMeasure(Failure):
    """The module could not be built in a scratch place."""

    id = "cannot-measure"
    exit_code = ExitCode.COULD_NOT_TELL
    meaning = "the module does not build in a scratch place, offline, so nothing could be compared"


@dataclass(frozen=True, slots=True)
class Source:
    """A module as it will lie in the place.

    Attributes:
        files: Content by name.
        roles: Directory by the part that the package in it plays.
        columns: Import paths by column.
        programs: Patterns of programs, which are linked.
        libraries: Packages that are built beside.
        name: What it is called.
        ours: Whether it is the sample.
        absolute: Local replacements that pointed beside the module: what and where, absolute.
    """

    files: Mapping[str, bytes]
    roles: Mapping[str, str]
    columns: Mapping[str, tuple[str, ...]]
    programs: tuple[str, ...]
    libraries: tuple[str, ...]
    name: str
    ours: bool = True
    absolute: tuple[tuple[str, str], ...] = ()

    def place(self, name: str) -> str:
        """Where a file lies that is named by the part that its package plays."""
        head, slash, rest = name.partition("/")
        return f"{self.roles[head]}/{rest}" if slash and head in self.roles else name


@dataclass(frozen=True, slots=True)
class Built:
    """One build.

    Attributes:
        actions: What was done.
        cpu_ns: CPU time of go and its tools, in nanoseconds.
        said: What go said; with GODEBUG=gocachehash=1, what it hashed.
    """

    actions: tuple[BuildAction, ...]
    cpu_ns: int
    said: bytes = b""


@dataclass(frozen=True, slots=True)
class Broken:
    """A build that failed.

    Attributes:
        why: In go's words.
    """

    why: str


@dataclass(frozen=True, slots=True)
class How:
    """What a build is given besides packages.

    Attributes:
        flags: Of the command.
        goflags: Words on top of GOFLAGS.
        environment: On top.
    """

    flags: tuple[str, ...] = ()
    goflags: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


class Lab:
    """One toolchain in a place of its own.

    Args:
        go: The command, with the environment that all builds share.
        folder: The place.
        goflags: GOFLAGS of all builds.
        uid: Whom the files are to belong to.
        gid: Likewise.

    Attributes:
        cache: The cache that builds use unless told otherwise.
        env: What `go env` says.
    """

    def __init__(self, go: Go, folder: Path, goflags: str, uid: int, gid: int) -> None:
        self.folder, self.cache = folder, folder / "cache"
        self._go, self._goflags, self._owner, self._graphs = go, goflags, (uid, gid), 0
        for name in ("cache", "home", "tmp"):
            self.make(folder / name)
        self.env: Mapping[str, str] = json.loads(self.run("env", "-json", cwd=folder).or_fail().stdout)

    @property
    def version(self) -> str:
        """Such as `go1.27.3`."""
        return self.env["GOVERSION"].partition(" ")[0]

    @property
    def target(self) -> str:
        """Such as `linux/amd64`."""
        return f"{self.env['GOOS']}/{self.env['GOARCH']}"

    @property
    def cgo(self) -> bool:
        """Whether packages that need a C compiler can be built."""
        return self.env.get("CGO_ENABLED") == "1"

    def run(self, *args: str, cwd: Path, how: How | None = None) -> Ran:
        """Run go; its exit code is a value."""
        how = how or How()
        extra = {"GOFLAGS": f"{self._goflags} {how.goflags}".strip(), **how.environment}
        return self._go.run(args, cwd=cwd, extra_env=extra)

    def git(self, *args: str, cwd: Path) -> None:
        """Run git.

        Raises:
            CannotMeasure: It failed.
        """
        ran = self._go.run_program(Path(str(shutil.which("git"))), args, cwd=cwd, timeout_s=60)
        if ran.exit_code:
            raise CannotMeasure(f"git failed: {last_lines(ran.stderr, 3)}")

    def make(self, folder: Path) -> Path:
        """Make a directory and all above it that are missing; they belong to whom go runs as."""
        missing = [one for one in (folder, *folder.parents) if not one.exists()]
        for one in reversed(missing):
            one.mkdir()
            self.give(one)
        return folder

    def write(self, path: Path, data: bytes, time_ns: int | None = OLD_NS) -> None:
        """Write a file.

        Args:
            path: Where.
            data: What.
            time_ns: Its modification time; None for now.
        """
        self.make(path.parent)
        path.write_bytes(data)
        self.give(path)
        if time_ns is not None:
            os.utime(path, ns=(time_ns, time_ns))

    def copy_into(self, start: Path | None, cache: Path) -> Path:
        """Have a cache of ours begin with a copy of another one. What go finds wrong in it, it compiles again."""
        if start is not None:
            shutil.copytree(start, cache, dirs_exist_ok=True, symlinks=True)
            if must_drop(self._owner[0]):
                for path in (cache, *cache.rglob("*")):
                    self.give(path)
        return cache

    def lay_out(self, source: Source, root: Path) -> Path:
        """Write a module into a directory that is not there yet."""
        for name, data in source.files.items():
            self.write(root / name, data)
        for old, new in source.absolute:
            self.run("mod", "edit", f"-replace={old}={new}", cwd=root).or_fail()
        return root

    def build(self, root: Path, source: Source, out: Path, how: How | None = None) -> Built | Broken:
        """Build a module: its programs, and what lies beside them. Given both, go would leave out what is no program.

        Args:
            root: Where it lies.
            source: What it is.
            out: The directory that programs are put in.
            how: With what.
        """
        actions: tuple[BuildAction, ...] = ()
        cpu_ns, said = 0, b""
        for patterns, more in ((source.programs, ("-o", f"{out}/")), (source.libraries, ())):
            built = self._build(root, (*more, "--", *patterns), how or How()) if patterns else Built((), 0)
            if isinstance(built, Broken):
                return built
            actions, cpu_ns, said = actions + built.actions, cpu_ns + built.cpu_ns, said + built.said
        return Built(actions, cpu_ns, said)

    def _build(self, root: Path, args: Sequence[str], how: How) -> Built | Broken:
        self._graphs += 1
        graph = self.folder / "tmp" / f"graph-{self._graphs}.json"
        ran = self.run("build", *how.flags, f"-debug-actiongraph={graph}", *args, cwd=root, how=how)
        if ran.exit_code:
            return Broken(last_lines(ran.stderr, 3) or f"go build ended with exit code {ran.exit_code}")
        actions = parse_action_graph(graph.read_bytes())
        return Broken(actions.reason) if isinstance(actions, NoGraph) else Built(actions, ran.cpu_ns, ran.stderr)

    def test(self, root: Path, pattern: str, how: How) -> Tested:
        """Run a test, and say whether its result came from the cache."""
        ran = self.run("test", "-vet=off", *how.flags, pattern, cwd=root, how=how)
        if ran.exit_code:
            return Tested.FAILED
        return Tested.CACHED if _CACHED.search(ran.stdout) else Tested.RAN

    def give(self, path: Path) -> None:
        """Let it belong to whom go runs as."""
        if must_drop(self._owner[0]):
            os.chown(path, *self._owner, follow_symlinks=False)


@contextmanager
def sample_lab(
    session: Session, go: Path | None, goflags: str = "", *, cgo: bool = True
) -> Iterator[tuple[Lab, Source]]:
    """A place with the module of ours.

    Args:
        session: Who asks.
        go: The go command; None for the usual one.
        goflags: Words that every build gets.
        cgo: With the package that needs a C compiler, if there is one.
    """
    with at_once(), tempfile.TemporaryDirectory(prefix="go-cache-safeguard-") as name:
        folder = Path(name)
        sums = _make_proxy(folder / "proxy")
        environ = {
            **_PLAIN,
            "CGO_ENABLED": "" if cgo else "0",
            "GOPROXY": f"file://{folder}/proxy",
            "GOMODCACHE": str(folder / "modules"),
            "GOENV": "off",
            "GOWORK": "off",
            "XDG_CONFIG_HOME": "",
            "XDG_CACHE_HOME": "",
            **_of_place(folder),
        }
        command = _go(session, go, environ, None)
        lab = Lab(command, folder, f"-buildvcs=false -modcacherw {goflags}".strip(), os.geteuid(), os.getegid())
        yield lab, _sample(lab, sums)


def _sample(lab: Lab, sums: bytes) -> Source:
    columns = {name: paths for name, paths in PACKAGES.items() if lab.cgo or name != "cg"}
    files = {**sample_files(cgo=lab.cgo), "go.sum": sums}
    roles = {name: name for name in ("a", "b", "c", "cg")}
    return Source(files, roles, columns, (".",), ("./cg",) if lab.cgo else (), "the module of ours")


@contextmanager
def copy_lab(session: Session, go: Path | None, directory: Path, goflags: str = "") -> Iterator[tuple[Lab, Source]]:
    """A place with a copy of somebody's module, into which what is edited is planted.

    Args:
        session: Who asks.
        go: The go command; None for the usual one.
        directory: Inside of the module.
        goflags: Words that every build gets besides theirs.

    Raises:
        UsageFailure: There is no module, it is part of a workspace, or too large.
        CannotPlan: Go cannot list it.
    """
    try:
        found = directory.stat()
    except OSError as error:
        raise UsageFailure(f"{str(directory)!r} cannot be entered: {error.strerror}") from error
    with at_once(), tempfile.TemporaryDirectory(prefix="go-cache-safeguard-") as name:
        folder = Path(name)
        (folder / "tmp").mkdir()  # go wants it even to tell about itself
        if must_drop(found.st_uid):
            os.chown(folder, found.st_uid, found.st_gid)
            os.chown(folder / "tmp", found.st_uid, found.st_gid)
        environ = {**_of_place(folder), "GOPROXY": "off", "GONOPROXY": "none", "GOCACHEPROG": ""}
        home = {"HOME": str(session.home), **home_of(found.st_uid)}
        command = _go(session, go, {**environ, **home}, (found.st_uid, found.st_gid))
        told = json.loads(command.run(("env", "-json"), cwd=directory).or_fail().stdout)
        if told.get("GOWORK", "") not in {"", "off"}:
            raise UsageFailure(
                f"{str(directory)!r} is in a workspace, {told['GOWORK']}",
                not_done="nothing was copied",
                hint="set GOWORK=off to measure the module alone",
            )
        if told.get("GOMOD", "") in {"", os.devnull}:
            raise UsageFailure(f"{str(directory)!r} is in no module", hint="leave --module away for a module of ours")
        flags = f"{quiet_flags(told.get('GOFLAGS', ''))} -buildvcs=false {goflags}".strip()
        lab = Lab(command, folder, flags, found.st_uid, found.st_gid)
        yield lab, _copy_of(lab, Path(told["GOMOD"]).parent)


def _copy_of(lab: Lab, root: Path) -> Source:
    """Take over the files of a module that go lists."""
    ran = lab.run(*list_args(("./...",)), cwd=root)
    packages = parse_packages(ran.stdout)
    if ran.exit_code or packages is None:
        raise cannot(ran, "list")
    broken = next((package for package in packages if package.error), None)
    if broken is not None:
        raise CannotMeasure(f"{broken.path} cannot be built: {broken.error}", not_done="nothing was measured")
    mine = [package for package in packages if not package.standard and package.module_directory == str(root)]
    subject, dependent = _parts(mine)
    files = _files_of(root, [package for package in packages if _is_below(package.directory, root)])
    planted = {subject: subject_files(subject.name)}
    if dependent is not None:
        planted[dependent] = dependent_files(dependent.name, subject.path)
    for package, plants in planted.items():
        files |= {_name(root, package, name): text.encode() for name, text in plants.items()}
    roles = {"a": _name(root, subject, ""), **({} if dependent is None else {"b": _name(root, dependent, "")})}
    ours = {subject.path: "a", **({} if dependent is None else {dependent.path: "b"})}
    columns: dict[str, list[str]] = {name: [] for name in ("a", "b", "main", "module", "std", "deps")}
    for package in packages:
        columns[ours.get(package.path) or _column(package, mine)].append(package.path)
    shown = {name: tuple(paths) for name, paths in columns.items() if paths}
    programs = ("./...",) if any(package.name == "main" for package in mine) else ()
    libraries = tuple(package.path for package in mine if package.name != "main")
    return Source(files, roles, shown, programs, libraries, str(root), ours=False, absolute=_beside(lab, root))


def _column(package: Package, mine: Sequence[Package]) -> str:
    if package.standard:
        return "std"
    if package not in mine:
        return "deps"
    return "main" if package.name == "main" else "module"


def _parts(mine: Sequence[Package]) -> tuple[Package, Package | None]:
    """The package that most others of the module import, and one that imports it, no program if that can be."""
    libraries = [
        package for package in mine if package.name != "main" and any(name.endswith(".go") for name in package.files)
    ]
    if not libraries:
        raise UsageFailure(
            "the module has no package but programs, so nothing could be seen to spread",
            hint="leave --module away for a module of ours",
        )
    subject = max(libraries, key=lambda one: (sum(one.path in other.imports for other in mine), one.path))
    users = [package for package in mine if subject.path in package.imports]
    return subject, min(users, key=lambda one: (one.name == "main", one.path), default=None)


def _is_below(directory: str, root: Path) -> bool:
    return bool(directory) and Path(directory).is_relative_to(root)


def _name(root: Path, package: Package, name: str) -> str:
    return str(Path(package.directory).relative_to(root) / name)


def _files_of(root: Path, packages: Sequence[Package]) -> dict[str, bytes]:
    names = [name for name in ("go.mod", "go.sum", "vendor/modules.txt") if (root / name).is_file()]
    names += [_name(root, package, name) for package in packages for name in (*package.files, *package.left_out)]
    found: dict[str, bytes] = {}
    size = 0
    for name in names:
        path = root / name
        if not path.is_file():
            continue
        size += path.stat().st_size
        if len(found) >= MOST_FILES or size > MOST_BYTES:
            raise UsageFailure(
                f"{str(root)!r} is larger than {MOST_FILES:,} files or {MOST_BYTES >> 20:,} MiB",
                not_done="nothing was copied",
                hint="leave --module away for a module of ours",
            )
        found[name] = path.read_bytes()
    return found


def _beside(lab: Lab, root: Path) -> tuple[tuple[str, str], ...]:
    """Replacements by a relative path, which the copy would not find."""
    told = json.loads(lab.run("mod", "edit", "-json", cwd=root).or_fail().stdout)
    found = []
    for replaced in told.get("Replace") or ():
        new, old = replaced["New"], replaced["Old"]
        if not new.get("Version") and new["Path"].startswith("."):
            name = f"{old['Path']}@{old['Version']}" if old.get("Version") else old["Path"]
            found.append((name, os.path.normpath(root / new["Path"])))
    return tuple(found)


def _of_place(folder: Path) -> dict[str, str]:
    return {
        **_GIT,
        "GOCACHE": str(folder / "cache"),
        "GOTMPDIR": str(folder / "tmp"),
        "GOSUMDB": "off",
        "HOME": str(folder / "home"),
        "LC_ALL": "C",
    }


def _go(session: Session, go: Path | None, environ: Mapping[str, str], owner: tuple[int, int] | None) -> Go:
    configured = session.config.text("go.command")
    named = session.cwd / go if go is not None else Path(configured) if configured else None
    return Go(
        find_go(named, session.environ.get("PATH", "")),
        environ={**session.environ, **environ},
        timeout_s=session.config.seconds("go.timeout"),
        owner=owner,
    )


def _make_proxy(root: Path) -> bytes:
    """Write a file proxy with all versions of the module that ours needs; gives the go.sum for them."""
    sums = []
    for version in VERSIONS:
        files, folder = external_files(version), root / EXTERNAL / "@v"
        folder.mkdir(parents=True, exist_ok=True)
        prefix = f"{EXTERNAL}@{version}/"
        packed = BytesIO()
        with ZipFile(packed, "w") as archive:
            for name, data in files.items():
                archive.writestr(prefix + name, data)
        (folder / f"{version}.zip").write_bytes(packed.getvalue())
        (folder / f"{version}.mod").write_bytes(files["go.mod"])
        (folder / f"{version}.info").write_text(json.dumps({"Version": version, "Time": "2020-01-01T00:00:00Z"}))
        sums.append(f"{EXTERNAL} {version} {_h1({prefix + name: data for name, data in files.items()})}")
        sums.append(f"{EXTERNAL} {version}/go.mod {_h1({'go.mod': files['go.mod']})}")
    (root / EXTERNAL / "@v" / "list").write_text("".join(f"{version}\n" for version in VERSIONS))
    return "".join(f"{line}\n" for line in sums).encode()


def _h1(files: Mapping[str, bytes]) -> str:
    return hash1((name.encode(), sha256(data).digest()) for name, data in files.items())


def every_go(session: Session, given: Sequence[Path]) -> tuple[Path | None, ...]:
    """The go commands to ask: those that were named, else the usual one."""
    return tuple(session.cwd / one for one in given) or (None,)
