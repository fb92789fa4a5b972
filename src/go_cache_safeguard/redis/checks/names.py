"""May keys of these names lose something?

Knows:     what protected and allowed patterns, namespaces and wildcards say to a name.
Called by: `flows`, with the keys of one command and the patterns that chose them.
Never:     looks at the first key only; compares with anything that could take long.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from go_cache_safeguard.core.check import Check
from go_cache_safeguard.core.pattern import is_glob, is_whole_keyspace
from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.redis.checks.tell import counted, name_of
from go_cache_safeguard.redis.rules import Rules

CHECK = Check(
    id="redis-names",
    title="names of keys",
    question="May every key that a command would take away or overwrite lose something, going by its name?",
    blind_spot="A name says nothing of the value; a script can touch keys that it does not name.",
)


@dataclass(frozen=True, slots=True)
class NameFacts:
    """What one command is about.

    Attributes:
        keys: All of which something may be lost, or that may change where the rules are so strict.
        patterns: By which they were chosen, if they were; as in SCAN.
        rules: The site's wishes.
    """

    keys: Sequence[bytes]
    rules: Rules
    patterns: Sequence[bytes] = ()


def judge(facts: NameFacts) -> Verdict:
    """BLOCK for each key or pattern that a rule forbids; names are never unknown."""
    wrong = list(_problems(facts))
    if not wrong:
        return Verdict(CHECK.id, Outcome.PASS, f"{counted(len(facts.keys), 'key')}, no name is protected")
    return Verdict(
        check=CHECK.id,
        outcome=Outcome.BLOCK,
        summary=wrong[0] if len(wrong) == 1 else f"{wrong[0]}, and {len(wrong) - 1} more",
        evidence=tuple(wrong[:20]),
        remedy=("name the keys that may go, or change redis.protect, redis.allow or redis.namespaces",),
    )


def may_lose(key: bytes, rules: Rules) -> bool:
    """Whether the rules let something be lost of a key of this name."""
    return next(_protected(key, rules), None) is None


def _problems(facts: NameFacts) -> Iterator[str]:
    for glob in facts.patterns:
        if is_whole_keyspace(glob, facts.rules.separator, facts.rules.depth):
            yield f"the pattern {name_of(glob)} takes in a whole key space"
    for key in facts.keys:
        if is_glob(key) and is_whole_keyspace(key, facts.rules.separator, facts.rules.depth):
            yield f"the key {name_of(key)} looks like a pattern of a whole key space; a server would take it for a name"
        yield from _protected(key, facts.rules)


def _protected(key: bytes, rules: Rules) -> Iterator[str]:
    name = name_of(key)
    for pattern in rules.protect:
        if pattern.matches(key):
            yield f"the key {name} is protected by {name_of(pattern.text)}"
            break
    if rules.allow and not any(pattern.matches(key) for pattern in rules.allow):
        yield f"the key {name} is of no allowed pattern"
    namespace = key.partition(rules.separator)[0] if rules.separator in key else b""
    if rules.namespaces and namespace not in rules.namespaces:
        yield f"the key {name} is in no allowed namespace"
