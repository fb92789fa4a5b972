"""What the items of a plan for a build cache are, counted: a plan itself lists names that are hashes.

Knows:     where it is remembered what each output is, and by what people want it counted.
Called by: `flows.clean`, when an operation is held.
Never:     reads the cache: what no look has seen, or could not remember, is UNKNOWN. Fails because nothing is remembered.

An index entry is counted with the output that it names. `(none)` is what was looked at and is not compiled, so that it has
neither package nor toolchain: results of tests, package indexes, lists of sources.
"""

from collections.abc import Callable
from pathlib import Path

from go_cache_safeguard.approval.evidence import CONTENTS, UNKNOWN, Sorting, counted
from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.plan import Item, Plan
from go_cache_safeguard.flows.plan import KIND
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.gocache.entry import Entry
from go_cache_safeguard.gocache.fsck import Facts, Memory
from go_cache_safeguard.gocache.index import Index
from go_cache_safeguard.gocache.inventory import Inventory
from go_cache_safeguard.gocache.layout import parse_name

NONE = "(none)"
_MOST = 20
"""Groups of a table that are named."""


def contents_of(session: Session, plan: Plan, seen: Inventory | None = None) -> dict[str, Value]:
    """Tables of what would go, by package, kind and toolchain, for the record HELD.

    Args:
        session: In whose state it is remembered.
        plan: What would go.
        seen: What a look has just seen, for what cannot be remembered: things that are damaged, or too young.

    Returns:
        The tables as `CONTENTS`; nothing if it is another kind of plan, or if nothing at all is known.
    """
    if plan.kind != KIND:
        return {}
    facts = _facts(session, plan, seen)
    if not facts:
        return {}

    def by(word: str, name: Callable[[Facts], str]) -> Value:
        def of(item: Item) -> str:
            fact = facts.get(item.name)
            return UNKNOWN if fact is None else name(fact)

        return counted(plan.items, Sorting(word, of), most=_MOST)

    return {CONTENTS: [by("package", _package), by("kind", _kind), by("toolchain", _toolchain)]}


def _facts(session: Session, plan: Plan, seen: Inventory | None) -> dict[str, Facts]:
    """What is known of the output that each item is or names, by the item's name."""
    parsed = {item.name: of for item in plan.items if (of := parse_name(item.name)) is not None}
    actions = {key for key, suffix in parsed.values() if suffix == "a"}
    outputs = {key for key, suffix in parsed.values() if suffix == "d"}
    index = Index(session.index_path(Path(plan.target)), plan.identity, read_only=True)
    try:
        memory = index.recall(actions, outputs)
    finally:
        index.close()
    if seen is not None:
        memory = _with(memory, seen)
    found: dict[str, Facts] = {}
    for name, (key, suffix) in parsed.items():
        fact = memory.outputs.get(key if suffix == "d" else memory.actions.get(key, b""))
        if fact is not None:
            found[name] = fact
    return found


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
