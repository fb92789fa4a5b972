"""Changes one file of a repository elsewhere through git: fetch, commit, push, and again if somebody was faster.

Knows:     which git commands that takes, and the environment in which they ask nobody and believe nothing.
Called by: `flows.board`.
Never:     forces a push; checks anything out, so that no filter, symlink or hook of a repository counts; puts a password where other
           processes see it; keeps anything but a shallow bare clone of its own.
Source:    git(1): GIT_TERMINAL_PROMPT, GIT_ASKPASS, GIT_ALLOW_PROTOCOL; git-push(1): without `+` a branch only moves forward, and the server
           compares and sets at once; `--porcelain` marks a refused branch with `!`.
"""

import hashlib
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.flows.witnesses import GIT_ENVIRON

if TYPE_CHECKING:
    import subprocess

WAIT_S = 20
TRIES = 6
_PAUSE_S = 0.2
_ENDING_S = 2.0
_OURS = "refs/board/head"
_MODES = frozenset({"100644", "100755"})
_SAFE = {
    "GIT_ASKPASS": "/bin/false",
    "SSH_ASKPASS": "/bin/false",
    "GIT_ALLOW_PROTOCOL": "file:https:ssh",
    "GIT_SSH_COMMAND": "ssh -oBatchMode=yes -oConnectTimeout=10",
}
_CONFIG = ("core.hooksPath=/dev/null", "gc.auto=0", "maintenance.auto=false", "fetch.fsckObjects=true")


