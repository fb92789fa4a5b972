"""The board, with a real Prometheus, a real Alertmanager, real repositories and a Slack at the loopback: red, green, never twice."""

import base64
import http.client
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest

from alerting import alertmanager, prometheus
from boardrepositories import git, push, readme, repository
from certificates import certificates
from go_cache_safeguard.flows.board import Board
from go_cache_safeguard.flows.board_hook import PATH, hooked
from go_cache_safeguard.flows.golden import source_of
from go_cache_safeguard.flows.progress import Silent
from go_cache_safeguard.flows.session import open_session
from go_cache_safeguard.signals.board import State, state_in
from guardproxy import free_port, wait_until
from shopservice import shop
from slackservers import slack

pytestmark = pytest.mark.real
SECRET = "a-secret-of-the-alertmanager"  # noqa: S105 - nobody's
FAILED = ["aa" * 16, "bb" * 16, "cc" * 16]
RULE = """
groups:
- name: pay
  rules:
  - alert: PayFails
    expr: >
      sum by (job) (rate(http_server_request_duration_seconds_count{http_response_status_code=~"5.."}[10s]))
      / sum by (job) (rate(http_server_request_duration_seconds_count[10s])) > 0.005
"""


def settings(folder: Path, bare: Path, port: int) -> dict[str, str]:
    secret = folder / "secret"
    secret.touch(mode=0o600)
    secret.write_text(SECRET)
    return {
        "state.dir": str(folder / "state"),
        "signals.board": f"pay={bare}",
        "signals.board_window": "10s",
        "signals.trace_url": "https://traces.example/trace/{trace}",
        "signals.hook_listen": f"127.0.0.1:{port}",
        "signals.hook_token_file": str(secret),
    }


@contextmanager
def kept(given: dict[str, str], told: list[str]) -> Iterator[Board]:
    """A board that is kept true, as `signals board --serve-hook` does it."""
    config = open_session(given, progress=Silent()).config
    board, stop = Board(config, source_of(config), told.append), threading.Event()
    with hooked(config, board):
        thread = threading.Thread(target=board.run, args=(stop.is_set,))
        thread.start()
        try:
            yield board
        finally:
            stop.set()
            thread.join()


def manager(folder: Path, port: int) -> AbstractContextManager[str]:
    hook = {
        "url": f"http://127.0.0.1:{port}{PATH}",
        "http_config": {"authorization": {"credentials": SECRET}},
        "send_resolved": True,
    }
    route = {"receiver": "board", "group_wait": "0s", "group_interval": "1s", "repeat_interval": "1s"}
    return alertmanager(folder, {"route": route, "receivers": [{"name": "board", "webhook_configs": [hook]}]})


def state(bare: Path) -> State | None:
    return state_in(readme(bare).encode())


def commits(bare: Path) -> list[str]:
    return [line for line in git(bare, "log", "--format=%s", "main").split("\n") if line.startswith("Board")]


