"""Others who keep copies of signed checkpoints: a file, a git repository, the system's log, another safeguard, and who else is brought.

Knows:     how each is told, how what it was told is read back, and that one who is away is a doubt and not a yes.
Called by: `flows.checkpoint` tells them, `flows.audit` asks them; `flows.witness_chat` brings the one that is reached over the network.
Never:     uses the network itself; follows a link or writes as root into somebody's tree; drops a checkpoint silently: who could not be told is
           told with the next one.
Source:    https://c2sp.org/tlog-cosignature (what another safeguard signs), RFC 5424 and RFC 3164 (lines of the system's log).
"""

import errno
import fcntl
import json
import os
import re
import secrets
import shutil
import socket
import stat
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from go_cache_safeguard.core.canonical import canonical
from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.journal.merkle import verify_consistency
from go_cache_safeguard.journal.note import (
    SEED,
    WITNESS,
    Note,
    PrivateKey,
    PublicKey,
    parse_private,
    parse_public,
    sign,
    signed_by,
)
from go_cache_safeguard.journal.seal import Seal, read_note
from go_cache_safeguard.journal.store import replace_file
from go_cache_safeguard.tree.owner import as_owner

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

WAIT_S = 30
"""seconds that a witness may take."""

ELSEWHERE = frozenset({"syslog", "slack"})
"""Names of witnesses whose lines cannot be read here: somebody hands in a copy of them."""

_LINE = re.compile(r'go-cache-safeguard checkpoint (?:("(?:[^"\\\r\n]|\\.)*")|["\u201c\u201d])')
_NOTICE = 5 | 16 << 3  # severity notice, facility local0
_LOG = Path("/dev/log")
_LIMIT = 256 << 20


class WitnessAway(Failure):
    """A witness could not be told or asked."""

    id = "witness-away"
    exit_code = ExitCode.COULD_NOT_TELL
    meaning = "a witness of the journal could not be told of a checkpoint, or not be asked for what it was told"


class WitnessRefused(Failure):
    """Another safeguard does not sign this checkpoint."""

    id = "witness-refused"
    exit_code = ExitCode.JOURNAL_TAMPERED
    meaning = "another safeguard refused to sign a checkpoint: it does not go on from the one that it signed before"


@dataclass(frozen=True, slots=True)
class Copy:
    """What a file of lines holds.

    Attributes:
        seals: Checkpoints of one journal, each once, in the order in which they stand there.
        damaged: How many lines began as a checkpoint, of whatever journal, and cannot be read: they were cut or changed.
    """

    seals: Sequence[Seal]
    damaged: int


@dataclass(frozen=True, slots=True)
class Grown:
    """What a witness that checks may ask about the journal.

    Attributes:
        keys: Its keys, each handed over to the next.
        prove: Makes the proof that the first so many records are the beginning of the first so many.
    """

    keys: Sequence[PublicKey]
    prove: Callable[[int, int], Sequence[bytes]]


class Witness(Protocol):
    """One of them."""

    @property
    def name(self) -> str:
        """As in the settings."""

    def tell(self, seals: Sequence[Seal], grow: Callable[[], Grown]) -> None:
        """Have it keep checkpoints, the oldest first.

        Raises:
            WitnessAway: It is not known to have all of them.
            WitnessRefused: It does not want one.
        """

    def seen(self, origin: str) -> list[Seal]:
        """All checkpoints of a journal that it has.

        Raises:
            WitnessAway: Nobody knows.
        """


def witnesses(words: str, chat: Witness) -> list[Witness]:
    """Those that a setting names.

    Args:
        words: As in the setting.
        chat: The one that `slack` stands for.
    """
    return [chat if word == "slack" else _witness(word) for word in words.split()]


def _witness(word: str) -> Witness:
    kind, _, place = word.partition(":")
    match kind:
        case "file":
            return InFile(Path(place))
        case "git":
            return InGit(Path(place))
        case "safeguard":
            return Peer(Path(place))
        case _:
            return InSystemLog(Path(place) if place else None)


