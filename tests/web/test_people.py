"""People, sessions, tokens and attempts: the same in a file and in a shared database, and each tenant's alone."""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from go_cache_safeguard.approval.voter import Channel, Role
from go_cache_safeguard.web.people import (
    SESSION,
    ApiToken,
    Journey,
    NameTaken,
    NoSuchPerson,
    People,
    PeopleUnusable,
    hashed,
    people_in_file,
    place_of,
)
from go_cache_safeguard.web.site import voter_of
from postgres import Database

NOW = 1_800_000_000
EVERY = frozenset(Role)


@pytest.fixture(params=["file", "shared"])
def people(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[People]:
    if request.param == "file":
        found = people_in_file(tmp_path / "people.sqlite")
    else:
        database: Database = request.getfixturevalue("database")
        found = People(database.engine())
    yield found
    found.close()


def test_somebody_is_added_changed_and_found(people: People) -> None:
    people.add("", "alice", frozenset({Role.APPROVER}), NOW)
    with pytest.raises(NameTaken):
        people.add("", "alice", EVERY, NOW)
    people.change("", "alice", roles=frozenset({Role.AUDITOR}), password="hash", totp="secret")  # noqa: S106 - stands for one
    found = people.person("", "alice")
    assert found is not None
    assert (found.roles, found.has_password, found.has_totp, found.principal) == (
        frozenset({Role.AUDITOR}),
        True,
        True,
        "user:alice",
    )
    assert people.secrets("", "alice").password == "hash"  # noqa: S105 - stands for one
    people.refresh_password("", "alice", "another", "newer")
    assert people.secrets("", "alice").password == "hash", "somebody changed it meanwhile"  # noqa: S105 - stands for one
    with pytest.raises(NoSuchPerson):
        people.change("", "nobody", active=False)
    assert people.person("", "nobody") is None
    assert [it.name for it in people.everybody("")] == ["alice"]


def test_a_principal_is_one_persons_and_none_may_be_said_of_many(people: People) -> None:
    for name in ("alice", "bob"):
        people.add("", name, EVERY, NOW)
        people.link("", name, "none@*")
    people.link("", "alice", "uid:1000(alice)")
    people.link("", "alice", "oidc:id.example.org#Subject")
    people.link("", "alice", "slack:T1/U1")
    for taken in ("uid:1000", "UID:01000(other)", "oidc:id.example.org#subject", "slack:T1/U1"):
        with pytest.raises(NameTaken):
            people.link("", "bob", taken)
    for nonsense in ("alice", "user:bob", "uid:-1", "slack:x", "", "none none"):
        with pytest.raises(NameTaken):
            people.link("", "bob", nonsense)
    alice = people.linked("", "oidc:id.example.org#Subject")
    assert alice is not None
    assert alice.name == "alice"
    assert people.linked("", "oidc:id.example.org#subject") is None
    assert people.linked("", "none@*") is None
    voter = voter_of(alice, "t", "oidc:id.example.org#Subject")
    assert (voter.principal, voter.channel, voter.tenant) == ("oidc:id.example.org#Subject", Channel.PAGE, "t")
    assert set(voter.also) == {"user:alice", "uid:1000(alice)", "none@*"}
    people.disown("", "alice", "uid:1000(alice)")
    people.link("", "bob", "uid:1000")


def test_a_session_or_a_token_ends_with_its_time_and_its_person(people: People) -> None:
    people.add("", "alice", EVERY, NOW)
    alice = people.person("", "alice")
    assert alice is not None
    people.begin("", hashed("s"), alice, "user:alice", NOW, lifetime_s=60)
    people.mint("", ApiToken("tok-1", "alice", frozenset({"read"}), NOW, NOW + 60), hashed("t"))
    assert people.session("", hashed("s"), NOW + 59) is not None
    assert people.session("", hashed("s"), NOW + 60) is None
    assert people.token("", hashed("t"), NOW + 59) is not None
    assert people.token("", hashed("t"), NOW + 60) is None
    people.change("", "alice", active=False)
    assert people.session("", hashed("s"), NOW) is None
    assert people.token("", hashed("t"), NOW) is None
    people.change("", "alice", active=True)
    assert people.session("", hashed("s"), NOW) is None, "sessions ended"
    assert people.token("", hashed("t"), NOW) is not None
    assert people.revoke("", "tok-1").name == "alice"
    assert people.token("", hashed("t"), NOW) is None
    with pytest.raises(NoSuchPerson):
        people.revoke("", "tok-1")
    with pytest.raises(NoSuchPerson):
        people.mint("", ApiToken("tok-2", "nobody", frozenset(), NOW, NOW + 1), hashed("u"))


def test_a_session_that_nobody_uses_ends_by_the_clock_of_the_database(people: People) -> None:
    people.add("", "alice", EVERY, NOW)
    alice = people.person("", "alice")
    assert alice is not None
    people.begin("", hashed("s"), alice, "user:alice", NOW, lifetime_s=60)

    def later(seconds: int) -> None:
        with people._writing() as db:
            db.execute(sa.update(SESSION).values(used_s=SESSION.c.used_s - seconds))

    later(500)
    assert people.session("", hashed("s"), NOW, idle_s=600) is not None
    later(50)
    assert people.session("", hashed("s"), NOW, idle_s=600, used=True) is not None
    later(560)
    assert people.session("", hashed("s"), NOW, idle_s=600, used=True) is not None, "it was used"
    later(600)
    assert people.session("", hashed("s"), NOW, idle_s=600, used=True) is None
    assert people.session("", hashed("s"), NOW, idle_s=600) is None, "asking does not bring it back"
    assert people.session("", hashed("s"), NOW) is not None


def test_a_file_of_an_earlier_version_gets_what_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / "people.sqlite"
    people_in_file(path).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("ALTER TABLE person_session DROP COLUMN used_s")
    people = people_in_file(path)
    people.add("", "alice", EVERY, NOW)
    alice = people.person("", "alice")
    assert alice is not None
    people.begin("", hashed("s"), alice, "user:alice", NOW, lifetime_s=60)
    assert people.session("", hashed("s"), NOW, idle_s=600, used=True) is not None
    people.close()


def test_a_tenant_sees_its_own_people_only(people: People) -> None:
    for tenant in ("a", "b"):
        people.add(tenant, "alice", EVERY, NOW)
        people.link(tenant, "alice", "uid:1000")
    alice = people.person("a", "alice")
    assert alice is not None
    people.begin("a", hashed("s"), alice, "user:alice", NOW, lifetime_s=60)
    people.mint("a", ApiToken("tok-1", "alice", frozenset(), NOW, NOW + 60), hashed("t"))
    people.set_out("a", hashed("j"), Journey("s", "n", "v", "/"), NOW, 60)
    assert people.session("b", hashed("s"), NOW) is None
    assert people.token("b", hashed("t"), NOW) is None
    assert people.come_back("b", hashed("j"), NOW) is None
    assert people.tokens("b") == []
    people.change("b", "alice", active=False)
    assert people.session("a", hashed("s"), NOW) is not None
    with pytest.raises(NoSuchPerson):
        people.revoke("b", "tok-1")
    people.end("b", hashed("s"))
    assert people.session("a", hashed("s"), NOW) is not None
    people.end("a", hashed("s"))
    assert people.session("a", hashed("s"), NOW) is None


def test_a_journey_is_taken_once_and_in_time(people: People) -> None:
    people.set_out("", hashed("j"), Journey("s", "n", "v", "/op"), NOW, 60)
    assert people.come_back("", hashed("j"), NOW + 60) is None
    people.set_out("", hashed("k"), Journey("s", "n", "v", "/op"), NOW, 60)
    assert people.come_back("", hashed("k"), NOW) == Journey("s", "n", "v", "/op")
    assert people.come_back("", hashed("k"), NOW) is None
    assert "v" not in repr(Journey("s", "n", "v", "/"))[8:]


def test_attempts_at_once_are_no_more_than_one_after_another(people: People) -> None:
    people.add("", "alice", EVERY, NOW)
    passed, steps = [], []

    def attempt() -> None:
        passed.append(people.attempt("", [("place", 100), ("alice", 5)], NOW, 900) is None)
        steps.append(people.spend_step("", "alice", 7))

    threads = [threading.Thread(target=attempt) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (passed.count(True), len(passed)) == (5, 16)
    assert steps.count(True) == 1
    assert people.attempt("", [("alice", 5)], NOW + 899, 900) == ("alice", 17)
    assert people.attempt("", [("alice", 5)], NOW + 900, 900) is None
    people.succeeded("", ["alice", "nothing"])
    assert people.attempt("", [("alice", 1)], NOW + 900, 900) is None


def test_an_address_is_known_for_a_while(people: People) -> None:
    people.remember("", "alice", "192.0.2.1", NOW)
    people.remember("", "alice", "192.0.2.1", NOW + 5)
    assert people.knows("", "alice", "192.0.2.1", NOW + 5)
    assert not people.knows("", "alice", "192.0.2.1", NOW + 6)
    assert not people.knows("", "bob", "192.0.2.1", NOW)
    assert [place_of(it) for it in ("192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1", "2001:db8::2:1", "x")] == [
        "192.0.2.1",
        "192.0.2.1",
        "2001:db8::",
        "2001:db8::",
        "x",
    ]


@pytest.mark.root
def test_what_root_makes_belongs_to_whose_directory_it_is(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12345)
    people = people_in_file(tmp_path / "people.sqlite")
    people.add("", "alice", EVERY, NOW)
    assert {(path.name, path.stat().st_uid) for path in tmp_path.iterdir()} == {
        (f"people.sqlite{more}", 12345) for more in ("", "-wal", "-shm")
    }
    people.close()


def test_a_database_that_is_none_is_a_failure_without_values(tmp_path: Path) -> None:
    (tmp_path / "people.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(PeopleUnusable) as found:
        people_in_file(tmp_path / "people.sqlite").person("", "canary")
    assert "canary" not in str(found.value)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PeopleUnusable):
        people_in_file(tmp_path / "link")
