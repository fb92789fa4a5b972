"""The signed checkpoints of a journal on disk: the key, the checkpoints beside the journal, and who was told of them.

Knows:     where they lie, how each becomes durable, and what a torn end looks like.
Called by: `flows.checkpoint` and `flows.audit`.
Never:     changes or removes a checkpoint that was whole; makes a second key where one was; shows a private key.

Beside the journal lies `checkpoints/`, for its owner only. `<log>.jsonl` has a line for each checkpoint, `<log>.key` the private key
(unless a setting names another place), `<log>.told` how far each witness was told. An older state of the journal alone is so found
without any witness; an older state of all of it is not.
"""

import errno
import fcntl
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from go_cache_safeguard.core.canonical import canonical
from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.journal.note import PrivateKey, parse_private
from go_cache_safeguard.journal.seal import Seal, parse_seal, seal_line
from go_cache_safeguard.journal.store import (
    JournalUnusable,
    directory,
    give_to_owner,
    make_directory,
    refuse_link,
    replace_file,
)

_TAIL = 1 << 16
_APPEND = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class SigningKeyBad(Failure):
    """The key that signs checkpoints cannot be used."""

    id = "signing-key-bad"
    exit_code = ExitCode.JOURNAL
    meaning = "the private key that signs checkpoints of the journal cannot be read, or others can read it"


@dataclass(frozen=True, slots=True)
class Kept:
    """All checkpoints that lie beside the journal.

    Attributes:
        seals: Those that can be read, in order.
        damage: For each line that cannot: its number and why.
        torn: Whether the last line was not finished: whoever wrote it was killed, and it counts for nothing.
    """

    seals: tuple[Seal, ...]
    damage: tuple[tuple[int, str], ...]
    torn: bool


class Sealer:
    """Checkpoints of one journal."""

    def __init__(self, journal: Path, log: str, key: Path | None = None) -> None:
        """Nothing is opened or made yet.

        Args:
            journal: The SQLite file.
            log: Id of the journal.
            key: Where the private key lies; None for beside the checkpoints.
        """
        self.folder = journal.parent / "checkpoints"
        self.path = self.folder / f"{log}.jsonl"
        self.key_path = key or self.folder / f"{log}.key"
        self._told_path = self.folder / f"{log}.told"
        self._log = log

    def kept(self) -> Kept:
        """Read all checkpoints.

        Raises:
            JournalUnusable: They are there and cannot be read.
        """
        with _seam(self.path):
            data = self.path.read_bytes() if self.path.exists() else b""
        *lines, rest = data.split(b"\n")
        read = [(at, parse_seal(line + b"\n")) for at, line in enumerate(lines, 1)]
        seals = tuple(it for _, it in read if isinstance(it, Seal))
        return Kept(seals, tuple((at, it) for at, it in read if isinstance(it, str)), bool(rest))

    def size(self) -> int:
        """How many records the newest checkpoint has; 0 if there is none that can be read."""
        try:
            with self.path.open("rb") as file:
                seal = _newest(file.fileno())
        except OSError:
            return 0
        return seal.checkpoint.size if isinstance(seal, Seal) else 0

    def others(self) -> list[str]:
        """Ids of other journals of which checkpoints lie here."""
        with _seam(self.folder):
            return sorted(it.stem for it in self.folder.glob("*.jsonl") if it.stem != self._log)

    @contextmanager
    def alone(self) -> Iterator["Book"]:
        """Have the checkpoints for the length of a block, with nobody else writing any.

        Raises:
            JournalUnusable: They cannot be opened.
        """
        with _seam(self.path):
            make_directory(self.folder)
            with directory(self.folder) as folder:
                file = os.open(self.path.name, _APPEND, 0o600, dir_fd=folder)
        try:
            with _seam(self.path):
                refuse_link(file, self.path.name)
                with directory(self.folder) as folder:
                    give_to_owner(file, folder)
                    os.fsync(folder)
                fcntl.flock(file, fcntl.LOCK_EX)
            yield Book(file, self.path)
        finally:
            os.close(file)

    def keys(self) -> list[PrivateKey]:
        """The private key; while one is exchanged, the old one and the new one; none if there is no such file.

        Raises:
            SigningKeyBad: It is there and cannot be used.
        """
        path = self.key_path
        try:
            file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _bad(path, f"cannot be read: {error.strerror}") from error
        with os.fdopen(file, "rb") as opened:
            found = os.fstat(file)
            if not stat.S_ISREG(found.st_mode) or found.st_mode & 0o077:
                raise _bad(path, "can be read by others", f"chmod 600 {path}")
            lines = opened.read(4096).decode("ascii", "replace").splitlines()
        keys = [key for key in map(parse_private, lines) if key is not None]
        if not keys or len(keys) != len(lines):
            raise _bad(path, "is not a key that signs checkpoints")
        return keys

    def write_keys(self, *keys: PrivateKey) -> None:
        """Write private keys, durably; the caller is `alone`.

        Raises:
            JournalUnusable: They cannot be written; those that were there are as they were.
        """
        with _seam(self.key_path):
            make_directory(self.key_path.parent)
            replace_file(self.key_path, b"".join(key.secret.encode() + b"\n" for key in keys))

    def told(self) -> Mapping[str, int]:
        """How many records the newest checkpoint had that each witness was told of, by the witness' name."""
        with _seam(self._told_path):
            try:
                value: Any = json.loads(self._told_path.read_bytes())
            except (FileNotFoundError, ValueError):
                return {}
        if not isinstance(value, dict):
            return {}
        return {name: size for name, size in value.items() if type(size) is int}

    def tell(self, told: Mapping[str, int]) -> None:
        """Remember how far each witness was told; the caller is `alone`."""
        with _seam(self._told_path):
            replace_file(self._told_path, canonical(told) + b"\n")


