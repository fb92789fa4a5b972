"""What goes of what may go.

Knows:     how budgets limit a collection, in which order entries go, and that an output stays while an entry that stays names it.
Called by: `flows.gc`.
Never:     takes an entry that is marked, unless a person asked for exactly that; never one that is safe.
Source:    an archive has one entry, the empty output those of half of all steps (counted in caches of go1.21.13 to go1.27.3).

Without a budget everything goes that nobody needs. With one, as much as it takes, best bargain first: the most bytes for each second
that making it again would take. Sizes are apparent ones; what a disk gives back is at least that.
"""

from collections.abc import Callable
from dataclasses import dataclass

from go_cache_safeguard.core.plan import Item
from go_cache_safeguard.gocache.entry import Damage, Entry
from go_cache_safeguard.gocache.inventory import Action, Inventory, Output
from go_cache_safeguard.gocache.layout import action_name, output_name
from go_cache_safeguard.gocache.reach import Marks

UNREACHABLE = "no root needs it"
DAMAGED = "go cannot read it, and no root needs it"
ORPHAN = "no entry names it"
EVICTED = "evicted although a root needs it"
_INSTANT_S = 1e-4
"""seconds: nothing is made again in less."""
Price = Callable[[Output], float]
"""CPU seconds that making an output again takes."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How much is to go.

    Attributes:
        keep_bytes: At most so much is left; None for no such budget.
        free_bytes: At least so much goes; likewise.
        reserve: At least so much is left, whatever else is asked for.
        evict_live: Whether what roots need may go if all else is not enough.
    """

    keep_bytes: int | None = None
    free_bytes: int | None = None
    reserve: int = 0
    evict_live: bool = False

    def to_go(self, size: int) -> int | None:
        """Bytes that have to go of so many; None for all that may."""
        asked = [size - self.keep_bytes] if self.keep_bytes is not None else []
        asked += [self.free_bytes] if self.free_bytes is not None else []
        if not asked and not self.reserve:
            return None
        wanted = max(asked) if asked else size
        return max(0, min(wanted, size - self.reserve))

    def may_go(self, size: int) -> int:
        """Bytes that may go at most of so many."""
        return max(0, size - self.reserve)

    @property
    def limits(self) -> bool:
        """Whether somebody named a size to get to."""
        return self.keep_bytes is not None or self.free_bytes is not None


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen.

    Attributes:
        items: What goes, sorted by name.
        gone: Bytes of it.
        short: Bytes that a budget asks for besides, and nothing is left that may go.
        evicted: Bytes of what goes although a root needs it.
        seconds: CPU seconds that making all of it again would take.
    """

    items: tuple[Item, ...]
    gone: int
    short: int
    evicted: int
    seconds: float


@dataclass(slots=True)
class _Candidate:
    """One entry, or an output that no entry names."""

    action: Action | None
    output: Output | None
    reason: str
    bargain: float
    seconds: float
    used_ns: int


def choose(inventory: Inventory, marks: Marks, budget: Budget, *, price: Price, grace_s: int, now_ns: int) -> Choice:
    """Choose what goes.

    Args:
        inventory: What is in the cache.
        marks: What stays.
        budget: How much is to go.
        price: What making an output again takes.
        grace_s: An output without an entry stays for so many seconds: it may be half of a running Put.
        now_ns: The present, in nanoseconds since 1970-01-01 UTC.
    """
    size = inventory.size
    chooser = _Chooser(inventory, price, budget.to_go(size), budget.may_go(size))
    unneeded = [
        chooser.candidate(action, DAMAGED if isinstance(action.entry, Damage) else UNREACHABLE)
        for key, action in inventory.actions.items()
        if key not in marks.safe and key not in marks.needed
    ]
    orphans = [
        _Candidate(None, output, ORPHAN, float("inf"), 0.0, output.mtime_ns)
        for output in inventory.orphans()
        if now_ns - output.mtime_ns >= grace_s * 10**9
    ]
    chooser.take([*orphans, *unneeded])
    if budget.evict_live and budget.limits:
        needed = (key for key in marks.needed if key not in marks.safe)
        chooser.take([chooser.candidate(inventory.actions[key], EVICTED) for key in needed])
    return chooser.choice()


class _Chooser:
    """Takes candidates, best bargain first, until enough has gone."""

    def __init__(self, inventory: Inventory, price: Price, to_go: int | None, most: int) -> None:
        self._inventory, self._price, self._to_go, self._most = inventory, price, to_go, most
        self._named = {output: len(actions) for output, actions in inventory.references.items()}
        self._items: list[Item] = []
        self._gone = self._evicted = 0
        self._seconds = 0.0

    def candidate(self, action: Action, reason: str) -> _Candidate:
        """An entry, with its output if no other entry names that."""
        output = self._inventory.outputs.get(action.entry.output) if isinstance(action.entry, Entry) else None
        alone = output is not None and self._named[output.output] == 1
        seconds = self._price(output) if output is not None and alone else 0.0
        size = action.size + (output.size if output is not None and alone else 0)
        used_ns = max(action.mtime_ns, output.mtime_ns) if output is not None and alone else action.mtime_ns
        return _Candidate(action, output, reason, size / max(seconds, _INSTANT_S), seconds, used_ns)

    def take(self, candidates: list[_Candidate]) -> None:
        """Take of these what is still to go."""
        if self._to_go is not None:
            candidates.sort(key=lambda one: (-one.bargain, one.used_ns))
        for one in candidates:
            if self._to_go is not None and self._gone >= self._to_go:
                break
            parts = self._parts(one)
            size = sum(item.size for item in parts)
            if self._gone + size > self._most:
                continue
            self._keep_count(one)
            self._items += parts
            self._gone += size
            self._evicted += size if one.reason is EVICTED else 0
            self._seconds += one.seconds

    def _parts(self, one: _Candidate) -> list[Item]:
        parts = []
        if one.action is not None:
            parts.append(Item(action_name(one.action.action), one.action.size, one.action.mtime_ns, one.reason))
        if one.output is not None and self._left(one, one.output) <= 0:
            parts.append(Item(output_name(one.output.output), one.output.size, one.output.mtime_ns, one.reason))
        return parts

    def _left(self, one: _Candidate, output: Output) -> int:
        """How many entries still name an output when this one has gone."""
        return self._named.get(output.output, 0) - (one.action is not None)

    def _keep_count(self, one: _Candidate) -> None:
        if one.output is not None:
            self._named[one.output.output] = self._left(one, one.output)

    def choice(self) -> Choice:
        """What was taken."""
        items = tuple(sorted(self._items, key=lambda item: item.name))
        short = 0 if self._to_go is None else max(0, self._to_go - self._gone)
        return Choice(items, self._gone, short, self._evicted, self._seconds)
