"""The metrics of a machine without a server: a file for the textfile collector of node_exporter.

Knows:     how such a file is replaced as a whole, so that nobody ever reads half of one.
Called by: `flows.alerts`, after a command has written to the journal and while somebody follows it; `flows.debt`, `flows.debt_rewrite`.
Never:     fails what it is about; writes through a link, or into somebody else's file.
Source:    node_exporter's README, "Textfile Collector": files end in `.prom`, are read at any time, and are to be moved into place.
"""

import fcntl
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from go_cache_safeguard.config.layer import ConfigBad
from go_cache_safeguard.flows.metrics import Counting, families_of, registry_of
from go_cache_safeguard.journal.store import directory

if TYPE_CHECKING:
    from go_cache_safeguard.config.resolve import Config

_TURN_S = 2.0
_READABLE = 0o644
_MOST = 8 << 20
"""bytes of an old content that are looked at."""


def textfile_of(config: "Config") -> Path | None:
    """The file that the settings name; None if they name none.

    Raises:
        ConfigBad: node_exporter would not read it.
    """
    named = config.text("metrics.textfile")
    if not named:
        return None
    if not named.endswith(".prom"):
        raise ConfigBad(f"metrics.textfile {named} does not end in .prom, so node_exporter would not read it")
    return Path(named)


def write_textfile(path: Path, counting: Counting | None) -> None:
    """Replace the file.

    Args:
        path: In a directory that is there.
        counting: What was counted; None if the journal cannot be read.

    Raises:
        OSError: It cannot be written; the old one is as it was.
    """
    from prometheus_client import generate_latest  # noqa: PLC0415 - loaded where it is used

    text = generate_latest(registry_of(families_of(counting)))
    replace_text(path, lambda _before: text)


def replace_text(path: Path, text_after: Callable[[bytes], bytes], *, mode: int = _READABLE) -> None:
    """Replace a file as a whole, while nobody else does.

    Args:
        path: In a directory that is there.
        text_after: Given the old content, or nothing, says the new one.
        mode: The permissions that it gets.

    Raises:
        OSError: It cannot be written; the old one is as it was.
    """
    with directory(path.parent) as folder:
        _take_turns(folder)
        name = f".{path.name}.new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        file = os.open(name, flags, _READABLE, dir_fd=folder)
        try:
            found = os.fstat(file)
            if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1 or found.st_uid != os.geteuid():
                raise OSError(f"{path.parent / name} is not a file of ours")
            os.ftruncate(file, 0)
            os.fchmod(file, mode)
            os.write(file, text_after(_content(path.name, folder)))
            os.fsync(file)
        finally:
            os.close(file)
        os.replace(name, path.name, src_dir_fd=folder, dst_dir_fd=folder)


def _content(name: str, folder: int) -> bytes:
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return b""
    with os.fdopen(file, "rb") as reader:
        return reader.read(_MOST) if stat.S_ISREG(os.fstat(file).st_mode) else b""


def _take_turns(folder: int) -> None:
    """Wait until nobody else writes; whoever has died holds nothing.

    Raises:
        BlockingIOError: Somebody writes for too long.
    """
    until = time.monotonic() + _TURN_S
    while True:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return
