"""`graph`: which package needs which, which cache entry each of them is, and what an edit of one would cost.

Knows:     how the graph is shown as tables, as JSON and in the language of Graphviz.
Called by: `cli.app`.
Never:     builds anything, unless --measure says so: then in an empty cache that is gone afterwards.
"""

import sys
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from go_cache_safeguard.cli import options
from go_cache_safeguard.core.errors import ExitCode, UsageFailure
from go_cache_safeguard.gocache.layout import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.graph import Measured, Report
    from go_cache_safeguard.flows.session import Session
    from go_cache_safeguard.gocache.cost import Cost, Rate, Total
    from go_cache_safeguard.gocache.graph import Blast, Node, Reach

_TOP = 20


class Format(StrEnum):
    """How the graph is printed."""

    TABLE = "table"
    JSON = "json"
    DOT = "dot"


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(graph)


def graph(
    *,
    packages: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PACKAGES]...", help="As for `go build`; default: the whole module or workspace here."),
    ] = None,
    form: Annotated[
        Format, typer.Option("--format", help="table, json, or dot: the language of Graphviz.")
    ] = Format.TABLE,
    reverse: Annotated[
        str | None, typer.Option("--reverse", metavar="PACKAGE", help="Only what depends on this package.")
    ] = None,
    edit: Annotated[
        str | None,
        typer.Option(
            "--edit", metavar="PACKAGE", help="Only what an edit of this package would compile and link again."
        ),
    ] = None,
    tests: Annotated[bool, typer.Option("--tests", help="Also what the tests are built of.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="The standard library, too, in tables and dot.")] = False,
    top: Annotated[int, typer.Option("--top", min=1, metavar="N", help="Lines of a table, the largest.")] = _TOP,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure",
            help="Build once in an empty cache that is gone afterwards, with --tests the tests, too, and remember what it cost.",
        ),
    ] = False,
    gocache: options.GoCache = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """Show packages, their cache entries, what depends on each, and what one edit of it would compile and link again.

    Nothing is built, and the cache stays as it is. Seconds are CPU seconds; `~` stands before what is estimated.
    """
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.graph import measure as run_measure
    from go_cache_safeguard.flows.graph import report_graph

    if json and form is Format.DOT:
        raise UsageFailure("--format dot and --json exclude each other")
    if sum((reverse is not None, edit is not None, measure)) > 1:
        raise UsageFailure("--reverse, --edit and --measure exclude each other")
    form = Format.JSON if json else form
    session = options.session(
        settings=settings, state_dir=state_dir, quiet=quiet, json=json or form is not Format.TABLE
    )
    screen = Screen(as_json=form is not Format.TABLE, color=session.config.choice("output.color"))
    if measure:
        _tell_measured(screen, run_measure(session, packages or [], tests=tests))
        return
    report = report_graph(session, session.gocache(gocache), packages or [], tests=tests)
    _show(session, screen, report, _View(form=form, reverse=reverse, edit=edit, everything=everything, top=top))
    if any(node.error for node in report.graph.nodes.values() if node.asked):
        raise typer.Exit(ExitCode.COULD_NOT_TELL)


@dataclass(frozen=True, slots=True)
class _View:
    """What of it is wanted, and how."""

    form: Format
    reverse: str | None
    edit: str | None
    everything: bool
    top: int


def _show(session: "Session", screen: "Screen", report: "Report", view: _View) -> None:
    from go_cache_safeguard.flows.graph import find_package

    named = view.reverse or view.edit
    name = find_package(report, named, session.cwd) if named is not None else ""
    if view.form is Format.JSON:
        screen.document("graph", 1, _value(report, view, name))
    elif view.form is Format.DOT:
        sys.stdout.write("\n".join(_dot(report, view, name)) + "\n")
    elif view.edit is not None:
        _print_edit(screen, report, name, view.top)
    elif view.reverse is not None:
        _print_reverse(screen, report, name, view.top)
    else:
        _print(screen, report, view)


