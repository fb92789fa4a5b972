"""Who is who, and who may approve what."""

import pytest

from go_cache_safeguard.approval.eyes import (
    NO_LOGIN,
    Allowed,
    Denied,
    Person,
    SelfApproval,
    login_accounts,
    may_approve,
    parse_person,
    principal,
)

ALICE, BOB, ROOT = "uid:1000(alice)", "uid:1001(bob)", "uid:0(root)"
NAMES = {0: "root", 1000: "alice", 1001: "bob"}


@pytest.mark.parametrize("text", [ALICE, BOB, ROOT, "uid:7", "uid:4294967294(last)"])
def test_a_principal_comes_back_as_it_was_written(text: str) -> None:
    assert str(parse_person(text)) == text


@pytest.mark.parametrize(
    "text", ["UID:1000(Alice)", "uid:1000", "uid:1000()", " uid:1000(bob) ", "uid:0001000(alice)", "\uff55id:\uff11000"]
)
def test_only_the_number_counts_however_it_is_spelled(text: str) -> None:
    person = parse_person(text)
    assert person is not None
    assert person.uid == 1000


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "alice", "1000", "uid:", "uid:-1", "uid:1e3", "uid:1000(a", "uid:1000(a)b", "uid:1000((a))"),
        *("gid:1000", f"uid:{NO_LOGIN}", "uid:99999999999", "uid:1000,uid:1001", "uid:\u0661000"),
    ],
)
def test_nothing_else_is_a_person(text: str) -> None:
    assert parse_person(text) is None


@pytest.mark.parametrize(
    ("ruid", "loginuid", "sudo_uid", "expected"),
    [
        (1000, 1000, None, ALICE),
        (0, 1000, None, ALICE),
        (1001, 1000, None, ALICE),
        (0, 1000, "1001", ALICE),
        (0, 0, "1001", ROOT),
        (0, NO_LOGIN, "1001", BOB),
        (0, None, "1001", BOB),
        (0, None, None, ROOT),
        (0, None, "", ROOT),
        (0, None, "root", ROOT),
        (0, None, str(NO_LOGIN), ROOT),
        (1000, None, "0", ALICE),
        (1000, NO_LOGIN, "1001", ALICE),
        (5000, None, None, "uid:5000"),
    ],
)
def test_the_person_behind_a_process_stays_the_same_through_su_and_sudo(
    ruid: int, loginuid: int | None, sudo_uid: str | None, expected: str
) -> None:
    assert principal(ruid, loginuid, sudo_uid, NAMES) == expected


@pytest.mark.parametrize("name", ["", "a(b", "a)b", "a\nb", "\x1b[31m"])
def test_a_name_that_would_not_read_well_is_left_out(name: str) -> None:
    assert principal(1000, None, None, {1000: name}) == "uid:1000"


@pytest.mark.parametrize("rule", SelfApproval)
def test_two_people_are_two_pairs_of_eyes_whatever_the_rule(rule: SelfApproval) -> None:
    assert may_approve(ALICE, BOB, rule=rule, accounts=[ALICE, BOB]) == Allowed()


@pytest.mark.parametrize("rule", SelfApproval)
@pytest.mark.parametrize("nobody", ["", " ", "alice", f"uid:{NO_LOGIN}"])
def test_somebody_who_is_not_known_approves_nothing_and_gets_no_approval(rule: SelfApproval, nobody: str) -> None:
    assert may_approve(nobody, BOB, rule=rule, accounts=[BOB]) == Denied("who asked for it is not known")
    assert may_approve(BOB, nobody, rule=rule, accounts=[BOB]) == Denied("who approves it is not known")
    assert isinstance(may_approve(nobody, nobody, rule=rule, accounts=[nobody]), Denied)


@pytest.mark.parametrize("approver", [ALICE, "UID:1000(Alice)", "uid:1000(bob)", "uid:1000", "\uff55id:1000(x)"])
def test_one_person_is_one_person_under_any_name(approver: str) -> None:
    answer = may_approve(ALICE, approver, rule=SelfApproval.NEVER, accounts=[ALICE])
    assert isinstance(answer, Denied)
    assert "somebody else must approve" in answer.reason


def test_the_rule_always_lets_one_person_do_both() -> None:
    assert may_approve(ALICE, ALICE, rule=SelfApproval.ALWAYS, accounts=[]) == Allowed()


@pytest.mark.parametrize(
    ("accounts", "allowed"),
    [
        ([ALICE], True),
        (["uid:1000(renamed)"], True),
        ([ALICE, "uid:1000(second-name)"], True),
        ([ALICE, BOB], False),
        ([ROOT, ALICE], True),
        ([ROOT, ALICE, BOB], False),
        ([ROOT], False),
        ([BOB], False),
        ([ALICE, ""], False),
        ([ALICE, "alice"], False),
        ([], False),
    ],
)
def test_a_single_user_is_one_whom_nobody_shares_the_machine_with(accounts: list[str], *, allowed: bool) -> None:
    answer = may_approve(ALICE, ALICE, rule=SelfApproval.SINGLE_USER, accounts=accounts)
    assert isinstance(answer, Allowed) is allowed


@pytest.mark.parametrize(("accounts", "allowed"), [([ROOT], True), ([ROOT, ALICE], False), ([ALICE], False)])
def test_root_answers_to_every_other_account(accounts: list[str], *, allowed: bool) -> None:
    answer = may_approve(ROOT, ROOT, rule=SelfApproval.SINGLE_USER, accounts=accounts)
    assert isinstance(answer, Allowed) is allowed


PASSWD = b"""\
root:x:0:0:root:/root:/bin/bash
toor:x:0:0:another root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
sync:x:4:65534:sync:/bin:/bin/sync
almost:x:999:999::/home/almost:/bin/bash
bob:x:1001:1001:Bob,,,:/home/bob:/usr/bin/zsh
alice:x:1000:1000:Alice:/home/alice:
locked:x:1002:1002::/home/locked:/bin/false
away:x:1003:1003::/home/away:/sbin/nologin
last:x:59999:59999::/home/last:/bin/sh
beyond:x:60000:60000::/:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/bin/sh
caf\xe9:x:1004:1004::/home/cafe:/bin/sh

# a comment
+::::::
short:x:1005:1005
broken:x:ten:10::/:/bin/sh
arabic:x:\xd9\xa1\xd9\xa0\xd9\xa0\xd9\xa0:10::/:/bin/sh
"""


def test_login_accounts_are_root_and_people_with_a_shell() -> None:
    assert login_accounts(PASSWD) == (
        ROOT,
        ALICE,
        BOB,
        "uid:1004(caf\udce9)",
        "uid:59999(last)",
    )


def test_a_machine_without_accounts_has_none() -> None:
    assert login_accounts(b"") == ()
    assert login_accounts(b"root:x:0:0:root:/root:/usr/sbin/nologin\n") == ()


def test_accounts_are_principals() -> None:
    assert all(parse_person(account) for account in login_accounts(PASSWD))
    assert str(Person(3)) == "uid:3"
