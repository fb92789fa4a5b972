"""From one CI job to the next: what was used, with times that count."""

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gocaches import EVERY, GoCache, Toolchain, copy_cache, find_toolchain
from safeguard import Safeguard, files_of

TEST = """package lib

import "os"
import "testing"

func TestData(t *testing.T) {
	if _, err := os.ReadFile("testdata/a.txt"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.ReadDir("testdata"); err != nil {
		t.Fatal(err)
	}
}
"""


def _check_out(module: Path) -> None:
    """Give every file the time of now, as a checkout does."""
    now = time.time_ns() - 10 * 10**9  # go stores no result of a test that read what is younger than two seconds
    for folder, folders, names in os.walk(module):
        for name in (*folders, *names):
            os.utime(Path(folder) / name, ns=(now, now))


@pytest.fixture(params=EVERY)
def job(request: pytest.FixtureRequest, tmp_path: Path, warm_cache: Callable[[Toolchain], GoCache]) -> Safeguard:
    cache = copy_cache(warm_cache(find_toolchain(request.param)), tmp_path)
    (cache.module / "lib" / "data_test.go").write_text(TEST)
    (cache.module / "lib" / "testdata").mkdir()
    (cache.module / "lib" / "testdata" / "a.txt").write_text("content")
    _check_out(cache.module)
    return Safeguard(cache, tmp_path / "state")


@pytest.mark.real
def test_the_next_job_hits_everything_and_packs_only_what_it_used(job: Safeguard, tmp_path: Path) -> None:
    first = job.cache
    first.go("test", "./lib")
    assert "(cached)" in first.go("test", "./lib")
    key = tmp_path / "ci.key"
    assert job.run("snapshot", "keygen", "-o", str(key)).returncode == 0
    one = job.json("ci", "pack", "-o", str(tmp_path / "one"), "--sign", str(key))
    assert one["how"].startswith("all of it")
    assert one["times"] >= 2
    _check_out(first.module)
    assert "(cached)" not in first.go("test", "./lib")  # what a checkout alone does

    next_job = Safeguard(replace(first, root=tmp_path / "next", environ=first.environ | {"GOCACHE": f"{tmp_path}/next"}), tmp_path / "state2")  # fmt: skip
    _check_out(first.module)
    public = f"{key}.pub"
    done = next_job.json("ci", "unpack", str(tmp_path / "one"), "--key", public)
    assert done["times"] == one["times"]
    again = next_job.json("ci", "unpack", str(tmp_path / "one"), "--key", public)
    assert again["written"] == 0
    assert "(cached)" in next_job.cache.go("test", "./lib")
    traced = next_job.cache.run("build", "-x", "-o", os.devnull, ".")
    assert "/compile" not in traced.stderr

    two = next_job.json("ci", "pack", "-o", str(tmp_path / "two"))
    assert two["how"].startswith("what go marked")
    assert two["bytes"] < one["bytes"]
    third = replace(first, root=tmp_path / "third", environ=first.environ | {"GOCACHE": f"{tmp_path}/third"})
    assert Safeguard(third, tmp_path / "state3").run("ci", "unpack", str(tmp_path / "two")).returncode == 0
    assert "(cached)" in third.go("test", "./lib")
    assert "/compile" not in third.run("build", "-x", "-o", os.devnull, ".").stderr


@pytest.mark.real
def test_a_file_with_another_content_keeps_its_own_time(job: Safeguard, tmp_path: Path) -> None:
    job.cache.go("test", "./lib")
    assert job.run("ci", "pack", "-o", str(tmp_path / "one"), "--command", "test ./lib").returncode == 0
    data = job.cache.module / "lib" / "testdata" / "a.txt"
    data.write_text("CONTENT")  # of the same size
    _check_out(job.cache.module)
    before = data.stat().st_mtime_ns
    told = job.json("ci", "unpack", str(tmp_path / "one"))
    assert told["other_files"] >= 1
    assert data.stat().st_mtime_ns == before
    assert "(cached)" not in job.cache.go("test", "./lib")


def test_nothing_is_taken_from_a_parcel_that_was_changed(tmp_path: Path, newest_cache: GoCache) -> None:
    job = Safeguard(newest_cache, tmp_path / "state")
    key = tmp_path / "ci.key"
    assert job.run("snapshot", "keygen", "-o", str(key)).returncode == 0
    parcel = tmp_path / "parcel"
    assert job.run("ci", "pack", "-o", str(parcel), "--sign", str(key)).returncode == 0
    assert job.run("ci", "pack", "-o", str(parcel)).returncode == 2  # never over one that is there
    shutil.rmtree(newest_cache.root)
    times = parcel / "times.json"
    times.write_bytes(times.read_bytes() + b" ")
    assert job.run("ci", "unpack", str(parcel), "--key", f"{key}.pub").returncode == 10
    assert job.run("ci", "unpack", str(tmp_path)).returncode == 36
    assert not newest_cache.root.exists() or not files_of(newest_cache.root)
