"""Lines of a log: one document each, with the trace of the operation that they are about."""

import json
import logging

import pytest

from go_cache_safeguard.flows.redis_voice import Voice
from go_cache_safeguard.telemetry.logs import JsonLines, json_line
from go_cache_safeguard.telemetry.names import ids_of


def test_a_line_is_one_document_whatever_the_message_holds() -> None:
    line = json_line("info", "serve", "a\nb\x1b[2J\u2028", {"left": 3}, at_s=1_700_000_000.25)
    assert "\n" not in line
    assert line.isascii()
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "info",
        "source": "serve",
        "message": "a\nb\x1b[2J\u2028",
        "left": 3,
    }


def test_a_line_about_an_operation_names_its_trace() -> None:
    said = json.loads(json_line("info", "redis-proxy", "op_1 is held", {"op": "op_1"}))
    assert said["trace_id"] == ids_of("op_1").trace.hex()
    assert said["span_id"] == ids_of("op_1").root.hex()


def test_logging_writes_the_same_lines_and_no_text_of_an_error() -> None:
    about = (ValueError, ValueError("hunter2"), None)
    record = logging.LogRecord("go_cache_safeguard.web", logging.WARNING, "", 0, "%s is late", ("x",), about)
    said = json.loads(JsonLines().format(record))
    assert (said["level"], said["source"], said["message"]) == ("warning", "go_cache_safeguard.web", "x is late")
    assert said["error"] == "ValueError"
    assert "hunter2" not in json.dumps(said)


def test_a_proxy_logs_as_json_on_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    Voice(worker=1, log_json=True).tell("held", "op_1: DEL user:1 from 10.0.0.1", op="op_1")
    out, err = capfd.readouterr()
    said = json.loads(err)
    assert out == ""
    assert (said["event"], said["worker"], said["trace_id"]) == ("held", 1, ids_of("op_1").trace.hex())
