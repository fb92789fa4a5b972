"""Damage of every kind in real caches of real toolchains: found, named, and never where there is none."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.gocache.classify import Kind
from go_cache_safeguard.gocache.damage import Effect, Finding, Wrong
from go_cache_safeguard.gocache.disk import Inspection, Level, identify_at, inspect, named_outputs
from go_cache_safeguard.gocache.entry import Entry
from go_cache_safeguard.gocache.inventory import Shape
from go_cache_safeguard.gocache.layout import IsCache
from gocaches import PINNED, SMALL_MAIN, GoCache, Toolchain, at, write_module

pytestmark = pytest.mark.real
LIB = "example.com/m/lib"
HOUR_NS = 3_600_000_000_000


def look(root: Path, level: Level = Level.ALL, index: Path | None = None, sample: float = 0.0) -> Inspection:
    """Look an hour from now, so that nothing is too young to be judged or remembered."""
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return inspect(fd, index_path=index, level=level, sample=sample, now_ns=time.time_ns() + HOUR_NS)
    finally:
        os.close(fd)


def damage(inspection: Inspection) -> list[Finding]:
    return [finding for finding in inspection.findings if finding.severity is not Outcome.PASS]


def only(inspection: Inspection) -> Finding:
    found = damage(inspection)
    assert len(found) == 1, found
    return found[0]


def name_of(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def flip(path: Path, at_byte: int) -> None:
    """Change one bit; size and mtime stay."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(at_byte)
        old = file.read(1)[0]
        file.seek(at_byte)
        file.write(bytes([old ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def is_lib(finding: Finding, cache: GoCache) -> bool:
    about = (finding.package, finding.toolchain, finding.target)
    host = cache.go("env", "GOHOSTOS", "GOHOSTARCH").split()
    return about == (LIB, cache.toolchain.version, "/".join(host))


def test_a_healthy_cache_has_no_findings(toolchain: Toolchain, warm_cache: Callable[[Toolchain], GoCache]) -> None:
    found = look(warm_cache(toolchain).root)
    assert found.findings == ()
    assert found.hashed_files == len(found.inventory.outputs)
    assert found.unhashed_files == found.trusted_files == 0
    assert found.inventory.foreign == ()
    assert Kind.OTHER not in {output.kind for output in found.inventory.outputs.values()}


def test_every_entry_that_go_wrote_is_read_in_full(
    toolchain: Toolchain, warm_cache: Callable[[Toolchain], GoCache]
) -> None:
    inventory = look(warm_cache(toolchain).root, Level.STATUS).inventory
    assert len(inventory.actions) > 100
    for action in inventory.actions.values():
        assert isinstance(action.entry, Entry)
        assert inventory.outputs[action.entry.output].size == action.entry.size


def test_the_directory_is_recognised_and_anything_else_is_not(fresh_cache: GoCache, tmp_path: Path) -> None:
    def asked(root: Path) -> object:
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return identify_at(fd)
        finally:
            os.close(fd)

    assert asked(fresh_cache.root) == IsCache(empty=False, missing_shards=0, readme=True)
    (fresh_cache.root / "README").write_text("mine\n")
    assert asked(fresh_cache.root) == IsCache(empty=False, missing_shards=0, readme=False)
    assert not isinstance(asked(tmp_path), IsCache)
    assert not isinstance(asked(fresh_cache.module), IsCache)


def test_a_cleaned_cache_is_still_recognised(fresh_cache: GoCache) -> None:
    fresh_cache.go("clean", "-cache")
    found = look(fresh_cache.root)
    assert found.inventory.readme
    assert found.inventory.files == 0
    assert found.findings == ()


def test_every_archive_tells_the_import_path_that_go_lists_for_it(fresh_cache: GoCache) -> None:
    listed = fresh_cache.go(
        "list", "-export", "-deps", "-f", "{{.ImportPath}} {{.BuildID}} {{.Export}}", "./lib", "fmt"
    )
    outputs = look(fresh_cache.root, Level.STATUS).inventory.outputs
    lines = [line.split() for line in listed.splitlines()]
    assert len(lines) > 30
    for package, build_id, export in (line for line in lines if len(line) == 3):
        about = outputs[bytes.fromhex(Path(export).name.removesuffix("-d"))].about
        assert about is not None
        assert (about.package, f"{about.build_action}/{about.build_content}") == (package, build_id)


def test_the_race_detector_is_seen(fresh_cache: GoCache) -> None:
    plain = fresh_cache.output_of(LIB).name
    raced = Path(fresh_cache.go("list", "-race", "-export", "-f", "{{.Export}}", "./lib").strip()).name
    outputs = look(fresh_cache.root, Level.STATUS).inventory.outputs
    told = [outputs[bytes.fromhex(name.removesuffix("-d"))].about for name in (plain, raced)]
    assert [about is not None and about.race for about in told] == [False, True]
    assert [about is not None and about.flags for about in told] == [(), ("-race",)]


def test_a_flipped_bit_in_an_archive_is_silently_wrong(fresh_cache: GoCache) -> None:
    path = fresh_cache.output_of(LIB)
    flip(path, path.stat().st_size - 100)
    finding = only(look(fresh_cache.root))
    assert (finding.name, finding.kind, finding.effect) == (name_of(path), Wrong.CONTENT, Effect.SILENTLY_WRONG)
    assert finding.severity is Outcome.BLOCK
    assert is_lib(finding, fresh_cache)
    assert finding.evict == (*(name_of(entry) for entry in fresh_cache.entries_of(path)), name_of(path))


def test_an_archive_of_zeros_fails_every_build_and_is_still_named(fresh_cache: GoCache, tmp_path: Path) -> None:
    look(fresh_cache.root, index=tmp_path / "index")
    path = fresh_cache.output_of(LIB)
    path.write_bytes(bytes(path.stat().st_size))
    finding = only(look(fresh_cache.root, Level.CHANGED, tmp_path / "index"))
    assert (finding.kind, finding.effect) == (Wrong.CONTENT, Effect.BUILD_FAILS_FOREVER)
    assert is_lib(finding, fresh_cache), "what it was is remembered, though no byte of it is left"
    unknown = only(look(fresh_cache.root))
    assert (unknown.effect, unknown.package) == (Effect.BUILD_FAILS_FOREVER, None)
    assert fresh_cache.run("build", "-o", str(tmp_path / "program"), ".").returncode != 0


def test_an_archive_that_ends_in_zeros_may_go_unnoticed_by_go(fresh_cache: GoCache) -> None:
    path = fresh_cache.output_of(LIB)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
    finding = only(look(fresh_cache.root))
    assert (finding.kind, finding.effect) == (Wrong.CONTENT, Effect.SILENTLY_WRONG)
    assert finding.text.endswith("it ends in zeros")
    assert (finding.toolchain, finding.severity) == (fresh_cache.toolchain.version, Outcome.BLOCK)


@pytest.mark.parametrize("change", [-1, 1, -10_000_000])
def test_an_archive_of_another_size_heals_itself(fresh_cache: GoCache, change: int) -> None:
    path = fresh_cache.output_of(LIB)
    data = path.read_bytes() + b"\n"
    path.write_bytes(data[: max(0, len(data) - 1 + change)])
    finding = only(look(fresh_cache.root))
    assert (finding.kind, finding.effect) == (Wrong.SIZE, Effect.HEALS_ITSELF)
    fresh_cache.go("build", "./...")
    assert damage(look(fresh_cache.root)) == []


def test_a_short_archive_that_is_young_may_be_being_written(fresh_cache: GoCache) -> None:
    path = fresh_cache.output_of(LIB)
    path.write_bytes(path.read_bytes()[:100])
    fd = os.open(fresh_cache.root, os.O_RDONLY)
    try:
        found = inspect(fd, index_path=None, level=Level.ALL, now_ns=time.time_ns())
    finally:
        os.close(fd)
    assert [finding.kind for finding in found.findings] == [Wrong.IN_PROGRESS]
    assert damage(found) == []


def older_and_newer(cache: GoCache) -> tuple[Path, Path]:
    """Two archives of the package, of the same size, made from two versions of its source."""
    old = cache.output_of(LIB)
    source = cache.module / "lib" / "lib.go"
    source.write_text(source.read_text().replace('"hello"', '"howdy"'))
    new = cache.output_of(LIB)
    assert old != new
    return old, new


def test_an_entry_that_names_an_older_archive_is_silently_wrong(fresh_cache: GoCache) -> None:
    old, new = older_and_newer(fresh_cache)
    (entry,) = fresh_cache.entries_of(new)
    data = entry.read_bytes()
    size = b"%20d" % old.stat().st_size
    entry.write_bytes(data[:68] + old.name[:64].encode() + b" " + size + data[153:])
    found = look(fresh_cache.root)
    finding = only(found)
    assert (finding.name, finding.kind, finding.effect) == (name_of(entry), Wrong.REPOINTED, Effect.SILENTLY_WRONG)
    assert is_lib(finding, fresh_cache)
    assert finding.evict == (name_of(entry),), "the archive itself is good and another entry names it"
    assert fresh_cache.go("run", ".") == "hello\n", "go does not notice: the source says howdy"


def test_two_archives_that_changed_places_are_both_found(fresh_cache: GoCache) -> None:
    old, new = older_and_newer(fresh_cache)
    first, second = old.read_bytes(), new.read_bytes()
    old.write_bytes(second)
    new.write_bytes(first)
    found = damage(look(fresh_cache.root))
    assert {finding.name for finding in found} >= {name_of(old), name_of(new)} or len(first) != len(second)
    assert found
    assert all(is_lib(finding, fresh_cache) for finding in found)


def test_a_build_id_that_is_not_that_of_the_content_is_found_though_the_name_fits(fresh_cache: GoCache) -> None:
    path = fresh_cache.output_of(LIB)
    (entry,) = fresh_cache.entries_of(path)
    data = path.read_bytes()
    at_byte = data.index(b'build id "') + 10 + 21
    half = data[at_byte : at_byte + 20]
    forged = data.replace(half, half[::-1])
    name = sha256(forged).hexdigest()
    (fresh_cache.root / name[:2] / f"{name}-d").write_bytes(forged)
    old = entry.read_bytes()
    entry.write_bytes(old[:68] + name.encode() + old[132:])
    finding = only(look(fresh_cache.root))
    assert (finding.kind, finding.effect) == (Wrong.CONTENT_ID, Effect.SILENTLY_WRONG)
    assert is_lib(finding, fresh_cache)


@pytest.mark.parametrize("content", [b"", b"v1", bytes(175), b"x" * 175, b"x" * 300])
def test_a_malformed_entry_heals_itself_and_the_index_knows_what_it_was(
    fresh_cache: GoCache, tmp_path: Path, content: bytes
) -> None:
    look(fresh_cache.root, index=tmp_path / "index")
    (entry,) = fresh_cache.entries_of(fresh_cache.output_of(LIB))
    entry.write_bytes(content)
    finding = only(look(fresh_cache.root, Level.CHANGED, tmp_path / "index"))
    assert (finding.name, finding.kind, finding.effect) == (name_of(entry), Wrong.ENTRY, Effect.HEALS_ITSELF)
    assert finding.evict == (name_of(entry),)
    assert is_lib(finding, fresh_cache)


def test_a_wrong_size_in_an_entry_takes_away_only_the_entry(fresh_cache: GoCache) -> None:
    (entry,) = fresh_cache.entries_of(fresh_cache.output_of(LIB))
    data = entry.read_bytes()
    entry.write_bytes(data[:133] + b"%20d" % 12 + data[153:])
    finding = only(look(fresh_cache.root))
    assert (finding.kind, finding.effect) == (Wrong.SIZE, Effect.HEALS_ITSELF)
    assert is_lib(finding, fresh_cache)


def test_a_missing_output_is_a_dangling_entry(fresh_cache: GoCache, tmp_path: Path) -> None:
    look(fresh_cache.root, index=tmp_path / "index")
    path = fresh_cache.output_of(LIB)
    (entry,) = fresh_cache.entries_of(path)
    path.unlink()
    finding = only(look(fresh_cache.root, Level.CHANGED, tmp_path / "index"))
    assert (finding.name, finding.kind, finding.effect) == (name_of(entry), Wrong.DANGLING, Effect.HEALS_ITSELF)
    assert is_lib(finding, fresh_cache)


def test_a_missing_entry_leaves_an_orphan_that_is_harmless(fresh_cache: GoCache) -> None:
    path = fresh_cache.output_of(LIB)
    fresh_cache.entries_of(path)[0].unlink()
    found = look(fresh_cache.root)
    assert damage(found) == []
    assert [(finding.name, finding.kind, finding.effect) for finding in found.findings] == [
        (name_of(path), Wrong.ORPHAN, Effect.HARMLESS)
    ]


def test_foreign_things_are_reported_and_never_opened(fresh_cache: GoCache) -> None:
    shard = fresh_cache.root / "7f"
    os.mkfifo(shard / ("7f" * 32 + "-d"))
    (shard / "two\nlines").write_text("x")
    (shard / ("7f" * 32 + "-garble-d")).write_text("x")
    (shard / "link").symlink_to("/etc/passwd")
    (fresh_cache.root / "notes").mkdir()
    with (shard / "huge").open("wb") as file:
        file.truncate(1 << 40)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(shard / "socket"))
        found = look(fresh_cache.root)
    assert damage(found) == []
    assert {(item.name, item.kind, item.size) for item in found.inventory.foreign if item.kind == "file"} == {
        ("7f/two\\nlines", "file", 1),
        ("7f/" + "7f" * 32 + "-garble-d", "file", 1),
        ("7f/huge", "file", 1 << 40),
    }
    assert {item.kind for item in found.inventory.foreign} == {"file", "fifo", "symlink", "socket", "directory"}


def test_a_pipe_or_a_link_in_the_place_of_an_output_is_unknown(fresh_cache: GoCache) -> None:
    path = fresh_cache.output_of(LIB)
    elsewhere = fresh_cache.root.parent / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    assert only(look(fresh_cache.root)).kind is Wrong.NOT_REGULAR
    path.unlink()
    os.mkfifo(path)
    finding = only(look(fresh_cache.root))
    assert (finding.kind, finding.effect, finding.severity) == (Wrong.NOT_REGULAR, Effect.UNKNOWN, Outcome.UNKNOWN)


def test_a_huge_hole_in_the_place_of_an_output_is_not_read(fresh_cache: GoCache) -> None:
    path = fresh_cache.output_of(LIB)
    with path.open("r+b") as file:
        file.truncate(1 << 40)
    found = look(fresh_cache.root)
    assert only(found).kind is Wrong.SIZE
    assert found.hashed_bytes < 1 << 32


def test_a_directory_in_the_place_of_an_archive_is_rebuilt_every_time(fresh_cache: GoCache) -> None:
    path = fresh_cache.output_of(LIB)
    path.unlink()
    path.mkdir()
    finding = only(look(fresh_cache.root))
    assert (finding.name, finding.kind) == (name_of(path), Wrong.PROGRAM_SHAPE)
    assert finding.effect is Effect.REBUILDS_EVERY_TIME


def program_of(cache: GoCache) -> Path:
    """The program that `go run` put into the cache."""
    found = [path for path in cache.root.glob("??/*-d") if path.is_dir()]
    assert len(found) == 1
    return found[0]


def has_programs(cache: GoCache) -> bool:
    """Programs are cached since go1.24; older caches have none."""
    if cache.toolchain.release >= 24:
        return True
    assert not [path for path in cache.root.glob("??/*-d") if path.is_dir()]
    return False


def test_a_program_tells_what_made_it_and_a_flip_in_it_is_silently_wrong(fresh_cache: GoCache) -> None:
    if not has_programs(fresh_cache):
        return
    program = program_of(fresh_cache)
    output = look(fresh_cache.root).inventory.outputs[bytes.fromhex(program.name[:64])]
    assert output.shape is Shape.PROGRAM
    assert output.about is not None
    assert (output.about.package, output.about.version) == ("m", fresh_cache.toolchain.version)
    (inside,) = program.iterdir()
    flip(inside, inside.stat().st_size // 2)
    finding = only(look(fresh_cache.root))
    assert (finding.name, finding.kind, finding.effect) == (name_of(program), Wrong.CONTENT, Effect.SILENTLY_WRONG)
    assert (finding.package, finding.toolchain) == ("m", fresh_cache.toolchain.version)


def test_a_program_that_may_not_be_executed_fails_every_run(fresh_cache: GoCache) -> None:
    if not has_programs(fresh_cache):
        return
    (inside,) = program_of(fresh_cache).iterdir()
    inside.chmod(0o644)
    finding = only(look(fresh_cache.root))
    assert (finding.kind, finding.effect) == (Wrong.PROGRAM_MODE, Effect.BUILD_FAILS_FOREVER)
    assert fresh_cache.run("run", ".").returncode != 0


def test_a_program_directory_with_two_files_is_linked_again(fresh_cache: GoCache, tmp_path: Path) -> None:
    if not has_programs(fresh_cache):
        return
    look(fresh_cache.root, index=tmp_path / "index")
    (program_of(fresh_cache) / "more").write_text("x")
    finding = only(look(fresh_cache.root, Level.CHANGED, tmp_path / "index"))
    assert (finding.kind, finding.effect) == (Wrong.PROGRAM_SHAPE, Effect.HEALS_ITSELF)


@pytest.mark.parametrize(
    ("kind", "effect"),
    [
        (Kind.INDEX, Effect.BUILD_FAILS_FOREVER),
        (Kind.VET_FACTS, Effect.BUILD_FAILS_FOREVER),
        (Kind.TEST_OUTPUT, Effect.HEALS_ITSELF),
        (Kind.TEST_LOG, Effect.HEALS_ITSELF),
        (Kind.SOURCE_LIST, Effect.HEALS_ITSELF),
    ],
)
def test_damage_in_other_kinds_says_what_it_would_do(
    fresh_cache: GoCache, tmp_path: Path, kind: Kind, effect: Effect
) -> None:
    outputs = look(fresh_cache.root, Level.CHANGED, tmp_path / "index").inventory.outputs.values()
    output = min((output for output in outputs if output.kind is kind), key=lambda one: one.output)
    digits = output.output.hex()
    flip(fresh_cache.root / digits[:2] / f"{digits}-d", output.size // 2)
    finding = only(look(fresh_cache.root, Level.CHANGED, tmp_path / "index"))
    assert (finding.kind, finding.effect) == (Wrong.CONTENT, effect)


def test_a_shard_that_cannot_be_listed_is_unknown(fresh_cache: GoCache) -> None:
    shard = fresh_cache.root / "00"
    shard.chmod(0)
    fd = os.open(fresh_cache.root, os.O_RDONLY)
    script = (
        "import os, sys, time; from go_cache_safeguard.gocache.disk import *\n"
        "os.setuid(65534) if os.getuid() == 0 else None\n"
        f"found = inspect({fd}, index_path=None, level=Level.ALL, now_ns=time.time_ns())\n"
        "print(*sorted({f.kind.value for f in found.findings if f.severity == 'UNKNOWN'}))\n"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", script], pass_fds=[fd], capture_output=True, text=True, check=False, timeout=60
        )
    finally:
        os.close(fd)
        shard.chmod(0o755)
    assert done.stdout == "unreadable\n", done.stderr


def test_nothing_unchanged_is_hashed_again(fresh_cache: GoCache, tmp_path: Path) -> None:
    first = look(fresh_cache.root, Level.CHANGED, tmp_path / "index")
    second = look(fresh_cache.root, Level.CHANGED, tmp_path / "index")
    assert first.hashed_files == len(first.inventory.outputs)
    assert (second.hashed_files, second.read_entries) == (0, 0)
    assert second.trusted_files == first.hashed_files
    assert second.trusted_entries == len(first.inventory.actions)
    assert second.inventory.outputs == first.inventory.outputs
    assert second.inventory.actions == first.inventory.actions
    assert look(fresh_cache.root, Level.ALL, tmp_path / "index").hashed_files == first.hashed_files
    assert look(fresh_cache.root, Level.CHANGED, tmp_path / "index", sample=1.0).hashed_files == first.hashed_files


def test_an_edit_that_restores_size_and_mtime_is_seen(fresh_cache: GoCache, tmp_path: Path) -> None:
    look(fresh_cache.root, Level.CHANGED, tmp_path / "index")
    path = fresh_cache.output_of(LIB)
    look(fresh_cache.root, Level.CHANGED, tmp_path / "index")
    flip(path, path.stat().st_size - 100)
    found = look(fresh_cache.root, Level.CHANGED, tmp_path / "index")
    assert only(found).kind is Wrong.CONTENT
    assert is_lib(only(found), fresh_cache)
    again = look(fresh_cache.root, Level.CHANGED, tmp_path / "index")
    assert only(again).kind is Wrong.CONTENT, "damage that was reported once is reported until it is gone"


@pytest.mark.parametrize("toolchain", PINNED, indirect=True)
def test_a_live_build_gives_no_false_alarm(toolchain: Toolchain, tmp_path: Path) -> None:
    cache = at(tmp_path, toolchain)
    write_module(cache.module)
    (cache.module / "main.go").write_text(SMALL_MAIN)
    (tmp_path / "home").mkdir()
    cache.root.mkdir()
    fd = os.open(cache.root, os.O_RDONLY)
    build = threading.Thread(target=cache.go, args=("build", "./..."))
    build.start()
    looks = 0
    try:
        while build.is_alive() or not looks:
            found = inspect(fd, index_path=tmp_path / "index", level=Level.CHANGED, now_ns=time.time_ns())
            assert damage(found) == []
            looks += 1
    finally:
        os.close(fd)
        build.join()
    assert damage(look(cache.root)) == []
    entries = [action.entry for action in look(cache.root).inventory.actions.values()]
    assert entries
    assert all(isinstance(entry, Entry) for entry in entries)


def test_named_outputs_are_those_that_the_inventory_says_entries_name(fresh_cache: GoCache) -> None:
    broken = min(fresh_cache.root.glob("??/*-a"))
    broken.write_bytes(b"v1 nonsense")
    fd = os.open(fresh_cache.root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert named_outputs(fd) == set(look(fresh_cache.root, Level.STATUS).inventory.references)
    finally:
        os.close(fd)
