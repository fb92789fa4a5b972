"""`cacheprog` in the place of go's own cache: the same entries, the same builds, and no damage used."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cacheprogs import COMMAND, build, environ, running, said
from gocaches import MIDDLE, OWN, PINNED, GoCache, Toolchain, copy_cache, find_toolchain
from safeguard import files_of

pytestmark = pytest.mark.real

LIB = 'package lib\n\n// Hello greets.\n//\n//go:noinline\nfunc Hello() string { return "%s" }\n'


@pytest.fixture(params=[MIDDLE, OWN, PINNED[-1]], scope="module")
def protocol(request: pytest.FixtureRequest) -> Toolchain:
    """Each toolchain that has the protocol: the first, the machine's own, the newest."""
    return find_toolchain(request.param)


@pytest.fixture
def cache(tmp_path: Path, protocol: Toolchain, warm_cache: Callable[[Toolchain], GoCache]) -> GoCache:
    """A private copy of a warm cache of a toolchain that has the protocol."""
    return copy_cache(warm_cache(protocol), tmp_path / "one")


def write(cache: GoCache, word: str) -> None:
    (cache.module / "lib/lib.go").write_text(LIB % word)


def outputs(cache: GoCache) -> dict[str, bytes]:
    return {name: data for name, data in files_of(cache.root).items() if name.endswith("-d")}


def run(cache: GoCache) -> str:
    """What the program says that go has just built; the next build makes it anew, whatever go thinks of the old one."""
    done = subprocess.run([cache.module / "program"], capture_output=True, text=True, check=True, timeout=60)
    (cache.module / "program").unlink()
    return (done.stdout + done.stderr).strip()


def test_it_leaves_the_very_outputs_that_go_leaves_and_each_uses_what_the_other_made(
    cache: GoCache, tmp_path: Path, warm_cache: Callable[[Toolchain], GoCache]
) -> None:
    native = copy_cache(warm_cache(cache.toolchain), tmp_path / "two")
    for one in (cache, native):
        write(one, "howdy")
    for arguments in (("build", "-o", "program", "."), ("vet", "./..."), ("test", "./lib", "-run", "^$")):
        done = build(cache, tmp_path / "state", *arguments)
        assert done.returncode == 0, done.stderr
        native.go(*arguments)
    assert run(cache) == "howdy"
    assert _without_times(outputs(cache)) == _without_times(outputs(native))
    assert {path.stat().st_size for path in cache.root.glob("??/*-a")} == {175}
    assert "/compile -o" not in cache.run("build", "-n", "./...").stderr
    assert "(cached)" in build(cache, tmp_path / "state", "test", "./lib", "-run", "^$").stdout


def _without_times(found: dict[str, bytes]) -> dict[str, bytes]:
    """Without what a test printed, which says how long it took, and indexes, which hold time stamps of the module's files."""
    return {
        name: data
        for name, data in found.items()
        if not data.startswith(b"go index") and b"example.com/m/lib\t" not in data
    }


def _flip(path: Path, old: bytes, new: bytes) -> None:
    """Damage a file and let it look as before."""
    stamp, data = path.stat(), path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))


def test_a_flipped_byte_makes_a_wrong_program_with_go_alone_and_is_a_miss_here(cache: GoCache, tmp_path: Path) -> None:
    write(cache, "hello")
    build(cache, tmp_path / "state", "build", "./...")  # all of it is known and believed now
    _flip(cache.output_of("example.com/m/lib"), b"hello", b"jello")
    cache.go("build", "-o", "program", ".")
    assert run(cache) == "jello"
    done = build(cache, tmp_path / "state", "build", "-o", "program", ".")
    assert done.returncode == 0
    assert run(cache) == "hello"
    assert "damaged, so not used and built again" in done.stderr
    assert build(cache, tmp_path / "state", "build", "-o", "program", ".").stderr == ""


