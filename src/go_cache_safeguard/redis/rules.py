"""What a site wants: how each class of command is treated, and which keys may go.

Knows:     how the words of the settings `redis.*` become rules, and what the rules say to one command or call.
Called by: `flows`, `redis.checks.names`.
Never:     is lenient with what it does not know: an unknown command is held or refused, whatever else is set.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from go_cache_safeguard.core.pattern import Pattern, PatternError, parse_pattern
from go_cache_safeguard.redis.commands import Class, Command, Treatment
from go_cache_safeguard.redis.intent import Intent, KeyUse

TREATMENTS: Mapping[Class, Treatment] = {
    Class.READ: Treatment.PASS,
    Class.SESSION: Treatment.PASS,
    Class.WRITE: Treatment.PASS,
    Class.EXPIRES: Treatment.PROTECT,
    Class.EMPTIES: Treatment.PROTECT,
    Class.OVERWRITES: Treatment.PROTECT,
    Class.REMOVES: Treatment.CHECK,
    Class.FLUSHES: Treatment.HOLD,
    Class.SCRIPT: Treatment.HOLD,
    Class.SERVER: Treatment.HOLD,
    Class.UNKNOWN: Treatment.HOLD,
}
"""What is done when nobody says otherwise. Pops, overwrites and expiries are ordinary traffic of a cache."""

_ORDER = tuple(Treatment)
_STRICT = frozenset({Treatment.PROTECT, Treatment.CHECK, Treatment.HOLD})
_SHA1 = re.compile(r"[0-9a-f]{40}", re.ASCII)


class RulesError(ValueError):
    """Words that make no rule; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The site's wishes.

    Attributes:
        treatments: Of each class; what is missing is treated as `TREATMENTS` says.
        overrides: Of single commands, by their names in upper case, such as `CONFIG SET`.
        protect: Keys that nothing may be lost of.
        allow: If not empty, only such keys may lose something.
        namespaces: If not empty, only keys of these may lose something; a namespace is what stands before the separator.
        scripts: SHA-1 of scripts that were looked at.
        separator: Between the parts of a name.
        depth: How many parts a pattern must tell before its first wildcard.
    """

    treatments: Mapping[Class, Treatment] = field(default_factory=lambda: TREATMENTS)
    overrides: Mapping[str, Treatment] = field(default_factory=dict)
    protect: tuple[Pattern, ...] = ()
    allow: tuple[Pattern, ...] = ()
    namespaces: frozenset[bytes] = frozenset()
    scripts: frozenset[str] = frozenset()
    separator: bytes = b":"
    depth: int = 2

    def of_intent(self, intent: Intent) -> Treatment:
        """What is done with one call; with a transaction, what is done with the worst of it."""
        if intent.parts:
            return max(map(self.of_intent, intent.parts), key=_ORDER.index)
        return self._treatment(intent.name, intent.treatment, intent.cls)

    def judged(self, intent: Intent) -> tuple[KeyUse, ...]:
        """The keys whose names decide: of which something may be lost, or that the site wants left as they are."""
        uses = dict.fromkeys(intent.losing)
        for part in intent.parts or (intent,):
            if part.cls is Class.WRITE and self.of_intent(part) in _STRICT:
                uses |= dict.fromkeys(part.changing)
        return tuple(uses)

    def of_command(self, command: Command) -> Treatment:
        """What is done with a command in its worst form."""
        return self._treatment(command.name, command.treatment, command.cls)

    def _treatment(self, name: str, wanted: Treatment | None, cls: Class) -> Treatment:
        if cls is Class.UNKNOWN:
            return max(self.treatments.get(cls, Treatment.HOLD), Treatment.HOLD, key=_ORDER.index)
        return self.overrides.get(name) or wanted or self.treatments.get(cls, TREATMENTS[cls])


def parse_patterns(text: str) -> tuple[Pattern, ...]:
    r"""Read patterns with white space between them; `?` or `\x20` stands for a space inside of one.

    Raises:
        RulesError: One of them cannot be used.
    """
    found = []
    for word in text.split():
        try:
            found.append(parse_pattern(word))
        except PatternError as error:
            raise RulesError(f"{word!r}: {error}") from error
    return tuple(found)


def parse_overrides(text: str) -> dict[str, Treatment]:
    """Read `KEYS=hold CONFIG|SET=check`: a command, its subcommand after a bar, what is done.

    Raises:
        RulesError: One of them makes no sense.
    """
    found = {}
    for word in text.split():
        name, equals, treatment = word.partition("=")
        if not (name and equals and treatment in _ORDER):
            raise RulesError(f"{word!r} is not COMMAND=TREATMENT; treatments are {', '.join(_ORDER)}")
        found[name.upper().replace("|", " ")] = Treatment(treatment)
    return found


def parse_scripts(text: str) -> frozenset[str]:
    """Read SHA-1 digests with white space between them.

    Raises:
        RulesError: One of them is none.
    """
    words = text.lower().split()
    for word in words:
        if _SHA1.fullmatch(word) is None:
            raise RulesError(f"{word!r} is not a SHA-1 of 40 hexadecimal digits")
    return frozenset(words)
