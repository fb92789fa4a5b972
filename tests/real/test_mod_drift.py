"""`mod drift` against modules that change, behind file proxies, with real go commands."""

import json
import os
import socket
import subprocess
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from typer.testing import CliRunner

from go_cache_safeguard.cli import mod
from go_cache_safeguard.config.files import load_config
from go_cache_safeguard.core.errors import UsageFailure
from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.flows.drift import NothingToRecord, RecordUnreadable, Report, Wish, check_drift, record_state
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.gomod.drift import Kind
from go_cache_safeguard.gomod.layout import escape
from go_cache_safeguard.gomod.state import parse_state
from gocaches import PINNED, Toolchain, find_toolchain
from otherusers import NOBODY, reveal

pytestmark = pytest.mark.real

PASS, WARN, UNKNOWN, BLOCK = Outcome.PASS, Outcome.WARN, Outcome.UNKNOWN, Outcome.BLOCK
DEEP, DEP, BAD = "example.com/Deep", "example.com/dep", "example.com/bad"
GO_MOD = f"""module example.com/m

go 1.21

require (
	{BAD} v1.0.0
	{DEP} v1.0.0
)

require {DEEP} v0.1.0 // indirect
"""
MAIN = f'package main\n\nimport (\n\t"example.com/m/lib"\n\t_ "{BAD}"\n)\n\nfunc main() {{ println(lib.A) }}\n'
LIB = f'package lib\n\nimport "{DEP}"\n\nconst A = dep.A\n'
WITHDRAWN = f"// Deprecated: use good instead.\nmodule {BAD}\n\ngo 1.21\n\nretract v1.0.0 // it was wrong\n"


def _go_mod(path: str, *requires: str) -> str:
    return f"module {path}\n\ngo 1.21\n" + "".join(f"\nrequire {one}\n" for one in requires)


PUBLISHED = {
    (DEEP, "v0.1.0"): (_go_mod(DEEP), "package deep\n\nconst B = 1\n"),
    (DEEP, "v0.2.0"): (_go_mod(DEEP), "package deep\n\nconst B = 2\n"),
    (DEP, "v1.0.0"): (_go_mod(DEP, f"{DEEP} v0.1.0"), f'package dep\n\nimport "{DEEP}"\n\nconst A = deep.B\n'),
    (DEP, "v1.1.0"): (_go_mod(DEP, f"{DEEP} v0.2.0"), f'package dep\n\nimport "{DEEP}"\n\nconst A = deep.B\n'),
    (BAD, "v1.0.0"): (_go_mod(BAD), "package bad\n"),
    (BAD, "v1.1.0"): (WITHDRAWN, "package bad\n"),
}


def publish(proxy: Path) -> None:
    """Lay all module versions out as a file proxy."""
    for (path, version), (go_mod, source) in PUBLISHED.items():
        place = proxy / escape(path) / "@v"
        place.mkdir(parents=True, exist_ok=True)
        with (place / "list").open("a") as file:
            file.write(f"{version}\n")
        (place / f"{version}.info").write_text(json.dumps({"Version": version, "Time": "2024-01-01T00:00:00Z"}))
        (place / f"{version}.mod").write_text(go_mod)
        with zipfile.ZipFile(place / f"{version}.zip", "w") as archive:
            archive.writestr(f"{path}@{version}/go.mod", go_mod)
            archive.writestr(f"{path}@{version}/x.go", source)


