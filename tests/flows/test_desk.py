"""The desk on a real journal: decisions of people, from many threads and processes at once, whatever the clock says."""

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from auditing import audited, session_at
from go_cache_safeguard.approval.ballot import Rules, Terms
from go_cache_safeguard.approval.eyes import SelfApproval
from go_cache_safeguard.approval.token import Token
from go_cache_safeguard.approval.voter import Channel, Role, Voter
from go_cache_safeguard.config.layer import ConfigBad
from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.errors import ExitCode, IllegalTransition
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.operation import operation_id
from go_cache_safeguard.flows.desk import Desk, NotApproved, desk_of, lent, rules_of, terms_of, voter_of
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.journal.record import Entry
from go_cache_safeguard.journal.store import Journal, NoSuchOperation, open_journal

ALICE, BOB, CAROL = "uid:1000(alice)", "uid:1001(bob)", "uid:1002(carol)"
DIGEST = "ab" * 32
REASON = "the disk is full and nobody is awake"


def voter(principal: str, *also: str, tenant: str = "") -> Voter:
    return Voter(principal, frozenset(Role), Channel.PAGE, also, tenant)


class Office:
    """A journal that alice asks with, and a desk for it."""

    def __init__(self, base: Path) -> None:
        self.path = base / "state/journal.sqlite"
        self.asked = 0

    def open(self, *, read_only: bool = False) -> Journal:
        return open_journal(self.path, actor=ALICE, version="1", read_only=read_only)

    def desk(self, terms: Terms | None = None, *, server: str = "", tenant: str = "") -> Desk:
        return Desk(self.open, Rules(terms or Terms(), server=server), tenant=tenant)

    def ask(self, terms: Terms | None = None, *, expires_s: int | None = None, **asked: Value) -> str:
        """Have something held."""
        self.asked += 1
        op = operation_id(self.asked, self.asked)
        waits: dict[str, Value] = {"expires_s": int(time.time()) + 600 if expires_s is None else expires_s}
        with self.open() as journal:
            journal.write_all(
                [
                    Entry("REQUESTED", {"digest": DIGEST, "target": "/cache", **asked}, op),
                    Entry("CHECKED", {}, op),
                    Entry("HELD", {**waits, "terms": (terms or Terms()).as_value()}, op),
                ]
            )
            journal.catch_up()
        return op


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


# ---- deciding


def test_two_people_decide_about_what_needs_two_and_it_is_used_once(office: Office) -> None:
    desk, op = office.desk(), office.ask(Terms(2))
    assert desk.approve(op, voter(BOB), DIGEST[:8]).votes == "1 of 2"
    with pytest.raises(NotApproved, match="approved it already"):
        desk.approve(op, voter("user:bob", BOB), DIGEST[:8])
    done = desk.approve(op, voter("user:carol", CAROL), DIGEST[:8])
    assert (done.state, done.approvers, done.left) == (State.APPROVED, (BOB, "user:carol"), 0)
    with pytest.raises(NotApproved, match="not the one that was approved"):
        desk.consume(op, "user:build-7", "cd" * 32)
    assert desk.consume(op, "user:build-7", DIGEST).data["consumed_by"] == "user:build-7"
    with pytest.raises(NotApproved, match="is PASSED"):
        desk.consume(op, "user:build-7", DIGEST)
    with office.open(read_only=True) as journal:
        assert journal.verify() == []


def test_settings_that_changed_since_neither_help_nor_hurt_what_waits(office: Office) -> None:
    weaker, stricter = office.desk(Terms(1, own=SelfApproval.ALWAYS)), office.desk(Terms(9, (CAROL,)))
    op = office.ask(Terms(2))
    with pytest.raises(NotApproved, match="asked for it"):
        weaker.approve(op, Voter(ALICE, frozenset(Role), Channel.TERMINAL), DIGEST)
    assert weaker.approve(op, voter(BOB), DIGEST).left == 1
    other = office.ask(Terms(1))
    assert stricter.approve(other, voter(BOB), DIGEST).state is State.APPROVED


