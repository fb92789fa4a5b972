package safeguard.opentracing.agent;

import java.lang.reflect.Field;
import java.util.Arrays;

/** The bridge of each OpenTracing API in this JVM: applications that share a server bring one each. */
public final class Bridges {
    private static final String OPENING = "safeguard.opentracing.bridge.Opening";
    private static final String GLOBAL = "io.opentelemetry.api.GlobalOpenTelemetry";

    /** Kept by the API's own class, so a bridge goes when its application goes. */
    private static final ClassValue<Bridge> ALL =
            new ClassValue<>() {
                @Override
                protected Bridge computeValue(Class<?> api) {
                    return new Bridge(api);
                }
            };

    private Bridges() {}

    /**
     * The tracer that answers; null while it is being made, or if it cannot be made.
     *
     * @param api {@code io.opentracing.Tracer}, as the caller sees it.
     */
    public static Object of(Class<?> api) {
        return ALL.get(api).tracer();
    }

    static void say(String text) {
        System.err.println("opentracing-agent: " + text);
    }

    private static final class Bridge {
        private final Class<?> api;
        private volatile Object tracer;
        private boolean asked;

        Bridge(Class<?> api) {
            this.api = api;
        }

        Object tracer() {
            Object known = tracer;
            return known != null ? known : firstTime();
        }

        /** Whatever asks again while it is being made, or after it could not be made, gets null. */
        private synchronized Object firstTime() {
            if (!asked) {
                asked = true;
                tracer = made();
            }
            return tracer;
        }

        private Object made() {
            try {
                if (isOld()) {
                    say("io.opentracing is older than 0.33, so its calls are left as they are");
                    return null;
                }
                boolean shared = hasOpenTelemetry();
                ClassLoader loader = new BridgeLoader(api.getClassLoader(), shared);
                return loader.loadClass(OPENING).getMethod(shared ? "shared" : "own").invoke(null);
            } catch (Exception | LinkageError error) {
                Throwable why = error.getCause() == null ? error : error.getCause();
                say("OpenTelemetry could not be set up, so OpenTracing's calls are left as they are: " + why);
                return null;
            }
        }

        /** Versions before 0.33 demand methods of spans and builders that the shim has no more. */
        private boolean isOld() throws ClassNotFoundException {
            Class<?> builder = Class.forName(api.getName() + "$SpanBuilder", false, api.getClassLoader());
            return Arrays.stream(builder.getMethods()).anyMatch(method -> method.getName().equals("startActive"));
        }

        /** Whether the application has set one up. Only looked at: asking for it would set it to nothing, for good. */
        private boolean hasOpenTelemetry() throws ReflectiveOperationException {
            try {
                Class<?> global = Class.forName(GLOBAL, true, api.getClassLoader());
                Field field = global.getDeclaredField("globalOpenTelemetry");
                field.setAccessible(true);
                return field.get(null) != null;
            } catch (ClassNotFoundException none) {
                return false;
            }
        }
    }
}
