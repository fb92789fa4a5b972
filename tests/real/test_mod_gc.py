"""Collections in module caches that real go commands filled: roots still build and download offline."""

import os
from pathlib import Path

import pytest

from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.flows.clean import clean
from go_cache_safeguard.flows.gc import NoRoots, RootUnknown
from go_cache_safeguard.flows.mod_gc import ModCollection, Wanted, mod_prover, of_plan, plan_mod_gc
from go_cache_safeguard.flows.provers import prover_before
from go_cache_safeguard.flows.remove import Manner, ProofFailed
from go_cache_safeguard.flows.roots import add_roots
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.undo import undo
from go_cache_safeguard.gomod.layout import Version
from gocaches import PINNED, find_toolchain
from modcaches import ALT, DEEP, DEP, World, copy_world, make_world
from smallmodules import contents

pytestmark = pytest.mark.real

TOOLCHAIN = Version("golang.org/toolchain", "v0.0.1-go1.99.0.linux-amd64")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A module that needs two others, and in its cache besides a version and a toolchain that nobody asks for."""
    world = make_world(tmp_path_factory.mktemp("world"), find_toolchain(PINNED[-1]))
    done = world.go("mod", "download", str(ALT), GOPROXY=f"file://{world.root}/proxy", GOFLAGS="-mod=mod")
    assert done.returncode == 0, done.stderr
    tree = world.cache / TOOLCHAIN.tree
    tree.mkdir(parents=True)
    (tree / "VERSION").write_text("go1.99.0\n")
    works_offline(world)  # each copy has the runtime compiled already
    return world


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    return copy_world(template, tmp_path)


def session_of(world: World, **settings: str) -> Session:
    return world.session_with({"gc.grace": "0s", **{key.replace("__", "."): text for key, text in settings.items()}})


def collect(session: Session, found: ModCollection) -> str:
    return clean(session, found.plan, lambda: [found.verdict], Manner(0, mod_prover(found.plan, found.known)), None).op


def works_offline(world: World) -> None:
    for arguments in (("build", "-o", os.devnull, "."), ("mod", "download"), ("mod", "verify"), ("list", "-m", "all")):
        done = world.go(*arguments)
        assert done.returncode == 0, (arguments, done.stderr)


def test_what_no_go_sum_names_goes_and_roots_build_and_download_offline(world: World) -> None:
    session = session_of(world)
    with pytest.raises(NoRoots):
        plan_mod_gc(session, None, Wanted())
    add_roots(session, world.module)
    before = contents(world.cache)
    found = plan_mod_gc(session, None, Wanted())
    assert found.known == {world.module}
    assert {item.name for item in found.plan.items} == {
        ALT.tree,
        TOOLCHAIN.tree,
        *(ALT.download(suffix) for suffix in (".zip", ".ziphash", ".mod", ".info")),
    }
    op = collect(session, found)
    assert not (world.cache / ALT.tree).exists()
    assert all((world.cache / one.tree).is_dir() for one in (DEP, DEEP))
    works_offline(world)
    assert world.go("list", "-m", str(ALT)).returncode != 0, "nothing says that there is what is not there"
    assert all((world.cache / one.download(".info")).exists() for one in (DEP, DEEP))
    undo(session, op, None)
    assert contents(world.cache) == before


def test_a_toolchain_that_go_mod_asks_for_and_a_replacement_and_a_pin_stay(world: World) -> None:
    session = session_of(world)
    add_roots(session, world.module)
    (world.module / "go.mod").write_text(
        (world.module / "go.mod").read_text() + f"\ntoolchain go1.99.0\n\nreplace {DEEP} => {ALT.path} {ALT.version}\n"
    )
    with (world.module / "go.sum").open("a") as file:
        file.write(f"{ALT.path} {ALT.version} h1:YQ==\n{ALT.path} {ALT.version}/go.mod h1:YQ==\n")
    assert plan_mod_gc(session, None, Wanted()).plan.items == ()
    (world.module / "go.sum").write_text("")
    pinned = plan_mod_gc(session, None, Wanted(pins=("example.com/...",)))
    assert pinned.plan.items == ()


def test_a_root_that_cannot_be_read_keeps_everything(world: World) -> None:
    session = session_of(world)
    add_roots(session, world.module)
    (world.module / "go.sum").unlink()
    found = plan_mod_gc(session, None, Wanted())
    assert (found.plan.items, found.verdict.outcome) == ((), Outcome.UNKNOWN)
    assert "go.sum is not there" in found.notes[0]
    with pytest.raises(RootUnknown):
        plan_mod_gc(session_of(world, gc__unknown="refuse"), None, Wanted())


def test_a_plan_that_roots_need_by_now_is_blocked_and_a_proof_that_fails_brings_all_back(world: World) -> None:
    session = session_of(world)
    add_roots(session, world.module)
    go_sum = (world.module / "go.sum").read_text()
    (world.module / "go.sum").write_text(
        "".join(line for line in go_sum.splitlines(keepends=True) if "Deep" not in line)
    )
    wrong = plan_mod_gc(session, None, Wanted())
    (world.module / "go.sum").write_text(go_sum)
    now = of_plan(session, wrong.plan)
    assert now.verdict.outcome is Outcome.BLOCK
    before = contents(world.cache)
    with pytest.raises(ProofFailed, match="does not find its packages"):
        clean(session, wrong.plan, lambda: [wrong.verdict], Manner(0, prover_before(session, wrong.plan, None)), None)
    assert contents(world.cache) == before


def test_everything_goes_when_that_is_asked_for(world: World) -> None:
    session = session_of(world)
    add_roots(session, world.module)
    found = plan_mod_gc(session, None, Wanted(everything=True, words=("--all",)))
    assert found.verdict.outcome is Outcome.WARN
    op = collect(session, found)
    assert not list(world.cache.rglob("*.zip"))
    assert world.go("build", "-o", os.devnull, ".").returncode != 0
    undo(session, op, None)
    works_offline(world)