def test_what_is_refused_leaves_no_record(office: Office) -> None:
    desk, op = office.desk(), office.ask()
    before = len(desk.records(op))
    attempts: tuple[Callable[[], object], ...] = (
        lambda: desk.approve(op, voter(ALICE), DIGEST),
        lambda: desk.approve(op, voter(BOB), "00000000"),
        lambda: desk.approve(op, voter(BOB, tenant="another"), DIGEST),
        lambda: desk.redeem(op, Token("gcs1_" + "A" * 43), ALICE),
        lambda: desk.break_glass(op, voter(BOB), DIGEST, REASON),
        lambda: desk.review(op, voter(BOB), "justified", "yes"),
        lambda: desk.reject(op, voter("user:nobody", tenant="another"), "no"),
        lambda: desk.cancel(op, voter(BOB), ""),
    )
    for attempt in attempts:
        with pytest.raises(NotApproved) as refused:
            attempt()
        assert refused.value.reason
    assert len(desk.records(op)) == before
    with pytest.raises(NoSuchOperation):
        desk.approve(operation_id(99, 99), voter(BOB), DIGEST)


def test_where_a_server_decides_nobody_does_here_except_to_say_no(office: Office) -> None:
    desk, op = office.desk(server="https://safeguard.example.org"), office.ask(Terms(break_glass=(BOB,)))
    ways: tuple[Callable[[], object], ...] = (
        lambda: desk.approve(op, voter(BOB), DIGEST),
        lambda: desk.break_glass(op, voter(BOB), DIGEST, REASON),
        lambda: desk.redeem(op, Token("gcs1_" + "A" * 43), ALICE),
    )
    for decide in ways:
        with pytest.raises(NotApproved, match="people decide about"):
            decide()
    assert desk.cancel(op, voter(ALICE), "not needed").state is State.CANCELLED


def test_a_broken_glass_waits_for_its_review_until_somebody_else_has_said(office: Office) -> None:
    desk, op = office.desk(), office.ask(Terms(2, break_glass=(BOB,)))
    assert desk.reviews().total == 0
    assert desk.break_glass(op, voter(BOB), DIGEST, REASON).emergency
    desk.consume(op, BOB, DIGEST)
    page = desk.reviews()
    assert [it.id for it in page.operations] == [op]
    assert page.ballots[op].review_due
    with pytest.raises(NotApproved, match="does not review it"):
        desk.review(op, voter(BOB), "justified", "I was right")
    desk.review(op, voter(CAROL), "justified", "there was no room")
    assert desk.reviews().total == 0


def test_a_void_approval_lets_nothing_on(office: Office) -> None:
    desk, op = office.desk(), office.ask()
    desk.approve(op, voter(BOB), DIGEST)
    assert desk.void(op, "3 files changed").data["void"] is True
    with pytest.raises(NotApproved, match="3 files changed"):
        desk.consume(op, ALICE, DIGEST)


# ---- filing for somebody elsewhere


def test_what_somebody_elsewhere_asks_for_is_filed_once_with_the_terms_of_this_desk(office: Office) -> None:
    desk, op, asked = office.desk(Terms(2)), operation_id(7, 7), "uid:1000(alice)@web1"
    entries = [
        Entry("REQUESTED", {"digest": DIGEST, "target": "/c", "filed_by": "user:web1"}),
        Entry("CHECKED", {}),
        Entry("evidence-filed", {"sha256": "0" * 64}),
        Entry("HELD", {"reasons": ["large"], "terms": Terms(1, own=SelfApproval.ALWAYS).as_value()}),
    ]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: desk.file(op, asked, entries), range(8)))
    assert {(it.requester, it.state) for it in found} == {(asked, State.HELD)}
    assert len(desk.records(op)) == 4
    assert desk.operation(op).data["terms"] == Terms(2).as_value()
    assert desk.operation(op).data["expires_s"] > time.time()
    with pytest.raises(NotApproved, match="another operation"):
        desk.file(op, asked, [Entry("REQUESTED", {"digest": "cd" * 32, "target": "/c"})])
    with pytest.raises(NotApproved, match="another operation"):
        desk.file(op, "uid:1001(bob)@web1", entries)
    with pytest.raises(NotApproved, match="is not known"):
        desk.approve(op, voter("user:bob", "none@web2"), DIGEST)
    assert desk.approve(op, voter("user:bob", "none@web1"), DIGEST).votes == "1 of 2"


# ---- time


