"""What was removed had been agreed to, by whom it may be, for what was asked."""

from collections.abc import Mapping

import pytest

from go_cache_safeguard.journal.chain import BreakKind
from go_cache_safeguard.journal.law import Act, Glass, act, acts, arrows_hold, broken_glasses, judge
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


TERMS: dict[str, object] = {"needed": 2, "approvers": [], "break_glass": ["uid:3"], "self": "never", "review_s": 60}
CAROL = "uid:3(carol)"


def under(**terms: object) -> tuple[str, str, Mapping[str, object]]:
    """Held with terms that are written down."""
    return ("HELD", ALICE, {"terms": {**TERMS, **terms}})


def agreed(who: str, **more: object) -> tuple[str, str, Mapping[str, object]]:
    return ("agreed", who, {"approver": who, "channel": "terminal", "digest": "d", **more})


def last(who: str, *before: str, **more: object) -> tuple[str, str, Mapping[str, object]]:
    return ("APPROVED", who, {"approver": who, "channel": "terminal", "approvers": [*before, who], **more})


@pytest.mark.parametrize(
    ("story", "found"),
    [
        ((under(), agreed(BOB), last(CAROL, BOB), REMOVING), []),
        ((under(), agreed("user:bob", also=["uid:2"]), last(CAROL, "user:bob")), []),
        ((under(self="always"), agreed(ALICE, self="always"), last(BOB, ALICE)), []),
        ((under(), last(BOB)), [BreakKind.UNAPPROVED]),
        ((under(), agreed(BOB), last(CAROL)), [BreakKind.UNAPPROVED]),
        ((agreed(BOB), under(), last(CAROL, BOB)), [BreakKind.UNAPPROVED] * 2),
        ((under(), agreed(BOB), last("UID:2(robert)", BOB)), [BreakKind.UNAPPROVED]),
        ((under(), agreed(BOB), last("user:bob", BOB, also=["uid:2"])), [BreakKind.UNAPPROVED]),
        ((under(), agreed(BOB), last("user:x", BOB, also=["none"])), []),
        ((under(), agreed(BOB), last("user:x", BOB)), [BreakKind.UNAPPROVED] * 2),
        ((under(), agreed(BOB), last(ALICE, BOB)), [BreakKind.OWN]),
        ((under(), agreed(BOB), last(ALICE, BOB, self="always")), [BreakKind.OWN]),
        ((under(self="always"), agreed(BOB), last(ALICE, BOB, self="always", channel="page")), [BreakKind.OWN]),
        ((under(approvers=["uid:2"]), agreed(BOB), last(CAROL, BOB)), [BreakKind.UNAPPROVED]),
        ((under(needed=None), last(BOB)), [BreakKind.UNAPPROVED]),
        ((("HELD", ALICE, {"terms": "none"}), last(BOB)), [BreakKind.UNAPPROVED]),
        ((under(), agreed(BOB, digest="e"), last(CAROL, BOB)), [BreakKind.DIGEST]),
        ((under(), agreed(BOB, channel="token", token="t"), last(CAROL, BOB)), [BreakKind.SPENT]),  # noqa: S106 - a digest
        ((under(), ("APPROVED", ALICE, {"approver": "user:x", "channel": "server", "approvers": ["user:x"]})), []),
        ((under(), ("APPROVED", ALICE, {"approver": ALICE, "channel": "server"})), [BreakKind.OWN]),
    ],
)
def test_so_many_different_people_approve_as_the_terms_said_when_it_was_held(
    story: tuple[tuple[str, str, Mapping[str, object]], ...], found: list[BreakKind]
) -> None:
    assert kinds(history(ASKED, *story)) == found
    assert kinds(history(ASKED, *story), alone=True) == found


def test_whoever_handed_it_in_asked_as_well() -> None:
    asked = ("REQUESTED", "uid:1(alice)@web1", {"digest": "d", "filed_by": "user:build-7"})
    terms = under(needed=1)
    assert kinds(history(asked, terms, last("user:bob", also=["none@web1"]))) == []
    assert kinds(history(asked, terms, last("user:build-7", also=["none@web1"]))) == [BreakKind.OWN]
    assert kinds(history(asked, terms, last("user:bob"))) == [BreakKind.UNAPPROVED]


def test_a_broken_glass_is_told_apart_and_reviewed_by_somebody_else() -> None:
    broken = last(CAROL, emergency=True, reason="the disk is full", review_by_s=60)
    reviewed = ("reviewed", BOB, {"reviewer": BOB, "finding": "justified"})
    assert kinds(history(ASKED, under(), broken, REMOVING)) == []
    assert kinds(history(ASKED, under(), broken, reviewed)) == []
    assert broken_glasses(history(ASKED, under(), broken)) == [Glass(3, OP, CAROL, "the disk is full", 60, "")]
    assert [it.finding for it in broken_glasses(history(ASKED, under(), broken, reviewed))] == ["justified"]
    assert broken_glasses(history(ASKED, under(), agreed(BOB), last(CAROL, BOB))) == []
    for who in (CAROL, ALICE, "user:x"):
        review = ("reviewed", who, {"reviewer": who, "finding": "justified"})
        assert kinds(history(ASKED, under(), broken, review)) == [BreakKind.OWN]
    assert kinds(history(ASKED, under(), last(BOB, emergency=True, reason="so"))) == [BreakKind.UNAPPROVED]
    assert kinds(history(ASKED, under(), last(CAROL, emergency=True))) == [BreakKind.UNAPPROVED]
    assert kinds(history(ASKED, HELD, broken)) == [BreakKind.UNAPPROVED]


def test_arrows_are_those_of_the_lifecycle() -> None:
    records = [record_of(row) for row in journal()]
    assert arrows_hold(acts(records))
    assert not arrows_hold(acts(records[2:]))
    assert arrows_hold(history(ASKED, ("token-minted", BOB, {})))


def test_wrong_clocks_break_no_law() -> None:
    assert "at" not in Act._fields