def _tell_measured(screen: "Screen", found: "Measured") -> None:
    if screen.as_json:
        value = {
            "toolchain": found.toolchain,
            "patterns": list(found.patterns),
            "steps": found.steps,
            "cpu_seconds": round(found.seconds, 3),
            "wall_seconds": round(found.wall_s, 3),
            "rate": _rate_value(found.rate),
        }
        screen.document("graph-measure", 1, value)
        return
    screen.line(
        f"built {' '.join(found.patterns)} with {found.toolchain} in an empty cache: "
        f"{found.seconds:.1f} CPU s, {found.wall_s:.1f} s"
    )
    screen.line(f"remembered what {found.steps:,} packages and programs cost")
    _tell_rate(screen, found.rate)


def _print(screen: "Screen", report: "Report", view: _View) -> None:
    nodes = report.graph.nodes
    ranking = report.graph.ranking(standard=view.everything)
    rows = [_row(report, blast) for blast in ranking[: view.top]]
    columns = ("package", "entry", "size", "CPU s", "imported by")
    edits = ("API edit compiles", "writes", "CPU s", "links", "body edit compiles", "CPU s saved")
    screen.table((*columns, *edits), rows, right=tuple(range(2, 11)))
    screen.line()
    if len(ranking) > view.top:
        screen.line(f"{view.top} of {len(ranking):,} packages, by what an edit costs at most; --top shows more")
    hidden = 0 if view.everything else sum(node.standard for node in nodes.values())
    found = Counter(str(node.found) for node in nodes.values())
    counts = ", ".join(f"{count:,} {name}" for name, count in sorted(found.items()))
    screen.line(f"{len(nodes):,} packages ({counts}), {report.toolchain} {report.target}, {report.gocache}")
    if hidden:
        screen.line(f"{hidden:,} of the standard library are not in the table; --all shows them")
    _tell_rate(screen, report.rate)
    for note in report.notes:
        screen.line(f"note: {printable(note)}")


def _row(report: "Report", blast: "Blast") -> tuple[str, ...]:
    from go_cache_safeguard.core.size import format_size
    from go_cache_safeguard.gocache.graph import Edit

    made = report.graph
    node, most, body = made.nodes[blast.package], blast.reaches[Edit.API], blast.reaches[Edit.BODY]
    return (
        printable(node.name),
        str(node.found),
        format_size(node.size) if node.output is not None else "?",
        _price(node.cost),
        f"{len(made.importers[node.name]):,}",
        f"{most.compiled:,}",
        _bytes(most),
        _sum(most.cost, most.unpriced),
        f"{most.links:,}",
        f"{body.compiled:,}",
        _about(blast.saved[2], exact=_is_exact(most)),
    )


def _print_edit(screen: "Screen", report: "Report", name: str, top: int) -> None:
    from go_cache_safeguard.core.size import format_size
    from go_cache_safeguard.gocache.graph import ASSUMES, Edit

    blast = report.graph.blast(name)
    screen.line(f"what an edit of {printable(blast.package)} would set off", "bold")
    rows = [
        (str(edit), f"{reach.compiled:,}", _bytes(reach), *_range(reach), f"{reach.links:,}", _sum(reach.link_cost, 0))
        for edit, reach in blast.reaches.items()
    ]
    columns = ("edit", "compiles", "writes", "CPU s", "between", "links", "CPU s of linking")
    screen.table(columns, rows, right=(1, 2, 3, 4, 5, 6))
    screen.line()
    for edit, text in ASSUMES.items():
        screen.line(f"{edit:<8} {text}", "dim")
    packages, size, seconds = blast.saved
    screen.line(
        f"when only a body changes, early cut-off saves {packages:,} compilations, {format_size(size)} and "
        f"{_about(seconds, exact=_is_exact(blast.reaches[Edit.API]))} CPU s"
    )
    screen.heading("compiled again at most")
    _print_nodes(screen, report, name, report.graph.compiled(name, Edit.API), top)
    linked = report.graph.linked(name)
    if linked:
        screen.heading("linked again")
        for program in linked[:top]:
            screen.line(f"  {printable(program)}   {_price(report.graph.nodes[program].link)} CPU s")
        if len(linked) > top:
            screen.line(f"  and {len(linked) - top:,} more")
    _tell_rate(screen, report.rate)


