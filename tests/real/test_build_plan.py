"""`mod plan-diff` and `stale` against real go commands: what they say is what go then does, and looking changes nothing."""

import csv
import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from go_cache_safeguard.config.files import load_config
from go_cache_safeguard.core.errors import UsageFailure
from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.flows.build_plan import PlanReport, Question, ask, diff_plans, record_plan
from go_cache_safeguard.flows.looking import CannotPlan, Under
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.stale import report_stale
from go_cache_safeguard.gomod.checks.build_plan import IGNORES
from go_cache_safeguard.gotool.actiongraph import NoGraph, parse_action_graph, tools_run
from go_cache_safeguard.gotool.buildplan import write_plan
from go_cache_safeguard.gotool.plandiff import Cause, Kind
from go_cache_safeguard.gotool.stale import Row, State
from gocaches import PINNED, GoCache, Toolchain, find_toolchain
from safeguard import Safeguard

pytestmark = pytest.mark.real

LIB = 'package lib\n\nimport "example.com/dep"\n\n// Hello greets.\nfunc Hello() string { return dep.Word }\n'
MAIN = 'package main\n\nimport "example.com/m/lib"\n\nfunc main() { println(lib.Hello()) }\n'


@dataclass(frozen=True)
class World:
    """A module that needs another one, which a file proxy has in two versions, and the cache of a toolchain."""

    cache: GoCache

    @property
    def session(self) -> Session:
        return self.session_with({})

    def session_with(self, environ: dict[str, str], cwd: Path | None = None) -> Session:
        whole, home = self.cache.environ | environ, self.cache.root.parent / "home"
        arguments = {"go.command": str(self.cache.toolchain.go), "state.dir": str(home / "state")}
        where = cwd or self.cache.module
        return Session(load_config(environ=whole, cwd=where, home=home, arguments=arguments), whole, where)

    def diff(self, question: Question | None = None, **environ: str) -> PlanReport:
        return diff_plans(self.session_with(environ), self.cache.root, question or Question())

    def stale(self, **environ: str) -> dict[str, Row]:
        rows = report_stale(self.session_with(environ), self.cache.root, ()).rows
        return {row.package: row for row in rows}

    def edit(self, name: str, text: str) -> None:
        (self.cache.module / name).write_text(text)

    def need(self, version: str) -> None:
        """Have the module need this version of its dependency."""
        proxy = f"file://{self.cache.root.parent}/proxy"
        self.cache.go("get", f"example.com/dep@{version}", GOPROXY=proxy, GOFLAGS="-mod=mod")

    def compiled(self) -> set[str]:
        """Build for real, and tell for which packages a tool ran."""
        graph = self.cache.root.parent / "graph.json"
        self.cache.go("build", f"-debug-actiongraph={graph}", "-o", os.devnull, "./...")
        actions = parse_action_graph(graph.read_bytes())
        assert not isinstance(actions, NoGraph)
        return {action.package for action in tools_run(actions)}


@pytest.fixture
def world(fresh_cache: GoCache, tmp_path: Path) -> World:
    """One for each toolchain."""
    return make_world(fresh_cache, tmp_path)


@pytest.fixture
def newest(newest_cache: GoCache, tmp_path: Path) -> World:
    """One of the newest toolchain, where the toolchain does not matter."""
    return make_world(newest_cache, tmp_path)


def make_world(cache: GoCache, tmp_path: Path) -> World:
    place = tmp_path / "proxy" / "example.com" / "dep" / "@v"
    place.mkdir(parents=True)
    for version, word in (("v1.0.0", "hello"), ("v1.1.0", "hello again")):
        files = {"go.mod": "module example.com/dep\n\ngo 1.21\n", "dep.go": f'package dep\n\nconst Word = "{word}"\n'}
        (place / f"{version}.mod").write_text(files["go.mod"])
        (place / f"{version}.info").write_text(json.dumps({"Version": version}))
        with zipfile.ZipFile(place / f"{version}.zip", "w") as archive:
            for name, text in files.items():
                archive.writestr(f"example.com/dep@{version}/{name}", text)
    made = World(cache)
    made.edit("lib/lib.go", LIB)
    made.edit("main.go", MAIN)
    made.need("v1.0.0")
    cache.go("build", "-o", os.devnull, "./...")
    return made


