"""Deleting for good as an operation: held if somebody wants that, carried out once, bound to the plan, finished after a crash."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from go_cache_safeguard.cli.act import Selectors
from go_cache_safeguard.config.files import load_config
from go_cache_safeguard.core.errors import IllegalTransition
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.flows import disposers, purge, repository, repository_prune
from go_cache_safeguard.flows.approve import approve_by_digest
from go_cache_safeguard.flows.audit import audit
from go_cache_safeguard.flows.clean import Held, How, clean
from go_cache_safeguard.flows.deletion import begun
from go_cache_safeguard.flows.disposal import dispose
from go_cache_safeguard.flows.pack import JournalRecords, pack_of
from go_cache_safeguard.flows.progress import Silent
from go_cache_safeguard.flows.recover import recover
from go_cache_safeguard.flows.remove import Manner
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.snapshot import Subject
from go_cache_safeguard.flows.undo import undo
from go_cache_safeguard.snapshot.keep import Rules
from go_cache_safeguard.snapshot.manifest import Kind
from go_cache_safeguard.tree.place import Locked
from repositories import make_cache, require_whole
from smallcaches import small_cache

LONG_AGO_NS = 1_600_000_000 * 10**9
SETTINGS = {
    "policy.hold_share": "100%",
    "quarantine.retention": "0s",
    "approval.self": "always",
    "audit.checkpoint": "never",
}
Opens = Callable[..., Session]


@pytest.fixture
def opens(tmp_path: Path) -> Opens:
    """Opens a session below the test's folder, with more settings as keywords (`_` for the dot)."""
    environ = {"HOME": str(tmp_path)}

    def session(**more: str) -> Session:
        given = {"state.dir": f"{tmp_path}/state", **SETTINGS, **{k.replace("_", ".", 1): v for k, v in more.items()}}
        config = load_config(environ=environ, cwd=tmp_path, home=tmp_path, arguments=given, system=tmp_path / "none")
        return Session(config, environ, tmp_path, Silent())

    return session


def cleaned(session: Session, cache: Path) -> str:
    """Move all of a small cache to quarantine. Gives the operation."""
    plan = small_cache(cache, shards=2, pairs=1, at_ns=LONG_AGO_NS).plan()
    passing = [Verdict("synthetic", Outcome.PASS, "nothing was asked")]
    return clean(session, plan, lambda: passing, Manner(wait_s=0, prover=None), None).op


def purged(session: Session, how: How | None = None) -> str:
    """What `purge` does. Gives the operation that deletes."""
    with session.journal() as journal:
        due = purge.not_purged(journal, purge.stored(session, journal.operations()))
    plan = purge.plan_of(session, due, whole=sum(one.size for one in due))
    return dispose(session, plan, purge.verdict_of(due, 2**40), purge.dispose, how or How()).op


def state(session: Session, op: str) -> State:
    with session.journal(read_only=True) as journal:
        return journal.operation(op).state


def newest(session: Session) -> str:
    with session.journal(read_only=True) as journal:
        return journal.operations()[-1].id


def agree(session: Session, op: str) -> None:
    with session.journal() as journal:
        approve_by_digest(session, journal, op, str(journal.operation(op).data["digest"]))


def test_by_default_what_is_due_goes_without_a_question_as_one_operation_that_the_law_knows(
    opens: Opens, tmp_path: Path
) -> None:
    session = opens()
    ours = [cleaned(session, tmp_path / name) for name in ("one", "two")]
    op = purged(session)
    assert [state(session, one) for one in (*ours, op)] == [State.PURGED] * 3
    with session.journal(read_only=True) as journal:
        steps = [record.step for record in journal.records(op=op)]
        data = journal.operation(op).data
        assert audit(session.config, journal).breaks == ()
        assert journal.operation(ours[0]).data["purged_by"] == op
    assert steps == ["REQUESTED", "CHECKED", "ALLOWED", "PURGING", "PURGED"]
    assert (data["receipt"]["moved"], data["receipt"]["digest"]) == (2, data["digest"])
    assert {row["op"] for row in data["purge"]["operations"]} == set(ours)


