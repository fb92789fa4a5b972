"""Instrumentation by hand in Java.

Knows:     how imports, types and calls of the two APIs look.
Called by: `flows.debt`.
Never:     counts what stands in a comment or a string.
Source:    tree-sitter-java 0.23; opentracing-api 0.33 and opentelemetry-api 1.63.
"""

import functools
from collections.abc import Mapping

import tree_sitter_java
from tree_sitter import Language, Node, Query

from go_cache_safeguard.debt.calls import Names, Words, api_of, judge
from go_cache_safeguard.debt.finding import Api, Finding, Kind, Reading
from go_cache_safeguard.debt.syntax import Grammar, Link, Source

_PACKAGES = {"io.opentracing": Api.OPENTRACING, "io.opentelemetry": Api.OPENTELEMETRY}
_QUERY = """
(import_declaration [(scoped_identifier) (identifier)] @name) @import
(scoped_type_identifier) @type
(field_access) @type
(local_variable_declaration type: (_) @type_of declarator: (variable_declarator name: (_) @variable value: (_)? @value)) @declared
(field_declaration type: (_) @type_of declarator: (variable_declarator name: (_) @variable value: (_)? @value)) @declared
(formal_parameter type: (_) @type_of name: (_) @variable) @declared
(resource type: (_)? @type_of name: (_) @variable value: (_)? @value) @declared
(assignment_expression left: (_) @variable right: (_) @value) @declared
(method_invocation name: (_) @called) @call
"""
_LINKS = {
    "method_invocation": Link("object", "name"),
    "field_access": Link("object", "field"),
    "scoped_identifier": Link("scope", "name"),
    "parenthesized_expression": Link("", ""),
}
_BOTH = {"inject": Kind.CARRY, "extract": Kind.CARRY}
_WORDS = Words(
    sure={
        "buildSpan": (Api.OPENTRACING, Kind.BUILD),
        "startActive": (Api.OPENTRACING, Kind.START),
        "startManual": (Api.OPENTRACING, Kind.START),
        "spanBuilder": (Api.OPENTELEMETRY, Kind.BUILD),
        "startSpan": (Api.OPENTELEMETRY, Kind.START),
    },
    owners={"GlobalTracer": Api.OPENTRACING, "GlobalOpenTelemetry": Api.OPENTELEMETRY},
    shared={
        Api.OPENTRACING: {**_BOTH, "start": Kind.START, "finish": Kind.FINISH},
        Api.OPENTELEMETRY: {**_BOTH, "end": Kind.FINISH},
    },
)
NEEDLES = (b"opentracing", b"opentelemetry", b"buildSpan", b"spanBuilder", b"startActive", b"GlobalTracer")
"""A file without any of them has no findings."""


@functools.cache
def _grammar() -> Grammar:
    language = Language(tree_sitter_java.language())
    return Grammar(language, Query(language, _QUERY), _LINKS)


def read(file: str, content: bytes) -> Reading:
    """Every place in a file."""
    source = Source(_grammar(), file, content)
    names, found, matches = Names(), [], list(source.matches())
    for sort, nodes in matches:
        if sort == "import":
            found += _imported(source, names, nodes["name"])
        elif sort == "type":
            found += _named(source, names, nodes["type"])
    for sort, nodes in matches:
        if sort == "declared":
            _declared(source, names, nodes)
    for sort, nodes in matches:
        if sort == "call" and (verdict := judge(spine := source.spine(nodes["call"]), _WORDS, names)) is not None:
            found.append(source.finding(nodes["called"], *verdict, ".".join(spine[-2:])))
    found.sort(key=lambda one: (one.line, one.column))
    return Reading(tuple(found), source.damage())


def _package(name: str) -> Api | None:
    return next((api for package, api in _PACKAGES.items() if f"{name}.".startswith(f"{package}.")), None)


def _imported(source: Source, names: Names, node: Node) -> list[Finding]:
    name = source.text(node)
    if (api := _package(name)) is None:
        return []
    names.present.add(api)
    names.imported[name.rpartition(".")[2]] = api
    return [source.finding(node, api, Kind.IMPORT, name)]


def _named(source: Source, names: Names, node: Node) -> list[Finding]:
    """A name in full, without an import; what is part of a longer one was seen with that."""
    name = "".join(source.text(node).split())
    inner = node.parent is not None and node.parent.type == node.type
    if inner or (api := _package(name)) is None:
        return []
    names.present.add(api)
    return [source.finding(node, api, Kind.IMPORT, name)]


def _declared(source: Source, names: Names, nodes: Mapping[str, Node]) -> None:
    """What a variable holds: by its type, else by what it is given first."""
    variable = source.spine(nodes["variable"])
    kind = source.text(nodes["type_of"]) if "type_of" in nodes else "var"
    api = names.imported.get(kind) or _package(kind)
    if api is None and "value" in nodes:
        api = api_of(source.spine(nodes["value"]), _WORDS, names)
    if variable:
        names.hold(variable[-1], api)
