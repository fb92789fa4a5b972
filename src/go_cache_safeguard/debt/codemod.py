"""Python from OpenTracing's API to OpenTelemetry's.

Knows:     which calls mean the same in both, and what stands in the way of the others.
Called by: `flows.debt_rewrite`.
Never:     rewrites half a file: a trace half of which is made by either API falls apart. What stands in the way is named, with its line.
Source:    opentracing 2.4 (tracer.py, span.py, scope.py); opentelemetry-api 1.x (trace, propagate). Both end a span and record the exception
           when a `with` is left by one; both take the active span as the parent if none is named.

Names are looked at for the whole file: one that holds a span in one function and is a parameter of another stands in the way.
"""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto

import libcst as cst
from libcst import matchers as m
from libcst.metadata import MetadataWrapper, ParentNodeProvider, PositionProvider

_LITERALS = (cst.SimpleString, cst.FormattedString, cst.ConcatenatedString, cst.Integer, cst.Float, cst.Comparison)
_START = {"start_span": "start_span", "start_active_span": "start_as_current_span"}
_ARGUMENTS = {"operation_name", "child_of", "tags", "finish_on_close"}
_TEXT_FORMATS = {"TEXT_MAP", "HTTP_HEADERS"}
_DEEPEST = 150
"""levels of a syntax tree."""
_TRACER = "trace.get_tracer(__name__)"


@dataclass(frozen=True, slots=True, order=True)
class Remark:
    """Something to be said of a line.

    Attributes:
        line: From 1.
        why: What stands in the way there, or what to look at.
    """

    line: int
    why: str


@dataclass(frozen=True, slots=True)
class Rewritten:
    """What came of a file.

    Attributes:
        text: The new one; the old one if nothing was to be done or something stood in the way.
        left: What stood in the way.
        notes: What means almost the same, and is to be looked at.
    """

    text: str
    left: tuple[Remark, ...] = ()
    notes: tuple[Remark, ...] = ()


class _Role(Enum):
    TRACER = auto()
    SPAN = auto()
    SCOPE = auto()
    CONTEXT = auto()
    """What `extract` gave."""
    CARRIED = auto()
    """A span's own context."""


def rewrite(text: str) -> Rewritten:
    """Rewrite one file; a second time changes nothing.

    Raises:
        SyntaxError: It is not Python, or nested too deeply.
    """
    if "opentracing" not in text:
        return Rewritten(text)
    try:
        if _is_deep(ast.parse(text)):
            raise SyntaxError("nested too deeply")
        return _rewrite(text)
    except (MemoryError, ValueError, cst.ParserSyntaxError, RecursionError) as error:
        raise SyntaxError((str(error) or "nested too deeply").splitlines()[0]) from error


def _is_deep(tree: ast.AST) -> bool:
    """Whether libcst, which is compiled, would leave the stack: it does not look, and ends the process."""
    level: list[ast.AST] = [tree]
    for _ in range(_DEEPEST):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    return bool(level)


def _rewrite(text: str) -> Rewritten:
    wrapper = MetadataWrapper(cst.parse_module(text))
    names = _Names()
    wrapper.visit(names)
    if not names.imported:
        return Rewritten(text)
    looking = _Looking(names)
    wrapper.visit(looking)
    if looking.left:
        return Rewritten(text, tuple(sorted(set(looking.left))))
    return Rewritten(wrapper.module.visit(_Writing(names)).code, (), tuple(sorted(set(looking.notes))))


def _key(node: cst.BaseExpression) -> str:
    """A name, or an attribute of self; empty for anything else."""
    match node:
        case cst.Name(value=name):
            return name
        case cst.Attribute(value=cst.Name(value="self"), attr=cst.Name(value=name)):
            return f"self.{name}"
    return ""


def _dotted(node: cst.CSTNode | None) -> str:
    match node:
        case cst.Name(value=name):
            return name
        case cst.Attribute(value=value, attr=cst.Name(value=name)):
            return f"{_dotted(value)}.{name}"
    return ""


