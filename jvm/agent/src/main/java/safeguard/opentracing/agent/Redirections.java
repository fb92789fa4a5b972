package safeguard.opentracing.agent;

import io.opentracing.Span;
import io.opentracing.SpanContext;
import io.opentracing.Tracer;
import io.opentracing.propagation.Format;
import net.bytebuddy.asm.Advice;
import net.bytebuddy.implementation.bytecode.assign.Assigner;

/**
 * What Byte Buddy copies into the methods of a tracer. A bridge that is there takes the place of the method's own code, one that is
 * not (null) leaves it.
 *
 * <p>Signatures name no class of OpenTracing: Byte Buddy looks at them where only the application could load those.
 */
final class Redirections {
    private Redirections() {}

    static final class BuildSpan {
        @Advice.OnMethodEnter(skipOn = Advice.OnNonDefaultValue.class)
        static Object enter() {
            return Bridges.of(Tracer.class);
        }

        @Advice.OnMethodExit
        static void exit(
                @Advice.Enter Object bridge,
                @Advice.Argument(0) String name,
                @Advice.Return(readOnly = false, typing = Assigner.Typing.DYNAMIC) Object made) {
            if (bridge != null) {
                made = ((Tracer) bridge).buildSpan(name);
            }
        }
    }

    static final class ScopeManager {
        @Advice.OnMethodEnter(skipOn = Advice.OnNonDefaultValue.class)
        static Object enter() {
            return Bridges.of(Tracer.class);
        }

        @Advice.OnMethodExit
        static void exit(
                @Advice.Enter Object bridge,
                @Advice.Return(readOnly = false, typing = Assigner.Typing.DYNAMIC) Object manager) {
            if (bridge != null) {
                manager = ((Tracer) bridge).scopeManager();
            }
        }
    }

    static final class ActiveSpan {
        @Advice.OnMethodEnter(skipOn = Advice.OnNonDefaultValue.class)
        static Object enter() {
            return Bridges.of(Tracer.class);
        }

        @Advice.OnMethodExit
        static void exit(
                @Advice.Enter Object bridge,
                @Advice.Return(readOnly = false, typing = Assigner.Typing.DYNAMIC) Object span) {
            if (bridge != null) {
                span = ((Tracer) bridge).activeSpan();
            }
        }
    }

    static final class ActivateSpan {
        @Advice.OnMethodEnter(skipOn = Advice.OnNonDefaultValue.class)
        static Object enter() {
            return Bridges.of(Tracer.class);
        }

        @Advice.OnMethodExit
        static void exit(
                @Advice.Enter Object bridge,
                @Advice.Argument(0) Object span,
                @Advice.Return(readOnly = false, typing = Assigner.Typing.DYNAMIC) Object scope) {
            if (bridge != null) {
                scope = ((Tracer) bridge).activateSpan((Span) span);
            }
        }
    }

    static final class Inject {
        @Advice.OnMethodEnter(skipOn = Advice.OnNonDefaultValue.class)
        static Object enter() {
            return Bridges.of(Tracer.class);
        }

        @Advice.OnMethodExit
        @SuppressWarnings("unchecked") // the carrier is what the caller's format demands, as it was before
        static void exit(
                @Advice.Enter Object bridge,
                @Advice.Argument(0) Object context,
                @Advice.Argument(1) Object format,
                @Advice.Argument(2) Object carrier) {
            if (bridge != null) {
                ((Tracer) bridge).inject((SpanContext) context, (Format<Object>) format, carrier);
            }
        }
    }

    static final class Extract {
        @Advice.OnMethodEnter(skipOn = Advice.OnNonDefaultValue.class)
        static Object enter() {
            return Bridges.of(Tracer.class);
        }

        @Advice.OnMethodExit
        @SuppressWarnings("unchecked") // as above
        static void exit(
                @Advice.Enter Object bridge,
                @Advice.Argument(0) Object format,
                @Advice.Argument(1) Object carrier,
                @Advice.Return(readOnly = false, typing = Assigner.Typing.DYNAMIC) Object context) {
            if (bridge != null) {
                context = ((Tracer) bridge).extract((Format<Object>) format, carrier);
            }
        }
    }
}
