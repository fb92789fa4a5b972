package sample;

import io.opentracing.Scope;
import io.opentracing.Span;
import io.opentracing.SpanContext;
import io.opentracing.Tracer;
import io.opentracing.log.Fields;
import io.opentracing.mock.MockTracer;
import io.opentracing.propagation.Format;
import io.opentracing.propagation.TextMapAdapter;
import io.opentracing.tag.Tags;
import io.opentracing.util.GlobalTracer;
import java.util.HashMap;
import java.util.Map;

/** An application that knows nothing but OpenTracing. Its tracer keeps spans in memory and tells in the end how many there were. */
public final class Shop {
    private Shop() {}

    public static void main(String[] arguments) throws InterruptedException {
        MockTracer mock = new MockTracer();
        GlobalTracer.registerIfAbsent(mock);
        Tracer tracer = GlobalTracer.get();

        Span order = tracer.buildSpan("order").withTag("customer", "c-17").withTag("items", 3).start();
        try (Scope scope = tracer.activateSpan(order)) {
            reserve(mock);
            pay(tracer);
            ship(tracer);
        } finally {
            order.finish();
        }
        System.out.println("active afterwards: " + tracer.activeSpan());
        System.out.println("order done");
        System.out.println("spans of its own tracer: " + mock.finishedSpans().size());
    }

    /** Uses the tracer itself, not the global one. */
    private static void reserve(Tracer tracer) {
        Span span = tracer.buildSpan("reserve").withTag(Tags.SPAN_KIND.getKey(), Tags.SPAN_KIND_CLIENT).start();
        span.setTag("shelf", "a-4");
        span.finish();
    }

    private static void pay(Tracer tracer) {
        Span span = tracer.buildSpan("pay").start();
        try (Scope scope = tracer.scopeManager().activate(span)) {
            throw new IllegalStateException("card refused");
        } catch (IllegalStateException refused) {
            Tags.ERROR.set(span, true);
            span.log(Map.of(Fields.EVENT, "error", Fields.ERROR_OBJECT, refused));
        } finally {
            span.finish();
        }
    }

    /** Hands the context on as over a wire. */
    private static void ship(Tracer tracer) throws InterruptedException {
        Map<String, String> headers = new HashMap<>();
        tracer.inject(tracer.activeSpan().context(), Format.Builtin.HTTP_HEADERS, new TextMapAdapter(headers));
        Thread remote = new Thread(() -> {
            SpanContext parent = tracer.extract(Format.Builtin.HTTP_HEADERS, new TextMapAdapter(headers));
            tracer.buildSpan("ship").asChildOf(parent).start().finish();
        });
        remote.start();
        remote.join();
    }
}
