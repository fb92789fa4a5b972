"""Pollution planted in real caches is found, and none is found where there is none. Only the newest toolchain."""

import re
from base64 import urlsafe_b64encode
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from go_cache_safeguard.config.files import load_config
from go_cache_safeguard.flows.pollution import demonstrate
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.gocache.archive import build_id_at
from gocaches import PINNED, SMALL_MAIN, GoCache, Toolchain, at, copy_cache, find_toolchain
from safeguard import Safeguard, files_of

pytestmark = pytest.mark.real

LIB = "package lib\n\n//go:noinline\nfunc Number() int { return 1 }\n"
USER = 'package user\n\nimport "example.com/m/lib"\n\nfunc Number() int { return lib.Number() }\n'


@pytest.fixture
def world(tmp_path: Path) -> Safeguard:
    """A module of two packages that need nothing of the standard library, and a cache in which they were built."""
    cache = at(tmp_path, find_toolchain(PINNED[-1]))
    for name, text in {"go.mod": "module example.com/m\n\ngo 1.21\n", "lib/lib.go": LIB, "user/user.go": USER}.items():
        (cache.module / name).parent.mkdir(parents=True, exist_ok=True)
        (cache.module / name).write_text(text)
    (tmp_path / "home").mkdir()
    cache.go("build", "./...")
    return Safeguard(cache, tmp_path / "state")


def entry_of(cache: GoCache, output: Path) -> Path:
    (entry,) = cache.entries_of(output)
    return entry


def point(entry: Path, content: bytes) -> None:
    """Have an entry name another content, which is put there under its right name."""
    digest = sha256(content).hexdigest()
    output = entry.parents[1] / digest[:2] / f"{digest}-d"
    output.write_bytes(content)
    line = entry.read_bytes()
    entry.write_bytes(line[:68] + digest.encode() + b" " + f"{len(content):20d}".encode() + line[153:])


def build_edited(world: Safeguard) -> tuple[bytes, Path]:
    """Edit lib and build it: gives the archive from before, and the entry of the one from now."""
    older = world.cache.output_of("example.com/m/lib").read_bytes()
    (world.cache.module / "lib" / "lib.go").write_text(LIB.replace("return 1", "return 2"))
    return older, entry_of(world.cache, world.cache.output_of("example.com/m/lib"))


def judged(document: dict[str, object]) -> dict[str, str]:
    packages = document["packages"]
    assert isinstance(packages, list)
    return {one["package"].rpartition("/")[2]: one["judged"] for one in packages}


def test_a_clean_cache_passes_with_the_bound_that_it_deserves_and_is_not_touched(world: Safeguard) -> None:
    before = files_of(world.cache.root)
    document = world.json("pollution", "--sample", "100%")
    assert judged(document) == {"lib": "equal", "user": "equal"}
    assert document["verdict"]["outcome"] == "PASS"
    assert document["statement"] == "0 of 2 differ, and these are all that the build takes from the cache"
    one = world.json("pollution", "--sample", "1", "--seed", "x")
    assert one["statement"] == "0 of 1 differ: at most 1 of 2 (50.0 %) are bad, at 95 %"
    assert one["seed"] == "x"
    assert one["digest"] == document["digest"]
    assert files_of(world.cache.root) == before
    named = world.json("pollution", "--package", "example.com/m/lib")
    assert named["at_most_bad"] is None


def test_an_entry_that_names_an_older_archive_is_found_and_what_follows_from_it_is_told_apart(world: Safeguard) -> None:
    older, entry = build_edited(world)
    point(entry, older)
    document = world.json("pollution", "--sample", "100%", code=10)
    assert judged(document) == {"lib": "differs", "user": "other key"}
    assert document["at_most_bad"] is None


def test_a_forged_archive_with_all_seals_right_is_found_by_the_gate_and_by_nothing_else(world: Safeguard) -> None:
    passed = world.json("gate", "--sample", "100%", "--fail-closed")
    assert [one["outcome"] for one in passed["verdicts"]] == ["PASS"] * 5
    assert passed["allowed"]
    assert len(passed["proved"]) == 5
    older, entry = build_edited(world)
    point(entry, forged(older, entry))
    fsck = world.run("fsck", "--all")
    assert fsck.returncode == 0, fsck.stdout
    document = world.json("gate", "--sample", "100%", code=10)
    outcomes = {one["check"]: one["outcome"] for one in document["verdicts"]}
    assert outcomes == {
        "permissions": "PASS",
        "index-agreement": "PASS",
        "entries-used": "PASS",
        "mod-integrity": "PASS",
        "sample": "BLOCK",
    }
    assert not document["allowed"]
    assert document["digest"] != passed["digest"]


def forged(older: bytes, entry: Path) -> bytes:
    """An archive from before with the build ID that the one from now would have."""
    found = build_id_at(older[:4096])
    assert found is not None
    build_id, _places = found
    action = urlsafe_b64encode(bytes.fromhex(entry.name[:64])[:15])
    content = urlsafe_b64encode(sha256(older.replace(build_id, b"\0" * len(build_id))).digest()[:15])
    return older.replace(build_id, action + b"/" + content)


def test_where_nothing_can_be_told_the_gate_fails_and_closed_if_asked(world: Safeguard) -> None:
    empty = ("--gocache", str(world.cache.root.parent / "empty"))
    (world.cache.root.parent / "empty" / "00").mkdir(parents=True)
    copied = world.cache.root / "README"
    (world.cache.root.parent / "empty" / "README").write_bytes(copied.read_bytes())
    done = world.run("gate", *empty)
    assert done.returncode == 13, done.stdout + done.stderr
    assert "not proved" in done.stdout
    closed = world.run("gate", "--fail-closed", *empty)
    assert closed.returncode == 10, closed.stdout
    assert world.run("pollution", "--package", "example.com/m/nosuch").returncode == 2


def test_builds_in_turn_do_not_change_each_other_and_all_outputs_are_compared(
    warm_cache: Callable[[Toolchain], GoCache], tmp_path: Path
) -> None:
    cache = copy_cache(warm_cache(find_toolchain(PINNED[-1])), tmp_path)
    (cache.module / "main.go").write_text(SMALL_MAIN)
    words = ("--module", ".", "--trimpath", "--configuration", "plain", "--configuration", "tags", "--rounds", "1")
    safeguard = Safeguard(cache, tmp_path / "state", {"TMPDIR": str(tmp_path)})
    document = safeguard.json("pollution", *words, "--start-from", str(cache.root))
    assert document["verdict"]["outcome"] == "PASS", document
    assert [one["configuration"] for one in document["counts"]] == ["plain -trimpath", "tags -trimpath"]
    assert all(one["programs"] == 1 and one["archives"] > 20 for one in document["counts"]), document["counts"]
    assert re.search(r"2 builds, \d+ archives and 2 programs", document["verdict"]["evidence"][0])
    assert not list(tmp_path.glob("go-cache-safeguard-*"))


def test_what_is_really_not_in_the_key_is_shown_by_builds_that_do_not_complain(
    warm_cache: Callable[[Toolchain], GoCache], tmp_path: Path
) -> None:
    warm = warm_cache(find_toolchain(PINNED[-1]))
    config = load_config(environ=warm.environ, cwd=tmp_path, home=tmp_path, arguments={"state.dir": str(tmp_path)})
    session = Session(config, warm.environ, tmp_path)
    only = ("time-kept", "module-edited")
    shown = demonstrate(session, warm.toolchain.go, warm.root, goflags="-trimpath", only=only)
    assert [one.name for one in shown if one.shown] == list(only)
    assert "go mod verify says so" in shown[1].text
