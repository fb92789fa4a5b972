"""Stability of dependencies: record a state, and compare with it.

Knows:     where states are recorded, and which questions are asked in which order.
Called by: the command line's `mod drift`, and `flows.checks`.
Never:     judges: that is `gomod.checks`. Writes over a recorded state in our own directory: each is kept beside the earlier ones.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from go_cache_safeguard.core.errors import ExitCode, Failure, UsageFailure
from go_cache_safeguard.core.verdict import Verdict
from go_cache_safeguard.flows.dependencies import Dependencies, root_of
from go_cache_safeguard.flows.modules import Asking, Place, modcache_of
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.gomod.checks import drift as drift_check
from go_cache_safeguard.gomod.checks import updates as updates_check
from go_cache_safeguard.gomod.drift import TOUCHING, Change, Gap, compare, find_gaps
from go_cache_safeguard.gomod.state import State, parse_state, write_state
from go_cache_safeguard.gomod.touched import Touch
from go_cache_safeguard.gomod.updates import Answer, Simulated
from go_cache_safeguard.gomod.verify import show
from go_cache_safeguard.tree.owner import Progress, Stop, as_owner

_NAME = re.compile(r"(\d+)\.json", re.ASCII)


class RecordUnreadable(Failure):
    """What should be a recorded state is none."""

    id = "record-unreadable"
    exit_code = ExitCode.COULD_NOT_TELL
    meaning = "the recorded state of a module's dependencies cannot be read, so nothing can be compared with it"


class NothingToRecord(Failure):
    """The present state is not known well enough to compare with it later."""

    id = "nothing-to-record"
    exit_code = ExitCode.COULD_NOT_TELL
    meaning = "go could not compute the build list or the module graph, so no state was recorded"


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for.

    Attributes:
        against: A file with a recorded state; None for the one in our state directory.
        tidy: Whether to ask what `go mod tidy` would change.
        updates: Whether to ask for newer versions, which goes now.
        simulate: How many newer versions to try, at most; more than 0 asks for them.
    """

    against: Path | None = None
    tidy: bool = True
    updates: bool = False
    simulate: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """What came out.

    Attributes:
        root: Directory of the module or of go.work.
        record: The file that was compared with, or that would have been.
        state: The present.
        recorded: What was recorded; None if nothing was.
        changes: Between the two.
        gaps: What could not be compared.
        touches: For changed modules the packages that use them.
        answers: About newer versions; None if nobody wanted to know.
        simulated: What taking them would change.
        verdicts: Drift, then newer versions if they were asked for.
    """

    root: Path
    record: Path
    state: State
    recorded: State | None
    changes: tuple[Change, ...]
    gaps: tuple[Gap, ...]
    touches: Mapping[str, Sequence[Touch]]
    answers: tuple[Answer, ...] | None
    simulated: tuple[Simulated, ...]
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class Recorded:
    """A state that was written.

    Attributes:
        path: Where.
        state: What.
        fresh: False if the very same state was recorded there before.
    """

    path: Path
    state: State
    fresh: bool


def check_drift(session: Session, directory: Path, wish: Wish | None = None) -> Report:
    """Compare a module or workspace with its recorded state.

    Args:
        session: Who asks.
        directory: Inside a module or workspace.
        wish: What is asked for besides.

    Raises:
        UsageFailure: The directory is in no module.
        RecordUnreadable: What should be the recorded state is none.
        GoMissing: There is no go command.
    """
    wish = wish or Wish()
    asking, place = _find(session, directory)
    record = session.cwd / wish.against if wish.against else _newest(_folder_of(session, place))
    recorded = _read(record, must_exist=wish.against is not None)
    now = Dependencies(session, asking, place)
    state = now.state(tidy=wish.tidy)
    changes = compare(recorded, state) if recorded else ()
    gaps = find_gaps(recorded, state) if recorded else find_gaps(State(tidy=()), state)
    touches, problem = now.touched({change.module for change in changes if change.kind in TOUCHING})
    gaps = (*gaps, *([Gap("packages", problem)] if problem else []))
    strict = session.config.choice("drift.verdict") == "block"
    facts = drift_check.DriftFacts(
        record=show(os.fsencode(record)),
        recorded=recorded is not None,
        changes=changes,
        gaps=gaps,
        touches=touches,
        modules=len(state.modules),
        notes=_notes(place, state),
        strict=strict,
    )
    asked = now.updates(state, wish.simulate, strict=strict) if wish.updates or wish.simulate else None
    return Report(
        root=root_of(place),
        record=record,
        state=state,
        recorded=recorded,
        changes=changes,
        gaps=gaps,
        touches=touches,
        answers=None if asked is None else tuple(asked.answers),
        simulated=() if asked is None else tuple(asked.simulated),
        verdicts=(drift_check.judge(facts), *([] if asked is None else [updates_check.judge(asked)])),
    )


def ask(session: Session, directory: Path) -> Verdict:
    """The check `mod-drift` for one module or workspace, against the state in our own directory.

    Raises:
        Failure: As `check_drift`.
    """
    return check_drift(session, directory).verdicts[0]


def is_recorded(session: Session, directory: Path) -> bool:
    """Whether there is something to compare with in our own directory; where no module is, there is not."""
    try:
        _, place = _find(session, directory)
    except UsageFailure:
        return False
    return _newest(_folder_of(session, place)).exists()


