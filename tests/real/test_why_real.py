"""Why packages are not in the cache: every input of a key, changed and named, with real toolchains."""

import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256

import pytest

from go_cache_safeguard.flows.why import Report
from go_cache_safeguard.gocache.hashlog import parse_hash_log
from go_cache_safeguard.gocache.index import RACY_NS
from go_cache_safeguard.gocache.why import Basis, Cause, State
from gocaches import EVERY, find_toolchain
from whymodules import FILES, Scratch, make

M = "example.com/m"


@pytest.fixture(scope="module", params=EVERY)
def shared_scratch(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    """One module and cache for each toolchain, with a run recorded."""
    toolchain = find_toolchain(request.param)
    scratch = make(tmp_path_factory.mktemp("why"), toolchain)
    scratch.record("./...")
    return scratch


@pytest.fixture
def scratch(shared_scratch: Scratch) -> Iterator[Scratch]:
    """The same, as it was, for each test."""
    yield shared_scratch
    shared_scratch.restore()


def rewrite(name: str, text: str) -> Callable[[Scratch], None]:
    def edit(scratch: Scratch) -> None:
        path = scratch.module / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    return edit


def append(name: str, text: str) -> Callable[[Scratch], None]:
    return rewrite(name, FILES[name] + text)


def drop(name: str) -> Callable[[Scratch], None]:
    return lambda scratch: (scratch.module / name).unlink()


def vendor(scratch: Scratch) -> None:
    scratch.go("mod", "vendor")


def several_files(scratch: Scratch) -> None:
    append("b/b.go", "func N() {}\n")(scratch)
    append("c/text", "more\n")(scratch)
    append("cg/cg.h", "\n")(scratch)
    rewrite("main.go", "//go:debug panicnil=1\n" + FILES["main.go"])(scratch)


def harmless(scratch: Scratch) -> None:
    append("a/a_test.go", "// more\n")(scratch)
    append("go.mod", "\n// more\n")(scratch)
    sums = scratch.module / "go.sum"
    sums.write_text("".join(reversed(sums.read_text().splitlines(keepends=True))))


@dataclass(frozen=True)
class Dimension:
    """One input of keys, and what must be said when it is another.

    Attributes:
        expected: From what a cause is called to packages in which it begins, among others.
        edit: What is done to the module.
        args: More arguments.
        environ: More variables.
    """

    expected: Mapping[str, tuple[str, ...]]
    edit: Callable[[Scratch], None] = lambda _scratch: None
    args: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict)


