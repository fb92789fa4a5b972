"""What can be changed about a build, one thing at a time.

Knows:     every dimension that a matrix measures: what is edited, set or done, and what it is compared with.
Called by: `flows.matrix` carries them out; `gocache.matrix` and the docs name them.
Never:     touches a file or starts go.
Source:    the list follows cmd/go/internal/work/exec.go `buildActionID`, `printLinkerConfig`, cmd/go/internal/test/test.go
           `tryCacheWithID` (go1.21 to go1.27), and what people believe to be part of the key.

Files are named by the part that their package plays: `a/safeguard_probe.go` lies in package a, wherever that is.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from go_cache_safeguard.gotool.sample import EXTERNAL, MODULE, PROBE, TAG, VERSIONS, profile


class Deed(StrEnum):
    """What is done besides edits and settings."""

    TOUCH = "the file's time is set to now"
    MOVE = "the module is copied to another directory"
    COPY_CACHE = "the cache is copied to another directory"
    TEMPORARY = "go gets another directory for temporary files"
    VENDOR = "go mod vendor"
    REPOSITORY = "git init, git add, git commit"
    COMMIT = "git commit --allow-empty"


class Need(StrEnum):
    """What a dimension cannot be measured without."""

    SAMPLE = "the module of ours"
    CGO = "a C compiler"
    GIT = "git"
    AMD64 = "a machine with amd64"


@dataclass(frozen=True, slots=True)
class Edit:
    """One change to one file.

    Attributes:
        file: Its name.
        old: What is replaced, once; empty: `new` is put at the end, or the file is new.
        new: With what.
        keep_time: The file keeps its modification time.
    """

    file: str
    old: str
    new: str
    keep_time: bool = False


@dataclass(frozen=True, slots=True)
class Setting:
    """How a build differs from the plain one.

    Attributes:
        edits: Of files.
        environment: Variables on top.
        flags: For `go build` and `go test`.
        goflags: Words on top of GOFLAGS.
        deeds: What is done besides.
    """

    edits: tuple[Edit, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    flags: tuple[str, ...] = ()
    goflags: str = ""
    deeds: tuple[Deed, ...] = ()


PLAIN = Setting()


@dataclass(frozen=True, slots=True)
class Dimension:
    """One thing that is changed.

    Attributes:
        name: Stable, for the command line.
        title: What is changed, for a person.
        change: The build that is measured.
        base: What it is compared with.
        needs: What it cannot be measured without.
        own: It leaves new files behind, so it gets a copy of the module for itself.
        test: The package whose test is run again; empty if none is.
        without_cgo: The cgo package is left out, because it cannot be built like this.
    """

    name: str
    title: str
    change: Setting
    base: Setting = PLAIN
    needs: frozenset[Need] = field(default_factory=frozenset)
    own: bool = False
    test: str = "a"
    without_cgo: bool = False


_A, _SAMPLE = f"a/{PROBE}", frozenset({Need.SAMPLE})


def _edit(name: str, title: str, *edits: Edit, needs: frozenset[Need] = frozenset(), test: str = "a") -> Dimension:
    return Dimension(name, title, Setting(edits=edits), needs=needs, test=test)


def _flag(name: str, *flags: str, test: str = "a", title: str = "", without_cgo: bool = False) -> Dimension:
    return Dimension(name, title or " ".join(flags), Setting(flags=flags), test=test, without_cgo=without_cgo)


def _set(name: str, variable: str, value: str, *, needs: frozenset[Need] = frozenset(), test: str = "a") -> Dimension:
    without = variable in {"CGO_ENABLED", "GOARCH"}
    changed = Setting(environment=((variable, value),))
    return Dimension(name, f"{variable}={value}", changed, needs=needs, test=test, without_cgo=without)


def _do(name: str, title: str, *deeds: Deed) -> Dimension:
    return Dimension(name, title, Setting(deeds=deeds))


def _need(name: str, title: str, version: str) -> Dimension:
    bump = Edit("go.mod", f"{EXTERNAL} {VERSIONS[0]}", f"{EXTERNAL} {version}")
    return _edit(name, title, bump, needs=_SAMPLE)


_NOTHING = (
    Dimension("again", "nothing: the same build again", PLAIN),
    Dimension("touch", "a source file is touched", Setting(edits=(Edit(_A, "", ""),), deeds=(Deed.TOUCH,))),
    _do("gotmpdir", "GOTMPDIR is another directory", Deed.TEMPORARY),
    _flag("parallel", "-p=1"),
    _flag("verbose", "-v"),
    _do("copied-cache", "GOCACHE is a copy", Deed.COPY_CACHE),
    _set("env-unread", "SAFEGUARD_UNREAD", "1"),
)
_SOURCE = (
    _edit("comment-end", "a comment at the end of a file", Edit(_A, "", "// the end\n")),
    _edit("comment-word", "one word of a comment", Edit(_A, "is exported", "is an exported one")),
    _edit("comment-shift", "a comment that shifts lines", Edit(_A, "\nconst", "\n//\nconst")),
    _edit("body", "body of a function that is not inlined", Edit(_A, "return 7", "return 8")),
    _edit("body-inlined", "body of a function that is inlined", Edit(_A, "SafeguardLimit + 1", "SafeguardLimit + 2")),
    _edit("const", "an exported constant", Edit(_A, "= 10", "= 11")),
    _edit("func-exported", "an exported function is added", Edit(_A, "", "\nfunc SafeguardMore() int { return 4 }\n")),
    _edit("func-private", "a private function is added", Edit(_A, "", "\nfunc safeguardMore() int { return 4 }\n")),
    _edit("test-comment", "a comment in a test file", Edit("a/a_test.go", "", "// the end\n"), needs=_SAMPLE),
    Dimension(
        "test-touch",
        "a test file is touched",
        Setting(edits=(Edit("a/a_test.go", "", ""),), deeds=(Deed.TOUCH,)),
        needs=_SAMPLE,
    ),
    _edit("embed", "an embedded file", Edit("c/text.txt", "embedded", "changed"), needs=_SAMPLE),
    Dimension(
        "pgo",
        "a profile, default.pgo, beside main",
        Setting(edits=(Edit("default.pgo", "", profile().decode("ascii")),)),
        needs=_SAMPLE,
        own=True,
    ),
    _edit(
        "header-inside",
        "a C header in the package's directory",
        Edit("cg/inside.h", "1", "3"),
        needs=_SAMPLE | {Need.CGO},
        test="cg",
    ),
    _edit(
        "header-outside",
        "a C header elsewhere",
        Edit("outside/outside.h", "2", "4"),
        needs=_SAMPLE | {Need.CGO},
        test="cg",
    ),
)
_SUM = f"{EXTERNAL} v1.9.0 h1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
_MODULES = (
    _edit("gomod-comment", "a comment in go.mod", Edit("go.mod", "", "\n// a comment\n")),
    _edit("go-line", "the go line, 1.20 to 1.21", Edit("go.mod", "go 1.20", "go 1.21"), needs=_SAMPLE),
    Dimension(
        "godebug-line",
        "a //go:debug line in main",
        Setting(
            edits=(
                Edit("go.mod", "go 1.20", "go 1.21"),
                Edit("main.go", "package main", "//go:debug panicnil=1\npackage main"),
            )
        ),
        Setting(edits=(Edit("go.mod", "go 1.20", "go 1.21"),)),
        needs=_SAMPLE,
    ),
    _edit("gosum", "go.sum with one line more", Edit("go.sum", "", _SUM), needs=_SAMPLE),
    _need("dependency-same", "another version of a dependency, same source", VERSIONS[1]),
    _need("dependency-other", "another version of a dependency, other source", VERSIONS[2]),
    Dimension(
        "vendor",
        "-mod=vendor",
        Setting(flags=("-mod=vendor",), deeds=(Deed.VENDOR,)),
        needs=_SAMPLE,
        own=True,
    ),
)
_FLAGS = (
    _flag("race", "-race"),
    _flag("tags-unknown", "-tags=safeguardnosuch"),
    _flag("tags", f"-tags={TAG}", title=f"-tags={TAG}, which adds a file to a"),
    Dimension("goflags-tags", f"GOFLAGS=-tags={TAG}", Setting(goflags=f"-tags={TAG}"), test=""),
    _flag("ldflags", "-ldflags=-X=main.x=1"),
    _flag("gcflags", "-gcflags=-N", title="-gcflags=-N, for the packages named: main, cg"),
    Dimension(
        "gcflags-pattern",
        f"-gcflags={MODULE}/a=-N",
        Setting(flags=(f"-gcflags={MODULE}/a=-N",)),
        needs=_SAMPLE,
    ),
    _flag("gcflags-all", "-gcflags=all=-N"),
    _flag("asmflags", "-asmflags=-D=X"),
    _flag("trimpath", "-trimpath"),
    _flag("buildmode-pie", "-buildmode=pie"),
    _flag("cover", "-cover", test=""),
)
_ENVIRONMENT = (
    _set("cgo-enabled", "CGO_ENABLED", "0", needs=frozenset({Need.CGO})),
    _set("cgo-cflags", "CGO_CFLAGS", "-O1 -g", needs=frozenset({Need.CGO})),
    _set("goamd64", "GOAMD64", "v2", needs=frozenset({Need.AMD64})),
    _set("goarch", "GOARCH", "arm64", needs=frozenset({Need.AMD64}), test=""),
    _set("goexperiment", "GOEXPERIMENT", "fieldtrack"),
    _set("godebug", "GODEBUG", "http2client=0"),
)
_PLACE = (
    _do("moved", "the module's directory is another one", Deed.MOVE),
    Dimension(
        "moved-trimpath",
        "the module's directory is another one, both with -trimpath",
        Setting(flags=("-trimpath",), deeds=(Deed.MOVE,)),
        Setting(flags=("-trimpath",)),
        test="",
    ),
    Dimension(
        "vcs-commit",
        "an empty commit more",
        Setting(flags=("-buildvcs=auto",), deeds=(Deed.COMMIT,)),
        Setting(flags=("-buildvcs=auto",), deeds=(Deed.REPOSITORY,)),
        needs=frozenset({Need.GIT}),
        own=True,
    ),
    Dimension(
        "vcs-dirty",
        "a file that git does not know yet",
        Setting(flags=("-buildvcs=auto",), edits=(Edit("README", "", "new\n"),)),
        Setting(flags=("-buildvcs=auto",), deeds=(Deed.REPOSITORY,)),
        needs=frozenset({Need.GIT}),
        own=True,
    ),
)
_READ, _OTHER = "a/testdata/read.txt", "a/testdata/other.txt"
_TESTS = (
    Dimension(
        "test-env",
        "a variable that the test reads",
        Setting(environment=(("SAFEGUARD_READ", "1"),)),
        needs=_SAMPLE,
    ),
    _edit("test-data", "a file that the test reads", Edit(_READ, "read by", "seen by a"), needs=_SAMPLE),
    Dimension(
        "test-data-touch",
        "a file that the test reads is touched",
        Setting(edits=(Edit(_READ, "", ""),), deeds=(Deed.TOUCH,)),
        needs=_SAMPLE,
    ),
    _edit(
        "test-data-kept",
        "a file that the test reads, size and time kept",
        Edit(_READ, "read by", "seen by", keep_time=True),
        needs=_SAMPLE,
    ),
    _edit("test-data-other", "a file beside it that no test reads", Edit(_OTHER, "not", "never"), needs=_SAMPLE),
)

DIMENSIONS: tuple[Dimension, ...] = (
    *_NOTHING,
    *_SOURCE,
    *_MODULES,
    *_FLAGS,
    *_ENVIRONMENT,
    *_PLACE,
    *_TESTS,
)
"""All of them, in the order in which they are shown."""


def named(names: tuple[str, ...]) -> tuple[Dimension, ...] | str:
    """Those that were named, in the order of the table; all for none; or the first name that is not one."""
    known = {dimension.name for dimension in DIMENSIONS}
    unknown = next((name for name in names if name not in known), None)
    if unknown is not None:
        return unknown
    return tuple(dimension for dimension in DIMENSIONS if not names or dimension.name in names)
