"""What the owner's process may do, and how its results, failures and end come back."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.errors import ExitCode, PlanVoid
from go_cache_safeguard.tree.owner import (
    OwnerProcessFailed,
    Progress,
    Stop,
    as_owner,
    drop_to,
    must_drop,
    never,
    patience,
    silent,
)
from otherusers import reveal

NOBODY = 65_534


EARLIER: set[str] = set()
"""Children that other tests of this run share, such as a database."""


def children() -> set[str]:
    """All of this process, those that have ended and were not collected as well."""
    return {child for task in Path("/proc/self/task").iterdir() for child in (task / "children").read_text().split()}


@pytest.fixture(autouse=True)
def _earlier() -> None:
    EARLIER.clear()
    EARLIER.update(children())


def no_child_is_left() -> bool:
    return children() <= EARLIER


def test_without_need_the_work_is_done_here() -> None:
    assert not must_drop(os.geteuid())
    seen: list[int] = []

    def work(tell: Progress, stopped: Stop) -> Value:
        tell(3)
        return [os.getpid(), stopped()]

    assert as_owner(os.geteuid(), os.getegid(), work, progress=seen.append) == [os.getpid(), False]
    assert seen == [3]


@pytest.mark.root
def test_root_becomes_the_owner_for_good_and_brings_back_result_and_progress() -> None:
    seen: list[int] = []

    def work(tell: Progress, _stopped: Stop) -> Value:
        for done in range(1000):
            tell(done)
        try:
            os.setresuid(0, 0, 0)
        except PermissionError:
            return [*os.getresuid(), *os.getresgid(), len(os.getgroups())]
        return "rights were taken back"

    assert as_owner(NOBODY, NOBODY, work, progress=seen.append) == [NOBODY] * 6 + [0]
    assert seen == list(range(1000))
    assert os.geteuid() == 0
    assert no_child_is_left()


@pytest.mark.root
def test_the_group_of_root_is_not_kept_either() -> None:
    assert as_owner(NOBODY, 0, lambda _tell, _stopped: os.getegid()) == NOBODY
    assert as_owner(54_321, 0, lambda _tell, _stopped: os.getegid()) == NOBODY


@pytest.mark.root
def test_a_file_of_root_cannot_be_read_by_the_owner(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    secret.chmod(0o600)

    def work(_tell: Progress, _stopped: Stop) -> Value:
        try:
            return secret.read_text()
        except PermissionError:
            return "denied"

    assert as_owner(NOBODY, NOBODY, work) == "denied"


@pytest.mark.root
def test_a_failure_comes_back_as_itself() -> None:
    def work(_tell: Progress, _stopped: Stop) -> Value:
        raise PlanVoid("the plan", not_done="nothing", hint="again")

    with pytest.raises(PlanVoid) as caught:
        as_owner(NOBODY, NOBODY, work)
    assert (caught.value.what, caught.value.not_done, caught.value.hint) == ("the plan", "nothing", "again")
    assert no_child_is_left()


@pytest.mark.root
def test_an_unforeseen_exception_comes_back_with_its_traceback() -> None:
    def work(_tell: Progress, _stopped: Stop) -> Value:
        raise KeyError("nobody thought of this")

    with pytest.raises(OwnerProcessFailed, match="nobody thought of this") as caught:
        as_owner(NOBODY, NOBODY, work)
    assert caught.value.exit_code is ExitCode.BUG


@pytest.mark.root
def test_a_killed_child_is_told_and_collected() -> None:
    def work(_tell: Progress, _stopped: Stop) -> Value:
        os.kill(os.getpid(), signal.SIGKILL)
        return None

    with pytest.raises(OwnerProcessFailed, match="-9"):
        as_owner(NOBODY, NOBODY, work)
    assert no_child_is_left()


def until_stopped(tell: Progress, stopped: Stop) -> Value:
    tell(1)
    for step in range(60_000):
        if stopped():
            return step
        time.sleep(0.001)
    return "never stopped"


@pytest.mark.root
def test_a_stop_asked_here_reaches_the_child_and_its_result_comes_back() -> None:
    begun = threading.Event()
    assert isinstance(
        as_owner(NOBODY, NOBODY, until_stopped, progress=lambda _done: begun.set(), stop=begun.is_set), int
    )


@pytest.mark.root
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_reaches_the_child_and_its_result_comes_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    result = as_owner(NOBODY, NOBODY, until_stopped, progress=lambda _done: os.kill(os.getpid(), number))
    assert isinstance(result, int)
    assert signal.getsignal(number) is before
    assert no_child_is_left()


def test_an_interrupt_without_a_child_is_a_question_too() -> None:
    result = as_owner(
        os.geteuid(), os.getegid(), until_stopped, progress=lambda _done: os.kill(os.getpid(), signal.SIGINT)
    )
    assert result == 0


@pytest.mark.root
def test_when_whoever_watches_fails_the_child_is_ended_and_collected() -> None:
    def fail(_done: int) -> None:
        raise RuntimeError("the watcher fell over")

    with pytest.raises(RuntimeError, match="fell over"):
        as_owner(NOBODY, NOBODY, until_stopped, progress=fail)
    assert no_child_is_left()


@pytest.mark.parametrize("uid", [os.geteuid(), NOBODY])
def test_an_interrupt_that_the_work_never_asked_about_is_not_lost(uid: int) -> None:
    def deaf(tell: Progress, _stopped: Stop) -> Value:
        tell(1)
        return "done"

    with pytest.raises(KeyboardInterrupt):
        as_owner(uid, uid, deaf, progress=lambda _done: os.kill(os.getpid(), signal.SIGINT))
    assert no_child_is_left()


@pytest.mark.root
def test_when_the_parent_is_killed_the_child_ends_between_two_steps(tmp_path: Path) -> None:
    reveal(tmp_path)
    tmp_path.chmod(0o777)
    code = f"""
import os, signal, time
from pathlib import Path
from go_cache_safeguard.tree.owner import as_owner
def work(tell, stopped):
    tell(1)
    while not stopped():
        tell(1)
        time.sleep(0.001)
    Path({str(tmp_path)!r}, "ended").touch()
as_owner({NOBODY}, {NOBODY}, work, progress=lambda done: os.kill(os.getpid(), signal.SIGKILL))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    for _ in range(6000):
        if (tmp_path / "ended").exists():
            return
        time.sleep(0.01)
    pytest.fail("the child goes on without its parent")


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    asked: list[bool] = []

    def run() -> None:
        with patience(never) as stopped:
            asked.append(stopped())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert asked == [False]


def test_nobody_watching_is_no_fault() -> None:
    silent(1)
    assert not never()


@pytest.mark.root
def test_rights_that_did_not_go_away_stop_everything() -> None:
    child = os.fork()
    if child == 0:
        try:
            drop_to(0, 1)  # root "dropping" to root could be taken back
        except OwnerProcessFailed:
            os._exit(7)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