class _Names(cst.CSTVisitor):
    """What the names of a file stand for."""

    def __init__(self) -> None:
        self.imported: dict[str, str] = {}
        self.roles: dict[str, _Role | None] = {}

    def visit_Import(self, node: cst.Import) -> None:
        for alias in node.names:
            if _is_opentracing(_dotted(alias.name)):
                as_name = _dotted(alias.asname.name) if alias.asname is not None else ""
                self.imported[as_name or "opentracing"] = _dotted(alias.name) if as_name else "opentracing"

    def visit_ImportFrom(self, node: cst.ImportFrom) -> None:
        module = _dotted(node.module)
        if not node.relative and _is_opentracing(module):
            for alias in () if isinstance(node.names, cst.ImportStar) else node.names:
                as_name = _dotted(alias.asname.name) if alias.asname is not None else ""
                self.imported[as_name or _dotted(alias.name)] = f"{module}.{_dotted(alias.name)}"
            if isinstance(node.names, cst.ImportStar):
                self.imported["*"] = f"{module}.*"

    def visit_Assign(self, node: cst.Assign) -> None:
        for target in node.targets:
            self._hold(target.target, self.role(node.value))

    def visit_WithItem(self, node: cst.WithItem) -> None:
        if node.asname is not None:
            self._hold(node.asname.name, self.role(node.item))

    def _hold(self, target: cst.BaseExpression, role: _Role | None) -> None:
        key = _key(target)
        if key and role is not None:
            self.roles[key] = role if self.roles.get(key, role) is role else None

    def full(self, node: cst.BaseExpression) -> str:
        """A dotted name as it would be without aliases, if an import of OpenTracing brought it; else empty."""
        first, _, rest = _dotted(node).partition(".")
        if first not in self.imported:
            return ""
        return f"{self.imported[first]}.{rest}" if rest else self.imported[first]

    def role(self, node: cst.BaseExpression) -> _Role | None:
        """What an expression gives."""
        if (key := _key(node)) in self.roles:
            return self.roles[key]
        if self.is_global(node):
            return _Role.TRACER
        match node:
            case cst.Call(func=cst.Attribute(value=owner, attr=cst.Name(value=called))) if (
                self.role(owner) is _Role.TRACER
            ):
                return {"start_span": _Role.SPAN, "start_active_span": _Role.SCOPE, "extract": _Role.CONTEXT}.get(
                    called
                )
            case cst.Attribute(value=owner, attr=cst.Name(value="span")) if self.role(owner) is _Role.SCOPE:
                return _Role.SPAN
            case cst.Attribute(value=owner, attr=cst.Name(value="context")) if self.role(owner) is _Role.SPAN:
                return _Role.CARRIED
        return None

    def is_global(self, node: cst.BaseExpression) -> bool:
        """Whether it is OpenTracing's global tracer."""
        if isinstance(node, cst.Call):
            return not node.args and self.full(node.func) == "opentracing.global_tracer"
        return self.full(node) == "opentracing.tracer"

    def is_text_format(self, node: cst.BaseExpression) -> bool:
        """Whether it is a format of headers."""
        owner, _, name = self.full(node).rpartition(".")
        return owner in {"opentracing.Format", "opentracing.propagation.Format"} and name in _TEXT_FORMATS


