"""Who needs what is in the caches: registered modules and workspaces, and how each is built.

Knows:     that a registered module is a root, that its build configurations are notes in the journal beside it, and how modules are
           found below a directory.
Called by: the command line's `roots`; `flows.gc` and `flows.mod_gc`.
Never:     follows a link or registers what nobody looked at; asks go anything.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.errors import UsageFailure
from go_cache_safeguard.flows.looking import OURS
from go_cache_safeguard.flows.registered import forget, register, registered
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.gotool.environment import evidence
from go_cache_safeguard.gotool.rehearsal import NotRehearsed, rehearsal_of

DEFAULTS = (("build", "./..."), ("vet", "./..."), ("test", "./..."))
"""How a module is built of which nobody said more."""
_CONFIGURED, _DROPPED, _FORGOTTEN = "root-configured", "root-dropped", "module-forgotten"
_SKIPPED = frozenset({"vendor", "testdata", "node_modules"})
_DEEPEST = 12
_MOST = 200_000
"""directories that one scan looks into."""


@dataclass(frozen=True, slots=True)
class Root:
    """One command that is to find everything in the cache.

    Attributes:
        directory: Of a go.mod or go.work, absolute.
        command: Arguments of go.
        environment: Laid over the environment.
        go: Another go command; empty for the usual one.
    """

    directory: Path
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    go: str = ""

    @property
    def name(self) -> str:
        """As one would type it."""
        words = [f"{key}={text}" for key, text in sorted(self.environment.items())]
        return f"{' '.join([*words, self.go or 'go', *self.command])} in {self.directory}"

    def as_value(self) -> dict[str, Value]:
        """For the journal and for JSON."""
        return {
            "directory": str(self.directory),
            "command": list(self.command),
            "environment": dict(self.environment),
            "go": self.go,
        }


@dataclass(frozen=True, slots=True)
class Scan:
    """What was found below directories.

    Attributes:
        found: Directories of modules and workspaces that are no roots yet.
        known: Those that are.
        notes: What was not looked into.
    """

    found: tuple[Path, ...]
    known: tuple[Path, ...]
    notes: tuple[str, ...]


def roots(session: Session) -> tuple[Root, ...]:
    """All roots, in the order in which they were named.

    Raises:
        Failure: The journal cannot be read.
    """
    configured: dict[str, dict[str, Root]] = {}
    with session.journal(read_only=True) as journal:
        for record in journal.records():
            if record.step == _CONFIGURED:
                root = _root(record.data)
                configured.setdefault(str(root.directory), {})[root.name] = root
            elif record.step == _DROPPED:
                root = _root(record.data)
                configured.get(str(root.directory), {}).pop(root.name, None)
            elif record.step == _FORGOTTEN:
                configured.pop(str(record.data["directory"]), None)
    return tuple(
        root
        for directory in registered(session)
        for root in configured.get(str(directory), {}).values() or [Root(directory, one) for one in DEFAULTS]
    )


def add_roots(
    session: Session,
    directory: Path,
    commands: Sequence[tuple[str, ...]] = (),
    *,
    environment: Mapping[str, str] | None = None,
    go: str = "",
) -> tuple[Root, ...]:
    """Register a module or workspace, and how it is built.

    Args:
        session: Who asks.
        directory: Of its go.mod or go.work, absolute.
        commands: Arguments of go, each; nothing for `DEFAULTS`.
        environment: Laid over the environment of each.
        go: Another go command; empty for the usual one.

    Returns:
        The roots that are new.

    Raises:
        UsageFailure: There is no module, or a command is none that can be rehearsed.
        JournalUnusable: It could not be written down.
    """
    if not any((directory / name).is_file() for name in ("go.mod", "go.work")):
        raise UsageFailure(f"{directory} holds no go.mod and no go.work", not_done="nothing was registered")
    for command in commands:
        refused = rehearsal_of(command, tool="/tool", graph="/graph", folder="/")
        if isinstance(refused, NotRehearsed):
            raise UsageFailure(f"`go {' '.join(command)}`: {refused.why}", not_done="nothing was registered")
    _check(environment or {})
    before = {root.name for root in roots(session)}
    register(session, directory)
    wanted = [
        Root(directory, command, environment or {}, go)
        for command in commands or (DEFAULTS if environment or go else ())
    ]
    with session.journal() as journal:
        for root in wanted:
            if root.name not in before:
                journal.note(_CONFIGURED, root.as_value())
    return tuple(root for root in roots(session) if root.name not in before)


def _check(environment: Mapping[str, str]) -> None:
    """The journal keeps it: only what steers a build, and no password."""
    for key, text in environment.items():
        if key in OURS:
            raise UsageFailure(f"{key} is set by us when go is asked", not_done="nothing was registered")
        if evidence({key: text}) != {key: text}:
            raise UsageFailure(
                f"{key} is no variable that steers a build, or holds a password",
                not_done="nothing was registered",
                hint="variables such as GOOS, GOFLAGS or CGO_ENABLED; the journal keeps them",
            )


def remove_roots(session: Session, directory: Path, commands: Sequence[tuple[str, ...]] = ()) -> tuple[Root, ...]:
    """Forget a module or workspace, or some of the ways in which it is built; it need not exist any more.

    Returns:
        The roots that are gone.
    """
    mine = [root for root in roots(session) if root.directory == directory]
    gone = [root for root in mine if not commands or root.command in commands]
    if len(gone) == len(mine):
        forget(session, directory)
        return tuple(gone)
    with session.journal() as journal:
        for root in gone:
            journal.note(_DROPPED, root.as_value())
    left = {root.name for root in roots(session)}
    return tuple(root for root in gone if root.name not in left)


def scan_roots(session: Session, folders: Sequence[Path]) -> Scan:
    """Find modules and workspaces below directories; nothing is registered.

    Args:
        session: Who asks.
        folders: Absolute.

    Raises:
        UsageFailure: One is no directory.
    """
    known = frozenset(registered(session))
    found: dict[Path, None] = {}
    notes: list[str] = []
    for folder in folders:
        if not folder.is_dir():
            raise UsageFailure(f"{folder} is no directory", not_done="nothing was looked at")
        found |= dict.fromkeys(_modules(folder, notes, session))
    members = {use for folder in found for use in _members(folder)}
    alone = [folder for folder in found if folder not in members]
    return Scan(
        tuple(folder for folder in alone if folder not in known),
        tuple(folder for folder in alone if folder in known),
        tuple(notes),
    )


def _root(data: Mapping[str, Value]) -> Root:
    command, environment = data["command"], data["environment"]
    words = tuple(map(str, command)) if isinstance(command, list) else ()
    laid = {key: str(text) for key, text in environment.items()} if isinstance(environment, dict) else {}
    return Root(Path(str(data["directory"])), words, laid, str(data["go"]))


def _modules(top: Path, notes: list[str], session: Session) -> Iterator[Path]:
    session.progress.phase("looking for modules")
    todo, looked = [(top, 0)], 0
    while todo:
        folder, depth = todo.pop()
        looked += 1
        session.progress.update(looked)
        if looked > _MOST:
            notes.append(f"only {_MOST:,} directories below {top} were looked into")
            break
        names, below = _list(folder, notes)
        if names & {"go.mod", "go.work"}:
            yield folder
        if depth < _DEEPEST:
            todo += [(folder / name, depth + 1) for name in sorted(below, reverse=True)]
        elif below:
            notes.append(f"{folder} was not looked into: it lies {depth} levels below {top}")
    session.progress.phase("")


def _list(folder: Path, notes: list[str]) -> tuple[set[str], list[str]]:
    """Names of files, and of directories to look into."""
    try:
        with os.scandir(folder) as entries:
            found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    except OSError as error:
        notes.append(f"{folder} was not looked into: {error.strerror}")
        return set(), []
    below = [name for name, is_dir in found if is_dir and name not in _SKIPPED and not name.startswith((".", "_"))]
    return {name for name, is_dir in found if not is_dir}, below


def _members(folder: Path) -> Iterator[Path]:
    """Directories of modules that belong to the workspace in a directory, other than its own."""
    try:
        text = (folder / "go.work").read_text("utf-8", "replace")
    except OSError:
        return
    inside = False
    for line in text.splitlines():
        words = line.partition("//")[0].split()
        if words[:1] == ["use"] and words[1:2] != ["("]:
            words, inside = words[1:], False
        elif words[:1] == ["use"]:
            inside = True
            continue
        elif words == [")"]:
            inside = False
        elif not inside:
            continue
        if words and words != [")"]:
            use = Path(os.path.normpath(folder / words[0].strip('"`')))
            if use != folder:
                yield use
