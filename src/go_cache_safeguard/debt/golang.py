"""Instrumentation by hand in Go.

Knows:     how imports and calls of the two APIs look.
Called by: `flows.debt`.
Never:     counts what stands in a comment or a string.
Source:    tree-sitter-go 0.25; github.com/opentracing/opentracing-go 1.2, go.opentelemetry.io/otel 1.x.
"""

import functools
import re
from collections.abc import Mapping

import tree_sitter_go
from tree_sitter import Language, Node, Query

from go_cache_safeguard.debt.calls import Names, Words, api_of, judge
from go_cache_safeguard.debt.finding import Api, Finding, Kind, Reading
from go_cache_safeguard.debt.syntax import Grammar, Link, Source

_PATHS = {"github.com/opentracing": Api.OPENTRACING, "go.opentelemetry.io/otel": Api.OPENTELEMETRY}
_QUERY = """
(import_spec path: (_) @path) @import
(short_var_declaration left: (_) @variables right: (_) @values) @assigned
(assignment_statement left: (_) @variables right: (_) @values) @assigned
(var_spec name: (_) @variable type: (qualified_type package: (_) @package)) @declared
(parameter_declaration name: (_) @variable type: (qualified_type package: (_) @package)) @declared
(field_declaration name: (_) @variable type: (qualified_type package: (_) @package)) @declared
(call_expression function: [(selector_expression field: (_) @called) (identifier) @called]) @call
"""
_LINKS = {
    "call_expression": Link("function", ""),
    "selector_expression": Link("operand", "field"),
    "parenthesized_expression": Link("", ""),
}
_BOTH = {"Inject": Kind.CARRY, "Extract": Kind.CARRY}
_WORDS = Words(
    sure={
        "StartSpanFromContext": (Api.OPENTRACING, Kind.START),
        "StartSpanFromContextWithTracer": (Api.OPENTRACING, Kind.START),
    },
    owners={},
    shared={
        Api.OPENTRACING: {
            **_BOTH,
            "StartSpan": Kind.START,
            "Finish": Kind.FINISH,
            "FinishWithOptions": Kind.FINISH,
            "GlobalTracer": Kind.GLOBAL,
            "SetGlobalTracer": Kind.GLOBAL,
        },
        Api.OPENTELEMETRY: {
            **_BOTH,
            "Start": Kind.START,
            "End": Kind.FINISH,
            "Tracer": Kind.GLOBAL,
            "GetTracerProvider": Kind.GLOBAL,
            "SetTracerProvider": Kind.GLOBAL,
        },
    },
)
_VERSION = re.compile(r"/v[0-9]+$")
NEEDLES = (b"opentracing", b"opentelemetry.io/otel")
"""A file without any of them has no findings: Go has no names without imports."""


@functools.cache
def _grammar() -> Grammar:
    language = Language(tree_sitter_go.language())
    return Grammar(language, Query(language, _QUERY), _LINKS)


def read(file: str, content: bytes) -> Reading:
    """Every place in a file."""
    source = Source(_grammar(), file, content)
    names, found = Names(), list[Finding]()
    for sort, nodes in source.matches():
        if sort == "import":
            found += _imported(source, names, nodes["import"], nodes["path"])
        elif sort == "declared":
            names.hold(source.text(nodes["variable"]), names.imported.get(source.text(nodes["package"])))
        elif sort == "assigned":
            _assigned(source, names, nodes)
        elif (verdict := judge(spine := source.spine(nodes["call"]), _WORDS, names)) is not None:
            found.append(source.finding(nodes["called"], *verdict, ".".join(spine[-2:])))
    found.sort(key=lambda one: (one.line, one.column))
    return Reading(tuple(found), source.damage())


def _imported(source: Source, names: Names, spec: Node, path: Node) -> list[Finding]:
    name = source.text(path)[1:-1]
    alias = spec.child_by_field_name("name")
    last = _VERSION.sub("", name).rpartition("/")[2].removesuffix("-go").removeprefix("go-")
    used = source.text(alias) if alias is not None else last
    api = next((api for prefix, api in _PATHS.items() if f"{name}/".startswith(f"{prefix}/")), None)
    if api is None:
        names.foreign.add(used)
        return []
    names.present.add(api)
    names.imported[used] = api
    return [source.finding(path, api, Kind.IMPORT, name)]


def _assigned(source: Source, names: Names, nodes: Mapping[str, Node]) -> None:
    """`span, ctx := call()` gives every variable but a context; `a, b := c, d` each its own."""
    variables, values = nodes["variables"].named_children, nodes["values"].named_children
    for at, variable in enumerate(variables):
        spine = source.spine(variable)
        api = (
            api_of(source.spine(values[at if len(values) == len(variables) else 0]), _WORDS, names) if values else None
        )
        if spine and spine[-1] not in {"ctx", "err", "_", "ok"}:
            names.hold(spine[-1], api)
