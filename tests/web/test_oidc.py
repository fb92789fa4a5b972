"""Logging in at an identity provider: a real one for the whole round trip, and one of our own that lies."""

import asyncio
import base64
import hmac
import html
import json
import re
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from go_cache_safeguard.web.oidc import NotLetIn, Provider
from webserver import Served, add_person, free_port, serving

CLIENT = "safeguard"
SESSION, JOURNEY = "safeguard-session", "safeguard-journey"


def _onward(reply: httpx.Response) -> str:
    found = re.search(r'http-equiv="refresh" content="0;url=([^"]+)"', reply.text)
    assert found, reply.text
    return html.unescape(found[1])


def _set_out(client: httpx.Client, onward: str = "/") -> str:
    """Where the browser is sent."""
    reply = client.post("/oidc/start", data={"next": onward})
    assert reply.status_code == 200
    cookie = reply.headers["set-cookie"]
    assert cookie.startswith(f"{JOURNEY}=")
    assert {"HttpOnly", "SameSite=lax", "Max-Age=600"} <= set(cookie.split("; "))
    return _onward(reply)


def _why(served: Served) -> str:
    with served.session().journal(read_only=True) as journal:
        told = [record for record in journal.records() if record.step.startswith("login")][-1]
    return str(told.data.get("why", told.step))


# The whole round trip


@dataclass
class Home:
    """A real provider, and a server that people log in to with it."""

    served: Served
    issuer: str
    secret: str

    def there_and_back(self, client: httpx.Client, subject: str) -> str:
        """Go to the provider and say who one is there; returns where it sends the browser."""
        target = _set_out(client, "/journal?a=b")
        asked = parse_qs(urlsplit(target).query)
        assert asked["code_challenge_method"] == ["S256"]
        assert asked["scope"] == ["openid"]
        assert {"state", "nonce", "code_challenge"} <= asked.keys()
        with httpx.Client(trust_env=False) as browser:
            answer = browser.post(target, data={"sub": subject})
        assert answer.status_code == 302, answer.text
        back = answer.headers["location"]
        assert back.startswith(f"{self.served.url}/oidc/back?")
        return str(back)


@contextmanager
def _provider(folder: Path) -> Iterator[str]:
    """A provider in a process of its own; returns its issuer."""
    port = free_port()
    options = ("--port", str(port), "--require-nonce", "--require-registration")
    with (folder / "provider.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", *options], stdout=log, stderr=log
        )
    issuer = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 30
        while True:
            try:
                httpx.get(f"{issuer}/.well-known/openid-configuration", trust_env=False).raise_for_status()
                break
            except httpx.TransportError:
                assert time.monotonic() < until, (folder / "provider.log").read_text()
                time.sleep(0.1)
        yield issuer
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder, port = tmp_path_factory.mktemp("oidc"), free_port()
    with _provider(folder) as issuer:
        wanted = {"redirect_uris": [f"http://127.0.0.1:{port}/oidc/back"]}
        known = httpx.post(f"{issuer}/oauth2/clients", json=wanted, trust_env=False).json()
        secret = folder / "secret"
        secret.touch(mode=0o600)
        secret.write_text(known["client_secret"])
        settings = {
            "serve.oidc_issuer": issuer,
            "serve.oidc_client_id": known["client_id"],
            "serve.oidc_client_secret_file": str(secret),
        }
        with serving(folder, settings, port=port) as served:
            name = f"oidc:{issuer.partition('://')[2]}"
            add_person(served, "alice", "approver", password="", links=(f"{name}#alice-17", "none"))
            add_person(served, "gone", "approver", password="", links=(f"{name}#gone-1",))
            assert served.command("serve", "people", "disable", "gone").returncode == 0
            yield Home(served, issuer, known["client_secret"])


def test_somebody_comes_in_and_is_one_person_under_both_names(home: Home) -> None:
    with home.served.client() as client:
        reply = client.get(home.there_and_back(client, "alice-17"))
        assert reply.status_code == 200
        assert _onward(reply) == "/journal?a=b"
        session = next(it for it in reply.headers.get_list("set-cookie") if it.startswith(f"{SESSION}="))
        assert {"HttpOnly", "SameSite=strict"} <= set(session.split("; "))
        assert client.get("/").status_code == 200
    with home.served.session().journal(read_only=True) as journal:
        told = [record for record in journal.records() if record.step == "login"][-1]
    assert told.data["who"] == f"oidc:{home.issuer.partition('://')[2]}#alice-17"
    assert (told.data["person"], told.data["way"]) == ("alice", "oidc")


