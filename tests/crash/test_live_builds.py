"""People build without pause while the cache is cleaned and restored again and again: no build may notice.

Two loops edit a copy of the small module and build it, each time another text, so that every build compiles, links and reads
entries of the standard library; between two builds they rest for a random moment, so that builds begin at every moment of a
removal. A third loop cleans everything, in both ways, and undoes it.
"""

import itertools
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gocaches import GoCache, Toolchain, copy_cache, find_toolchain
from safeguard import Safeguard

FREE = {"GO_CACHE_SAFEGUARD_POLICY_HOLD_SHARE": "100%"}
QUICK = ("--proof", "none", "--checks", "permissions")
REST_S = 0.4
"""seconds that a loop rests between two builds, at most."""
WAYS = (("--all",), ("--unused-for", "0s"))

LIB = 'package lib\n\n// Hello greets.\nfunc Hello() string {{ return "{0}" }}\n'


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
        """Edit, build, run, and compare what the program says."""
        text = f"{self.module.name} {self.built}"
        (self.module / "lib/lib.go").write_text(LIB.format(text))
        program = self.module.parent / f"{self.module.name}.program"
        done = self._run(self.cache.toolchain.go, "build", "-o", program, ".")
        if done.returncode == 0:
            done = self._run(program)
        self.built += 1
        if done.returncode or done.stdout.strip() != text:
            self.failures.append(f"{text}: exit code {done.returncode}: {done.stdout}{done.stderr}")

    def go_on(self, until: Callable[[], bool]) -> None:
        """Build until told to stop."""
        while not until():
            self.build()
            time.sleep(self.chance.random() * REST_S)

    def _run(self, *command: Path | str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command, cwd=self.module, env=self.cache.environ, capture_output=True, text=True, check=False, timeout=300
        )


@contextmanager
def building(cache: GoCache, *, builds: int, seed: int) -> Iterator[tuple[list[Builder], Callable[[], bool]]]:
    """Have two people build for the length of a block, so often together.

    Yields:
        The people, and a function that says whether they are done.
    """
    people = [Builder(cache, cache.module.with_name(name), random.Random(seed)) for name in ("ann", "bob")]  # noqa: S311 - rests

    def enough() -> bool:
        return sum(person.built for person in people) >= builds

    for person in people:
        shutil.copytree(cache.module, person.module)
    threads = [threading.Thread(target=person.go_on, args=(enough,)) for person in people]
    for thread in threads:
        thread.start()
    try:
        yield people, enough
    finally:
        for thread in threads:
            thread.join()


def clean_again_and_again(guard: Safeguard, enough: Callable[[], bool], chance: random.Random) -> list[str]:
    """Clean and undo until enough was built. Gives the states that cleans ended in."""
    states = []
    for way in itertools.cycle(WAYS):
        if enough():
            return states
        done = guard.json("clean", *way, "--wait", f"{chance.choice((0, 1, 3))}s", *QUICK)
        if done["op"] is None:
            continue
        states.append(done["state"])
        time.sleep(chance.random() * REST_S)
        if done["state"] == "WAITING" and chance.random() < 0.5:
            guard.json("recover", "--wait", "2s", "--proof", "none")
        guard.json("undo", done["op"], "--proof", "none")
    return states


def campaign(warm: GoCache, directory: Path, *, builds: int, seed: int) -> tuple[list[str], list[str], int]:
    """Run it. Gives what failed, the states that cleans ended in, and how many builds there were."""
    cache = copy_cache(warm, directory)
    guard = Safeguard(cache, directory / "state", FREE)
    with building(cache, builds=builds, seed=seed) as (people, enough):
        states = clean_again_and_again(guard, enough, random.Random(seed))  # noqa: S311 - as above
    assert guard.json("fsck", "--all")["findings"] == []
    assert guard.json("audit", "verify")["whole"]
    assert guard.json("recover", "--proof", "none")["operations"] == []
    return [text for person in people for text in person.failures], states, sum(person.built for person in people)


@pytest.mark.real
@pytest.mark.crash
@pytest.mark.parametrize("version", ["go1.21.13", "go1.27.3"])
def test_no_build_fails_while_its_cache_is_cleaned_and_restored(
    version: str, tmp_path: Path, warm_cache: Callable[[Toolchain], GoCache]
) -> None:
    failures, states, _ = campaign(warm_cache(find_toolchain(version)), tmp_path, builds=24, seed=1)
    assert failures == []
    assert states
