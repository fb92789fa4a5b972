"""How many, and the first few by name.

Knows:     how a count with examples is put into one line of evidence.
Called by: the checks; `gocache.survey` and `flows` fill it.
Never:     holds every name: a cache has a hundred thousand.
Source:    a shape of ours; it holds no fact about Go.
"""

from dataclasses import dataclass

FIRST = 3
"""How many examples are kept."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Things of one kind.

    Attributes:
        count: How many there are.
        first: The first few, printable.
    """

    count: int = 0
    first: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.count > 0

    def plus(self, name: str) -> "Tally":
        """One more."""
        return Tally(self.count + 1, (*self.first, name) if len(self.first) < FIRST else self.first)

    def line(self, what: str) -> str:
        """For example `2 entries: ab/abcd-a, cd/cdef-d`."""
        more = ", ..." if self.count > len(self.first) else ""
        return f"{self.count} {what}" + (f": {', '.join(self.first)}{more}" if self.first else "")
