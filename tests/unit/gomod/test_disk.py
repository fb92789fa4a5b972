"""Totals of a module cache, laid out as go lays it out."""

from pathlib import Path

import pytest

from go_cache_safeguard.gomod.disk import ModuleCache, measure


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    root = tmp_path / "mod"
    versions = root / "cache" / "download" / "example.com" / "m" / "@v"
    versions.mkdir(parents=True)
    for name, size in (("v1.0.0.zip", 100), ("v1.1.0.zip", 200), ("v1.1.0.info", 5), ("list", 14)):
        (versions / name).write_bytes(b"x" * size)
    tree = root / "example.com" / "m@v1.1.0"
    tree.mkdir(parents=True)
    (tree / "data.zip").write_bytes(b"x" * 7)
    (tree / "loop").symlink_to(root)
    return root


def test_versions_are_zips_of_the_download_cache_and_links_are_not_followed(modules: Path) -> None:
    told: list[tuple[int, int]] = []
    found = measure(modules, progress=lambda files, size: told.append((files, size)))
    link = (modules / "example.com" / "m@v1.1.0" / "loop").lstat().st_size
    assert found == ModuleCache(modules, exists=True, versions=2, files=6, size=326 + link, unreadable=0)
    assert told[-1] == (found.files, found.size)


def test_an_absent_cache_is_said_to_be_absent(tmp_path: Path) -> None:
    assert measure(tmp_path / "none", progress=lambda _files, _size: None).exists is False
