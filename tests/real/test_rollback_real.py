"""`rollback` tells a poisoned build cache, a tampered module cache and a broken source apart, with real builds.

The packages import nothing, so a build from nothing costs little; what tells the cases apart does not depend on their size.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from gocaches import PINNED, GoCache, Toolchain, copy_cache, find_toolchain
from modcaches import DEP, edit_tree, make_world
from safeguard import Safeguard, files_of

pytestmark = pytest.mark.real
FREE = {"GO_CACHE_SAFEGUARD_POLICY_HOLD_SHARE": "100%"}
QUICK = ("--checks", "permissions", "--wait", "0s")
LIB = "./lib"


@pytest.fixture(params=PINNED)
def guard(request: pytest.FixtureRequest, tmp_path: Path, warm_cache: Callable[[Toolchain], GoCache]) -> Safeguard:
    """The command line with a private copy of the cache of the oldest and of the newest toolchain."""
    return Safeguard(copy_cache(warm_cache(find_toolchain(request.param)), tmp_path), tmp_path / "state", dict(FREE))


def poison(cache: GoCache) -> Path:
    """Change one letter of a string in an archive: go builds with it and says nothing."""
    output = cache.output_of("example.com/m/lib")
    data = output.read_bytes()
    assert b"hello" in data
    output.write_bytes(data.replace(b"hello", b"jello"))
    return output


def test_a_sound_cache_is_not_blamed(guard: Safeguard) -> None:
    found = guard.json("rollback", LIB)
    assert (found["case"], found["packages"]) == ("nothing", [])


def test_a_poisoned_cache_is_told_and_a_snapshot_replaces_it(guard: Safeguard, tmp_path: Path) -> None:
    cache = guard.cache
    guard.json("snapshot", "create", "-o", f"{tmp_path / 's.tar'}")
    good = files_of(cache.root)
    output = poison(cache)
    bad = output.read_bytes()
    found = guard.json("rollback", LIB, code=10)
    assert (found["case"], found["packages"]) == ("build-cache", ["example.com/m/lib"])
    assert any("does not have the hash" in line for line in found["verdict"]["evidence"])
    assert output.read_bytes() == bad, "it only looks"
    assert files_of(cache.root).keys() >= good.keys()
    done = guard.json("rollback", LIB, "--restore", f"{tmp_path / 's.tar'}", *QUICK)
    assert done["case"] == "build-cache"
    assert done["clean"]["state"] == "DONE"
    assert done["restore"]["written"] > 100
    assert output.read_bytes() == good[str(output.relative_to(cache.root))]


def test_a_poisoned_cache_is_rebuilt(tmp_path: Path, warm_cache: Callable[[Toolchain], GoCache]) -> None:
    cache = copy_cache(warm_cache(find_toolchain(PINNED[0])), tmp_path)
    guard = Safeguard(cache, tmp_path / "state", dict(FREE))
    output = poison(cache)
    done = guard.json("rollback", LIB, "--rebuild", *QUICK)
    assert done["clean"]["state"] == "DONE"
    assert done["clean"]["moved"] > 100
    assert b"hello" in output.read_bytes()


def test_policy_holds_a_rollback_as_it_holds_a_clean(
    tmp_path: Path, warm_cache: Callable[[Toolchain], GoCache]
) -> None:
    cache = copy_cache(warm_cache(find_toolchain(PINNED[-1])), tmp_path)
    guard = Safeguard(cache, tmp_path / "state")
    poison(cache)
    before = files_of(cache.root)
    held = guard.run("rollback", LIB, "--rebuild", *QUICK)
    assert held.returncode == 11
    assert "more than 50% is held" in held.stderr
    assert files_of(cache.root).keys() >= before.keys()


def test_a_broken_source_is_no_reason_to_touch_a_cache(guard: Safeguard) -> None:
    (guard.cache.module / "lib" / "lib.go").write_text("package lib\n\nfunc Hello() string { return 1 }\n")
    before = files_of(guard.cache.root)
    found = guard.json("rollback", LIB, "--rebuild", *QUICK, code=10)
    assert found["case"] == "source"
    assert any("lib.go:3" in line for line in found["verdict"]["evidence"])
    assert files_of(guard.cache.root).keys() >= before.keys()
    assert not (guard.state / "journal.sqlite").exists(), "nothing was even asked for"
    assert "no cache is to blame" in guard.run("rollback", LIB).stdout


def test_a_tampered_module_is_told_and_no_build_cache_is_blamed(tmp_path: Path) -> None:
    for version in PINNED:
        (tmp_path / version).mkdir()
        world = make_world(tmp_path / version, find_toolchain(version))
        guard = Safeguard(
            GoCache(world.root / "cache", world.module, world.toolchain, world.environ), world.root / "state"
        )
        sub = f"{DEP.path}/sub"  # it imports nothing
        assert world.go("build", sub).returncode == 0
        sums = (world.module / "go.sum").read_bytes()
        edit_tree(world)
        found = guard.json("rollback", sub, code=10)
        assert found["case"] == "module-cache"
        assert any(str(DEP) in line for line in found["verdict"]["evidence"])
        assert any("from the mirror: exit code 0" in line for line in found["verdict"]["evidence"])
        assert (world.module / "go.sum").read_bytes() == sums
