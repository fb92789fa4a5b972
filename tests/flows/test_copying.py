"""The copy before a clean: without it nothing goes, and whoever is killed while copying has taken nothing."""

from pathlib import Path

import pytest

from flows.test_flows import session_at
from go_cache_safeguard.core.errors import Failure, UsageFailure
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.flows.clean import ask, clean
from go_cache_safeguard.flows.copying import CopyIncomplete, copy_to_file
from go_cache_safeguard.flows.plan import Wanted, make_plan
from go_cache_safeguard.flows.recover import recover
from go_cache_safeguard.flows.remove import Manner, Snapshotter
from go_cache_safeguard.flows.session import Session
from smallcaches import SmallCache, entries, small_cache

FINE = [Verdict("permissions", Outcome.PASS, "fine")]


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return session_at(tmp_path, policy__hold_share="100%")


@pytest.fixture
def cache(tmp_path: Path) -> SmallCache:
    return small_cache(tmp_path / "cache")


def _clean(session: Session, cache: SmallCache, copy: Snapshotter) -> None:
    plan, _ = make_plan(session, cache.root, Wanted(everything=True, words=("--all",)))
    clean(session, plan, lambda: FINE, Manner(0, None, copy), None)


def _states(session: Session) -> list[State]:
    with session.journal(read_only=True) as journal:
        return [operation.state for operation in journal.operations()]


def test_whoever_is_killed_while_copying_has_taken_nothing_and_recover_ends_it(
    session: Session, cache: SmallCache
) -> None:
    before = entries(cache.root)
    plan, _ = make_plan(session, cache.root, Wanted(everything=True, words=("--all",)))
    with session.journal() as journal:
        journal.advance(ask(session, journal, plan, lambda: FINE).op, State.SNAPSHOTTING, {})
    (ended,) = recover(session, None, wait_s=0)
    assert (ended.found, ended.now, ended.problem) == (State.SNAPSHOTTING, State.CANCELLED, "")
    assert entries(cache.root) == before


def test_a_copy_that_lacks_something_is_none(session: Session, cache: SmallCache, tmp_path: Path) -> None:
    plan, _ = make_plan(session, cache.root, Wanted(everything=True, words=("--all",)))
    (cache.root / next(item.name for item in plan.items if item.name.endswith("-a"))).unlink()
    before = entries(cache.root)
    copy = copy_to_file(session, tmp_path / "copy.tar")
    with pytest.raises(CopyIncomplete, match="lacks 1 of the entries"):
        clean(session, plan, lambda: FINE, Manner(0, None, copy), None)
    assert entries(cache.root) == before
    assert _states(session) == [State.CANCELLED]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device"), Failure("it failed")])
def test_whatever_keeps_the_copy_from_being_made_keeps_everything_in_the_cache(
    session: Session, cache: SmallCache, error: BaseException
) -> None:
    before = entries(cache.root)

    def fails(*_: object) -> dict[str, int]:
        raise error

    with pytest.raises(type(error)):
        _clean(session, cache, fails)
    assert entries(cache.root) == before
    assert _states(session) == [State.CANCELLED]


def test_the_copy_is_made_before_anything_goes(session: Session, cache: SmallCache, tmp_path: Path) -> None:
    before = entries(cache.root)
    copy = copy_to_file(session, tmp_path / "copy.tar.zst")
    seen = []

    def looking(*arguments: object) -> object:
        seen.append(entries(cache.root))
        return copy(*arguments)  # type: ignore[arg-type] # handed on as they came

    _clean(session, cache, looking)  # type: ignore[arg-type] # likewise
    assert seen == [before]
    assert _states(session) == [State.DONE]
    assert (tmp_path / "copy.tar.zst.sha256").exists()


def test_a_place_that_cannot_be_used_is_told_before_anything_is_asked(session: Session, tmp_path: Path) -> None:
    (tmp_path / "taken.tar").touch()
    for name in ("taken.tar", "no/folder.tar"):
        with pytest.raises(UsageFailure):
            copy_to_file(session, tmp_path / name)
    assert not (session.state_dir / "journal.sqlite").exists()
