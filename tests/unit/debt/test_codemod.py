"""From one API to the other, or not at all."""

import pytest

BEFORE = '''"""Doc."""
import opentracing
from opentracing.propagation import Format

tracer = opentracing.global_tracer()  # ours


def pay(order, headers):
    with tracer.start_active_span("pay", tags={"a": 1}, finish_on_close=True) as scope:
        scope.span.set_tag("order",   order)   # keep
        scope.span.log_kv({"event": "paid", "sum": 3})
        child = tracer.start_span(operation_name="x", child_of=scope.span)
        child.set_tag("error", True)
        child.log_kv({"event": "error", "error.object": ValueError()})
        tracer.inject(child.context, Format.HTTP_HEADERS, headers)
        child.finish()
    ctx = opentracing.tracer.extract(Format.TEXT_MAP, headers)
    with tracer.start_active_span(
        "y",
        child_of=ctx,
        finish_on_close=True,
    ):
        pass
'''
AFTER = '''"""Doc."""
from opentelemetry import propagate, trace

tracer = trace.get_tracer(__name__)  # ours


def pay(order, headers):
    with tracer.start_as_current_span("pay", attributes={"a": 1}) as scope:
        scope.set_attribute("order",   order)   # keep
        scope.add_event("paid", {"sum": 3})
        child = tracer.start_span(name="x", context=trace.set_span_in_context(scope))
        child.set_status(trace.StatusCode.ERROR)
        child.record_exception(ValueError())
        propagate.inject(headers, context=trace.set_span_in_context(child))
        child.end()
    ctx = propagate.extract(headers)
    with tracer.start_as_current_span(
        "y",
        context=ctx,
    ):
        pass
'''


def test_what_means_the_same_is_rewritten_and_the_rest_of_the_file_stays_byte_for_byte() -> None:
    from go_cache_safeguard.debt.codemod import rewrite

    done = rewrite(BEFORE)
    assert (done.text, done.left) == (AFTER, ())
    assert [note.line for note in done.notes] == [10, 15, 17]
    assert rewrite(done.text).text == done.text


def test_the_rewritten_code_runs_and_makes_the_spans_that_it_names() -> None:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from go_cache_safeguard.debt.codemod import rewrite

    kept, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    room: dict[str, object] = {"__name__": "shop"}
    exec(compile(rewrite(BEFORE).text, "shop.py", "exec"), room)  # noqa: S102 - what the codemod wrote is to be run
    room["tracer"] = provider.get_tracer("shop")
    pay = room["pay"]
    assert callable(pay)
    pay("o-1", {})
    spans = {span.name: span for span in kept.get_finished_spans()}
    assert set(spans) == {"pay", "x", "y"}
    assert spans["x"].parent is not None
    assert spans["pay"].context is not None
    assert spans["x"].parent.span_id == spans["pay"].context.span_id
    assert spans["y"].parent is not None
    assert spans["x"].context is not None
    assert spans["y"].parent.span_id == spans["x"].context.span_id  # it went through the headers
    assert [event.name for event in spans["pay"].events] == ["paid"]
    assert not spans["x"].status.is_ok


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("s = opentracing.tracer.start_span('x', start_time=3)", "start_time="),
        ("s = opentracing.tracer.start_span('x')\nsend(s)", "handed on"),
        ("s = opentracing.tracer.start_span('x')\ndef f(s):\n    s.finish()", "parameter"),
        ("s = opentracing.tracer.start_span('x')\ns = other()", "something else"),
        ("s = opentracing.tracer.start_span('x')\ns.set_tag(key, 1)", "which tag"),
        ("s = opentracing.tracer.start_span('x')\ns.set_tag('span.kind', 'client')", "kind"),
        ("s = opentracing.tracer.start_span('x')\ns.set_baggage_item('a', 'b')", "set_baggage_item"),
        ("s = opentracing.tracer.start_span('x').set_tag('a', 1)", "is used"),
        ("scope = opentracing.tracer.start_active_span('x')", "closed by hand"),
        ("def f():\n    return opentracing.global_tracer()", "sight"),
        ("trace = 3\nt = opentracing.global_tracer()", "trace"),
        ("opentracing.set_global_tracer(t)", "set_global_tracer"),
        ("def f(t: opentracing.Tracer): pass", "opentracing.Tracer"),
        ("from opentracing import *", "everything"),
    ],
)
def test_what_has_no_safe_meaning_leaves_the_whole_file_and_is_named(body: str, why: str) -> None:
    from go_cache_safeguard.debt.codemod import rewrite

    text = f"import opentracing\n{body}\n"
    done = rewrite(text)
    assert done.text == text
    assert any(why in remark.why for remark in done.left), done.left


@pytest.mark.parametrize("body", ["def (:", "x = " + "(" * 5_000, "x = a" + ".b()" * 5_000, "x = " + "-" * 5_000 + "1"])
def test_what_is_not_python_or_too_deep_for_libcst_is_said_to_be_so(body: str) -> None:
    from go_cache_safeguard.debt.codemod import rewrite

    with pytest.raises(SyntaxError):
        rewrite(f"import opentracing\n{body}\n")
