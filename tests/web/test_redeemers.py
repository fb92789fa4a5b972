"""One approval, and 64 who want it at once: at the command line, through the API, and on the page."""

import subprocess
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx

from apisites import DIGEST, filing
from go_cache_safeguard.approval.voter import Channel, Role, Voter
from go_cache_safeguard.flows.audit import audit
from go_cache_safeguard.flows.desk import desk_of
from go_cache_safeguard.web.site import COOKIE, csrf_of
from webserver import COMMAND, PASSWORD, Served, add_person, environ, log_in, mint, serving

BY_COMMAND, BY_API, BY_PAGE = 8, 28, 28
BOB = Voter("user:bob", frozenset({Role.APPROVER}), Channel.PAGE, ("none", "none@*"))


def at_once(count: int, do: Callable[[], str], ready: threading.Barrier, ended: list[str]) -> list[threading.Thread]:
    """So many threads that begin together."""

    def go() -> None:
        ready.wait(60)
        ended.append(do())

    threads = [threading.Thread(target=go) for _ in range(count)]
    for one in threads:
        one.start()
    return threads


def by_api(served: Served, path: str, body: dict[str, str], token: str) -> Callable[[], str]:
    def ask() -> str:
        headers = {"Authorization": f"Bearer {token}"}
        answer = httpx.post(f"{served.url}/api/v1{path}", json=body, headers=headers, timeout=60, trust_env=False)
        return f"api {answer.status_code}"

    return ask


def by_page(served: Served, op: str, cookies: dict[str, str]) -> Callable[[], str]:
    fields = {"typed": DIGEST[:12], "csrf": csrf_of(cookies[COOKIE])}

    def ask() -> str:
        with served.client() as browser:
            browser.cookies.update(cookies)
            return f"page {browser.post(f'/op/{op}/approve', data=fields).status_code}"

    return ask


def by_command(served: Served, op: str, token_file: Path) -> Callable[[], str]:
    def ask() -> str:
        done = subprocess.run(
            [*COMMAND, "ops", "approve", op, "--token-file", str(token_file)],
            env=environ(served.state, served.settings),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=120,
        )
        return f"command {done.returncode}"

    return ask


def test_of_64_who_redeem_one_approval_exactly_one_wins_and_of_those_who_use_it_too(tmp_path: Path) -> None:
    with serving(tmp_path, {"serve.api_rate": "0"}) as served:
        add_person(served, "build-7", "requester", password="", links=())
        add_person(served, "bob", "approver", links=("none@*", "none"))
        host, sent = mint(served, "build-7", "read", "request"), filing()
        op = sent["op"]
        filed = httpx.post(f"{served.url}/api/v1/operations", json=sent, headers={"Authorization": f"Bearer {host}"})
        assert filed.status_code == 201, filed.text
        token = desk_of(served.session()).mint(op, BOB, 600)
        token_file = tmp_path / "token"
        token_file.touch(mode=0o600)
        token_file.write_text(token.text)
        with served.client() as browser:
            assert log_in(browser, "bob").status_code in {200, 303}
            cookies = dict(browser.cookies)

        ended: list[str] = []
        ready = threading.Barrier(BY_COMMAND + BY_API + BY_PAGE)
        threads = [
            *at_once(BY_COMMAND, by_command(served, op, token_file), ready, ended),
            *at_once(BY_API, by_api(served, f"/operations/{op}/redeem", {"token": token.text}, host), ready, ended),
            *at_once(BY_PAGE, by_page(served, op, cookies), ready, ended),
        ]
        for one in threads:
            one.join(120)
        counts = Counter(ended)
        won = counts["command 0"] + counts["api 200"] + counts["page 303"]
        lost = counts["command 12"] + counts["api 409"] + counts["page 409"]
        assert (won, lost) == (1, BY_COMMAND + BY_API + BY_PAGE - 1), counts
        assert served.steps().count("APPROVED") == 1

        used: list[str] = []
        ready = threading.Barrier(32)
        use = by_api(served, f"/operations/{op}/consume", {"digest": DIGEST}, host)
        for one in at_once(32, use, ready, used):
            one.join(120)
        assert Counter(used) == {"api 200": 1, "api 409": 31}
        assert served.steps().count("PASSED") == 1
        session = served.session()
        with session.journal(read_only=True) as journal:
            assert audit(session.config, journal).breaks == ()
        running = b"".join(Path(f"/proc/{served.process.pid}/{what}").read_bytes() for what in ("cmdline", "environ"))
        log = served.log.read_bytes()
    assert token.stored.encode() not in log
    kept = [running, *(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file() and file != token_file)]
    for secret in (token.text, host, cookies[COOKIE], PASSWORD):
        assert not any(secret.encode() in data for data in kept)