def test_an_answer_counts_once_and_only_in_the_browser_that_set_out(home: Home) -> None:
    with home.served.client() as client, home.served.client() as victim:
        back = home.there_and_back(client, "alice-17")
        assert victim.get(back).status_code == 403, "somebody else's answer, as in a link that was sent to them"
        assert SESSION not in victim.cookies
        assert client.head(back).status_code == 405
        cookie = client.cookies[JOURNEY]
        assert client.get(back).status_code == 200
        client.cookies.clear()
        client.cookies.set(JOURNEY, cookie)
        assert client.get(back).status_code == 403
        assert _why(home.served) == "this browser did not set out, or too long ago"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda back: re.sub(r"state=[^&]+", "state=forged", back), "the state is another one"),
        (lambda back: re.sub(r"state=[^&]+", "", back), "the state is another one"),
        (lambda back: f"{back}&iss=https://evil.example", "the answer is of another issuer"),
        (lambda back: re.sub(r"code=[^&]+", "code=forged", back), "the provider answers 400"),
        (lambda back: re.sub(r"code=[^&]+", "error=access_denied", back), "the provider said no"),
    ],
)
def test_a_forged_answer_lets_nobody_in(home: Home, change: Callable[[str], str], why: str) -> None:
    with home.served.client() as client:
        back = home.there_and_back(client, "alice-17")
        assert client.get(change(back)).status_code == 403
        assert SESSION not in client.cookies
        assert _why(home.served) == why
        assert client.get(back).status_code == 403, "one try for each journey"


@pytest.mark.parametrize(
    ("subject", "why"), [("stranger", "nobody is linked to this account"), ("gone-1", "not active")]
)
def test_who_is_not_let_in_is_told_who_they_are(home: Home, subject: str, why: str) -> None:
    with home.served.client() as client:
        reply = client.get(home.there_and_back(client, subject))
        assert reply.status_code == 403
        assert f"#{subject}" in reply.text
        assert client.get("/").status_code == 303
    assert _why(home.served) == why


def test_a_subject_that_differs_in_case_is_somebody_else(home: Home) -> None:
    with home.served.client() as client:
        assert client.get(home.there_and_back(client, "ALICE-17")).status_code == 403


def test_no_code_state_or_token_is_in_a_log_or_in_the_journal(home: Home) -> None:
    with home.served.client() as client:
        back = home.there_and_back(client, "alice-17")
        client.get(back)
        secrets = [*parse_qs(urlsplit(back).query)["code"], client.cookies[SESSION], home.secret]
    kept = b"".join(path.read_bytes() for path in home.served.state.rglob("*") if path.is_file())
    kept += home.served.log.read_bytes()
    assert not [secret for secret in secrets if secret.encode() in kept]


# A provider that lies

KEY, OTHER = RSAKey.generate_key(2048, {"kid": "one"}), RSAKey.generate_key(2048, {"kid": "one"})
Forge = Callable[["Liar", dict[str, Any]], str]


@dataclass
class Liar:
    """Says what a test wants."""

    issuer: str = ""
    nonce: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    forge: Forge = lambda _, claims: _signed(claims)

    def document(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
            **self.metadata,
        }

    def token(self) -> dict[str, Any]:
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT,
            "sub": "alice-17",
            "nonce": self.nonce,
            "iat": now,
            "exp": now + 300,
        }
        return {"access_token": "a", "token_type": "Bearer", "id_token": self.forge(self, claims)}


def _signed(claims: dict[str, Any], key: RSAKey = KEY) -> str:
    return jwt.encode({"alg": "RS256", "kid": "one"}, claims, key)


def _unsigned(claims: dict[str, Any]) -> str:
    return f"{_part({'alg': 'none'})}.{_part(claims)}."