def record_state(
    session: Session, directory: Path, output: Path | None = None, *, tidy: bool = True, force: bool = False
) -> Recorded:
    """Write down what a module or workspace depends on now.

    Args:
        session: Who asks.
        directory: Inside a module or workspace.
        output: Where; None for our own state directory, where earlier ones are kept.
        tidy: Whether to ask what `go mod tidy` would change.
        force: Whether `output` may be written over if it holds a recorded state.

    Raises:
        UsageFailure: The directory is in no module, or the file exists or cannot be written.
        NothingToRecord: Go cannot compute the build list or the graph.
    """
    asking, place = _find(session, directory)
    if output is not None:
        _refuse_others(session.cwd / output, force=force)
    state = Dependencies(session, asking, place).state(tidy=tidy)
    missing = {part: why for part, why in state.unknown.items() if part != "tidy"}
    if missing:
        part, why = next(iter(missing.items()))
        raise NothingToRecord(
            f"{part}: {why}", not_done="nothing was recorded", hint="a state that is not whole cannot be compared with"
        )
    if output is not None:
        path = session.cwd / output
        _write_for_owner(path, write_state(state), over=path.exists())
        return Recorded(path, state, fresh=True)
    try:
        session.state_folder("drift")
        return _record_in(_folder_of(session, place), state)
    except OSError as error:
        why = f"nothing can be written in {show(os.fsencode(session.state_dir))}: {error.strerror}"
        raise UsageFailure(why, not_done="nothing was recorded", hint="choose a file with -o FILE") from error


def _record_in(folder: Path, state: State) -> Recorded:
    data, newest = write_state(state), _newest(folder)
    if newest.exists() and newest.read_bytes() == data:
        return Recorded(newest, state, fresh=False)
    folder.mkdir(mode=0o700, exist_ok=True)
    found = _NAME.fullmatch(newest.name)
    path = newest if not newest.exists() else folder / f"{int(found[1]) + 1 if found else 1:06}.json"
    try:
        _write(path, data, over=False)
    except FileExistsError:
        return _record_in(folder, state)  # somebody records at the same time
    return Recorded(path, state, fresh=True)


def _find(session: Session, directory: Path) -> tuple[Asking, Place]:
    asking = Asking(session, modcache_of(session, None))
    return asking, asking.place(directory)


def _folder_of(session: Session, place: Place) -> Path:
    """Where the states of one module are recorded: one folder per directory, for its owner only."""
    root = root_of(place).resolve()
    return session.state_dir / "drift" / f"{root.name[:40] or 'root'}-{sha256(os.fsencode(root)).hexdigest()[:16]}"


def _newest(folder: Path) -> Path:
    """The state recorded last; the name of the first one if there is none. None is ever written over."""
    states = [path for path in (folder.iterdir() if folder.is_dir() else ()) if _NAME.fullmatch(path.name)]
    return max(states, default=folder / "000001.json")


def _read(record: Path, *, must_exist: bool) -> State | None:
    name = show(os.fsencode(record))
    try:
        data = record.read_bytes()
    except FileNotFoundError:
        if must_exist:
            raise RecordUnreadable(f"there is no {name}", not_done="nothing was compared", hint=_RECORD_HINT) from None
        return None
    except OSError as error:
        raise RecordUnreadable(f"{name} cannot be read: {error.strerror}", not_done="nothing was compared") from error
    state = parse_state(data)
    if state is None:
        raise RecordUnreadable(
            f"{name} holds no state recorded by this version", not_done="nothing was compared", hint=_RECORD_HINT
        )
    return state


_RECORD_HINT = "make one with `go-cache-safeguard mod drift --record`, and -o FILE to choose the file"


def _refuse_others(path: Path, *, force: bool) -> None:
    name = show(os.fsencode(path))
    if not path.parent.is_dir():
        raise UsageFailure(f"there is no folder for {name}", not_done="nothing was recorded")
    if not os.path.lexists(path):
        return
    if path.is_symlink() or not path.is_file() or parse_state(path.read_bytes()) is None:
        raise UsageFailure(f"{name} exists and is no recorded state", not_done="nothing was recorded")
    if not force:
        raise UsageFailure(
            f"{name} exists already", not_done="nothing was recorded", hint="give --force to record over it"
        )


def _write_for_owner(path: Path, data: bytes, *, over: bool) -> None:
    owner = path.parent.stat()

    def work(_progress: Progress, _stop: Stop) -> None:
        try:
            _write(path, data, over=over)
        except OSError as error:
            why = f"{show(os.fsencode(path))} cannot be written: {error.strerror}"
            raise UsageFailure(why, not_done="nothing was recorded") from error

    as_owner(owner.st_uid, owner.st_gid, work)


def _write(path: Path, data: bytes, *, over: bool) -> None:
    flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_TRUNC if over else os.O_CREAT | os.O_EXCL)
    with os.fdopen(os.open(path, flags, 0o644), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _notes(place: Place, state: State) -> tuple[str, ...]:
    notes = [f"the file {name} does not exist or is empty" for name, lines in state.sums.items() if not lines]
    local = [module.path for module in state.modules if module.replacement.startswith(".")]
    if local:
        notes.append(f"replaced by directories, whose content is not compared: {', '.join(local)}")
    if any((folder / "modules.txt").exists() for folder in place.vendors):
        notes.append("there is a vendor directory, from which go builds; it is not compared")
    if state.tidy:
        notes.append(f"`go mod tidy` would change {len(state.tidy)} lines")
    return tuple(notes)
