"""`traces query` and `traces show`: find spans, and see a whole trace.

Knows:     their arguments, and how spans and a waterfall are shown.
Called by: `cli.traces`.
Never:     prints a name as it came: control characters are replaced.
"""

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from go_cache_safeguard.cli import options
from go_cache_safeguard.cli.extra import need_extra
from go_cache_safeguard.core.duration import parse_duration
from go_cache_safeguard.core.errors import UsageFailure

if TYPE_CHECKING:
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.traces import Spans
    from go_cache_safeguard.signals.span import Span
    from go_cache_safeguard.signals.waterfall import Waterfall

Jaeger = Annotated[str | None, typer.Option("--jaeger", metavar="URL", help="Ask a Jaeger instead: http://host:16686.")]
Since = Annotated[
    str | None, typer.Option("--since", metavar="TIME", help="Spans that ended no longer ago: 1h. Default: all.")
]
_TRACE_DIGITS = 32
_BAR = 40
_PLAIN_WIDTH = 400


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(query)
    app.command()(show)


@options.grouped
def query(
    question: Annotated[
        str,
        typer.Argument(metavar="QUESTION", help="'service=payment-gateway AND duration>3000ms'; empty for everything."),
    ] = "",
    *,
    jaeger: Jaeger = None,
    traceql: Annotated[bool, typer.Option("--traceql", help="Print the question as TraceQL, and ask nobody.")] = False,
    totals: Annotated[bool, typer.Option("--totals", help="Sums by service and name instead of spans.")] = False,
    since: Since = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=100_000, help="At most so many spans.")] = 20,
    common: options.Common,
) -> None:
    """Find spans: the slowest first if the question asks for slow ones, else the newest first.

    Fields: service, name, kind, status, tenant, message, trace, duration, attr.KEY, resource.KEY; operators: = != ~ !~ > >= < <=,
    where ~ means contains; AND, OR, NOT, parentheses.
    """
    need_extra("go_cache_safeguard.flows.traces", command="traces query", extra="signals")
    from go_cache_safeguard.flows.traces import ask_jaeger, open_spans
    from go_cache_safeguard.signals.query import parse_query
    from go_cache_safeguard.signals.query import traceql as in_traceql

    asked = parse_query(question)
    session = common.session()
    screen = common.screen(session)
    if traceql:
        text = in_traceql(asked)
        screen.document("traces-query", 1, {"traceql": text}) if screen.as_json else screen.line(text)
        return
    if jaeger and totals:
        raise UsageFailure(
            "--totals are sums of our own store", not_done="nothing was asked", hint="leave --jaeger out"
        )
    start_ns = since_ns(since)
    if jaeger:
        _tell(screen, ask_jaeger(jaeger, asked, limit=limit, start_ns=start_ns))
        return
    with open_spans(session.state_dir) as spans:
        if totals:
            _tell_totals(screen, spans, asked, start_ns)
        else:
            _tell(screen, spans.find(asked, limit=limit, start_ns=start_ns))


def since_ns(text: str | None) -> int:
    """The beginning of a window, in nanoseconds since 1970; 0 without one.

    Raises:
        UsageFailure: It is no length of time.
    """
    if text is None:
        return 0
    try:
        return time.time_ns() - parse_duration(text) * 10**9
    except ValueError as error:
        raise UsageFailure(f"--since: {error}", not_done="nothing was asked") from error


def _tell(screen: "Screen", found: "tuple[Span, ...]") -> None:
    from go_cache_safeguard.signals.waterfall import shown

    if screen.as_json:
        screen.document("traces-query", 1, {"spans": [span_value(span) for span in found]})
        return
    rows = [
        (
            _when(span.end_ns),
            f"{span.duration_ns / 1e6:,.1f} ms",
            "ERROR" if span.is_error else "",
            shown(span.service),
            shown(span.name),
            span.trace_id.hex(),
        )
        for span in found
    ]
    screen.table(("ended", "duration", "status", "service", "name", "trace"), rows, right=(1,))
    if not found:
        screen.line("no span answers the question")


def _tell_totals(screen: "Screen", spans: "Spans", asked: Any, start_ns: int) -> None:
    from dataclasses import asdict

    from go_cache_safeguard.signals.waterfall import shown

    found = spans.totals(asked, start_ns=start_ns)
    if screen.as_json:
        screen.document("traces-totals", 1, {"totals": [asdict(one) for one in found]})
        return
    rows = [
        (
            shown(it.service),
            shown(it.name),
            f"{it.spans:,}",
            f"{it.errors:,}",
            f"{it.p50_ms:,.1f}",
            f"{it.p95_ms:,.1f}",
            f"{it.most_ms:,.1f}",
        )
        for it in found
    ]
    screen.table(("service", "name", "spans", "errors", "p50 ms", "p95 ms", "max ms"), rows, right=(2, 3, 4, 5, 6))