def lines_of(seals: Sequence[Seal]) -> bytes:
    """Checkpoints as lines, one each, that may stand among others."""
    return b"".join(b"go-cache-safeguard checkpoint " + canonical(seal.note.data.decode()) + b"\n" for seal in seals)


def seals_in(data: bytes, origin: str) -> list[Seal]:
    """Checkpoints of one journal among lines of whatever kind; each once."""
    return _of(_each(data), origin)


def _of(seals: "Iterable[Seal | None]", origin: str) -> list[Seal]:
    return list({it.note.data: it for it in seals if it is not None and it.checkpoint.origin == origin}.values())


def _each(data: bytes) -> "Iterator[Seal | None]":
    """Each checkpoint of any journal; None for what begins as one and cannot be read."""
    for match in _LINE.finditer(data.decode("utf-8", "replace")):
        try:
            seal = read_note(json.loads(match[1] or "").encode())
        except ValueError:
            seal = ""
        yield seal if isinstance(seal, Seal) else None


def read_copy(path: Path, origin: str) -> Copy:
    """What a copy of lines holds of one journal.

    Raises:
        WitnessAway: It cannot be read.
    """
    found = list(_each(_read(path)))
    return Copy(_of(found, origin), found.count(None))


def read_seals(path: Path, origin: str) -> list[Seal]:
    """Checkpoints of one journal in a file of lines.

    Raises:
        WitnessAway: It cannot be read.
    """
    return seals_in(_read(path), origin)


