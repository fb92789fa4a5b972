"""Evict exactly what is damaged, through the same plan and the same door as a clean.

Knows:     how findings become a plan.
Called by: the command line's `fsck --repair`.
Never:     evicts what is merely unknown, or anything that neither a finding nor a verdict is about.
Source:    go rebuilds silently whatever entry is missing (measured on go1.21, go1.24, go1.27); `go build -a` does not repair
           package indexes.
"""

import time
from collections.abc import Sequence

from go_cache_safeguard.core.plan import Item, Plan
from go_cache_safeguard.flows.plan import plan_of
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.gocache.classify import Kind
from go_cache_safeguard.gocache.damage import Finding
from go_cache_safeguard.gocache.fsck import is_damage
from go_cache_safeguard.gocache.inventory import Inventory
from go_cache_safeguard.gocache.layout import parse_name
from go_cache_safeguard.gocache.select import Selection, select
from go_cache_safeguard.tree.root import Root


def repair_plan(
    session: Session, root: Root, inventory: Inventory, findings: Sequence[Finding], *, indexes: bool = False
) -> Plan:
    """Plan the eviction of everything that is damaged.

    Args:
        session: Who asks.
        root: The cache.
        inventory: What was seen in it.
        findings: What is wrong with it.
        indexes: Go's package indexes disagree with the source. Nothing in an index says which directory it is of, so all of
            them go: they are small, and go makes each again when it next looks at its directory.
    """
    chosen: dict[str, Item] = {}
    for finding in findings:
        if not is_damage(finding):
            continue
        for name in finding.evict:
            item = _item(inventory, name, f"damaged: {finding.kind.value}")
            if item is not None:
                chosen.setdefault(name, item)
    if indexes:
        wanted = Selection(kinds=frozenset({Kind.INDEX}))
        for item in select(inventory, wanted, now_ns=time.time_ns()):
            chosen.setdefault(item.name, item._replace(reason="package index that disagrees with the source"))
    items = tuple(chosen[name] for name in sorted(chosen))
    return plan_of(session, root, items, ("fsck --repair",), inventory.size)


def _item(inventory: Inventory, name: str, reason: str) -> Item | None:
    parsed = parse_name(name)
    if parsed is None:
        return None
    key, suffix = parsed
    found = inventory.actions.get(key) if suffix == "a" else inventory.outputs.get(key)
    return None if found is None else Item(name, found.size, found.mtime_ns, reason)
