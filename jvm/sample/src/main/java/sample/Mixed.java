package sample;

import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.Tracer;
import io.opentelemetry.context.Scope;
import io.opentelemetry.sdk.OpenTelemetrySdk;
import io.opentelemetry.sdk.autoconfigure.AutoConfiguredOpenTelemetrySdk;
import io.opentracing.util.GlobalTracer;

/** An application half of which is written for OpenTelemetry already: spans of either are parents of the other's. */
public final class Mixed {
    private Mixed() {}

    public static void main(String[] arguments) {
        try (OpenTelemetrySdk sdk = AutoConfiguredOpenTelemetrySdk.initialize().getOpenTelemetrySdk()) {
            Tracer tracer = sdk.getTracer("mixed");
            Span outer = tracer.spanBuilder("outer").startSpan();
            try (Scope scope = outer.makeCurrent()) {
                old(tracer);
            } finally {
                outer.end();
            }
        }
        System.out.println("done");
    }

    private static void old(Tracer tracer) {
        io.opentracing.Tracer old = GlobalTracer.get();
        io.opentracing.Span middle = old.buildSpan("middle").start();
        try (io.opentracing.Scope scope = old.activateSpan(middle)) {
            tracer.spanBuilder("inner").startSpan().end();
        } finally {
            middle.finish();
        }
    }
}
