"""What the fence lets through: names, origins, forms of our own, bodies of a size; and what every reply carries."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from certificates import Certificates
from go_cache_safeguard.flows.progress import Silent
from go_cache_safeguard.flows.session import open_session
from go_cache_safeguard.web.app import build
from go_cache_safeguard.web.fence import App
from go_cache_safeguard.web.opening import open_site
from webserver import Served, add_person, log_in, mint, serving

FORM = {"name": "alice", "password": "wrong", "code": ""}
WANTED = {
    "content-security-policy": "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


@pytest.fixture
def browser(served: Served) -> Iterator[httpx.Client]:
    with served.client() as client:
        assert log_in(client, "alice").status_code == 303
        yield client


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "null"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "{url}.evil.example"},
        {"Origin": "{url}", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "{url}", "Sec-Fetch-Site": "same-site"},
        {"Origin": "{url}", "Sec-Fetch-Site": "none"},
    ],
)
@pytest.mark.parametrize("path", ["/login", "/logout", "/op/op_0000000000000000/approve", "/oidc/start", "/nowhere"])
def test_a_form_of_another_page_changes_nothing(served: Served, path: str, headers: dict[str, str]) -> None:
    before = served.steps()
    sent = {name: value.format(url=served.url) for name, value in headers.items()}
    with served.client() as client:
        log_in(client, "alice")
        del client.headers["Origin"]
        reply = client.post(path, data=FORM, headers=sent)
        assert reply.status_code == 403
        assert client.get("/").status_code == 200, "still logged in"
    assert served.steps() == [*before, "login"]


@pytest.mark.parametrize("given", ["", "wrong", "0" * 64, "ü"])
def test_a_form_without_what_only_our_page_knows_is_refused(browser: httpx.Client, given: str) -> None:
    assert browser.post("/logout", data={"csrf": given}).status_code == 403
    assert (
        browser.post(
            "/logout", headers={"X-CSRF-Token": given.encode("latin-1").decode("latin-1").strip("ü")}
        ).status_code
        == 403
    )
    assert browser.post("/logout", json={"csrf": given}).status_code == 403
    assert browser.get("/").status_code == 200


def test_what_one_session_knows_is_nothing_to_another(served: Served, browser: httpx.Client) -> None:
    with served.client() as other:
        log_in(other, "alice")
        assert other.post("/logout", data={"csrf": served.csrf(browser)}).status_code == 403
        assert other.post("/logout", data={"csrf": served.csrf(other)}).status_code == 303


def test_a_cookie_beside_a_token_counts_for_nothing(browser: httpx.Client) -> None:
    forged = {"Authorization": "Bearer gcs_nothing", "Origin": "https://evil.example"}
    assert browser.get("/api/v1/operations", headers=forged).status_code == 401
    assert browser.post("/logout", headers=forged).status_code == 401
    assert browser.get("/").status_code == 200
    basic = {"Authorization": "Basic YWxpY2U6YWxpY2U="}
    assert browser.get("/api/v1/operations", headers=basic).status_code == 401


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "", "127.0.0.1:{port}.evil.example"])
def test_whoever_comes_in_another_name_is_sent_away(served: Served, host: str) -> None:
    reply = httpx.get(f"{served.url}/login", headers={"Host": host.format(port=served.port)}, trust_env=False)
    assert reply.status_code in {400, 421}
    assert httpx.get(f"{served.url}/healthz", headers={"Host": "10.0.0.9:8443"}, trust_env=False).status_code == 200


def test_two_names_are_none(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as link:
        hosts = f"Host: 127.0.0.1:{served.port}\r\nHost: evil.example\r\n"
        link.sendall(f"GET /login HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n".encode())
        answer = link.recv(4096)
    assert answer.split(b" ")[1] in {b"400", b"421"}


def test_a_question_has_no_body(served: Served) -> None:
    assert httpx.request("GET", f"{served.url}/login", content=b"a", trust_env=False).status_code == 400


def test_a_body_is_as_large_as_whoever_sends_it_may(served: Served) -> None:
    large = b"a" * 100_000
    token = {"Authorization": f"Bearer {mint(served, 'rita', 'request')}", "Content-Type": "application/json"}
    with httpx.Client(base_url=served.url, trust_env=False) as client:
        assert (
            client.post("/api/v1/operations", content=large, headers={"Authorization": "Bearer x"}).status_code == 413
        )
        assert client.post("/api/v1/operations", content=large, headers=token).status_code == 422
        assert client.post("/api/v1/operations", content=b"a" * (9 << 20), headers=token).status_code == 413
        chunks = (b"a" * 1000 for _ in range(100))
        assert client.post("/login", content=chunks, headers={"Origin": served.url}).status_code == 413


def test_every_reply_carries_the_headers(served: Served, browser: httpx.Client) -> None:
    token = {"Authorization": "Bearer nothing"}
    replies = [
        browser.get("/"),
        browser.get("/login"),
        browser.get("/nowhere"),
        browser.get("/op/nothing"),
        browser.post("/logout", data={}),
        browser.post("/nowhere", headers={"Origin": "https://evil.example"}),
        browser.put("/login", headers={"X-CSRF-Token": served.csrf(browser)}),
        browser.get("/api/v1/operations", headers=token),
        browser.get("/api/v1/nowhere"),
        browser.get("/metrics", headers=token),
        browser.get("/healthz"),
        browser.get("/login", headers={"Host": "evil.example"}),
        browser.request("GET", "/login", content=b"a"),
        browser.options("/login"),
        browser.head("/login"),
    ]
    assert {reply.status_code for reply in replies} >= {200, 303, 400, 401, 403, 404, 405, 421}
    for reply in replies:
        for name, value in WANTED.items():
            assert value in reply.headers[name], (reply.request.url, reply.status_code, name)
        assert "strict-transport-security" not in reply.headers, "nobody came by TLS"
        policy = reply.headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy


def test_a_stranger_learns_nothing_from_pages_for_machines(served: Served) -> None:
    with httpx.Client(base_url=served.url, trust_env=False) as client:
        assert client.get("/healthz").text == "alive\n"
        assert client.get("/readyz").text == "ready\n"
        told = client.get("/sampling", params={"service": "shop"}).json()
        assert told == {"strategyType": "PROBABILISTIC", "probabilisticSampling": {"samplingRate": 0.15}}
        assert client.get("/sampling").status_code == 400
        assert client.get("/metrics").status_code == 401
        poor = {"Authorization": f"Bearer {mint(served, 'alice', 'read')}"}
        assert client.get("/metrics", headers=poor).status_code == 403
        rich = {"Authorization": f"Bearer {mint(served, 'alice', 'metrics')}"}
        found = client.get("/metrics", headers=rich)
    assert found.status_code == 200
    assert "safeguard_serve_requests_total" in found.text
    assert "alice" not in found.text


def test_who_was_led_here_by_a_link_elsewhere_is_sent_on_by_a_page_of_ours(
    served: Served, browser: httpx.Client
) -> None:
    led = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    with served.client() as without:  # as the cookie is Strict, it is not sent on such a way
        reply = without.get("/op/op_0000000000000000?a=b", headers=led)
    assert reply.status_code == 200
    assert 'content="0;url=/op/op_0000000000000000?a=b"' in reply.text
    assert browser.get("/", headers={"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"}).status_code == 200


def test_only_a_trusted_proxy_says_where_somebody_comes_from(served: Served, tmp_path: Path) -> None:
    spoofed = {"X-Forwarded-For": "203.0.113.7, 198.51.100.1", "X-Forwarded-Host": "evil.example"}
    with served.client() as client:
        log_in(client, "ada", "wrong")
        client.post("/login", data={**FORM, "name": "ada"}, headers=spoofed)
    assert _addresses(served)[-2:] == ["127.0.0.1", "127.0.0.1"]
    proxied = {"serve.trusted_proxies": "127.0.0.1 198.51.100.0/24", "serve.url": "https://safeguard.example.org"}
    with serving(tmp_path, proxied) as behind, httpx.Client(base_url=behind.url, trust_env=False) as client:
        add_person(behind, "ada")
        front = {
            "Host": "safeguard.example.org",
            "Origin": "https://safeguard.example.org",
            "X-Forwarded-Proto": "https",
        }
        for chain in ("203.0.113.7, 198.51.100.1", "10.9.9.9, 203.0.113.8", "nonsense", ""):
            client.post("/login", data={**FORM, "name": "ada"}, headers={**front, "X-Forwarded-For": chain})
        reply = client.post("/login", data={**FORM, "name": "ada"}, headers={**front, "X-Forwarded-Proto": "http"})
        assert reply.status_code == 400
        good = client.post(
            "/login", data={**FORM, "name": "ada", "password": "correct horse battery staple"}, headers=front
        )
        assert good.status_code == 303
        cookie = good.headers["set-cookie"]
        assert cookie.startswith("__Host-safeguard-session=")
        assert {"HttpOnly", "Secure", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
        assert "Domain" not in cookie
        assert good.headers["strict-transport-security"] == "max-age=31536000"
    assert _addresses(behind) == ["203.0.113.7", "203.0.113.8", "127.0.0.1", "127.0.0.1"]


def test_behind_a_proxy_nobody_else_is_let_in_without_tls(tmp_path: Path) -> None:
    elsewhere = {"serve.trusted_proxies": "203.0.113.0/24", "serve.url": "https://safeguard.example.org"}
    site = open_site(open_session({**elsewhere, "state.dir": str(tmp_path)}, progress=Silent()))
    found = asyncio.run(_statuses(build(site)))
    site.people.close()
    assert found == {("192.0.2.1", "/login"): 403, ("192.0.2.1", "/healthz"): 200, ("203.0.113.9", "/login"): 200}


async def _statuses(app: App) -> dict[tuple[str, str], int]:
    """Of requests from some addresses, which no test can come from by a network."""
    found = {}
    for address, path in (("192.0.2.1", "/login"), ("192.0.2.1", "/healthz"), ("203.0.113.9", "/login")):
        way = httpx.ASGITransport(app, client=(address, 1))
        async with httpx.AsyncClient(transport=way, base_url="https://safeguard.example.org") as client:
            found[address, path] = (await client.get(path)).status_code
    return found


def test_with_tls_cookies_are_for_this_very_host_and_browsers_come_back_by_tls(
    secured: Served, made: Certificates
) -> None:
    with secured.client(authority=made.ca) as client:
        assert client.get("/login").headers["strict-transport-security"] == "max-age=31536000"
        cookie = log_in(client, "alice").headers["set-cookie"]
        assert cookie.startswith("__Host-safeguard-session=")
        assert {"HttpOnly", "Secure", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
        assert client.get("/").status_code == 200
        assert (
            client.post("/login", data=FORM, headers={"Origin": secured.url.replace("https", "http")}).status_code
            == 403
        )
    with pytest.raises(httpx.TransportError):
        httpx.get(secured.url.replace("https", "http"), trust_env=False)


def _addresses(served: Served) -> list[str]:
    with served.session().journal(read_only=True) as journal:
        return [str(record.data["address"]) for record in journal.records() if record.step == "login-failed"]