def test_a_site_that_wants_to_be_asked_holds_it_and_what_was_approved_goes_once(opens: Opens, tmp_path: Path) -> None:
    session = opens(approval_purge="ask")
    ours = cleaned(session, tmp_path / "one")
    with pytest.raises(Held, match=r"approval\.purge"):
        purged(session)
    op = newest(session)
    assert [state(session, one) for one in (ours, op)] == [State.DONE, State.HELD]
    with session.journal(read_only=True) as journal:
        pack = pack_of(JournalRecords(journal), op, session.state_dir / "plans").as_value()
    assert str(ours) in str(pack)
    with pytest.raises(Held):
        disposers.resume(session, op)
    agree(session, op)
    assert disposers.resume(session, op).moved == 1
    assert [state(session, one) for one in (ours, op)] == [State.PURGED] * 2
    with pytest.raises(IllegalTransition):
        disposers.resume(session, op)
    with session.journal(read_only=True) as journal:
        assert audit(session.config, journal).breaks == ()


def test_what_was_put_back_while_people_decided_stays(opens: Opens, tmp_path: Path) -> None:
    session = opens()
    ours = [cleaned(session, tmp_path / name) for name in ("one", "two")]
    with pytest.raises(Held):
        purged(session, How(always_ask=True))
    op = newest(session)
    undo(session, ours[0], None)
    agree(session, op)
    receipt = disposers.resume(session, op)
    assert (receipt.moved, receipt.changed + receipt.missing) == (1, 1)
    assert [state(session, one) for one in ours] == [State.UNDONE, State.PURGED]


def test_recover_goes_on_with_what_was_killed_and_two_never_work_on_one(opens: Opens, tmp_path: Path) -> None:
    session = opens(approval_purge="ask")
    ours = [cleaned(session, tmp_path / name) for name in ("one", "two")]
    with pytest.raises(Held):
        purged(session)
    op = newest(session)
    agree(session, op)
    with session.journal() as journal, begun(session, journal, op):
        with pytest.raises(Locked), begun(session, journal, op):
            raise AssertionError("both are inside")
        (first, _) = purge.stored(session, journal.operations())
        purge.purge(session, journal, first, per_second=0, by=op)
    assert state(session, op) is State.PURGING
    (done,) = recover(session, None, wait_s=0)
    assert (done.op, done.now, done.problem) == (op, State.PURGED, "")
    assert [state(session, one) for one in ours] == [State.PURGED] * 2
    with session.journal(read_only=True) as journal:
        assert journal.operation(op).data["receipt"]["moved"] == 2


def test_a_prune_is_held_resumed_and_recovered_like_any_other(opens: Opens, tmp_path: Path) -> None:
    session = opens()
    cache = Subject(Kind.BUILD, tmp_path / "cache")
    make_cache(cache.path)
    for _ in range(2):
        repository.create(session, cache)
    plan = repository_prune.plan(session, Rules(last=1), grace_s=0).plan
    with pytest.raises(Held):
        repository_prune.execute(session, plan, how=How(always_ask=True))
    op = newest(session)
    agree(session, op)
    with session.journal() as journal, begun(session, journal, op):
        pass  # killed here
    assert [one.now for one in recover(session, None, wait_s=0)] == [State.PURGED]
    with session.journal(read_only=True) as journal:
        assert journal.operation(op).data["purge"]["snapshots"] == 1
        assert audit(session.config, journal).breaks == ()
    assert require_whole(session) == 1


def test_leftovers_of_an_undone_operation_are_purged_once(opens: Opens, tmp_path: Path) -> None:
    session = opens()
    op = cleaned(session, tmp_path / "one")
    (tmp_path / "one" / min(small_cache(tmp_path / "same", shards=2, pairs=1).contents)).write_bytes(b"built again")
    undo(session, op, None)
    purged(session)
    with session.journal() as journal:
        assert purge.stored(session, journal.operations())
        assert purge.not_purged(journal, purge.stored(session, journal.operations())) == []


def test_selectors_are_told_as_they_were_typed() -> None:
    group = replace(Selectors(), everything=True)
    assert group.wanted().words == ("--all",)
