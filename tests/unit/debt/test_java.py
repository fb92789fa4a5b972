"""Java, both APIs."""

SOURCE = """import io.opentracing.Tracer;
import io.opentelemetry.api.trace.Span;
import static io.opentracing.tag.Tags.ERROR;
class Shop {
    io.opentracing.Span old; // io.opentracing.Comment, tracer.buildSpan("x").start()
    String text = "io.opentracing.Text tracer.buildSpan()";
    void f(Tracer given) {
        io.opentracing.util.GlobalTracer.get().buildSpan("a")
            .withTag("k", 1).start();
        Span span = other.spanBuilder("b").startSpan();
        span.end();
        old.finish();
        var made = given.buildSpan("c").start();
        made.finish();
        given.inject(c, f, m);
        job.start(); race.finish(); list.end();
    }
}
"""


def test_both_apis_are_told_apart() -> None:
    from go_cache_safeguard.debt.java import read

    reading = read("Shop.java", SOURCE.encode())
    assert reading.damage == 0
    assert [(one.line, one.api.value, one.kind.value, one.symbol) for one in reading.findings] == [
        (1, "opentracing", "import", "io.opentracing.Tracer"),
        (2, "opentelemetry", "import", "io.opentelemetry.api.trace.Span"),
        (3, "opentracing", "import", "io.opentracing.tag.Tags.ERROR"),
        (5, "opentracing", "import", "io.opentracing.Span"),
        (8, "opentracing", "import", "io.opentracing.util.GlobalTracer"),
        (8, "opentracing", "global-tracer", "GlobalTracer.get"),
        (8, "opentracing", "build-span", "get.buildSpan"),
        (9, "opentracing", "start-span", "withTag.start"),
        (10, "opentelemetry", "build-span", "other.spanBuilder"),
        (10, "opentelemetry", "start-span", "spanBuilder.startSpan"),
        (11, "opentelemetry", "finish", "span.end"),
        (12, "opentracing", "finish", "old.finish"),
        (13, "opentracing", "build-span", "given.buildSpan"),
        (13, "opentracing", "start-span", "buildSpan.start"),
        (14, "opentracing", "finish", "made.finish"),
        (15, "opentracing", "inject-extract", "given.inject"),
    ]
