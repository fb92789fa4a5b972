"""What must not leave in a span: secrets and people.

Knows:     names of attributes and shapes of texts that give somebody away, and the three ways to take them out.
Called by: `telemetry.tail` before export, `signals.receive` before disk; `signals.collector` compiles the same policy.
Never:     says what it took out, and takes time that grows faster than a text: repetitions here are bounded, a site's own
           patterns are automata (`core.pattern`).
Source:    OpenTelemetry semantic conventions for names; RFC 6750 (bearer), RFC 7519 (JWT), RFC 3986 (userinfo),
           ISO/IEC 7812-1 (card numbers, Luhn), AWS IAM reference (prefixes of key ids).

A hashed value is the first half of SHA-256 over key and value. HMAC would do as well, but the Collector's language has none,
and both engines must give the same digest. What makes a plain keyed SHA-256 weaker, that somebody who sees a digest can go on
from it, needs the whole digest; half of it tells nothing. Without a key such values are masked: whoever knows that user ids are
numbers would have every digest of them in a second.
"""

import hashlib
import re
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

from go_cache_safeguard.telemetry.rules import Glob, Redaction

MASK: Final = "[redacted]"
DIGEST: Final = 32
"""Hexadecimal digits of a hashed value."""
DROPPED: Final = tuple(
    Glob(name)
    for name in (
        "*authorization",
        "*cookie",
        "*cookies",
        "*x-api-key",
        "*api-key",
        "*apikey",
        "*password",
        "*passwd",
        "*secret",
        "*access-token",
        "*refresh-token",
        "*id-token",
        "*session-token",
        "*csrf-token",
        "*private-key",
        "*credential",
        "*credentials",
    )
)
"""Names of attributes that go; `_` is `-`, and upper case lower."""
HASHED: Final = tuple(
    Glob(name) for name in ("user.id", "user.name", "user.email", "enduser.id", "client.address", "session.id")
)
_REMEMBERED = 4_096
_SHORT = 256
_DEEPEST = 20


class _Way(Enum):
    KEEP = 0
    DROP = 1
    HASH = 2
    MASK = 3


# What texts are searched for; `signals.scrub` has the Collector search for the same.
HEADERS = re.compile(r"(?i)\b((?:proxy-)?authorization|(?:set-)?cookie2?)\b[\"']?\s{0,8}[:=][^\r\n]*")
PEM = re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*", re.DOTALL)
BEARER = re.compile(r"(?i)\b(bearer|basic|negotiate|digest|token)\s{1,8}[A-Za-z0-9._~+/=-]{6,}")
TOKENS = re.compile(
    r"\beyJ[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*){1,4}"
    r"|(?:A3T[A-Z0-9]|AKIA|ASIA|AGPA|AIDA|AROA|AIPA|ANPA|ANVA)[A-Z0-9]{16}"
    r"|\b(?:gh[pousr]_|github_pat_|glpat-|xox[abeprs]-|sk_live_|rk_live_|AIza|ya29\.)[A-Za-z0-9_-]{10,}"
)
USERINFO = re.compile(r"(://)[^/\s@?#]{1,512}@")
EMAIL = re.compile(r"[A-Za-z0-9._%+'-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}")
_VALUE = r"(?:\"[^\"\r\n]*\"?|'[^'\r\n]*'?|[^&#;,\s\"'}\])]+)"
PAIRS = re.compile(
    r"(?i)((?<![A-Za-z])(?:(?:access|refresh|id|auth|api|private|session|csrf|security|secret|client|aws|x-amz)[_-]?){0,4}"
    r"(?:token|secret|passwd|password|pwd|passphrase|signature|credentials?|sessionid|jwt|assertion|"
    r"(?:api|private|secret|access)[_-]?key|(?<=[?&;])(?:key|sig|auth|code))[\"']?\s{0,8}(?:=|:|%3D)\s{0,8})" + _VALUE
)
CARD = re.compile(r"(?<![\d.])[2-6]\d(?:[ -]?\d){11,17}(?![\d])")


def _card(found: "re.Match[str]") -> str:
    return "[card]" if _luhn(found[0]) else found[0]


def _luhn(text: str) -> bool:
    """Whether the last digit is the check digit of a card number."""
    digits = [int(char) for char in reversed(text) if char.isdigit()]
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


