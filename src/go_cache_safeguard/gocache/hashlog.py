"""What go said about the hashes that it made: the log of `GODEBUG=gocachehash=1`.

Knows:     the grammar of that log, how Go quotes text, how blocks that several goroutines wrote at once are told apart, and how a
           subkey follows from its parent.
Called by: `flows.why`, `flows.runs`, and all who need to know which entries a go command asks for.
Never:     believes a block: one counts only if the SHA-256 of its writes is the sum that the log names.
Source:    cmd/go/internal/cache/hash.go, the same in go1.21.13 and go1.27.3: `NewHash`, `Write`, `Sum`, `Subkey`, `FileHash`. Every
           line is one write(2), so lines never mix; blocks of the same name do, unless go runs with GOMAXPROCS=1.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import combinations

_HEX = 64
"""Characters of a SHA-256."""
_QUOTED = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([abfnrtv\\\"']))")
_LETTERS = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_SUBKEY = re.compile(rb'HASH subkey ([0-9a-f]{64}) ("(?:[^"\\]|\\.)*") = ([0-9a-f]{64})')
_LINE = re.compile(rb"[^\n]*\n|[^\n]+")
_TRIES = 4096
"""Ways to tell mixed blocks apart that are tried for one sum."""
_MIXED = 48
"""Writes of mixed blocks beyond which no way is tried: directories of the standard library have hundreds, and nobody needs these."""


@dataclass(frozen=True, slots=True)
class Block:
    """One hash that go made, proved by its writes.

    Attributes:
        name: Such as `build example.com/m`, `link example.com/m`, `moduleIndex`, `testResult`.
        writes: What was hashed, piece by piece; the first is the salt, such as `go1.27.3`.
        sum: The SHA-256 of all writes joined, 32 bytes: an action, where the block is one of an entry.
    """

    name: str
    writes: tuple[bytes, ...]
    sum: bytes


@dataclass(frozen=True, slots=True)
class Subkey:
    """A key that go made from another.

    Attributes:
        parent: 32 bytes.
        text: Such as `stdout`, `srcfiles`, or the name of a generated file.
        sum: 32 bytes: an action.
    """

    parent: bytes
    text: str
    sum: bytes


@dataclass(frozen=True, slots=True)
class HashLog:
    """All that a log says.

    Attributes:
        blocks: In the order of their sums.
        files: From path to the hexadecimal SHA-256 of the content, or go's words why it could not be read.
        subkeys: In order; each is what `subkey` gives.
        unproven: Sums whose writes could not be told from those of another block, and blocks that never ended.
        rest: All that is no line of the log: what go itself said.
    """

    blocks: tuple[Block, ...]
    files: Mapping[str, str]
    subkeys: tuple[Subkey, ...]
    unproven: int
    rest: bytes

    @property
    def actions(self) -> frozenset[bytes]:
        """Every key in the log: what go may have looked up."""
        return frozenset(block.sum for block in self.blocks) | {key.sum for key in self.subkeys}


def subkey(parent: bytes, text: str) -> bytes:
    """The key that go makes from another and a word.

    Args:
        parent: 32 bytes.
        text: Such as `stdout`.
    """
    return sha256(b"subkey:" + parent + text.encode("utf-8", "surrogateescape")).digest()


def unquote(quoted: bytes) -> bytes | None:
    """What Go's `%q` wrote; None if it is no such text.

    Args:
        quoted: With its quotation marks.
    """
    if len(quoted) < 2 or not quoted.startswith(b'"') or not quoted.endswith(b'"'):
        return None
    inner = quoted[1:-1]
    if b"\\" not in inner:
        return None if b'"' in inner else inner
    try:
        return _QUOTED.sub(_plain, inner)
    except (ValueError, OverflowError):
        return None


def _plain(match: "re.Match[bytes]") -> bytes:
    byte, short, long, letter = match.groups()
    if letter is not None:
        return _LETTERS.get(letter, letter)
    if byte is not None:
        return bytes((int(byte, 16),))
    return chr(int(short or long, 16)).encode("utf-8", "surrogatepass")


def parse_hash_log(data: bytes) -> HashLog:
    """Read a log: all that a go command wrote to its standard error."""
    reader = _Reader()
    for line in _LINE.findall(data):
        if not line.startswith(b"HASH") or not reader.take(line.rstrip(b"\n")):
            reader.rest += line
    return reader.end()


@dataclass(slots=True)
class _Group:
    """Blocks of one name that are open at the same time, and what was written since the first of them was opened."""

    open: int = 0
    writes: list[bytes] = field(default_factory=list)
    mixed: bool = False


class _Reader:
    """Takes line after line."""

    def __init__(self) -> None:
        self.rest = bytearray()
        self._blocks: list[Block] = []
        self._files: dict[str, str] = {}
        self._subkeys: list[Subkey] = []
        self._unproven = 0
        self._groups: dict[bytes, _Group] = {}

    def take(self, line: bytes) -> bool:
        """Take a line; False if it is none of the log."""
        if line.startswith(b"HASH["):
            return self._block_line(line)
        if line.startswith(b"HASH subkey "):
            return self._subkey_line(line)
        return line.startswith(b"HASH ") and self._file_line(line)

    def end(self) -> HashLog:
        """All that was taken."""
        left = sum(group.open for group in self._groups.values())
        return HashLog(tuple(self._blocks), self._files, tuple(self._subkeys), self._unproven + left, bytes(self.rest))

    def _block_line(self, line: bytes) -> bool:
        name, found, said = line[5:].partition(b"]: ")
        if not found:
            if line.endswith(b"]"):
                self._open(line[5:-1])
            return line.endswith(b"]")
        group = self._groups.get(name)
        if said.startswith(b'"'):
            text = unquote(said)
            if text is not None and group is not None:
                group.writes.append(text)
            return text is not None
        digest = _digest(said)
        if digest is not None:
            self._close(name, group, digest)
        return digest is not None

    def _open(self, name: bytes) -> None:
        group = self._groups.setdefault(name, _Group())
        group.open += 1
        group.mixed |= group.open > 1

    def _close(self, name: bytes, group: _Group | None, digest: bytes) -> None:
        writes = None if group is None or not group.open else _writes_of(group, digest)
        if writes is None:
            self._unproven += 1
        else:
            self._blocks.append(Block(_text(name), tuple(writes), digest))
        if group is None:
            return
        group.open = max(0, group.open - 1)
        if not group.open:
            del self._groups[name]

    def _subkey_line(self, line: bytes) -> bool:
        match = _SUBKEY.fullmatch(line)
        text = None if match is None else unquote(match[2])
        if match is None or text is None:
            return False
        key = Subkey(bytes.fromhex(match[1].decode()), _text(text), bytes.fromhex(match[3].decode()))
        if subkey(key.parent, key.text) == key.sum:
            self._subkeys.append(key)
        else:
            self._unproven += 1
        return True

    def _file_line(self, line: bytes) -> bool:
        digest = line[-_HEX:]
        if _digest(digest) is not None and line[-_HEX - 2 : -_HEX] == b": ":
            self._files[_text(line[5 : -_HEX - 2])] = digest.decode()
            return True
        path, found, said = line[5:].partition(b": ")
        if found:
            self._files[_text(path)] = _text(said)
        return bool(found)


def _writes_of(group: _Group, digest: bytes) -> list[bytes] | None:
    """The writes that this sum proves, taken out of the group; None if none were found."""
    if _proves(group.writes, digest):
        writes, group.writes = group.writes, []
        return writes
    if group.mixed and len(group.writes) <= _MIXED:
        for chosen in _choices(group):
            writes = [group.writes[at] for at in chosen]
            if _proves(writes, digest):
                taken = set(chosen)
                group.writes = [text for at, text in enumerate(group.writes) if at not in taken]
                return writes
    return None


def _choices(group: _Group) -> Iterator[Sequence[int]]:
    """Which writes may belong together: runs first, then all but a few, bounded. Each begins with a salt."""
    count, tries = len(group.writes), 0
    salt = group.writes[0] if group.writes else b""
    starts = [at for at, text in enumerate(group.writes) if text == salt]
    for start in starts:
        for end in range(count, start, -1):
            tries += 1
            if tries > _TRIES:
                return
            yield range(start, end)
    rest = [at for at in range(count) if at not in set(starts)]
    for size in range(1, len(rest) + 1):
        for left_out in combinations(rest, size):
            tries += 1
            if tries > _TRIES:
                return
            out = set(left_out)
            yield [starts[0], *(at for at in rest if at not in out)]


def _proves(writes: Sequence[bytes], digest: bytes) -> bool:
    return sha256(b"".join(writes)).digest() == digest


def _digest(text: bytes) -> bytes | None:
    if len(text) != _HEX or text.strip(b"0123456789abcdef"):
        return None
    return bytes.fromhex(text.decode("ascii"))


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
