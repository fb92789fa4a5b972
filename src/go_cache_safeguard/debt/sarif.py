"""Findings as SARIF 2.1.0, for code scanning.

Knows:     which rule a finding breaks, and how a place, a baseline and what could not be read are said there.
Called by: `flows.debt`.
Never:     writes a file.
Source:    SARIF 2.1.0 (OASIS), 3.14 run, 3.27 result, 3.20 invocation: a check that could not read everything was not successful.
"""

from collections.abc import Mapping, Sequence
from urllib.parse import quote

from go_cache_safeguard import __version__
from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.debt.finding import Api, Finding, Kind

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_ACTS = {
    Kind.IMPORT: "imports or names",
    Kind.BUILD: "builds a span with",
    Kind.START: "starts a span with",
    Kind.FINISH: "ends a span of",
    Kind.CARRY: "carries a context with",
    Kind.GLOBAL: "asks for the global tracer of",
}
_TITLES = {Api.OPENTRACING: "OpenTracing", Api.OPENTELEMETRY: "OpenTelemetry"}


def sarif(findings: Sequence[Finding], new: Sequence[Finding], unknown: Mapping[str, str]) -> Mapping[str, Value]:
    """The document.

    Args:
        findings: All that are debt.
        new: Those that no baseline knows.
        unknown: Files that could not be told about, with the reason.
    """
    rules: list[Value] = [
        {
            "id": f"{api}/{kind}",
            "shortDescription": {"text": _text(api, kind)},
            "defaultConfiguration": {"level": "error"},
        }
        for api in Api
        for kind in Kind
    ]
    fresh = set(map(id, new))
    results: list[Value] = [_result(one, new=id(one) in fresh) for one in findings]
    notes: list[Value] = [
        {"level": "error", "message": {"text": f"UNKNOWN: {why}"}, "locations": [{"physicalLocation": _file(file)}]}
        for file, why in unknown.items()
    ]
    run: Value = {
        "tool": {"driver": {"name": "go-cache-safeguard traces migrate-check", "version": __version__, "rules": rules}},
        "columnKind": "unicodeCodePoints",
        "invocations": [{"executionSuccessful": not unknown, "toolExecutionNotifications": notes}],
        "results": results,
    }
    return {"version": "2.1.0", "$schema": _SCHEMA, "runs": [run]}


def _result(finding: Finding, *, new: bool) -> Value:
    region: Value = {"startLine": finding.line, "startColumn": finding.column}
    return {
        "ruleId": f"{finding.api}/{finding.kind}",
        "level": "error" if new else "note",
        "baselineState": "new" if new else "unchanged",
        "message": {"text": f"{finding.symbol}: {_text(finding.api, finding.kind)}"},
        "locations": [{"physicalLocation": {**_file(finding.file), "region": region}}],
        "partialFingerprints": {"lineAndSymbol/v1": f"{finding.line_hash}:{finding.symbol}"},
    }


def _file(name: str) -> dict[str, Value]:
    return {"artifactLocation": {"uri": quote(name, errors="surrogateescape")}}


def _text(api: Api, kind: Kind) -> str:
    return f"this {_ACTS[kind]} {_TITLES[api]}"