class _Looking(cst.CSTVisitor):
    """Looks at every use of a tracer, a span, a scope or a name of OpenTracing, and says what stands in the way."""

    METADATA_DEPENDENCIES = (ParentNodeProvider, PositionProvider)

    def __init__(self, names: _Names) -> None:
        self._names = names
        self.left: list[Remark] = []
        self.notes: list[Remark] = []

    def _say(self, remarks: list[Remark], node: cst.CSTNode, why: str) -> None:
        remarks.append(Remark(self.get_metadata(PositionProvider, node).start.line, why))

    def _parent(self, node: cst.CSTNode) -> cst.CSTNode:
        parent: cst.CSTNode = self.get_metadata(ParentNodeProvider, node)
        return parent

    def visit_Import(self, node: cst.Import) -> bool:
        return False

    def visit_ImportFrom(self, node: cst.ImportFrom) -> bool:
        if "*" in self._names.imported and isinstance(node.names, cst.ImportStar):
            self._say(self.left, node, "an import of everything: which names are OpenTracing's cannot be seen")
        return False

    def visit_Param(self, node: cst.Param) -> None:
        if node.name.value in {**self._names.roles, **self._names.imported}:
            self._say(self.left, node, f"a parameter {node.name.value}: what it holds cannot be seen")

    def visit_Assign(self, node: cst.Assign) -> None:
        for target in node.targets:
            key = _key(target.target)
            if key in self._names.roles and self._names.role(node.value) is not self._names.roles[key]:
                self._say(self.left, node, f"{key} is given something else here")

    def on_visit(self, node: cst.CSTNode) -> bool:
        if isinstance(node, cst.Name | cst.Attribute | cst.Call):
            self._look(node)
        return super().on_visit(node)

    def _look(self, node: cst.Name | cst.Attribute | cst.Call) -> None:
        parent = self._parent(node)
        if isinstance(node, cst.Name) and isinstance(parent, cst.Attribute) and parent.attr is node:
            return
        if isinstance(node, cst.Name) and isinstance(parent, cst.Arg) and parent.keyword is node:
            return
        if (
            isinstance(node, cst.Name)
            and node.value in {"trace", "propagate"}
            and not isinstance(parent, cst.ImportAlias)
        ):
            self._say(self.left, node, f"{node.value} is a name of this file, and would be OpenTelemetry's")
        if _key(node) in self._names.roles and self._names.roles[_key(node)] is None:
            self._say(self.left, node, f"{_key(node)} holds now this, now that")
            return
        role = self._names.role(node)
        if role is None:
            self._look_imported(node, parent)
        elif isinstance(parent, cst.BaseExpression) and self._names.role(parent) is not None:
            if isinstance(parent, cst.Call):
                self._say(self.left, node, "it is called")
        elif (why := self._in_the_way(node, role, parent)) is not None:
            self._say(self.left, node, why)

    def _look_imported(self, node: cst.Name | cst.Attribute | cst.Call, parent: cst.CSTNode) -> None:
        if isinstance(node, cst.Call) or not (full := self._names.full(node)):
            return
        whole = isinstance(parent, cst.Attribute) and parent.value is node
        if whole or (isinstance(node, cst.Attribute) and self._names.role(node.value) is not None):
            return  # looked at as what it is part of, or as what it is a method of
        if isinstance(parent, cst.Call) and parent.func is node and self._names.is_global(parent):
            return
        if self._names.is_text_format(node) and isinstance(parent, cst.Arg):
            return
        self._say(self.left, node, f"{full} has nothing of the same meaning, or none that is safe")

    def _in_the_way(self, node: cst.BaseExpression, role: _Role, parent: cst.CSTNode) -> str | None:
        """Why a use cannot be rewritten; None if it can."""
        if isinstance(parent, cst.AssignTarget | cst.AsName):
            return None
        if isinstance(parent, cst.Assign):
            return "a scope outside of `with` has to be closed by hand" if role is _Role.SCOPE else None
        if isinstance(parent, cst.WithItem):
            return None if isinstance(node, cst.Call) else "what was made elsewhere is entered here"
        if isinstance(parent, cst.Arg):
            return (
                None
                if self._is_taken(parent, role)
                else f"a {role.name.lower()} is handed on, so others would have to change, too"
            )
        if (
            isinstance(parent, cst.Attribute)
            and isinstance(call := self._parent(parent), cst.Call)
            and call.func is parent
        ):
            return self._call(call, parent.attr.value, role)
        if isinstance(parent, cst.Expr) and isinstance(node, cst.Call):
            return "a span that nobody keeps cannot be ended"
        return f"a {role.name.lower()} leaves this file's sight"

    def _is_taken(self, argument: cst.Arg, role: _Role) -> bool:
        """Whether an argument is one of a call that is rewritten as a whole."""
        call = self._parent(argument)
        if not isinstance(call, cst.Call) or not isinstance(call.func, cst.Attribute):
            return False
        of_tracer = self._names.role(call.func.value) is _Role.TRACER
        if argument.keyword is not None:
            return (
                of_tracer
                and argument.keyword.value == "child_of"
                and role is not _Role.SCOPE
                and role is not _Role.TRACER
            )
        return of_tracer and call.func.attr.value == "inject" and role is _Role.CARRIED and call.args[0] is argument

    def _call(self, call: cst.Call, called: str, role: _Role) -> str | None:
        """Why a call of something's method cannot be rewritten."""
        if any(argument.star for argument in call.args):
            return "what is handed over with * cannot be seen"
        if role is _Role.TRACER:
            return self._tracer_call(call, called)
        if role is not _Role.SPAN:
            return f"{called}() of a {role.name.lower()} has nothing of the same meaning"
        if not isinstance(self._parent(call), cst.Expr):
            return f"what {called}() gives is used, and OpenTelemetry's gives nothing"
        return self._span_call(call, called)

    def _tracer_call(self, call: cst.Call, called: str) -> str | None:
        if called in _START:
            return _start_in_the_way(call)
        positional = [argument.value for argument in call.args if argument.keyword is None]
        if called not in {"inject", "extract"} or len(positional) != len(call.args):
            return f"{called}() has nothing of the same meaning"
        wanted = 3 if called == "inject" else 2
        if len(positional) != wanted or not self._names.is_text_format(positional[-2]):
            return f"{called}() of a format that is not one of headers"
        if called == "inject" and not isinstance(self._parent(call), cst.Expr):
            return "what inject() gives is used"
        if called == "inject" and self._names.role(positional[0]) is not _Role.CARRIED:
            return "whose context it is cannot be seen"
        self._say(
            self.notes, call, "headers are W3C's from now on; OTEL_PROPAGATORS says which others are written and read"
        )
        return None

    def _span_call(self, call: cst.Call, called: str) -> str | None:
        values = [argument.value for argument in call.args if argument.keyword is None]
        match called, values:
            case ("finish", []) | ("set_operation_name", [_]) if len(values) == len(call.args):
                return None
            case "set_tag", [cst.SimpleString() as key, value] if len(call.args) == 2:
                return self._tag(call, str(key.evaluated_value), value)
            case "set_tag", _:
                return "which tag it is cannot be seen"
            case "log_kv", [cst.Dict() as logged] if len(call.args) == 1:
                return None if _texts(logged) is not None else "what is logged cannot be seen"
        return f"{called}() of a span has nothing of the same meaning, or none that is safe"

    def _tag(self, call: cst.Call, key: str, value: cst.BaseExpression) -> str | None:
        if key == "span.kind":
            return "the kind of a span is given when it is started"
        if key == "error":
            return None if m.matches(value, m.Name("True")) else "whether it is an error cannot be seen"
        if not isinstance(value, _LITERALS) and not m.matches(value, m.Name("True") | m.Name("False")):
            self._say(
                self.notes, call, f"the attribute {key!r} is dropped if it is neither text, number nor truth value"
            )
        return None


