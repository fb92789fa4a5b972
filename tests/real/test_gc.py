"""Collections in caches that real go commands filled: every root still finds everything, and nothing else was promised."""

import functools
import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from go_cache_safeguard.config.files import load_config
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.plan import Item
from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.flows.clean import clean
from go_cache_safeguard.flows.gc import (
    Collection,
    NoRoots,
    RootUnknown,
    Wanted,
    explain,
    known_names,
    plan_gc,
    roots_prover,
)
from go_cache_safeguard.flows.liveset import LiveSet, live_set
from go_cache_safeguard.flows.progress import Silent
from go_cache_safeguard.flows.provers import provers_after
from go_cache_safeguard.flows.recover import recover
from go_cache_safeguard.flows.remove import Manner, ProofFailed
from go_cache_safeguard.flows.roots import add_roots, remove_roots, roots
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.undo import undo
from go_cache_safeguard.flows.uses import record_use
from go_cache_safeguard.gotool.actiongraph import NoGraph, parse_action_graph, tools_run
from gocaches import EVERY, SMALL_MAIN, GoCache, Toolchain, copy_cache, find_toolchain
from safeguard import Safeguard, files_of

pytestmark = pytest.mark.real

LONG_AGO_S = 3 * 3600
COMMANDS = (("build", "./..."), ("vet", "./..."), ("test", "./..."))


@pytest.fixture(scope="module", params=EVERY)
def every(request: pytest.FixtureRequest) -> Toolchain:
    return find_toolchain(request.param)


@pytest.fixture(scope="module")
def used(
    tmp_path_factory: pytest.TempPathFactory, warm_cache: Callable[[Toolchain], GoCache]
) -> Callable[[Toolchain], GoCache]:
    """A cache with what one module needs, and what a second one needed that is away now; to be copied."""
    return functools.cache(
        lambda toolchain: with_garbage(copy_cache(warm_cache(toolchain), tmp_path_factory.mktemp("used")))
    )


@pytest.fixture
def cache(tmp_path: Path, every: Toolchain, used: Callable[[Toolchain], GoCache]) -> GoCache:
    return copy_cache(used(every), tmp_path)


@pytest.fixture
def newest(tmp_path: Path, used: Callable[[Toolchain], GoCache]) -> GoCache:
    return copy_cache(used(find_toolchain(EVERY[-1])), tmp_path)


def with_garbage(cache: GoCache) -> GoCache:
    away = cache.root.parent / "away"
    shutil.copytree(cache.module, away)
    (away / "main.go").write_text(SMALL_MAIN)
    (away / "lib/lib.go").write_text('package lib\n\n// Hello greets.\nfunc Hello() string { return "bye" }\n')
    subprocess.run([cache.toolchain.go, "build", "./..."], cwd=away, env=cache.environ, check=True, timeout=120)
    shutil.rmtree(away)
    return cache


def session_of(cache: GoCache, **settings: str) -> Session:
    environ = {**cache.environ, "PATH": f"{cache.toolchain.go.parent}:{cache.environ['PATH']}"}
    arguments = {
        "state.dir": str(cache.root.parent / "state"),
        "gc.grace": "0s",
        "policy.hold_share": "100%",
        **{key.replace("__", "."): text for key, text in settings.items()},
    }
    config = load_config(environ=environ, cwd=cache.module, home=cache.root.parent / "home", arguments=arguments)
    return Session(config, environ, cache.module, Silent())


def age(cache: GoCache) -> float:
    at_s = time.time() - LONG_AGO_S
    for path in cache.root.glob("??/*"):
        os.utime(path, (at_s, at_s))
    return at_s


def names_of(cache: GoCache) -> set[str]:
    return {str(path.relative_to(cache.root)) for path in cache.root.glob("??/*")}


def allowed() -> list[Verdict]:
    return [Verdict("test", Outcome.PASS, "nothing was asked")]


def collect(session: Session, found: Collection, *, wait_s: int = 0) -> str:
    manner = Manner(wait_s, roots_prover(found.plan, None, known_names(found.asked)))
    return clean(session, found.plan, allowed, manner, None).op


