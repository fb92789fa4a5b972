"""Python, both APIs."""

SOURCE = '''"""import opentracing"""
import os, opentracing as ot
from opentracing.ext import tags
from opentelemetry import trace
tracer = ot.global_tracer()  # ot.global_tracer()
with tracer.start_active_span("x") as scope:
    pass
old = tracer.start_span("y")
old.finish(); race.finish()
other = trace.get_tracer(__name__)
with other.start_as_current_span("z"):
    new = other.start_span("z")
new.end()
tracer.inject(old.context, ot.Format.TEXT_MAP, {})
'''


def test_both_apis_are_told_apart() -> None:
    from go_cache_safeguard.debt.python import read

    reading = read("shop.py", SOURCE.encode())
    assert reading.damage == 0
    assert [(one.line, one.api.value, one.kind.value, one.symbol) for one in reading.findings] == [
        (2, "opentracing", "import", "opentracing"),
        (3, "opentracing", "import", "opentracing.ext: tags"),
        (4, "opentelemetry", "import", "opentelemetry: trace"),
        (5, "opentracing", "global-tracer", "ot.global_tracer"),
        (6, "opentracing", "start-span", "tracer.start_active_span"),
        (8, "opentracing", "start-span", "tracer.start_span"),
        (9, "opentracing", "finish", "old.finish"),
        (10, "opentelemetry", "global-tracer", "trace.get_tracer"),
        (11, "opentelemetry", "start-span", "other.start_as_current_span"),
        (12, "opentelemetry", "start-span", "other.start_span"),
        (13, "opentelemetry", "finish", "new.end"),
        (14, "opentracing", "inject-extract", "tracer.inject"),
    ]
