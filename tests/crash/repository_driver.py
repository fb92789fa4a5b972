"""Is killed at every step of one act on a repository, and looks at what is left: run as a program.

The steps are the files that are put aside, and the calls of the store's library that change something: put, rename, delete. The k-th one
is killed before it ends, which leaves half a file, or after; of a delete of many objects half are gone then. Within one call the library is atomic (link, rename), which is why
calls and not system calls are counted: its threads share them out as they like.

    python repository_driver.py ACT before|after DIRECTORY
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import obstore

from dying import load, run
from go_cache_safeguard.flows import repository, repository_prune
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.snapshot import Subject
from go_cache_safeguard.snapshot import store
from go_cache_safeguard.snapshot.keep import Rules
from go_cache_safeguard.snapshot.manifest import Kind
from repositories import contents_of, files_of, make_cache, put, require_whole, session_at

LIMIT = 200
CHANGES = ("put", "rename", "delete")


def main(act: str, when: str, directory: Path) -> int:
    """Kill at the first, second, ... step until the act comes to its end alive. Prints how often it was killed."""
    load()
    for k in range(1, LIMIT):
        base = directory / f"{k}"
        base.mkdir()
        run(lambda: begin(act, base))  # noqa: B023 - run at once
        if run(lambda: die(act, when, base, k)) == 0:  # noqa: B023 - likewise
            os.write(1, str(k - 1).encode())
            return 0
        if run(lambda: look(act, base)):  # noqa: B023 - likewise
            os.write(2, f"after death {k} {when}\n".encode())
            return 1
    return 1


def session_of(base: Path) -> Session:
    return session_at(base)


def cache_of(base: Path) -> Subject:
    return Subject(Kind.BUILD, base / "cache")


def begin(act: str, base: Path) -> None:
    """Bring a repository to where the act begins."""
    make_cache(base / "cache", large=1)
    if act == "first":
        return
    session = session_of(base)
    for number in range(2):
        put(base / "cache", 5, b"%d" % number * 50_000)
        repository.create(session, cache_of(base))
    put(base / "cache", 6, b"new" * 20_000)


def do(act: str, base: Path) -> None:
    session = session_of(base)
    if act == "prune":
        planned = repository_prune.plan(session, Rules(last=1), grace_s=0)
        repository_prune.execute(session, planned.plan)
    else:
        repository.create(session, cache_of(base))


def die(act: str, when: str, base: Path, k: int) -> None:
    """Do it, with a death planned at the k-th step."""
    steps = 0

    def deadly(real: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps == k:
                if when == "after":
                    half = name == "delete" and isinstance(args[1], list)
                    real(args[0], args[1][: len(args[1]) // 2]) if half else real(*args, **named)
                elif name == "write":
                    real(args[0], (b"half",))
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **named)

        return call

    for name in CHANGES:
        setattr(obstore, name, deadly(getattr(obstore, name), name))
    store.write_file = deadly(store.write_file, "write")
    do(act, base)


def look(act: str, base: Path) -> None:
    """Every snapshot that is there is whole; the act can be done again; a prune leaves nothing that nobody needs."""
    session = session_of(base)
    place = base / "state" / "repository"
    if (place / "config.json").exists():
        before = require_whole(session)
        least = {"first": 0, "second": 2, "prune": 1}[act]
        assert before >= least, (before, least)
    if act == "prune":
        planned = repository_prune.plan(session, Rules(last=1), grace_s=0)
        if planned.plan.items:
            repository_prune.execute(session, planned.plan)
    repository.create(session, cache_of(base))
    assert contents_of(session, "latest") == files_of(base / "cache")
    planned = repository_prune.plan(session, Rules(last=1), grace_s=0)
    repository_prune.execute(session, planned.plan)
    assert require_whole(session) == 1
    left = [path for folder in ("locks", "staging") for path in (place / folder).rglob("*") if path.is_file()]
    assert left == [], left
    assert repository.verify(session, None).unneeded == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
