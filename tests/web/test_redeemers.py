"""One approval, and 64 who want it at once: at the command line, through the API, and on the page; on one machine and in a fleet."""

import subprocess
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx

from apisites import DIGEST, filing
from fleets import fleet
from go_cache_safeguard.approval.token import Token
from go_cache_safeguard.flows.audit import audit
from go_cache_safeguard.flows.database import service_engine, shared_journal
from go_cache_safeguard.web.site import COOKIE, csrf_of
from postgres import Database
from webserver import COMMAND, PASSWORD, Served, add_person, environ, log_in, mint, serving

BY_COMMAND, BY_API, BY_PAGE = 8, 28, 28
BY_COMMAND_OF_HOST, BY_API_OF_FLEET, BY_PAGE_OF_FLEET = 4, 30, 30

Redeemers = tuple[int, Callable[[], str]]
"""How many, and what each of them does."""


def at_once(*groups: Redeemers) -> Counter[str]:
    """All of them begin together, each in a thread; returns how they ended."""
    ended: list[str] = []
    ready = threading.Barrier(sum(count for count, _ in groups))

    def go(do: Callable[[], str]) -> None:
        ready.wait(60)
        ended.append(do())

    threads = [threading.Thread(target=go, args=(do,)) for count, do in groups for _ in range(count)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(120)
    return Counter(ended)


def one_won(counts: Counter[str], all_of_them: int) -> bool:
    """Whether exactly one was told that it counts, and all others that it does not."""
    won = counts["command 0"] + counts["api 200"] + counts["page 303"]
    lost = counts["command 12"] + counts["api 409"] + counts["page 409"]
    return (won, lost) == (1, all_of_them - 1)


def by_api(served: Served, path: str, body: dict[str, str], token: str) -> Callable[[], str]:
    def ask() -> str:
        headers = {"Authorization": f"Bearer {token}"}
        answer = httpx.post(f"{served.url}/api/v1{path}", json=body, headers=headers, timeout=60, trust_env=False)
        return f"api {answer.status_code}"

    return ask


def by_page(served: Served, op: str, digest: str, cookies: dict[str, str]) -> Callable[[], str]:
    fields = {"typed": digest[:12], "csrf": csrf_of(cookies[COOKIE])}

    def ask() -> str:
        with served.client() as browser:
            browser.cookies.update(cookies)
            return f"page {browser.post(f'/op/{op}/approve', data=fields).status_code}"

    return ask


def by_command(state: Path, settings: dict[str, str], op: str, token_file: Path) -> Callable[[], str]:
    def ask() -> str:
        done = subprocess.run(
            [*COMMAND, "ops", "approve", op, "--token-file", str(token_file)],
            env=environ(state, settings),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=120,
        )
        return f"command {done.returncode}"

    return ask


def token_of(served: Served, op: str, bob: str) -> Token:
    """What somebody who approves is given through the API."""
    headers = {"Authorization": f"Bearer {bob}"}
    url = f"{served.url}/api/v1/operations/{op}/token"
    answer = httpx.post(url, json={"expires_s": 600}, headers=headers, timeout=60, trust_env=False)
    assert answer.status_code == 201, answer.text
    return Token(answer.json()["token"])


def cookies_of(served: Served, name: str) -> dict[str, str]:
    """Of a browser in which somebody has logged in."""
    with served.client() as browser:
        assert log_in(browser, name).status_code in {200, 303}
        return dict(browser.cookies)


def written(folder: Path, text: str) -> Path:
    """A file with a token."""
    token_file = folder / "token"
    token_file.touch(mode=0o600)
    token_file.write_text(text)
    return token_file


def spoken_and_kept(served: Served, folder: Path) -> bytes:
    """What a server was started with, and every file below a folder but those that are there to hold tokens."""
    running = [Path(f"/proc/{served.process.pid}/{what}").read_bytes() for what in ("cmdline", "environ")]
    files = [file for file in folder.rglob("*") if file.is_file() and file.name not in {"token", "api-token"}]
    return b"\n".join([*running, *(file.read_bytes() for file in files)])


def test_of_64_who_redeem_one_approval_exactly_one_wins_and_of_those_who_use_it_too(tmp_path: Path) -> None:
    with serving(tmp_path, {"serve.api_rate": "0"}) as served:
        add_person(served, "build-7", "requester", password="", links=())
        add_person(served, "bob", "approver", links=("none@*", "none"))
        host, bob, sent = mint(served, "build-7", "read", "request"), mint(served, "bob", "approve"), filing()
        op = sent["op"]
        filed = httpx.post(f"{served.url}/api/v1/operations", json=sent, headers={"Authorization": f"Bearer {host}"})
        assert filed.status_code == 201, filed.text
        token = token_of(served, op, bob)
        token_file, cookies = written(tmp_path, token.text), cookies_of(served, "bob")

        counts = at_once(
            (BY_COMMAND, by_command(served.state, served.settings, op, token_file)),
            (BY_API, by_api(served, f"/operations/{op}/redeem", {"token": token.text}, host)),
            (BY_PAGE, by_page(served, op, DIGEST, cookies)),
        )
        assert one_won(counts, BY_COMMAND + BY_API + BY_PAGE), counts
        assert served.steps().count("APPROVED") == 1

        used = at_once((32, by_api(served, f"/operations/{op}/consume", {"digest": DIGEST}, host)))
        assert used == {"api 200": 1, "api 409": 31}
        assert served.steps().count("PASSED") == 1
        session = served.session()
        with session.journal(read_only=True) as journal:
            assert audit(session.config, journal).breaks == ()
        log, kept = served.log.read_bytes(), spoken_and_kept(served, tmp_path)
    assert token.stored.encode() not in log
    for secret in (token.text, host, bob, cookies[COOKIE], PASSWORD):
        assert secret.encode() not in kept


def test_of_64_who_redeem_one_approval_of_a_fleet_on_postgres_exactly_one_wins(
    database: Database, tmp_path: Path
) -> None:
    settings = {"serve.database": database.url(), "serve.database_password_file": str(database.password_file())}
    (tmp_path / "server").mkdir()
    with fleet(tmp_path / "server", settings) as site:
        served, host = site.served, site.host(tmp_path / "host", "build-7")
        add_person(served, "carol", "approver", links=("none@*", "none"))
        op, session = host.hold(), served.session()
        digest, journal_of_fleet = str(host.operation(op).data["digest"]), shared_journal(session, "")
        token = token_of(served, op, site.bob)
        token_file, cookies = written(tmp_path, token.text), cookies_of(served, "carol")

        counts = at_once(
            (BY_COMMAND_OF_HOST, by_command(host.state, host.settings, op, token_file)),
            (
                BY_API_OF_FLEET,
                by_api(served, f"/operations/{op}/redeem", {"token": token.text}, site.tokens[host.name]),
            ),
            (BY_PAGE_OF_FLEET, by_page(served, op, digest, cookies)),
        )
        assert one_won(counts, BY_COMMAND_OF_HOST + BY_API_OF_FLEET + BY_PAGE_OF_FLEET), counts
        assert site.flaky.count("POST", f"{op}/redeem") == BY_COMMAND_OF_HOST
        assert "APPROVED" not in host.steps(op)
        assert host.resume(op).moved == len(host.cache.contents)
        assert site.standing(op) == ("PASSED", "DONE")
        with journal_of_fleet(read_only=True) as journal:
            steps = [record.step for record in journal.records(op=op)]
            bodies = b"\n".join(row.body for row in journal.rows())
            assert audit(session.config, journal).breaks == ()
        with host.session().journal(read_only=True) as journal_of_host:
            assert audit(host.session().config, journal_of_host).breaks == ()
        service_engine(session).dispose()
        log, kept = served.log.read_bytes(), spoken_and_kept(served, tmp_path)
    assert [steps.count(one) for one in ("APPROVED", "PASSED")] == [1, 1]
    assert token.stored.encode() not in log
    for secret in (token.text, site.bob, site.tokens[host.name], cookies[COOKIE], PASSWORD):
        assert secret.encode() not in kept + bodies
