"""What files were, from git: candidates for the old key of a package.

Knows:     which commits, stashes and index states are looked at, and how git is asked without its writing anything.
Called by: `flows.why`.
Never:     changes a repository, or fails: where there is no git, or no repository, there are no candidates.
Source:    git(1) `GIT_OPTIONAL_LOCKS`; git-log(1) `--raw`, git-ls-tree(1), git-cat-file(1) `--batch`. A file that a filter changes on
           check-out (line ends, LFS) has another content in git than in the tree: it is no candidate then.
"""

import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from go_cache_safeguard.flows.looking import Under, go_of, stat_of
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.gocache.inventory import id_half
from go_cache_safeguard.gocache.keyproof import Old
from go_cache_safeguard.gotool.run import Go

_QUIET = ("-c", "core.fsmonitor=false", "-c", "core.quotePath=false", "-c", "log.showSignature=false", "--no-pager")
_RAW = re.compile(r":\d+ \d+ ([0-9a-f]+) ([0-9a-f]+) [A-Z]\d*\t([^\"].*)")
_LISTED = re.compile(r"\d+ (?:blob )?([0-9a-f]+)(?: \d+)?\t([^\"].*)")
_GO_LINE = re.compile(rb"^go[ \t]+([0-9][^ \t\r\n]*)", re.MULTILINE)
_TIMEOUT_S = 20.0
_STASHES = 5


@dataclass(frozen=True, slots=True)
class History:
    """What git remembers.

    Attributes:
        files: States of each directory, the newest first.
        go_lines: Versions in the go lines of the module, the newest first.
        stamps: Commits as revision and time, the newest first.
    """

    files: Mapping[str, tuple[Old, ...]] = field(default_factory=dict)
    go_lines: tuple[str, ...] = ()
    stamps: tuple[tuple[str, str], ...] = ()


def history(session: Session, project: Path, directories: Iterable[str], commits: int) -> History:
    """Ask git about some directories.

    Args:
        session: Who asks.
        project: Directory of the module.
        directories: Absolute paths; those outside of the project are left out.
        commits: From how many commits.
    """
    git = shutil.which("git", path=session.environ.get("PATH"))
    wanted = sorted({path for path in directories if Path(path).is_relative_to(project)})
    if git is None or not commits or not project.is_dir():
        return History()
    asked = _Git(session, Path(git), project)
    top = asked.ask("rev-parse", "--show-toplevel").rstrip("\n")
    if not top or not Path(project).resolve().is_relative_to(Path(top).resolve()):
        return History()
    paths = [str(project / "go.mod"), *wanted]
    states, stamps = asked.states(paths, commits)
    digests, go_lines = asked.contents({blob for _told, files in states for blob in files.values()}, states)
    # Git follows links to its repository; go may call the directory by another name.
    shift = Path(project).resolve().relative_to(Path(top).resolve())
    files = {
        path: tuple(_old_of(told, files, shift / Path(path).relative_to(project), digests) for told, files in states)
        for path in wanted
    }
    return History(files, go_lines, stamps)


def _old_of(told: str, files: Mapping[str, str], folder: Path, digests: Mapping[str, str]) -> Old:
    prefix = "" if str(folder) == "." else f"{folder}/"
    found = {name.removeprefix(prefix): blob for name, blob in files.items() if name.startswith(prefix)}
    return Old(told, {name: digests[blob] for name, blob in found.items() if blob in digests})


