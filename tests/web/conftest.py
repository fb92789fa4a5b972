"""One real server for all tests that only look, or come and go; tests that need another one start their own."""

from collections.abc import Iterator

import pytest

from certificates import Certificates, certificates
from webserver import Served, add_person, serving


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Impatient, so that tests of slow clients are quick. People: alice (approver), rita (requester), ada (auditor)."""
    patience = {"serve.header_timeout": "1s", "serve.body_timeout": "1s", "serve.reply_timeout": "2s"}
    with serving(tmp_path_factory.mktemp("serve"), {**patience, "serve.attempts": "1000"}) as server:
        add_person(server, "alice", "approver")
        add_person(server, "rita", "requester")
        add_person(server, "ada", "auditor")
        yield server


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority, and what it has signed."""
    return certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def secured(tmp_path_factory: pytest.TempPathFactory, made: Certificates) -> Iterator[Served]:
    """A server with a certificate of its own. People: alice."""
    tls = {"serve.tls_cert": str(made.server.cert), "serve.tls_key": str(made.server.key), "serve.header_timeout": "1s"}
    with serving(tmp_path_factory.mktemp("secured"), tls) as server:
        add_person(server, "alice", "approver")
        yield server