def tools_that_run(cache: GoCache, *arguments: str) -> list[str]:
    graph = cache.root.parent / "graph.json"
    cache.go(arguments[0], f"-debug-actiongraph={graph}", *arguments[1:])
    actions = parse_action_graph(graph.read_bytes())
    assert not isinstance(actions, NoGraph)
    return [f"{one.mode} {one.package}" for one in tools_run(actions) if one.mode not in {"vet", "test run"}]


def test_roots_find_all_they_need_after_a_collection_and_undo_brings_all_back(cache: GoCache) -> None:
    session = session_of(cache)
    add_roots(session, cache.module, COMMANDS)
    before = names_of(cache)
    found = plan_gc(session, cache.root, Wanted())
    assert [one.found.missing for one in found.asked if isinstance(one.found, LiveSet)] == [(), (), ()], found.notes
    planned = {item.name for item in found.plan.items}
    op = collect(session, found)
    assert before - names_of(cache) == planned, "what was reclaimed is what the plan said"
    assert any(line.goes and line.package == "example.com/m/lib" for line in explain(found))
    assert plan_gc(session, cache.root, Wanted()).plan.items == (), "nothing is left to collect"
    undo(session, op, None)
    assert names_of(cache) == before
    collect(session, plan_gc(session, cache.root, Wanted()))
    assert_marks_are_real(cache, found)
    assert tools_that_run(cache, "build", "./...") == []
    assert tools_that_run(cache, "vet", "./...") == []
    assert "(cached)" in cache.go("test", "./...")


def assert_marks_are_real(cache: GoCache, found: Collection) -> None:
    """What was marked for `go test` is what the real command marks, apart from what it writes anew each time."""
    tested = next(one.found for one in found.asked if one.root.command[0] == "test")
    assert isinstance(tested, LiveSet)
    assert (tested.doubtful, tested.notes) == (frozenset(), ())
    marked = {action.hex() for action in tested.actions}
    contents = files_of(cache.root)
    at_s = age(cache)
    cache.go("test", "./...")
    real = {path.name[:64] for path in cache.root.glob("??/*-a") if path.stat().st_mtime > at_s + 60}
    assert marked <= real
    for name in real - marked:
        entry = contents.get(f"{name[:2]}/{name}-a", b"").decode()
        content = contents.get(f"{entry[68:70]}/{entry[68:132]}-d", b"")
        assert content == b"" or content[1:3] == b"\xff\x81", "only vet facts of its own packages"


def test_of_a_broken_root_nothing_is_collected(newest: GoCache) -> None:
    session = session_of(newest)
    add_roots(session, newest.module, [("build", "./...")])
    other = newest.root.parent / "whole"
    shutil.copytree(newest.module, other)
    add_roots(session, other, [("build", "./lib")])
    (newest.module / "go.mod").write_text("module example.com/m\n\nnonsense\n")
    found = plan_gc(session, newest.root, Wanted())
    assert any("UNKNOWN" in note for note in found.notes), found.notes
    gone = {item.name for item in found.plan.items}
    outputs = found.inventory.outputs.values()
    own = [one for one in outputs if one.about is not None and one.about.version == newest.toolchain.version]
    assert own
    assert not any(one.output.hex() in name for one in own for name in gone)
    with pytest.raises(RootUnknown):
        plan_gc(session_of(newest, gc__unknown="refuse"), newest.root, Wanted())


def test_a_package_that_does_not_compile_keeps_what_those_need_that_import_it(newest: GoCache) -> None:
    session = session_of(newest)
    add_roots(session, newest.module, [("build", "./...")])
    lib = newest.module / "lib/lib.go"
    text = lib.read_text()
    lib.write_text("package lib\n\nfunc Hello() string { return 1 }\n")
    found = plan_gc(session, newest.root, Wanted())
    assert isinstance(found.asked[0].found, LiveSet)
    assert found.asked[0].found.missing == ("example.com/m/lib",)
    collect(session, found)
    lib.write_text(text)
    assert tools_that_run(newest, "build", "./...") == []


