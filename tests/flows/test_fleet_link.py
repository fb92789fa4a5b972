"""A server that says something else than it should, or somebody in its place: what is held stays held."""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from certificates import Certificates, certificates
from go_cache_safeguard.config.layer import ConfigBad
from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.operation import Operation
from go_cache_safeguard.flows.fleet import CONSUMING, Trouble, bring_home, decide_there, filing_of, server_of
from go_cache_safeguard.flows.fleet_link import MOST_BYTES, Answered, Link, NoAnswer, ask_once
from go_cache_safeguard.flows.progress import Silent
from go_cache_safeguard.flows.session import Session, new_operation_id, open_session
from go_cache_safeguard.web import schema

TOKEN = "gcs_canary0of0a0token"  # noqa: S105 - of nobody
DIGEST = "ab" * 32


class Says:
    """A server that says one thing, whatever it is asked.

    Attributes:
        status: What it answers.
        body: With this; None for nothing, byte by byte.
        kind: Of this type.
        asked: What came.
    """

    def __init__(self, body: bytes | None, *, status: int = 200, kind: str = "application/json") -> None:
        self.status, self.body, self.kind = status, body, kind
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.port = 0
        self.stopped = threading.Event()


@contextmanager
def saying(says: Says, tls: Certificates | None = None) -> Iterator[Says]:
    """Listen."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.do_GET()

        def do_GET(self) -> None:
            says.asked.append((self.command, self.path, dict(self.headers)))
            self.send_response(says.status)
            self.send_header("Content-Type", says.kind)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", str(len(says.body or b" " * 9999)))
            self.end_headers()
            if says.body is not None:
                self.wfile.write(says.body)
                return
            while not says.stopped.wait(0.05):
                self.wfile.write(b" ")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named by the base class
            del format, args

    class Quiet(ThreadingHTTPServer):
        daemon_threads = False

        def handle_error(self, request: object, client_address: object) -> None:
            del request, client_address  # the client hung up

    server = Quiet(("127.0.0.1", 0), Handler)
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls.server.cert, tls.server.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    says.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield says
    finally:
        says.stopped.set()
        server.shutdown()
        thread.join(30)
        server.server_close()


def session_of(folder: Path, url: str, **more: str) -> Session:
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(TOKEN + "\n")
    given = {
        "state.dir": str(folder / "state"),
        "approval.server": url,
        "approval.server_token_file": str(token),
        "approval.server_timeout": "1s",
    }
    return open_session({**given, **{key.replace("__", "."): text for key, text in more.items()}}, progress=Silent())


def link_of(folder: Path, port: int, scheme: str = "http", **more: str) -> Link:
    link = server_of(session_of(folder, f"{scheme}://127.0.0.1:{port}", **more))
    assert link is not None
    return link


def held(session: Session) -> str:
    op = new_operation_id()
    with session.journal() as journal:
        about: dict[str, Value] = {
            "kind": "go-build-cache",
            "target": "/x",
            "digest": DIGEST,
            "items": 1,
            "bytes": 1,
            "whole": 1,
        }
        journal.advance(op, State.REQUESTED, about)
        journal.advance(op, State.CHECKED, {"verdicts": []})
        journal.advance(op, State.HELD, {"reasons": ["too much"]})
    return op


GOOD: dict[str, Any] = {"schema": "go-cache-safeguard/operation/1", "digest": DIGEST, "approvers": ["user:bob"]}


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (b"<html>", 200, "text/html"),
        (b"<html>", 200, "application/json"),
        (b"[]", 200, "application/json"),
        (b"", 200, "application/json"),
        (b"[" * 100_000, 200, "application/json"),
        (b'{"x": "' + b"y" * MOST_BYTES + b'"}', 200, "application/json"),
        (b"{}", 302, "application/json"),
        (b"{}", 307, "application/json"),
        (None, 200, "application/json"),
    ],
)
def test_what_no_approval_server_says_is_no_answer(tmp_path: Path, body: bytes | None, status: int, kind: str) -> None:
    with saying(Says(body, status=status, kind=kind)) as server:
        answer = ask_once(link_of(tmp_path, server.port), "GET", "/operations")
        assert isinstance(answer, NoAnswer)
        assert answer.sent
        assert {path for _, path, _ in server.asked} == {"/api/v1/operations"}
        assert TOKEN not in repr(answer)


@pytest.mark.parametrize(
    "wrong",
    [
        {"schema": "go-cache-safeguard/operation/2"},
        {"op": "op_0000000000000000"},
        {"digest": "cd" * 32},
        {"state": "APPROVED!"},
        {"state": None},
        {"state": ["APPROVED"]},
        {"state": "DONE"},
        {"state": "REFUSED"},
        {"approvers": "user:bob"},
        {"approvers": [1]},
        {"approvers": [""]},
        {"approvers": []},
        {"state": "PASSED"},
    ],
)
def test_an_answer_about_something_else_approves_nothing(tmp_path: Path, wrong: dict[str, Any]) -> None:
    says = Says(b"")
    with saying(says) as server:
        session = session_of(tmp_path, f"http://127.0.0.1:{server.port}")
        op, link = held(session), link_of(tmp_path, server.port)
        says.body = json.dumps({**GOOD, "op": op, "state": "APPROVED", **wrong}).encode()
        with session.journal() as journal:
            with pytest.raises(Trouble):
                bring_home(link, journal, journal, op)
            operation, trouble = decide_there(session, journal, link, op)
        assert operation.state is State.HELD
        assert "does not help" in trouble


def test_an_approval_that_is_never_used_there_is_none_here(tmp_path: Path) -> None:
    says = Says(b"")
    with saying(says) as server:
        session = session_of(tmp_path, f"http://127.0.0.1:{server.port}")
        op, link = held(session), link_of(tmp_path, server.port)
        says.body = json.dumps({**GOOD, "op": op, "state": "APPROVED"}).encode()  # also as the answer to its use
        with session.journal() as journal:
            with pytest.raises(Trouble):
                bring_home(link, journal, journal, op)
            assert [record.step for record in journal.records(op=op)][-1] == CONSUMING
            assert journal.operation(op).state is State.HELD


def test_the_token_goes_to_nobody_who_does_not_prove_who_they_are(tmp_path: Path) -> None:
    ours, theirs = certificates(tmp_path / "ours"), certificates(tmp_path / "theirs")
    with saying(Says(b"{}"), ours) as server:
        for trusted in ("", str(theirs.ca)):
            link = link_of(tmp_path, server.port, "https", approval__server_ca=trusted)
            answer = ask_once(link, "GET", "/operations")
            assert isinstance(answer, NoAnswer)
            assert "does not prove who it is" in answer.why
            assert not answer.sent
        assert server.asked == []
        link = link_of(tmp_path, server.port, "https", approval__server_ca=str(ours.ca))
        assert ask_once(link, "GET", "/operations") == Answered(200, {})
        ((_, path, headers),) = server.asked
        assert headers["Authorization"] == f"Bearer {TOKEN}"
        assert TOKEN not in path
        assert TOKEN not in repr(link)


def test_a_path_before_the_api_is_kept(tmp_path: Path) -> None:
    with saying(Says(b"{}")) as server:
        link = server_of(session_of(tmp_path, f"http://127.0.0.1:{server.port}/safeguard/"))
        assert link is not None
        ask_once(link, "POST", "/operations", {"a": 1})
        assert server.asked[0][:2] == ("POST", "/safeguard/api/v1/operations")


@pytest.mark.parametrize(
    "url",
    [
        "http://safeguard.example",
        "http://10.0.0.1",
        "https://name:word@safeguard.example",
        "https://safeguard.example/?x=1",
        "https://169.254.169.254",
        "ftp://safeguard.example",
        "nonsense",
        "https://[",
    ],
)
def test_a_server_that_may_not_be_asked_is_refused_or_never_connected_to(tmp_path: Path, url: str) -> None:
    try:
        link = server_of(session_of(tmp_path, url))
    except ConfigBad:
        return
    assert link is not None
    answer = ask_once(link, "GET", "/operations")
    assert isinstance(answer, NoAnswer)
    assert not answer.sent


@pytest.mark.parametrize("text", ["", "two words", "gcs_\x00", "gcs_ä"])
def test_a_token_that_is_none_is_refused_before_anything(tmp_path: Path, text: str) -> None:
    session = session_of(tmp_path, "https://safeguard.example")
    Path(session.config.text("approval.server_token_file")).write_text(text)
    with pytest.raises(ConfigBad, match="server_token_file"):
        server_of(session)


def test_a_token_that_others_can_read_is_refused(tmp_path: Path) -> None:
    session = session_of(tmp_path, "https://safeguard.example")
    Path(session.config.text("approval.server_token_file")).chmod(0o640)
    with pytest.raises(ConfigBad, match="can be read by others"):
        server_of(session)


def test_without_a_server_people_decide_here(tmp_path: Path) -> None:
    assert server_of(open_session({"state.dir": str(tmp_path)}, progress=Silent())) is None


def test_what_is_too_much_or_too_odd_for_a_server_is_left_out_of_a_filing_and_said() -> None:
    op, at = new_operation_id(), "2026-01-01T00:00:00.000000Z"
    data: dict[str, Any] = {"selectors": ["x" * 999] * 300, "verdicts": [], "target": "/x" * 9999, "expires_s": 0}
    for requester, told in (
        ("uid:7(alice)", "uid:7(alice)"),
        ("uid:7(alice@corp)", "uid:7"),
        ("uid:7(a b)", "uid:7"),
        ("uid:7", "uid:7"),
    ):
        filing = filing_of(Operation(op, State.HELD, requester, at, at, data), {"x": "y" * (256 << 10)})
        read = schema.Filing.model_validate({**filing, "digest": DIGEST, "kind": "k"})
        assert (read.requester, read.evidence, read.selectors[-1]) == (told, {}, "and 201 more")
        assert (len(read.selectors), len(read.target)) == (100, 4096)