@dataclass(frozen=True, slots=True)
class World:
    """A module behind a file proxy, with a module cache of its own."""

    toolchain: Toolchain
    root: Path
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def module(self) -> Path:
        return self.root / "m"

    @property
    def proxy(self) -> str:
        return f"file://{self.root}/proxy"

    @property
    def environ(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.root / "home"),
            "GOCACHE": str(self.root / "cache"),
            "GOPATH": str(self.root / "path"),
            "GOMODCACHE": str(self.root / "mod"),
            "GOTOOLCHAIN": "local",
            "GOPROXY": self.proxy,
            "GOSUMDB": "off",
            "GOFLAGS": "",
            "GOENV": "off",
            "GOTELEMETRY": "off",
            "GOGC": "off",
            "LC_ALL": "C",
        }

    def go(self, *arguments: str, cwd: Path | None = None, **more: str) -> str:
        environ = {**self.environ, "GOFLAGS": "-mod=mod", "GODEBUG": "goindex=0", **more}
        done = subprocess.run(
            [self.toolchain.go, *arguments],
            cwd=cwd or self.module,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def session(self, **environ: str) -> Session:
        arguments = {
            "go.command": str(self.toolchain.go),
            "state.dir": str(self.root / "state"),
            "go.timeout": "60s",
            **self.settings,
        }
        config = load_config(environ=self.environ, cwd=self.module, home=self.root / "home", arguments=arguments)
        return Session(config, {**self.environ, **environ}, self.module)

    def record(self, output: Path | None = None) -> Path:
        return record_state(self.session(), self.module, output).path

    def drift(self, wish: Wish | None = None, **environ: str) -> Report:
        return check_drift(self.session(**environ), self.module, wish)

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.module / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def untouched(self) -> dict[str, tuple[int, int, int, int]]:
        """Times, sizes and inodes of everything that must not change."""
        found = {str(path): path.stat() for path in (self.module, *self.module.rglob("*"))}
        return {path: (one.st_mtime_ns, one.st_ctime_ns, one.st_size, one.st_ino) for path, one in found.items()}


def _make(root: Path, toolchain: Toolchain) -> World:
    made = World(toolchain, root)
    publish(root / "proxy")
    (root / "home").mkdir()
    (made.module / "lib").mkdir(parents=True)
    (made.module / "go.mod").write_text(GO_MOD)
    (made.module / "main.go").write_text(MAIN)
    (made.module / "lib" / "lib.go").write_text(LIB)
    made.go("mod", "tidy")
    return made


@pytest.fixture(params=PINNED)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    return _make(tmp_path, find_toolchain(request.param))


@pytest.fixture
def newest(tmp_path: Path) -> World:
    return _make(tmp_path, find_toolchain(PINNED[-1]))


def kinds(report: Report) -> dict[Kind, set[str]]:
    """What changed, without requirements and what follows from the environment."""
    found: dict[Kind, set[str]] = {}
    for change in report.changes:
        if change.kind not in {Kind.EDGE_ADDED, Kind.EDGE_REMOVED, Kind.ENVIRONMENT}:
            found.setdefault(change.kind, set()).add(change.subject)
    return found


def test_what_was_recorded_is_stable_and_no_byte_and_no_time_of_the_module_changes(world: World) -> None:
    before = world.untouched()
    nothing = world.drift()
    assert (nothing.verdicts[0].outcome, nothing.recorded) == (UNKNOWN, None)
    world.record()
    report = world.drift(Wish(updates=True, simulate=3))
    assert (report.changes, report.gaps, report.verdicts[0].outcome) == ((), (), PASS), report
    assert world.untouched() == before
    assert [module.path for module in report.state.modules] == [DEEP, BAD, DEP]
    assert (DEP + "@v1.0.0", DEEP + "@v0.1.0") in report.state.edges


def test_a_module_that_moved_up_is_named_with_what_it_pulled_and_who_uses_it(world: World) -> None:
    world.record()
    world.go("get", f"{DEP}@v1.1.0")
    world.go("mod", "tidy")
    report = world.drift()
    assert kinds(report)[Kind.RAISED] == {DEP, DEEP}
    assert report.verdicts[0].outcome is WARN
    assert {touch.package: touch.through for touch in report.touches[DEEP]} == {
        "example.com/m/lib": (DEP, DEEP),
        "example.com/m": ("example.com/m/lib", DEP, DEEP),
    }
    assert {(change.kind, change.subject) for change in report.changes} >= {
        (Kind.EDGE_ADDED, f"{DEP}@v1.1.0"),
        (Kind.EDGE_REMOVED, f"{DEP}@v1.0.0"),
    }
    world.record()
    assert world.drift().verdicts[0].outcome is PASS
    world.edit("go.mod", f"{DEP} v1.1.0", f"{DEP} v1.0.0")
    world.edit("go.mod", f"{DEEP} v0.2.0", f"{DEEP} v0.1.0")
    back = world.drift()
    assert kinds(back)[Kind.LOWERED] == {DEP, DEEP}
    assert kinds(back)[Kind.TIDY] == {"go.sum"}, "the lines of the old versions are missing there"


def test_modules_that_came_or_went_are_named(world: World) -> None:
    world.record()
    (world.module / "lib" / "lib.go").write_text("package lib\n\nconst A = 1\n")
    world.go("mod", "tidy")
    assert kinds(world.drift())[Kind.REMOVED] == {DEP, DEEP}
    world.record()
    (world.module / "lib" / "lib.go").write_text(LIB)
    world.go("mod", "tidy")
    report = world.drift()
    assert DEP in kinds(report)[Kind.ADDED]
    assert f"{DEP} v1.1.0" in kinds(report)[Kind.SUM_ADDED]


def test_another_hash_for_the_same_version_blocks_and_says_who_uses_it(world: World) -> None:
    world.record()
    line = next(
        line for line in (world.module / "go.sum").read_text().splitlines() if line.startswith(f"{DEP} v1.0.0 h1")
    )
    world.edit("go.sum", line, f"{DEP} v1.0.0 h1:{'A' * 43}=")
    before = world.untouched()
    report = world.drift()
    assert kinds(report) == {Kind.HASH_CHANGED: {f"{DEP} v1.0.0"}}
    assert report.verdicts[0].outcome is BLOCK
    assert [touch.package for touch in report.touches[DEP]] == ["example.com/m/lib", "example.com/m"]
    assert [gap.part for gap in report.gaps] == ["tidy"]
    assert world.untouched() == before


def test_a_line_that_is_gone_from_go_sum_is_named_and_go_does_not_write_it_again(world: World) -> None:
    world.record()
    path = world.module / "go.sum"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith(f"{BAD} v1.0.0 h1")))
    before = world.untouched()
    report = world.drift()
    assert kinds(report) == {Kind.SUM_MISSING: {f"{BAD} v1.0.0"}, Kind.TIDY: {"go.sum"}}
    assert world.untouched() == before


