"""Caches that real go commands made, snapshotted, emptied, restored: go finds every entry again, also when its trim is due."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gocaches import PINNED, GoCache, Toolchain, copy_cache, find_toolchain
from modcaches import DEEP, DEP, World, make_world
from safeguard import Safeguard, files_of
from sources import DAY_NS

pytestmark = pytest.mark.real


@pytest.fixture(params=PINNED)
def guard(request: pytest.FixtureRequest, tmp_path: Path, warm_cache: Callable[[Toolchain], GoCache]) -> Safeguard:
    """The command line with a private copy of the cache of the oldest and of the newest toolchain."""
    return Safeguard(copy_cache(warm_cache(find_toolchain(request.param)), tmp_path), tmp_path / "state")


def compiled(cache: GoCache, *command: str) -> list[str]:
    """Packages for which a tool ran; linking is not cached."""
    graph = cache.module.parent / "graph.json"
    cache.go(*command, f"-debug-actiongraph={graph}", "./...")
    actions = json.loads(graph.read_text())
    return [action["Package"] for action in actions if action.get("Cmd") and action["Mode"] == "build"]


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def guard_of(world: World) -> Safeguard:
    return Safeguard(GoCache(world.root / "cache", world.module, world.toolchain, world.environ), world.root / "state")


def lost_of(before: dict[str, bytes], cache: GoCache) -> list[str]:
    """What is not there any more, or not the same; go itself writes index entries again with a new time."""
    after = files_of(cache.root)
    return [name for name in before if name not in after or (name.endswith("-d") and after[name] != before[name])]


def empty(cache: GoCache) -> None:
    shutil.rmtree(cache.root)


def aged(cache: GoCache, days: int) -> None:
    """Everything was last used so long ago, and go's trim is due."""
    then = time.time_ns() - days * DAY_NS
    for path in cache.root.rglob("*"):
        os.utime(path, ns=(then, then))
    (cache.root / "trim.txt").write_text(f"{then // 10**9}")


def test_after_a_restore_go_compiles_nothing_and_trims_nothing(guard: Safeguard, tmp_path: Path) -> None:
    cache = guard.cache
    archive = tmp_path / "s.tar.zst"
    aged(cache, 30)
    before = files_of(cache.root)
    guard.json("snapshot", "create", "-o", f"{archive}")
    empty(cache)
    done = guard.json("snapshot", "restore", f"{archive}", "--proof", "none")
    assert done["written"] == done["write"] > 100
    assert done["refuse"] == done["failed_files"] == 0
    assert files_of(cache.root) == before
    assert compiled(cache, "build") == []
    assert cache.go("test", "./...").count("(cached)") == 1
    # The next day the trim is due again; what was restored counts as used.
    (cache.root / "trim.txt").write_text(f"{int(time.time()) - 2 * 86_400}")
    (cache.module / "main.go").write_text((cache.module / "main.go").read_text() + "\n// changed\n")
    cache.go("build", "./...")
    assert int((cache.root / "trim.txt").read_text()) > time.time() - 3600, "go did not trim, so this shows nothing"
    assert lost_of(before, cache) == []


def test_without_a_restore_the_same_trim_eats_everything(guard: Safeguard) -> None:
    """What the test above would see if times were kept: go's trim really is that hungry."""
    cache = guard.cache
    aged(cache, 30)
    before = files_of(cache.root)
    (cache.module / "main.go").write_text("package main\n\nfunc main() {}\n")
    cache.go("build", ".")
    assert len(files_of(cache.root)) < len(before) / 2


def test_a_restore_into_a_cache_in_use_proves_itself_and_changes_nothing_that_lives(
    guard: Safeguard, tmp_path: Path
) -> None:
    cache = guard.cache
    guard.json("snapshot", "create", "-o", f"{tmp_path / 's.tar'}")
    before = files_of(cache.root)
    lost = sorted(before)[::3]
    for name in lost:
        path = cache.root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    said = guard.json("snapshot", "restore", f"{tmp_path / 's.tar'}", "--dry-run")
    assert said["write"] == len(lost)
    done = guard.json("snapshot", "restore", f"{tmp_path / 's.tar'}")
    assert done["written"] == len(lost)
    assert any("builds again from the cache" in line for line in done["proof"])
    assert lost_of(before, cache) == []
    again = guard.run("snapshot", "restore", f"{tmp_path / 's.tar'}", "--proof", "none")
    assert "0 files, 0 B were written" in again.stdout


