"""Everything that lies in a Go build cache, as values.

Knows:     index entries, outputs, who refers to whom, what is foreign, and sums over all of it.
Called by: `gocache.disk` makes one; fsck, summary, checks, planners and snapshots read it.
Never:     looks at a disk. It is what one look saw: by the time it is read, `go` may have added or trimmed something.
Source:    cmd/go/internal/cache/cache.go (`used`, `OutputFile`): mtime is the last use, to the hour; read in go1.27.3.

It is made for 300,000 files: one object per file and no path strings (`layout.action_name` makes them when somebody looks).
Nobody changes an `Action` or an `Output`; they are not frozen because to make a frozen one takes four times as long, which
was a tenth of the time of a re-check.
"""

from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import TypeVar

from go_cache_safeguard.gocache.archive import Archive
from go_cache_safeguard.gocache.classify import Kind
from go_cache_safeguard.gocache.entry import Damage, Entry

UNKNOWN = "unknown"
"""What stands for a toolchain or target that the bytes do not tell."""

_Key = TypeVar("_Key")


class Shape(StrEnum):
    """What kind of thing stands where an output should be. Links, pipes and devices are foreign, not outputs."""

    FILE = "file"
    PROGRAM = "directory with one program"
    BAD_DIRECTORY = "directory that does not hold exactly one regular file"
    UNREADABLE = "something that could not be read"


@dataclass(slots=True, unsafe_hash=True)
class Action:
    """One index entry file.

    Attributes:
        action: 32 bytes, from its name.
        size: Apparent, in bytes; 175 when it is sound.
        mtime_ns: When `go` last used it, to the hour.
        entry: What it says, or why `go` would not accept it; None if it could not be read.
        ino: Inode.
        ctime_ns: When anything about it last changed; unlike mtime nobody can set it back.
        disk: Bytes it takes on the disk.
    """

    action: bytes
    size: int
    mtime_ns: int
    entry: Entry | Damage | None
    ino: int
    ctime_ns: int
    disk: int


@dataclass(slots=True, unsafe_hash=True)
class Output:
    """One output file, or the directory around a cached program.

    Attributes:
        output: 32 bytes, from its name.
        size: Apparent, in bytes; of a program, the size of the file inside.
        disk: Bytes it takes on the disk.
        mtime_ns: When `go` last used it, to the hour; of a program, that of the directory.
        mode: Permission bits; of a program, those of the file inside.
        is_dir: It is a directory.
        kind: What it is.
        about: What an archive or program says about itself, None for other kinds.
        shape: What stands there; anything but FILE and PROGRAM is damage.
        ino: Inode; of a program, that of the file inside.
        ctime_ns: When anything about it last changed; likewise.
    """

    output: bytes
    size: int
    disk: int
    mtime_ns: int
    mode: int
    is_dir: bool
    kind: Kind
    about: Archive | None
    shape: Shape
    ino: int
    ctime_ns: int

    @property
    def sound_shape(self) -> bool:
        """Whether `go` itself could have put this there."""
        return self.shape is Shape.FILE or self.shape is Shape.PROGRAM


@dataclass(frozen=True, slots=True)
class Foreign:
    """Something that `go` did not put there: reported, never touched.

    Attributes:
        name: Path below the root, printable.
        kind: `file`, `directory`, `symlink`, `fifo`, `socket`, `device` or `unreadable`.
        size: Apparent, in bytes.
    """

    name: str
    kind: str
    size: int


@dataclass(frozen=True, slots=True)
class Fuzz:
    """The inputs that fuzzing found; they cannot be rebuilt.

    Attributes:
        files: How many.
        size: Bytes, apparent.
    """

    files: int = 0
    size: int = 0


@dataclass(frozen=True)
class Inventory:
    """What one look at a cache saw.

    Attributes:
        root: Where it is, printable.
        identity: Device and inode of the root, `dev:ino`.
        actions: By id.
        outputs: By id.
        foreign: What `go` did not put there.
        fuzz: The user's fuzzing inputs.
        trim_ns: When `go` last trimmed; None if it never did or `trim.txt` cannot be read as a time.
        readme: Whether the README is the one that go writes.
        shards: How many of the 256 shard directories are there.
        unreadable: Names of directories that could not be listed: what is in them is unknown.
    """

    root: str
    identity: str
    actions: dict[bytes, Action]
    outputs: dict[bytes, Output]
    foreign: tuple[Foreign, ...] = ()
    fuzz: Fuzz = field(default_factory=Fuzz)
    trim_ns: int | None = None
    readme: bool = True
    shards: int = 256
    unreadable: tuple[str, ...] = ()

    @cached_property
    def in_the_way(self) -> dict[str, str]:
        """From the name of a foreign thing to its kind: it may stand where an output should be."""
        return {item.name: item.kind for item in self.foreign}

    @cached_property
    def references(self) -> dict[bytes, list[bytes]]:
        """From each output that any sound entry names to the actions that name it."""
        found: dict[bytes, list[bytes]] = {}
        for action in self.actions.values():
            if isinstance(action.entry, Entry):
                found.setdefault(action.entry.output, []).append(action.action)
        return found

    def orphans(self) -> Iterator[Output]:
        """Outputs that no entry names: `go` will not use them before it has made them again."""
        return (output for key, output in self.outputs.items() if key not in self.references)

    def dangling(self) -> Iterator[Action]:
        """Entries whose output is not there."""
        for action in self.actions.values():
            if isinstance(action.entry, Entry) and action.entry.output not in self.outputs:
                yield action

    def owner_of(self, output: Output) -> Action | None:
        """The entry of the build step whose ID an archive or program carries inside, if it names this output."""
        if output.about is None:
            return None
        for action in self.references.get(output.output, ()):
            if id_half(action) == output.about.build_action:
                return self.actions[action]
        return None

    @property
    def disk(self) -> int:
        """Bytes that entries and outputs take on the disk."""
        return sum(item.disk for item in self.actions.values()) + sum(item.disk for item in self.outputs.values())

    @property
    def size(self) -> int:
        """Bytes of entries and outputs, apparent."""
        return sum(item.size for item in self.actions.values()) + sum(item.size for item in self.outputs.values())

    @property
    def files(self) -> int:
        """Entries and outputs together."""
        return len(self.actions) + len(self.outputs)

    def bytes_by(self, key: Callable[[Output], _Key]) -> dict[_Key, int]:
        """Apparent bytes of outputs, summed by anything: `inventory.bytes_by(toolchain_of)`."""
        sums: dict[_Key, int] = {}
        for output in self.outputs.values():
            word = key(output)
            sums[word] = sums.get(word, 0) + output.size
        return sums


def kind_of(output: Output) -> str:
    """`archive`, `index`, ..."""
    return output.kind.value


def toolchain_of(output: Output) -> str:
    """`go1.27.3`, or UNKNOWN."""
    return output.about.version or UNKNOWN if output.about else UNKNOWN


def target_of(output: Output) -> str:
    """`linux/amd64`, or UNKNOWN."""
    return output.about.target if output.about and output.about.goos else UNKNOWN


def race_of(output: Output) -> str:
    """`race`, `plain`, or UNKNOWN."""
    if output.about is None or not output.about.goos:
        return UNKNOWN
    return "race" if output.about.race else "plain"


def id_half(digest: bytes) -> str:
    """How a build ID writes a hash: the first half is that of the action, the second that of the content.

    Args:
        digest: 32 bytes.

    Source: cmd/internal/buildid/buildid.go (`HashToString`): base64url of the first 15 bytes.
    """
    return urlsafe_b64encode(digest[:15]).decode("ascii")