def _print_reverse(screen: "Screen", report: "Report", name: str, top: int) -> None:
    found = report.graph.dependents(name)
    direct = len(report.graph.importers[name])
    screen.line(f"{printable(name)}: {direct:,} packages import it, {len(found):,} depend on it in all", "bold")
    _print_nodes(screen, report, name, found, top)
    for note in report.notes:
        screen.line(f"note: {printable(note)}")


def _print_nodes(screen: "Screen", report: "Report", name: str, names: "Sequence[str]", top: int) -> None:
    """The nearest first: how many imports lie between, and through what."""
    from go_cache_safeguard.core.size import format_size

    made = report.graph
    away = made.distances(name)
    ordered = sorted(names, key=lambda one: (away.get(one, 0), one))
    rows = []
    for one in ordered[:top]:
        node = made.nodes[one]
        size = format_size(node.size) if node.output is not None else "?"
        through = next((need for need in node.needs if need == name or away.get(need, -1) == away.get(one, 0) - 1), "")
        steps = str(away.get(one, 0))
        between = printable(through) if steps not in {"0", "1"} else ""
        rows.append((printable(one), str(node.found), size, _price(node.cost), steps, between))
    screen.table(("package", "entry", "size", "CPU s", "imports away", "through"), rows, right=(2, 3, 4))
    if len(ordered) > top:
        screen.line(f"and {len(ordered) - top:,} more; --top shows more")


def _tell_rate(screen: "Screen", rate: "Rate") -> None:
    from go_cache_safeguard.gocache.cost import SHIPPED

    screen.line(
        f"~ is estimated: {rate.per_mib:.2f} CPU s for each MiB of archive (half between {rate.low:.2f} and "
        f"{rate.high:.2f}; {rate.samples:,} packages, {rate.source})",
        "dim",
    )
    if rate is SHIPPED:
        screen.line("`graph --measure` measures on this machine", "dim")


def _price(cost: "Cost | None") -> str:
    return "?" if cost is None else _about(cost.seconds, exact=cost.measured)


def _about(seconds: float, *, exact: bool) -> str:
    return f"{'' if exact else '~'}{seconds:.{2 if seconds >= 0.1 else 3}f}"


def _is_exact(reach: "Reach") -> bool:
    return reach.cost.measured == reach.cost.entries and not reach.unpriced


def _sum(cost: "Total", unpriced: int) -> str:
    if unpriced and not cost.entries:
        return "?"
    return _about(cost.seconds, exact=cost.measured == cost.entries) + (f" + {unpriced:,} unknown" if unpriced else "")


def _bytes(reach: "Reach") -> str:
    from go_cache_safeguard.core.size import format_size

    if reach.unsized == reach.compiled and reach.compiled:
        return "?"
    return format_size(reach.size) + (f" + {reach.unsized:,} unknown" if reach.unsized else "")


def _range(reach: "Reach") -> tuple[str, str]:
    cost = reach.cost
    return _sum(cost, reach.unpriced), "" if _is_exact(reach) else f"{cost.low:.2f} and {cost.high:.2f}"


def _dot(report: "Report", view: _View, name: str) -> "Sequence[str]":
    from go_cache_safeguard.core.size import format_size
    from go_cache_safeguard.gocache.dot import dot_of
    from go_cache_safeguard.gocache.graph import Edit

    made = report.graph
    names: Sequence[str] = tuple(made.nodes)
    strong: Sequence[str] = ()
    if view.reverse is not None:
        names, strong = (name, *made.dependents(name)), (name,)
    elif view.edit is not None:
        names, strong = made.compiled(name, Edit.API), made.compiled(name, Edit.BODY)
    shown = [one for one in names if view.everything or one == name or not made.nodes[one].standard]
    nodes = [made.nodes[one] for one in shown]
    labels = {
        node.name: f"{format_size(node.size)}, {_price(node.cost)} CPU s" if node.output else str(node.found)
        for node in nodes
    }
    return tuple(dot_of(made, shown, labels, strong))


