"""What the flows decide between the command line and the rooms, piece by piece; whole stories are in `tests/cli`."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from go_cache_safeguard.config.files import load_config
from go_cache_safeguard.core.errors import Failure, UsageFailure
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.flows import doctor
from go_cache_safeguard.flows.approve import approve_by_digest, expire
from go_cache_safeguard.flows.checks import run_checks
from go_cache_safeguard.flows.clean import ask, kept_plan
from go_cache_safeguard.flows.desk import NotApproved
from go_cache_safeguard.flows.inspect import Effort, look
from go_cache_safeguard.flows.plan import Wanted, installed_toolchains, make_plan, write_plan
from go_cache_safeguard.flows.recover import ABANDONED, recover
from go_cache_safeguard.flows.repair import repair_plan
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.gocache.damage import Effect, Finding, Wrong
from go_cache_safeguard.gocache.disk import Level
from go_cache_safeguard.tree.root import open_root
from gocaches import GoCache
from smallcaches import SmallCache, small_cache


def session_at(base: Path, **settings: str) -> Session:
    """A session that knows no go command and keeps its state below `base`."""
    (base / "home").mkdir(exist_ok=True)
    environ = {"HOME": f"{base}/home", "PATH": "", "GO_CACHE_SAFEGUARD_STATE_DIR": f"{base}/state"}
    arguments = {key.replace("__", "."): value for key, value in settings.items()}
    config = load_config(environ=environ, cwd=base, home=base / "home", arguments=arguments, system=base / "none.toml")
    return Session(config, environ, base)


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return session_at(tmp_path)


@pytest.fixture
def cache(tmp_path: Path) -> SmallCache:
    return small_cache(tmp_path / "cache")


# ---- planning


@pytest.mark.parametrize("wanted", [Wanted(), Wanted(everything=True, unused_for_s=0)])
def test_nothing_is_planned_without_saying_what_or_saying_two_things(
    session: Session, cache: SmallCache, wanted: Wanted
) -> None:
    with pytest.raises(UsageFailure):
        make_plan(session, cache.root, wanted)


def test_a_plan_file_is_never_overwritten(session: Session, cache: SmallCache, tmp_path: Path) -> None:
    plan, _ = make_plan(session, cache.root, Wanted(everything=True, words=("--all",)))
    write_plan(plan, tmp_path / "plan.json")
    with pytest.raises(UsageFailure, match="cannot be written"):
        write_plan(plan, tmp_path / "plan.json")


def test_toolchains_are_found_in_the_sdk_folder_of_the_user(session: Session, tmp_path: Path) -> None:
    sdk = tmp_path / "home/sdk/go1.99.1"
    sdk.mkdir(parents=True)
    (sdk / "VERSION").write_text("go1.99.1\ntime 2030-01-01T00:00:00Z\n")
    (tmp_path / "home/sdk/gone").mkdir()
    assert installed_toolchains(session, ("go1.2.3",)) >= {"go1.99.1", "go1.2.3"}


def test_toolchains_are_found_on_the_path_and_where_go_downloads_them(newest_cache: GoCache, tmp_path: Path) -> None:
    base = session_at(tmp_path)
    environ = {**newest_cache.environ, "PATH": f"{newest_cache.toolchain.go.parent}"}
    downloaded = Path(environ["GOMODCACHE"]) / "golang.org/toolchain@v0.0.1-go1.98.2.linux-amd64"
    downloaded.mkdir(parents=True)
    found = installed_toolchains(Session(base.config, environ, tmp_path))
    assert found >= {newest_cache.toolchain.version, "go1.98.2"}


# ---- repairing


def finding(name: str, kind: Wrong, effect: Effect, severity: Outcome, *evict: str) -> Finding:
    return Finding(name, kind, None, None, None, effect, severity, "", evict)


def test_a_repair_takes_what_findings_name_once_and_nothing_that_is_merely_unknown(
    session: Session, cache: SmallCache
) -> None:
    names = sorted(cache.contents)
    entry, output = next(n for n in names if n.endswith("-a")), next(n for n in names if n.endswith("-d"))
    findings = [
        finding(output, Wrong.CONTENT, Effect.SILENTLY_WRONG, Outcome.BLOCK, entry, output),
        finding(entry, Wrong.ENTRY, Effect.HEALS_ITSELF, Outcome.WARN, entry),
        finding(names[-1], Wrong.UNREADABLE, Effect.UNKNOWN, Outcome.UNKNOWN),
        finding(names[-2], Wrong.ORPHAN, Effect.HARMLESS, Outcome.PASS),
        finding("zz/gone", Wrong.CONTENT, Effect.SILENTLY_WRONG, Outcome.BLOCK, "zz/gone", "00/" + "0" * 64 + "-d"),
    ]
    with open_root(cache.root) as root:
        inspection = look(session, root, Effort(Level.STATUS))
        plan = repair_plan(session, root, inspection.inventory, findings)
    assert [item.name for item in plan.items] == sorted([entry, output])
    assert {item.reason for item in plan.items} == {"damaged: content"}
    assert plan.selectors == ("fsck --repair",)


# ---- checks


def test_a_check_that_cannot_have_its_facts_is_unknown_and_never_passes(session: Session, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (verdict,) = run_checks(session, tmp_path / "photos", ("integrity",))
    assert verdict.outcome is Outcome.UNKNOWN
    assert "not a Go build cache" in verdict.summary


def test_without_go_the_checks_that_need_it_are_unknown(session: Session, cache: SmallCache) -> None:
    outcomes = {one.check: one.outcome for one in run_checks(session, cache.root)}
    assert outcomes["reuse"] is Outcome.UNKNOWN
    assert outcomes["index-agreement"] is Outcome.UNKNOWN
    assert outcomes["permissions"] is not Outcome.UNKNOWN


def test_a_check_that_does_not_exist_is_a_usage_failure(session: Session, cache: SmallCache) -> None:
    with pytest.raises(UsageFailure, match="is not a check"):
        run_checks(session, cache.root, ("nonsense",))


# ---- waiting for people, and for nobody


def held(session: Session, cache: SmallCache) -> str:
    """Bring a plan before a policy that holds it."""
    with session.journal() as journal:
        return ask(session, journal, cache.plan(), list).op


def test_a_held_operation_expires_for_ever(session: Session, cache: SmallCache) -> None:
    op = held(session, cache)
    with session.journal() as journal:
        operation = journal.operation(op)
        ends_s = int(operation.data["expires_s"])
        assert ends_s - time.time() == pytest.approx(24 * 3600, abs=60)
        assert expire(journal, operation, ends_s - 1).state is State.HELD
        assert expire(journal, operation, ends_s).state is State.EXPIRED
        assert expire(journal, operation, ends_s).state is State.EXPIRED  # somebody else was faster
        with pytest.raises(NotApproved, match="EXPIRED"):
            approve_by_digest(session, journal, op, str(operation.data["digest"]))


def test_an_approval_that_is_not_used_in_time_expires_too(tmp_path: Path, cache: SmallCache) -> None:
    session = session_at(tmp_path, approval__self="always")
    op = held(session, cache)
    with session.journal() as journal:
        approved = approve_by_digest(session, journal, op, str(journal.operation(op).data["digest"]))
        assert expire(journal, approved, int(approved.data["expires_s"])).state is State.EXPIRED


def test_a_request_whose_process_died_is_given_up_after_a_day_and_not_before(
    session: Session, cache: SmallCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Died(Exception):  # noqa: N818 - stands for a kill
        pass

    def dying() -> list[object]:
        raise Died

    with session.journal() as journal, pytest.raises(Died):
        ask(session, journal, cache.plan(), dying)  # type: ignore[arg-type] # it never returns
    assert recover(session, None, wait_s=0) == []
    monkeypatch.setattr("go_cache_safeguard.flows.recover.ABANDONED", -ABANDONED)
    (given_up,) = recover(session, None, wait_s=0)
    assert (given_up.found, given_up.now) == (State.REQUESTED, State.CANCELLED)


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.unlink(),
        lambda path: path.write_text("{}"),
        lambda path: path.write_text(json.dumps({**json.loads(path.read_bytes()), "requester": "mallory"})),
    ],
)
def test_a_kept_plan_that_was_touched_is_void(
    session: Session, cache: SmallCache, harm: Callable[[Path], object], tmp_path: Path
) -> None:
    op = held(session, cache)
    with session.journal() as journal:
        operation = journal.operation(op)
    assert kept_plan(session, operation).digest == cache.plan().digest
    harm(tmp_path / f"state/plans/{op}.json")
    with pytest.raises(Failure) as caught:
        kept_plan(session, operation)
    assert caught.value.id == "plan-void"


# ---- doctor


def test_the_doctor_says_what_stands_in_the_way_and_goes_on(session: Session, cache: SmallCache) -> None:
    found = {one.check: one for one in doctor.examine(session, cache.root)}
    assert list(found) == ["python", "go", "cache", "processes", "state", "vanished", "journal"]
    assert found["go"].outcome is Outcome.BLOCK
    assert found["go"].remedy
    assert {found[name].outcome for name in ("python", "cache", "processes", "journal")} <= {Outcome.PASS, Outcome.WARN}


def test_the_doctor_names_unfinished_operations_and_a_journal_that_was_changed(
    session: Session, cache: SmallCache, tmp_path: Path
) -> None:
    op = held(session, cache)
    with session.journal() as journal:
        journal.advance(op, State.APPROVED, {})
        journal.advance(op, State.REMOVING, {})
    told = doctor.examine(session, cache.root)[-1]
    assert (told.outcome, told.evidence) == (Outcome.WARN, (op,))
    head = tmp_path / "state/journal.sqlite.head"
    head.write_bytes(head.read_bytes().replace(b"1", b"2"))
    assert doctor.examine(session, cache.root)[-1].outcome is Outcome.BLOCK


def test_the_doctor_says_where_no_journal_could_be_kept(tmp_path: Path, cache: SmallCache) -> None:
    (tmp_path / "file").touch()
    session = session_at(tmp_path, state__dir=f"{tmp_path}/file/state")
    told = {one.check: one for one in doctor.examine(session, cache.root)}["state"]
    assert told.outcome is Outcome.BLOCK
    assert any("--state-dir" in line for line in told.remedy)


def test_a_cache_that_is_gone_or_another_one_is_not_entered(session: Session, cache: SmallCache) -> None:
    with pytest.raises(Failure) as caught:
        make_plan(session, cache.root / "nowhere", Wanted(everything=True))
    assert caught.value.id == "no-target"
    assert os.path.lexists(cache.root)


@pytest.mark.parametrize(
    ("environ", "settings", "wait_s"),
    [({}, {}, 30), ({"CI": "true"}, {}, 0), ({"CI": "false"}, {}, 30), ({"CI": "true"}, {"clean.wait": "7s"}, 7)],
)
def test_a_ci_job_waits_for_nobody_unless_it_was_told_to(
    tmp_path: Path, environ: dict[str, str], settings: dict[str, str], wait_s: int
) -> None:
    config = load_config(environ=environ, cwd=tmp_path, home=tmp_path, arguments=settings, system=tmp_path / "none")
    assert Session(config, environ, tmp_path).default_wait_s == wait_s


def test_our_state_is_for_its_owner_only(session: Session) -> None:
    folder = session.state_folder("plans")
    assert [path.stat().st_mode & 0o777 for path in (session.state_dir, folder)] == [0o700, 0o700]
