"""How a flow tells that it is alive.

Knows:     the three things a flow says while it works.
Called by: every long flow; the command line gives a bar, tests and `--quiet` give `Silent`.
Never:     prints.
"""

from typing import Protocol


class Progress(Protocol):
    """Told of phases by name, and of what was done in them."""

    def phase(self, name: str, total: int | None = None) -> None:
        """A new phase begins. `total` is in files, when it is known."""

    def update(self, files: int, size: int = 0) -> None:
        """So many files and bytes are done in this phase, counted from its start."""

    def say(self, text: str) -> None:
        """Something a person would want to know now."""


class Silent:
    """Says nothing."""

    def phase(self, name: str, total: int | None = None) -> None:
        """Nothing."""

    def update(self, files: int, size: int = 0) -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""
