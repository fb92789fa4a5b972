"""Dies at every system call of one kind that one story makes, and looks at what is left. Runs in a PID namespace.

Works like `quarantine_driver`, but here it is the whole flow that dies: journal, kept plan, lock, quarantine and all. The namespace
keeps /proc small, so that looking for go commands does not cost more than everything else.

    python story_driver.py ACT CALL DIRECTORY
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from dying import die_at, load, run
from go_cache_safeguard.config.files import load_config
from go_cache_safeguard.core.errors import Failure
from go_cache_safeguard.core.lifecycle import UNFINISHED, State
from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.flows.clean import How, clean
from go_cache_safeguard.flows.disposal import dispose
from go_cache_safeguard.flows.progress import Silent
from go_cache_safeguard.flows.prove import Proof, Prover
from go_cache_safeguard.flows.purge import dispose as purge
from go_cache_safeguard.flows.purge import plan_of, stored, verdict_of
from go_cache_safeguard.flows.recover import recover
from go_cache_safeguard.flows.remove import Manner
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.undo import undo
from go_cache_safeguard.journal.store import Journal
from go_cache_safeguard.snapshot.quarantine import open_quarantine
from go_cache_safeguard.tree.root import Root, open_root
from smallcaches import ALLOWED, SmallCache, entries, small_cache

LIMIT = 250
LONG_AGO_NS = 1_600_000_000 * 10**9
NEWER = b"written by a build meanwhile"
FOREIGN = b"somebody's own notes"


class Dying(Silent):
    """Ends the process where a phase of this name begins: what a kill there would leave."""

    def __init__(self, phase: str) -> None:
        self.at = phase

    def phase(self, name: str, total: int | None = None) -> None:
        """Die here, or go on."""
        del total
        if self.at and name.startswith(self.at):
            os._exit(0)


def session_in(base: Path, phase: str = "") -> Session:
    """A session with its state below `base` that dies in the phase of this name."""
    environ = {
        "HOME": f"{base}/home",
        "GO_CACHE_SAFEGUARD_STATE_DIR": f"{base}/state",
        "GO_CACHE_SAFEGUARD_POLICY_HOLD_SHARE": "100%",
        "GO_CACHE_SAFEGUARD_QUARANTINE_RETENTION": "0s",
    }
    config = load_config(environ=environ, cwd=base, home=base / "home", arguments={}, system=base / "none.toml")
    session = Session(config, environ, base, Dying(phase))
    assert session.actor
    return session


def passing() -> list[Verdict]:
    """One check that has nothing against it."""
    return [Verdict("synthetic", Outcome.PASS, "nothing was asked")]


def cleaned(base: Path, *, phase: str = "", prover: Prover | None = None) -> str:
    """Clean the cache below `base`. Gives the operation."""
    plan = SmallCache(base / "cache", known()).plan()
    return clean(session_in(base, phase), plan, passing, Manner(wait_s=0, prover=prover), None).op


def known() -> dict[str, bytes]:
    """What every cache here holds at first: the same in each of them."""
    return _KNOWN


_KNOWN: dict[str, bytes] = {}


def make(base: Path) -> None:
    """Make the cache, with a foreign file in one of its shards."""
    small_cache(base / "cache", shards=3, pairs=1, at_ns=LONG_AGO_NS)
    (base / "cache/02/notes.txt").write_bytes(FOREIGN)
    (base / "home").mkdir()


def only_operation(base: Path) -> str:
    journal: Journal
    with session_in(base).journal() as journal:
        return journal.operations()[0].id


def undone(base: Path, phase: str = "") -> None:
    undo(session_in(base, phase), only_operation(base), None)


def purged(base: Path, phase: str = "") -> None:
    session = session_in(base, phase)
    with session.journal() as journal:
        due = stored(session, journal.operations())
    dispose(session, plan_of(session, due, whole=0), verdict_of(due, time.time()), purge, How())


def recovered(base: Path) -> None:
    recover(session_in(base), None, wait_s=0)


def build_meanwhile(base: Path) -> None:
    """Write one entry again and a new one, as a build does."""
    name = min(known())
    for path in (base / "cache" / name, base / "cache/01" / ("01" + "f" * 62 + "-a")):
        path.write_bytes(NEWER)


def leave_waiting(base: Path) -> None:
    """Clean while a process that looks like a go command of this cache runs: outputs wait for it."""
    go = base / "go"
    shutil.copy("/bin/sleep", go)
    child = subprocess.Popen([go, "60"], env={"GOCACHE": f"{base}/cache"})
    try:
        cleaned(base)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()


def failing(_session: Session, _root: Root) -> Proof:
    """A proof that fails."""
    return Proof(passed=False, evidence=("nothing builds",))


def dying(_session: Session, _root: Root) -> Proof:
    """A proof in the middle of which the process ends."""
    os._exit(0)


def apart(work: Callable[[Path], object]) -> Callable[[Path], None]:
    """Do this in a process of its own, because it will die."""
    return lambda base: _done(run(lambda: _done(work(base))))


def _done(_result: object) -> None:
    """For a callable whose result nobody wants."""


def after(first: Callable[[Path], object], *more: Callable[[Path], object]) -> Callable[[Path], None]:
    """One thing after the other."""

    def work(base: Path) -> None:
        for step in (first, *more):
            step(base)

    return work


Step = Callable[[Path], object]
ACTS: Mapping[str, tuple[Step, Step]] = {
    "clean": (lambda _: None, cleaned),
    "clean_disproved": (lambda _: None, lambda base: suppressed(lambda: cleaned(base, prover=failing))),
    "undo": (cleaned, undone),
    "undo_merge": (after(cleaned, build_meanwhile), undone),
    "purge": (cleaned, purged),
    "recover_removing": (apart(lambda base: cleaned(base, phase="moving outputs")), recovered),
    "recover_waiting": (leave_waiting, recovered),
    "recover_proving": (apart(lambda base: cleaned(base, prover=dying)), recovered),
    "recover_undoing": (after(cleaned, apart(lambda base: undone(base, "putting"))), recovered),
    "recover_purging": (after(cleaned, apart(lambda base: purged(base, "deleting"))), recovered),
}


def suppressed(work: Callable[[], object]) -> None:
    """Do it; a failure of ours is how it should end."""
    with suppress(Failure):
        work()


def main(act: str, call: str, directory: Path) -> int:
    """Kill at the first, second, ... call until the story comes to its end alive. Prints how often it was killed."""
    _KNOWN.update(small_cache(directory / "first" / "cache", shards=3, pairs=1).contents)
    begin, story = ACTS[act]
    load()
    for k in range(1, LIMIT):
        base = directory / f"{k}"
        run(lambda: after(make, begin)(base))  # noqa: B023 - run at once
        if run(lambda: die(story, call, base, k)) == 0:  # noqa: B023 - likewise
            os.write(1, str(k - 1).encode())
            return 0
        if run(lambda: look(act, base)):  # noqa: B023 - likewise
            os.write(2, f"after death {k}\n".encode())
            return 1
        shutil.rmtree(base)
    return 1


def die(story: Step, call: str, base: Path, k: int) -> None:
    """Tell the story, unless killed."""
    die_at(call, k)
    story(base)


def look(act: str, base: Path) -> None:
    """Nothing is lost, the journal is whole, and `recover` brings everything to an end: after a clean that was cut short, back."""
    everything_is_somewhere(base, whole="purg" not in act)
    session = session_in(base)
    with session.journal() as journal:
        assert journal.verify() == []
    for one in recover(session, None, wait_s=0):
        assert not one.problem, one
    assert recover(session, None, wait_s=0) == [], "recover found something to do again"
    everything_is_somewhere(base, whole="purg" not in act)
    with session.journal() as journal:
        assert journal.verify() == []
        operations = journal.operations()
        assert not [one for one in operations if one.state in UNFINISHED | {State.UNKNOWN}]
    for operation in operations:
        if operation.state is State.DONE:
            undo(session, operation.id, None)
    if operations and operations[0].state is State.PURGED:
        assert entries(base / "cache") == {"02/notes.txt": FOREIGN}
        return
    assert theirs(base) == known()
    with open_root(base / "cache") as opened, open_quarantine(opened, allowed=ALLOWED) as quarantine:
        newer = int("merge" in act)
        assert [quarantine.left(one.op)[0] for one in quarantine.stored()] in ([], [newer])


def theirs(base: Path) -> dict[str, bytes]:
    """Planned entries in the cache; one that a build wrote again counts as what it was, and must be what the build wrote."""
    live = {name: content for name, content in entries(base / "cache").items() if name in known()}
    return {name: known()[name] if content == NEWER else content for name, content in live.items()}


def everything_is_somewhere(base: Path, *, whole: bool) -> None:
    """Each planned entry in exactly one place with its content, and what was never planned where it was."""
    live, away = entries(base / "cache"), {}
    for operation in (base / ".cache.safeguard").glob("op_*"):
        away.update(entries(operation / "files"))
    assert live.pop("02/notes.txt") == FOREIGN
    old = {name: content for name, content in live.items() if content != NEWER}
    assert not set(old) & set(away), "an entry is in both places"
    if whole:
        assert old | away == known(), "an entry is lost or damaged"
    else:
        assert old.items() | {pair for pair in away.items() if pair[1]} <= known().items(), "an entry is damaged"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
