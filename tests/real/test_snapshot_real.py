"""Snapshots of real caches: go builds from what plain `tar` unpacked, and a snapshot made during a build is whole."""

import os
import subprocess
import threading
from pathlib import Path

import pytest

from archives import read_all
from gocaches import GoCache
from safeguard import Safeguard


@pytest.mark.real
def test_go_builds_from_a_snapshot_that_tar_unpacked_and_compiles_nothing(
    newest_cache: GoCache, tmp_path: Path
) -> None:
    guard = Safeguard(newest_cache, tmp_path / "state")
    made = guard.json("snapshot", "create", "-o", f"{tmp_path / 'w.tar.zst'}")
    assert made["skipped"] == []
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(["tar", "xf", tmp_path / "w.tar.zst"], cwd=out, check=True)
    unpacked = out / "snapshot/files"
    said = newest_cache.run("build", "-x", "-o", os.devnull, "./...", GOCACHE=f"{unpacked}")
    assert said.returncode == 0, said.stderr
    assert "/compile" not in said.stderr
    document = guard.json("snapshot", "verify", f"{tmp_path / 'w.tar.zst'}")
    assert {verdict["outcome"] for verdict in document["verdicts"]} == {"PASS"}


@pytest.mark.real
def test_a_snapshot_made_while_go_builds_everything_again_is_whole(newest_cache: GoCache, tmp_path: Path) -> None:
    guard = Safeguard(newest_cache, tmp_path / "state")
    failed: list[str] = []

    def build() -> None:
        done = newest_cache.run("build", "-a", "errors")
        if done.returncode != 0:
            failed.append(done.stderr)

    builder = threading.Thread(target=build)
    builder.start()
    archives: list[Path] = []
    while not archives or (builder.is_alive() and len(archives) < 6):
        path = tmp_path / f"{len(archives)}.tar"
        document = guard.json("snapshot", "create", "-o", f"{path}")
        assert {one["why"] for one in document["skipped"]} <= {
            "it was rewritten while it was read",
            "it was removed while the snapshot was made",
        }
        archives.append(path)
    builder.join()
    assert failed == []
    for path in archives:
        contents = read_all(path)
        entries = {name: data for name, data in contents.items() if name.endswith("-a")}
        assert entries
        assert all(len(data) == 175 for data in entries.values()), "half an index entry"