def span_value(span: "Span") -> dict[str, Any]:
    """A span as JSON."""
    return {
        "trace": span.trace_id.hex(),
        "span": span.span_id.hex(),
        "parent": span.parent_id.hex(),
        "service": span.service,
        "tenant": span.tenant,
        "name": span.name,
        "kind": span.kind.name.lower(),
        "status": span.status.name.lower(),
        "message": span.message,
        "start_ns": span.start_ns,
        "duration_ns": span.duration_ns,
        "attributes": _plain(span.attributes),
        "resource": _plain(span.resource),
        "events": [{"name": it.name, "at_ns": it.at_ns, "attributes": _plain(it.attributes)} for it in span.events],
    }


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return {key: _plain(one) for key, one in value.items()} if hasattr(value, "items") else value


def _when(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


@options.grouped
def show(
    trace: Annotated[str, typer.Argument(metavar="TRACE", help="Its 32 hexadecimal digits; see `traces query`.")],
    *,
    jaeger: Jaeger = None,
    common: options.Common,
) -> None:
    """Show a trace as a waterfall: who called whom, for how long, and how much of that was its own work."""
    need_extra("go_cache_safeguard.flows.traces", command="traces show", extra="signals")
    from go_cache_safeguard.flows.traces import open_spans, trace_of_jaeger
    from go_cache_safeguard.signals.waterfall import waterfall

    trace_id = trace_bytes(trace)
    session = common.session()
    screen = common.screen(session)
    if jaeger:
        found = trace_of_jaeger(jaeger, trace_id)
    else:
        with open_spans(session.state_dir) as spans:
            found = spans.trace(trace_id)
    fall = waterfall(found)
    assert fall is not None  # noqa: S101 - a trace without spans was a failure before
    if screen.as_json:
        lines = [
            {
                **span_value(line.span),
                "depth": line.depth,
                "self_ns": round(line.self_ms * 1e6),
                "path_share": line.path_share,
            }
            for line in fall.lines
        ]
        screen.document("traces-show", 1, {"trace": fall.trace_id, "duration_ms": fall.duration_ms, "spans": lines})
    else:
        _draw(fall, color=session.config.choice("output.color"))


def trace_bytes(text: str) -> bytes:
    """The id of a trace.

    Raises:
        UsageFailure: It is none.
    """
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(text) != _TRACE_DIGITS or len(found) * 2 != _TRACE_DIGITS:
        raise UsageFailure(
            f"{text!r} is no trace", not_done="nothing was shown", hint="a trace has 32 hexadecimal digits"
        )
    return found


def _draw(fall: "Waterfall", *, color: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from go_cache_safeguard.signals.waterfall import bar

    console = Console(force_terminal={"always": True, "never": False}.get(color), highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = _PLAIN_WIDTH  # into a file or a pipe: nothing is cut
    width = max(10, min(_BAR, console.width // 4))
    console.print(
        f"trace {fall.trace_id}: {fall.duration_ms:,.1f} ms, {len(fall.lines) + fall.left_out:,} spans in"
        f" {fall.services} services, {fall.errors:,} failed; began {_when(fall.start_ns)}",
        soft_wrap=True,
        markup=False,
    )
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name, side in (("what", "left"), ("", "left"), ("duration", "right"), ("self", "right"), ("path", "right")):
        table.add_column(
            name, justify="right" if side == "right" else "left", no_wrap=True, min_width=8 if name else width
        )
    for line in fall.lines:
        style = "red" if line.failed else ""
        what = Text("  " * min(line.depth, 20) + f"{line.service}: {line.name}", style=style)
        if line.failed:
            what.append(f" !{' ' + line.message if line.message else ''}")
        table.add_row(
            what,
            Text(bar(line, width), style=style or "cyan"),
            Text(f"{line.duration_ms:,.1f} ms", style=style),
            Text(f"{line.self_ms:,.1f} ms"),
            Text(f"{line.path_share * 100:.1f} %"),
        )
    console.print(table, crop=False, soft_wrap=True)
    for said in (
        f"{fall.left_out:,} more spans are not shown" if fall.left_out else "",
        f"{fall.missing:,} spans have a parent that is not kept" if fall.missing else "",
    ):
        if said:
            console.print(said, markup=False)
