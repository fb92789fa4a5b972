"""What changed from one snapshot to another.

Knows:     when a file counts as added, removed, changed or only touched.
Called by: `snapshot diff`.
Never:     looks at anything but two manifests.
"""

from dataclasses import dataclass

from go_cache_safeguard.snapshot.manifest import Entry, Manifest


@dataclass(frozen=True, slots=True)
class Difference:
    """Two manifests, side by side.

    Attributes:
        added: Only in the second.
        removed: Only in the first.
        changed: In both, with another content or mode: as the first and as the second has it.
        touched: Names of files of which only the time moved: used, but not changed.
        same: Files that are alike in everything.
    """

    added: tuple[Entry, ...]
    removed: tuple[Entry, ...]
    changed: tuple[tuple[Entry, Entry], ...]
    touched: tuple[str, ...]
    same: int


def compare(first: Manifest, second: Manifest) -> Difference:
    """Compare two manifests, in the order of names."""
    before = {entry.name: entry for entry in first.entries}
    after = {entry.name: entry for entry in second.entries}
    both = [(before[entry.name], entry) for entry in second.entries if entry.name in before]
    changed = tuple(pair for pair in both if _content(pair[0]) != _content(pair[1]))
    touched = tuple(one.name for one, two in both if one != two and _content(one) == _content(two))
    return Difference(
        added=tuple(entry for entry in second.entries if entry.name not in before),
        removed=tuple(entry for entry in first.entries if entry.name not in after),
        changed=changed,
        touched=touched,
        same=len(both) - len(changed) - len(touched),
    )


def _content(entry: Entry) -> tuple[int, int, str]:
    return entry.size, entry.mode, entry.sha256
