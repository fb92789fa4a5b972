"""Whether this process tells how its operations go, and to whom.

Knows:     which settings and variables want it, and what is said if it cannot be had.
Called by: `cli.options` and `web.server`, when a session is opened.
Never:     keeps a command from its work; loads OpenTelemetry before there is a span.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from go_cache_safeguard.core.errors import Failure
from go_cache_safeguard.telemetry import span

if TYPE_CHECKING:
    from go_cache_safeguard.flows.session import Session

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def observe(session: "Session") -> None:
    """Have the spans of this process recorded, if the settings or the environment name a receiver."""
    if session.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return
    if session.config.text("telemetry.endpoint") or any(session.environ.get(name) for name in _ENDPOINTS):
        span.record_with(lambda: _recorder(session))


def finish(session: "Session") -> None:
    """At the end of a process: send what is left, within a bound, and say what went wrong."""
    if trouble := span.finish():
        session.progress.say(trouble)


def _recorder(session: "Session") -> span.Recorder | None:
    try:
        from go_cache_safeguard.flows.session import host_name  # noqa: PLC0415 - whoever opens a session calls this
        from go_cache_safeguard.telemetry.otel import EVERYTHING, Setup, Tracing  # noqa: PLC0415 - OpenTelemetry: when there is a span
        from go_cache_safeguard.telemetry.tail import load_rules  # noqa: PLC0415 - likewise

        config = session.config
        rules = config.text("telemetry.rules")
        return Tracing(
            Setup(
                endpoint=config.text("telemetry.endpoint"),
                headers=_headers(session),
                tenant=config.text("telemetry.tenant"),
                host=host_name(),
                finish_s=config.seconds("telemetry.finish"),
                metrics=session.environ.get("OTEL_METRICS_EXPORTER", "") != "none",
                rules=load_rules(rules) if rules else EVERYTHING,
            )
        )
    except ModuleNotFoundError as error:
        session.progress.say(f"no telemetry: {error.name} is not installed; pip install go-cache-safeguard[otel]")
    except (Failure, OSError) as error:
        session.progress.say(f"no telemetry: {error}")
    return None


def _headers(session: "Session") -> Mapping[str, str]:
    from go_cache_safeguard.flows.private_file import password_in  # noqa: PLC0415 - when there is a span

    pairs = (
        line.partition(":") for line in password_in(session, "telemetry.headers_file").splitlines() if line.strip()
    )
    return {name.strip(): value.strip() for name, _, value in pairs}