def _is_opentracing(module: str) -> bool:
    return f"{module}.".startswith("opentracing.")


def _start_in_the_way(call: cst.Call) -> str | None:
    """Why a span cannot be started the other way."""
    named = [argument.keyword.value for argument in call.args if argument.keyword is not None]
    if len(call.args) - len(named) > 1 or (len(call.args) == len(named) and "operation_name" not in named):
        return "its name cannot be seen"
    if unknown := sorted(set(named) - _ARGUMENTS):
        return f"{unknown[0]}= has nothing of the same meaning, or none that is safe"
    for argument in call.args:
        keyword = argument.keyword.value if argument.keyword is not None else ""
        if keyword == "finish_on_close" and not m.matches(argument.value, m.Name("True")):
            return "a scope that does not end its span"
    return None


def _texts(logged: cst.Dict) -> dict[str, cst.DictElement] | None:
    """The elements of a dictionary by their keys; None if a key is not a plain text."""
    found = {}
    for element in logged.elements:
        if not isinstance(element, cst.DictElement) or not isinstance(element.key, cst.SimpleString):
            return None
        found[str(element.key.evaluated_value)] = element
    return found


class _Writing(cst.CSTTransformer):
    """Rewrites; `_Looking` found nothing in the way."""

    def __init__(self, names: _Names) -> None:
        self._names = names
        self._said = False
        self._carries = False

    def visit_Module(self, node: cst.Module) -> None:
        self._carries = any(True for _ in _carrying(node, self._names))

    def leave_Attribute(self, original_node: cst.Attribute, updated_node: cst.Attribute) -> cst.BaseExpression:
        if self._names.is_global(original_node):
            return cst.parse_expression(_TRACER)
        if original_node.attr.value == "span" and self._names.role(original_node.value) is _Role.SCOPE:
            return updated_node.value
        return updated_node

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        if self._names.is_global(original_node):
            return cst.parse_expression(_TRACER)
        if not isinstance(original_node.func, cst.Attribute) or not isinstance(updated_node.func, cst.Attribute):
            return updated_node
        role, called = self._names.role(original_node.func.value), original_node.func.attr.value
        if role is _Role.TRACER and called in _START:
            new = [
                self._start_argument(old, new) for old, new in zip(original_node.args, updated_node.args, strict=True)
            ]
            kept = [argument for argument in new if argument is not None]
            if kept:  # the last one ends the list as the last one did
                kept[-1] = kept[-1].with_changes(comma=updated_node.args[-1].comma)
            return _renamed(updated_node, _START[called]).with_changes(args=kept)
        if role is _Role.TRACER:
            return _carry(updated_node, called)
        return _of_span(updated_node, called) if role is _Role.SPAN else updated_node

    def _start_argument(self, old: cst.Arg, new: cst.Arg) -> cst.Arg | None:
        keyword = old.keyword.value if old.keyword is not None else ""
        if keyword == "finish_on_close":
            return None
        if keyword == "operation_name":
            return new.with_changes(keyword=cst.Name("name"))
        if keyword == "tags":
            return new.with_changes(keyword=cst.Name("attributes"))
        if keyword == "child_of":
            role = self._names.role(old.value)
            value = new.value.value if role is _Role.CARRIED and isinstance(new.value, cst.Attribute) else new.value
            given = value if role is _Role.CONTEXT else _in_context(value)
            return new.with_changes(keyword=cst.Name("context"), value=given)
        return new

    def leave_Import(
        self, original_node: cst.Import, updated_node: cst.Import
    ) -> cst.BaseSmallStatement | cst.RemovalSentinel | cst.FlattenSentinel[cst.BaseSmallStatement]:
        kept = [alias for alias in updated_node.names if not _is_opentracing(_dotted(alias.name))]
        if len(kept) == len(updated_node.names):
            return updated_node
        rest = (
            [updated_node.with_changes(names=[*kept[:-1], kept[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)])]
            if kept
            else []
        )
        return cst.FlattenSentinel([*rest, *self._ours()]) if rest or not self._said else cst.RemoveFromParent()

    def leave_ImportFrom(
        self, original_node: cst.ImportFrom, updated_node: cst.ImportFrom
    ) -> cst.BaseSmallStatement | cst.RemovalSentinel:
        if updated_node.relative or not _is_opentracing(_dotted(updated_node.module)):
            return updated_node
        ours = self._ours()
        return ours[0] if ours else cst.RemoveFromParent()

    def _ours(self) -> Sequence[cst.BaseSmallStatement]:
        """The import that comes in the place of the first of OpenTracing's."""
        if self._said:
            return ()
        self._said = True
        names = ["propagate", "trace"] if self._carries else ["trace"]
        aliases = [cst.ImportAlias(cst.Name(name)) for name in names]
        return (cst.ImportFrom(cst.Name("opentelemetry"), aliases),)