def _read(path: Path) -> bytes:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe in its place must not hold us
        with os.fdopen(file, "rb") as opened:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise away(str(path), "is not a plain file")
            return opened.read(_LIMIT)
    except OSError as error:
        raise away(str(path), f"cannot be read: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class InFile:
    """Lines at the end of a file, best on another disk or machine.

    Attributes:
        path: The file; made when there is none. Its directory must exist.
    """

    path: Path

    @property
    def name(self) -> str:
        """As in the settings."""
        return f"file:{self.path}"

    def tell(self, seals: Sequence[Seal], _grow: Callable[[], Grown]) -> None:
        """Add lines, durably."""
        lines = lines_of(seals)
        with _away_if(self.name):
            _as_owner_of(self.path.parent, lambda: _append(self.path, lines))

    def seen(self, origin: str) -> list[Seal]:
        """Read them back."""
        return read_seals(self.path, origin)


@dataclass(frozen=True, slots=True)
class InGit:
    """A branch of its own in a git repository, whose files and index stay as they are; push it where nobody here can write.

    Attributes:
        path: The repository.
    """

    path: Path

    @property
    def name(self) -> str:
        """As in the settings."""
        return f"git:{self.path}"

    def tell(self, seals: Sequence[Seal], _grow: Callable[[], Grown]) -> None:
        """Make a commit."""
        branch = _branch(seals[0].checkpoint.origin)
        before = self._git("rev-parse", "--verify", "--quiet", branch, may_fail=True).decode().strip()
        kept = self._git("cat-file", "blob", f"{branch}:checkpoints") if before else b""
        blob = self._git("hash-object", "-w", "--stdin", data=kept + lines_of(seals)).decode().strip()
        tree = self._git("mktree", data=f"100644 blob {blob}\tcheckpoints\n".encode()).decode().strip()
        parents = ("-p", before) if before else ()
        text = f"{seals[-1].checkpoint.size} records"
        commit = self._git("commit-tree", tree, *parents, "-m", text).decode().strip()
        self._git("update-ref", branch, commit, before or "0" * len(commit))

    def seen(self, origin: str) -> list[Seal]:
        """Read the newest commit of the branch."""
        branch = _branch(origin)
        if not self._git("for-each-ref", "--format=%(objectname)", branch).strip():
            return []
        return seals_in(self._git("cat-file", "blob", f"{branch}:checkpoints"), origin)

    def _git(self, *arguments: str, data: bytes = b"", may_fail: bool = False) -> bytes:
        import subprocess  # noqa: PLC0415 - loaded where used

        with _away_if(self.name):
            owner = self.path.stat()
        root, git = os.geteuid() == 0, shutil.which("git")
        if git is None:
            raise away(self.name, "there is no git command")
        try:
            done = subprocess.run(
                [git, "-C", str(self.path), "-c", "core.hooksPath=/dev/null", "-c", "core.fsync=all", *arguments],
                input=data,
                capture_output=True,
                check=False,
                timeout=WAIT_S,
                env=GIT_ENVIRON | {"PATH": os.environ.get("PATH", os.defpath)},
                user=owner.st_uid if root else None,
                group=owner.st_gid if root else None,
                extra_groups=[] if root else None,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise away(self.name, f"git cannot be used: {error}") from error
        if done.returncode and not may_fail:
            raise away(self.name, done.stderr.decode("utf-8", "replace").strip() or f"git {arguments[0]} failed")
        return done.stdout if not done.returncode else b""


GIT_ENVIRON = {
    "HOME": "/nonexistent",
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_AUTHOR_NAME": "go-cache-safeguard",
    "GIT_AUTHOR_EMAIL": "go-cache-safeguard@localhost",
    "GIT_COMMITTER_NAME": "go-cache-safeguard",
    "GIT_COMMITTER_EMAIL": "go-cache-safeguard@localhost",
}
"""For git commands of ours: nobody is asked, and no settings of the machine count."""


@dataclass(frozen=True, slots=True)
class InSystemLog:
    """Lines in the system's log, which may send them to another machine.

    Attributes:
        kept: The file in which its lines can be read; None if they cannot be read here.
    """

    kept: Path | None

    @property
    def name(self) -> str:
        """As in the settings."""
        return f"syslog:{self.kept}" if self.kept else "syslog"

    def tell(self, seals: Sequence[Seal], _grow: Callable[[], Grown]) -> None:
        """Send a line for each."""
        with _away_if(self.name), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
            log.settimeout(WAIT_S)
            log.connect(str(_LOG))
            for seal in seals:
                log.send(f"<{_NOTICE}>".encode() + lines_of([seal]).rstrip(b"\n"))

    def seen(self, origin: str) -> list[Seal]:
        """Read them back, if they can be read here."""
        if self.kept is None:
            raise away(self.name, "cannot be read here", "give a file with its lines: `audit verify --seen FILE`")
        return read_seals(self.kept, origin)


@dataclass(frozen=True, slots=True)
class Peer:
    """Another safeguard, in whose state directory we may write: it signs what goes on from what it signed before, and nothing else.

    Attributes:
        state: Its state directory.
    """

    state: Path

    @property
    def name(self) -> str:
        """As in the settings."""
        return f"safeguard:{self.state}"

    def tell(self, seals: Sequence[Seal], grow: Callable[[], Grown]) -> None:
        """Have the newest one signed: it covers the others."""
        grown = grow()  # here, because the journal must not be read by a copy of this process
        with _away_if(self.name):
            owner = self.state.stat()
        failed = as_owner(owner.st_uid, owner.st_gid, lambda _told, _stop: self._sign(seals[-1], grown))
        if failed:
            raise away(self.name, str(failed))

    def seen(self, origin: str) -> list[Seal]:
        """What it signed, if its signature is right."""
        with _away_if(self.name):
            if not self._path(origin).exists():
                return []
            key = self._key(make=False)
            seals = read_seals(self._path(origin), origin)
        if key is None:
            raise away(self.name, "its key is gone")
        good = [seal for seal in seals if signed_by(seal.note, [key.public]) == [key.public]]
        if len(good) != len(seals):
            raise away(self.name, f"{len(seals) - len(good)} checkpoints there are not signed by its key")
        return seals

    def _path(self, origin: str) -> Path:
        return self.state / "witness" / f"{origin.rpartition('/')[2]}.lines"

    def _sign(self, seal: Seal, grown: Grown) -> str:
        """Runs with the rights of the other safeguard. Returns why it is away; empty if it signed."""
        (self.state / "witness").mkdir(mode=0o700, exist_ok=True)
        path = self._path(seal.checkpoint.origin)
        try:
            with path.with_suffix(".lock").open("ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                last = max(
                    read_seals(path, seal.checkpoint.origin) if path.exists() else [],
                    key=lambda it: it.checkpoint.size,
                    default=None,
                )
                self._check(last, seal, grown)
                key = self._key(make=True)
                if last is not None and last.checkpoint == seal.checkpoint:
                    return ""
                made = sign(seal.note.text, key, at_s=int(time.time())) if key else None
                if made is None:
                    return "its key cannot be used"
                _append(path, lines_of([Seal(Note(seal.note.text, (*seal.note.signatures, made)), seal.checkpoint)]))
                (path.with_suffix(".key")).write_text(f"{grown.keys[-1]}\n", encoding="ascii")
        except OSError as error:
            return str(error)
        return ""

    def _check(self, last: Seal | None, seal: Seal, grown: Grown) -> None:
        """Refuse what does not go on from what was signed before, or is signed by somebody else.

        Raises:
            WitnessRefused: And why.
        """
        if isinstance(signed_by(seal.note, grown.keys), str):
            raise _refused(self.name, "it is not signed by the journal's key")
        known = self._known(seal.checkpoint.origin)
        if known is not None and known not in grown.keys:
            raise _refused(self.name, f"the journal was signed by {known.id.hex()}, which handed it over to nobody")
        if last is None:
            return
        old, new = last.checkpoint, seal.checkpoint
        if new.size < old.size:
            raise _refused(self.name, f"the journal has {new.size} records, and had {old.size}")
        if not verify_consistency(old.size, new.size, old.root, new.root, grown.prove(old.size, new.size)):
            raise _refused(self.name, f"the first {old.size} records are not those that it signed")

    def _known(self, origin: str) -> PublicKey | None:
        try:
            return parse_public(self._path(origin).with_suffix(".key").read_text(encoding="ascii").strip())
        except FileNotFoundError:
            return None

    def _key(self, *, make: bool) -> PrivateKey | None:
        path = self.state / "witness" / "signing"
        try:
            file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            if not make:
                return None
            name = f"go-cache-safeguard/witness/{secrets.token_hex(8)}"
            key = PrivateKey(name, WITNESS, secrets.token_bytes(SEED))
            replace_file(path, key.secret.encode() + b"\n")
            return key
        with os.fdopen(file, encoding="ascii", errors="replace") as opened:
            private = not os.fstat(file).st_mode & 0o077
            return parse_private(opened.read(4096).strip()) if private else None


def _branch(origin: str) -> str:
    return f"refs/heads/{origin}"


def _append(path: Path, lines: bytes) -> str:
    """Add whole lines to a file, durably. Returns nothing that matters."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    file = os.open(path, flags, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise OSError(0, "it is not a plain file with one name")
        torn = found.st_size and os.pread(file, 1, found.st_size - 1) != b"\n"
        data = b"\n" + lines if torn else lines
        if os.write(file, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(file)
    finally:
        os.close(file)
    return ""


def _as_owner_of(folder: Path, work: Callable[[], str]) -> None:
    owner = folder.stat()

    def told(_told: object, _stop: object) -> str:
        try:
            return work()
        except OSError as error:
            return error.strerror or str(error)

    failed = as_owner(owner.st_uid, owner.st_gid, told)
    if failed:
        raise OSError(0, str(failed))


@contextmanager
def _away_if(name: str) -> "Iterator[None]":
    try:
        yield
    except OSError as error:
        raise away(name, error.strerror or str(error)) from error


def away(name: str, why: str, hint: str = "") -> WitnessAway:
    """That a witness could not be told or asked.

    Args:
        name: As in the settings.
        why: One clause for a person.
        hint: What to do; empty for what is done anyway.
    """
    return WitnessAway(
        f"witness {name}: {why}",
        not_done="what it was told, or would have been told, is not known",
        hint=hint or "it is told of everything with the next checkpoint; `audit checkpoint` makes one",
    )


def _refused(name: str, why: str) -> WitnessRefused:
    return WitnessRefused(
        f"witness {name} does not sign: {why}",
        not_done="it keeps what it signed before",
        hint="see `go-cache-safeguard audit verify`: the journal there is not the one that the witness knows",
    )