class GitAway(Failure):
    """A repository cannot be read or written."""

    id = "board-repository"
    exit_code: ClassVar[ExitCode] = ExitCode.COULD_NOT_TELL
    meaning = "a repository of the board cannot be fetched from or pushed to, or its README is left alone"


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a file.

    Attributes:
        commit: The commit that changed it; empty if nothing was to be changed.
        tries: How often somebody else was faster, plus one.
    """

    commit: str
    tries: int


@dataclass(frozen=True, slots=True)
class Clone:
    """A branch of a repository elsewhere.

    Attributes:
        folder: Where clones lie; made when it is not there.
        repository: A path or a URL.
        branch: Its name.
    """

    folder: Path
    repository: str
    branch: str

    @property
    def path(self) -> Path:
        """Our bare clone."""
        name = hashlib.sha256(f"{self.repository}\0{self.branch}".encode()).hexdigest()[:24]
        return self.folder / f"{name}.git"

    def change(self, name: str, edit: Callable[[bytes], bytes | None], message: str) -> Change:
        """Change a file at the top of the repository, and push that.

        Args:
            name: Of the file, whatever its capitals; it is made if there is none.
            edit: Makes the new content of the old one; None if it may stay. Called again if somebody else was faster.
            message: Of the commit.

        Raises:
            GitAway: It cannot be fetched or pushed, or the file is none.
            Failure: What `edit` raises.
        """
        pushed: list[str] = []
        for tries in range(1, TRIES + 1):
            head = self.fetch()
            if head in pushed:
                return Change(head, tries)  # the answer to our push was lost, not the push
            commit = self._commit(head, name, edit, message)
            if not commit:
                return Change("", tries)
            pushed.append(commit)
            if self._push(commit):
                return Change(commit, tries)
            time.sleep(_PAUSE_S * tries)
        raise self._away(f"others were faster {TRIES} times")

    def fetch(self) -> str:
        """The newest commit of the branch.

        Raises:
            GitAway: It cannot be fetched.
        """
        if not (self.path / "HEAD").exists():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._git("init", "--quiet", "--bare", "--template=", str(self.path), at="")
        self._git(
            *("fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head"),
            *("--end-of-options", self.repository, f"+refs/heads/{self.branch}:{_OURS}"),
        )
        return self._git("rev-parse", "--verify", _OURS).decode().strip()

    def _commit(self, head: str, name: str, edit: Callable[[bytes], bytes | None], message: str) -> str:
        entries = [entry for entry in self._git("ls-tree", "-z", head).split(b"\0") if entry]
        there = [entry for entry in entries if entry.partition(b"\t")[2].lower() == name.lower().encode()]
        mode, old = ("100644", b"") if not there else self._read(there[0])
        new = edit(old)
        if new is None or new == old:
            return ""
        blob = self._git("hash-object", "-w", "--stdin", data=new).decode().strip()
        path = there[0].partition(b"\t")[2] if there else name.encode()
        others = [entry for entry in entries if entry.partition(b"\t")[2] != path]
        tree = self._git("mktree", "-z", data=b"\0".join([*others, f"{mode} blob {blob}\t".encode() + path, b""]))
        commit = self._git("commit-tree", tree.decode().strip(), "-p", head, data=message.encode() + b"\n")
        return commit.decode().strip()

    def _read(self, entry: bytes) -> tuple[str, bytes]:
        mode, _, blob = entry.partition(b"\t")[0].decode().split(" ")
        if mode not in _MODES:
            raise self._away("its README is no file but a link or a folder")
        return mode, self._git("cat-file", "blob", blob)

    def _push(self, commit: str) -> bool:
        """Whether the branch is at our commit now; not, if somebody else was faster."""
        arguments = ("push", "--porcelain", "--end-of-options", self.repository, f"{commit}:refs/heads/{self.branch}")
        code, out, error = self._run(arguments, b"", str(self.path))
        if not code:
            return True
        if any(why in out + error for why in (b"non-fast-forward", b"fetch first", b"cannot lock ref", b"stale info")):
            return False
        raise self._away(_last_line(error) or _last_line(out) or "git push failed")

    def _git(self, *arguments: str, data: bytes = b"", at: str | None = None) -> bytes:
        code, out, error = self._run(arguments, data, str(self.path) if at is None else at)
        if code:
            raise self._away(_last_line(error) or f"git {arguments[0]} failed")
        return out

    def _run(self, arguments: tuple[str, ...], data: bytes, at: str) -> tuple[int, bytes, bytes]:
        import subprocess  # noqa: PLC0415 - loaded where used

        git = shutil.which("git")
        if git is None:
            raise self._away("there is no git command")
        settings = [word for one in _CONFIG for word in ("-c", one)]
        place = ["--git-dir", at] if at else []
        child = subprocess.Popen(
            [git, *settings, *place, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            env=environ(),
            start_new_session=True,
        )
        with child:
            try:
                out, error = child.communicate(data, timeout=WAIT_S)
            except subprocess.TimeoutExpired as late:
                raise self._away(f"git {arguments[0]} took longer than {WAIT_S} s") from late
            finally:
                if child.poll() is None:
                    _end(child)
        return child.returncode, out, error

    def _away(self, why: str) -> GitAway:
        return GitAway(
            f"{self.repository} ({self.branch}): {why}",
            not_done="its board was not changed",
            hint="git must reach it without being asked anything: a key, or a credential helper of this user",
        )


def _end(child: "subprocess.Popen[bytes]") -> None:
    """End git with ssh and all else it started, which hold its pipes. Asked first: it takes its lock files along then."""
    from subprocess import TimeoutExpired  # noqa: PLC0415 - loaded where used

    os.killpg(child.pid, signal.SIGTERM)
    try:
        child.wait(_ENDING_S)
    except TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)


def environ() -> dict[str, str]:
    """What git is started with: our own, and of this process's only where git is, who we are, and our agent of keys."""
    kept = {name: os.environ[name] for name in ("HOME", "SSH_AUTH_SOCK") if name in os.environ}
    return GIT_ENVIRON | _SAFE | kept | {"PATH": os.environ.get("PATH", os.defpath)}


def _last_line(text: bytes) -> str:
    lines = [line for line in text.decode("utf-8", "replace").splitlines() if line.strip()]
    told = [line for line in lines if line.startswith(("fatal:", "error:", "!", "remote:"))] or lines
    return "".join(char if char.isprintable() else "?" for char in told[-1])[:300] if told else ""