def test_a_build_that_runs_meanwhile_ends_well(newest: GoCache) -> None:
    session = session_of(newest)
    add_roots(session, newest.module, [("build", "./lib")])  # which imports nothing: all of fmt is garbage
    slow = newest.root.parent / "slow"
    slow.write_text('case "$*" in *-V=full*) ;; *) : > "${0%/*}/begun"; sleep 4 ;; esac\nexec "$@"\n')
    main = newest.module / "main.go"
    main.write_text(main.read_text() + "\nvar edited = 1\n")
    ended: list[subprocess.CompletedProcess[str]] = []
    build = ("build", f"-toolexec=/bin/sh '{slow}'", "-o", os.devnull, ".")
    thread = threading.Thread(target=lambda: ended.append(newest.run(*build)))
    thread.start()
    deadline = time.monotonic() + 60
    while not (newest.root.parent / "begun").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    found = plan_gc(session, newest.root, Wanted())
    receipt = clean(session, found.plan, allowed, Manner(0, roots_prover(found.plan, None)), None)
    thread.join(120)
    assert ended[0].returncode == 0, ended[0].stdout + ended[0].stderr
    assert receipt.state is State.WAITING, "outputs wait for the build"
    assert any(line.goes and line.package == "fmt" for line in explain(found))
    recover(session, provers_after(session, None), wait_s=60)
    assert tools_that_run(newest, "build", "./lib") == []


def test_a_proof_that_fails_brings_everything_back(newest: GoCache) -> None:
    session = session_of(newest)
    add_roots(session, newest.module, [("build", "./...")])
    found = plan_gc(session, newest.root, Wanted())
    entry = newest.entries_of(newest.output_of("example.com/m/lib"))[0]
    marks = entry.stat()
    wrong = Item(str(entry.relative_to(newest.root)), marks.st_size, marks.st_mtime_ns, "a mistake")
    plan = replace(found.plan, items=tuple(sorted((*found.plan.items, wrong), key=lambda one: one.name)))
    before = names_of(newest)
    with pytest.raises(ProofFailed, match=r"would compile example.com/m/lib"):
        clean(session, plan, allowed, Manner(0, roots_prover(plan, None)), None)
    assert names_of(newest) == before


def test_asking_go_touches_and_runs_nothing_that_lies_ready_in_the_directory(newest: GoCache) -> None:
    (newest.module / "lib/lib_test.go").write_text(
        'package lib\n\nimport (\n\t"os"\n\t"testing"\n)\n\n'
        'func TestRuns(t *testing.T) { os.WriteFile(os.Getenv("RAN"), nil, 0o600) }\n'
    )
    ran = newest.root.parent / "ran"
    newest.go("build", ".")
    newest.go("test", "-c", "./lib")
    (newest.module / "c.out").write_text("mine")
    at_s = time.time() - LONG_AGO_S
    before = {}
    for path in (newest.module / name for name in ("m", "lib.test", "c.out")):
        os.utime(path, (at_s, at_s))
        before[path] = (path.read_bytes(), path.stat().st_mtime)
    session = session_of(newest)
    session.environ = {**session.environ, "RAN": str(ran)}
    for command in (("build", "."), ("test", "-cpuprofile=x", "./lib"), ("test", "-coverprofile", "c.out", "./lib")):
        live_set(session, newest.root, newest.module, command)
    assert {path: (path.read_bytes(), path.stat().st_mtime) for path in before} == before
    assert not ran.exists()
    assert not (newest.module / "x").exists()


