"""Hosts that hold, a server where people decide, and a network between them that loses things."""

import json
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flakyproxy import Fault
from fleets import Fleet, Host, fleet
from go_cache_safeguard.approval.ballot import Ballot
from go_cache_safeguard.approval.voter import Channel, Role, Voter
from go_cache_safeguard.core.errors import IllegalTransition
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.flows.approve import approve_by_digest, token_in
from go_cache_safeguard.flows.audit import audit
from go_cache_safeguard.flows.clean import Refused
from go_cache_safeguard.flows.desk import NotApproved, desk_of
from go_cache_safeguard.flows.fleet import Trouble, redeem_there, server_of, tell_of_decision
from postgres import Database


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("server")) as found:
        yield found


@pytest.fixture
def site(running: Fleet) -> Iterator[Fleet]:
    yield running
    running.flaky.choose = lambda _number, _method, _path: Fault.NONE


def until(true: Callable[[], bool]) -> None:
    """Wait for something that takes a moment."""
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def faulty(fleet: Fleet, fault: Fault, method: str, part: str, times: int = 1) -> None:
    """Let something happen to the next requests of one kind."""
    left = [times]

    def choose(_number: int, one: str, path: str) -> Fault:
        if one == method and path.endswith(part) and left[0] > 0:
            left[0] -= 1
            return fault
        return Fault.NONE

    fleet.flaky.choose = choose


def test_two_hosts_and_one_server_as_real_processes(site: Fleet, tmp_path: Path) -> None:
    one, other = site.host(tmp_path / "one", "build-7"), site.host(tmp_path / "other", "build-8")
    quick = ("--all", "--proof", "none", "--checks", "permissions", "--gocache")
    waiting = one.start("clean", *quick, str(one.cache.root), "--confirm-wait", "60s")
    code, said = other.run("clean", *quick, str(other.cache.root))
    assert code == 11, said
    assert f"people decide at {site.flaky.endpoint}" in said
    theirs = other.operations()[-1].id
    until(
        lambda: bool(one.state.is_dir() and one.operations() and "server-filed" in one.steps(one.operations()[-1].id))
    )
    ours = one.operations()[-1].id
    arguments = Path(f"/proc/{waiting.pid}/cmdline").read_text() + Path(f"/proc/{waiting.pid}/environ").read_text()
    requester = one.operation(ours).requester
    assert site.call("GET", f"/operations/{ours}")["requester"] == f"{requester}@build-7"
    site.approve(ours)
    out, err = waiting.communicate(timeout=60)
    assert waiting.returncode == 0, err
    assert not list(one.cache.root.glob("??/*"))
    assert site.standing(ours) == ("PASSED", "DONE")
    assert other.whole
    assert other.run("clean", theirs)[0] == 11
    site.approve(theirs)
    code, told = other.run("clean", theirs)
    assert code == 0, told
    assert site.standing(theirs) == ("PASSED", "DONE")
    assert other.run("clean", theirs)[0] == 12
    for session in (one.session(), other.session(), site.served.session()):
        with session.journal(read_only=True) as journal:
            assert audit(session.config, journal).breaks == ()
    written = [file for folder in (tmp_path, site.served.state.parent) for file in folder.rglob("*") if file.is_file()]
    for secret in (site.tokens["build-7"], site.tokens["build-8"], site.bob):
        assert secret not in arguments + out + err + said + told
        leaks = [file for file in written if secret.encode() in file.read_bytes() and file.name != "api-token"]
        assert leaks == []


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.CUT])
def test_a_lost_reply_to_the_use_of_an_approval_is_looked_up_and_nothing_is_done_twice(
    site: Fleet, tmp_path: Path, fault: Fault
) -> None:
    host = site.host(tmp_path, "build-7")
    op = host.hold()
    site.approve(op)
    faulty(site, fault, "POST", "/consume")
    assert host.resume(op).moved == len(host.cache.contents)
    steps = host.steps(op)
    assert steps.count("APPROVED") == steps.count("REMOVING") == 1
    assert site.flaky.count("POST", f"{op}/consume") == 1
    assert site.standing(op) == ("PASSED", "DONE")


def test_a_use_of_which_nothing_is_heard_is_found_again_later(site: Fleet, tmp_path: Path) -> None:
    host = site.host(tmp_path, "build-7")
    op = host.hold()
    site.approve(op)
    lost = [Fault.LOST]  # the answer to the use; after it, everything
    site.flaky.choose = lambda _number, _method, path: (
        (lost.pop() if lost else Fault.NONE) if path.endswith("/consume") else Fault.NONE if lost else Fault.DROPPED
    )
    assert "does not help" in host.still_held(op)
    assert site.standing(op)[0] == "PASSED"
    site.flaky.choose = lambda _number, _method, _path: Fault.NONE
    assert host.resume(op).moved == len(host.cache.contents)
    assert site.standing(op) == ("PASSED", "DONE")


