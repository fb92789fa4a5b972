"""Several processes read what one would have read."""

import os
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from go_cache_safeguard.gomod import readers as crew
from go_cache_safeguard.gomod.layout import Version
from go_cache_safeguard.gomod.read import read_copy
from go_cache_safeguard.gomod.readers import MANY, readers

VERSIONS = [Version("example.com/m", f"v1.{number}.0") for number in range(MANY)]


@pytest.fixture(scope="module")
def modcache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("modcache")
    for version in VERSIONS:
        archive = path / version.download(".zip")
        archive.parent.mkdir(parents=True, exist_ok=True)
        (path / version.tree).mkdir(parents=True)
        (path / version.tree / "a.go").write_text(f"package a // {version}")
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr(f"{version}/a.go", f"package a // {version}")
    return path


@pytest.fixture
def root(modcache: Path) -> Iterator[int]:
    fd = os.open(modcache, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def _read(root: int, versions: list[Version]) -> list[object]:
    with readers(root, len(versions)) as them:
        reading = [(them.begin(version, None), version) for version in versions]
        return [them.end(one, version, None) for one, version in reading]


@pytest.mark.parametrize("count", [MANY - 1, MANY])
def test_whoever_reads_it_is_the_same(root: int, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(crew, "_processors", lambda: 2)
    assert _read(root, VERSIONS[:count]) == [read_copy(root, version) for version in VERSIONS[:count]]


def test_no_reader_outlives_the_reading(root: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "_processors", lambda: 2)
    before = set(_children())
    _read(root, VERSIONS)
    limit = time.monotonic() + 10
    while set(_children()) - before and time.monotonic() < limit:
        time.sleep(0.01)
    assert not [pid for pid in set(_children()) - before if "resource_tracker" not in _command(pid)]


def test_a_cache_that_was_replaced_is_not_read_by_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "_processors", lambda: 2)
    (tmp_path / "mod").mkdir()
    fd = os.open(tmp_path / "mod", os.O_RDONLY | os.O_DIRECTORY)
    try:
        with readers(fd, MANY) as them:
            (tmp_path / "mod").rename(tmp_path / "away")
            (tmp_path / "mod" / VERSIONS[0].tree).mkdir(parents=True)
            assert them.end(them.begin(VERSIONS[0], None), VERSIONS[0], None) == read_copy(fd, VERSIONS[0])
    finally:
        os.close(fd)


def _children() -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return "resource_tracker"
