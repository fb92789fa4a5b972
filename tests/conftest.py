"""Fixtures for tests that need a real Go toolchain and a real cache."""

import gc
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gocaches import OWN, PINNED, GoCache, Toolchain, copy_cache, find_toolchain, make_warm

if TYPE_CHECKING:
    from postgres import Database, Server

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts background jobs like this, and children inherit it: Ctrl-C would then reach no test and no program of ours.
    signal.signal(signal.SIGINT, signal.default_int_handler)


MEMORY = Path("/dev/shm")  # noqa: S108 - only the folder in which pytest makes a private one
ROOM = 8 << 30
"""bytes that must be free there; at most about one is in use at once"""


def pytest_configure() -> None:
    """Work in memory where there is much of it: hundreds of tests copy a cache each, and a disk is busy with that for minutes."""
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", f"{MEMORY}")


def pytest_collection_finish() -> None:
    """Thousands of tests were collected and stay: nobody need look through them again for what is garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def _leave_no_child() -> Iterator[None]:
    """The helper that Python starts beside spawned processes lives as long as we; other tests want to have no child."""
    yield
    tracker: Any = resource_tracker
    if tracker._resource_tracker._pid is not None:
        gc.collect()
        tracker._resource_tracker._stop()


@pytest.fixture(scope="session", params=[*PINNED, OWN])
def toolchain(request: pytest.FixtureRequest) -> Toolchain:
    """Each toolchain in turn: the oldest and the newest that we promise, and the machine's own."""
    return find_toolchain(request.param)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A directory that all test processes of this session share."""
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent


@pytest.fixture(scope="session")
def warm_cache(shared: Path) -> Callable[[Toolchain], GoCache]:
    """Gives the template cache of a toolchain; read it, never write into it."""
    return lambda toolchain: make_warm(shared, toolchain)


@pytest.fixture(params=PINNED)
def fresh_cache(request: pytest.FixtureRequest, tmp_path: Path, warm_cache: Callable[[Toolchain], GoCache]) -> GoCache:
    """A private copy of the cache of the oldest and of the newest toolchain, to be damaged."""
    return copy_cache(warm_cache(find_toolchain(request.param)), tmp_path)


@pytest.fixture
def newest_cache(tmp_path: Path, warm_cache: Callable[[Toolchain], GoCache]) -> GoCache:
    """A private copy of the cache of the newest toolchain, where the toolchain does not matter."""
    return copy_cache(warm_cache(find_toolchain(PINNED[-1])), tmp_path)


@pytest.fixture(scope="session")
def postgres() -> Iterator["Server"]:
    """One Postgres server for all tests of this process."""
    from postgres import running

    with running() as server:
        yield server


@pytest.fixture
def database(postgres: "Server", tmp_path: Path) -> Iterator["Database"]:
    """A database of its own with all tables, and the two users that an administrator makes."""
    from postgres import of_its_own

    with of_its_own(postgres, tmp_path) as made:
        yield made
