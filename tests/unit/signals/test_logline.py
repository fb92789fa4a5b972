"""Lines of logs."""

import json

from go_cache_safeguard.signals.logline import read_lines
from go_cache_safeguard.telemetry.logs import json_line
from go_cache_safeguard.telemetry.names import ids_of


def test_our_own_lines_and_those_of_otlp_are_read_and_others_counted() -> None:
    op = "op_0123456789abcdef"
    ours = json_line("warning", "redis", "held", {"op": op}, at_s=12.5)
    record = {
        "timeUnixNano": "12500000000",
        "severityText": "ERROR",
        "body": {"stringValue": "no answer"},
        "traceId": "AB" * 16,
        "attributes": [{"key": "guard.op_id", "value": {"stringValue": op}}],
    }
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "pay"}}]}
    theirs = json.dumps({"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": [record]}]}]})
    read = read_lines([ours, theirs, "no json", "[1]", "", '{"resourceLogs": 5}'], "guard.op_id")
    assert read.unread == 3
    own, other = read.lines
    assert (own.at_ns, own.service, own.level, own.operation) == (12_500_000_000, "redis", "warning", op)
    assert own.trace_id == ids_of(op).trace.hex()
    assert (other.at_ns, other.service, other.message, other.trace_id, other.operation) == (
        12_500_000_000,
        "pay",
        "no answer",
        "ab" * 16,
        op,
    )