def seen(*roots: Path) -> dict[str, tuple[int, int, bytes]]:
    """Name, time, inode and content of everything below."""
    found = {}
    for path in sorted(path for root in roots for path in root.rglob("*")):
        stat = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (stat.st_mtime_ns, stat.st_ino, content)
    return found


def causes(report: PlanReport) -> set[tuple[str, Kind, tuple[Cause, ...]]]:
    return {(each.package, each.kind, each.causes) for each in report.comparison.differences}


def test_two_runs_are_equal_whatever_the_cache_and_wherever_the_module_lies(world: World, tmp_path: Path) -> None:
    report = world.diff()
    assert (report.verdict.outcome, report.comparison.differences) == (Outcome.PASS, ())
    assert IGNORES in report.verdict.evidence
    assert report.rebuild.compile == report.rebuild.cascade == ()
    assert report.rebuild.link == ("example.com/m",)
    assert report.comparison.packages == len(report.after.units) > 10
    baseline = tmp_path / "plan.json"
    baseline.write_bytes(write_plan(report.after))
    cold = diff_plans(world.session, tmp_path / "nothing", Question(against=baseline))
    assert write_plan(cold.after) == baseline.read_bytes()
    assert {"example.com/m", "example.com/m/lib", "example.com/dep", "runtime"} <= {*cold.rebuild.compile}
    moved = shutil.copytree(world.cache.module, tmp_path / "elsewhere" / "copy")
    record_plan(world.session_with({}, moved), (), Under(), tmp_path / "moved.json")
    assert (tmp_path / "moved.json").read_bytes() == baseline.read_bytes()
    assert str(tmp_path).encode() not in baseline.read_bytes()


def test_a_changed_flag_file_and_dependency_are_named_with_their_cause(world: World, tmp_path: Path) -> None:
    baseline = tmp_path / "plan.json"
    record_plan(world.session, (), Under(), baseline)
    question = Question(against=baseline)
    assert world.diff(question).verdict.outcome is Outcome.PASS

    flags = {"GOFLAGS": "-trimpath -gcflags=-N -tags=extra"}
    found = causes(world.diff(Question(against=baseline, under=Under(environment=flags))))
    assert ("example.com/m/lib", Kind.FLAG, (Cause.ENVIRONMENT,)) in found
    assert {cause for _package, _kind, each in found for cause in each} == {Cause.ENVIRONMENT}

    world.edit("lib/lib.go", LIB + "// more\n")
    world.edit("lib/more.go", "package lib\n\nconst More = 1\n")
    assert causes(world.diff(question)) == {
        ("example.com/m/lib", kind, (Cause.PACKAGE,)) for kind in (Kind.SOURCE, Kind.INPUT)
    }
    world.need("v1.1.0")
    found = causes(world.diff(question))
    assert {kind for package, kind, _causes in found if package == "example.com/dep"} >= {Kind.MODULE, Kind.SOURCE}
    assert {cause for _package, _kind, each in found for cause in each} == {Cause.PACKAGE}


@pytest.mark.parametrize(
    ("variable", "value", "flag"),
    [
        ("GOFLAGS", "", "-trimpath"),
        ("GOAMD64", "v3", "-D GOAMD64_v3"),
        ("GOARCH", "arm64", "-D GOARCH_arm64"),
    ],
)
def test_every_changed_setting_is_named_and_the_flag_that_it_changed(
    newest_cache: GoCache, variable: str, value: str, flag: str
) -> None:
    report = World(newest_cache).diff(Question(("./lib", "."), under=Under(environment={variable: value})))
    assert report.verdict.outcome is Outcome.WARN
    changed_with_it = {"GOAMD64", "CGO_ENABLED"} if variable == "GOARCH" else set()
    assert {change.name for change in report.comparison.environment} - changed_with_it <= {variable}
    assert any(change.name == variable and change.after == value for change in report.comparison.environment)
    assert report.comparison.causes == (Cause.ENVIRONMENT,)
    changed = {word for each in report.comparison.differences for word in (*each.gone, *each.new)}
    assert any(word.startswith(flag) for word in changed)


def test_a_second_toolchain_is_the_cause_of_what_it_does_differently(
    newest_cache: GoCache, warm_cache: Callable[[Toolchain], GoCache]
) -> None:
    old = find_toolchain(PINNED[0])
    warm_cache(old)
    report = World(newest_cache).diff(Question(under=Under(go=old.go)))
    assert report.comparison.toolchain is not None
    assert (report.comparison.toolchain.before, report.comparison.toolchain.after) == (PINNED[1], PINNED[0])
    assert report.comparison.causes == (Cause.TOOLCHAIN,)
    assert "example.com/m/lib" in report.rebuild.compile