def _with_public_key(claims: dict[str, Any]) -> str:
    """As if the public key were a shared secret."""
    signed = f"{_part({'alg': 'HS256', 'kid': 'one'})}.{_part(claims)}"
    return f"{signed}.{_base64(hmac.digest(KEY.as_pem(private=False), signed.encode(), 'sha256'))}"


def _part(value: dict[str, Any]) -> str:
    return _base64(json.dumps(value).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@pytest.fixture(scope="module")
def liar() -> Iterator[Liar]:
    told = Liar()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            keys = {"keys": [KEY.as_dict(private=False)]}
            self._say(keys if self.path == "/keys" else told.document())

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._say(told.token())

        def _say(self, value: dict[str, Any]) -> None:
            body = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.issuer = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield told
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def fooled(liar: Liar, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    settings = {"serve.oidc_issuer": liar.issuer, "serve.oidc_client_id": CLIENT}
    with serving(tmp_path_factory.mktemp("liar"), settings) as served:
        link = f"oidc:{liar.issuer.partition('://')[2]}#alice-17"
        add_person(served, "alice", "approver", password="", links=(link,))
        yield served


def _try(served: Served, liar: Liar, forge: Forge, **more: str) -> int:
    """Log in while the provider gives a forged token."""
    with served.client() as client:
        asked = parse_qs(urlsplit(_set_out(client)).query)
        liar.nonce, liar.forge = asked["nonce"][0], forge
        reply = client.get("/oidc/back", params={"code": "c", "state": asked["state"][0], **more})
        assert (SESSION in client.cookies) == (reply.status_code == 200)
        return reply.status_code


def test_an_honest_token_lets_in(fooled: Served, liar: Liar) -> None:
    assert _try(fooled, liar, lambda _, claims: _signed(claims)) == 200
    assert _try(fooled, liar, lambda _, claims: _signed(claims), iss=liar.issuer) == 200
    both: Forge = lambda _, claims: _signed({**claims, "aud": [CLIENT, "other"], "azp": CLIENT})  # noqa: E731 - reads best
    assert _try(fooled, liar, both) == 200


@pytest.mark.parametrize(
    ("forge", "why"),
    [
        (lambda _, claims: _signed({**claims, "nonce": "forged"}), "nonce"),
        (lambda _, claims: _signed({k: v for k, v in claims.items() if k != "nonce"}), "nonce"),
        (lambda _, claims: _signed({**claims, "iss": "https://evil.example"}), "iss"),
        (lambda _, claims: _signed({**claims, "aud": "somebody-else"}), "aud"),
        (lambda _, claims: _signed({**claims, "aud": [CLIENT, "other"], "azp": "other"}), "azp"),
        (lambda _, claims: _signed({**claims, "exp": int(time.time()) - 120}), "exp"),
        (lambda _, claims: _signed({k: v for k, v in claims.items() if k != "exp"}), "exp"),
        (lambda _, claims: _signed({**claims, "iat": int(time.time()) + 3600}), "iat"),
        (lambda _, claims: _signed({k: v for k, v in claims.items() if k != "sub"}), "sub"),
        (lambda _, claims: _signed({**claims, "sub": "alice-17\n"}), "subject"),
        (lambda _, claims: _signed(claims, OTHER), "not signed"),
        (lambda _, claims: _unsigned(claims), "not signed"),
        (lambda _, claims: _with_public_key(claims), "not signed"),
        (lambda _, claims: _signed(claims)[:-8] + "AAAAAAAA", "not signed"),
        (lambda *_: "", "not signed"),
        (lambda *_: "a.b.c", "not signed"),
        (lambda *_: None, "no token"),
    ],
)
def test_a_forged_token_lets_nobody_in(fooled: Served, liar: Liar, forge: Forge, why: str) -> None:
    assert _try(fooled, liar, forge) == 403
    assert why in _why(fooled)


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://evil.example"},
        {"token_endpoint": "http://evil.example/token"},
        {"jwks_uri": "file:///etc/passwd"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": None},
    ],
)
def test_a_provider_that_speaks_for_somebody_else_is_not_asked(liar: Liar, metadata: dict[str, Any]) -> None:
    liar.metadata = metadata
    provider = Provider(liar.issuer, CLIENT, "", ssl.create_default_context())
    with pytest.raises(NotLetIn):
        asyncio.run(provider.metadata())
    liar.metadata = {}