_ALL = (f"{M}/a", f"{M}/b", f"{M}/c", M)
DIMENSIONS = {
    "comment": Dimension({f"file a.go of {M}/a edited": (f"{M}/a",)}, append("a/a.go", "// end\n")),
    "body": Dimension(
        {f"file a.go of {M}/a edited": (f"{M}/a",)}, rewrite("a/a.go", FILES["a/a.go"].replace("1", "2"))
    ),
    "file added": Dimension({f"file new.go of {M}/a added": (f"{M}/a",)}, rewrite("a/new.go", "package a\n")),
    "file removed": Dimension({f"file more.go of {M}/a removed": (f"{M}/a",)}, drop("a/more.go")),
    "several files, each in a package of its own": Dimension(
        {
            f"file b.go of {M}/b edited": (f"{M}/b",),
            f"file text of {M}/c edited": (f"{M}/c",),
            f"file cg.h of {M}/cg edited": (f"{M}/cg",),
            f"file main.go of {M} edited": (M,),
        },
        several_files,
    ),
    "race": Dimension({"flag -race: not there before, true now": (*_ALL, "runtime")}, args=("-race",)),
    "GOAMD64": Dimension({"environment GOAMD64: v1 before, v3 now": _ALL}, environ={"GOAMD64": "v3"}),
    "GOARCH": Dimension(
        {"target GOARCH: amd64 before, arm64 now": _ALL}, environ={"GOARCH": "arm64", "CGO_ENABLED": "0"}
    ),
    "gcflags for all": Dimension(
        {"flag -gcflags: not there before, -N now": (f"{M}/a", "runtime")}, args=("-gcflags=all=-N",)
    ),
    "gcflags for those named": Dimension(
        {"flag -gcflags: not there before, -N now": (f"{M}/a", M)}, args=("-gcflags=-N",)
    ),
    "gcflags for one": Dimension(
        {"flag -gcflags: not there before, -l now": (f"{M}/a",)}, args=(f"-gcflags={M}/a=-l",)
    ),
    "trimpath": Dimension({"flag -trimpath: not there before, true now": (*_ALL, "runtime")}, args=("-trimpath",)),
    "buildmode": Dimension({"flag -shared: not there before, true now": _ALL}, args=("-buildmode=pie",)),
    "experiment": Dimension(
        {"experiment: not there before, fieldtrack now": _ALL}, environ={"GOEXPERIMENT": "fieldtrack"}
    ),
    "cover": Dimension({"flag -cover: not there before, true now": _ALL}, args=("-cover",)),
    "what only the program has": Dimension(
        {
            "flag -tags: not there before, nosuch now": (M,),
            "flag -ldflags: not there before, -w now": (M,),
            "flag -asmflags: not there before, -D=x now": (M,),
        },
        args=("-tags=nosuch", "-ldflags=-w", "-asmflags=-D=x"),
    ),
    "GOFLAGS": Dimension(
        {"flag -tags: not there before, foo now": (M,), f"file tagged.go of {M}/a added": (f"{M}/a",)},
        environ={"GOFLAGS": "-tags=foo"},
    ),
    "CGO_CFLAGS": Dimension(
        {
            "environment CGO_CFLAGS: -O2 -g before, -DX now": (f"{M}/cg",),
            "environment CGO_CFLAGS: empty before, -DX now": (M,),
        },
        environ={"CGO_CFLAGS": "-DX"},
    ),
    "CGO_ENABLED": Dimension(
        {"environment CGO_ENABLED: 1 before, 0 now": (M, f"{M}/cg")}, environ={"CGO_ENABLED": "0"}
    ),
    "exported API": Dimension(
        {f"file a.go of {M}/a edited": (f"{M}/a",)}, append("a/a.go", "\n// New is seen by others.\nfunc New() {}\n")
    ),
    "tags": Dimension(
        {"flag -tags: not there before, foo now": (M,), f"file tagged.go of {M}/a added": (f"{M}/a",)},
        args=("-tags=foo",),
    ),
    "CC": Dimension({"environment CC: gcc before, gcc -DX now": (f"{M}/cg",)}, environ={"CC": "gcc -DX"}),
    "go line": Dimension(
        {"go line: 1.20 before, 1.21 now": _ALL}, rewrite("go.mod", FILES["go.mod"].replace("1.20", "1.21"))
    ),
    "dependency version": Dimension(
        {"module example.com/ext: v1.0.0 before, v1.0.1 now": ("example.com/ext",)},
        rewrite("go.mod", FILES["go.mod"].replace("v1.0.0", "v1.0.1")),
    ),
    "vendor": Dimension({"directory: ": ("example.com/ext",)}, vendor, args=("-mod=vendor",)),
    "profile": Dimension(
        {"profile": (f"{M}/a", "runtime")},
        rewrite("default.pgo", "GO PREPROFILE V1\n"),
        args=(),
    ),
}
NOTHING = {
    "touched": Dimension({}, lambda scratch: (scratch.module / "a/a.go").touch()),
    "how go works": Dimension({}, args=("-v", "-p=1"), environ={"GODEBUG": "http2client=0"}),
    "test, go.mod's comment and go.sum": Dimension({}, harmless),
}


@pytest.mark.parametrize("name", DIMENSIONS)
def test_what_changed_is_named_where_it_begins(scratch: Scratch, name: str) -> None:
    dimension = DIMENSIONS[name]
    dimension.edit(scratch)
    report = scratch.why("go", "build", *dimension.args, "./...", environ=dimension.environ)
    said = {
        group.first.text: {one.removeprefix("build ").partition(" [")[0] for one in group.direct}
        for group in report.groups
    }
    for text, packages in dimension.expected.items():
        named = {package for one, begins in said.items() if text in one for package in begins}
        assert named >= set(packages), (text, said)
    changes = [group for group in report.groups if group.first.cause is Cause.CHANGED]
    if "a/" in str(dimension.expected) and len(dimension.expected) == 1:
        assert len(changes) == 1, said
    assert all(group.first.basis in {Basis.PROVED, Basis.RECORDED} for group in changes)


@pytest.mark.parametrize("name", NOTHING)
def test_what_is_in_no_key_is_no_cause(scratch: Scratch, name: str) -> None:
    dimension = NOTHING[name]
    dimension.edit(scratch)
    report = scratch.why("go", "build", *dimension.args, "./...", environ=dimension.environ)
    assert [group.first.text for group in report.groups if group.first.cause is Cause.CHANGED] == []