@contextmanager
def serving(serve: Callable[[], None]) -> Iterator[None]:
    """Requests come all the time."""
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(0.1):
            serve()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_board_is_red_soon_after_the_alert_with_links_and_green_again_and_nothing_is_committed_twice(
    tmp_path: Path,
) -> None:
    (tmp_path / "rules.yml").write_text(RULE)
    bare, port, told = repository(tmp_path), free_port(), list[str]()
    broken = threading.Event()
    with shop() as one, slack() as fake, manager(tmp_path, port) as alerts_to:
        rules = [tmp_path / "rules.yml"]

        def serve() -> None:
            one.serve(10)
            if broken.is_set():
                for number, trace in enumerate(FAILED):
                    one.serve(1, ms=(3, 8, 20)[number], failed=trace)

        with prometheus(tmp_path, one.where, alerts_to, job="pay", rules=rules) as where, serving(serve):
            given = {
                **settings(tmp_path, bare, port),
                **fake.settings(tmp_path),
                "signals.prometheus": f"http://{where}",
            }
            with kept(given, told):
                wait_until("the board is green", lambda: state(bare) is State.GREEN)
                time.sleep(3)
                broken.set()
                wait_until("the board is red", lambda: state(bare) is State.RED, 15)
                red = readme(bare)
                assert "pay is red" in red
                assert red.endswith("# Pay")
                (tmp_path / "work" / "note.md").write_text("meanwhile\n")
                git(tmp_path / "work", "fetch", "--quiet", str(bare), "main")
                git(tmp_path / "work", "reset", "--quiet", "--soft", "FETCH_HEAD")
                git(tmp_path / "work", "checkout", "--quiet", "FETCH_HEAD", "--", "README.md")
                push(tmp_path / "work", bare, "a person")
                time.sleep(3)  # the alert comes again each second
                assert len([line for line in commits(bare) if "red" in line]) == 1, commits(bare)
                broken.clear()
                wait_until("the board is green again", lambda: state(bare) is State.GREEN, 40)
        reds = [one for one in fake.messages if "is red" in one["text"]]
        assert len(reds) == 1
        assert fake.refused == []
    assert "note.md" in git(bare, "ls-tree", "--name-only", "main")
    assert [line.split(" (")[0] for line in commits(bare)][:2] == ["Board: pay is green", "Board: pay is red"]
    text = reds[0]["blocks"][1]["text"]["text"]
    assert all(f"https://traces.example/trace/{trace}" in red for trace in FAILED), red
    assert all(f"https://traces.example/trace/{trace}" in text for trace in FAILED), text
    assert SECRET not in "".join(told)


def _posted(port: int, body: bytes, authorization: str = "", path: str = PATH, length: str = "") -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        headers = {"Content-Length": length or str(len(body))} | (
            {"Authorization": authorization} if authorization else {}
        )
        connection.request("POST", path, body, headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_the_hook_lets_in_who_shows_the_secret_and_a_hint_is_only_a_hint(tmp_path: Path) -> None:
    bare, port, told = repository(tmp_path), free_port(), list[str]()
    body = json.dumps({"version": "4", "alerts": [{"status": "firing", "labels": {"job": "pay"}}]}).encode()
    with kept({**settings(tmp_path, bare, port), "signals.prometheus": "http://127.0.0.1:9"}, told):
        basic = base64.b64encode(f"anybody:{SECRET}".encode()).decode()
        wrong = base64.b64encode(b"anybody:wrong").decode()
        assert _posted(port, body, f"Bearer {SECRET}") == 204
        assert _posted(port, body, f"Basic {basic}") == 204
        for shown in ("", "Bearer", f"Bearer {SECRET}x", f"Basic {wrong}", "Basic %", SECRET, f"Digest {SECRET}"):
            assert _posted(port, body, shown) == 401
        assert _posted(port, body, f"Bearer {SECRET}", "/") == 404
        assert _posted(port, b"[" * 10_000, f"Bearer {SECRET}") == 400
        assert _posted(port, b"{}", f"Bearer {SECRET}", length="2000000") == 413
        wait_until("the board says that nothing is known", lambda: state(bare) is State.UNKNOWN)
    assert "pay is unknown" in readme(bare)


def test_with_an_authority_only_an_alertmanager_with_its_certificate_is_let_in(tmp_path: Path) -> None:
    made, port = certificates(tmp_path / "certificates"), free_port()
    given = {
        **settings(tmp_path, repository(tmp_path), port),
        "signals.prometheus": "http://127.0.0.1:9",
        "signals.hook_token_file": "",
        "signals.hook_tls_cert": str(made.server.cert),
        "signals.hook_tls_key": str(made.server.key),
        "signals.hook_tls_client_ca": str(made.ca),
    }
    body = json.dumps({"alerts": []}).encode()

    def posted(*, shows: bool) -> int:
        context = ssl.create_default_context(cafile=made.ca)
        if shows:
            context.load_cert_chain(made.client.cert, made.client.key)
        with closing(http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=context)) as connection:
            connection.request("POST", PATH, body)
            return connection.getresponse().status

    with kept(given, []):
        assert posted(shows=True) == 204
        with pytest.raises((ssl.SSLError, OSError, http.client.HTTPException)):
            posted(shows=False)