def test_a_use_that_never_arrived_is_tried_anew(site: Fleet, tmp_path: Path) -> None:
    host = site.host(tmp_path, "build-7")
    op = host.hold()
    site.approve(op)
    faulty(site, Fault.DROPPED, "POST", "/consume")
    host.still_held(op)
    assert site.standing(op)[0] == "APPROVED"
    assert host.resume(op).moved == len(host.cache.contents)


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.CUT, Fault.DROPPED, Fault.ERROR])
def test_a_filing_that_is_lost_is_filed_once(site: Fleet, tmp_path: Path, fault: Fault) -> None:
    host = site.host(tmp_path, "build-7")
    faulty(site, fault, "POST", "/operations")
    op = host.hold()
    host.still_held(op)
    assert [one["step"] for one in site.call("GET", f"/operations/{op}/records")["records"]].count("HELD") == 1


def test_an_outcome_that_is_lost_is_told_with_the_next_one(site: Fleet, tmp_path: Path) -> None:
    host = site.host(tmp_path, "build-7")
    op = host.hold()
    site.approve(op)
    faulty(site, Fault.DROPPED, "POST", "/outcome")
    host.resume(op)
    assert site.standing(op) == ("PASSED", None)
    again = site.host(tmp_path / "again", "build-7")
    again.settings["state.dir"] = str(host.state)
    second = Host("build-7", host.folder, again.cache, host.settings)
    other = second.hold()
    site.approve(other)
    second.resume(other)
    assert site.standing(op) == ("PASSED", "DONE")


def test_a_rejection_and_an_expiry_come_home(site: Fleet, tmp_path: Path) -> None:
    host = site.host(tmp_path, "build-7")
    op = host.hold()
    site.call("POST", f"/operations/{op}/reject", {"why": "not today"})
    with pytest.raises(Refused, match="not today"):
        host.resume(op)
    assert host.operation(op).state is State.REJECTED
    late = host.hold()
    with site.served.session().journal() as journal:
        journal.advance(late, State.EXPIRED, {})
    with pytest.raises(Refused, match="EXPIRED"):
        host.resume(late)
    assert host.whole


def test_what_is_taken_back_on_the_host_is_taken_back_at_the_server(site: Fleet, tmp_path: Path) -> None:
    host = site.host(tmp_path, "build-7")
    op = host.hold()
    me = Voter(host.session().actor, frozenset({Role.REQUESTER}), Channel.TERMINAL)
    desk_of(host.session()).cancel(op, me, "wrong cache")
    faulty(site, Fault.DROPPED, "POST", "/cancel")
    tell_of_decision(host.session())
    assert site.standing(op)[0] == "HELD"
    tell_of_decision(host.session())
    assert site.standing(op)[0] == "CANCELLED"
    assert "wrong cache" in site.call("GET", f"/operations/{op}")["why"]
    assert host.steps(op)[-1] == "server-told"


def test_nobody_approves_on_the_host_itself(site: Fleet, tmp_path: Path) -> None:
    host = site.host(tmp_path, "build-7")
    op = host.hold()
    me = Voter(host.session().actor, frozenset({Role.APPROVER}), Channel.TERMINAL)
    with pytest.raises(NotApproved, match="people decide"):
        desk_of(host.session()).approve(op, me, str(host.operation(op).data["digest"]))
    assert host.operation(op).state is State.HELD


def minted(site: Fleet, host: Host, op: str) -> Path:
    """A token of somebody who approves at the server, in a file on the host."""
    file = host.folder / f"{op}.token"
    file.touch(mode=0o600)
    file.write_text(site.call("POST", f"/operations/{op}/token", {"expires_s": 600})["token"] + "\n")
    return file


def test_nobody_mints_a_token_on_the_host_itself(site: Fleet, tmp_path: Path) -> None:
    host = site.host(tmp_path, "build-7")
    op, file = host.hold(), tmp_path / "token"
    code, said = host.run("ops", "token", op, "--output", str(file))
    assert (code, "no token was minted" in said) == (12, True), said
    assert f"people decide about {op} at {site.flaky.endpoint}" in said
    assert f"POST /api/v1/operations/{op}/token" in " ".join(said.split())
    assert not file.exists()
    assert "token-minted" not in host.steps(op)