def changes_of(report: Report) -> dict[str, set[str]]:
    """From what is said to have changed to the packages in which it begins."""
    return {
        group.first.text: {one.removeprefix("build ").partition(" [")[0] for one in group.direct}
        for group in report.groups
        if group.first.cause is Cause.CHANGED
    }


def test_the_stamp_of_version_control_is_named(scratch: Scratch) -> None:
    for words in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "first")):
        scratch.git(*words)
    first = scratch.git("rev-parse", "HEAD").strip()
    scratch.record("./...")
    scratch.git("commit", "-q", "--allow-empty", "-m", "second")
    second = scratch.git("rev-parse", "HEAD").strip()
    stamp = f"version control stamp vcs.revision: {first} before, {second} now"
    assert changes_of(scratch.why("./...")) == {stamp: {M}}
    scratch.record("./...")
    rewrite("README", "new\n")(scratch)
    assert changes_of(scratch.why("./...")) == {"version control stamp vcs.modified: false before, true now": {M}}


def test_another_toolchain_is_named(scratch: Scratch) -> None:
    before = scratch.toolchain.version
    now = EVERY[(EVERY.index(before) + 1) % len(EVERY)]
    ((text, begins),) = changes_of(Scratch(scratch.root, find_toolchain(now)).why("./...")).items()
    assert text == f"compiler version: {before} before, {now} now"
    assert begins >= {*_ALL, f"{M}/cg", "example.com/ext", "runtime", "runtime/cgo"}


def test_another_compiler_of_the_same_version_is_named(scratch: Scratch) -> None:
    """As whoever works on Go has it; to a released compiler go gives no ID but its version."""

    def built_by(compiler: str) -> tuple[str, ...]:
        tool = scratch.root / "tool"
        says = f"echo compile version devel go1.99-0123 buildID=action/{compiler}"
        tool.write_text(f'case "$*" in *compile*-V=full*) {says} ;; *) exec "$@" ;; esac\n')
        return "go", "build", f"-toolexec=/bin/sh {tool}", "./..."

    scratch.record(*built_by("one"))
    ((text, begins),) = changes_of(scratch.why(*built_by("two"))).items()
    assert text == "compiler version compile: one before, two now"
    assert begins >= {*_ALL, f"{M}/cg", "example.com/ext", "runtime"}


def test_the_cascade_of_an_edit_belongs_to_the_first_cause(scratch: Scratch) -> None:
    append("a/a.go", "// end\n")(scratch)
    report = scratch.why("./b")
    (group,) = report.groups
    assert (group.first.text, group.first.basis) == (f"file a.go of {M}/a edited", Basis.PROVED)
    assert (group.direct, group.cascade, group.missed) == ((f"build {M}/a",), (f"build {M}/b",), 2)
    below = next(row for row in report.rows if row.name == f"build {M}/b")
    assert (below.state, below.spared) == (State.CASCADE, True)


def test_an_entry_that_is_gone_with_the_same_key_is_told_from_a_changed_one(scratch: Scratch) -> None:
    key = next(row for row in scratch.why("./a").record.keys if row.name == f"build {M}/a").sum.hex()
    entry = scratch.cache / key[:2] / f"{key}-a"
    kept = entry.read_bytes()
    # What is younger than two seconds is not remembered.
    time.sleep(max(0.0, entry.stat().st_ctime + RACY_NS / 1e9 + 0.1 - time.time()))
    scratch.why("./a")
    entry.unlink()
    try:
        (group,) = scratch.why("./b").groups
        assert group.first.cause is Cause.EVICTED
        assert group.first.text.startswith("evicted, same key: not by us (go's trimming, `go clean` or rm); gone when")
        assert (group.direct, group.cascade) == ((f"build {M}/a",), (f"build {M}/b",))
        (alone,) = scratch.why("./b", remembered=False).groups
        assert (alone.first.cause, alone.first.basis) == (Cause.EVICTED, Basis.PROVED)
    finally:
        entry.write_bytes(kept)


def test_what_was_never_built_is_called_so(scratch: Scratch) -> None:
    rewrite("fresh/fresh.go", "package fresh\n")(scratch)
    (group,) = scratch.why("./fresh").groups
    assert group.first.cause is Cause.NEVER