def _value(report: "Report", view: _View, name: str) -> dict[str, object]:
    from go_cache_safeguard.gocache.graph import ASSUMES

    made = report.graph
    value: dict[str, object] = {
        "gocache": str(report.gocache),
        "toolchain": report.toolchain,
        "target": report.target,
        "patterns": list(report.patterns),
        "rate": _rate_value(report.rate),
        "assumptions": {str(edit): text for edit, text in ASSUMES.items()},
        "notes": list(report.notes),
    }
    if view.reverse is not None:
        away = made.distances(name)
        dependents = [{"package": one, "imports_away": away[one]} for one in made.dependents(name)]
        return {**value, "package": name, "direct": list(made.importers[name]), "dependents": dependents}
    if view.edit is not None:
        return {**value, "package": name, "edit": _edit_value(report, name, named=True)}
    return {**value, "packages": [_node_value(report, node) for node in made.nodes.values()]}


def _node_value(report: "Report", node: "Node") -> dict[str, object]:
    made = report.graph
    action = None if node.output is None else report.entries.get(node.output.output)
    return {
        "package": node.name,
        "standard": node.standard,
        "module": node.module,
        "program": node.program,
        "asked_for": node.asked,
        "entry": str(node.found),
        "action_half": node.half,
        "action": None if action is None else action.hex(),
        "output": None if node.output is None else node.output.output.hex(),
        "bytes": None if node.output is None else node.output.size,
        "cpu_seconds": _cost_value(node.cost),
        "link_cpu_seconds": _cost_value(node.link),
        "imports": list(node.needs),
        "imported_by": list(made.importers[node.name]),
        "dependents": len(made.dependents(node.name)),
        "edit": _edit_value(report, node.name),
        "error": node.error,
    }


def _edit_value(report: "Report", name: str, *, named: bool = False) -> dict[str, object]:
    made = report.graph
    blast = made.blast(name)
    packages, size, seconds = blast.saved
    value: dict[str, object] = {
        str(edit): {**_reach_value(reach), **({"packages": list(made.compiled(name, edit))} if named else {})}
        for edit, reach in blast.reaches.items()
    }
    if named:
        value["links"] = list(made.linked(name))
    return {**value, "cut_off_saves": {"compiled": packages, "bytes": size, "cpu_seconds": round(seconds, 6)}}


def _reach_value(reach: "Reach") -> dict[str, object]:
    return {
        "compiled": reach.compiled,
        "bytes": reach.size,
        "packages_without_size": reach.unsized,
        "cpu_seconds": _total_value(reach.cost),
        "packages_without_price": reach.unpriced,
        "linked": reach.links,
        "link_cpu_seconds": _total_value(reach.link_cost),
    }


def _cost_value(cost: "Cost | None") -> "Mapping[str, object] | None":
    if cost is None:
        return None
    low, high = round(cost.low, 6), round(cost.high, 6)
    return {"seconds": round(cost.seconds, 6), "measured": cost.measured, "low": low, "high": high}


def _total_value(cost: "Total") -> dict[str, object]:
    return {
        "seconds": round(cost.seconds, 6),
        "low": round(cost.low, 6),
        "high": round(cost.high, 6),
        "priced": cost.entries,
        "measured": cost.measured,
        "measured_seconds": round(cost.measured_s, 6),
    }


def _rate_value(rate: "Rate") -> dict[str, object]:
    return {
        "cpu_seconds_per_mib": round(rate.per_mib, 6),
        "low": round(rate.low, 6),
        "high": round(rate.high, 6),
        "samples": rate.samples,
        "source": rate.source,
    }
