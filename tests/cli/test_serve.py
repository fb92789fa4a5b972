"""`serve` and its people on the command line: what it refuses to begin with, how it ends, and where secrets never are."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives import serialization

from certificates import Certificates, certificates
from go_cache_safeguard.cli.app import run
from webserver import CHEAP, PASSWORD, Served, add_person, environ, log_in, run_command, serving

CANARY = "canary-of-a-secret-17"


class Line:
    """The command line inside of this process: to start Python for each of many commands takes long."""

    def __init__(self, state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.state = state
        self._capsys = capsys
        self._monkeypatch = monkeypatch
        for name, value in environ(state, CHEAP).items():
            monkeypatch.setenv(name, value)

    def __call__(self, *arguments: str, code: int = 0, typed: str = "") -> str:
        """Run one, demand an exit code, give all that it said."""
        self._monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        self._capsys.readouterr()
        ended = run(["serve", *arguments])
        said = self._capsys.readouterr()
        assert ended == code, said
        return said.out if "--json" in arguments else said.out + said.err


@pytest.fixture
def line(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Line:
    return Line(tmp_path / "state", capsys, monkeypatch)


def _kept(*folders: Path) -> bytes:
    return b"".join(path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--listen", "0.0.0.0:8443"), "nobody would end TLS"),
        (("--listen", "0.0.0.0:8443", "--set", "serve.trusted_proxies=10.0.0.1"), "set serve.url"),
        (("--listen", "8443"), "is not host:port"),
        (("--url", "http://safeguard.example.org"), "is not https://"),
        (("--url", "https://safeguard.example.org"), "nobody would end TLS"),
        (("--url", "https://a.example/path", "--set", "serve.trusted_proxies=10.0.0.1"), "is not https://"),
        (("--tls-cert", "/nowhere.pem"), "go together"),
        (("--tls-cert", "/nowhere.pem", "--tls-key", "/nowhere.key"), "cannot be read"),
        (("--tls-cert", "{cert}", "--tls-key", "{open_key}"), "can be read by others"),
        (("--tls-cert", "{cert}", "--tls-key", "{old_key}"), "is not PKCS#8"),
        (("--tls-cert", "{cert}", "--tls-key", "{other_key}"), "do not belong together"),
        (("--set", "serve.trusted_proxies=proxy.example"), "serve.trusted_proxies"),
        (("--set", "serve.oidc_issuer=http://id.example.org"), "is not https://"),
        (("--set", "serve.oidc_issuer=https://id.example.org"), "serve.oidc_client_id is missing"),
        (("--url", "http://127.0.0.1:8443=other"), "tenants need serve.database"),
    ],
)
def test_what_cannot_be_safe_does_not_begin(line: Line, arguments: tuple[str, ...], words: str, tmp_path: Path) -> None:
    made = certificates(tmp_path / "tls") if any("{" in word for word in arguments) else None
    files = {} if made is None else {"cert": made.server.cert, "other_key": made.client.key, **_bad_keys(made)}
    assert words in line(*(word.format(**files) for word in arguments), code=35)


def _bad_keys(made: Certificates) -> dict[str, Path]:
    """The right key, but for everybody to read; and in a form that is not understood."""
    found = {"open_key": made.server.key.with_name("open"), "old_key": made.server.key.with_name("old")}
    for path in found.values():
        path.touch(mode=0o600)
    found["open_key"].write_bytes(made.server.key.read_bytes())
    found["open_key"].chmod(0o644)
    key = serialization.load_pem_private_key(made.server.key.read_bytes(), None)
    old = serialization.PrivateFormat.TraditionalOpenSSL
    found["old_key"].write_bytes(key.private_bytes(serialization.Encoding.PEM, old, serialization.NoEncryption()))
    return found


def test_a_place_that_somebody_has_is_not_shared(line: Line) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert "cannot be had" in line("--listen", f"127.0.0.1:{taken.getsockname()[1]}", code=36)


def test_without_the_extra_one_is_told_what_to_install(tmp_path: Path) -> None:
    code = "import sys; sys.modules['starlette'] = None; from go_cache_safeguard.__main__ import main; sys.exit(main())"
    for arguments in (("serve",), ("serve", "people", "list")):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env=environ(tmp_path, {}),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 35, done.stderr
        assert "pip install go-cache-safeguard[server]" in done.stderr


def test_people_are_administered(line: Line) -> None:
    assert "nobody may come in" in line("people", "list")
    line("people", "add", "alice", "--role", "approver", "--role", "auditor")
    line("people", "add", "alice", code=2)
    line("people", "add", "Alice B", code=2)
    line("people", "add", "bob", "--role", "king", code=2)
    line("people", "add", "bob")
    line("people", "link", "alice", "uid:1000(alice)")
    line("people", "link", "bob", "uid:01000", code=2)
    line("people", "link", "bob", "none")
    line("people", "link", "bob", "slack:T0123/U0456")
    line("people", "link", "bob", "user:alice", code=2)
    line("people", "unlink", "bob", "none")
    line("people", "unlink", "bob", "none", code=2)
    line("people", "roles", "bob", "--role", "requester")
    line("people", "disable", "bob")
    line("people", "disable", "nobody", code=2)
    line("people", "password", "alice", typed=f"{PASSWORD}\n")
    line("people", "password", "alice", typed="short\n", code=2)
    found = json.loads(line("people", "list", "--json"))
    assert found["schema"] == "go-cache-safeguard/people/1"
    alice, bob = found["people"]
    assert alice == {
        "name": "alice",
        "roles": ["approver", "auditor"],
        "active": True,
        "links": ["uid:1000(alice)"],
        "password": True,
        "totp": False,
    }
    assert (bob["roles"], bob["active"], bob["links"]) == (["requester"], False, ["slack:T0123/U0456"])
    assert "alice" in line("people", "list")
    told = json.loads(run_command(line.state, {}, "audit", "verify", "--json").stdout)
    assert told, "the journal is whole"


def test_secrets_go_into_new_files_of_their_owner_and_come_from_them(line: Line, tmp_path: Path) -> None:
    state, secret = line.state, tmp_path / "password"
    line("people", "add", "alice", "--role", "approver")
    secret.write_text(f"{CANARY}\n")
    secret.chmod(0o644)
    assert "can be read by others" in line("people", "password", "alice", "--password-file", str(secret), code=35)
    secret.chmod(0o600)
    line("people", "password", "alice", "--password-file", str(secret))
    token = tmp_path / "token"
    made = line("token", "add", "alice", "--scope", "read", "--output", str(token), "--expires", "30d")
    assert token.stat().st_mode & 0o777 == 0o600
    assert token.read_text().startswith("gcs_")
    assert token.read_text().strip() not in made
    before = line("token", "list", "--json")
    line("token", "add", "alice", "--output", str(token), code=35)
    assert line("token", "list", "--json") == before, "nothing was minted"
    identity = json.loads(before)["tokens"][0]["id"]
    assert identity in line("token", "list")
    line("token", "revoke", identity)
    line("token", "revoke", identity, code=2)
    code = tmp_path / "code"
    line("people", "totp", "alice", code=2)
    made = line("people", "totp", "alice", "--output", str(code))
    assert code.stat().st_mode & 0o777 == 0o600
    assert code.read_text().startswith("otpauth://totp/")
    line("people", "totp", "alice", "--off")
    kept = _kept(state)
    assert CANARY.encode() not in kept
    assert token.read_text().strip().encode() not in kept
    assert (state / "people.sqlite").stat().st_mode & 0o777 == 0o600


def test_reading_settings_again_and_stopping_cost_nobody_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "go-cache-safeguard").mkdir()
    config = tmp_path / "go-cache-safeguard" / "config.toml"
    with serving(tmp_path, {"serve.drain": "1h"}) as served:
        assert f"serving at 127.0.0.1:{served.port}" in served.log.read_text()
        add_person(served, "alice", "approver")
        config.write_text('[serve]\nsession = "for ever"\n')
        served.process.send_signal(signal.SIGHUP)
        _wait_for(served, "settings are not taken over")
        assert httpx.get(f"{served.url}/healthz", trust_env=False).status_code == 200
        assert served.log.read_text().count("Started worker") == 1
        config.write_text('[serve]\nsession = "1h"\n')
        served.process.send_signal(signal.SIGHUP)
        _again(served)
        _wait_for(served, "Stopping old worker")
        with served.client() as client:
            assert "Max-Age=3600" in log_in(client, "alice").headers["set-cookie"]
            with client.stream("GET", "/live") as news:
                lines = news.iter_lines()
                assert next(lines).startswith("retry")
                answer = _stop_while_a_form_comes(served)
                assert "" in list(lines), "whoever listens for news is sent away, and told so"
        assert answer.startswith(b"HTTP/1.1 303 ")
        assert served.process.wait(timeout=60) == 0
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{served.url}/healthz", trust_env=False)


def _stop_while_a_form_comes(served: Served) -> bytes:
    """The answer to a request that was under way when the server was told to stop."""
    form = f"name=alice&password={PASSWORD.replace(' ', '+')}&next=/".encode()
    head = f"POST /login HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\nOrigin: {served.url}\r\n"
    head += f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(form)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", served.port), timeout=60) as link:
        link.sendall(head.encode() + form[:10])
        time.sleep(0.5)  # the request is under way
        served.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        link.sendall(form[10:])
        return link.recv(4096)


def _again(served: Served) -> None:
    _wait_for(served, "Started worker", 2)
    assert httpx.get(f"{served.url}/healthz", trust_env=False).status_code == 200


def _wait_for(served: Served, words: str, times: int = 1) -> None:
    deadline = time.monotonic() + 60
    while served.log.read_text().count(words) < times:
        assert time.monotonic() < deadline, served.log.read_text()
        time.sleep(0.1)


def test_a_process_that_answers_and_dies_is_started_again(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        time.sleep(6)  # who dies at once, again and again, is not
        child = int(Path(f"/proc/{served.process.pid}/task/{served.process.pid}/children").read_text().split()[0])
        os.kill(child, signal.SIGKILL)
        _again(served)


def test_no_secret_is_in_a_log_the_journal_a_command_line_or_an_error(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        add_person(served, "alice", "approver", password=CANARY)
        with served.client() as client:
            log_in(client, "alice", f"{CANARY}-wrong")
            log_in(client, CANARY, "wrong")
            assert log_in(client, "alice", CANARY).status_code == 303
            cookie = client.cookies["safeguard-session"]
            client.get(f"/op/{CANARY}")
            client.get("/", headers={"Authorization": f"Bearer gcs_{CANARY}"})
            client.post(
                "/login",
                content=f"name={CANARY}&%%%".encode(),
                headers={"Content-Type": "multipart/form-data; boundary=x"},
            )
            served.state.chmod(0o700)
            (served.state / "people.sqlite").rename(served.state / "away")  # so that something fails
            client.get("/")
        argv = b"".join(path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if _mine(path, served))
        kept = _kept(served.state) + served.log.read_bytes() + argv
    assert CANARY.encode() not in kept
    assert cookie.encode() not in kept


def _mine(path: Path, served: Served) -> bool:
    """Of the server or a child of it."""
    try:
        fields = (path.parent / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return served.process.pid in {int(path.parent.name), int(fields[1])}
