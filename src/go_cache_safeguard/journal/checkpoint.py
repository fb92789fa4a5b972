"""What is signed of a journal: how many records it has, and the root of the tree over them.

Knows:     the lines of a checkpoint, and what makes text not one.
Called by: `journal.checkpoints`, `flows.witness` and `flows.audit`.
Never:     says who signed it: that is `journal.note`.
Source:    https://c2sp.org/tlog-checkpoint.
"""

import re
from base64 import b64decode, b64encode
from dataclasses import dataclass

from go_cache_safeguard.journal.merkle import SIZE

_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A journal as it was once.

    Attributes:
        origin: Names the journal; see `origin_of`.
        size: How many records it had.
        root: 32 bytes, of the tree over all of them.
        extensions: More lines; ours have none.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What is signed."""
        root = b64encode(self.root).decode("ascii")
        return "".join(f"{line}\n" for line in (self.origin, str(self.size), root, *self.extensions))


def origin_of(log: str) -> str:
    """The origin of a journal's checkpoints.

    Args:
        log: Its id, 32 hexadecimal digits.
    """
    return f"go-cache-safeguard/{log}"


def parse_checkpoint(text: str) -> Checkpoint | str:
    """Read the text of a note.

    Returns:
        The checkpoint, or why this is not one.
    """
    *lines, end = text.split("\n")
    if end or len(lines) < 3 or not all(lines):
        return "a checkpoint is three lines or more, none of them empty"
    origin, size, coded, *extensions = lines
    if not _NUMBER.fullmatch(size):
        return "the second line of a checkpoint is a number"
    try:
        root = b64decode(coded, validate=True)
    except ValueError:
        root = b""
    found = Checkpoint(origin, int(size), root, tuple(extensions))
    if len(root) != SIZE or found.text != text:
        return "the third line of a checkpoint is a hash"
    return found