def _default_text(text: str) -> str:
    """A text without what the package knows. Each look is made only if the text has a character it needs."""
    if ":" in text or "=" in text or "%3" in text:
        text = HEADERS.sub(rf"\1: {MASK}", text)
        text = USERINFO.sub(rf"\1{MASK}@", text) if "@" in text else text
        text = PAIRS.sub(rf"\1{MASK}", text)
    text = PEM.sub(MASK, text) if "PRIVATE KEY" in text else text
    text = TOKENS.sub(MASK, text)
    text = BEARER.sub(rf"\1 {MASK}", text) if " " in text or "\t" in text else text
    text = EMAIL.sub("[email]", text) if "@" in text else text
    return CARD.sub(_card, text)


class Redactor:
    """One policy, ready to be asked often. What was harmless is remembered, so that the same route is not looked at again.

    Args:
        policy: What is taken out, and how.
        key: Of hashed values; without one they are masked.
    """

    def __init__(self, policy: Redaction, key: bytes = b"") -> None:
        self._policy, self._key = policy, key
        self._names: dict[str, tuple[_Way, str]] = {}
        self._harmless: set[str] = set()

    def attributes(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """Attributes without what must not leave; values keep their kinds, except that what is hashed or masked is text."""
        return self._mapping(attributes, 0)

    def text(self, text: str) -> str:
        """A name, a message or a value without what must not leave."""
        if text in self._harmless:
            return text
        found = _default_text(text) if self._policy.defaults else text
        for pattern in self._policy.patterns:
            if pattern.pattern.matches(found.encode("utf-8", "surrogatepass")):
                return f"[{pattern.name}]"
        if found == text and len(text) <= _SHORT:
            if len(self._harmless) >= _REMEMBERED:
                self._harmless.clear()
            self._harmless.add(text)
        return found

    def hashed(self, value: object) -> str:
        """What stands for a value that must be found again but not known."""
        if not self._key:
            return MASK
        data = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
        return hashlib.sha256(self._key + data).hexdigest()[:DIGEST]

    def _mapping(self, attributes: Mapping[str, Any], depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        names, harmless = self._names, self._harmless
        for name, value in attributes.items():
            way, clean = names.get(name) or self._name(name)
            if way is _Way.KEEP:
                found[clean] = value if type(value) is str and value in harmless else self._value(value, depth)
            elif way is not _Way.DROP:
                found[clean] = self.hashed(value) if way is _Way.HASH else MASK
        return found

    def _value(self, value: Any, depth: int) -> Any:
        match value:
            case str():
                return self.text(value)
            case bool() | float() | None:
                return value
            case int():
                return value if abs(value) < 10**12 or self.text(str(value)) == str(value) else MASK
            case bytes():
                return self._bytes(value)
            case Mapping() | list() | tuple() if depth >= _DEEPEST:
                return MASK
            case Mapping():
                return self._mapping(value, depth + 1)
            case list() | tuple():
                return tuple(self._value(part, depth + 1) for part in value)
        return self.text(str(value))

    def _bytes(self, value: bytes) -> bytes:
        """Bytes as they are, or nothing of them: what is found in the middle of a packed value cannot be cut out."""
        text = value.decode("latin-1")
        return value if self.text(text) == text else MASK.encode()

    def _name(self, name: str) -> tuple[_Way, str]:
        """What is done with an attribute, and its name as it may leave."""
        if len(self._names) >= _REMEMBERED:
            self._names.clear()
        known = self._names[name] = (self._way_of(name), self.text(name))
        return known

    def _way_of(self, name: str) -> _Way:
        """The strictest that is said of a name; what the site says first, then the package's own list."""
        policy, lower = self._policy, name.lower()
        for way, globs in ((_Way.DROP, policy.drop), (_Way.MASK, policy.mask), (_Way.HASH, policy.hash)):
            if any(Glob(glob.text.lower()).matches(lower) for glob in globs):
                return way
        if policy.defaults:
            plain = lower.replace("_", "-")
            if any(glob.matches(plain) for glob in DROPPED):
                return _Way.DROP
            if any(glob.matches(lower) for glob in HASHED):
                return _Way.HASH
        return _Way.KEEP
