"""`signals rootcause`: why requests are slow or fail.

Knows:     its argument, a trace or a question, and how causes are told.
Called by: `cli.signals`.
Never:     calls a guess certain: it says with how many healthy traces it compared.
"""

import re
from dataclasses import asdict
from typing import Annotated

import typer

from go_cache_safeguard.cli import options
from go_cache_safeguard.cli.extra import need_extra

_TRACE = re.compile(r"[0-9a-fA-F]{32}", re.ASCII)
_SHOWN = 4
_WORTH = 0.01


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(rootcause)


@options.grouped
def rootcause(
    asked: Annotated[
        str, typer.Argument(metavar="TRACE|QUESTION", help="A trace, or 'service=payment-gateway AND duration>3000ms'.")
    ],
    *,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Only requests that ended no longer ago: 1h.")
    ] = None,
    common: options.Common,
) -> None:
    """Say where the time of slow requests goes, or where failing ones begin to fail, compared with healthy ones of the same kind."""
    need_extra("go_cache_safeguard.flows.traces", command="signals rootcause", extra="signals")
    from go_cache_safeguard.cli.traces_show import since_ns
    from go_cache_safeguard.flows.rootcause import explain
    from go_cache_safeguard.flows.traces import open_spans
    from go_cache_safeguard.signals.query import parse_query
    from go_cache_safeguard.signals.waterfall import shown

    question = parse_query(f"trace={asked}" if _TRACE.fullmatch(asked) else asked)
    session = common.session()
    screen = common.screen(session)
    with open_spans(session.state_dir) as spans:
        found = explain(spans, question, start_ns=since_ns(since))
    if screen.as_json:
        told = [
            {**asdict(cause), "shape": cause.shape.name.lower(), "sentence": cause.sentence} for cause in found.causes
        ]
        screen.document("signals-rootcause", 1, {"causes": told, "traces": found.traces, "healthy": found.healthy})
        return
    if not found.causes:
        screen.line("nothing differs from healthy requests")
        return
    best, *others = [cause for cause in found.causes if cause.score >= _WORTH] or found.causes[:1]
    screen.line(shown(best.sentence), style="bold")
    compared = (
        f"compared with {found.healthy:,} healthy ones" if found.healthy else "no healthy ones are kept to compare with"
    )
    screen.line(
        f"explains {best.score * 100:.0f} % of the trouble in {found.traces:,} traces; {compared}; see `traces show {best.trace_id}`"
    )
    for cause in others[:_SHOWN]:
        screen.line(f"  {cause.score * 100:.0f} %: {shown(cause.sentence)}")