@dataclass(slots=True)
class _Git:
    """Git in one repository, with the rights of whom the directory belongs to."""

    session: Session
    git: Path
    project: Path
    go: Go = field(init=False)

    def __post_init__(self) -> None:
        environ = {**self.session.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
        found = stat_of(self.project)
        usual = go_of(self.session, Under(), found)
        self.go = Go(usual.executable, environ=environ, owner=(found.st_uid, found.st_gid))

    def ask(self, *args: str, stdin: bytes | None = None) -> str:
        return self.bytes(*args, stdin=stdin).decode("utf-8", "surrogateescape")

    def bytes(self, *args: str, stdin: bytes | None = None) -> bytes:
        ran = self.go.run_program(self.git, (*_QUIET, *args), cwd=self.project, timeout_s=_TIMEOUT_S, stdin=stdin)
        return b"" if ran.exit_code else ran.stdout

    def states(
        self, paths: Sequence[str], commits: int
    ) -> tuple[list[tuple[str, dict[str, str]]], tuple[tuple[str, str], ...]]:
        """Files of all states, as blobs by path, and the commits."""
        head = dict(self._listed("ls-tree", "-r", "--full-name", "HEAD", "--", *paths))
        index = dict(self._listed("ls-files", "-s", "--full-name", "--", *paths))
        found = [("the index of git", index), ("git HEAD", head)]
        stashes = self.ask("log", "-g", "--format=%H", "-n", str(_STASHES), "refs/stash").split()
        for stash in stashes:
            files = dict(self._listed("ls-tree", "-r", "--full-name", stash, "--", *paths))
            found.append((f"git stash {stash[:12]}", files))
        stamps = tuple(self._stamps(commits))
        log = self.ask(
            *("log", "--first-parent", "-m", "--raw", "--no-abbrev", "--no-renames", "--format=commit %H"),
            *("-n", str(commits), "--", *paths),
        )
        found += self._back(head, log)
        return found, stamps

    def _listed(self, *args: str) -> Iterator[tuple[str, str]]:
        for line in self.ask(*args).splitlines():
            if match := _LISTED.fullmatch(line):
                yield match[2], match[1]

    def _stamps(self, commits: int) -> Iterator[tuple[str, str]]:
        for line in self.ask("log", "--format=%H %ct", "-n", str(commits)).splitlines():
            revision, _, seconds = line.partition(" ")
            yield revision, datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    @staticmethod
    def _back(head: Mapping[str, str], log: str) -> Iterator[tuple[str, dict[str, str]]]:
        """The states before each commit that changed something here."""
        files, revision = dict(head), ""
        for line in [*log.splitlines(), "commit"]:
            if line.startswith("commit"):
                if revision:
                    yield f"git, before commit {revision[:12]}", dict(files)
                revision = line[7:]
            elif match := _RAW.fullmatch(line):
                if match[1].strip("0"):
                    files[match[3]] = match[1]
                else:
                    files.pop(match[3], None)

    def contents(
        self, blobs: Iterable[str], states: Iterable[tuple[str, Mapping[str, str]]]
    ) -> tuple[dict[str, str], tuple[str, ...]]:
        """What keys would have for each blob, and the go lines in go.mod."""
        data = self.bytes("cat-file", "--batch", stdin="".join(f"{blob}\n" for blob in sorted(blobs)).encode("ascii"))
        digests: dict[str, str] = {}
        lines: dict[str, str] = {}
        for blob, content in _objects(data):
            digests[blob] = id_half(sha256(content).digest())
            if match := _GO_LINE.search(content):
                lines[blob] = match[1].decode("utf-8", "replace")
        modules = [blob for _told, files in states for name, blob in files.items() if Path(name).name == "go.mod"]
        return digests, tuple(dict.fromkeys(lines[blob] for blob in modules if blob in lines))


def _objects(data: bytes) -> Iterator[tuple[str, bytes]]:
    """What `git cat-file --batch` printed; it is cut off if it was too much."""
    at = 0
    while (end := data.find(b"\n", at)) >= 0:
        words = data[at:end].decode("ascii", "replace").split()
        if len(words) != 3 or not words[2].isdigit():
            at = end + 1
            continue
        start, size = end + 1, int(words[2])
        if words[1] == "blob" and start + size <= len(data):
            yield words[0], data[start : start + size]
        at = start + size + 1
