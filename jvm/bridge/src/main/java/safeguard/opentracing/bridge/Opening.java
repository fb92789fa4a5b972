package safeguard.opentracing.bridge;

import io.opentelemetry.api.GlobalOpenTelemetry;
import io.opentelemetry.opentracingshim.OpenTracingShim;
import io.opentelemetry.sdk.autoconfigure.AutoConfiguredOpenTelemetrySdk;
import io.opentracing.Tracer;
import java.util.Map;

/** Makes the tracer that answers in the place of the application's. The agent calls it by its name, through its class loader. */
@SuppressWarnings("deprecation") // the shim ends with OpenTracing: 1.63 is its last release, and still the only one there is
public final class Opening {
    private Opening() {}

    /** One whose spans go where the application's own OpenTelemetry sends them, in the same context. */
    public static Tracer shared() {
        return OpenTracingShim.createTracerShim(GlobalOpenTelemetry.get());
    }

    /** One with an SDK of its own, configured by the OTEL_* variables and otel.* properties; it flushes when the JVM ends. */
    public static Tracer own() {
        return OpenTracingShim.createTracerShim(
                AutoConfiguredOpenTelemetrySdk.builder()
                        .addPropertiesSupplier(Opening::defaults)
                        .setServiceClassLoader(Opening.class.getClassLoader())
                        .build()
                        .getOpenTelemetrySdk());
    }

    /** OpenTracing knows spans only, and the HTTP client of the JDK does not speak gRPC. */
    private static Map<String, String> defaults() {
        return Map.of(
                "otel.exporter.otlp.protocol", "http/protobuf",
                "otel.metrics.exporter", "none",
                "otel.logs.exporter", "none");
    }
}