def test_an_entry_that_names_an_older_archive_is_a_miss_here(cache: GoCache, tmp_path: Path) -> None:
    old = cache.output_of("example.com/m/lib")
    write(cache, "howdy")
    new = cache.output_of("example.com/m/lib")
    for entry in cache.entries_of(new):
        data = entry.read_bytes().replace(new.name[:64].encode(), old.name[:64].encode())
        entry.write_bytes(data[:133] + f"{old.stat().st_size:20d}".encode() + data[153:])
    cache.go("build", "-o", "program", ".")
    assert run(cache) == "hello", "all hashes are right, and go links the older code"
    done = build(cache, tmp_path / "state", "build", "-o", "program", ".")
    assert run(cache) == "howdy"
    assert "names an archive that another action made" in done.stderr


@pytest.mark.parametrize("damage", ["empty", "half", "longer", "missing", "zeros", "directory", "entry"])
def test_any_other_damage_of_an_archive_is_built_again(
    tmp_path: Path, warm_cache: Callable[[Toolchain], GoCache], damage: str
) -> None:
    cache = copy_cache(warm_cache(find_toolchain(PINNED[-1])), tmp_path)
    path = cache.output_of("example.com/m/lib")
    data = path.read_bytes()
    match damage:
        case "missing":
            path.unlink()
        case "directory":
            path.unlink()
            path.mkdir()
        case "entry":
            for entry in cache.entries_of(path):
                entry.write_bytes(bytes(175))
        case _:
            path.write_bytes(
                {"empty": b"", "half": data[:999], "longer": data + b"x", "zeros": bytes(len(data))}[damage]
            )
    done = build(cache, tmp_path / "state", "build", "-o", "program", ".")
    assert done.returncode == 0, done.stderr
    assert run(cache) == "hello"


def test_read_only_builds_what_is_missing_and_leaves_the_cache_as_it_was(cache: GoCache, tmp_path: Path) -> None:
    write(cache, "howdy")
    before = files_of(cache.root)
    done = build(cache, tmp_path / "state", "build", "-o", "program", ".", options="--read-only")
    assert done.returncode == 0, done.stderr
    assert run(cache) == "howdy"
    assert files_of(cache.root) == before


def test_two_builds_at_once_share_one_cache(cache: GoCache, tmp_path: Path) -> None:
    other = copy_cache(cache, tmp_path / "two")
    for one in (cache, other):
        write(one, "howdy")
    variables = {**environ(tmp_path / "state"), "GOCACHEPROG": COMMAND, "GOCACHE": str(cache.root)}
    builds = [
        subprocess.Popen(
            [one.toolchain.go, "build", "-o", "program", "."],
            cwd=one.module,
            env=one.environ | variables,
            stderr=subprocess.PIPE,
        )
        for one in (cache, other)
    ]
    assert [(one.communicate(timeout=120)[1], one.returncode) for one in builds] == [(b"", 0), (b"", 0)]
    assert run(cache) == run(other) == "howdy"


def test_a_full_or_foreign_cache_fails_no_build(tmp_path: Path) -> None:
    root = tmp_path / "cache"
    root.mkdir()
    for shard in range(256):
        (root / f"{shard:02x}").write_text("no directory")  # nothing can be written below it
    with running(root, tmp_path / "state") as prog:
        path = prog.put(b"a" * 32, b"content" * 100)
        assert not path.startswith(str(root))
        assert prog.get(b"a" * 32) is None
        prog.close()
        assert said(prog) == ""
    assert not Path(path).exists()


def test_nonsense_is_answered_and_a_dead_go_is_noticed(tmp_path: Path) -> None:
    root = tmp_path / "cache"
    root.mkdir()
    with running(root, tmp_path / "state") as prog:
        assert prog.hello == {"ID": 0, "KnownCommands": ["get", "put", "close"]}
        assert prog.ask(Command="get") == {"ID": 1, "Miss": True}
        assert prog.ask(Command="explode") == {"ID": 2, "Miss": True}
        assert prog.process.stdin is not None
        prog.process.stdin.write(b"x" * 200_000 + b"\nnonsense\n")
        broken = prog.send(
            Command="put", ActionID="AA" * 21 + "A=", OutputID="AA" * 21 + "A=", BodySize=3, body=b"four"
        )
        assert prog.read()["ID"] == broken
        assert prog.get(b"a" * 32) is None
        prog.process.stdin.close()
        assert prog.process.wait(20) == 0
