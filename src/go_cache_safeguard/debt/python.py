"""Instrumentation by hand in Python.

Knows:     how imports and calls of the two APIs look.
Called by: `flows.debt`.
Never:     counts what stands in a comment or a string.
Source:    tree-sitter-python 0.25; opentracing 2.4, opentelemetry-api 1.x.
"""

import functools
from collections.abc import Mapping

import tree_sitter_python
from tree_sitter import Language, Node, Query

from go_cache_safeguard.debt.calls import Names, Words, api_of, judge
from go_cache_safeguard.debt.finding import Api, Finding, Kind, Reading
from go_cache_safeguard.debt.syntax import Grammar, Link, Source

_QUERY = """
(import_statement name: (_) @name) @import
(import_from_statement module_name: (dotted_name) @module) @from
(assignment left: (_) @variable right: (_) @value) @assigned
(as_pattern (_) @value alias: (as_pattern_target (_) @variable)) @assigned
(call function: [(attribute attribute: (_) @called) (identifier) @called]) @call
"""
_LINKS = {
    "call": Link("function", ""),
    "attribute": Link("object", "attribute"),
    "parenthesized_expression": Link("", ""),
    "await": Link("", ""),
}
_BOTH = {"inject": Kind.CARRY, "extract": Kind.CARRY, "start_span": Kind.START}
_WORDS = Words(
    sure={
        "start_active_span": (Api.OPENTRACING, Kind.START),
        "start_as_current_span": (Api.OPENTELEMETRY, Kind.START),
    },
    owners={},
    shared={
        Api.OPENTRACING: {
            **_BOTH,
            "finish": Kind.FINISH,
            "global_tracer": Kind.GLOBAL,
            "set_global_tracer": Kind.GLOBAL,
        },
        Api.OPENTELEMETRY: {
            **_BOTH,
            "end": Kind.FINISH,
            "get_tracer": Kind.GLOBAL,
            "get_tracer_provider": Kind.GLOBAL,
            "set_tracer_provider": Kind.GLOBAL,
        },
    },
)
NEEDLES = (b"opentracing", b"opentelemetry", b"start_active_span", b"start_as_current_span")
"""A file without any of them has no findings."""


@functools.cache
def _grammar() -> Grammar:
    language = Language(tree_sitter_python.language())
    return Grammar(language, Query(language, _QUERY), _LINKS)


def read(file: str, content: bytes) -> Reading:
    """Every place in a file."""
    source = Source(_grammar(), file, content)
    names, found = Names(), list[Finding]()
    for sort, nodes in source.matches():
        if sort == "import":
            found += _imported(source, names, nodes["name"])
        elif sort == "from":
            found += _from(source, names, nodes)
        elif sort == "assigned":
            _assigned(source, names, nodes)
        elif (verdict := judge(spine := source.spine(nodes["call"]), _WORDS, names)) is not None:
            found.append(source.finding(nodes["called"], *verdict, ".".join(spine[-2:])))
    found.sort(key=lambda one: (one.line, one.column))
    return Reading(tuple(found), source.damage())


def _api(module: str) -> Api | None:
    first = module.partition(".")[0]
    return Api(first) if first in set(Api) else None


def _imported(source: Source, names: Names, node: Node) -> list[Finding]:
    module = node.child_by_field_name("name") or node
    alias = node.child_by_field_name("alias")
    name = source.text(module)
    if (api := _api(name)) is None:
        return []
    names.present.add(api)
    names.imported[source.text(alias) if alias is not None else name.partition(".")[0]] = api
    return [source.finding(module, api, Kind.IMPORT, name)]


def _from(source: Source, names: Names, nodes: Mapping[str, Node]) -> list[Finding]:
    module = source.text(nodes["module"])
    if (api := _api(module)) is None:
        return []
    names.present.add(api)
    brought = nodes["from"].children_by_field_name("name")
    for one in brought:
        names.imported[source.text(one.child_by_field_name("alias") or one)] = api
    symbol = f"{module}: {', '.join(source.text(one) for one in brought) or '*'}"
    return [source.finding(nodes["module"], api, Kind.IMPORT, symbol)]


def _assigned(source: Source, names: Names, nodes: Mapping[str, Node]) -> None:
    variable = source.spine(nodes["variable"])
    if variable:
        names.hold(variable[-1], api_of(source.spine(nodes["value"]), _WORDS, names))
