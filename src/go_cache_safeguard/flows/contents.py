"""What the items of a plan for a build cache are, counted: a plan itself lists names that are hashes.

Knows:     where it is remembered what each output is, and by what people want it counted.
Called by: `flows.clean`, when an operation is held.
Never:     reads the cache: what no look has seen, or could not remember, is UNKNOWN. Fails because nothing is remembered.

An index entry is counted with the output that it names. `(none)` is what was looked at and is not compiled, so that it has
neither package nor toolchain: results of tests, package indexes, lists of sources.

What it costs to make an output again counts once, whether the output itself would go, or the entries without which go does not find it.
"""

from collections.abc import Callable
from pathlib import Path

from go_cache_safeguard.approval.evidence import CONTENTS, REBUILD, UNKNOWN, Sorting, counted
from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.plan import Item, Plan
from go_cache_safeguard.flows.costs import costs
from go_cache_safeguard.flows.plan import KIND
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.gocache.cost import Cost, Costs, total
from go_cache_safeguard.gocache.entry import Entry
from go_cache_safeguard.gocache.fsck import Facts, Memory
from go_cache_safeguard.gocache.index import Index
from go_cache_safeguard.gocache.inventory import Inventory
from go_cache_safeguard.gocache.layout import parse_name

NONE = "(none)"
_MOST = 20
"""Groups of a table that are named."""


def contents_of(session: Session, plan: Plan, seen: Inventory | None = None) -> dict[str, Value]:
    """Tables of what would go, by package, kind and toolchain, and what making it again costs, for the record HELD.

    Args:
        session: In whose state it is remembered.
        plan: What would go.
        seen: What a look has just seen, for what cannot be remembered: things that are damaged, or too young.

    Returns:
        The tables as `CONTENTS` and the price as `REBUILD`; nothing if it is another kind of plan, or if nothing at all is known.
    """
    if plan.kind != KIND:
        return {}
    memory = _memory(session, plan, seen)
    facts = {
        name: fact for name, key in _outputs(plan, memory).items() if (fact := memory.outputs.get(key)) is not None
    }
    if not facts:
        return {}

    def by(word: str, name: Callable[[Facts], str]) -> Value:
        def of(item: Item) -> str:
            fact = facts.get(item.name)
            return UNKNOWN if fact is None else name(fact)

        return counted(plan.items, Sorting(word, of), most=_MOST)

    return {
        CONTENTS: [by("package", _package), by("kind", _kind), by("toolchain", _toolchain)],
        REBUILD: _rebuild(session, plan, memory, seen),
    }


def _rebuild(session: Session, plan: Plan, memory: Memory, seen: Inventory | None) -> dict[str, Value]:
    """The price of making again what would go, in CPU milliseconds; `evidence.REBUILD` tells the form."""
    known = costs(session, () if seen is None else tuple(seen.outputs.values()))
    sizes = {} if seen is None else {key: output.size for key, output in seen.outputs.items()}
    named = _outputs(plan, memory)
    sizes |= {named[item.name]: item.size for item in plan.items if item.name in named and item.name.endswith("-d")}
    outputs = {item.name: named.get(item.name) for item in plan.items}
    priced = {key: _price(known, memory.outputs.get(key), sizes.get(key)) for key in outputs.values() if key}
    found = total(cost for cost in priced.values() if cost is not None)
    return {
        "outputs": found.entries,
        "measured": found.measured,
        "unknown": sum(cost is None for cost in priced.values()) + sum(key is None for key in outputs.values()),
        "ms": round(found.seconds * 1000),
        "measured_ms": round(found.measured_s * 1000),
        "low_ms": round(found.low * 1000),
        "high_ms": round(found.high * 1000),
        "rate": f"{known.rate.per_mib:.2f} CPU s for each MiB of archive ({known.rate.source})",
    }


def _price(known: Costs, fact: Facts | None, size: int | None) -> Cost | None:
    """What it costs to make an output again; None if that cannot be told."""
    if fact is None:
        return None
    kind, about = fact
    if size is not None:
        return known.of_kind(kind, about, size)
    return None if about is None else known.of_step(about.build_action)


def _outputs(plan: Plan, memory: Memory) -> dict[str, bytes]:
    """The output that each item is or names, by the item's name; those left out of which it is not known."""
    parsed = {item.name: of for item in plan.items if (of := parse_name(item.name)) is not None}
    found = {name: key if suffix == "d" else memory.actions.get(key) for name, (key, suffix) in parsed.items()}
    return {name: key for name, key in found.items() if key is not None}


def _memory(session: Session, plan: Plan, seen: Inventory | None) -> Memory:
    """What is known of the items, and of the outputs that they name."""
    parsed = [of for item in plan.items if (of := parse_name(item.name)) is not None]
    actions = {key for key, suffix in parsed if suffix == "a"}
    outputs = {key for key, suffix in parsed if suffix == "d"}
    index = Index(session.index_path(Path(plan.target)), plan.identity, read_only=True)
    try:
        memory = index.recall(actions, outputs)
    finally:
        index.close()
    return memory if seen is None else _with(memory, seen)


def _with(memory: Memory, seen: Inventory) -> Memory:
    """What is remembered, and for the rest what things say of themselves now: what is damaged may say anything."""
    named = {key: one.entry.output for key, one in seen.actions.items() if isinstance(one.entry, Entry)}
    facts = {key: (output.kind, output.about) for key, output in seen.outputs.items()}
    return Memory({**facts, **memory.outputs}, {**named, **memory.actions})


def _package(fact: Facts) -> str:
    return NONE if fact[1] is None else fact[1].package or UNKNOWN


def _kind(fact: Facts) -> str:
    return fact[0].value


def _toolchain(fact: Facts) -> str:
    return NONE if fact[1] is None else fact[1].version or UNKNOWN
