"""SARIF as its schema demands it."""

import json
from typing import Any

import jsonschema
import pytest

from go_cache_safeguard.debt.finding import Api, Finding, Kind
from go_cache_safeguard.debt.sarif import sarif

TEXT = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string", "minLength": 1}}}
LEVEL = {"enum": ["none", "note", "warning", "error"]}
LOCATION = {
    "type": "object",
    "required": ["physicalLocation"],
    "properties": {
        "physicalLocation": {
            "type": "object",
            "required": ["artifactLocation"],
            "properties": {
                "artifactLocation": {"properties": {"uri": {"type": "string", "pattern": "^[!-~]+$"}}},
                "region": {
                    "properties": {key: {"type": "integer", "minimum": 1} for key in ("startLine", "startColumn")}
                },
            },
        }
    },
}
RESULT = {
    "type": "object",
    "required": ["message"],
    "properties": {
        "message": TEXT,
        "level": LEVEL,
        "baselineState": {"enum": ["new", "unchanged", "updated", "absent"]},
        "locations": {"type": "array", "items": LOCATION},
        "partialFingerprints": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}
NOTIFICATION = {
    "required": ["message"],
    "properties": {"message": TEXT, "level": LEVEL, "locations": {"items": LOCATION}},
}
INVOCATION = {
    "required": ["executionSuccessful"],
    "properties": {"executionSuccessful": {"type": "boolean"}, "toolExecutionNotifications": {"items": NOTIFICATION}},
}
RUN = {
    "required": ["tool"],
    "properties": {
        "tool": {"required": ["driver"], "properties": {"driver": {"required": ["name"]}}},
        "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
        "invocations": {"items": INVOCATION},
        "results": {"items": RESULT},
    },
}
SCHEMA = {
    "type": "object",
    "required": ["version", "runs"],
    "properties": {"version": {"const": "2.1.0"}, "runs": {"type": "array", "items": RUN}},
}
"""What the published schema of SARIF 2.1.0 demands of the parts that we write."""


@pytest.mark.parametrize("unknown", [{}, {"b ä.py": "cannot be read"}])
def test_the_document_has_the_form_that_the_schema_demands(unknown: dict[str, str]) -> None:
    known = Finding("src/a b.py", 3, 7, Api.OPENTRACING, Kind.START, "tracer.start_span", "00")
    new = Finding("src/a b.py", 9, 1, Api.OPENTELEMETRY, Kind.FINISH, "span.end", "11")
    document: dict[str, Any] = json.loads(json.dumps(sarif([known, new], [new], unknown)))
    jsonschema.validate(document, SCHEMA)
    (run,) = document["runs"]
    assert [one["baselineState"] for one in run["results"]] == ["unchanged", "new"]
    assert {one["ruleId"] for one in run["results"]} <= {rule["id"] for rule in run["tool"]["driver"]["rules"]}
    assert run["invocations"][0]["executionSuccessful"] is not bool(unknown)
    assert run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "src/a%20b.py"