def test_what_go_mod_tidy_would_change_is_named_also_where_it_has_no_diff(world: World) -> None:
    world.record()
    (world.module / "main.go").write_text("package main\n\nfunc main() {}\n")
    report = world.drift()
    assert kinds(report) == {Kind.TIDY: {"go.mod", "go.sum"}}
    assert f"go.mod: - {BAD} v1.0.0" in (report.state.tidy or ())
    assert world.drift(Wish(tidy=False)).verdicts[0].outcome is PASS


def test_a_replacement_is_compared_by_where_it_points_and_the_record_holds_no_path_of_the_machine(world: World) -> None:
    away = world.root / "away"
    away.mkdir()
    (away / "go.mod").write_text(_go_mod(DEP, f"{DEEP} v0.1.0"))
    (away / "dep.go").write_text("package dep\n\nconst A = 5\n")
    world.record()
    with (world.module / "go.mod").open("a") as file:
        file.write(f"\nreplace {DEP} => {away}\n")
    before = world.untouched()
    report = world.drift(Wish(updates=True))
    assert {Kind.REPLACEMENT: {DEP}}.items() <= kinds(report).items()
    assert next(change.after for change in report.changes if change.kind is Kind.REPLACEMENT) == "../away"
    assert report.answers is not None
    assert {answer.path for answer in report.answers} == {DEEP, BAD}, "nobody knows newer versions of a directory"
    assert any("whose content is not compared" in line for line in report.verdicts[0].evidence)
    assert world.untouched() == before
    assert str(world.root / "away") not in world.record().read_text()


