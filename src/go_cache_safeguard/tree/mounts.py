"""What is mounted below a directory.

Knows:     the lines of /proc/self/mountinfo and their octal escapes.
Called by: `snapshot.quarantine` before every act, and checks that report mounts inside a cache.
Never:     says "nothing is mounted" when the list cannot be read: that is a `MountsUnreadable`, so UNKNOWN.
Source:    proc_pid_mountinfo(5); Linux fs/proc_namespace.c `show_mountinfo` and lib/seq_file `mangle_path`.

A bind mount of the same filesystem has the same st_dev as its surroundings and travels with a renamed parent, so comparing
st_dev is not enough: only this list tells.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from go_cache_safeguard.core.errors import ExitCode, Failure

_ESCAPE = re.compile(rb"\\([0-7]{3})")


class MountsUnreadable(Failure):
    """Nobody can say what is mounted where."""

    id = "mounts-unreadable"
    exit_code = ExitCode.COULD_NOT_TELL
    meaning = "the list of mounts cannot be read, so nothing may be moved or removed"


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of the list.

    Attributes:
        id: Number of the mount, as `mnt_id` in /proc/self/fdinfo.
        parent: Number of the mount it lies on.
        device: `major:minor` of the filesystem.
        root: Which directory of that filesystem is shown; not `/` for a bind mount of a part.
        point: Where it is mounted, absolute; bytes that are not UTF-8 are surrogate escapes.
    """

    id: int
    parent: int
    device: str
    root: str
    point: str


def parse_mountinfo(data: bytes) -> tuple[Mount, ...]:
    """Read the whole list.

    Args:
        data: Content of /proc/self/mountinfo.

    Raises:
        MountsUnreadable: A line is not what the manual page says, so the rest cannot be trusted either.
    """
    return tuple(_parse_line(line) for line in data.split(b"\n") if line)


def mounts_below(path: Path) -> tuple[str, ...]:
    """Mount points strictly below a directory, bind mounts included.

    Args:
        path: Absolute and resolved.

    Raises:
        MountsUnreadable: The list cannot be read.
    """
    try:
        data = Path("/proc/self/mountinfo").read_bytes()
    except OSError as error:
        raise MountsUnreadable(
            f"/proc/self/mountinfo cannot be read: {error}",
            not_done="nothing was touched",
            hint="mount /proc where this program runs",
        ) from error
    below = f"{path}".rstrip("/") + "/"
    return tuple(sorted({mount.point for mount in parse_mountinfo(data) if mount.point.startswith(below)} - {below}))


def _parse_line(line: bytes) -> Mount:
    fields = line.split(b" ")
    try:
        number, parent, device, root, point = fields[:5]
        return Mount(int(number), int(parent), _text(device), _text(root), _text(point))
    except ValueError as error:
        raise MountsUnreadable(
            f"a line of mountinfo has no meaning: {line!r}", not_done="nothing was touched"
        ) from error


def _text(field: bytes) -> str:
    plain = _ESCAPE.sub(lambda match: bytes([int(match[1], 8) & 0xFF]), field)
    return plain.decode("utf-8", "surrogateescape")
