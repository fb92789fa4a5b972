"""`status --by` and `report`, as somebody types them."""

import shutil
from pathlib import Path

import pytest

from gocaches import PINNED, GoCache, at, find_toolchain
from safeguard import Safeguard
from xrays import build, write


@pytest.fixture
def guard(newest_cache: GoCache, tmp_path: Path) -> Safeguard:
    return Safeguard(newest_cache, tmp_path / "state")


def test_a_cache_is_divided_as_asked(guard: Safeguard) -> None:
    value = guard.json("status", "--by", "project,kind", "--by", "flags")
    seen, version = value["xray"], guard.cache.toolchain.version
    assert list(seen["by"]) == ["project", "kind", "flags"]
    outputs = value["summary"]["outputs"]
    for parts in seen["by"].values():
        assert sum(part["files"] for part in parts) == outputs["files"]
        assert sum(part["bytes"] for part in parts) == outputs["bytes"]
    assert {part["name"] for part in seen["by"]["project"]} == {f"std {version}", "unknown", "example.com/m"}
    assert seen["dead_toolchains"] == []
    assert seen["tests"]["results"] == 1
    assert seen["duplicates"]["packages"] == 0
    assert [point["files"] for point in seen["growth"]["points"]] == [value["fsck"]["files"]]
    done = guard.run("status", "--by", "package", "--top", "2")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[2].split() == ["package", "outputs", "size"]
    assert lines[5].split()[1] == "others"


def test_the_page_of_status_tells_what_tests_left(guard: Safeguard) -> None:
    done = guard.run("status")
    assert done.returncode == 0, done.stderr
    assert "results with logs" in done.stdout
    assert "named by no entry" in done.stdout


def test_a_side_that_does_not_exist_is_a_usage_failure(guard: Safeguard) -> None:
    done = guard.run("status", "--by", "kind,colour")
    assert done.returncode == 2
    assert "'colour'" in done.stderr
    assert "toolchain, target" in done.stderr


def test_a_report_is_one_file_and_never_replaces_one(guard: Safeguard, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    value = guard.json("report", "--no-graph", "--html", str(page))
    assert value["html"] == str(page)
    assert value["bytes"] == page.stat().st_size
    before = page.read_bytes()
    again = guard.run("report", "--no-graph", "--html", str(page))
    assert again.returncode == 2
    assert "never overwritten" in again.stderr
    assert page.read_bytes() == before
    assert guard.run("report", "--no-graph", "--html", "/nowhere/report.html").returncode == 2
    printed = guard.run("report", "--no-graph", "--html", "-")
    assert printed.stdout.startswith("<!doctype html>")


def test_what_only_directories_make_twice_is_told_and_what_is_gone(tmp_path: Path) -> None:
    cache = at(tmp_path, find_toolchain(PINNED[-1]))
    guard = Safeguard(cache, tmp_path / "state")
    for name in ("here", "there"):
        build(cache, write(tmp_path / name))
    shutil.rmtree(tmp_path / "there")
    done = guard.run("status", "--top", "3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "compiled in several directories" in done.stdout
    assert "4 packages lie here 8 times" in done.stdout
    assert "-trimpath also changes the paths in panics" in done.stdout
    assert "made of a directory that is gone" in done.stdout
    assert f"{tmp_path}/there/app (gone)" in guard.run("status", "--by", "project", cwd=tmp_path).stdout
