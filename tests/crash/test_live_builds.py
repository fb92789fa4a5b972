"""People build without pause while the cache is cleaned and restored again and again: no build may notice.

Two loops edit a copy of the small module and build it, each time another text, so that every build compiles and reads what it or
the other one compiled before. One build of a few makes the program, too, with all that it needs of the standard library. Between
two builds they rest for a random moment, so that builds begin at every moment of a removal. A third loop cleans everything, in
both ways, and undoes it.
"""

import itertools
import json
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from gocaches import SMALL_MAIN, GoCache, Toolchain, copy_cache, find_toolchain
from safeguard import COMMAND, Safeguard, files_of

FREE = {"GO_CACHE_SAFEGUARD_POLICY_HOLD_SHARE": "100%"}
QUICK = ("--proof", "none", "--checks", "permissions")
RESTS_S = (0.0, 0.3, 2.0)
"""seconds that a loop rests between two builds, at most: sometimes there is a quiet moment, and sometimes there is none."""
WAYS = (("--all",), ("--unused-for", "0s"))

LIB = 'package lib\n\n// Hello greets.\nfunc Hello() string {{ return "{0}" }}\n'
PASSING_ON = """package {0}

import "example.com/m/{1}"

// Hello passes on a greeting.
func Hello() string {{ return {1}.Hello() }}
"""
CHAIN = ("above", "upper", "middle", "lib")
"""Packages that import each the next one, and nothing else: an edit of the last has all of them compiled, in no time."""
PROGRAM_EVERY = 6
"""how many builds have one among them that makes the program"""


@dataclass
class Builder:
    """One person who builds again and again.

    Attributes:
        cache: The cache and module.
        module: Where the person's own copy of the module is.
        chance: Decides on the rests.
        built: Builds that were made.
        failures: What those said that failed.
    """

    cache: GoCache
    module: Path
    chance: random.Random
    built: int = 0
    failures: list[str] = field(default_factory=list)

    def build(self) -> None:
        """Edit and build; sometimes the program, too, and compare what it says."""
        text = f"{self.module.name} {self.built}"
        (self.module / "lib/lib.go").write_text(LIB.format(text))
        self.built += 1
        done = self._run(self.cache.toolchain.go, "build", f"./{CHAIN[0]}")
        said = ""
        if done.returncode == 0 and self.built % PROGRAM_EVERY == 0:
            program = self.module.parent / f"{self.module.name}.program"
            done = self._run(self.cache.toolchain.go, "build", "-o", program, ".")
            if done.returncode == 0:
                done, said = self._run(program), text
        if done.returncode or done.stderr.strip() != said:
            self.failures.append(f"{text}: exit code {done.returncode}: {done.stdout}{done.stderr}")

    def go_on(self, done: threading.Event) -> None:
        """Build until told to stop."""
        while not done.is_set():
            self.build()
            time.sleep(self.chance.random() * self.chance.choice(RESTS_S))

    def _run(self, *command: Path | str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command, cwd=self.module, env=self.cache.environ, capture_output=True, text=True, check=False, timeout=300
        )


@contextmanager
def building(people: list[Builder]) -> Iterator[None]:
    """Have people build for the length of a block."""
    for person in people:
        shutil.copytree(person.cache.module, person.module)
        (person.module / "main.go").write_text(SMALL_MAIN)
        for name, needed in itertools.pairwise(CHAIN):
            (person.module / name).mkdir()
            (person.module / name / f"{name}.go").write_text(PASSING_ON.format(name, needed))
    done = threading.Event()
    threads = [threading.Thread(target=person.go_on, args=(done,)) for person in people]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()


def clean_again_and_again(guard: Safeguard, chance: random.Random, enough: Callable[[int], bool]) -> None:
    """Clean and undo until there were enough of them."""
    cleans = 0
    for way in itertools.cycle(WAYS):
        if enough(cleans):
            return
        done = guard.json("clean", *way, "--wait", f"{chance.choice((0, 1, 3))}s", *QUICK)
        if done["op"] is None:
            continue
        cleans += 1
        time.sleep(chance.random() * chance.choice(RESTS_S))
        if done["state"] == "WAITING" and chance.random() < 0.5:
            guard.json("recover", "--wait", "2s", "--proof", "none")
        guard.json("undo", done["op"], "--proof", "none")


def campaign(warm: GoCache, directory: Path, *, builds: int, cleans: int, seed: int) -> list[str]:
    """Run it until there were so many builds and so many cleans. Gives what failed."""
    cache = copy_cache(warm, directory)
    guard = Safeguard(cache, directory / "state", FREE)
    chance = random.Random(seed)  # noqa: S311 - only rests depend on it
    people = [Builder(cache, cache.module.with_name(name), random.Random(seed)) for name in ("ann", "bob")]  # noqa: S311 - likewise

    def enough(cleaned: int) -> bool:
        return cleaned >= cleans and sum(person.built for person in people) >= builds

    with building(people):
        clean_again_and_again(guard, chance, enough)
    assert guard.json("fsck", "--all")["findings"] == []
    assert guard.json("audit", "verify")["whole"]
    assert guard.json("recover", "--proof", "none")["operations"] == []
    return [text for person in people for text in person.failures]