def test_a_workspace_is_one_state_and_no_go_work_sum_appears(world: World) -> None:
    other = world.module / "other"
    other.mkdir()
    (other / "go.mod").write_text(_go_mod("example.com/other", f"{DEEP} v0.2.0"))
    (other / "o.go").write_text(f'package other\n\nimport "{DEEP}"\n\nconst C = deep.B\n')
    world.go("mod", "tidy", cwd=other)
    (world.module / "go.work").write_text("go 1.21\n\nuse (\n\t.\n\t./other\n)\n")
    before = world.untouched()
    state = parse_state(world.record().read_bytes())
    assert state is not None
    assert [(main.path, main.folder) for main in state.mains] == [
        ("example.com/m", "."),
        ("example.com/other", "./other"),
    ]
    assert {module.path: module.direct for module in state.modules} == {BAD: True, DEEP: True, DEP: True}
    assert set(state.sums) == {"go.sum", "other/go.sum"}
    report = world.drift(Wish(updates=True, simulate=2))
    assert [verdict.outcome for verdict in report.verdicts] == [PASS, WARN], report
    assert [(tried.path, tried.changes, tried.trouble) for tried in report.simulated] == [(BAD, (), ""), (DEP, (), "")]
    assert world.untouched() == before
    world.edit("go.work", "\t./other\n", "")
    assert kinds(world.drift())[Kind.MAIN_REMOVED] == {"example.com/other"}


def test_newer_retracted_and_deprecated_versions_are_told_and_what_taking_them_changes(world: World) -> None:
    world.record()
    before = world.untouched()
    report = world.drift(Wish(simulate=2))
    found = {answer.path: answer for answer in report.answers or ()}
    assert all(answer.asked for answer in found.values())
    assert (found[DEP].newer, found[DEEP].newer, found[BAD].newer) == ("v1.1.0", "v0.2.0", "v1.1.0")
    assert (found[BAD].retracted, found[BAD].deprecated) == (("it was wrong",), "use good instead.")
    tried = {one.path: one for one in report.simulated}
    assert tried[BAD].changes == ()
    assert (Kind.RAISED, DEEP, "v0.2.0") in {(one.kind, one.subject, one.after) for one in tried[DEP].changes}
    assert [verdict.outcome for verdict in report.verdicts] == [PASS, WARN]
    assert world.untouched() == before


