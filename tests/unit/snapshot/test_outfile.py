"""A file is complete or absent, and nobody else's file is touched."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from go_cache_safeguard.core.errors import UsageFailure
from go_cache_safeguard.snapshot.outfile import BeingWritten, complete_or_absent, filled_or_absent


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write(path: Path, data: bytes = b"data") -> None:
    with complete_or_absent(path) as out:
        os.write(out.fd, data)
        out.beside(".sha256", b"sum")


def test_it_has_its_name_and_the_users_mode_when_it_is_complete(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with complete_or_absent(tmp_path / "a.tar") as out:
            os.write(out.fd, b"data")
            assert (tmp_path / "a.tar.partial").stat().st_mode & 0o777 == 0o600
            assert names(tmp_path) == ["a.tar.partial"]
            out.beside(".sha256", b"sum")
    finally:
        os.umask(before)
    assert names(tmp_path) == ["a.tar", "a.tar.sha256"]
    assert (tmp_path / "a.tar").read_bytes() == b"data"
    assert (tmp_path / "a.tar").stat().st_mode & 0o777 == 0o640


def test_nothing_is_left_when_it_cannot_be_completed(tmp_path: Path) -> None:
    def fail() -> None:
        with complete_or_absent(tmp_path / "a.tar") as out:
            out.beside(".sha256", b"sum")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert names(tmp_path) == []


@pytest.mark.parametrize("there", ["a.tar", "a.tar.sha256", "a.tar.manifest.sig", "a.tar.partial"])
def test_a_file_that_is_there_is_never_touched(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("somebody's work")
    with pytest.raises(UsageFailure, match=f"{there} exists"):
        write(tmp_path / "a.tar")
    assert names(tmp_path) == [there]
    assert (tmp_path / there).read_text() == "somebody's work"


def test_a_file_that_somebody_makes_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    def race() -> None:
        with complete_or_absent(tmp_path / "a.tar") as out:
            os.write(out.fd, b"ours")
            (tmp_path / "a.tar").write_text("theirs")
            out.beside(".sha256", b"sum")

    with pytest.raises(UsageFailure, match=r"a\.tar exists"):
        race()
    assert names(tmp_path) == ["a.tar"]
    assert (tmp_path / "a.tar").read_text() == "theirs"


@pytest.mark.parametrize("left", [b"", b"snapshot/files/x", b"././@PaxHeader", b"\x28\xb5\x2f\xfd"])
def test_what_a_dead_process_left_is_taken_over(tmp_path: Path, left: bytes) -> None:
    (tmp_path / "a.tar.partial").write_bytes(left + b"longer than what comes now")
    if not left:
        (tmp_path / "a.tar.partial").write_bytes(b"")
    (tmp_path / "a.tar.sha256").write_text("an older and longer list")
    (tmp_path / "a.tar.manifest.sig").write_text("of something that is not here any more")
    write(tmp_path / "a.tar")
    assert names(tmp_path) == ["a.tar", "a.tar.sha256"]
    assert (tmp_path / "a.tar").read_bytes() == b"data"
    assert (tmp_path / "a.tar.sha256").read_bytes() == b"sum"


def test_what_a_living_process_writes_is_not_taken_over(tmp_path: Path) -> None:
    with (tmp_path / "a.tar.partial").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(BeingWritten):
            write(tmp_path / "a.tar")
    assert names(tmp_path) == ["a.tar.partial"]


@pytest.mark.parametrize(
    "plant",
    [
        lambda path: path.symlink_to("/etc/passwd"),
        os.mkfifo,
        lambda path: os.link(_victim(path), path),
    ],
)
def test_a_planted_partial_leads_nowhere(tmp_path: Path, plant: Callable[[Path], None]) -> None:
    plant(tmp_path / "a.tar.partial")
    with pytest.raises((UsageFailure, OSError)):
        write(tmp_path / "a.tar")
    victim = tmp_path / "victim"
    assert not victim.exists() or victim.read_bytes() == b"snapshot/"


def _victim(path: Path) -> Path:
    victim = path.with_name("victim")
    victim.write_bytes(b"snapshot/")
    return victim


@pytest.mark.parametrize("name", ["a\nb", "a\\b", "\x1b"])
def test_a_name_that_a_list_of_checksums_cannot_hold_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageFailure):
        write(tmp_path / name)
    assert names(tmp_path) == []


def test_a_directory_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageFailure, match="cannot be entered"):
        write(tmp_path / "no" / "a.tar")


@pytest.mark.parametrize("other", ["", "complete"])
def test_a_directory_that_cannot_be_filled_goes_unless_something_else_is_in_it(tmp_path: Path, other: str) -> None:
    def fail() -> None:
        with filled_or_absent(tmp_path / "new") as folder:
            folder.write("a", b"data")
            if other:
                (folder.path / other).write_bytes(b"somebody's")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == (
        ["new", "new/a", "new/complete"] if other else []
    )


def test_a_directory_that_is_there_or_has_no_place_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none" / "new"):
        with pytest.raises(UsageFailure, match="cannot be made"), filled_or_absent(path):
            raise AssertionError
    with filled_or_absent(tmp_path / "new") as folder:
        folder.write("a", b"data")
    assert (tmp_path / "new" / "a").read_bytes() == b"data"