def test_budgets_pins_and_recorded_runs_decide_what_goes(newest: GoCache) -> None:
    session = session_of(newest)
    with pytest.raises(NoRoots):
        plan_gc(session, newest.root, Wanted())
    live = live_set(session, newest.root, newest.module, ("test", "./..."))
    now_ns = time.time_ns()
    record_use(
        session,
        project=newest.module,
        command=("test", "./..."),
        toolchain=live.toolchain,
        at_ns=now_ns,
        actions=live.actions,
    )
    by_trace = plan_gc(session, newest.root, Wanted())
    assert by_trace.traces == 1
    taken = {item.name for item in by_trace.plan.items}
    assert not any(f"{action.hex()}-a" in name for action in live.actions for name in taken)

    pinned = plan_gc(session, newest.root, Wanted(pins=("example.com/m/...",)))
    assert not any(line.goes and line.package.startswith("example.com/m/") for line in explain(pinned))

    size = by_trace.plan.whole
    some = plan_gc(session, newest.root, Wanted(max_size=size - 1000))
    assert 1000 <= some.plan.total < by_trace.plan.total
    short = plan_gc(session, newest.root, Wanted(max_size=0))
    assert (short.choice.evicted, short.choice.short > 0) == (0, True)
    evicting = plan_gc(session, newest.root, Wanted(max_size=0, evict_live=True))
    assert evicting.choice.evicted > 0

    forgotten = session_of(newest, gc__traces="0s")
    with pytest.raises(NoRoots):
        plan_gc(forgotten, newest.root, Wanted())


def test_a_workspace_and_other_configurations_are_roots_of_their_own(newest: GoCache) -> None:
    session = session_of(newest)
    work = newest.root.parent / "work"
    shutil.copytree(newest.module, work / "m")
    (work / "go.work").write_text("go 1.21\n\nuse ./m\n")
    add_roots(session, work)
    add_roots(session, newest.module, [("build", "-race", "./lib")], environment={"CGO_ENABLED": "1"})
    found = plan_gc(session, newest.root, Wanted())
    assert [root.command for root in roots(session)] == [*COMMANDS, ("build", "-race", "./lib")]
    states = [one.found for one in found.asked]
    assert all(isinstance(one, LiveSet) for one in states), found.notes
    assert [one.missing == () for one in states if isinstance(one, LiveSet)] == [True, True, True, False]
    assert len(remove_roots(session, newest.module, [("build", "-race", "./lib")])) == 1
    assert {root.directory for root in roots(session)} == {work}


def test_the_command_line_explains_collects_and_finishes_what_was_held(newest: GoCache, tmp_path: Path) -> None:
    settings = {"GC_GRACE": "0s", "POLICY_HOLD_SHARE": "0%", "APPROVAL_SELF": "always"}
    guard = Safeguard(newest, tmp_path / "state", {f"GO_CACHE_SAFEGUARD_{key}": text for key, text in settings.items()})
    scanned = guard.json("roots", "scan", str(tmp_path))
    assert scanned["found"] == [str(newest.module)]
    added = guard.json("roots", "add", str(newest.module), "--run", "GOFLAGS=-trimpath go build ./...")
    assert added["new"][0]["environment"] == {"GOFLAGS": "-trimpath"}
    told = guard.run("gc", "--explain")
    assert told.returncode == 0, told.stderr
    assert "no root needs it" in told.stdout
    plan = tmp_path / "plan.json"
    assert guard.run("gc", "-o", str(plan)).returncode == 0
    held = guard.run("gc", str(plan), "--checks", "permissions")
    assert held.returncode == 11, held.stderr
    op = next(word for word in held.stderr.split() if word.startswith("op_"))
    code, screen = guard.type("ops", "approve", op, answers=(("Type its first 8 digits", "{digest:.8}"),))
    assert code == 0, screen
    done = guard.json("clean", op)
    assert done["moved"] == len(json.loads(plan.read_bytes())["items"])
    assert len(done["proof"]) == 1
    assert re.fullmatch(
        r"roots: GOFLAGS=-trimpath go build .*: 0 compile actions, [0-9]+ entries found", *done["proof"]
    )
    assert guard.json("undo", op)["restored"] == done["moved"]
    wrong = guard.run("clean", str(plan), "--proof", "nonsense")
    assert (wrong.returncode, "names no proofs" in wrong.stderr) == (2, True)
    assert any("0 compile actions" in line for line in done["proof"])