@pytest.fixture
def dead() -> Iterator[str]:
    """A port of this machine to which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def empty() -> Iterator[str]:
    """A proxy that knows no module."""

    class NotFound(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the parent's
            del format, args

    with ThreadingHTTPServer(("127.0.0.1", 0), NotFound) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_nobody_to_ask_is_unknown_with_the_reason_and_never_up_to_date(world: World, dead: str, empty: str) -> None:
    world.record()
    for proxy, reason, hint in (
        ("off", "module lookup disabled by GOPROXY=off", "GOPROXY forbids"),
        (dead, "connection refused", "cannot be reached"),
        (empty, "404 Not Found", "GOPRIVATE"),
        (f"file://{world.root}/nowhere", "no such file or directory", "GOPRIVATE"),
    ):
        report = world.drift(Wish(updates=True, tidy=False), GOPROXY=proxy)
        assert report.verdicts[0].outcome is PASS, "all that was recorded can be told without a proxy"
        assert report.verdicts[1].outcome is UNKNOWN, proxy
        assert [(answer.asked, answer.newer) for answer in report.answers or ()] == [(False, "")] * 3
        assert all(reason in answer.trouble for answer in report.answers or ()), report.answers
        assert any(hint in line for line in report.verdicts[1].remedy), report.verdicts[1]


def test_silence_of_one_module_is_unknown_for_that_module_only(world: World) -> None:
    (world.root / "proxy" / escape(DEEP) / "@v" / "list").write_text("")
    world.record()
    report = world.drift(Wish(updates=True))
    found = {answer.path: answer for answer in report.answers or ()}
    assert (found[DEP].asked, found[BAD].asked, found[DEEP].asked) == (True, True, False)
    assert found[DEEP].trouble
    assert report.verdicts[1].outcome is UNKNOWN


def test_a_module_that_has_no_tags_is_asked_for_its_latest_commit(newest: World) -> None:
    place = newest.root / "proxy" / escape(DEEP)
    (place / "@v" / "list").write_text("")
    (place / "@latest").write_text(json.dumps({"Version": "v0.1.0", "Time": "2024-01-01T00:00:00Z"}))
    newest.record()
    found = {answer.path: answer for answer in newest.drift(Wish(updates=True)).answers or ()}
    assert (found[DEEP].asked, found[DEEP].newer, found[DEEP].trouble) == (True, "", "")


def test_a_build_list_that_cannot_be_computed_is_unknown_and_is_not_recorded(world: World, dead: str) -> None:
    world.record()
    world.edit("go.mod", f"{DEP} v1.0.0", f"{DEP} v1.1.0")
    for proxy in ("off", dead):
        report = world.drift(Wish(updates=True), GOPROXY=proxy)
        assert [verdict.outcome for verdict in report.verdicts] == [UNKNOWN, UNKNOWN]
        assert {gap.part for gap in report.gaps} >= {"modules", "graph"}
        assert not kinds(report), "nothing is said of what is not known"
        with pytest.raises(NothingToRecord):
            record_state(newer := world.session(GOPROXY=proxy), newer.cwd)


def test_a_go_line_that_go_is_too_old_for_is_unknown(world: World) -> None:
    world.record()
    world.edit("go.mod", "go 1.21", "go 1.99")
    report = world.drift()
    assert report.verdicts[0].outcome is UNKNOWN
    assert Kind.GO_LINE in kinds(report)


def test_settings_that_name_another_go_mod_are_unknown_and_other_flags_do_no_harm(newest: World) -> None:
    newest.record()
    assert newest.drift(GOFLAGS="-modfile=other.mod").verdicts[0].outcome is UNKNOWN
    report = newest.drift(GOFLAGS="-mod=vendor '-tags=a b'")
    assert (report.verdicts[0].outcome, kinds(report)) == (PASS, {})


def test_a_vendor_directory_is_no_hindrance_and_is_told(world: World) -> None:
    world.record()
    world.go("mod", "vendor")
    before = world.untouched()
    report = world.drift(Wish(updates=True))
    assert (report.changes, report.gaps) == ((), ())
    assert any("vendor directory" in line for line in report.verdicts[0].evidence)
    world.edit("go.mod", f"{DEP} v1.0.0", f"{DEP} v1.1.0")
    moved = world.drift()
    assert kinds(moved)[Kind.RAISED] == {DEP, DEEP}
    assert [touch.package for touch in moved.touches[DEP]] == ["example.com/m/lib", "example.com/m"], moved.gaps
    world.edit("go.mod", f"{DEP} v1.1.0", f"{DEP} v1.0.0")
    assert world.untouched().keys() == before.keys()


def test_a_state_directory_that_cannot_be_written_is_told(newest: World) -> None:
    (newest.root / "state").write_text("in the way")
    with pytest.raises(UsageFailure, match="nothing can be written"):
        newest.record()


def test_a_site_may_let_changes_block(newest: World) -> None:
    newest.record()
    newest.edit("go.mod", "go 1.21", "go 1.22")
    strict = World(newest.toolchain, newest.root, {"drift.verdict": "block"})
    assert (newest.drift().verdicts[0].outcome, strict.drift().verdicts[0].outcome) == (WARN, BLOCK)


def test_a_file_that_a_person_named_is_written_over_only_when_told_to_and_only_if_it_is_a_record(newest: World) -> None:
    kept = newest.module / "drift.json"
    record_state(newest.session(), newest.module, kept)
    first = kept.read_bytes()
    with pytest.raises(UsageFailure, match="exists already"):
        newest.record(kept)
    record_state(newest.session(), newest.module, kept, force=True)
    assert kept.read_bytes() == first
    assert newest.drift(Wish(against=kept)).verdicts[0].outcome is PASS
    for other in (newest.module / "main.go", newest.module / "lib"):
        with pytest.raises(UsageFailure, match="is no recorded state"):
            record_state(newest.session(), newest.module, other, force=True)
    kept.write_bytes(first[:-20])
    for against in (kept, newest.module / "none.json"):
        with pytest.raises(RecordUnreadable):
            newest.drift(Wish(against=against))


@pytest.mark.root
def test_root_leaves_nothing_of_its_own_in_the_module_and_module_cache_of_somebody_else(newest: World) -> None:
    reveal(newest.root)
    for path in (newest.module, newest.root / "mod", *newest.module.rglob("*"), *(newest.root / "mod").rglob("*")):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    before = newest.untouched()
    newest.record()
    report = newest.drift(Wish(simulate=1))
    assert [verdict.outcome for verdict in report.verdicts] == [PASS, WARN], report
    assert newest.untouched() == before
    kept = newest.record(newest.module / "drift.json")
    owners = {path.lstat().st_uid for path in (kept, *(newest.root / "mod").rglob("*"))}
    assert owners == {NOBODY}


def test_each_record_of_our_own_is_kept_and_the_same_one_is_not_written_twice(newest: World) -> None:
    one = newest.record()
    assert newest.record() == one
    newest.edit("go.mod", "go 1.21", "go 1.22")
    two = newest.record()
    assert sorted(path.name for path in one.parent.iterdir()) == [one.name, two.name] == ["000001.json", "000002.json"]
    assert newest.drift().record == two


def test_the_command_says_the_verdict_with_its_exit_code_and_as_a_document(newest: World) -> None:
    def command(*arguments: str, **more: str) -> tuple[int, str]:
        settings = ("--set", f"go.command={newest.toolchain.go}", "--state-dir", str(newest.root / "state"))
        environ: dict[str, str | None] = dict.fromkeys(name for name in os.environ if name.startswith("GO"))
        done = CliRunner().invoke(
            mod.app, ["drift", str(newest.module), *arguments, *settings], env={**environ, **newest.environ, **more}
        )
        return done.exit_code, done.stdout

    code, said = command()
    assert (code, "nothing to compare with" in said, "mod drift --record" in said) == (13, True, True)
    code, said = command("--record")
    assert (code, said.startswith("recorded: 3 modules, ")) == (0, True)
    code, said = command("--record", "--json")
    assert (code, json.loads(said)["written"]) == (0, False)
    assert command()[0] == 0
    code, said = command("--updates", "--json", GOPROXY="off")
    assert (code, json.loads(said)["updates"][0]["newer"], json.loads(said)["updates"][0]["asked"]) == (13, None, False)
    newest.edit("go.mod", "go 1.21", "go 1.22")
    code, said = command()
    assert (code, "go lines changed: 1" in said) == (0, True)
    assert command("--set", "drift.verdict=block")[0] == 10
    code, said = command("--json")
    document = json.loads(said)
    assert (code, document["schema"]) == (0, "go-cache-safeguard/mod-drift/1")
    assert [change["kind"] for change in document["changes"]] == ["go-line-changed"]


@pytest.mark.parametrize("arguments", [("--record", "--updates"), ("-o", "x.json"), ("--force",)], ids=" ".join)
def test_options_that_make_no_sense_together_are_refused(arguments: tuple[str, ...]) -> None:
    done = CliRunner().invoke(mod.app, ["drift", *arguments])
    assert isinstance(done.exception, UsageFailure)