def redeemed(host: Host, op: str, file: Path) -> Ballot:
    """What `ops approve OP --token-file FILE` does, without the command."""
    link = server_of(host.session())
    assert link is not None
    with host.session().journal() as journal:
        return redeem_there(link, journal, op, token_in(file, op))


def test_a_token_on_a_host_is_brought_to_the_server_and_counts_there_once(site: Fleet, tmp_path: Path) -> None:
    host = site.host(tmp_path, "build-7")
    op = host.hold()
    file = minted(site, host, op)
    child = host.start("ops", "approve", op, "--token-file", "-", stdin=file.read_text())
    seen = Path(f"/proc/{child.pid}/cmdline").read_text() + Path(f"/proc/{child.pid}/environ").read_text()
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    assert f"{op} is APPROVED at {site.flaky.endpoint}" in out
    assert f"clean {op}" in out
    assert site.standing(op) == ("APPROVED", None)
    assert host.operation(op).state is State.HELD
    code, said = host.run("ops", "approve", op, "--token-file", str(file))
    assert (code, f"{op} is APPROVED" in said) == (12, True), said
    assert host.run("clean", op, "--proof", "none")[0] == 0
    assert site.standing(op) == ("PASSED", "DONE")
    code, over = host.run("ops", "approve", op, "--token-file", str(file))
    assert (code, f"{op} is DONE" in over) == (12, True), over
    assert site.flaky.count("POST", f"{op}/redeem") == 2, "what is over here is not asked there"
    text = file.read_text().strip()
    assert text not in seen + out + err + said + over + str(site.flaky.seen)
    for folder in (tmp_path, site.served.state.parent):
        assert not [
            one for one in folder.rglob("*") if one.is_file() and one != file and text.encode() in one.read_bytes()
        ]


def test_a_token_goes_with_the_command_that_carries_out(site: Fleet, tmp_path: Path) -> None:
    host = site.host(tmp_path, "build-7")
    op = host.hold()
    code, said = host.run("clean", op, "--proof", "none", "--token-file", str(minted(site, host, op)))
    assert code == 0, said
    assert site.standing(op) == ("PASSED", "DONE")


def test_a_token_of_another_operation_is_refused_and_typed_digits_are_none(site: Fleet, tmp_path: Path) -> None:
    host = site.host(tmp_path, "build-7")
    op, other = host.hold(), host.hold()
    file = minted(site, host, other)
    code, said = host.run("ops", "approve", op, "--token-file", str(file))
    assert (code, "was not given out for it" in said) == (12, True), said
    assert f"{op} stays as it is" in said
    with host.session().journal() as journal, pytest.raises(NotApproved, match="people decide"):
        approve_by_digest(host.session(), journal, op, str(host.operation(op).data["digest"]))
    assert (site.standing(op)[0], host.operation(op).state) == ("HELD", State.HELD)
    with host.start("ops", "approve", other, "--token-file", str(file), "--json") as child:
        told = json.loads(child.communicate(timeout=60)[0])
    assert (child.returncode, told["op"], told["state"]) == (0, other, "HELD")
    assert told["server"] == {"name": site.flaky.endpoint, "state": "APPROVED"}
    assert told["ballot"]["approvers"] == ["user:bob"]


@pytest.mark.parametrize("fault", [Fault.DROPPED, Fault.ERROR])
def test_a_token_that_did_not_arrive_leaves_it_held_and_still_counts(site: Fleet, tmp_path: Path, fault: Fault) -> None:
    host = site.host(tmp_path, "build-7")
    op = host.hold()
    file = minted(site, host, op)
    faulty(site, fault, "POST", "/redeem")
    with pytest.raises(Trouble) as away:
        redeemed(host, op, file)
    frames = away.tb.tb_next
    told = "".join(traceback.TracebackException(Trouble, away.value, frames, capture_locals=True).format())
    assert "redeem_there" in told
    assert file.read_text().strip() not in told
    assert (away.value.exit_code, host.operation(op).state) == (11, State.HELD)
    assert site.standing(op)[0] == "HELD"
    Path(host.settings["approval.server_token_file"]).write_text("gcs_nobody\n")
    with pytest.raises(Trouble, match="log in first"):
        redeemed(host, op, file)
    Path(host.settings["approval.server_token_file"]).write_text(site.tokens["build-7"])
    assert redeemed(host, op, file).state is State.APPROVED


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.CUT])
def test_a_token_of_which_the_reply_is_lost_is_looked_up(site: Fleet, tmp_path: Path, fault: Fault) -> None:
    host = site.host(tmp_path, "build-7")
    op = host.hold()
    file = minted(site, host, op)
    faulty(site, fault, "POST", "/redeem")
    ballot = redeemed(host, op, file)
    assert (ballot.state, ballot.approvers, ballot.left) == (State.APPROVED, ("user:bob",), 0)
    assert site.flaky.count("POST", f"{op}/redeem") == 1
    with pytest.raises(NotApproved, match="APPROVED"):
        redeemed(host, op, file)


