"""Redaction as the Collector does it: the same policy as `telemetry.redact`, as processors `transform` and `redaction`.

Knows:     which names go, are hashed or masked, which texts are searched for, and what OTTL can say of it.
Called by: `signals.collector`.
Never:     lets something through that `telemetry.redact` would take out and OTTL can reach; where OTTL cannot do the same it takes out more.
Source:    opentelemetry-collector-contrib v0.140: pkg/ottl/ottlfuncs, processor/transformprocessor, processor/redactionprocessor.

What differs, because OTTL has no loops: a hashed name with `*` is masked, a hashed value that is neither text nor a whole number is
masked, every number of the shape of a card is taken for one, and what is found inside of lists, maps and numbers is `****`. Attributes of
links and bytes cannot be reached at all.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from go_cache_safeguard.signals.ottl import any_of, glob_regex, go_regex, quoted
from go_cache_safeguard.telemetry.redact import (
    BEARER,
    CARD,
    DIGEST,
    DROPPED,
    EMAIL,
    HASHED,
    HEADERS,
    MASK,
    PAIRS,
    PEM,
    TOKENS,
    USERINFO,
)
from go_cache_safeguard.telemetry.rules import Glob, Redaction

_IN_NAME: Final = '[^"]*'
NEVER: Final = r"\z."
"""Matches nothing."""


def _pairs() -> str:
    """The pattern of names and secret values without looking back, which Go cannot do: what is before is in the first group."""
    text = PAIRS.pattern.replace("((?<![A-Za-z])", "((?:(?:^|[^A-Za-z])", 1)
    return re.sub(r"\|\(\?<=(\[[^]]+\])\)(\(\?:[^)]+\))\)", r")|\1\2)", text, count=1)


def _pairs_in_json() -> str:
    """The same where quotes may be escaped, several times over: from the name on, all of it."""
    names, _, _ = _pairs().partition(r"[\"']?\s{0,8}")
    return f"(?s){names}\\\\*[\"']?\\s{{0,8}}(?:=|:|%3D)).*"


def _card() -> str:
    """The pattern of card numbers, likewise; what is before and after are the groups."""
    text = CARD.pattern.replace(r"(?<![\d.])", r"(^|[^\d.])", 1)
    return text.replace(r"(?![\d])", r"([^\d]|$)", 1)


TEXTS: Final = (
    (HEADERS.pattern, f"$1: {MASK}"),
    (USERINFO.pattern, f"$1{MASK}@"),
    (_pairs(), f"$1{MASK}"),
    (f"(?s){PEM.pattern}", MASK),
    (TOKENS.pattern, MASK),
    (BEARER.pattern, f"$1 {MASK}"),
    (EMAIL.pattern, "[email]"),
    (_card(), "$1[card]$2"),
)
"""What texts are searched for, and what stands in its place, in this order."""


def processors(policy: Redaction) -> dict[str, Mapping[str, Any]]:
    """The processors that redact; they belong into every pipeline by which spans or logs leave, in this order."""
    attributes = [*_attributes(policy)]
    paths = ("name", "status.message", "body", "version", "schema_url")
    name, message, body, version, schema = ([*_text(policy, path)] for path in paths)
    resource = {"context": "resource", "statements": [*attributes, *schema]}
    scope = {"context": "scope", "statements": [*attributes, *name, *version, *schema]}
    return {
        "transform/redaction": {
            "error_mode": "propagate",
            "trace_statements": [
                resource,
                scope,
                {"context": "span", "statements": [*attributes, *name, *message, *_STATE]},
                {"context": "spanevent", "statements": [*attributes, *name]},
            ],
            "log_statements": [resource, scope, {"context": "log", "statements": [*attributes, *body]}],
        },
        "redaction": _net(policy),
    }


_OT: Final = r"ot=(?:th:[0-9a-f]{1,14}|rv:[0-9a-f]{14})(?:;(?:th:[0-9a-f]{1,14}|rv:[0-9a-f]{14}))?"
_STATE: Final = (
    f'replace_pattern(trace_state, {quoted(f"^(?:.*,)?[ ]*({_OT})(?:[;, ].*)?$")}, "$1")',
    f'set(trace_state, "") where not IsMatch(trace_state, {quoted(f"^{_OT}$")})',
)
"""Of a tracestate only what says how a trace was sampled; the rest is other systems' and is not known."""


