"""Go, both APIs."""

SOURCE = """package shop
import (
    ot "github.com/opentracing/opentracing-go"
    "go.opentelemetry.io/otel"
    "example.org/trace"
)
func f(ctx Context, given ot.Tracer) {
    sp := ot.StartSpan("github.com/opentracing") // ot.StartSpan
    defer sp.Finish()
    ot.GlobalTracer().Inject(1, 2, 3)
    given.StartSpan("x")
    ctx, span := otel.Tracer("a").Start(ctx, "b")
    span.End()
    trace.StartSpan("x"); server.Start(); race.Finish(); list.End()
}
"""


def test_both_apis_are_told_apart() -> None:
    from go_cache_safeguard.debt.golang import read

    reading = read("shop.go", SOURCE.encode())
    assert reading.damage == 0
    assert [(one.line, one.api.value, one.kind.value, one.symbol) for one in reading.findings] == [
        (3, "opentracing", "import", "github.com/opentracing/opentracing-go"),
        (4, "opentelemetry", "import", "go.opentelemetry.io/otel"),
        (8, "opentracing", "start-span", "ot.StartSpan"),
        (9, "opentracing", "finish", "sp.Finish"),
        (10, "opentracing", "global-tracer", "ot.GlobalTracer"),
        (10, "opentracing", "inject-extract", "GlobalTracer.Inject"),
        (11, "opentracing", "start-span", "given.StartSpan"),
        (12, "opentelemetry", "global-tracer", "otel.Tracer"),
        (12, "opentelemetry", "start-span", "Tracer.Start"),
        (13, "opentelemetry", "finish", "span.End"),
    ]