def test_expired_is_for_ever_and_no_arrow_of_the_journal_lets_it_on(office: Office) -> None:
    desk, op = office.desk(), office.ask(expires_s=int(time.time()) - 1)
    with office.open() as journal, pytest.raises(IllegalTransition, match="its time is over"):
        journal.advance(op, State.APPROVED, {"approver": BOB})
    with pytest.raises(NotApproved, match="waited too long"):
        desk.approve(op, voter(BOB), DIGEST)
    assert desk.operation(op).state is State.EXPIRED
    other = office.ask(expires_s=int(time.time()) - 1)
    kept = office.ask()
    assert desk.expire_due() == 1
    assert {desk.operation(it).state for it in (op, other)} == {State.EXPIRED}
    assert desk.inbox().operations == (desk.operation(kept),)


# ---- many at once

REDEEMER = """
import sys
import threading
from pathlib import Path
from go_cache_safeguard.approval.ballot import Rules
from go_cache_safeguard.approval.token import parse_token
from go_cache_safeguard.core.errors import Failure
from go_cache_safeguard.flows.desk import Desk
from go_cache_safeguard.journal.store import open_journal
path, op = Path(sys.argv[1]), sys.argv[2]
desk = Desk(lambda read_only: open_journal(path, actor="uid:1000(alice)", version="1", read_only=read_only), Rules())
print("ready", flush=True)
token = parse_token(sys.stdin.readline())
door = threading.Barrier(8)
def redeem():
    door.wait()
    try:
        print(f"won {desk.redeem(op, token, 'uid:1000(alice)').state}\\n", end="", flush=True)
    except Failure as failure:
        print(f"lost {failure.id}\\n", end="", flush=True)
threads = [threading.Thread(target=redeem) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


@pytest.fixture
def redeemers(office: Office) -> Iterator[tuple[str, list[subprocess.Popen[str]]]]:
    """Eight processes of eight threads each, which wait at the door for a token."""
    op = office.ask()
    command = [sys.executable, "-c", REDEEMER, str(office.path), op]
    started = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    try:
        for child in started:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        yield op, started
    finally:
        for child in started:
            child.kill()
            child.communicate()


def test_of_64_who_bring_one_token_at_once_one_wins(
    office: Office, redeemers: tuple[str, list[subprocess.Popen[str]]]
) -> None:
    op, children = redeemers
    token = office.desk().mint(op, voter(BOB), 60)
    for child in children:
        assert child.stdin is not None
        child.stdin.write(f"{token.text}\n")
        child.stdin.flush()
    said = Counter(line for child in children for line in child.communicate(timeout=120)[0].splitlines())
    assert said == {"won APPROVED": 1, "lost not-approved": 63}
    steps = Counter(record.step for record in office.desk().records(op))
    assert steps["APPROVED"] == 1
    with office.open(read_only=True) as journal:
        assert journal.verify() == []


def test_of_many_who_vote_and_use_at_once_each_counts_once(office: Office) -> None:
    desk, op = office.desk(), office.ask(Terms(3))
    people = [voter(f"uid:{2000 + n % 5}") for n in range(20)]

    def vote(who: Voter) -> str:
        try:
            return str(desk.approve(op, who, DIGEST).state)
        except NotApproved:
            return "no"

    with ThreadPoolExecutor(20) as pool:
        said = Counter(pool.map(vote, people))
    assert said["no"] == 17
    ballot = desk.ballot(op)
    assert (ballot.state, len(set(ballot.approvers)), ballot.left) == (State.APPROVED, 3, 0)

    def use(_: int) -> bool:
        try:
            return desk.consume(op, "user:web1", DIGEST).state is State.PASSED
        except NotApproved:
            return False

    with ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(use, range(20))) == 1


# ---- looking


def test_pages_follow_each_other_and_forget_nothing(office: Office) -> None:
    desk = office.desk()
    ops = [office.ask(selectors=[f"--unused-for={n}d"], target=f"/cache/{n % 2}") for n in range(7)]
    first = desk.inbox(limit=3)
    second = desk.inbox(limit=3, after=first.next)
    third = desk.inbox(limit=3, after=second.next)
    assert [[it.id for it in page.operations] for page in (first, second, third)] == [ops[:3], ops[3:6], ops[6:]]
    assert ([page.total for page in (first, second, third)], third.next) == ([7, 7, 7], "")
    assert [it.id for it in desk.inbox(text="--UNUSED-for=4").operations] == [ops[4]]
    assert desk.inbox(text="nothing of the kind").total == 0
    assert desk.inbox(tenant="another").total == 0
    assert desk.inbox(limit=0).operations == first.operations[:1]
    assert [it.id for it in desk.history("/cache/1", 2)] == [ops[5], ops[3]]


def test_what_was_written_since_is_seen_and_what_ended_is_gone(office: Office) -> None:
    desk, other = office.desk(), office.desk()
    one, two, three = office.ask(Terms(2)), office.ask(), office.ask()
    assert desk.inbox().total == 3
    other.approve(one, voter(BOB), DIGEST)
    other.reject(two, voter(BOB), "no")
    other.approve(three, voter(BOB), DIGEST)
    page = desk.inbox()
    assert {it.id: it.state for it in page.operations} == {one: State.HELD, three: State.APPROVED}
    assert {op: it.votes for op, it in page.ballots.items()} == {one: "1 of 2", three: "1 of 1"}
    assert [it.id for it in desk.inbox(states=[State.APPROVED]).operations] == [three]
    other.consume(three, ALICE, DIGEST)
    ended = desk.inbox(states=[State.REJECTED, State.PASSED])
    assert [it.id for it in ended.operations] == [two, three]
    assert ended.ballots[three].approvers == (BOB,)
    assert [it.id for it in desk.inbox(states=list(State), text=two).operations] == [two]


def test_a_journal_that_was_exchanged_is_read_anew(office: Office) -> None:
    desk = office.desk()
    office.ask()
    office.ask()
    assert desk.inbox().total == 2
    for path in office.path.parent.iterdir():
        path.unlink()
    op = office.ask()
    assert [it.id for it in desk.inbox().operations] == [op]


# ---- settings


def test_the_settings_are_the_terms(tmp_path: Path) -> None:
    session = session_at(
        tmp_path,
        approval__needed="2",
        approval__approvers="uid:1001(bob) user:carol",
        approval__break_glass="uid:1003",
        approval__self="never",
        approval__review="2d",
    )
    assert terms_of(session) == Terms(2, ("uid:1001(bob)", "user:carol"), ("uid:1003",), SelfApproval.NEVER, 172_800)
    for key in ("approval__approvers", "approval__break_glass"):
        with pytest.raises(ConfigBad, match="'alice', which is not a person"):
            terms_of(session_at(tmp_path, **{key: "uid:1000 alice"}))


def test_what_nobody_could_ever_approve_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigBad, match="names only 2"):
        terms_of(session_at(tmp_path, approval__needed="3", approval__approvers="user:bob user:carol"))


@pytest.mark.parametrize("needed", ["0", "10", "-1", "two"])
def test_between_one_and_nine_people_may_be_needed(tmp_path: Path, needed: str) -> None:
    with pytest.raises(ConfigBad, match=r"approval\.needed"):
        session_at(tmp_path, approval__needed=needed)


def test_an_audit_reminds_of_a_review_and_of_what_it_found(tmp_path: Path) -> None:
    session = session_at(tmp_path, approval__break_glass="uid:1001")
    desk = desk_of(session)

    def broken(number: int) -> str:
        op = operation_id(number, number)
        desk.file(op, ALICE, [Entry("REQUESTED", {"digest": DIGEST}), Entry("CHECKED", {}), Entry("HELD", {})])
        desk.break_glass(op, voter(BOB), DIGEST, REASON)
        return op

    due, bad, good = broken(1), broken(2), broken(3)
    desk.review(bad, voter(CAROL), "not-justified", "there was room")
    desk.review(good, voter(CAROL), "justified", "there was none")
    found = audited(session)
    assert (found.breaks, found.code) == ((), ExitCode.DONE)
    told = [note for note in found.notes if "emergency" in note]
    assert [note.split()[0] for note in told] == [due, bad]
    assert f"({BOB}: {REASON}): nobody has reviewed it" in told[0]
    assert told[1].endswith("the review found that not justified")


def test_a_desk_on_an_open_journal_leaves_it_open(tmp_path: Path) -> None:
    session: Session = session_at(tmp_path)
    with session.journal() as journal:
        desk = Desk(lent(journal), rules_of(session))
        assert desk.inbox().total == 0
        assert voter_of(session).principal == session.actor
        assert journal.last_seq == 0
    assert json.loads(json.dumps(Terms().as_value())) == Terms().as_value()