def test_a_token_is_one_vote_where_it_takes_two_and_of_a_lost_reply_nobody_says_that_it_counted(tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    with fleet(tmp_path / "server", {"approval.needed": "2"}) as site:
        host = site.host(tmp_path / "host", "build-7")
        op, unheard = host.hold(), host.hold()
        code, said = host.run("ops", "approve", op, "--token-file", str(minted(site, host, op)))
        assert (code, f"{op} is HELD at {site.flaky.endpoint}; 1 of 2 have approved it" in said) == (0, True), said
        file = minted(site, host, unheard)
        faulty(site, Fault.LOST, "POST", "/redeem")
        with pytest.raises(Trouble, match="did not answer as it should"):
            redeemed(host, unheard, file)
        code, said = host.run("ops", "approve", unheard, "--token-file", str(file))
        assert (code, "the token was used before" in said) == (12, True), said
        for one in (op, unheard):
            assert (site.standing(one)[0], host.operation(one).state) == ("HELD", State.HELD)


def test_an_operation_that_the_server_does_not_know_stays_held_whatever_token_comes(
    site: Fleet, tmp_path: Path
) -> None:
    host = site.host(tmp_path, "build-7")
    known = host.hold()
    file = minted(site, host, known)
    faulty(site, Fault.DROPPED, "POST", "/operations")
    op = host.hold()
    with pytest.raises(Trouble, match="does not help"):
        redeemed(host, op, file)
    assert host.operation(op).state is State.HELD


def test_an_approval_that_somebody_used_with_our_token_is_none(site: Fleet, tmp_path: Path) -> None:
    host = site.host(tmp_path, "build-7")
    op = host.hold()
    site.approve(op)
    digest = str(host.operation(op).data["digest"])
    site.call("POST", f"/operations/{op}/consume", {"digest": digest}, token=site.tokens["build-7"])
    assert "not by this journal" in host.still_held(op)


def test_of_two_who_go_on_at_once_one_does(site: Fleet, tmp_path: Path) -> None:
    host = site.host(tmp_path, "build-7")
    op = host.hold()
    site.approve(op)
    ended: list[object] = []

    def go() -> None:
        try:
            ended.append(host.resume(op).moved)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is looked at
            ended.append(error)

    both = [threading.Thread(target=go) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join(60)
    assert sum(one == len(host.cache.contents) for one in ended) == 1, ended
    assert host.steps(op).count("REMOVING") == 1
    others = [one for one in ended if isinstance(one, Exception)]
    assert len(others) == 1
    assert isinstance(others[0], IllegalTransition) or "ocked" in type(others[0]).__name__, others


def test_a_server_that_is_away_changes_nothing_and_one_that_comes_back_goes_on(site: Fleet, tmp_path: Path) -> None:
    host = site.host(tmp_path, "build-7")
    op = host.hold()
    site.served.stop()
    assert "does not help" in host.still_held(op)
    site.served.start()
    assert site.standing(op)[0] == "HELD"
    site.approve(op)
    assert host.resume(op).moved == len(host.cache.contents)
    assert site.standing(op) == ("PASSED", "DONE")


def test_a_host_with_a_token_that_ended_is_told_so(site: Fleet, tmp_path: Path) -> None:
    host = site.host(tmp_path, "build-7")
    Path(host.settings["approval.server_token_file"]).write_text("gcs_nobody\n")
    op = host.hold()
    assert "log in first" in host.said
    assert json.dumps(site.call("GET", "/operations?limit=500")).count(op) == 0


def test_a_server_that_keeps_its_journal_in_postgres_decides_as_well(database: Database, tmp_path: Path) -> None:
    settings = {"serve.database": database.url(), "serve.database_password_file": str(database.password_file())}
    (tmp_path / "server").mkdir()
    with fleet(tmp_path / "server", settings) as site:
        host = site.host(tmp_path / "host", "build-7")
        op = host.hold()
        site.approve(op)
        faulty(site, Fault.LOST, "POST", "/consume")
        assert host.resume(op).moved == len(host.cache.contents)
        assert site.standing(op) == ("PASSED", "DONE")
