"""What is due, to whom and when, from records alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from go_cache_safeguard.approval.outbox import (
    CLAIMED,
    FAILED,
    GIVEN_UP,
    HOOK,
    SENT,
    About,
    Event,
    Line,
    Outbox,
    Post,
    Rule,
    gathered,
    pause_s,
    ready_s,
)
from journals import NOON, Told, op_of

OP = op_of(1)
RULE = Rule(About.EMERGENCIES, 3600)
ALL = Rule(About.ALL, 3600)


def box_of(told: Told) -> Outbox:
    box = Outbox()
    for record in told.records:
        box.add(record)
    return box


def names(posts: list[Post]) -> list[str]:
    return [post.id for post in posts]


def due(told: Told, now_s: int, rule: Rule = RULE, channel: str = HOOK) -> list[str]:
    return names(box_of(told).due(channel, rule, now_s))


def note(told: Told, step: str, at_s: int, event: str = "held", *, op: str = OP, **data: object) -> None:
    told(op, step, at_s, {"message": f"{op}_{event}", "channel": HOOK, **data})


def test_what_is_held_is_due_to_every_channel_until_it_was_told() -> None:
    told = Told()
    told.held(OP)
    assert due(told, NOON) == due(told, NOON, channel="slack") == [f"{OP}_held"]
    note(told, SENT, NOON + 1)
    assert due(told, NOON + 2) == []
    assert due(told, NOON + 2, channel="slack") == [f"{OP}_held"]


def test_what_was_never_held_is_told_to_nobody() -> None:
    told = Told()
    for step in ("REQUESTED", "CHECKED", "ALLOWED", "REMOVING"):
        told(OP, step, NOON)
    assert due(told, NOON, ALL) == []


@pytest.mark.parametrize("step", ["APPROVED", "REJECTED", "EXPIRED", "CANCELLED"])
def test_that_it_is_held_is_news_only_while_it_is(step: str) -> None:
    told = Told()
    told.held(OP)
    told(OP, step, NOON + 1)
    assert due(told, NOON + 2) == due(told, NOON + 2, ALL) == []


@pytest.mark.parametrize("step", ["APPROVED", "REJECTED", "EXPIRED", "CANCELLED"])
def test_who_was_told_of_a_hold_is_told_of_its_end_if_the_site_wants_that(step: str) -> None:
    told = Told()
    told.held(OP)
    note(told, SENT, NOON + 1)
    told(OP, step, NOON + 2)
    assert due(told, NOON + 3) == []
    assert due(told, NOON + 3, ALL) == [f"{OP}_{step.lower()}"]
    note(told, SENT, NOON + 4, step.lower())
    assert due(told, NOON + 5, ALL) == []


def test_an_emergency_is_told_to_everybody_unless_the_site_wants_only_holds() -> None:
    told = Told()
    told.held(OP)
    told(OP, "APPROVED", NOON + 1, {"emergency": True})
    assert due(told, NOON + 2) == due(told, NOON + 2, ALL) == [f"{OP}_break-glass"]
    assert due(told, NOON + 2, Rule(About.HELD, 3600)) == []


def test_a_hold_whose_time_is_over_is_no_news() -> None:
    told = Told()
    told.held(OP)
    assert due(told, NOON + 86_400) == []


def test_while_somebody_is_at_it_nobody_else_is_and_after_a_crash_it_is_due_again() -> None:
    told = Told()
    told.held(OP)
    note(told, CLAIMED, NOON, until_s=NOON + 60)
    assert due(told, NOON + 59) == []
    assert box_of(told).next_s(HOOK, RULE, NOON) == NOON + 60
    assert due(told, NOON + 60) == [f"{OP}_held"]


def test_after_an_attempt_in_vain_it_waits_for_the_time_that_was_written_down() -> None:
    told = Told()
    told.held(OP)
    note(told, CLAIMED, NOON, until_s=NOON + 60)
    note(told, FAILED, NOON + 1, next_s=NOON + 31)
    assert due(told, NOON + 30) == []
    assert due(told, NOON + 31) == [f"{OP}_held"]
    assert box_of(told).sending(Post(OP, Event.HELD, NOON), HOOK).attempts == 1


def test_a_channel_that_is_away_is_asked_about_one_message_and_not_about_all() -> None:
    told = Told()
    for number in range(5):
        told.held(op_of(number))
    note(told, FAILED, NOON + 1, op=op_of(0), next_s=NOON + 30, away_s=NOON + 30)
    assert due(told, NOON + 2) == []
    assert len(due(told, NOON + 30)) == 5
    assert due(told, NOON + 30)[-1] == f"{op_of(0)}_held"  # others first
    note(told, SENT, NOON + 31, op=op_of(1))
    assert box_of(told).line(HOOK) == Line(0, 0, NOON + 31)


def test_one_message_that_is_refused_keeps_no_other_back() -> None:
    told = Told()
    told.held(op_of(0))
    told.held(op_of(1))
    note(told, FAILED, NOON + 1, op=op_of(0), next_s=NOON + 30)
    assert due(told, NOON + 2) == [f"{op_of(1)}_held"]


def test_it_is_given_up_when_the_site_says_and_not_before_it_was_tried() -> None:
    told = Told()
    told.held(OP)
    late = NOON + 3600
    assert box_of(told).lapsed(HOOK, RULE, late) == []
    assert due(told, late) == [f"{OP}_held"]
    note(told, FAILED, late, next_s=late + 30)
    assert names(list(box_of(told).lapsed(HOOK, RULE, late + 1))) == [f"{OP}_held"]
    note(told, GIVEN_UP, late + 2)
    assert box_of(told).lapsed(HOOK, RULE, late + 3) == []
    assert due(told, late + 1000) == []
    assert box_of(told).next_s(HOOK, RULE, late + 3) is None


def test_what_nobody_wants_any_more_is_given_up_at_once() -> None:
    told = Told()
    told.held(OP)
    note(told, FAILED, NOON + 1, next_s=NOON + 30, last=True)
    assert names(list(box_of(told).lapsed(HOOK, RULE, NOON + 2))) == [f"{OP}_held"]
    assert due(told, NOON + 40) == []


def test_notes_of_older_versions_are_about_the_hook() -> None:
    told = Told()
    told.held(OP)
    told(OP, SENT, NOON + 1, {"message": f"{OP}_held", "hook": "https://hooks.example:443"})
    assert due(told, NOON + 2) == []


def test_what_is_over_for_long_is_forgotten_and_what_waits_is_not() -> None:
    told = Told()
    told.held(op_of(0))
    told.held(op_of(1))
    told(op_of(0), "REJECTED", NOON + 1)
    box = box_of(told)
    box.forget(RULE, NOON + 7202)
    assert box.posts(op_of(0)) == ()
    assert len(box.posts(op_of(1))) == 1


@given(st.integers(1, 1000), st.integers(0, 2**64))
def test_pauses_grow_to_hours_and_are_never_short_nor_the_same_for_all(failures: int, chance: int) -> None:
    longest = min(4 * 3600, 30 * 2 ** (failures - 1))
    assert longest // 2 <= pause_s(failures, chance) <= longest
    assert pause_s(failures, 0) == longest // 2


def posts(*since_s: int, event: Event = Event.HELD) -> list[Post]:
    return [Post(op_of(at), event, when) for at, when in enumerate(since_s)]


def test_ten_holds_in_a_minute_are_one_message() -> None:
    held = posts(*range(NOON, NOON + 60, 6))
    for now_s in range(NOON, NOON + 60):
        assert gathered([one for one in held if one.since_s <= now_s], Line(), gather_s=60, now_s=now_s) == ()
    assert gathered(held, Line(), gather_s=60, now_s=NOON + 60) == held


def test_two_messages_are_never_nearer_than_that() -> None:
    line = Line(sent_s=NOON + 60)
    assert gathered(posts(NOON + 1), line, gather_s=60, now_s=NOON + 119) == ()
    assert len(gathered(posts(NOON + 1), line, gather_s=60, now_s=NOON + 120)) == 1


def test_an_emergency_does_not_wait_for_others() -> None:
    line = Line(sent_s=NOON)
    assert ready_s(posts(NOON + 1, event=Event.EMERGENCY), line, gather_s=60) == NOON + 1


def test_one_message_that_fails_for_hours_keeps_the_channel_back_for_a_moment_only() -> None:
    told = Told()
    told.held(op_of(0))
    told.held(op_of(1))
    note(told, FAILED, NOON + 1, op=op_of(0), next_s=NOON + 7200, away_s=NOON + 30)
    assert due(told, NOON + 29) == []
    assert due(told, NOON + 30) == [f"{op_of(1)}_held"]
    assert pause_s(50, 2**64 - 1, most_s=300) <= 300


STEPS = st.lists(
    st.tuples(
        st.sampled_from([CLAIMED, SENT, FAILED, GIVEN_UP, "HELD", "APPROVED", "REJECTED"]),
        st.integers(0, 3),
        st.integers(0, 100),
    ),
    max_size=30,
)


@given(STEPS, st.integers(0, 200))
def test_whatever_was_written_what_was_sent_given_up_or_is_claimed_is_not_due(
    steps: list[tuple[str, int, int]], later_s: int
) -> None:
    told = Told()
    for number in range(4):
        told.held(op_of(number))
    for step, number, seconds in steps:
        note(told, step, NOON, op=op_of(number), until_s=NOON + seconds, next_s=NOON + seconds)
    box, now_s = box_of(told), NOON + later_s
    found = box.due(HOOK, ALL, now_s)
    for post in found:
        sending = box.sending(post, HOOK)
        assert not sending.sent
        assert not sending.given_up
        assert max(sending.until_s, sending.next_s) <= now_s
    assert not set(found) & set(box.lapsed(HOOK, ALL, now_s))
    assert set(found) <= set(box.waiting(HOOK, ALL, now_s))
    assert not found or (box.next_s(HOOK, ALL, now_s) or 0) <= now_s