def _carrying(module: cst.Module, names: _Names) -> Iterator[cst.CSTNode]:
    for call in m.findall(module, m.Call(func=m.Attribute(attr=m.Name("inject") | m.Name("extract")))):
        if (
            isinstance(call, cst.Call)
            and isinstance(call.func, cst.Attribute)
            and names.role(call.func.value) is _Role.TRACER
        ):
            yield call


def _in_context(span: cst.BaseExpression) -> cst.Call:
    return cst.Call(_attribute("trace", "set_span_in_context"), [cst.Arg(span)])


def _attribute(owner: str, name: str) -> cst.Attribute:
    return cst.Attribute(cst.Name(owner), cst.Name(name))


def _renamed(call: cst.Call, name: str) -> cst.Call:
    return call.with_deep_changes(call.func, attr=cst.Name(name))


def _carry(call: cst.Call, called: str) -> cst.Call:
    carrier = call.args[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
    if called == "extract":
        return call.with_changes(func=_attribute("propagate", "extract"), args=[carrier])
    context = call.args[0].value
    span = context.value if isinstance(context, cst.Attribute) else context
    given = cst.Arg(
        _in_context(span),
        keyword=cst.Name("context"),
        equal=cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace("")),
    )
    return call.with_changes(func=_attribute("propagate", "inject"), args=[carrier, given])


def _of_span(call: cst.Call, called: str) -> cst.Call:
    if called == "finish":
        return _renamed(call, "end")
    if called == "set_operation_name":
        return _renamed(call, "update_name")
    if called == "set_tag":
        key = call.args[0].value
        if isinstance(key, cst.SimpleString) and key.evaluated_value == "error":
            status = cst.Attribute(_attribute("trace", "StatusCode"), cst.Name("ERROR"))
            return _renamed(call, "set_status").with_changes(args=[cst.Arg(status)])
        return _renamed(call, "set_attribute")
    return _logged(call) if called == "log_kv" else call


def _logged(call: cst.Call) -> cst.Call:
    """`log_kv` as an event; as an exception if it holds one."""
    logged = call.args[0].value
    elements = _texts(logged) if isinstance(logged, cst.Dict) else None
    if not isinstance(logged, cst.Dict) or elements is None:
        return call
    if "error.object" in elements:
        return _renamed(call, "record_exception").with_changes(args=[cst.Arg(elements["error.object"].value)])
    event = elements.pop("event", None)
    name = event.value if event is not None else cst.SimpleString('"log"')
    rest = list(elements.values())
    if not rest:
        return _renamed(call, "add_event").with_changes(args=[cst.Arg(name)])
    kept = (
        logged
        if event is None
        else logged.with_changes(elements=[*rest[:-1], rest[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)])
    )
    return _renamed(call, "add_event").with_changes(args=[cst.Arg(name), cst.Arg(kept)])
