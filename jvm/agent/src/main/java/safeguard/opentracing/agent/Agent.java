package safeguard.opentracing.agent;

import static net.bytebuddy.matcher.ElementMatchers.any;
import static net.bytebuddy.matcher.ElementMatchers.failSafe;
import static net.bytebuddy.matcher.ElementMatchers.hasSuperType;
import static net.bytebuddy.matcher.ElementMatchers.isAbstract;
import static net.bytebuddy.matcher.ElementMatchers.isBootstrapClassLoader;
import static net.bytebuddy.matcher.ElementMatchers.isExtensionClassLoader;
import static net.bytebuddy.matcher.ElementMatchers.isInterface;
import static net.bytebuddy.matcher.ElementMatchers.nameStartsWith;
import static net.bytebuddy.matcher.ElementMatchers.named;
import static net.bytebuddy.matcher.ElementMatchers.not;
import static net.bytebuddy.matcher.ElementMatchers.returns;

import java.lang.instrument.Instrumentation;
import net.bytebuddy.agent.builder.AgentBuilder;
import net.bytebuddy.asm.Advice;
import net.bytebuddy.asm.AsmVisitorWrapper;
import net.bytebuddy.description.field.FieldDescription;
import net.bytebuddy.description.field.FieldList;
import net.bytebuddy.description.method.MethodList;
import net.bytebuddy.description.type.TypeDescription;
import net.bytebuddy.dynamic.DynamicType;
import net.bytebuddy.implementation.Implementation;
import net.bytebuddy.jar.asm.ClassVisitor;
import net.bytebuddy.pool.TypePool;
import net.bytebuddy.utility.JavaModule;

/**
 * Has every OpenTracing tracer of a JVM answer with OpenTelemetry's shim.
 *
 * <p>A class that implements {@code io.opentracing.Tracer} is changed while it is loaded: GlobalTracer, Jaeger's, whatever there is. What
 * such a tracer hands out are the shim's spans, scopes and contexts then, so nothing else has to be changed. Where the shim cannot be
 * had, the tracer does what it always did.
 */
public final class Agent {
    private static final String TRACER = "io.opentracing.Tracer";

    private Agent() {}

    /** Called by the JVM before the application's main. */
    public static void premain(String arguments, Instrumentation instrumentation) {
        new AgentBuilder.Default()
                .disableClassFormatChanges()
                .with(AgentBuilder.RedefinitionStrategy.RETRANSFORMATION)
                .with(new Complaints())
                .ignore(nameStartsWith("safeguard.opentracing.").or(nameStartsWith("io.opentelemetry.opentracingshim.")))
                .or(any(), isBootstrapClassLoader().or(isExtensionClassLoader()))
                .type(not(isInterface()).and(failSafe(hasSuperType(named(TRACER)))), Agent::canSeeUs)
                .transform((builder, type, loader, module, domain) -> redirected(builder))
                .installOn(instrumentation);
    }

    /** What stands in a changed class names {@link Bridges}: a class loader that does not find it must be left alone. */
    private static boolean canSeeUs(ClassLoader loader) {
        try {
            return Class.forName(Bridges.class.getName(), false, loader) == Bridges.class;
        } catch (ClassNotFoundException | LinkageError hidden) {
            return false;
        }
    }

    private static DynamicType.Builder<?> redirected(DynamicType.Builder<?> builder) {
        return builder.visit(to(Redirections.BuildSpan.class, "buildSpan", TRACER + "$SpanBuilder"))
                .visit(to(Redirections.ScopeManager.class, "scopeManager", "io.opentracing.ScopeManager"))
                .visit(to(Redirections.ActiveSpan.class, "activeSpan", "io.opentracing.Span"))
                .visit(to(Redirections.ActivateSpan.class, "activateSpan", "io.opentracing.Scope"))
                .visit(to(Redirections.Inject.class, "inject", "void"))
                .visit(to(Redirections.Extract.class, "extract", "io.opentracing.SpanContext"));
    }

    /**
     * Only what gives the interface's own type can give the shim's. A tracer that promises more (JaegerTracer.buildSpan gives a
     * JaegerTracer.SpanBuilder) has a second method, by which all callers come that know the interface; that one is changed.
     */
    private static AsmVisitorWrapper to(Class<?> advice, String method, String gives) {
        return new WithBridges(Advice.to(advice).on(named(method).and(returns(named(gives))).and(not(isAbstract()))));
    }

    /** Shows a visitor every method of a class: Byte Buddy leaves out those that the compiler added for covariant results. */
    private record WithBridges(AsmVisitorWrapper inner) implements AsmVisitorWrapper {
        @Override
        public int mergeWriter(int flags) {
            return inner.mergeWriter(flags);
        }

        @Override
        public int mergeReader(int flags) {
            return inner.mergeReader(flags);
        }

        @Override
        public ClassVisitor wrap(
                TypeDescription type,
                ClassVisitor visitor,
                Implementation.Context context,
                TypePool pool,
                FieldList<FieldDescription.InDefinedShape> fields,
                MethodList<?> methods,
                int writerFlags,
                int readerFlags) {
            return inner.wrap(type, visitor, context, pool, fields, type.getDeclaredMethods(), writerFlags, readerFlags);
        }
    }

    /** A class that could not be changed is loaded as it is, and named. */
    private static final class Complaints extends AgentBuilder.Listener.Adapter {
        @Override
        public void onError(String type, ClassLoader loader, JavaModule module, boolean loaded, Throwable error) {
            Bridges.say(type + " could not be changed: " + error);
        }

        @Override
        public void onTransformation(
                TypeDescription type, ClassLoader loader, JavaModule module, boolean loaded, DynamicType changed) {
            if (Boolean.getBoolean("opentracing.agent.debug")) {
                Bridges.say(type.getName() + " answers with OpenTelemetry");
            }
        }
    }
}
