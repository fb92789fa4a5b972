"""What archives of each toolchain say about their directory: the same module in two places, with -trimpath and without."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from go_cache_safeguard.flows.xray import projects_of
from go_cache_safeguard.gocache.disk import Level, inspect
from go_cache_safeguard.gocache.inventory import UNKNOWN, Inventory
from go_cache_safeguard.gocache.xray import Facet, duplicates, gone, group, project_of
from gocaches import EVERY, GoCache, Toolchain, at, find_toolchain
from xrays import CHECKOUT, build, write

pytestmark = pytest.mark.real


def look(root: Path) -> Inventory:
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return inspect(fd, index_path=None, level=Level.STATUS, now_ns=time.time_ns()).inventory
    finally:
        os.close(fd)


def packages(inventory: Inventory, where: Callable[[str], bool]) -> dict[str, str]:
    """From the directory, or what stands for it, to the package."""
    archives = [one.about for one in inventory.outputs.values() if one.about is not None]
    return {str(about.source): str(about.package) for about in archives if where(str(about.package))}


@pytest.fixture(params=EVERY)
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> GoCache:
    return at(tmp_path, find_toolchain(request.param))


def test_directories_projects_and_duplicates_are_right(empty: GoCache, tmp_path: Path) -> None:
    one, two = write(tmp_path / "one"), write(tmp_path / "another-checkout")
    build(empty, one)
    build(empty, two)
    inventory = look(empty.root)
    assert packages(inventory, lambda name: name.startswith("example.com/")) == {
        f"{root}{end}": name
        for root in (tmp_path / "one", tmp_path / "another-checkout")
        for end, name in (
            ("/app", "example.com/app"),
            ("/app/lib", "example.com/app/lib"),
            ("/dep", "example.com/dep"),
            ("/dep/sub", "example.com/dep/sub"),
        )
    }
    found = duplicates(inventory)
    assert {one.package for one in found} == set(packages(inventory, lambda name: "." in name).values())
    assert all(len(one.directories) == len(one.outputs) == 2 for one in found)
    projects = projects_of(inventory)
    names = {part.name for part in group(inventory, Facet.PROJECT, now_ns=time.time_ns(), projects=projects)}
    assert {name for name in names if name != UNKNOWN} == {
        f"{root}/{name}" for root in (tmp_path / "one", tmp_path / "another-checkout") for name in ("app", "dep")
    }
    shutil.rmtree(tmp_path / "another-checkout")
    lost = {part.name: part.amount.files for part in gone(inventory, projects_of(inventory))}
    assert lost == {f"{tmp_path}/another-checkout/{name}": 2 for name in ("app", "dep")}


def test_an_edited_package_is_no_duplicate_of_the_old_one(empty: GoCache, tmp_path: Path) -> None:
    one, two = write(tmp_path / "one"), write(tmp_path / "two")
    (two / "app.go").write_text(CHECKOUT["app/app.go"] + "\nfunc More() int { return dep.Small(2) }\n")
    build(empty, one)
    build(empty, two)
    assert {found.package for found in duplicates(look(empty.root))} == {
        "example.com/app/lib",
        "example.com/dep",
        "example.com/dep/sub",
    }


def test_with_trimpath_there_is_one_archive_and_no_directory(empty: GoCache, tmp_path: Path) -> None:
    build(empty, write(tmp_path / "one"), "-trimpath")
    build(empty, write(tmp_path / "two"), "-trimpath")
    inventory = look(empty.root)
    assert packages(inventory, lambda name: "." in name) == {
        "example.com/app": "example.com/app",
        "example.com/app/lib": "example.com/app/lib",
        "example.com/dep@v1.0.0": "example.com/dep",
        "example.com/dep@v1.0.0/sub": "example.com/dep/sub",
    }
    archives = [one for one in inventory.outputs.values() if one.about is not None]
    assert [one.about.directory for one in archives if one.about is not None] == [None] * 4
    assert {project_of(one) for one in archives} == {"example.com/app", "example.com/dep@v1.0.0"}
    assert duplicates(inventory) == ()


def test_programs_tests_and_the_standard_library_belong_to_somebody(
    warm_cache: Callable[[Toolchain], GoCache], toolchain: Toolchain
) -> None:
    inventory = look(warm_cache(toolchain).root)
    projects = projects_of(inventory)
    own = {"main", "app", "m", "example.com/m/lib", "example.com/m/lib_test"}
    for output in inventory.outputs.values():
        if output.about is not None:
            expected = "example.com/m" if output.about.package in own else f"std {toolchain.version}"
            assert project_of(output, projects) == expected, output.about