def test_a_moved_directory_is_proved_without_a_record(scratch: Scratch) -> None:
    moved = scratch.root / "elsewhere"
    shutil.copytree(scratch.module, moved)
    home, scratch.module = scratch.module, moved
    try:
        report = scratch.why("./b", remembered=False)
    finally:
        scratch.module = home
        shutil.rmtree(moved)
    (group,) = report.groups
    assert group.first.basis is Basis.PROVED
    assert group.first.text == f"directory: {home} before, {moved} now"
    assert set(group.direct) == {f"build {M}/a", f"build {M}/b"}


def test_an_old_file_is_proved_from_git_without_a_record(scratch: Scratch) -> None:
    scratch.git("init", "-q")
    scratch.git("add", ".")
    scratch.git("commit", "-q", "-m", "first")
    for number in range(3):
        append("a/a.go", f"// {number}\n")(scratch)
        append("a/more.go", f"// {number}\n")(scratch)
        scratch.git("commit", "-q", "-a", "-m", "more")
    report = scratch.why("./b", remembered=False)
    said = {group.first.text: group for group in report.groups}
    assert said.keys() == {f"file a.go of {M}/a edited", f"file more.go of {M}/a edited"}
    for group in report.groups:
        assert group.first.basis is Basis.PROVED
        assert group.first.told.startswith("git, before commit ")
        assert group.cascade == (f"build {M}/b",)


@pytest.mark.parametrize(
    ("args", "environ", "edit", "text"),
    [
        (("-race",), {}, None, "flag -race: not there before, true now"),
        (("-gcflags=all=-N -l",), {}, None, "flag -gcflags: not there before, -N -l now"),
        (("-trimpath",), {}, None, "flag -trimpath: not there before, true now"),
        ((), {"GOAMD64": "v2"}, None, "environment GOAMD64: v1 before, v2 now"),
        ((), {"GOEXPERIMENT": "fieldtrack"}, None, "experiment: not there before, fieldtrack now"),
        ((), {}, ("go.mod", FILES["go.mod"].replace("1.20", "1.18")), "go line: 1.20 before, 1.18 now"),
        ((), {}, ("a/new.go", "package a\n"), f"file new.go of {M}/a added"),
    ],
)
def test_other_causes_are_proved_without_a_record(
    scratch: Scratch, args: tuple[str, ...], environ: dict[str, str], edit: tuple[str, str] | None, text: str
) -> None:
    if edit is not None:
        rewrite(*edit)(scratch)
    report = scratch.why("go", "build", *args, "./b", remembered=False, environ=environ)
    assert [(group.first.text, group.first.basis) for group in report.groups] == [(text, Basis.PROVED)]


def test_another_machine_s_record_tells_what_differs_here(scratch: Scratch) -> None:
    laptop = scratch.why("go", "build", "-trimpath", "./a", environ={"CGO_ENABLED": "0"}).record
    there = replace(laptop, project="/home/somebody/m")
    append("a/a.go", "// end\n")(scratch)
    report = scratch.why("go", "build", "-trimpath", "./a", against=there)
    assert [group.first.text for group in report.groups] == [f"file a.go of {M}/a edited"]
    assert report.compared == (there.at_ns,)


def test_go_s_log_proves_itself_and_its_keys_are_names_of_entries(scratch: Scratch) -> None:
    done = subprocess.run(
        [scratch.toolchain.go, "build", "-n", "./..."],
        cwd=scratch.module,
        env=scratch.environ | {"GODEBUG": "gocachehash=1"},
        capture_output=True,
        check=True,
        timeout=120,
    )
    log = parse_hash_log(done.stderr)
    begun = re.findall(rb"^HASH\[((?:build|link) .*)\]$", done.stderr, re.MULTILINE)
    assert sorted(block.name for block in log.blocks if block.name.startswith(("build ", "link "))) == sorted(
        name.decode() for name in begun
    )
    names = {path.name for path in scratch.cache.glob("??/*-a")}
    keys = {block.name: block.sum.hex() for block in log.blocks}
    assert {f"{keys[f'build {M}/a']}-a", f"{keys[f'build {M}/b']}-a"} <= names
    assert f"{keys[f'build {M}/c']}-a" not in names
    source = scratch.module / "a" / "a.go"
    assert log.files[str(source)] == sha256(source.read_bytes()).hexdigest()
    assert b"HASH" not in log.rest


def test_asking_changes_nothing_in_the_cache(scratch: Scratch) -> None:
    def state() -> list[tuple[str, int, int]]:
        return sorted((str(path), path.stat().st_mtime_ns, path.stat().st_ino) for path in scratch.cache.rglob("*"))

    before = state()
    scratch.why("go", "build", "-race", "./...")
    scratch.why("go", "vet", "./a")
    assert state() == before
