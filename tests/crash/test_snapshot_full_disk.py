"""A disk that is full before, or becomes full at any page while a snapshot is written: a typed failure, and nothing is left."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from crash.test_full_disk import PAGE, fill, tmpfs
from go_cache_safeguard.config.files import load_config
from go_cache_safeguard.core.errors import Failure
from go_cache_safeguard.flows import snapshot
from go_cache_safeguard.flows.ci_pack import pack
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.snapshot.manifest import Kind
from smallcaches import small_cache


def _session(base: Path) -> Session:
    environ = {"GO_CACHE_SAFEGUARD_STATE_DIR": f"{base / 'state'}", "PATH": "/usr/bin:/bin"}
    return Session(load_config(environ=environ, cwd=base, home=base, arguments={}), environ, base)


def _create_or_failure(
    base: Path, subject: snapshot.Subject, path: Path, *, compress: bool, key: Path
) -> snapshot.Created | Failure:
    try:
        return snapshot.create(_session(base), subject, path, compress=compress, key=key)
    except Failure as failure:
        return failure


def _try(base: Path, disk: Path, *, compress: bool) -> str | None:
    """Make a snapshot; why it failed, or None."""
    key = base / "key"
    if not key.exists():
        snapshot.make_key_files(key)
    before = sorted(disk.iterdir())
    subject = snapshot.Subject(Kind.BUILD, base / "cache")
    made = _create_or_failure(base, subject, disk / "w.tar", compress=compress, key=key)
    if isinstance(made, Failure):
        assert made.id == "snapshot-not-written", made
        assert made.not_done
        assert sorted(disk.iterdir()) == before, "something was left"
        return made.what
    checked = snapshot.verify(_session(base), made.path, key=key.with_name("key.pub"))
    assert {verdict.outcome for verdict in checked.verdicts} == {"PASS"}
    return None


def parcels(base: Path, cache: Path, disk: Path) -> None:
    """A parcel, which is a directory, is there as a whole or not at all, too."""
    outcomes = set()
    for leave in (0, 1, 3, 140):
        ballast = fill(disk, leave=leave)
        try:
            pack(_session(base), cache, disk / "parcel", project=base)
        except snapshot.SnapshotNotWritten:
            assert list(disk.iterdir()) == [ballast], "something was left"
            outcomes.add("full")
        else:
            outcomes.add("packed")
            shutil.rmtree(disk / "parcel")
        ballast.unlink()
    assert outcomes == {"full", "packed"}


def disks(base: Path) -> None:
    cache = small_cache(base / "cache", shards=4, pairs=4)
    for number in range(8):
        (cache.root / f"00/00{number:062x}-d").write_bytes(os.urandom(20_000))
    disk = tmpfs(base / "disk", f"size={160 * PAGE}")
    said = set()
    for leave in range(0, 140, 3):
        for compress in (False, True):
            ballast = fill(disk, leave=leave)
            said.add((_try(base, disk, compress=compress) or "done").partition(" ")[2][:12])
            for path in (ballast, *disk.glob("w.tar*")):
                path.unlink(missing_ok=True)
    assert len(said) >= 3, said  # too small before, full in the middle, and done
    parcels(base, cache.root, disk)
    few = tmpfs(base / "few", "nr_inodes=4,size=1m")
    for name in ("a", "b"):
        (few / name).touch()
    assert "no room for another file" in (_try(base, few, compress=False) or "")


@pytest.mark.crash
@pytest.mark.root
def test_a_disk_that_is_full_at_any_page_keeps_nothing_of_a_snapshot(tmp_path: Path) -> None:
    program = "import sys; from pathlib import Path; from crash import test_snapshot_full_disk as t; t.disks(Path(sys.argv[1]))"
    done = subprocess.run(
        ["unshare", "--mount", sys.executable, "-c", program, tmp_path],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
