"""What was removed had been agreed to, by whom it may be, for what was asked."""

from collections.abc import Mapping

import pytest

from go_cache_safeguard.journal.chain import BreakKind
from go_cache_safeguard.journal.law import Act, act, acts, arrows_hold, judge
from journal_rows import OP, journal, record_of

ALICE, BOB = "uid:1(alice)", "uid:2(bob)"
OTHER = "op_0000000000000002"


def history(*steps: tuple[str, str, Mapping[str, object]], op: str = OP, first: int = 1) -> list[Act]:
    return [act(seq, op, step, actor, data) for seq, (step, actor, data) in enumerate(steps, first)]


ASKED = ("REQUESTED", ALICE, {"digest": "d"})
NOTHING: Mapping[str, object] = {}
HELD = ("HELD", ALICE, NOTHING)
APPROVED = ("APPROVED", BOB, {"approver": BOB, "channel": "terminal"})
REMOVING = ("REMOVING", ALICE, NOTHING)


def kinds(*stories: list[Act], alone: bool = False) -> list[BreakKind]:
    return [it.kind for it in judge([it for story in stories for it in story], alone=alone)]


@pytest.mark.parametrize(
    "story",
    [
        history(ASKED, ("ALLOWED", ALICE, {}), REMOVING, ("DONE", ALICE, {"receipt": {"digest": "d"}})),
        history(ASKED, HELD, APPROVED, REMOVING),
        history(ASKED, HELD, ("REJECTED", BOB, {})),
        history(ASKED, HELD, ("APPROVED", ALICE, {"approver": ALICE, "self": "single-user"}), REMOVING),
        history(
            ASKED,
            HELD,
            ("token-minted", BOB, {"sha256": "s", "approver": BOB, "digest": "d"}),
            ("APPROVED", ALICE, {"approver": BOB, "channel": "token", "by": ALICE, "token": "s"}),
            REMOVING,
        ),
        history(
            ASKED,
            HELD,
            ("token-minted", BOB, {"sha256": "s", "approver": BOB, "digest": "d"}),
            ("APPROVED", ALICE, {"approver": BOB, "channel": "token", "by": ALICE}),  # as older versions wrote it
        ),
        history(REMOVING),  # its beginning is not there: the chain says so
        [act(1, None, "checkpoint-key", ALICE, {"key": "k"})],
    ],
)
def test_a_lawful_history_has_no_break(story: list[Act]) -> None:
    assert kinds(story) == []


@pytest.mark.parametrize("step", ["SNAPSHOTTING", "REMOVING", "PASSED"])
def test_nothing_is_done_that_was_not_agreed_to(step: str) -> None:
    act_on = (step, ALICE, NOTHING)
    assert kinds(history(ASKED, act_on)) == [BreakKind.UNAPPROVED]
    assert kinds(history(ASKED, HELD, act_on)) == [BreakKind.UNAPPROVED]
    assert kinds(history(ASKED, ("ALLOWED", ALICE, {}), HELD, act_on)) == [BreakKind.UNAPPROVED]


def test_an_approval_names_who_approved() -> None:
    assert kinds(history(ASKED, HELD, ("APPROVED", BOB, {}))) == [BreakKind.UNAPPROVED]
    assert kinds(history(ASKED, HELD, ("APPROVED", BOB, {"approver": ""}))) == [BreakKind.UNAPPROVED]


@pytest.mark.parametrize("approver", [ALICE, "uid:1", "UID:1(Alice)", "\uff55id:1(bob)", "uid:1(carol)"])
def test_nobody_approves_what_they_asked_for_whatever_they_are_called(approver: str) -> None:
    story = history(ASKED, HELD, ("APPROVED", BOB, {"approver": approver}))
    assert kinds(story) == [BreakKind.OWN]
    assert kinds(story, alone=True) == []
    under_another_rule = history(ASKED, HELD, ("APPROVED", BOB, {"approver": approver, "self": "never"}))
    assert kinds(under_another_rule, alone=True) == [BreakKind.OWN]


def test_people_that_are_no_users_of_the_machine_are_told_apart_by_their_names() -> None:
    asked = ("REQUESTED", "oidc:alice@example.com", {"digest": "d"})
    assert kinds(history(asked, HELD, ("APPROVED", BOB, {"approver": "oidc:bob@example.com"}))) == []
    assert kinds(history(asked, HELD, ("APPROVED", BOB, {"approver": "OIDC:Alice@example.com"}))) == [BreakKind.OWN]


def test_a_token_counts_for_whom_it_was_given_out_to_and_once() -> None:
    minted = ("token-minted", BOB, {"sha256": "s", "approver": BOB, "digest": "d"})

    another: dict[str, object] = {"token": "t"}

    def used(**more: object) -> tuple[str, str, Mapping[str, object]]:
        return ("APPROVED", ALICE, {"approver": BOB, "channel": "token", "token": "s", **more})

    assert kinds(history(ASKED, HELD, used())) == [BreakKind.SPENT]
    assert kinds(history(ASKED, HELD, minted, used(**another))) == [BreakKind.SPENT]
    assert kinds(history(ASKED, HELD, minted, used(approver="uid:3(carol)"))) == [BreakKind.SPENT]
    assert kinds(history(ASKED, HELD, minted, minted, used())) == [BreakKind.SPENT]
    assert kinds(history(ASKED, HELD, used(token=None))) == [BreakKind.SPENT]
    assert kinds(history(ASKED, HELD, minted, used(), used())) == [BreakKind.SPENT]
    elsewhere = history(ASKED, HELD, minted, used(), op=OTHER, first=10)
    assert kinds(history(ASKED, HELD, minted, used()), elsewhere) == [BreakKind.SPENT, BreakKind.SPENT]


def test_what_is_approved_and_done_is_what_was_asked_for() -> None:
    minted = ("token-minted", BOB, {"sha256": "s", "approver": BOB, "digest": "e"})
    assert kinds(history(ASKED, HELD, minted)) == [BreakKind.DIGEST]
    assert kinds(history(ASKED, HELD, ("APPROVED", BOB, {"approver": BOB, "digest": "e"}))) == [BreakKind.DIGEST]
    done = ("DONE", ALICE, {"receipt": {"digest": "e"}})
    assert kinds(history(ASKED, ("ALLOWED", ALICE, {}), REMOVING, done)) == [BreakKind.DIGEST]


def test_arrows_are_those_of_the_lifecycle() -> None:
    records = [record_of(row) for row in journal()]
    assert arrows_hold(acts(records))
    assert not arrows_hold(acts(records[2:]))
    assert arrows_hold(history(ASKED, ("token-minted", BOB, {})))


def test_wrong_clocks_break_no_law() -> None:
    assert "at" not in Act._fields
