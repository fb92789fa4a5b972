"""What a cache consists of, in numbers that a person can take in.

Knows:     sums by kind, toolchain, target, race detector and age, and what could be reclaimed.
Called by: `flows` for `status`; renderers print it.
Never:     decides what goes. Age is that of the last use, to the hour, as `go` writes it into mtime; what a process of
           another user used does not count, because it cannot write mtimes.
Source:    cmd/go/internal/cache/cache.go (`mtimeInterval`, `trimLimit`), read in go1.21.13 and go1.27.3.

Bytes are apparent sizes. Index entries are counted apart: each takes 175 bytes and a block of the disk.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from go_cache_safeguard.gocache.inventory import (
    UNKNOWN,
    Inventory,
    Output,
    kind_of,
    race_of,
    target_of,
    toolchain_of,
)

DAY_NS = 86_400_000_000_000
UNUSED_NS = 5 * DAY_NS
"""After this `go` itself trims an entry (cmd/go/internal/cache/cache.go, `trimLimit`)."""

AGES = (("under 1 hour", DAY_NS // 24), ("under 1 day", DAY_NS), ("under 5 days", UNUSED_NS))
OLDEST = "5 days or more"


@dataclass(frozen=True, slots=True)
class Amount:
    """How much of something there is.

    Attributes:
        files: How many.
        size: Bytes, apparent.
    """

    files: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """One line of a table.

    Attributes:
        name: What is counted.
        amount: How much of it there is.
    """

    name: str
    amount: Amount


@dataclass(frozen=True, slots=True)
class Summary:
    """A cache in numbers. Tables are sorted by size, largest first; ages from young to old.

    Attributes:
        entries: Index entries.
        outputs: Outputs.
        disk: Bytes that both take on the disk.
        by_kind: Outputs by what they are.
        by_toolchain: Archives and programs by what made them.
        by_target: Archives and programs by `GOOS/GOARCH`.
        by_race: Archives and programs by whether the race detector is in.
        by_age: Outputs by last use.
        orphans: Outputs that no entry names; they can go at once, unless a build is just making them.
        dead: Archives and programs of toolchains that are not installed; None if it is not known what is installed.
        unused: Outputs that were not used for five days: the next trim takes them.
        foreign: What `go` did not put there.
        fuzz: The user's fuzzing inputs, which are never touched.
    """

    entries: Amount
    outputs: Amount
    disk: int
    by_kind: tuple[Part, ...]
    by_toolchain: tuple[Part, ...]
    by_target: tuple[Part, ...]
    by_race: tuple[Part, ...]
    by_age: tuple[Part, ...]
    orphans: Amount
    dead: Amount | None
    unused: Amount
    foreign: Amount
    fuzz: Amount


def summarize(inventory: Inventory, *, now_ns: int, installed: Collection[str] | None = None) -> Summary:
    """Add up a cache.

    Args:
        inventory: What is there.
        now_ns: The time, in nanoseconds since 1970-01-01 UTC.
        installed: Toolchains that are there, such as `go1.27.3`; None if that is not known.
    """
    outputs = inventory.outputs.values()
    made = [output for output in outputs if output.about is not None]
    dead = None
    if installed is not None:
        dead = _amount(output.size for output in made if toolchain_of(output) not in {*installed, UNKNOWN})
    return Summary(
        entries=_amount(action.size for action in inventory.actions.values()),
        outputs=_amount(output.size for output in outputs),
        disk=inventory.disk,
        by_kind=parts_of(outputs, kind_of),
        by_toolchain=parts_of(made, toolchain_of),
        by_target=parts_of(made, target_of),
        by_race=parts_of(made, race_of),
        by_age=_by_age(outputs, now_ns),
        orphans=_amount(output.size for output in inventory.orphans()),
        dead=dead,
        unused=_amount(output.size for output in outputs if now_ns - output.mtime_ns >= UNUSED_NS),
        foreign=_amount(item.size for item in inventory.foreign),
        fuzz=Amount(inventory.fuzz.files, inventory.fuzz.size),
    )


def age_of(output: Output, now_ns: int) -> str:
    """The word for how long ago an output was used; a time in the future is young."""
    age = now_ns - output.mtime_ns
    return next((name for name, limit in AGES if age < limit), OLDEST)


def _amount(sizes: Iterable[int]) -> Amount:
    files = size = 0
    for one in sizes:
        files += 1
        size += one
    return Amount(files, size)


def parts_of(outputs: Iterable[Output], key: Callable[[Output], str]) -> tuple[Part, ...]:
    """Divide outputs by anything, the largest part first."""
    sums: dict[str, list[int]] = {}
    for output in outputs:
        amount = sums.get(name := key(output))
        if amount is None:
            sums[name] = [1, output.size]
        else:
            amount[0] += 1
            amount[1] += output.size
    parts = [Part(name, Amount(files, size)) for name, (files, size) in sums.items()]
    return tuple(sorted(parts, key=lambda part: (-part.amount.size, part.name)))


def _by_age(outputs: Iterable[Output], now_ns: int) -> tuple[Part, ...]:
    amounts = {part.name: part.amount for part in parts_of(outputs, lambda output: age_of(output, now_ns))}
    return tuple(Part(name, amounts.get(name, Amount())) for name in (*(name for name, _limit in AGES), OLDEST))
