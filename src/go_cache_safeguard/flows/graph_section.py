"""What the HTML report says about the packages of the module here: what an edit of each would set off, and who needs whom.

Knows:     which columns and how many packages a page can take.
Called by: the command line's `report`.
Never:     keeps the report from being made: where there is no module, or go cannot plan it, there are no such sections.
"""

from pathlib import Path

from go_cache_safeguard.core.errors import Failure, UsageFailure
from go_cache_safeguard.flows.graph import Report, report_graph
from go_cache_safeguard.flows.html_report import Json, Section
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.gocache.cost import Cost, Rate
from go_cache_safeguard.gocache.graph import ASSUMES, Edit
from go_cache_safeguard.gocache.layout import printable

_ROWS, _NODES = 2000, 300
"""Packages in the table and in the drawing, those first whose edit reaches furthest."""
_COLUMNS: Json = [
    {"name": "package"},
    {"name": "entry"},
    {"name": "size", "unit": "bytes"},
    {"name": "imported by", "unit": "count"},
    {"name": "API edit compiles", "unit": "count"},
    {"name": "writes", "unit": "bytes"},
    {"name": "CPU time", "unit": "seconds"},
    {"name": "links", "unit": "count"},
    {"name": "body edit compiles", "unit": "count"},
    {"name": "CPU time saved", "unit": "seconds"},
    {"name": "without size or price", "unit": "count"},
]


def sections_here(session: Session, gocache: Path) -> tuple[Section, ...]:
    """The sections about the module or workspace of the current directory; none if there is none."""
    try:
        return graph_sections(report_graph(session, gocache, ()))
    except UsageFailure:
        return ()
    except Failure as failure:
        session.progress.say(f"the report has no graph of packages: {failure.what}")
        return ()


def graph_sections(report: Report) -> tuple[Section, ...]:
    """A table and a drawing of a graph, without the standard library."""
    ranking = report.graph.ranking()
    rows = [_row(report, blast.package) for blast in ranking[:_ROWS]]
    notes = [
        f"{report.toolchain} {report.target}: {' '.join(map(printable, report.patterns))}",
        *(f"{edit}: {text}" for edit, text in ASSUMES.items()),
        f"CPU seconds that nobody has measured are estimated by size: {_rate(report.rate)}.",
        *map(printable, report.notes),
    ]
    nodes = report.graph.nodes
    drawn = dict.fromkeys(blast.package for blast in ranking[:_NODES])
    drawing: Json = {
        "nodes": [
            {"id": name, "label": printable(name), "bytes": nodes[name].size, "note": _note(report, name)}
            for name in drawn
        ],
        "edges": [[name, need] for name in drawn for need in nodes[name].needs if need in drawn],
    }
    if not rows:
        return ()
    return (
        Section("What an edit sets off", "table", {"note": notes, "columns": _COLUMNS, "rows": rows}),
        Section("Packages and what they need", "graph", drawing),
    )


def _row(report: Report, name: str) -> Json:
    made = report.graph
    node, blast = made.nodes[name], made.blast(name)
    most = blast.reaches[Edit.API]
    return [
        printable(name),
        str(node.found),
        node.size,
        len(made.importers[name]),
        most.compiled,
        most.size,
        round(most.cost.seconds, 3),
        most.links,
        blast.reaches[Edit.BODY].compiled,
        round(blast.saved[2], 3),
        max(most.unsized, most.unpriced),
    ]


def _note(report: Report, name: str) -> str:
    node = report.graph.nodes[name]
    count = len(report.graph.dependents(name))
    return f"{node.found}, {_price(node.cost)}; {count:,} package{' depends' if count == 1 else 's depend'} on it"


def _rate(rate: Rate) -> str:
    spread = f"half of {rate.samples:,} packages between {rate.low:.2f} and {rate.high:.2f}"
    return f"{rate.per_mib:.2f} for each MiB of archive, {spread}, {rate.source}"


def _price(cost: Cost | None) -> str:
    if cost is None:
        return "of unknown price"
    return f"{'' if cost.measured else '~'}{cost.seconds:.3f} CPU s"