class Book:
    """The open file of checkpoints, with the lock held."""

    def __init__(self, file: int, path: Path) -> None:
        self._file = file
        self._path = path

    def last(self) -> Seal | None:
        """The newest checkpoint; None if there is none.

        Raises:
            JournalUnusable: The last line is not one that we wrote.
        """
        with _seam(self._path):
            seal = _newest(self._file)
        if isinstance(seal, str):
            raise JournalUnusable(
                f"the newest checkpoint in {str(self._path)!r} was changed: {seal}",
                not_done="nothing was signed",
                hint="see `go-cache-safeguard audit verify`",
            )
        return seal

    def append(self, seal: Seal) -> None:
        """Add a checkpoint, durably: it is whole or not there.

        Raises:
            JournalUnusable: It is not there.
        """
        line = seal_line(seal)
        with _seam(self._path):
            end = self._cut()
            try:
                self._write(line)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(self._file, end)
                raise

    def _write(self, line: bytes) -> None:
        if os.write(self._file, line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(self._file)

    def _cut(self) -> int:
        """Drop what somebody who was killed left of a line. Returns where the file ends then."""
        end = os.fstat(self._file).st_size
        tail = os.pread(self._file, _TAIL, max(0, end - _TAIL))
        rest = len(tail) - (tail.rfind(b"\n") + 1)
        if rest:
            os.ftruncate(self._file, end - rest)
        return end - rest


def _newest(file: int) -> Seal | str | None:
    """The last whole line; None if there is none."""
    end = os.fstat(file).st_size
    whole, newline, _ = os.pread(file, _TAIL, max(0, end - _TAIL)).rpartition(b"\n")
    return parse_seal(whole.rpartition(b"\n")[2] + b"\n") if newline else None


def _bad(path: Path, why: str, hint: str = "") -> SigningKeyBad:
    return SigningKeyBad(f"the signing key {str(path)!r} {why}", not_done="nothing was signed", hint=hint)


@contextmanager
def _seam(path: Path) -> Iterator[None]:
    """Turn what the file system raises into a failure of ours."""
    try:
        yield
    except OSError as error:
        raise JournalUnusable(
            f"{str(path)!r} cannot be used: {error.strerror or error}",
            not_done="no checkpoint was signed; the journal is as it was",
            hint="look at the owner, the permissions and the free space there; `audit checkpoint` tries again",
        ) from error
