"""Coming in and going out: what a session is, what ends it, and how often one may fail."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import pyotp
import pytest
import sqlalchemy as sa

from go_cache_safeguard.approval.voter import Role
from go_cache_safeguard.flows.progress import Silent
from go_cache_safeguard.flows.session import open_session
from go_cache_safeguard.web import login
from go_cache_safeguard.web.login import Later, Locks, Typed, Wrong, local, step_of
from go_cache_safeguard.web.office import Office
from go_cache_safeguard.web.opening import open_office, open_site
from go_cache_safeguard.web.people import METADATA, SESSION, Person, hashed
from go_cache_safeguard.web.site import Site
from webserver import CHEAP, PASSWORD, Served, add_person, log_in, mint

COOKIE = "safeguard-session"


def _is_in(client: httpx.Client) -> bool:
    return client.get("/").status_code == 200


def test_somebody_comes_in_and_goes_out_and_both_are_in_the_journal(served: Served) -> None:
    with served.client() as client:
        assert not _is_in(client)
        reply = log_in(client, "alice")
        assert (reply.status_code, reply.headers["location"]) == (303, "/")
        assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(reply.headers["set-cookie"].split("; "))
        assert _is_in(client)
        cookie = client.cookies[COOKIE]
        assert client.post("/logout", data={"csrf": served.csrf(client)}).status_code == 303
        client.cookies.set(COOKIE, cookie)
        assert not _is_in(client), "what was a session is none, whoever kept the cookie"
    assert served.steps()[-2:] == ["login", "logout"]
    with served.session().journal(read_only=True) as journal:
        told = [record for record in journal.records() if record.step == "login"][-1]
    assert (told.data["who"], told.data["way"], told.data["address"]) == ("user:alice", "password", "127.0.0.1")


def test_a_session_is_a_new_one_whatever_the_browser_had(served: Served) -> None:
    with served.client() as client:
        client.cookies.set(COOKIE, "chosen-by-somebody-else")
        log_in(client, "alice")
        first = client.cookies.get(COOKIE, domain="127.0.0.1") or ""
        assert len(first) == 43
        assert first != "chosen-by-somebody-else"
        client.cookies.clear()
        client.cookies.set(COOKIE, first)
        log_in(client, "alice")
        with served.client() as old:
            old.cookies.set(COOKIE, first)
            assert not _is_in(old), "who logs in again leaves the session before"
        with served.client() as fixed:
            fixed.cookies.set(COOKIE, "chosen-by-somebody-else")
            assert not _is_in(fixed)


def test_the_same_words_whether_it_was_the_name_or_the_password(served: Served) -> None:
    with served.client() as client:
        replies = [
            log_in(client, name, "wrong") for name in ("alice", "nobody-of-this-name", "", "ALICE", "a" * 10_000)
        ]
    assert {(reply.status_code, reply.text) for reply in replies} == {(403, replies[0].text)}


def test_what_was_typed_as_a_name_is_written_down_only_if_it_is_one(served: Served) -> None:
    with served.client() as client:
        log_in(client, "canary-that-is-a-password", "alice")
    with served.session().journal(read_only=True) as journal:
        told = [record for record in journal.records() if record.step == "login-failed"][-1]
    assert (told.data["who"], told.data["why"]) == ("unknown", "name")
    assert b"canary-that-is" not in b"".join(path.read_bytes() for path in served.state.rglob("*") if path.is_file())


def test_a_session_ends_with_its_time(served: Served) -> None:
    with served.client() as client:
        log_in(client, "alice")
        site = open_site(served.session())
        with site.people._writer.begin() as db:
            mine = SESSION.c.sha256 == hashed(client.cookies[COOKIE])
            db.execute(sa.update(SESSION).where(mine).values(expires_s=1))
        assert not _is_in(client)
        site.people.close()


def test_who_is_let_in_no_more_has_neither_session_nor_token(served: Served) -> None:
    add_person(served, "mallory", "approver")
    token = {"Authorization": f"Bearer {mint(served, 'mallory', 'read')}"}
    with served.client() as client:
        log_in(client, "mallory")
        assert _is_in(client)
        assert client.get("/api/v1/operations", headers=token).status_code == 200
        with open_office(served.session(), "") as office:
            office.admit("mallory", active=False)
        assert not _is_in(client)
        assert client.get("/api/v1/operations", headers=token).status_code == 401
        assert log_in(client, "mallory").status_code == 403
        with open_office(served.session(), "") as office:
            office.admit("mallory", active=True)
        assert not _is_in(client), "sessions ended"
        assert log_in(client, "mallory").status_code == 303


@pytest.mark.parametrize("change", ["roles", "password", "code"])
def test_sessions_end_when_what_they_stand_for_changes(served: Served, change: str) -> None:
    name = f"changed-{change}"
    add_person(served, name, "approver")
    with served.client() as client:
        log_in(client, name)
        with open_office(served.session(), "") as office:
            if change == "roles":
                office.give_roles(name, [Role.AUDITOR])
            elif change == "password":
                office.set_password(name, "another long password")
            else:
                office.new_code(name, lambda _: None)
        assert not _is_in(client)


def test_a_code_counts_once_and_only_with_the_password(served: Served) -> None:
    add_person(served, "tom", "approver")
    kept: list[str] = []
    with open_office(served.session(), "") as office:
        office.new_code("tom", kept.append)
    code = pyotp.parse_uri(kept[0])
    assert isinstance(code, pyotp.TOTP)
    with served.client() as client, served.client() as thief:
        assert log_in(client, "tom").status_code == 403
        assert log_in(client, "tom", code="000000").status_code == 403
        assert log_in(client, "tom", "wrong", code.now()).status_code == 403
        seen = code.now()
        assert log_in(client, "tom", code=seen).status_code == 303
        assert log_in(thief, "tom", code=seen).status_code == 403
        assert _is_in(client)
    assert code.secret not in served.log.read_text()


def test_a_token_has_no_session_to_leave(served: Served) -> None:
    token = {"Authorization": f"Bearer {mint(served, 'alice', 'read')}"}
    with served.client() as client:
        before = served.steps()
        assert client.post("/logout", headers=token).status_code == 403
    assert served.steps() == before


def test_after_logging_in_one_goes_on_within_the_site_only(served: Served) -> None:
    targets = {"/op/a": "/op/a", "https://evil.example/": "/", "//evil.example": "/", "/\\evil.example": "/", "": "/"}
    for target, there in targets.items():
        with served.client() as client:
            sent = {"name": "alice", "password": PASSWORD, "code": "", "next": target}
            assert client.post("/login", data=sent).headers["location"] == there
    assert local("/a\r\nb") == "/"
    assert local("/ä") == "/"


# From here on with a clock of our own, without a network.


@dataclass
class Door:
    """A site whose clock stands until it is moved."""

    site: Site
    office: Office
    now_s: float = 1_800_000_000.0

    def tries(self, name: str, password: str, address: str, code: str = "") -> Person | Wrong | Later:
        return Locks(self.site).judge("", Typed(name, password, code), address)

    def steps(self) -> list[str]:
        session = open_session({"state.dir": self.site.config.text("state.dir")}, progress=Silent())
        with session.journal(read_only=True) as journal:
            return [record.step for record in journal.records()]


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    session = open_session({**CHEAP, "state.dir": str(tmp_path), "serve.attempts": "3"}, progress=Silent())
    site = open_site(session)
    with open_office(session, "") as office:
        office.add("alice", [Role.APPROVER])
        office.set_password("alice", PASSWORD)
        office.add("bob", [Role.APPROVER])
        office.set_password("bob", PASSWORD)
        made = Door(site, office)
        site.now_s = lambda: made.now_s
        yield made
    site.people.close()


def test_after_some_failures_one_waits_and_waiting_is_not_made_longer_by_trying(door: Door) -> None:
    assert [type(door.tries("alice", "wrong", "192.0.2.1")) for _ in range(5)] == [Wrong] * 3 + [Later] * 2
    assert isinstance(door.tries("alice", PASSWORD, "192.0.2.1"), Later)
    assert isinstance(door.tries("bob", PASSWORD, "192.0.2.1"), Person), "somebody else at the same address"
    assert isinstance(door.tries("alice", PASSWORD, "192.0.2.2"), Person), "the same person elsewhere"
    door.now_s += login.WINDOW_S - 1
    assert isinstance(door.tries("alice", PASSWORD, "192.0.2.1"), Later)
    door.now_s += 1
    assert isinstance(door.tries("alice", PASSWORD, "192.0.2.1"), Person)


def test_an_address_that_tries_everybody_waits_and_ipv6_is_counted_by_network(door: Door) -> None:
    answers = [type(door.tries(f"person{n}", "wrong", f"2001:db8::{n:x}")) for n in range(20)]
    assert answers == [Wrong] * 18 + [Later] * 2
    assert isinstance(door.tries("bob", PASSWORD, "2001:db8::ffff"), Later)
    assert isinstance(door.tries("bob", PASSWORD, "2001:db8:0:1::1"), Person)


def test_nobody_can_keep_somebody_out_who_came_in_before(door: Door) -> None:
    assert isinstance(door.tries("alice", PASSWORD, "192.0.2.1"), Person)
    for n in range(70):  # from everywhere
        door.tries("alice", "wrong", f"198.51.100.{n}")
    assert isinstance(door.tries("alice", PASSWORD, "203.0.113.1"), Later), "guessing from everywhere is slow"
    assert isinstance(door.tries("alice", PASSWORD, "192.0.2.1"), Person), "at home it is not"
    door.now_s += login.WINDOW_S
    assert isinstance(door.tries("alice", PASSWORD, "203.0.113.1"), Person)


def test_coming_in_is_no_failure(door: Door) -> None:
    assert all(isinstance(door.tries("alice", PASSWORD, "192.0.2.1"), Person) for _ in range(30))


def test_too_many_failures_are_told_once(door: Door) -> None:
    for _ in range(10):
        door.tries("alice", "wrong", "192.0.2.1")
    assert [step for step in door.steps() if step.startswith("login")] == ["login-failed"] * 3 + ["login-limited"]


def test_pages_do_not_wait_for_those_who_guess(served: Served) -> None:
    with ThreadPoolExecutor(60) as pool, served.client() as client:
        guesses = [pool.submit(_guess, served, n) for n in range(60)]
        assert client.get("/readyz").status_code == 200
        assert {guess.result() for guess in guesses} <= {403, 503}


def _guess(served: Served, number: int) -> int:
    with served.client() as client:
        return log_in(client, f"nobody{number}", "wrong").status_code


def test_the_journal_cannot_be_filled_with_failures(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "NOTES", 5)
    for n in range(9):
        assert isinstance(door.tries("nobody", "wrong", f"192.0.2.{n}"), Wrong)
    assert door.steps().count("login-failed") == 5


def test_who_is_not_there_costs_as_much_as_who_is(door: Door) -> None:
    locks = Locks(door.site)
    stored = door.site.people.secrets("", "alice").password
    assert stored is not None
    costs = stored.rpartition("$")[0].rpartition("$")[0]
    assert costs.startswith("$argon2id$")
    assert locks._stand_in.startswith(costs), "the same algorithm with the same costs is gone through"
    assert not locks._fits(locks._stand_in, PASSWORD)


def test_a_password_is_kept_anew_when_it_should_cost_more(door: Door) -> None:
    before = door.site.people.secrets("", "alice").password
    config = open_session(
        {**CHEAP, "serve.password_passes": "2", "state.dir": door.site.config.text("state.dir")}, progress=Silent()
    ).config
    door.site.config = config
    assert isinstance(door.tries("alice", PASSWORD, "192.0.2.1"), Person)
    after = door.site.people.secrets("", "alice").password
    assert after != before
    assert after is not None
    assert ",t=2," in after
    assert isinstance(door.tries("alice", PASSWORD, "192.0.2.1"), Person)


def test_a_code_is_of_this_step_or_of_one_to_either_side_and_never_goes_back(door: Door) -> None:
    kept: list[str] = []
    door.office.new_code("alice", kept.append)
    totp = pyotp.parse_uri(kept[0])
    assert isinstance(totp, pyotp.TOTP)
    here = int(door.now_s) // 30
    assert [step_of(totp.secret, totp.generate_otp(here + n), int(door.now_s)) for n in (-2, -1, 0, 1, 2)] == [
        None,
        here - 1,
        here,
        here + 1,
        None,
    ]
    assert step_of(totp.secret, "", int(door.now_s)) is None
    answers = [
        type(door.tries("alice", PASSWORD, f"192.0.2.{n}", totp.generate_otp(here + n)))
        for n in (-2, 0, -1, 0, 1, 1, 2)
    ]
    assert answers == [Wrong, Person, Wrong, Wrong, Person, Wrong, Wrong]


def test_secrets_are_not_shown(door: Door) -> None:
    assert PASSWORD not in repr(Typed("a", PASSWORD, "1"))
    assert "argon2" not in repr(door.site.people.secrets("", "alice"))


def test_only_hashes_of_sessions_and_tokens_are_kept() -> None:
    kept = {f"{table.name}.{column.name}" for table in METADATA.sorted_tables for column in table.columns}
    assert {"person_session.sha256", "api_token.sha256", "oidc_journey.sha256"} <= kept
    assert all("tenant" in table.columns and table.columns["tenant"].primary_key for table in METADATA.sorted_tables)