def names(policy: Redaction) -> dict[str, Mapping[str, Any]]:
    """The processor for a pipeline that only metrics come out of: what they take from a span is its name and its service."""
    service = [*_text(policy, 'attributes["service.name"]')]
    statements = [
        {"context": "resource", "statements": service},
        {"context": "span", "statements": [*_text(policy, "name")]},
    ]
    return {"transform/names": {"error_mode": "propagate", "trace_statements": statements}}


def _attributes(policy: Redaction) -> Iterator[str]:
    """Statements for one mapping. What the site says of a name comes before what the package says of it."""
    if policy.drop:
        yield f"delete_matching_keys(attributes, {quoted(_names(policy.drop))})"
    yield 'set(cache["kept"], attributes)'
    masked = _masked(policy)
    yield f'keep_matching_keys(cache["kept"], {quoted(_names(masked) if masked else NEVER)})'
    if masked:
        yield f'replace_all_patterns(cache["kept"], "value", "(?s)^.*$", {quoted(MASK)})'
        yield f"delete_matching_keys(attributes, {quoted(_names(masked))})"
    for name in _exact(policy.hash):
        yield from _hashed(name, policy.key_variable)
    if policy.defaults:
        dropped = any_of(glob_regex(glob, dashes=True) for glob in DROPPED)
        yield f"delete_matching_keys(attributes, {quoted(dropped)})"
        for name in _exact(HASHED):
            yield from _hashed(name, policy.key_variable)
    for regex, instead in _searched(policy):
        for mode in ("value", "key"):
            yield f"replace_all_patterns(attributes, {quoted(mode)}, {quoted(regex)}, {quoted(instead)})"
    yield 'merge_maps(attributes, cache["kept"], "upsert")'


def _text(policy: Redaction, path: str) -> Iterator[str]:
    """Statements for one text."""
    for regex, instead in _searched(policy):
        yield f"replace_pattern({path}, {quoted(regex)}, {quoted(instead)})"


def _searched(policy: Redaction) -> Iterator[tuple[str, str]]:
    yield from TEXTS if policy.defaults else ()
    for own in policy.patterns:
        yield f"(?s)^.*(?:{go_regex(own.regex)}).*$", f"[{own.name}]"


def _hashed(name: str, variable: str) -> Iterator[str]:
    """Put the digest of an attribute aside, or its mask without a key, so that no other statement sees it."""
    key, path, kept = quoted(f"${{env:{variable}}}"), f"attributes[{quoted(name)}]", f'cache["kept"][{quoted(name)}]'
    digest = f'Substring(SHA256(Concat([{key}, {path}], "")), 0, {DIGEST})'
    yield f'replace_all_patterns(attributes, "key", {quoted(any_of([re.escape(name)]))}, {quoted(name)})'
    yield f"set({kept}, {quoted(MASK)}) where {path} != nil"
    yield f'set({kept}, {digest}) where {key} != "" and (IsString({path}) or IsInt({path}))'
    yield f"delete_key(attributes, {quoted(name)})"


def _net(policy: Redaction) -> Mapping[str, Any]:
    """What the statements cannot reach: lists, maps and numbers, each looked at as the JSON it would be printed as.

    From the name of something secret inside of a map on, all of it goes.
    """
    own = [go_regex(pattern.regex) for pattern in policy.patterns]
    known = [glob_regex(glob, dashes=True) for glob in (*DROPPED, *HASHED)] if policy.defaults else []
    inner = [*known, *map(glob_regex, (*policy.drop, *policy.hash, *policy.mask))]
    named = [f'(?is)"(?:{"|".join(inner).replace(".*", _IN_NAME)})":.*'] if inner else []
    return {
        "allow_all_keys": True,
        "redact_all_types": True,
        "ignored_keys": [*_exact(policy.hash), *(_exact(HASHED) if policy.defaults else ())],
        "allowed_values": [re.escape(MASK)],
        "blocked_key_patterns": [_names(masked)] if (masked := _masked(policy)) else [],
        "blocked_values": [
            *named,
            *((_pairs_in_json(), *(regex for regex, _ in TEXTS)) if policy.defaults else ()),
            *own,
        ],
        "summary": "silent",
    }


def _masked(policy: Redaction) -> tuple[Glob, ...]:
    return (*policy.mask, *(glob for glob in policy.hash if "*" in glob.text))


def _exact(globs: tuple[Glob, ...]) -> tuple[str, ...]:
    return tuple(glob.text for glob in globs if "*" not in glob.text)


def _names(globs: tuple[Glob, ...]) -> str:
    return any_of(map(glob_regex, globs))