@pytest.mark.real
@pytest.mark.crash
@pytest.mark.parametrize("version", ["go1.21.13", "go1.27.3"])
def test_no_build_fails_while_its_cache_is_cleaned_and_restored(
    version: str, tmp_path: Path, warm_cache: Callable[[Toolchain], GoCache]
) -> None:
    assert campaign(warm_cache(find_toolchain(version)), tmp_path, builds=24, cleans=6, seed=1) == []


HOLDING = """#!/bin/sh
case "$*" in *-V=full*) exec "$@";; esac
touch {0}/held
while [ ! -e {0}/go-on ]; do sleep 0.02; done
exec "$@"
"""


@contextmanager
def held_build(cache: GoCache, directory: Path) -> Iterator["subprocess.Popen[str]"]:
    """A build that has planned, and whose compiler holds still until there is a file `go-on` in the directory."""
    holding = directory / "holding"
    holding.write_text(HOLDING.format(directory))
    holding.chmod(0o755)
    (cache.module / "lib/lib.go").write_text(LIB.format("held"))
    command: list[str | Path] = [
        cache.toolchain.go,
        "build",
        "-toolexec",
        f"{holding}",
        "-o",
        directory / "program",
        ".",
    ]
    child = subprocess.Popen(command, cwd=cache.module, env=cache.environ, stderr=subprocess.PIPE, text=True)
    try:
        while not (directory / "held").exists():
            assert child.poll() is None, child.communicate()
            time.sleep(0.01)
        yield child
    finally:
        (directory / "go-on").touch()
        child.communicate(timeout=120)


def works(child: "subprocess.Popen[str]", directory: Path) -> bool:
    """Let the build go on, and see whether it and its program do what they should."""
    (directory / "go-on").touch()
    _, said = child.communicate(timeout=120)
    assert child.returncode == 0, said
    ran = subprocess.run(
        [directory / "program"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
    )
    return ran.stdout == "held\n"


@pytest.mark.real
@pytest.mark.crash
def test_outputs_wait_for_a_long_build_and_recover_moves_them_when_it_has_ended(
    newest_cache: GoCache, tmp_path: Path
) -> None:
    guard = Safeguard(newest_cache, tmp_path / "state", FREE)
    with held_build(newest_cache, tmp_path) as child:
        before = files_of(newest_cache.root)
        receipt = guard.json("clean", "--all", "--wait", "0s", *QUICK)
        assert receipt["state"] == "WAITING"
        assert any(f"pid {child.pid} " in text and "go build" in text for text in receipt["waited_for"])
        outputs = {name for name in before if name.endswith("-d")}
        assert receipt["waiting"] == len(outputs)
        assert set(files_of(newest_cache.root)) >= outputs
        (still,) = guard.json("recover", "--wait", "0s", "--proof", "none")["operations"]
        assert still["now"] == "WAITING"
        assert works(child, tmp_path)
    (ended,) = guard.json("recover", "--proof", "none")["operations"]
    assert (ended["found"], ended["now"]) == ("WAITING", "DONE")
    final = guard.json("ops", "show", receipt["op"])["data"]["receipt"]
    assert final["planned"] == sum(final[key] for key in ("moved", "changed", "missing", "named_again"))
    guard.json("undo", receipt["op"], "--proof", "none")
    assert set(files_of(newest_cache.root)) >= set(before)
    newest_cache.go("build", "./...")


@pytest.mark.real
@pytest.mark.crash
def test_an_undo_while_outputs_wait_disturbs_no_build(newest_cache: GoCache, tmp_path: Path) -> None:
    guard = Safeguard(newest_cache, tmp_path / "state", FREE)
    with held_build(newest_cache, tmp_path) as child:
        before = files_of(newest_cache.root)
        receipt = guard.json("clean", "--all", "--wait", "0s", *QUICK)
        assert receipt["state"] == "WAITING"
        guard.json("undo", receipt["op"], "--proof", "none")
        assert files_of(newest_cache.root).items() >= before.items()
        assert works(child, tmp_path)
    assert guard.json("recover", "--proof", "none")["operations"] == []


@pytest.mark.real
@pytest.mark.crash
def test_outputs_wait_as_well_for_a_build_that_began_after_the_index_entries_went(
    newest_cache: GoCache, tmp_path: Path
) -> None:
    """It finds the outputs in their place when it compiles again what the entries stood for, and relies on them."""
    guard = Safeguard(newest_cache, tmp_path / "state", FREE)
    (newest_cache.module / "main.go").write_text(SMALL_MAIN)
    later = replace(newest_cache, module=newest_cache.module.with_name("later"))
    shutil.copytree(newest_cache.module, later.module)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with held_build(newest_cache, tmp_path / "one") as first:
        arguments = [*COMMAND, "clean", "--all", "--wait", "8s", *QUICK, "--json"]
        clean = subprocess.Popen(arguments, env=guard.environ, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        while any(newest_cache.root.glob("??/*-a")):
            assert clean.poll() is None
            time.sleep(0.01)
        with held_build(later, tmp_path / "two") as second:
            assert works(first, tmp_path / "one")
            receipt = json.loads(clean.communicate(timeout=60)[0])
            assert receipt["state"] == "WAITING"
            assert any(f"pid {second.pid} " in text for text in receipt["waited_for"])
            assert works(second, tmp_path / "two")
    guard.json("undo", receipt["op"], "--proof", "none")