def test_restoring_while_go_builds_harms_neither(newest_cache: GoCache, tmp_path: Path) -> None:
    cache = newest_cache
    guard = Safeguard(cache, tmp_path / "state")
    guard.json("snapshot", "create", "-o", f"{tmp_path / 's.tar'}")
    before = files_of(cache.root)
    empty(cache)
    build = subprocess.Popen(
        [cache.toolchain.go, "build", "strconv"],
        cwd=cache.module,
        env=cache.environ,
        stderr=subprocess.PIPE,
    )
    done = guard.json("snapshot", "restore", f"{tmp_path / 's.tar'}", "--proof", "none")
    _, said = build.communicate(timeout=300)
    assert build.returncode == 0, said
    assert done["written"] + done["newer"] + done["skip"] + done["keep"] == len(before) + 1
    assert compiled(cache, "build") == []
    assert guard.run("fsck", "--all").returncode == 0


def test_a_snapshot_in_the_repository_is_restored_by_its_name(newest_cache: GoCache, tmp_path: Path) -> None:
    guard = Safeguard(newest_cache, tmp_path / "state")
    before = files_of(newest_cache.root)
    guard.json("snapshot", "create")
    empty(newest_cache)
    guard.json("snapshot", "restore", "latest", "--proof", "none")
    assert files_of(newest_cache.root) == before


def test_an_unsigned_snapshot_is_refused_when_signatures_are_demanded(newest_cache: GoCache, tmp_path: Path) -> None:
    guard = Safeguard(newest_cache, tmp_path / "state")
    key = tmp_path / "key"
    assert guard.run("snapshot", "keygen", "-o", f"{key}").returncode == 0
    guard.json("snapshot", "create", "-o", f"{tmp_path / 'plain.tar'}")
    guard.json("snapshot", "create", "-o", f"{tmp_path / 'signed.tar'}", "--sign", f"{key}")
    guard.settings["GO_CACHE_SAFEGUARD_SNAPSHOT_KEY"] = f"{key}.pub"
    refused = guard.run("snapshot", "restore", f"{tmp_path / 'plain.tar'}", "--proof", "none")
    assert refused.returncode == 10
    assert "not signed" in refused.stderr
    guard.json("snapshot", "restore", f"{tmp_path / 'signed.tar'}", "--proof", "none")


def test_a_module_cache_comes_back_and_go_verifies_it_again(tmp_path: Path) -> None:
    for version in PINNED:
        world = make_world(made(tmp_path / version), find_toolchain(version))
        guard = guard_of(world)
        archive = world.root / "m.tar"
        guard.json("snapshot", "create", "-o", f"{archive}", "--modules")
        subprocess.run(["chmod", "-R", "u+w", world.cache], check=True)
        shutil.rmtree(world.cache)
        done = guard.json("snapshot", "restore", f"{archive}")
        assert done["failed_files"] == done["refuse"] == 0
        assert not (world.cache / DEP.tree).exists()
        built = world.go("list", "-deps", ".")  # loads every package, so extracts and verifies every module
        assert built.returncode == 0, built.stderr
        assert world.go("mod", "verify").stdout.strip() == "all modules verified"
        assert (world.cache / DEP.tree).is_dir()
        assert (world.cache / DEP.download(".ziphash")).is_file()


def test_a_zip_that_was_changed_in_the_snapshot_is_caught_by_go(tmp_path: Path) -> None:
    """The reason why neither trees nor `.ziphash` files are restored."""
    for version in PINNED:
        world = make_world(made(tmp_path / version), find_toolchain(version))
        guard = guard_of(world)
        evil = world.root / "evil"
        shutil.copytree(world.cache, evil, symlinks=True)
        subprocess.run(["chmod", "-R", "u+w", evil, world.cache], check=True)
        tampered = evil / DEP.download(".zip")
        shutil.copy(evil / DEEP.download(".zip"), tampered)
        archive = world.root / "m.tar"
        guard.json("snapshot", "create", "-o", f"{archive}", "--modcache", f"{evil}")
        shutil.rmtree(world.cache)
        guard.json("snapshot", "restore", f"{archive}")
        built = world.go("list", "-deps", ".")  # loads every package, so extracts and verifies every module
        assert built.returncode != 0
        assert "checksum mismatch" in built.stderr
