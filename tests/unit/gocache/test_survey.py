"""`gocache.survey` on small trees with every wrong owner, mode, link and name."""

import os
import subprocess
from pathlib import Path

import pytest

from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.gocache.checks.permissions import PermissionFacts, judge
from go_cache_safeguard.gocache.checks.tally import Tally
from go_cache_safeguard.gocache.survey import survey

ENTRY = f"ab/ab{'0' * 62}-a"
OUTPUT = f"ab/ab{'1' * 62}-d"
PROGRAM = f"ab/ab{'2' * 62}-d"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    root = tmp_path / "go-build"
    for number in range(256):
        (root / f"{number:02x}").mkdir(parents=True)
    (root / "README").write_text("x")
    (root / "trim.txt").write_text("1")
    (root / "fuzz").mkdir()
    (root / ENTRY).write_text("x")
    (root / OUTPUT).write_text("x")
    (root / PROGRAM).mkdir()
    (root / PROGRAM / "tool").write_text("x")
    (root / PROGRAM / "tool").chmod(0o755)
    return root


def look(root: Path, uid: int | None = None) -> PermissionFacts:
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return survey(fd, root, uid=os.geteuid() if uid is None else uid)
    finally:
        os.close(fd)


def test_a_sound_cache_has_nothing_to_say(cache: Path) -> None:
    facts = look(cache)
    assert judge(facts).outcome is Outcome.PASS
    assert facts.entries == 3


def test_a_program_without_its_x_bit_is_named(cache: Path) -> None:
    (cache / PROGRAM / "tool").chmod(0o644)
    assert look(cache).dull_programs == Tally(1, (f"{PROGRAM}/tool",))


def test_the_command_that_is_advised_gives_the_x_bit_back(cache: Path) -> None:
    (cache / PROGRAM / "tool").chmod(0o644)
    (remedy,) = judge(look(cache)).remedy
    subprocess.run(remedy, shell=True, check=True)  # noqa: S602 - the remedy is meant for a shell
    assert look(cache).dull_programs == Tally()
    assert (cache / OUTPUT).stat().st_mode & 0o111 == 0


def test_an_entry_that_its_owner_may_not_read_is_named(cache: Path) -> None:
    (cache / ENTRY).chmod(0o044)
    assert look(cache).closed_entries == Tally(1, (ENTRY,))


def test_a_shard_without_permissions_is_named(cache: Path) -> None:
    (cache / "cd").chmod(0o300)
    (cache / "ef").chmod(0o500)
    facts = look(cache)
    assert "cd" in facts.closed_shards.first
    assert facts.locked_shards == Tally(1, ("ef",))
    (cache / "cd").chmod(0o700)


def test_links_are_neither_followed_nor_forgotten(cache: Path, tmp_path: Path) -> None:
    (cache / "cd").rmdir()
    (cache / "cd").symlink_to(tmp_path)
    (cache / f"ef/ef{'0' * 62}-d").symlink_to("/etc/passwd")
    (cache / "elsewhere").symlink_to("/")
    facts = look(cache)
    assert facts.linked_shards == Tally(1, ("cd",))
    assert facts.links.count == 2


def test_names_that_go_does_not_give_are_named_printable(cache: Path) -> None:
    (cache / "notes").mkdir()
    (cache / "ab/\x1b[2J").write_text("x")
    (cache / f"cd/ab{'0' * 62}-a").write_text("in the wrong shard")
    (cache / "ee").rmdir()
    (cache / "ee").write_text("a file in the place of a shard")
    assert sorted(look(cache).strange.first) == ["ab/\\x1b[2J", f"cd/ab{'0' * 62}-a", "ee"]
    assert look(cache).strange.count == 4


def test_a_directory_that_everybody_may_write_above_the_cache_is_reported(cache: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    assert look(cache).ancestors
    assert judge(look(cache)).outcome is Outcome.BLOCK


@pytest.mark.root
def test_entries_of_somebody_else_are_counted(cache: Path) -> None:
    os.chown(cache / ENTRY, 4711, 4711)
    os.chown(cache / "cd", 4711, 4711)
    facts = look(cache)
    assert facts.foreign == Tally(2, (ENTRY, "cd"))
    assert judge(facts).outcome is Outcome.WARN


@pytest.mark.root
def test_an_owner_without_a_name_is_a_number(cache: Path) -> None:
    for path in (cache, *cache.rglob("*")):
        os.chown(path, 4711, 4712, follow_symlinks=False)
    facts = look(cache, uid=4711)
    assert (facts.owner, facts.foreign) == ("4711:4712", Tally())
    assert judge(facts).outcome is Outcome.PASS


@pytest.mark.root
def test_who_is_neither_root_nor_owner_can_rename_nothing(cache: Path) -> None:
    facts = look(cache, uid=4711)
    assert facts.locked_shards.count == 257
    assert judge(facts).outcome is Outcome.BLOCK
    (cache / "ab").chmod(0o777)
    assert look(cache, uid=4711).locked_shards.count == 256


@pytest.mark.root
def test_the_kernel_is_asked_what_we_may_write(cache: Path) -> None:
    (cache / "ab").chmod(0o777)
    fd = os.open(cache, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.seteuid(4711)
        facts = survey(fd, cache, uid=4711)
    finally:
        os.seteuid(0)
        os.close(fd)
    assert facts.locked_shards.count == 256
    assert facts.ancestors == (f"{cache} cannot be examined: Permission denied",)


@pytest.mark.root
def test_a_mount_and_a_read_only_file_system_are_seen(cache: Path) -> None:
    inner, options = cache / "cd", ["mount", "--make-private"]
    subprocess.run(["mount", "-t", "tmpfs", "none", inner], check=True)
    try:
        facts = look(cache)
        assert facts.mounts == (str(inner),)
        assert judge(facts).outcome is Outcome.BLOCK
    finally:
        subprocess.run(["umount", inner], check=True)
    subprocess.run(["mount", "--bind", cache, cache], check=True)
    try:
        subprocess.run([*options, cache], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", cache], check=True)
        facts = look(cache)
        assert facts.read_only
        assert facts.locked_shards.count == 257
        assert judge(facts).outcome is Outcome.BLOCK
    finally:
        subprocess.run(["umount", cache], check=True)
