"""`trace` around a real go: every lookup is seen, and the command is none the wiser."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gocaches import EVERY, GoCache, Toolchain, copy_cache, find_toolchain
from safeguard import Safeguard, files_of

pytestmark = pytest.mark.real

LIB = 'package lib\n\n// Hello greets.\nfunc Hello() string { return "howdy" }\n'
KINDS = {"archive", "empty", "index", "source-list", "vet-facts", "test-log", "test-output"}


@pytest.fixture(params=EVERY, scope="module")
def release(request: pytest.FixtureRequest) -> Toolchain:
    """The oldest, which has no protocol, the first that has, and the newest."""
    return find_toolchain(request.param)


@pytest.fixture
def guard(tmp_path: Path, release: Toolchain, warm_cache: Callable[[Toolchain], GoCache]) -> Safeguard:
    """The command with a private copy of a warm cache."""
    return Safeguard(copy_cache(warm_cache(release), tmp_path), tmp_path / "state")


def traced(guard: Safeguard, *command: str, options: tuple[str, ...] = ()) -> dict[str, Any]:
    done = guard.run("trace", "--json", *options, "--", *command)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])
    assert document["schema"] == "go-cache-safeguard/trace/1"
    return document


def of_package(document: dict[str, Any], package: str, kind: str) -> list[dict[str, Any]]:
    return [one for one in document["lookups"] if one["package"] == package and one["kind"] == kind]


def test_a_warm_build_is_all_hits_and_an_edit_is_a_miss_of_its_package(guard: Safeguard) -> None:
    warm = traced(guard, "go", "build", "./...")
    missed = {one["kind"] for one in warm["lookups"] if not one["hit"]}
    # The module lies elsewhere now, so its indexes are new; and programs are looked up though they are never stored.
    assert missed <= {"index", "empty", None}
    assert warm["total"]["hits"] > 50
    assert {one["name"] for one in warm["kinds"]} <= KINDS | {None, ""}
    (lib,) = of_package(warm, "example.com/m/lib", "archive")
    assert lib["hit"]
    assert warm["toolchain"] == guard.cache.toolchain.version
    assert warm["way"] == ("GOCACHEPROG" if guard.cache.toolchain.release >= 24 else "gocachehash")
    (guard.cache.module / "lib/lib.go").write_text(LIB)
    before = set(files_of(guard.cache.root))
    keys = (
        ("--keys",) if guard.cache.toolchain.release == 27 else ()
    )  # the way of old releases works with new ones, too
    edited = traced(guard, "go", "build", "./...", options=("--graph", *keys))
    (lib,) = of_package(edited, "example.com/m/lib", "archive")
    assert (lib["hit"], lib["put"]) == (False, True)
    new = set(files_of(guard.cache.root)) - before
    assert f"{lib['action'][:2]}/{lib['action']}-a" in new, "it is where go alone would have put it"
    assert f"{lib['output'][:2]}/{lib['output']}-d" in new
    assert "/compile -o" not in guard.cache.run("build", "-n", "./...").stderr


def test_what_a_command_prints_and_how_it_ends_stays_its_own(guard: Safeguard) -> None:
    plain = guard.cache.run("vet", "./nowhere")
    done = guard.run("trace", "-q", "--", "go", "vet", "./nowhere")
    assert (done.returncode, done.stdout, done.stderr) == (plain.returncode, plain.stdout, plain.stderr)
    listed = guard.run("trace", "--", "go", "list", "-deps", "./...")
    assert listed.stdout == guard.cache.go("list", "-deps", "./...")
    assert "lookups" in listed.stderr
    killed = guard.run("trace", "-q", "--", "sh", "-c", "kill -9 $$")
    assert killed.returncode == 137


def test_the_list_of_used_entries_suffices_for_the_same_build_elsewhere(guard: Safeguard, tmp_path: Path) -> None:
    used, lines = tmp_path / "used", tmp_path / "lookups"
    done = guard.run("trace", "--used", str(used), "--jsonl", str(lines), "--", "go", "build", "./...")
    assert done.returncode == 0
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    subprocess.run(["tar", "-C", guard.cache.root, "-cf", tmp_path / "tar", "-T", used], check=True)
    subprocess.run(["tar", "-C", elsewhere, "-xf", tmp_path / "tar"], check=True)
    assert "/compile -o" not in guard.cache.run("build", "-n", "./...", GOCACHE=str(elsewhere)).stderr
    assert len([json.loads(line) for line in lines.read_text().splitlines()]) > 50
    again = guard.run("trace", "--used", str(used), "--", "go", "version")
    assert again.returncode == 2
    assert "is there already" in again.stderr


def test_another_program_in_the_place_of_the_cache_is_not_pushed_aside(guard: Safeguard) -> None:
    other = Safeguard(guard.cache, guard.state, {"GOCACHEPROG": "/some/program"})
    done = other.run("trace", "--", "go", "build", "./...")
    assert done.returncode == 2
    assert "GOCACHEPROG is '/some/program'" in done.stderr
    assert "nothing was run" in done.stderr
