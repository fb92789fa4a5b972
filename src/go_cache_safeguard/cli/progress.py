"""What a person sees while something takes long.

Knows:     phase names, rate and time left, on a terminal; one line per phase elsewhere is too much, so nothing.
Called by: `cli.options.session`.
Never:     writes to stdout: that is for data.
"""

import sys
import time
from typing import TYPE_CHECKING

from go_cache_safeguard.core.duration import format_duration
from go_cache_safeguard.core.size import format_size
from go_cache_safeguard.flows.progress import Progress, Silent

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status

_EVERY_S = 0.1


class OnTerminal:
    """One line on stderr that is rewritten, and goes away when the work ends."""

    def __init__(self) -> None:
        self._console: Console | None = None
        self._status: Status | None = None
        self._name = ""
        self._total: int | None = None
        self._began = self._shown = 0.0

    def phase(self, name: str, total: int | None = None) -> None:
        """Name what is being done now; an empty name ends the line."""
        self._name, self._total, self._began, self._shown = name, total, time.monotonic(), 0.0
        if not name:
            self._stop()
            return
        if self._status is None:
            from rich.console import Console

            self._console = Console(stderr=True)
            self._status = self._console.status(name)
            self._status.start()
        self._status.update(name)

    def update(self, files: int, size: int = 0) -> None:
        """Show files, bytes, rate and, when the total is known, the time left."""
        now = time.monotonic()
        if self._status is None or now - self._shown < _EVERY_S:
            return
        self._shown = now
        took = max(now - self._began, 1e-6)
        words = [
            f"{self._name}  {files:,} files"
            if self._total is None
            else f"{self._name}  {files:,}/{self._total:,} files"
        ]
        if size:
            words.append(f"{format_size(size)}, {format_size(int(size / took))}/s")
        else:
            words.append(f"{files / took:,.0f}/s")
        if self._total and files:
            words.append(f"{format_duration((self._total - files) * took / files)} left")
        self._status.update(", ".join(words))

    def say(self, text: str) -> None:
        """Print a line above the moving one."""
        if self._console is not None and self._status is not None:
            self._console.print(text, markup=False, highlight=False)
        else:
            sys.stderr.write(text + "\n")

    def _stop(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None


class OnPipe(Silent):
    """Elsewhere: only what a person must know."""

    def say(self, text: str) -> None:
        """Print a line."""
        sys.stderr.write(text + "\n")


def progress_for(*, quiet: bool) -> Progress:
    """Choose by where stderr goes."""
    if quiet:
        return Silent()
    return OnTerminal() if sys.stderr.isatty() else OnPipe()
