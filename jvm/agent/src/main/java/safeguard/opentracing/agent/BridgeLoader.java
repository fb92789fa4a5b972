package safeguard.opentracing.agent;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.MalformedURLException;
import java.net.URL;
import java.net.URLConnection;
import java.net.URLStreamHandler;
import java.util.Collections;
import java.util.Enumeration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.jar.JarEntry;
import java.util.jar.JarInputStream;

/**
 * Loads the bridge's jar, which lies inside of the agent's, from memory: nothing is written anywhere.
 *
 * <p>OpenTracing always comes from the application. OpenTelemetry comes from the application if it has set one up, so that spans of
 * both have the same parents; else from the jar, unseen by the application, whatever version of it lies on its class path.
 */
final class BridgeLoader extends ClassLoader {
    private static final String SERVICES = "META-INF/services/io.opentelemetry.";
    private static final String VERSIONS = "META-INF/versions/";

    private final Map<String, byte[]> files;
    private final List<String> own;

    static {
        registerAsParallelCapable();
    }

    /**
     * @param application Sees OpenTracing.
     * @param shared Whether OpenTelemetry is the application's.
     */
    BridgeLoader(ClassLoader application, boolean shared) throws IOException {
        super("opentracing-bridge", application);
        this.files = unpacked();
        this.own = List.of("safeguard.opentracing.bridge.", shared ? "io.opentelemetry.opentracingshim." : "io.opentelemetry.");
    }

    @Override
    protected Class<?> loadClass(String name, boolean resolve) throws ClassNotFoundException {
        if (own.stream().noneMatch(name::startsWith)) {
            return super.loadClass(name, resolve);
        }
        synchronized (getClassLoadingLock(name)) {
            Class<?> known = findLoadedClass(name);
            return known != null ? known : findClass(name);
        }
    }

    @Override
    protected Class<?> findClass(String name) throws ClassNotFoundException {
        byte[] code = files.get(name.replace('.', '/') + ".class");
        if (code == null) {
            throw new ClassNotFoundException(name);
        }
        return defineClass(name, code, 0, code.length, BridgeLoader.class.getProtectionDomain());
    }

    /** Services of OpenTelemetry that the application brings are of the application's OpenTelemetry. */
    @Override
    public Enumeration<URL> getResources(String name) throws IOException {
        return name.startsWith(SERVICES) ? findResources(name) : super.getResources(name);
    }

    @Override
    protected Enumeration<URL> findResources(String name) {
        URL found = findResource(name);
        return Collections.enumeration(found == null ? List.of() : List.of(found));
    }

    @Override
    protected URL findResource(String name) {
        byte[] content = files.get(name);
        try {
            return content == null ? null : new URL(null, "opentracing-bridge:" + name, new FromMemory(content));
        } catch (MalformedURLException impossible) {
            throw new IllegalStateException(impossible);
        }
    }

    /** Every file of the jar as this version of Java is to see it. */
    private static Map<String, byte[]> unpacked() throws IOException {
        Map<String, byte[]> files = new HashMap<>();
        Map<String, Integer> versions = new HashMap<>();
        try (InputStream stream = BridgeLoader.class.getResourceAsStream("/bridge.jar");
                JarInputStream jar = new JarInputStream(stream)) {
            for (JarEntry entry = jar.getNextJarEntry(); entry != null; entry = jar.getNextJarEntry()) {
                int version = version(entry.getName());
                String name = version == 0 ? entry.getName() : entry.getName().substring((VERSIONS + version + "/").length());
                if (!entry.isDirectory()
                        && version <= Runtime.version().feature()
                        && version >= versions.getOrDefault(name, 0)) {
                    versions.put(name, version);
                    files.put(name, jar.readAllBytes());
                }
            }
        }
        return files;
    }

    /** The version of Java from which on a file counts; 0 for all. */
    private static int version(String name) {
        if (!name.startsWith(VERSIONS) || name.indexOf('/', VERSIONS.length()) < 0) {
            return 0;
        }
        return Integer.parseInt(name.substring(VERSIONS.length(), name.indexOf('/', VERSIONS.length())));
    }

    private static final class FromMemory extends URLStreamHandler {
        private final byte[] content;

        FromMemory(byte[] content) {
            this.content = content;
        }

        @Override
        protected URLConnection openConnection(URL url) {
            return new URLConnection(url) {
                @Override
                public void connect() {}

                @Override
                public InputStream getInputStream() {
                    return new ByteArrayInputStream(content);
                }
            };
        }
    }
}
