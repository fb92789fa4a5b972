"""Servers that a whole session of tests shares; each test begins with an empty one."""

from collections.abc import Iterator

import pytest

from redisservers import BINARIES, Client, Server, running


@pytest.fixture(scope="session", params=list(BINARIES))
def redis_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Each server in turn: the oldest and the newest that we promise, and the distribution's own."""
    with running(request.param, tmp_path_factory.mktemp("r")) as server:
        yield server


@pytest.fixture
def redis_client(redis_server: Server) -> Iterator[Client]:
    """A connection to an empty server."""
    with redis_server.client() as client:
        client("FLUSHALL")
        client("CONFIG", "RESETSTAT")
        yield client
