"""`signals anomalies`: what went wrong among services, as events with their evidence and likely cause.

Knows:     its arguments, and how events are shown.
Called by: `cli.signals`.
Never:     judges; shows what a log or a span says without making it safe for a terminal.
"""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from go_cache_safeguard.cli import options
from go_cache_safeguard.cli.extra import need_extra
from go_cache_safeguard.core.errors import ExitCode, UsageFailure

if TYPE_CHECKING:
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.signals.drain import Line
    from go_cache_safeguard.signals.event import Event

_LEAST = 0.3
"""The score from which an event alone makes the exit code 10: traces or metrics, not log lines alone."""


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(anomalies)


@options.grouped
def anomalies(
    *,
    since: Annotated[str, typer.Option("--since", metavar="TIME", help="Length of the window that ends now.")] = "30m",
    baseline: Annotated[
        str | None,
        typer.Option("--baseline", metavar="TIME", help="Length of the time before to compare with; default: as long."),
    ] = None,
    service: Annotated[
        str, typer.Option("--service", metavar="NAME", help="Only events that this service feels.")
    ] = "",
    logs: Annotated[
        Path | None, typer.Option("--logs", metavar="FILE", help="Lines of JSON, ours or OTLP's; - reads them here.")
    ] = None,
    common: options.Common,
) -> None:
    """Join unusual traces, log lines and changes of metrics into events, and name the likely cause of each.

    Exit code 0: nothing. 10: something is wrong. 13: there is nothing to compare with.
    """
    need_extra("sklearn", command="signals anomalies", extra="signals")
    need_extra("go_cache_safeguard.flows.traces", command="signals anomalies", extra="signals")
    from go_cache_safeguard.cli.signals_golden import seconds
    from go_cache_safeguard.flows.anomalies import look, window_of

    since_s = seconds(since, "--since")
    baseline_s = seconds(baseline, "--baseline") if baseline else since_s
    session = common.session()
    lines, unread = _lines_of(logs)
    found = look(session, window_of(since_s, baseline_s), service=service, lines=lines)
    screen = common.screen(session)
    if screen.as_json:
        value = {
            "events": [_value(one) for one in found.events],
            "noise": list(found.noise),
            "traces": found.traces,
            "baseline": found.before,
            "why": found.why,
            "unread_lines": unread,
        }
        screen.document("signals-anomalies", 1, value)
    else:
        for event in found.events:
            _tell(screen, event)
        compared = found.why or f"{found.traces:,} traces were compared with {found.before:,} from before"
        screen.line(f"{len(found.events)} events; {compared}; {len(found.noise)} odd traces are like no others")
        if unread:
            screen.line(f"{unread:,} lines of the log could not be read")
    if any(event.score >= _LEAST for event in found.events):
        raise typer.Exit(ExitCode.BLOCKED)
    raise typer.Exit(ExitCode.COULD_NOT_TELL if found.why else ExitCode.DONE)


def _lines_of(path: Path | None) -> "tuple[tuple[Line, ...], int]":
    if path is None:
        return (), 0
    from go_cache_safeguard.signals.logline import read_lines
    from go_cache_safeguard.telemetry.names import OP_ID

    try:
        if str(path) == "-":
            read = read_lines(sys.stdin, OP_ID)
        else:
            with path.open(encoding="utf-8", errors="replace") as file:
                read = read_lines(file, OP_ID)
    except OSError as error:
        raise UsageFailure(
            f"--logs: {path} cannot be read: {error.strerror}", not_done="nothing was looked at"
        ) from error
    return read.lines, read.unread


def _tell(screen: "Screen", event: "Event") -> None:
    from go_cache_safeguard.signals.waterfall import shown

    services = ", ".join(sorted(event.services)) or "unknown services"
    screen.line(f"{_time(event.start_ns)} to {_time(event.end_ns)}  {shown(services)}", style="bold")
    for blame in event.causes[:3]:
        screen.line(f"  {blame.sure * 100:>3.0f} %  {shown(blame.words)}; {shown(blame.why)}")
    for group in event.groups:
        cluster = group.cluster
        screen.line(
            f"  traces: {len(cluster.traces):,}, {cluster.share * 100:.1f} % of all, {cluster.share_before * 100:.1f} % before:"
            f" {shown(cluster.words)}; see `traces show {cluster.examples[0]}`"
        )
    for change in event.changes:
        screen.line(f"  metric: {shown(change.words)} at {_time(change.start_ns)}")
    for surge in event.surges:
        screen.line(f"  log: {surge.now:,} lines, {surge.before:,} before: {shown(surge.text)}")


def _time(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns / 1e9, UTC).strftime("%H:%M:%S")


def _value(event: "Event") -> dict[str, Any]:
    return {
        "start_ns": event.start_ns,
        "end_ns": event.end_ns,
        "services": sorted(event.services),
        "score": event.score,
        "operation": event.operation,
        "causes": [
            {"words": one.words, "sure": one.sure, "why": one.why, "operation": one.operation, "place": list(one.place)}
            for one in event.causes
        ],
        "clusters": [
            {
                "traces": len(one.cluster.traces),
                "share": one.cluster.share,
                "share_before": one.cluster.share_before,
                "words": one.cluster.words,
                "examples": list(one.cluster.examples),
                "start_ns": one.start_ns,
            }
            for one in event.groups
        ],
        "changes": [
            {
                "service": one.service,
                "metric": str(one.metric),
                "start_ns": one.start_ns,
                "end_ns": one.end_ns,
                "before": one.before,
                "after": one.after,
            }
            for one in event.changes
        ],
        "templates": [
            {"id": one.id, "text": one.text, "now": one.now, "before": one.before, "traces": sorted(one.traces)}
            for one in event.surges
        ],
    }