def test_stale_says_what_a_build_then_compiles(world: World) -> None:
    found = world.stale()
    assert {row.state for row in found.values()} == {State.CACHED, State.LINK}
    assert found["example.com/m"].go_reason == "not installed but available in build cache"
    assert world.compiled() == set()

    world.edit("lib/lib.go", LIB + "// more\n")
    found = world.stale()
    lib, main = found["example.com/m/lib"], found["example.com/m"]
    assert (lib.state, lib.why) == (State.COMPILE, "lib.go is newer than its last compilation")
    assert (lib.go_stale, lib.go_reason) == (True, "build ID mismatch")
    assert (main.state, main.cause) == (State.CASCADE, "example.com/m/lib")
    assert main.go_reason == "stale dependency: example.com/m/lib"
    assert world.compiled() == {"example.com/m/lib"}, "a comment at the end spares what is above"

    world.edit("lib/lib.go", LIB.replace("return dep", 'return "x" + dep'))
    world.need("v1.1.0")
    found = world.stale()
    assert found["example.com/dep"].why == "compiled before, but not v1.1.0 with these flags and environment"
    assert found["example.com/m/lib"].why.startswith("needs example.com/dep; besides, lib.go is newer")
    assert found["example.com/m"].why == "needs example.com/dep (through example.com/m/lib)"
    assert {name for name, row in found.items() if row.rebuilt} == world.compiled()
    assert not any(row.rebuilt for row in world.stale().values())


def test_stale_knows_flags_targets_and_an_empty_cache(newest: World) -> None:
    found = newest.stale(GOFLAGS="-trimpath -gcflags=-N")
    because = "because of GOFLAGS=-gcflags=-N: without, it would come from the cache"
    assert (found["example.com/m/lib"].why, found["example.com/m"].why) == (because, because)
    forced = newest.stale(GOFLAGS="-trimpath -a")
    assert forced["example.com/m"].go_reason == "build -a flag in use"
    assert forced["runtime"].state is State.COMPILE
    other = newest.stale(GOARCH="arm64" if newest.session.go_env.arch != "arm64" else "amd64")
    assert other["example.com/m/lib"].state is State.COMPILE
    shutil.rmtree(newest.cache.root)
    empty = newest.stale()
    assert {row.state for row in empty.values() if row.package != "unsafe"} == {State.COMPILE}
    assert empty["runtime"].why == "the cache holds nothing of it: never built here, trimmed or cleaned"
    assert not newest.cache.root.exists()


def test_an_installed_program_is_up_to_date_until_something_changes(newest: World) -> None:
    newest.cache.go("install", ".")
    assert newest.stale()["example.com/m"].state is State.INSTALLED
    newest.edit("main.go", MAIN.replace("println", "print"))
    main = newest.stale()["example.com/m"]
    assert (main.state, main.why) == (State.COMPILE, "main.go is newer than anything built as a program here")


def test_what_cannot_be_built_is_unknown(newest: World) -> None:
    newest.edit("lib/lib.go", 'package lib\n\nimport _ "example.com/nowhere"\n')
    found = newest.stale()
    assert found["example.com/m/lib"].state is State.UNKNOWN
    assert "example.com/nowhere" in found["example.com/m/lib"].why
    with pytest.raises(CannotPlan, match=r"example\.com/nowhere"):
        newest.diff()


def test_a_workspace_is_asked_as_a_whole(newest_cache: GoCache, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "go.mod").write_text("module example.com/other\n\ngo 1.21\n")
    (other / "other.go").write_text("package other\n")
    (tmp_path / "go.work").write_text("go 1.21\n\nuse ./module\nuse ./other\n")
    before = seen(newest_cache.module, other)
    session = World(newest_cache).session_with({}, tmp_path)
    report = report_stale(session, newest_cache.root, ())
    assert sorted(report.patterns) == ["example.com/m/...", "example.com/other/..."]
    assert {row.package: row.state for row in report.rows}["example.com/other"] is State.COMPILE
    assert diff_plans(session, newest_cache.root, Question()).verdict.outcome is Outcome.PASS
    assert seen(newest_cache.module, other) == before
    assert not (tmp_path / "go.work.sum").exists()


