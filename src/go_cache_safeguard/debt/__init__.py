"""Instrumentation by hand: where source code makes spans itself, by OpenTracing or OpenTelemetry, and what can be rewritten safely."""
