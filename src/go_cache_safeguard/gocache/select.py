"""Which entries of a build cache would go.

Knows:     the selectors of `plan` and `clean`, how they combine, and that an output stays while a kept entry names it.
Called by: `flows.plan`.
Never:     touches the cache; asks the time (it is an argument).
Source:    Go marks `-a` as used at Get and `-d` at OutputFile, at most once an hour (cmd/go/internal/cache/cache.go,
           `used` and `mtimeInterval`, go1.21 to go1.27); the same file's `Trim` is the reason for the grace of orphans.

Filters (`--package`, `--kind`, `--dead-toolchains`, `--unused-for`) narrow each other: an entry goes when it passes all of
them. Budgets (`--max-size`, `--min-free`) then take what passed, longest unused first, until the budget is met.
Sizes are apparent ones; what a disk gives back is at least that.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from go_cache_safeguard.core.duration import format_duration
from go_cache_safeguard.core.plan import Item
from go_cache_safeguard.gocache.classify import Kind
from go_cache_safeguard.gocache.entry import Entry
from go_cache_safeguard.gocache.inventory import Action, Inventory, Output
from go_cache_safeguard.gocache.layout import action_name, output_name

ORPHAN_GRACE_S = 3_900
"""seconds: an output without entry may be half of a running Put; Go itself is never later than its hour with a mark."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What the person asked for.

    Attributes:
        everything: `--all`: no filter.
        unused_for_s: Seconds since the last use, at least.
        installed: For `--dead-toolchains`: versions that are installed (`go1.26.8`); what any other one made goes.
        packages: Import paths or patterns with `*`; `p/...` means p and all below.
        kinds: Kinds of output.
        orphans: Only outputs that no entry names.
        keep_bytes: Budget: after the removal at most this many bytes are left.
        free_bytes: Budget: this many bytes must go at least.
    """

    everything: bool = False
    unused_for_s: int | None = None
    installed: frozenset[str] | None = None
    packages: tuple[str, ...] = ()
    kinds: frozenset[Kind] = frozenset()
    orphans: bool = False
    keep_bytes: int | None = None
    free_bytes: int | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing was asked for: then nothing is planned."""
        return self == Selection()


@dataclass(slots=True)
class _Group:
    """What goes or stays together: one output with all entries that name it, or entries without output.

    Archives are 1:1 with entries. Other outputs (the empty one above all) are named by many; each entry is judged alone.
    """

    used_ns: int
    reason: str
    action: Action | None
    output: Output | None


def select(inventory: Inventory, selection: Selection, *, now_ns: int) -> tuple[Item, ...]:
    """Plan a removal.

    Args:
        inventory: What is in the cache.
        selection: What was asked for.
        now_ns: The present, in nanoseconds since 1970-01-01 UTC.

    Returns:
        Items sorted by name: index entries, and the outputs that no kept entry names.
    """
    if selection.empty:
        return ()
    named_by = {output: len(actions) for output, actions in inventory.references.items()}
    groups = sorted(_candidates(inventory, selection, named_by, now_ns), key=lambda group: group.used_ns)
    budget = _budget(inventory, selection)
    items: list[Item] = []
    for group in groups:
        if budget is not None and budget <= 0:
            break
        gone = 0
        if group.action is not None:
            items.append(_action_item(group.action, group.reason))
            gone += group.action.size
        if group.output is not None:
            left = named_by.get(group.output.output, 0)
            if group.action is not None:
                left -= 1
                named_by[group.output.output] = left
            if left <= 0:
                items.append(_output_item(group.output, group.reason))
                gone += group.output.size
        if budget is not None:
            budget -= gone
    return tuple(sorted(items, key=lambda item: item.name))


def _budget(inventory: Inventory, selection: Selection) -> int | None:
    """How many bytes have to go, or None when there is no budget."""
    asked = []
    if selection.keep_bytes is not None:
        asked.append(inventory.size - selection.keep_bytes)
    if selection.free_bytes is not None:
        asked.append(selection.free_bytes)
    return max(asked) if asked else None


def _candidates(
    inventory: Inventory, selection: Selection, named_by: dict[bytes, int], now_ns: int
) -> Iterator[_Group]:
    if not selection.orphans:
        for action in inventory.actions.values():
            output = inventory.outputs.get(action.entry.output) if isinstance(action.entry, Entry) else None
            alone = output is not None and named_by.get(output.output) == 1
            used_ns = max(action.mtime_ns, output.mtime_ns) if output is not None and alone else action.mtime_ns
            reason = _reason(selection, output, now_ns - used_ns)
            if reason:
                yield _Group(used_ns, reason, action, output)
    for output in inventory.outputs.values():
        if output.output in named_by:
            continue
        age_ns = now_ns - output.mtime_ns
        if age_ns < ORPHAN_GRACE_S * 10**9 and not selection.everything:
            continue
        reason = "orphan" if selection.orphans else _reason(selection, output, age_ns)
        if reason:
            yield _Group(output.mtime_ns, reason, None, output)


def _reason(selection: Selection, output: Output | None, age_ns: int) -> str:
    """Why it goes, or empty when it stays."""
    if selection.everything:
        return "all"
    passed = (
        _by_kind(selection, output),
        _by_package(selection, output),
        _by_toolchain(selection, output),
        _by_age(selection, age_ns),
    )
    if "" in passed:
        return ""
    words = [word for word in passed if word is not None]
    if selection.keep_bytes is not None or selection.free_bytes is not None:
        words.append("budget")
    return ", ".join(words)


# Each filter says None when it was not asked, nothing when the output does not pass, and a few words when it does.


def _by_kind(selection: Selection, output: Output | None) -> str | None:
    if not selection.kinds:
        return None
    return f"kind {output.kind.value}" if output is not None and output.kind in selection.kinds else ""


def _by_package(selection: Selection, output: Output | None) -> str | None:
    if not selection.packages:
        return None
    package = output.about.package if output is not None and output.about is not None else None
    pattern = next((pattern for pattern in selection.packages if package and matches(pattern, package)), None)
    return f"package {pattern}" if pattern else ""


def _by_toolchain(selection: Selection, output: Output | None) -> str | None:
    if selection.installed is None:
        return None
    version = output.about.version if output is not None and output.about is not None else ""
    return f"dead toolchain {version}" if version and version not in selection.installed else ""


def _by_age(selection: Selection, age_ns: int) -> str | None:
    if selection.unused_for_s is None:
        return None
    long_enough = age_ns >= selection.unused_for_s * 10**9
    return f"unused for {format_duration(selection.unused_for_s)}" if long_enough else ""


def matches(pattern: str, package: str) -> bool:
    """Whether a package is meant: `fmt`, `net/...` (it and all below), or `example.com/*`.

    Source: `go help packages`: "x/..." also matches x itself.
    """
    if pattern.endswith("/..."):
        stem = pattern[:-4]
        return package == stem or package.startswith(stem + "/")
    return fnmatchcase(package, pattern)


def _action_item(action: Action, reason: str) -> Item:
    return Item(action_name(action.action), action.size, action.mtime_ns, reason)


def _output_item(output: Output, reason: str) -> Item:
    return Item(output_name(output.output), output.size, output.mtime_ns, reason)


def split(items: Iterable[Item]) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
    """Index entries and outputs, apart: the two phases of a live-safe removal."""
    first: list[Item] = []
    second: list[Item] = []
    for item in items:
        (first if item.name.endswith("-a") else second).append(item)
    return tuple(first), tuple(second)