def test_looking_changes_neither_cache_nor_module_even_when_a_trim_is_due(world: World, tmp_path: Path) -> None:
    cache, module = world.cache.root, world.cache.module
    for path in cache.glob("??/*"):
        os.utime(path, ns=(10**18, 10**18))  # so old that go would delete it, and refresh its time first
    (cache / "trim.txt").write_text("1000")
    world.edit("lib/lib.go", LIB + "// more\n")
    places = (cache, module, tmp_path / "mod")
    before = seen(*places)
    world.stale()
    assert ask(world.session_with({}), module).outcome is Outcome.PASS
    assert seen(*places) == before


def test_git_is_left_alone(newest_cache: GoCache) -> None:
    git = Path(shutil.which("git") or "")
    assert git.is_file(), "git is missing"
    import subprocess

    who = ("-c", "user.name=n", "-c", "user.email=e@example.com")
    for arguments in (("init", "-q"), ("add", "-A"), (*who, "commit", "-q", "-m", "m")):
        subprocess.run([git, *arguments], cwd=newest_cache.module, check=True, env=newest_cache.environ)
    os.utime(newest_cache.module / "main.go")
    before = seen(newest_cache.module)
    World(newest_cache).stale()
    World(newest_cache).diff()
    assert seen(newest_cache.module) == before


def test_a_recorded_plan_is_never_overwritten_and_only_a_plan_is_read(newest_cache: GoCache, tmp_path: Path) -> None:
    world, baseline = World(newest_cache), tmp_path / "plan.json"
    record_plan(world.session, ("./lib",), Under(), baseline)
    with pytest.raises(UsageFailure, match="exists"):
        record_plan(world.session, ("./lib",), Under(), baseline)
    with pytest.raises(UsageFailure, match=r"recorded for \./lib"):
        world.diff(Question(("./...",), against=baseline))
    with pytest.raises(UsageFailure, match="set by us"):
        world.diff(Question(under=Under(environment={"GOCACHE": str(tmp_path)})))
    baseline.write_text("{}")
    with pytest.raises(UsageFailure, match="no recorded plan"):
        world.diff(Question(against=baseline))
    with pytest.raises(UsageFailure, match="cannot be read"):
        world.diff(Question(against=tmp_path / "none"))


def test_the_command_line_tells_the_same_in_every_form(newest_cache: GoCache, tmp_path: Path) -> None:
    safeguard = Safeguard(newest_cache, tmp_path / "state")
    (newest_cache.module / "lib" / "lib.go").write_text('package lib\n\nfunc Hello() string { return `,"` }\n')
    document = safeguard.json("stale")
    assert document["schema"] == "go-cache-safeguard/stale/1"
    assert document["totals"]["compile"] == 1
    told = safeguard.run("stale", "--csv", "--all").stdout
    rows = list(csv.DictReader(io.StringIO(told, newline="")))
    assert len(rows) == document["totals"]["packages"]
    states = {row["package"]: row["state"] for row in rows}
    assert (states["example.com/m/lib"], states["example.com/m"]) == ("compile", "cascade")
    text = safeguard.run("stale")
    assert (text.returncode, "lib.go is newer than its last compilation" in text.stdout) == (0, True)
    assert safeguard.run("stale", "example.com/nowhere").returncode == 13
    assert safeguard.run("stale", "--csv", "--json").returncode == 2
    assert safeguard.run("stale", cwd=tmp_path).returncode == 2

    plan = tmp_path / "plan.json"
    assert safeguard.json("mod", "plan-diff", "--record", str(plan))["packages"] > 10
    differs = ("mod", "plan-diff", "--against", str(plan), "--env", "GOFLAGS=-trimpath -tags=x")
    assert safeguard.json(*differs)["comparison"]["settings"][0]["name"] == "GOFLAGS"
    strict = safeguard.run(*differs, "--strict")
    assert (strict.returncode, "[environment]" in strict.stdout, "ignores the cache" in strict.stdout) == (
        10,
        True,
        True,
    )
    assert safeguard.run("mod", "plan-diff", "--env", "novalue").returncode == 2
    assert safeguard.run("mod", "plan-diff", "--record", str(plan), "--strict").returncode == 2
    assert safeguard.run("check", "--target", "mod", "--only", "mod-build-plan").returncode == 0
